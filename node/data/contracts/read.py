"""A contract file: read with the place of every value, and held against our profile of ODCS."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from protocols.agreement.authoring import MAX_SHOWN, read_source
from protocols.agreement.source import Path, Source
from protocols.errors import InputError
from protocols.plain import printable

if TYPE_CHECKING:
    from jsonschema import ValidationError

_FIX: Final = (
    "Compare it with a fresh one: coop-node data contract. The standard is ODCS v3.1.0; "
    "node/data/contracts/profile.json says what of it is read here."
)
MESSAGE_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract that fits the profile; ``source`` knows where each value stands."""

    source: Source = field(repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """The values."""
        return dict(self.source.document)

    def at(self, *path: str | int) -> str:
        """``file:line:column`` of a value."""
        return self.source.at(path)


def read_contract(data: bytes, where: str) -> Contract:
    """A contract from the bytes of a YAML or JSON file.

    Raises:
        InputError: not readable, or no contract; ``where`` is file:line:column of the first
            problem, up to four more follow in the sentence.
    """
    source = read_source(data, where)
    found = sorted(
        ((source.place(path), sentence) for path, sentence in _problems(source.document)),
        key=lambda one: (one[0].line, one[0].column, one[1]),
    )
    if found:
        first, rest = found[0], found[1:MAX_SHOWN]
        more = [f"line {place.line}:{place.column}: {sentence}" for place, sentence in rest]
        hidden = len(found) - 1 - len(rest)
        tail = f" (and {hidden} more)" if hidden > 0 else ""
        raise InputError(
            "; ".join([first[1], *more]) + tail + ".",
            where=f"{where}:{first[0].line}:{first[0].column}",
            fix=_FIX,
        )
    return Contract(source)


@cache
def profile() -> dict[str, Any]:
    """Our JSON schema of the part of ODCS v3.1.0 that is made and read here."""
    text = resources.files(__package__).joinpath("profile.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _problems(document: Any) -> Iterable[tuple[Path, str]]:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    for error in Draft202012Validator(profile()).iter_errors(document):
        deepest = best_match([error]) or error
        yield tuple(deepest.absolute_path), _sentence(deepest)


def _sentence(error: ValidationError) -> str:
    """What a schema's error means; its own words only where ours say less."""
    where = ".".join(str(step) for step in error.absolute_path) or "the contract"
    wanted: Any = error.validator_value
    if error.validator == "required":
        return f"{where} lacks {', '.join(n for n in wanted if n not in error.instance)}"
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        names = ", ".join(printable(n, 60) for n in error.instance if n not in known)
        return f"{where} has {names}, which is unknown to the standard or not read here"
    if error.validator in ("const", "enum"):
        choices = [wanted] if error.validator == "const" else wanted
        found = printable(str(error.instance), 60)
        return f"{where} is {found!r}, expected {' or '.join(map(str, choices))}"
    if error.validator == "oneOf":
        return f"{where} needs exactly one comparison, such as mustBe or mustBeLessThan"
    return f"{where}: {printable(error.message, MESSAGE_CHARS)}"
