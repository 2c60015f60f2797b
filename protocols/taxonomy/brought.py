"""A consortium's own list of categories, read into the one form (SPEC.md section 3).

Three kinds of file are known: Google's product taxonomy with ids, and GS1 GPC as XML or as the
table of its Excel edition saved as CSV. Their texts belong to others; nothing of them is in this
package. What lies below the asked level becomes other names of the category above it.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from protocols.errors import InputError
from protocols.taxonomy.form import MAX_ALSO, MAX_TEXT, Node, Taxonomy, build, fold, shown

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_ROWS: Final = 200_000
MAX_LINE: Final = 4000
GPC_LEVELS: Final = ("segment", "family", "class", "brick")
NAMES_OF: Final = {"google": "Google product taxonomy", "gpc": "GS1 GPC"}

_GOOGLE = re.compile(r"(\d{1,9}) - (.+)")
_GPC_CODE = re.compile(r"\d{8}")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One category of a file: the numbers and the names from the top down to it."""

    path: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """How a file is to be read.

    Args:
        name, version: of the taxonomy that is made; ``google:2021-09-21``.
        level: how deep categories go; what is below gives other names only.
        locale: the language of the names, two letters.
        only: numbers at the top to keep; empty keeps all.
    """

    name: str
    version: str
    level: int
    locale: str
    only: frozenset[str] = frozenset()


def read_brought(text: bytes, wish: Wish, where: str) -> Taxonomy:
    """A taxonomy from the bytes of a Google or GPC file of unknown origin.

    Raises:
        InputError: none of the three forms, a line that does not fit, or too many categories.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"the file has more than {MAX_BYTES} bytes.", where=where)
    start = text[:400].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<"):
        kind, entries = "gpc", list(gpc_xml(text, where))
    elif start.startswith(b"#") or re.match(rb"\d+ - ", start):
        kind, entries = "google", list(google(text, where))
    else:
        kind, entries = "gpc", list(gpc_table(text, where))
    if not entries:
        raise InputError("there is no category in the file.", where=where)
    return _made(entries, kind, wish, where)


def google(text: bytes, where: str) -> Iterator[Entry]:
    """``1604 - Apparel & Accessories > Clothing``, one category a line, parents before children.

    Raises:
        InputError: names the line.
    """
    known: dict[tuple[str, ...], str] = {}
    for number, line in enumerate(_lines(text, where), 1):
        if not line.strip() or line.startswith("#"):
            continue
        spot = f"{where}:{number}"
        found = _GOOGLE.fullmatch(line.strip())
        if found is None:
            raise InputError(
                f"{shown(line)} is not 'number - name > name'.",
                where=spot,
                fix="Take the file with ids (taxonomy-with-ids).",
            )
        names = tuple(_clean(part) for part in found[2].split(" > "))
        above = [names[: depth + 1] for depth in range(len(names) - 1)]
        if any(one not in known for one in above):
            raise InputError("its parent does not stand before it.", where=spot)
        if names in known:
            raise InputError(f"{shown(names[-1])} stands twice.", where=spot)
        known[names] = found[1]
        yield Entry((*(known[one] for one in above), found[1]), names)


def gpc_xml(text: bytes, where: str) -> Iterator[Entry]:
    """``<segment code text><family ..><class ..><brick ..>``; attributes of bricks are not read.

    A document type, an entity or another encoding than UTF-8, UTF-16 and Latin-1 is refused, so
    nothing is fetched and nothing grows.

    Raises:
        InputError: names the line.
    """
    reader = _GpcReader(where)
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    parser.ExternalEntityRefHandler = reader.refuse
    reader.line = lambda: parser.CurrentLineNumber
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise InputError(
            f"this is not XML: {expat.errors.messages[error.code]}.",
            where=f"{where}:{error.lineno}:{error.offset + 1}",
        ) from error
    except ValueError as error:  # an encoding that expat does not know and Python cannot give it
        raise InputError(
            "it is in an encoding that is not read here.",
            where=f"{where}:1",
            fix="Save the file as UTF-8.",
        ) from error
    yield from reader.entries


class _GpcReader:
    """Collects the four levels; everything else in the file is passed over."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.entries: list[Entry] = []
        self.open: list[tuple[str, str]] = []  # (number, name) of the levels we are in
        self.depth = 0
        self.line: Callable[[], int] = int

    def start(self, tag: str, values: Mapping[str, str]) -> None:
        self.depth += 1
        spot = f"{self.where}:{self.line()}"
        if self.depth > 32 or len(self.entries) > MAX_ROWS:
            raise InputError("it is nested too deep or has too many entries.", where=spot)
        if tag not in GPC_LEVELS:
            return
        if GPC_LEVELS.index(tag) != len(self.open):
            raise InputError(f"a {tag} stands where none belongs.", where=spot)
        code, name = values.get("code", ""), _clean(values.get("text", ""))
        if not _GPC_CODE.fullmatch(code) or not name:
            raise InputError(f"a {tag} has no code of 8 digits or no text.", where=spot)
        self.open.append((code, name))
        self.entries.append(
            Entry(tuple(code for code, _ in self.open), tuple(name for _, name in self.open))
        )

    def end(self, tag: str) -> None:
        self.depth -= 1
        if tag in GPC_LEVELS:
            self.open.pop()

    def refuse(self, *_: object) -> int:
        raise InputError(
            "the file declares a document type or an entity, which GPC files do not.",
            where=f"{self.where}:{self.line()}",
            fix="Download the file again from GS1.",
        )


def gpc_table(text: bytes, where: str) -> Iterator[Entry]:
    """The table of the Excel edition as CSV: a code and a title column for each of four levels.

    Further columns are passed over; a brick stands once for each of its attributes.

    Raises:
        InputError: the columns are not there, or a line does not fit.
    """
    lines = _lines(text, where)
    head = next((line for line in lines if line.strip()), "")
    mark = max(",;\t", key=head.count)
    table = csv.reader(io.StringIO("\n".join(_lines(text, where))), delimiter=mark, strict=True)
    try:
        columns = _gpc_columns(next(table, []), where)
        seen: set[tuple[str, ...]] = set()
        for row in table:
            spot = f"{where}:{table.line_num}"
            if table.line_num > MAX_ROWS:
                raise InputError(f"there are more than {MAX_ROWS} lines.", where=spot)
            yield from _gpc_row(row, columns, seen, spot)
    except csv.Error as error:
        raise InputError(
            f"this is not a table: {error}.", where=f"{where}:{table.line_num}"
        ) from error


def _gpc_columns(head: Sequence[str], where: str) -> tuple[tuple[int, int], ...]:
    places = {re.sub(r"[^a-z]", "", name.casefold()): at for at, name in enumerate(head)}
    out = []
    for level in GPC_LEVELS:
        code = places.get(f"{level}code")
        name = places.get(f"{level}title", places.get(f"{level}description"))
        if code is None or name is None:
            raise InputError(
                f"there is no column for the {level}'s code and title.",
                where=f"{where}:1",
                fix="A Google file with ids, a GPC file as XML, or the table of GPC's Excel "
                "edition saved as CSV can be read.",
            )
        out.append((code, name))
    return tuple(out)


def _gpc_row(
    row: Sequence[str], columns: tuple[tuple[int, int], ...], seen: set[tuple[str, ...]], spot: str
) -> Iterator[Entry]:
    if not any(cell.strip() for cell in row):
        return
    if len(row) <= max(max(pair) for pair in columns):
        raise InputError(f"the line has {len(row)} cells only.", where=spot)
    codes = tuple(row[code].strip() for code, _ in columns)
    names = tuple(_clean(row[name]) for _, name in columns)
    for depth in range(1, len(columns) + 1):
        path = codes[:depth]
        if path in seen or not any(codes[depth - 1 :]):
            continue
        if not _GPC_CODE.fullmatch(path[-1]) or not names[depth - 1]:
            raise InputError(
                f"the {GPC_LEVELS[depth - 1]} has no code of 8 digits or no title.", where=spot
            )
        seen.add(path)
        yield Entry(path, names[:depth])


def _made(entries: Sequence[Entry], kind: str, wish: Wish, where: str) -> Taxonomy:
    """Down to the asked level; the names below become other names, if one category alone has
    them."""
    kept = [one for one in entries if not wish.only or one.path[0] in wish.only]
    absent = sorted(wish.only - {one.path[0] for one in entries})
    if absent:
        raise InputError(f"{shown(absent[0])} is no number at the top of the file.", where=where)
    others: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    holders: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for one in kept:
        if len(one.path) > wish.level:
            word = one.names[-1][:MAX_TEXT]
            others[one.path[: wish.level]].setdefault(fold(word), word)
            holders[fold(word)].add(one.path[: wish.level])
    nodes = [
        Node(
            ".".join(one.path),
            {wish.locale: one.names[-1][:MAX_TEXT]},
            tuple(
                word
                for key, word in others[one.path].items()
                if len(holders[key]) == 1 and key != fold(one.names[-1])
            )[:MAX_ALSO],
        )
        for one in kept
        if len(one.path) <= wish.level
    ]
    return build(
        name=wish.name,
        version=wish.version,
        title=f"{NAMES_OF[kind]}, {wish.level} levels",
        source=f"{NAMES_OF[kind]}; its texts belong to their publisher, whose terms say who may "
        "pass them on",
        locales=(wish.locale,),
        nodes=nodes,
        where=where,
    )


def _lines(text: bytes, where: str) -> list[str]:
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start} is not UTF-8.", where=where, fix="Save the file as UTF-8."
        ) from error
    lines = decoded.split("\n")
    if len(lines) > MAX_ROWS or max(map(len, lines)) > MAX_LINE * 4:
        raise InputError("there are too many lines or a line is too long.", where=where)
    return [line.rstrip("\r") for line in lines]


def _clean(name: str) -> str:
    return _SPACE.sub(" ", name).strip()
