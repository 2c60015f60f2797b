"""TOML with places: values from ``tomllib``, positions from a second look at the same text.

TOML has no null: a key that is absent stands for null where the schema knows null. Its date
times are taken as the instants that documents write as text; there are no other dates here.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from protocols.agreement.source import (
    Path,
    Place,
    Source,
    at,
    checked,
    decoded,
    place_of,
    too_deep,
)
from protocols.canonical import MAX_DEPTH
from protocols.errors import InputError

_TOKEN = re.compile(
    r'(?P<skip>[ \t]+|\#[^\n]*)|(?P<line>\n)|(?P<long>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5})'
    r'|(?P<short>"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')|(?P<mark>\[\[|\]\]|[\[\]{}=,.])'
    r"|(?P<bare>[^\s\"'\[\]{}=,.\#]+)",
    re.DOTALL,
)
_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")
_AT_END = " (at end of document)"
FIX = "One setting a line: key = value; text in double quotes."


def read_toml(data: bytes, where: str) -> Source:
    """A TOML document with the place of every value.

    Raises:
        InputError: not TOML, too large, too deep, dates that are no instants; names file, line
            and column.
    """
    text = decoded(data, where)
    tokens = _Tokens(text, where)
    tokens.check_depth()
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # of tomllib, or of int() for thousands of digits
        raise _not_toml(str(error), text, where) from error
    index = _Index(tokens)
    index.read()
    source = Source(where, document, index.places)
    return checked(Source(where, _dated(document, (), source), index.places))


def _not_toml(said: str, text: str, where: str) -> InputError:
    found = _AT.search(said)
    if found:
        place = Place(int(found.group(1)), int(found.group(2)))
    else:
        place = place_of(text, len(text)) if said.endswith(_AT_END) else Place(1, 1)
    if "digits" in said:
        said = "a number has more digits than can be read"
    elif "Cannot overwrite a value" in said or "twice" in said:
        said = "a key or table stands twice; keep one"
    said = _AT.sub("", said).removesuffix(_AT_END).replace("\n", " ")[:200]
    return InputError(f"this is not TOML: {said}.", where=at(where, place), fix=FIX)


def _dated(value: Any, path: Path, source: Source) -> Any:
    """The value with instants as text; depth was checked before."""
    if isinstance(value, dict):
        return {key: _dated(one, (*path, key), source) for key, one in value.items()}
    if isinstance(value, list):
        return [_dated(one, (*path, number), source) for number, one in enumerate(value)]
    if isinstance(value, datetime) and value.utcoffset() == timedelta(0) and not value.microsecond:
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date | time):
        raise InputError(
            f"{value} is not an instant in UTC.",
            where=source.at(path),
            fix="Write it as 2026-01-31T08:00:00Z.",
        )
    return value


class _Tokens:
    """Words and marks of a TOML text with their positions; comments and spaces left out."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        self._newlines = [found.start() for found in re.finditer("\n", text)]
        self.kinds: list[str] = []
        self.words: list[str] = []
        self.starts: list[int] = []
        index = 0
        while index < len(text):
            found = _TOKEN.match(text, index)
            kind = (found.lastgroup or "") if found else ""
            open_end = text.startswith(('"""', "'''"), index) and kind != "long"
            if found is None or open_end:
                break  # a quote that never closes: tomllib says where; looking on costs n * n
            if kind != "skip":
                self.kinds.append(kind)
                self.words.append(found.group())
                self.starts.append(index)
            index = found.end()

    def place(self, token: int) -> Place:
        index = self.starts[token] if token < len(self.starts) else len(self.text)
        line = bisect_left(self._newlines, index)
        return Place(line + 1, index - (self._newlines[line - 1] if line else -1))

    def check_depth(self) -> None:
        """Refuse deep nesting, also by dots, before anything recursive sees the text."""
        depth = dots = 0
        for number, word in enumerate(self.words):
            if self.kinds[number] == "line":
                dots = 0
            if self.kinds[number] != "mark":
                continue
            if word in ("[", "{", "[["):
                depth += len(word)
            elif word in ("]", "}", "]]"):
                depth = max(0, depth - len(word))
            dots = dots + 1 if word == "." else 0 if word in ("=", ",") else dots
            if depth + dots > MAX_DEPTH:
                raise too_deep(self.where, self.place(number))


class _Index:
    """Where each key and item of a valid TOML text stands."""

    def __init__(self, tokens: _Tokens) -> None:
        self.tokens = tokens
        self.places: dict[Path, Place] = {}
        self._tables: dict[Path, int] = {}  # arrays of tables, and how many they have so far
        self._at = 0

    def read(self) -> None:
        """All lines: a header opens a table, anything else is a key of the open one."""
        table: Path = ()
        while self._at < len(self.tokens.words):
            if self.tokens.kinds[self._at] == "line":
                self._at += 1
            elif self._word() in ("[", "[["):
                table = self._header()
            else:
                self._pair(table)

    def _word(self) -> str:
        return self.tokens.words[self._at] if self._at < len(self.tokens.words) else ""

    def _header(self) -> Path:
        many = self._word() == "[["
        start = self._at
        self._at += 1
        parts = self._key()
        self._at += 1  # the closing bracket
        path: Path = ()
        for number, part in enumerate(parts, start=1):
            path = (*path, part)
            if many and number == len(parts):
                self._tables[path] = self._tables.get(path, 0) + 1
            self.places.setdefault(path, self.tokens.place(start))
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
                self.places.setdefault(path, self.tokens.place(start))
        return path

    def _key(self) -> list[str]:
        parts = []
        while True:
            word, kind = self._word(), self.tokens.kinds[self._at]
            parts.append(word if kind == "bare" else str(tomllib.loads(f"k = {word}")["k"]))
            self._at += 1
            if self._word() != ".":
                return parts
            self._at += 1

    def _pair(self, table: Path) -> None:
        place = self.tokens.place(self._at)
        path = table
        for part in self._key():
            path = (*path, part)
            self.places.setdefault(path, place)
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        word = self._word()
        if word in ("[", "[["):
            self._array(path)
        elif word == "{":
            self._inline(path)
        else:
            while self._at < len(self.tokens.words):
                kind, word = self.tokens.kinds[self._at], self._word()
                if kind == "line" or word in (",", "]", "]]", "}"):
                    return
                self._at += 1

    def _array(self, path: Path) -> None:
        self._open("[")
        count = 0
        while True:
            self._skip_lines()
            if self._word() in ("]", "]]", ""):
                self._close("]")
                return
            if self._word() == ",":
                self._at += 1
                continue
            self.places[(*path, count)] = self.tokens.place(self._at)
            self._value((*path, count))
            count += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        while self._word() not in ("}", ""):
            if self._word() == ",":
                self._at += 1
            else:
                self._pair(path)
        self._at += 1

    def _open(self, mark: str) -> None:
        """Step over one bracket; the first of two that stand together is split off."""
        if self._word() == mark * 2:
            self.tokens.words[self._at] = mark
            self.tokens.starts[self._at] += 1
        else:
            self._at += 1

    _close = _open

    def _skip_lines(self) -> None:
        while self._at < len(self.tokens.words) and self.tokens.kinds[self._at] == "line":
            self._at += 1
