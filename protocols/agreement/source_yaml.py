"""YAML with places: the small part of it that has one meaning.

Parsed by PyYAML, composed here. There are mappings, lists, text, whole and decimal numbers, true,
false and null; an agreement that many people sign has no room for the rest of YAML, where ``no``
is a truth value, ``012`` is ten, ``1:30`` is ninety, and one line can stand for a billion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from protocols.agreement.source import (
    MAX_VALUES,
    Path,
    Place,
    Source,
    at,
    checked,
    decoded,
    place_of,
    too_deep,
    too_many,
    twice,
)
from protocols.canonical import MAX_DEPTH
from protocols.errors import InputError

MAX_DIGITS = 400
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ALMOST_NUMBER = re.compile(
    r"[-+]?(?:[0-9][0-9_]*(?::[0-9_]+)+(?:\.[0-9_]*)?|0[box][0-9A-Fa-f_]+|[0-9][0-9_]*"
    r"|[0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|nan))",
    re.IGNORECASE,
)
_WORDS = {"true": True, "false": False, "null": None}
_UNCLEAR = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ""}


def read_yaml(data: bytes, where: str) -> Source:
    """A YAML mapping with the place of every value.

    Raises:
        InputError: not YAML, or YAML beyond the small part above; names file, line and column.
    """
    text = decoded(data, where)
    composer = _Composer(text, where)
    try:
        value = composer.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        said = (error.problem or error.context or "it cannot be read").replace("\n", " ")
        raise InputError(f"this is not YAML: {said}.", where=at(where, place)) from error
    except yaml.reader.ReaderError as error:
        place = place_of(text, error.position) if isinstance(error.position, int) else Place(1, 1)
        raise InputError(
            "a character that YAML does not allow stands here.", where=at(where, place)
        ) from error
    except (ValueError, OverflowError) as error:  # PyYAML: an escape beyond Unicode, a huge version
        raise InputError(
            "this is not YAML: a number or an escape is out of range.",
            where=at(where, composer.last),
        ) from error
    return checked(Source(where, value, composer.places))


class _Composer:
    """Values from PyYAML's events, one at a time, so that what is refused is never built."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.places: dict[Path, Place] = {}
        self.last = Place(1, 1)
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)

    def _next(self) -> yaml.Event:
        event = next(self._events)
        if event.start_mark is not None:
            self.last = Place(event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._error(
                "anchors (&) and aliases (*) are not read",
                "Write the value out where it is needed, or put the text in quotes.",
            )
        if getattr(event, "tag", None) is not None:
            raise self._error("tags (!) are not read", "Put the text in quotes.")
        return event

    def _put(self, path: Path, place: Place) -> None:
        if len(self.places) >= MAX_VALUES:
            raise too_many(self.where, place)
        self.places[path] = place

    def _error(self, problem: str, fix: str = "", place: Place | None = None) -> InputError:
        return InputError(f"{problem}.", where=at(self.where, place or self.last), fix=fix)

    def document(self) -> dict[str, Any]:
        self._next()  # the stream starts
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            raise self._error("the file is empty")
        if getattr(start, "version", None) or getattr(start, "tags", None):
            raise self._error("directives (%) are not read", "Remove the line.")
        event = self._next()
        if not isinstance(event, yaml.MappingStartEvent):
            raise self._error("keys with values are expected at the top")
        value = self._mapping((), 1)
        self._next()  # the document ends
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise self._error("a second document starts here", "Keep one in a file.")
        return value

    def _value(self, event: yaml.Event, path: Path, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if depth >= MAX_DEPTH:
            raise too_deep(self.where, self.last)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path, depth + 1)
        return self._mapping(path, depth + 1)

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        while True:
            event = self._next()
            if isinstance(event, yaml.MappingEndEvent):
                return out
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error("a key must be a word")
            key, place = str(event.value), self.last
            if key == "<<" and event.style is None:
                raise self._error("merge keys (<<) are not read", "Write the values out.")
            if key in out:
                raise twice(key, self.where, place)
            self._put((*path, key), place)
            out[key] = self._value(self._next(), (*path, key), depth)

    def _list(self, path: Path, depth: int) -> list[Any]:
        out: list[Any] = []
        while True:
            event = self._next()
            if isinstance(event, yaml.SequenceEndEvent):
                return out
            self._put((*path, len(out)), self.last)
            out.append(self._value(event, (*path, len(out)), depth))

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        text = str(event.value)
        if event.style is not None:  # in quotes or a block: text, whatever it looks like
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text.lower() in _UNCLEAR:
            if not text:
                raise self._error("a value is missing", "Write null if nothing is meant.")
            raise self._error(
                f"{text!r} can be read in two ways",
                "Write true, false or null in small letters, or put the text in quotes.",
            )
        if len(text) <= MAX_DIGITS and _WHOLE.fullmatch(text):
            return int(text)
        if len(text) <= MAX_DIGITS and _DECIMAL.fullmatch(text):
            return float(text)
        if _ALMOST_NUMBER.fullmatch(text[: 2 * MAX_DIGITS]):
            raise self._error(
                f"{text[:40]!r} is a number in some programs and another one in others",
                "Write it with digits and one point, or put the text in quotes.",
            )
        return text
