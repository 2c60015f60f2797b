"""Workbooks (.xlsx, .xls, .ods): looked at first, then opened in a process of their own.

A workbook is a zip of XML, and a few kilobytes of it can unpack to terabytes. So the zip's table
of contents is checked first, and then a child with bounded memory and time hands the cells over
as text.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
import pyarrow as pa

from node.data.batch import BadRow, Reading, TextBatch
from node.data.opened import Header, Rows
from node.data.rawfile import RawFile
from node.data.sniff import SAMPLE_ROWS
from protocols.errors import InputError

MAX_FILE_BYTES: Final = 100_000_000
MAX_MEMBERS: Final = 2_000
MAX_UNPACKED_BYTES: Final = 600_000_000
MAX_RATIO: Final = 200
RATIO_FROM_BYTES: Final = 4_000_000
MAX_HELD_BYTES: Final = 600_000_000
CHILD_MEMORY_BYTES: Final = 3_000_000_000
CHILD_CPU_S: Final = 120
CHILD_WALL_S: Final = 240
MAX_LINE_BYTES: Final = 40_000_000
HEADER_ROWS: Final = 30
BATCH_ROWS: Final = 16_384
_PACKED: Final = (".zip", ".xlsx", ".xlsm", ".ods", ".jar", ".gz", ".bz2", ".xz", ".7z", ".rar")
_AS_CSV: Final = "Save the sheet as CSV UTF-8 and add that file."
_REASONS: Final = {
    "error": "holds an error of the spreadsheet; expected a value",
    "formula": "holds a formula whose result was not saved; open and save the file in your "
    "spreadsheet program",
    "text": "begins with = and is no value; expected plain text or a number",
    "long": "has more than 32767 characters",
}

Choose = Callable[[Sequence[str], Sequence[Sequence[str]]], Reading]


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of rows: a column of text for each header, and the cells that are no values."""

    columns: tuple[pa.StringArray, ...]
    lines: np.ndarray[Any, np.dtype[np.int64]]
    wrong: Mapping[int, Mapping[int, str]]  # row of the part -> place from 0 -> reason


@dataclass(slots=True)
class SheetTable:
    """One sheet, held as text."""

    name: str
    header: Header
    sample: Rows
    read_as: str
    epoch: int
    _raw: RawFile
    _parts: tuple[_Part, ...] = field(repr=False)
    _done: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raw.close()

    def batches(self, wanted: Sequence[str]) -> Iterator[TextBatch]:
        """All rows; those with an error or a formula in a wanted column are broken."""
        places = [self.header.index(name) for name in wanted]
        self._done = 0
        for part in self._parts:
            keep, broken = np.ones(len(part.lines), np.bool_), []
            for row, cells in part.wrong.items():
                place = next((one for one in places if one in cells), None)
                if place is not None:
                    keep[row] = False
                    problem = f"{self.header[place].strip()!r}: {_REASONS[cells[place]]}"
                    broken.append(BadRow(int(part.lines[row]), place + 1, problem))
            columns = {name: part.columns[at] for name, at in zip(wanted, places, strict=True)}
            if broken:
                columns = {name: one.filter(pa.array(keep)) for name, one in columns.items()}
            yield TextBatch(columns, part.lines[keep], tuple(broken))
            self._done += len(part.lines)

    def progress(self) -> tuple[int, int]:
        """Rows read, and in all."""
        return self._done, self.most_rows()

    def most_rows(self) -> int:
        """How many rows there are."""
        return sum(len(part.lines) for part in self._parts)

    def size_bytes(self) -> int:
        """Size of the file."""
        return self._raw.size_bytes

    def finish(self) -> str:
        """SHA-256 of the file."""
        return self._raw.finish()


@contextmanager
def opened(
    path: Path, kind: str, sheet: str | None, choose: Choose
) -> Iterator[tuple[SheetTable, Reading]]:
    """A sheet of a workbook, and how its columns are read.

    Args:
        path: the file.
        kind: ``zip`` (.xlsx, .ods) or ``xls``.
        sheet: the sheet's name, or None if there should be only one with rows.
        choose: what reads a header and its first rows, or refuses them.

    Raises:
        InputError: too large, locked, damaged, several sheets, or no header that can be read.
    """
    with contextlib.ExitStack() as stack:
        raw = _raw(path)
        stack.callback(raw.close)
        if kind == "zip":
            require_harmless(raw, path.name)
        raw.read_to_end()
        rows = stack.enter_context(_child(raw, path.name, sheet or ""))
        about = _chosen(next(rows), path.name, sheet)
        wrong = {int(row): found for row, found in next(rows)["cells"].items()}
        head = list(itertools.islice(rows, HEADER_ROWS + SAMPLE_ROWS))
        at, reading = _header(head, path.name, choose)
        header = _named(head[at])
        sample = tuple(_padded(row, len(header)) for row in head[at + 1 : at + 1 + SAMPLE_ROWS])
        body = itertools.chain(head[at + 1 :], rows)
        parts = tuple(_parts(body, len(header), wrong, path.name))
        read = f"sheet {about['chosen']}"
        yield SheetTable(path.name, header, sample, read, about["epoch"], raw, parts), reading


def sheets(path: Path, kind: str) -> tuple[tuple[str, int], ...]:
    """Names of the sheets that have rows and are not hidden, and how many rows each has.

    Raises:
        InputError: as ``opened``.
    """
    with contextlib.closing(_raw(path)) as raw:
        if kind == "zip":
            require_harmless(raw, path.name)
        with _child(raw, path.name, "") as documents:
            return tuple((name, rows) for name, rows, _ in next(documents)["sheets"])


def _raw(path: Path) -> RawFile:
    raw = RawFile(path)
    if raw.size_bytes > MAX_FILE_BYTES:
        raw.close()
        raise _refused(path.name, f"has {raw.size_bytes / 1e6:.0f} MB; at most 100 are taken")
    return raw


# --- before it is opened -----------------------------------------------------------------------


def require_harmless(raw: RawFile, name: str) -> None:
    """Refuse a zip whose table of contents is not that of a workbook of a bearable size.

    Raises:
        InputError: too many members, too much when unpacked, packed too tightly, a zip in a zip,
            members that overlap or stand twice, locked members, or no zip at all.
    """
    try:
        with raw.as_file() as file, zipfile.ZipFile(file) as book:
            members = book.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _refused(name, "is a damaged zip file") from error
    names = [one.filename for one in members]
    unpacked = sum(one.file_size for one in members)
    problem = ""
    if len(members) > MAX_MEMBERS:
        problem = f"has {len(members)} parts; a workbook has at most {MAX_MEMBERS}"
    elif unpacked > MAX_UNPACKED_BYTES:
        problem = f"unpacks to {unpacked / 1e6:.0f} MB; at most 600 are taken"
    elif len(set(names)) != len(names):
        problem = "has two parts of the same name"
    elif not {"[Content_Types].xml", "content.xml"} & set(names):
        raise InputError(
            "this is a zip file and no workbook.",
            where=name,
            fix="Unpack it and add the file that is in it.",
        )
    else:
        problem = next(filter(None, map(_odd_member, members)), "") or _overlap(
            members, raw.size_bytes
        )
    if problem:
        raise _refused(name, problem)


def _odd_member(one: zipfile.ZipInfo) -> str:
    if one.flag_bits & 1:
        return "is locked with a password"
    if one.filename.lower().endswith(_PACKED):
        return f"holds another packed file ({one.filename[:60]})"
    if one.file_size > RATIO_FROM_BYTES and one.file_size > MAX_RATIO * one.compress_size:
        ratio = one.file_size // max(one.compress_size, 1)
        return f"has a part that unpacks to {ratio} times its size ({one.filename[:60]})"
    return ""


def _overlap(members: Sequence[zipfile.ZipInfo], size_bytes: int) -> str:
    """Members that share bytes are a way to unpack much out of little."""
    spans = sorted((one.header_offset, one.compress_size) for one in members)
    ends = [start + size for start, size in spans]
    starts = [start for start, _ in spans[1:]] + [size_bytes]
    return "has parts that overlap" if any(e > s for e, s in zip(ends, starts, strict=True)) else ""


# --- the child ---------------------------------------------------------------------------------


@contextmanager
def _child(raw: RawFile, name: str, sheet: str) -> Iterator[Iterator[Any]]:
    """The documents that the child writes; it is ended when this is left."""
    script = Path(__file__).with_name("sheet_child.py")
    command = [sys.executable, "-I", str(script), sheet, str(CHILD_MEMORY_BYTES), str(CHILD_CPU_S)]
    child = subprocess.Popen(
        command, stdin=raw.start_again(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    watchdog = threading.Timer(CHILD_WALL_S, child.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        assert child.stdout is not None
        yield _documents(child, child.stdout, name)
    finally:
        watchdog.cancel()
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _documents(child: subprocess.Popen[bytes], out: IO[bytes], name: str) -> Iterator[Any]:
    held = 0
    while line := out.readline(MAX_LINE_BYTES):
        held += len(line)  # a text that stands once in the file may stand in a million cells
        if held > MAX_HELD_BYTES:
            raise _too_much(name)
        try:
            document = json.loads(line)
        except ValueError as error:
            raise _too_much(name) from error
        if isinstance(document, dict) and "error" in document:
            raise _refused(name, f"cannot be read: {document['error']}")
        yield document
    if child.wait() != 0:
        raise _too_much(name)


def _chosen(about: Any, name: str, sheet: str | None) -> Any:
    """What the child found, if it was clear which sheet to read."""
    if about["chosen"]:
        return about
    sheets = about["sheets"]
    if not sheets:
        raise InputError(
            "the workbook has no sheet with rows.", where=name, fix="Export it again, with rows."
        )
    shown = ", ".join(f"{title!r} ({rows} rows)" for title, rows, _ in sheets[:10])
    if sheet:
        raise InputError(
            f"the workbook has no sheet {sheet!r} with rows; it has {shown}.", where="--sheet"
        )
    raise InputError(
        f"the workbook has several sheets with rows: {shown}.",
        where=name,
        fix=f"Say which one: --sheet {sheets[0][0]!r}",
    )


# --- rows --------------------------------------------------------------------------------------


def _header(head: Sequence[Any], name: str, choose: Choose) -> tuple[int, Reading]:
    """Which of the first rows names the columns: the first one that can be read as a header."""
    best: tuple[int, InputError] | None = None
    for at, row in enumerate(head[:HEADER_ROWS]):
        header = _named(row)
        if sum(bool(cell) for cell in header) < 2:
            continue
        sample = [_padded(one, len(header)) for one in head[at + 1 : at + 1 + SAMPLE_ROWS]]
        try:
            return at, choose(header, sample)
        except InputError as error:
            where = error.where.replace(f"{name}:1:", f"{name}:{row[0]}:")
            found = InputError(error.problem, where=where, fix=error.fix)
            if best is None or len(header) > best[0]:
                best = len(header), found
    if best is not None:
        raise best[1]
    raise InputError(
        "no row of the sheet names several columns; expected a header row.",
        where=f"{name}:1:1",
        fix="Write the names of the columns into the first row.",
    )


def _named(row: Any) -> tuple[str, ...]:
    cells = [(cell or "t")[1:].strip() for cell in row[1]]
    while cells and not cells[-1]:
        cells.pop()
    return tuple(cells)


def _padded(row: Any, width: int) -> tuple[str, ...]:
    cells = [(cell or "t")[1:] for cell in row[1][:width]]
    return tuple(cells + [""] * (width - len(cells)))


def _parts(
    rows: Iterator[Any], width: int, wrong: Mapping[int, Mapping[str, str]], name: str
) -> Iterator[_Part]:
    held = 0
    while stretch := list(itertools.islice(rows, BATCH_ROWS)):
        found: dict[int, dict[int, str]] = {}
        for at, (line, cells) in enumerate(stretch):
            odd = {int(k) - 1: reason for k, reason in wrong.get(line, {}).items()}
            for place, cell in enumerate(cells[:width]):
                if cell is not None and cell[0] == "t" and (cell[1:2] == "=" or len(cell) > 32_768):
                    odd[place] = "text" if cell[1:2] == "=" else "long"
            if odd:
                found[at] = odd
        texts = zip(*(_padded(row, width) for row in stretch), strict=True)
        columns = tuple(pa.array(column, pa.string()) for column in texts)
        held += sum(column.nbytes for column in columns)
        if held > MAX_HELD_BYTES:
            raise _too_much(name)
        yield _Part(columns, np.asarray([row[0] for row in stretch], np.int64), found)


def _refused(name: str, problem: str) -> InputError:
    return InputError(f"the workbook {problem}.", where=name, fix=_AS_CSV)


def _too_much(name: str) -> InputError:
    return _refused(
        name, f"could not be read with {CHILD_MEMORY_BYTES / 1e9:.0f} GB in {CHILD_CPU_S} seconds"
    )
