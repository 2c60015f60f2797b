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
    found = [one for one in error.errors(include_url=False) if _meant(one["loc"], document)]
    return tuple((one["loc"], _sentence(one, document)) for one in found)


def _meant(path: Sequence[str | int], document: Json) -> bool:
    """Whether a problem is one of the form that was meant, where a quorum has two forms."""
    other = {"Members": False, "Fraction": True}
    at = next((number for number, step in enumerate(path) if step in other), None)
    if at is None:
        return True
    value: Any = document
    for step in path[:at]:
        if isinstance(value, Mapping) and step not in value:
            continue  # the name of a block's type, which the schema adds
        value = value[step]
    counted = isinstance(value, Mapping) and "members" in value
    return counted != other[str(path[at])]


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
        rest = [part for part in rest[2:] if part not in ("machine", "Members", "Fraction")]
    for part in rest:
        if isinstance(part, int) and words:
            words[-1] += f"[{part}]"
        else:
            words.append(str(part))
    return " ".join(words)


def _clause_name(document: Json, index: int) -> str:
    try:
        return str(document["clauses"][index]["id"])
    except (KeyError, IndexError, TypeError):
        return f"clause number {index + 1}"
