"""A document as somebody wrote it: its values, and where in the text each of them stands.

Readers for the three syntaxes (``source_json``, ``source_toml``, ``source_yaml``) give one of
these. Lines and columns count from 1, in characters, as editors show them.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from protocols.canonical import MAX_DEPTH, Json
from protocols.errors import InputError

MAX_SOURCE_BYTES = 1024 * 1024
MAX_VALUES = 50_000
LARGEST_WHOLE = 2**53 - 1  # RFC 8785 section 3.2.2.3: beyond it two programs may read two numbers

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a text, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A document with the place of each key (in objects) and each item (in lists)."""

    where: str
    document: Json
    places: Mapping[Path, Place]

    def place(self, path: Path) -> Place:
        """Where a path stands; of a path that is not there, where its nearest holder stands."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def at(self, path: Path) -> str:
        """``file:line:column`` of a path."""
        return at(self.where, self.place(path))


def at(where: str, place: Place) -> str:
    """``file:line:column``, which editors turn into a link."""
    return f"{where}:{place.line}:{place.column}"


def place_of(text: str, index: int) -> Place:
    """Line and column of the character at an index."""
    before = text.rfind("\n", 0, index)
    return Place(text.count("\n", 0, index) + 1, index - before)


def decoded(data: bytes, where: str) -> str:
    """The text of a file: UTF-8, with or without the mark that some editors put first.

    Raises:
        InputError: too large, not UTF-8.
    """
    if len(data) > MAX_SOURCE_BYTES:
        raise InputError(
            f"the file has {len(data)} bytes, at most {MAX_SOURCE_BYTES} are read.",
            where=where,
            fix="An agreement has some tens of kilobytes; is this the right file?",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise InputError(
            f"byte {error.start} is not UTF-8.",
            where=at(where, Place(line, column)),
            fix="Save the file as UTF-8.",
        ) from error
    return text.replace("\r\n", "\n")


def too_deep(where: str, place: Place) -> InputError:
    """The error of a value inside of too many others."""
    return InputError(f"it is nested deeper than {MAX_DEPTH} levels.", where=at(where, place))


def too_many(where: str, place: Place) -> InputError:
    """The error of a document with more values than any agreement has."""
    return InputError(f"the document has more than {MAX_VALUES} values.", where=at(where, place))


def twice(key: str, where: str, place: Place) -> InputError:
    """The error of a key that one object has two times."""
    return InputError(f"the key {shown(key)} stands twice; keep one.", where=at(where, place))


def shown(text: str) -> str:
    """Text of a stranger for one line of a message: short, and letters that mislead named."""
    return ascii(text[:60]) + ("..." if len(text) > 60 else "")


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value with its path, holders first; no recursion, so depth does no harm."""
    waiting: list[tuple[Path, Any]] = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        yield path, value
        if isinstance(value, Mapping):
            waiting.extend(((*path, str(key)), one) for key, one in value.items())
        elif isinstance(value, list):
            waiting.extend(((*path, number), one) for number, one in enumerate(value))


def checked(source: Source) -> Source:
    """The source, if every value has one meaning in JSON.

    Raises:
        InputError: numbers that are none or too large to be exact, text that is not Unicode;
            each at its place. What people can see in a text is the schema's business (glyphs).
    """
    for count, (path, value) in enumerate(walk(source.document), start=1):
        problem = _problem(value)
        if not problem and path and isinstance(path[-1], str):
            problem = _text_problem(path[-1])
        if count > MAX_VALUES + 1:
            raise too_many(source.where, source.place(path))
        if not problem and len(path) > MAX_DEPTH:
            raise too_deep(source.where, source.place(path))
        if problem:
            raise InputError(problem + ".", where=source.at(path))
    return source


def _problem(value: Any) -> str:
    if isinstance(value, str):
        return _text_problem(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a number that can be written in JSON"
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        return f"a whole number beyond {LARGEST_WHOLE} is not exact in every program"
    return ""


def _text_problem(text: str) -> str:
    if text.isascii():
        return ""
    for char in text:
        if unicodedata.category(char) == "Cs":
            return f"half of a surrogate pair (U+{ord(char):04X}) is not text"
    return ""


def lookalike(text: str) -> str:
    """The first letter of another alphabet among Latin ones, in words; empty if there is none.

    A word such as ``min_cohort`` with a Cyrillic o looks right and is another word.
    """
    latin = any("a" <= char.lower() <= "z" for char in text)
    for char in text:
        if not char.isascii() and char.isalpha() and latin:
            name = unicodedata.name(char, "a letter without a name")
            if not name.startswith("LATIN"):
                return f"{char!r} (U+{ord(char):04X}, {name.lower()})"
    return ""
