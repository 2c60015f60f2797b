"""Agreements as operators write them: TOML, YAML or JSON; every error with line and column.

The syntax changes nothing: the same values are the same document and have the same id. What a
syntax cannot say is settled here: an optional key of a machine block that is absent is null (TOML
has no null), and a clause without a block has no ``machine`` key. Documents that are signed
already come through ``parse.parse_agreement``, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from protocols.agreement.parse import ParsedAgreement, read_agreement, sentences
from protocols.agreement.source import Path, Place, Source, at, lookalike
from protocols.agreement.source_json import read_json
from protocols.agreement.source_toml import read_toml
from protocols.agreement.source_yaml import read_yaml
from protocols.agreement.terms import Agreement, Clause
from protocols.canonical import json_bytes
from protocols.errors import InputError

MAX_SHOWN = 5
FIX = "`agreement schema` prints every key with its meaning and bounds."


class Syntax(StrEnum):
    """How a file is written."""

    TOML = "toml"
    YAML = "yaml"
    JSON = "json"


_READERS: Mapping[Syntax, Callable[[bytes, str], Source]] = {
    Syntax.TOML: read_toml,
    Syntax.YAML: read_yaml,
    Syntax.JSON: read_json,
}
_ENDINGS = {"toml": Syntax.TOML, "yaml": Syntax.YAML, "yml": Syntax.YAML, "json": Syntax.JSON}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that the schema refuses, at its place in the text."""

    place: Place
    sentence: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A valid agreement and the text that it was read from."""

    parsed: ParsedAgreement
    source: Source

    def at(self, clause: str, field: str = "") -> str:
        """``file:line:column`` of a clause, or of a key of its machine block."""
        found = next(
            (i for i, one in enumerate(self.source.document["clauses"]) if one["id"] == clause),
            None,
        )
        if found is None:
            return self.source.at(("clauses",))
        path: Path = ("clauses", found)
        if field:
            path = (*path, "machine", *_steps(field))
        return self.source.at(path)


def _steps(field: str) -> Path:
    return tuple(int(step) if step.isdigit() else step for step in field.split("."))


def syntax_of(name: str) -> Syntax:
    """The syntax of a file, by its name.

    Raises:
        InputError: the name ends in none of .toml, .yaml, .yml, .json.
    """
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    if ending not in _ENDINGS:
        raise InputError(
            "it is not clear how this file is written.",
            where=name,
            fix="Let its name end in .toml, .yaml or .json.",
        )
    return _ENDINGS[ending]


def read_source(data: bytes, where: str, syntax: Syntax | None = None) -> Source:
    """The values of a file with their places; nothing is known yet about what they mean.

    Raises:
        InputError: not readable in its syntax; ``where`` is file:line:column.
    """
    chosen = syntax or syntax_of(where)
    return _READERS[chosen](data, where)


def parse_draft(data: bytes, where: str, syntax: Syntax | None = None) -> Draft:
    """An agreement from what somebody wrote.

    Raises:
        InputError: not readable, or not an agreement. ``where`` is the place of the first
            problem; up to four more follow in the sentence, each with line and column.
    """
    source = read_source(data, where, syntax)
    document = completed(source.document)
    found = problems(source)
    if found:
        raise refusal(found, where)
    return Draft(read_agreement(document, where), source)


def refusal(found: tuple[Problem, ...], where: str) -> InputError:
    """The problems as one error."""
    first, rest = found[0], found[1:MAX_SHOWN]
    more = [f"line {one.place.line}:{one.place.column}: {one.sentence}" for one in rest]
    hidden = len(found) - 1 - len(rest)
    tail = f" (and {hidden} more)" if hidden > 0 else ""
    return InputError(
        "; ".join([first.sentence, *more]) + tail + ".", where=at(where, first.place), fix=FIX
    )


def problems(source: Source) -> tuple[Problem, ...]:
    """Everything that the schema refuses, in the order of the text; empty if it is valid."""
    document = completed(source.document)
    try:
        Agreement.model_validate_json(json_bytes(document))
    except ValidationError as error:
        found = [
            Problem(source.place(path), sentence + _hint(path, source))
            for path, sentence in (
                (_path(location, document), sentence)
                for location, sentence in sentences(error, document)
            )
        ]
        return tuple(dict.fromkeys(sorted(found, key=lambda one: one.place)))
    return ()


def _path(location: tuple[str | int, ...], document: Any) -> Path:
    """The path in the document; the schema's own steps (names of alternatives) are left out."""
    path: Path = ()
    value = document
    for step in location:
        if _has(value, step):
            value = value[step]
            path = (*path, step)
    return path


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, Mapping):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and step < len(value)


def _hint(path: Path, source: Source) -> str:
    """Say it if a letter of another alphabet is what is wrong with a key or a name."""
    value: Any = source.document
    for step in path:
        value = value[step]
    for text in (path[-1] if path else "", value):
        letter = lookalike(text) if isinstance(text, str) and len(text) <= 128 else ""
        if letter:
            return f" ({letter} stands among Latin letters)"
    return ""


def completed(document: Any) -> Any:
    """The document in the one form that is signed: optional keys written out as null.

    Values of unexpected kinds are left as they are; the schema names them.
    """
    if not isinstance(document, Mapping):
        return document
    out = dict(document)
    if "prev" not in out and out.get("version") == 1:
        out["prev"] = None
    clauses = out.get("clauses")
    if isinstance(clauses, list):
        out["clauses"] = [_clause(one) for one in clauses]
    return out


def _clause(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    out = {key: one for key, one in value.items() if key != "machine" or one is not None}
    machine = out.get("machine")
    if isinstance(machine, Mapping):
        block = BLOCKS.get(str(machine.get("type")))
        out["machine"] = _with_nulls(block, machine) if block is not None else machine
    return out


def _with_nulls(model: type[BaseModel], value: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(value)
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        if name not in out:
            if nullable(field.annotation):
                out[name] = None
        elif len(inner) == 1:
            out[name] = _inside(inner[0], out[name])
    return out


def _inside(model: type[BaseModel], value: Any) -> Any:
    if isinstance(value, Mapping):
        return _with_nulls(model, value)
    if isinstance(value, list):
        return [_inside(model, one) for one in value]
    return value


def nullable(annotation: Any) -> bool:
    """Whether a field's type knows null."""
    return NoneType in get_args(annotation)


def models_in(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The models that a field's type holds, directly, in a list or as alternatives."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(model for one in get_args(annotation) for model in models_in(one))


def _blocks() -> dict[str, type[BaseModel]]:
    found = models_in(Clause.model_fields["machine"].annotation)
    return {str(get_args(one.model_fields["type"].annotation)[0]): one for one in found}


BLOCKS: Mapping[str, type[BaseModel]] = _blocks()
"""The model of each type of machine block."""
