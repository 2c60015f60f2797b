"""An agreement as a file that people read and change: TOML, YAML or JSON.

Reading it again gives the same document (a property test). In TOML and YAML each figure has a
comment from ``words``; JSON knows no comments. Texts are folded at the width of a page. Each
piece of text is read back before it is used, and written with escapes if that fails.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

import yaml
from pydantic import BaseModel

from protocols.agreement.authoring import BLOCKS, Syntax, models_in
from protocols.agreement.words import figure
from protocols.canonical import Json
from protocols.errors import InputError

WIDTH = 92
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
HEAD = (
    "An agreement of a data cooperative. People read plain_text; software obeys the tables called",
    "machine. Change both together, then: coop-coordinator agreement check FILE",
)
_NO_NULL = (
    "TOML has no null: an optional key that is left out (hours_utc, taxonomy, scope, reference, "
    "prev) is null."
)


def write(document: Json, syntax: Syntax) -> str:
    """The document in a syntax, ending with a line break.

    Raises:
        InputError: a setting is null, which TOML cannot say.
    """
    if syntax is Syntax.JSON:
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    writer = _Toml() if syntax is Syntax.TOML else _Yaml()
    return "\n".join(writer.lines(document)) + "\n"


def _said(model: type[BaseModel] | None, key: str) -> str:
    known = figure(model.__name__, key) if model is not None else None
    return known.says if known is not None else ""


def _inner(model: type[BaseModel] | None, key: str, value: Any) -> type[BaseModel] | None:
    """The model of a field's value, where it can only be one (or is told by its keys)."""
    field = model.model_fields.get(key) if model is not None else None
    found = models_in(field.annotation) if field is not None else ()
    if len(found) > 1 and isinstance(value, Mapping):
        found = tuple(one for one in found if set(value) <= set(one.model_fields))
    return found[0] if len(found) == 1 else None


def _escaped(text: str) -> str:
    """Text in double quotes that TOML, YAML and JSON read alike."""
    out = []
    for char in text:
        plain = char.isprintable() and ord(char) < 0x10000 and char not in '"\\'
        if plain:
            out.append(char)
        elif char in '"\\':
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        else:
            code = ord(char)
            out.append(f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}")
    return '"' + "".join(out) + '"'


def _clauses(document: Json) -> Iterator[tuple[Mapping[str, Any], type[BaseModel] | None]]:
    for clause in document["clauses"]:
        machine = clause.get("machine")
        yield clause, BLOCKS.get(str(machine["type"])) if machine is not None else None


class _Toml:
    """One table a clause; small tables of a block stand in one line."""

    def lines(self, document: Json) -> Iterator[str]:
        yield from (f"# {line}" for line in (*HEAD, _NO_NULL))
        yield ""
        for key, value in document.items():
            if key != "clauses":
                yield from self._pair(key, value, None)
        for clause, model in _clauses(document):
            yield ""
            yield "[[clauses]]"
            for key, value in clause.items():
                if key != "machine":
                    yield from self._pair(key, value, None)
            if model is not None:
                yield ""
                yield "[clauses.machine]"
                late = [key for key, one in clause["machine"].items() if self._wide(one)]
                for key, value in clause["machine"].items():
                    if key not in late:
                        yield from self._pair(key, value, model)
                for key in late:
                    yield from self._tables(key, clause["machine"][key], model)

    def _wide(self, value: Any) -> bool:
        """A list with an object that is too long for a line."""
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            return False
        return any(len(self._value(one)) > WIDTH - 2 for one in value)

    def _tables(
        self, key: str, values: list[Mapping[str, Any]], model: type[BaseModel] | None
    ) -> Iterator[str]:
        """Each entry as a table of its own; these have to follow all other keys of the block."""
        for one in values:
            yield ""
            if one is values[0] and _said(model, key):
                yield f"# {_said(model, key)}"
            yield f"[[clauses.machine.{self._key(key)}]]"
            for name, value in one.items():
                yield from self._pair(name, value, _inner(model, key, values))

    def _pair(self, key: str, value: Any, model: type[BaseModel] | None) -> Iterator[str]:
        said = _said(model, key)
        comment = f"  # {said}" if said else ""
        if value is None:
            yield f"# {key} is left out: null.{comment}"
            return
        start = f"{self._key(key)} = "
        if isinstance(value, str):
            yield from self._text(start, value, comment)
            return
        if isinstance(value, Mapping) and len(start + self._value(value)) > WIDTH:
            yield f"# {said}" if said else ""
            for name, one in value.items():
                yield f"{self._key(key)}.{self._key(name)} = {self._value(one)}"
            return
        line = start + self._value(value)
        if len(line) + len(comment) <= WIDTH or not isinstance(value, list) or not value:
            if comment and len(line) + len(comment) > WIDTH:
                yield f"# {said}"
                comment = ""
            yield line + comment
            return
        if comment:
            yield f"# {said}"
        yield start + "["
        inner = _inner(model, key, value)
        if inner is not None:
            yield from (f"  # {name}: {_said(inner, name)}" for name in _keys(value))
        for one in value:
            yield f"  {self._value(one)},"
        yield "]"

    def _text(self, start: str, value: str, comment: str) -> Iterator[str]:
        line = start + _escaped(value)
        if len(line) <= WIDTH:
            fits = len(line) + len(comment) <= WIDTH
            if not fits:
                yield comment.strip()
            yield line + (comment if fits else "")
            return
        if comment:
            yield comment.strip()
        folded = self._folded(value)
        if folded and tomllib.loads(f"k = {folded}")["k"] == value:
            yield start + folded
        else:
            yield line

    def _folded(self, text: str) -> str:
        """A text over several lines: a backslash at the end of a line takes the break back."""
        out = []
        for paragraph in text.split("\n"):
            inside = _escaped(paragraph)[1:-1].replace('\\"', '"')  # three in a row: see below
            lines = wrap(inside, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
            out.append(" \\\n".join(lines))
        folded = '"""\\\n' + "\n".join(out) + '"""'
        try:
            tomllib.loads(f"k = {folded}")
        except tomllib.TOMLDecodeError:
            return ""
        return folded

    def _key(self, key: str) -> str:
        return key if _BARE.fullmatch(key) else _escaped(key)

    def _value(self, value: Any) -> str:
        if value is None:
            raise InputError(
                "a setting is null, which TOML cannot say.", fix="Write YAML or JSON instead."
            )
        if isinstance(value, Mapping):
            pairs = [
                f"{self._key(key)} = {self._value(one)}"
                for key, one in value.items()
                if one is not None or key not in ("scope", "reference")
            ]
            return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self._value, value)) + "]"
        return _escaped(value) if isinstance(value, str) else _number(value)


class _Yaml:
    """Blocks by indentation; texts folded, everything else that is text in quotes."""

    def lines(self, document: Json) -> Iterator[str]:
        yield from (f"# {line}" for line in HEAD)
        yield ""
        for key, value in document.items():
            if key != "clauses":
                yield from self._pair("", key, value, None)
        yield "clauses:"
        for clause, model in _clauses(document):
            yield ""
            mark = "  - "
            for key, value in clause.items():
                for line in self._pair("    ", key, value, model if key == "machine" else None):
                    yield mark + line[4:] if mark.strip() else line
                    mark = "    "

    def _pair(
        self, indent: str, key: str, value: Any, model: type[BaseModel] | None
    ) -> Iterator[str]:
        start = f"{indent}{self._key(key)}:"
        whole = key == "machine" and isinstance(value, Mapping) and model is not None
        said = "" if whole else _said(model, key)
        comment = f"  # {said}" if said else ""
        if isinstance(value, str) and len(start) + len(value) > WIDTH:
            if comment:
                yield f"{indent}# {said}"
            yield from self._folded(start, indent, value)
            return
        if not isinstance(value, list | Mapping) or not value or self._short(start, value):
            line = f"{start} {self._flow(value)}"
            if len(line) + len(comment) > WIDTH and comment:
                yield f"{indent}# {said}"
                comment = ""
            yield line + comment
            return
        yield start + comment
        if isinstance(value, Mapping):
            inner = model if whole else _inner(model, key, value)
            for name, one in value.items():
                yield from self._pair(indent + "  ", name, one, inner)
        else:
            yield from self._items(indent + "  ", value, _inner(model, key, value))

    def _items(
        self, indent: str, values: list[Any], model: type[BaseModel] | None
    ) -> Iterator[str]:
        for one in values:
            if not isinstance(one, Mapping) or not one:
                yield f"{indent}- {self._flow(one)}"
                continue
            mark = f"{indent}- "
            for name, value in one.items():
                for line in self._pair(indent + "  ", name, value, model):
                    yield mark + line[len(mark) :] if mark.strip() else line
                    mark = " " * len(mark)

    def _short(self, start: str, value: Any) -> bool:
        if isinstance(value, Mapping):
            flat = all(not isinstance(one, list | Mapping) for one in value.values())
            return flat and len(value) <= 2 and len(start) + len(self._flow(value)) < WIDTH // 2
        flat = all(not isinstance(one, list | Mapping) for one in value)
        return flat and len(start) + len(self._flow(value)) < WIDTH

    def _folded(self, start: str, indent: str, text: str) -> Iterator[str]:
        width = max(40, WIDTH - len(indent) - 2)
        out: list[str] = []
        for number, paragraph in enumerate(text.split("\n")):
            if number:
                out.append("")
            out += wrap(paragraph, width, break_long_words=False, break_on_hyphens=False) or [""]
        block = "\n".join(["k: >-", *(f"  {line}" if line else "" for line in out)])
        try:
            same = yaml.safe_load(block) == {"k": text}
        except yaml.YAMLError:
            same = False
        if not same:
            yield f"{start} {_escaped(text)}"
            return
        yield f"{start} >-"
        yield from (f"{indent}  {line}" if line else "" for line in out)

    def _key(self, key: str) -> str:
        return key if _WORD.fullmatch(key) else _escaped(key)

    def _flow(self, value: Any) -> str:
        if isinstance(value, Mapping):
            pairs = [f"{self._key(key)}: {self._flow(one)}" for key, one in value.items()]
            return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self._flow, value)) + "]"
        if value is None:
            return "null"
        return _escaped(value) if isinstance(value, str) else _number(value)


def _keys(entries: list[Any]) -> list[str]:
    return list(dict.fromkeys(key for one in entries if isinstance(one, Mapping) for key in one))


def _number(value: bool | int | float) -> str:
    """As JSON; with a point before an exponent, without which some readers of YAML see text."""
    text = json.dumps(value)
    return re.sub(r"^(-?\d+)e", r"\1.0e", text)
