"""Values of a settings file, each looked at before it counts, each mistake with its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from protocols.agreement.source import Source
from protocols.errors import InputError

MAX_TEXT: Final = 300
MAX_LIST: Final = 200
Path = tuple[str | int, ...]


class Checked:
    """Looks at one document; every method raises InputError with the place of what is wrong."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.where = source.where
        self.top = cast("dict[str, Any]", source.document)

    def wrong(self, path: Path, problem: str, fix: str = "") -> InputError:
        """The refusal of what stands at a path."""
        return InputError(problem, where=self._source.at(path), fix=fix or "Correct this line.")

    def keys(self, path: Path, value: Any, allowed: Sequence[str]) -> Any:
        """A table that has only known keys."""
        if not isinstance(value, dict):
            raise self.wrong(path, f"{last(path)} is not a table of settings.")
        for name in value:
            if name not in allowed:
                raise self.wrong(
                    (*path, name),
                    f"{name!r} is not a setting here; expected one of {', '.join(allowed)}.",
                )
        return value

    def text(self, path: Path, value: Any) -> str:
        """A text that prints, without blanks around it."""
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(path, f"{last(path)} is not a text; expected one in quotes.")
        if len(value) > MAX_TEXT or not value.isprintable():
            raise self.wrong(path, f"{last(path)} is too long or has characters that do not print.")
        return value.strip()

    def texts(self, path: Path, value: Any) -> tuple[str, ...]:
        """One text, or a list of some."""
        if isinstance(value, str):
            return (self.text(path, value),)
        if not isinstance(value, list) or not value or len(value) > MAX_LIST:
            raise self.wrong(
                path, f"{last(path)} is neither a text nor a list of 1 to {MAX_LIST} texts."
            )
        return tuple(self.text((*path, at), one) for at, one in enumerate(value))

    def values(self, path: Path, value: Any) -> frozenset[str]:
        """Values of cells for comparison; a blank one may be among them."""
        if not isinstance(value, list) or len(value) > MAX_LIST:
            raise self.wrong(path, f"{last(path)} is not a list of at most {MAX_LIST} texts.")
        return frozenset(
            folded(self.text((*path, at), one)) if one != "" else "" for at, one in enumerate(value)
        )

    def optional(self, path: Path, held: Mapping[str, Any]) -> str:
        """The text under a name; "" if it is not there."""
        name = str(path[-1])
        return self.text(path, held[name]) if name in held else ""

    def several(self, path: Path, held: Mapping[str, Any]) -> tuple[str, ...]:
        """The texts under a name; none if it is not there."""
        name = str(path[-1])
        return self.texts(path, held[name]) if name in held else ()

    def one_of(self, path: Path, held: Mapping[str, Any], allowed: Sequence[str]) -> str:
        """One of the allowed texts under a name; "" if it is not there."""
        found = self.optional(path, held)
        if found and found not in allowed:
            raise self.wrong(
                path, f"{found!r} is not possible here; expected one of {', '.join(allowed)}."
            )
        return found

    def items(self, path: Path, value: Any) -> list[Any]:
        """A list of tables."""
        if not isinstance(value, list) or len(value) > MAX_LIST:
            raise self.wrong(path, f"{last(path)} is not a list of tables ([[{last(path)}]]).")
        return value


def folded(value: str) -> str:
    """A cell's value for comparison."""
    return value.strip().casefold()


def last(path: Path) -> str:
    """The last name of a path, for messages."""
    names = [str(step) for step in path if isinstance(step, str)]
    return names[-1] if names else "the file"
