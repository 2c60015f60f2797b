"""Bytes to documents: JSON first, then the schema, each error at its place (SPEC.md section 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from protocols.agreement.base import Document
from protocols.agreement.terms import TYPE_OF, Agreement, Terms
from protocols.canonical import Json, json_bytes, json_id, parse_json
from protocols.errors import InputError
from protocols.ids import AgreementId, CoopId

Model = TypeVar("Model", bound=Document)
MAX_SHOWN = 5
MISSING_FIX = "See SPEC.md of protocols/agreement for the form that is expected."


@dataclass(frozen=True, slots=True)
class ParsedAgreement:
    """A valid agreement: its name, the document as signed, what people and software read."""

    id: AgreementId
    document: Json
    agreement: Agreement
    terms: Terms


def parse_agreement(text: bytes, where: str) -> ParsedAgreement:
    """An agreement from bytes.

    Raises:
        InputError: not JSON (names line and column), or not an agreement (names the clause
            and the field).
    """
    return read_agreement(parse_json(text, where), where)


def read_agreement(document: Json, where: str) -> ParsedAgreement:
    """An agreement from a JSON object, for example the payload of a signature."""
    agreement = validated(Agreement, document, where)
    name = AgreementId(json_id(document))
    blocks = {c.id: c.machine for c in agreement.clauses if c.machine is not None}
    terms = Terms(name, CoopId(agreement.coop), agreement.version, blocks)
    return ParsedAgreement(name, document, agreement, terms)


def validated(model: type[Model], document: Json, where: str) -> Model:
    """A document checked against its schema; InputError naming clause and field."""
    try:
        # Through canonical bytes: only there does the strict mode take arrays for tuples.
        return model.model_validate_json(json_bytes(document))
    except ValidationError as error:
        problems = [sentence for _, sentence in sentences(error, document)]
        hidden = len(problems) - MAX_SHOWN
        more = f" (and {hidden} more)" if hidden > 0 else ""
        raise InputError(
            "; ".join(problems[:MAX_SHOWN]) + more + ".", where=where, fix=MISSING_FIX
        ) from error


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "an object with keys",
    "model_type": "an object with keys",
    "literal_error": "{expected}",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "string_too_long": "text of at most {max_length} characters",
    "too_long": "a list of at most {max_length}",
}
"""What pydantic's kinds of error mean, for people."""
_PATTERNS = {
    r"^[a-z][a-z0-9_:.-]{0,63}$": "a name of small letters, digits, points and colons",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits",
    r"^[0-9a-f]{32}$": "32 hexadecimal digits",
    r"^[A-Za-z_][A-Za-z0-9_.]{0,127}$": "the name of a column",
    r"^[A-Z]{2}$": "a country of two capital letters, such as DE,",
    r"^[A-Z]{3}$": "a currency of three capital letters, such as EUR,",
    r"^[a-z]{2,3}(-[A-Z]{2})?$": "a language such as en or de-AT",
    r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,31}$": "a version such as 1.2.3",
    r"^c(0[1-9]|[12][0-9]|30)$": "the id of a clause, c01 to c30,",
}
"""What the patterns of ``base`` and ``duties`` mean, for people."""


def _found(value: object) -> str:
    """A value of a stranger for one line; letters that mislead are written by their numbers."""
    if isinstance(value, str):
        return ascii(value[:60]) + ("..." if len(value) > 60 else "")
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)[:60]


def sentences(
    error: ValidationError, document: Json
) -> tuple[tuple[tuple[str | int, ...], str], ...]:
    """What the schema refuses: the schema's path of each problem, and a sentence for people."""
    every = error.errors(include_url=False)
    found = [one for one in every if _meant(one, document)] or every
    return tuple((one["loc"], _sentence(one, document)) for one in found)


def _meant(problem: Mapping[str, Any], document: Json) -> bool:
    """Whether a problem is one of what was written.

    A quorum has two forms, and pydantic tries both; and it calls a list too short whose entries
    are wrong for other reasons.
    """
    path = problem["loc"]
    at = next((number for number, step in enumerate(path) if _form(step)), None)
    if at is not None:
        value = _value(document, path[:at])
        counted = isinstance(value, Mapping) and "members" in value
        if counted != (_form(path[at]) == "Members"):
            return False
    value = _value(document, path)
    return not (problem["type"] == "too_short" and isinstance(value, list) and len(value) > 0)


def _form(step: str | int) -> str:
    """``Members`` or ``Fraction`` if a step of a schema's path is a form of a quorum."""
    if step == "Members":
        return "Members"
    return "Fraction" if isinstance(step, str) and step.endswith("Fraction]") else ""


def _value(document: Any, path: Sequence[str | int]) -> Any:
    """What stands at a schema's path; steps that the schema adds are passed over."""
    value = document
    for step in path:
        known = step in value if isinstance(value, Mapping) else False
        if isinstance(value, list) and isinstance(step, int):
            known = step < len(value)
        value = value[step] if known else value
    return value


def _sentence(problem: Mapping[str, Any], document: Json) -> str:
    place = _place(problem["loc"], document)
    kind = problem["type"]
    if kind == "missing":
        message = "this is missing"
    elif kind == "extra_forbidden":
        message = "this key is not known; remove it or correct its spelling"
    elif kind == "too_short":
        message = "this list is empty; empty means nobody decided, so it is refused"
    elif kind.startswith("union_tag"):
        message = f"this type of clause is not known; expected one of {', '.join(TYPE_OF.values())}"
    elif kind == "string_pattern_mismatch":
        pattern = str(problem["ctx"]["pattern"])
        expected = _PATTERNS.get(pattern, f"text of the form {pattern}")
        message = f"{expected} is expected, found {_found(problem['input'])}"
    elif kind in _EXPECTED:
        expected = _EXPECTED[kind].format(**problem.get("ctx", {}))
        message = f"{expected} is expected, found {_found(problem['input'])}"
    else:
        message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _place(path: Sequence[str | int], document: Json) -> str:
    """``c14 privacy min_cohort`` from a schema path; the clause is named by its id."""
    words: list[str] = []
    rest = list(path)
    if len(rest) >= 2 and rest[0] == "clauses" and isinstance(rest[1], int):
        words.append(_clause_name(document, rest[1]))
        rest = [part for part in rest[2:] if part != "machine" and not _form(part)]
    for part in rest:
        if isinstance(part, int) and words:
            words[-1] += f"[{part}]"
        else:
            words.append(_shown(str(part)))
    return " ".join(words)


def _shown(key: str) -> str:
    """A key of a stranger: short, and nothing in it that a terminal would obey."""
    return key[:60] if key.isprintable() else ascii(key[:60])


def _clause_name(document: Json, index: int) -> str:
    try:
        return _shown(str(document["clauses"][index]["id"]))
    except (KeyError, IndexError, TypeError):
        return f"clause number {index + 1}"
