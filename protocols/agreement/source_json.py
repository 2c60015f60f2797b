"""JSON with places: RFC 8259, each key once, no constants beyond it."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from typing import Any

from protocols.agreement.source import (
    MAX_VALUES,
    Path,
    Place,
    Source,
    at,
    checked,
    decoded,
    too_deep,
    too_many,
    twice,
)
from protocols.canonical import MAX_DEPTH
from protocols.errors import InputError

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD = re.compile(r"[A-Za-z]+")
MAX_DIGITS = 400


def read_json(data: bytes, where: str) -> Source:
    """A JSON object with the place of every value.

    Raises:
        InputError: not JSON, too large, too deep, a key twice; names file, line and column.
    """
    text = decoded(data, where)
    reader = _Reader(text, where)
    value, end = reader.value(reader.skip(0), (), 0)
    end = reader.skip(end)
    if end != len(text):
        raise reader.error("something follows after the end of the document", end)
    if not isinstance(value, dict):
        raise reader.error("an object in curly brackets is expected at the top", reader.skip(0))
    return checked(Source(where, value, reader.places))


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        self.places: dict[Path, Place] = {}
        self._newlines = [found.start() for found in re.finditer("\n", text)]

    def place(self, index: int) -> Place:
        line = bisect_left(self._newlines, index)
        return Place(line + 1, index - (self._newlines[line - 1] if line else -1))

    def _put(self, path: Path, index: int) -> None:
        if len(self.places) >= MAX_VALUES:
            raise too_many(self.where, self.place(index))
        self.places[path] = self.place(index)

    def error(self, problem: str, index: int, fix: str = "") -> InputError:
        return InputError(
            f"this is not JSON: {problem}.", where=at(self.where, self.place(index)), fix=fix
        )

    def skip(self, index: int) -> int:
        found = _SPACE.match(self.text, index)
        return found.end() if found else index

    def value(self, index: int, path: Path, depth: int) -> tuple[Any, int]:
        char = self.text[index : index + 1]
        if char in ("{", "["):
            if depth >= MAX_DEPTH:
                raise too_deep(self.where, self.place(index))
            return (self._object if char == "{" else self._list)(index + 1, path, depth + 1)
        if char == '"':
            return self._string(index)
        number = _NUMBER.match(self.text, index)
        if number:
            return self._number(number), number.end()
        word = _WORD.match(self.text, index)
        if word and word.group() in _WORDS:
            return _WORDS[word.group()], word.end()
        if not char:
            raise self.error("the text ends too early", index)
        raise self.error("a value is expected here", index)

    def _number(self, found: re.Match[str]) -> int | float:
        if len(found.group()) > MAX_DIGITS:
            raise self.error("a number has more digits than can be read", found.start())
        whole = found.group(2) is None and found.group(3) is None
        return int(found.group()) if whole else float(found.group())

    def _string(self, index: int) -> tuple[str, int]:
        found = _STRING.match(self.text, index)
        if found is None:
            raise self.error("this text is not closed, or holds a control character", index)
        try:
            return str(json.loads(found.group())), found.end()
        except json.JSONDecodeError as error:
            raise self.error("a backslash stands before the wrong letter", index) from error

    def _object(self, index: int, path: Path, depth: int) -> tuple[dict[str, Any], int]:
        out: dict[str, Any] = {}
        index = self.skip(index)
        if self.text.startswith("}", index):
            return out, index + 1
        while True:
            if not self.text.startswith('"', index):
                raise self.error("a key in double quotes is expected here", index)
            start = index
            key, index = self._string(index)
            if key in out:
                raise twice(key, self.where, self.place(start))
            self._put((*path, key), start)
            index = self.skip(index)
            if not self.text.startswith(":", index):
                raise self.error("a colon is expected after the key", index)
            out[key], index = self.value(self.skip(index + 1), (*path, key), depth)
            index, over = self._next(index, "}")
            if over:
                return out, index

    def _list(self, index: int, path: Path, depth: int) -> tuple[list[Any], int]:
        out: list[Any] = []
        index = self.skip(index)
        if self.text.startswith("]", index):
            return out, index + 1
        while True:
            self._put((*path, len(out)), index)
            value, index = self.value(index, (*path, len(out)), depth)
            out.append(value)
            index, over = self._next(index, "]")
            if over:
                return out, index

    def _next(self, index: int, close: str) -> tuple[int, bool]:
        index = self.skip(index)
        if self.text.startswith(close, index):
            return index + 1, True
        if not self.text.startswith(",", index):
            raise self.error(f"a comma or {close} is expected here", index)
        return self.skip(index + 1), False
