"""An export file as records with line numbers, read once, exactly and in bounded memory.

Proper stretches are read by ``fastcsv``, everything else by the csv module, record by record, so
that each broken record has its own line and reason.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
import pyarrow as pa

from node.data import fastcsv
from node.data.batch import BadRow, TextBatch
from node.data.lines import Lines, Utf8Blocks
from node.data.rawfile import RawFile, open_regular
from protocols.errors import InputError

SLOW_LINES: Final = 64
MAX_SLOW_LINES: Final = 8192
READ_ON_BYTES: Final = 400_000  # four bytes for each character that a record may have

_ENCODING_NAMES: Final = (
    "utf-8 utf-8-sig utf-16 utf-16-le utf-16-be latin-1 iso8859-2 iso8859-5 iso8859-7 iso8859-9 "
    "iso8859-15 cp437 cp850 cp852 cp866 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 "
    "cp1258 mac-roman koi8-r cp932 shift_jis euc-jp gb18030 gbk big5 euc-kr"
)
ENCODINGS: Final = frozenset(codecs.lookup(name).name for name in _ENCODING_NAMES.split())

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Chunk:
    """A stretch of records: their cells, the line each starts on, and the broken ones."""

    rows: list[list[str]] = field(default_factory=list, repr=False)
    lines: list[int] = field(default_factory=list, repr=False)
    broken: list[BadRow] = field(default_factory=list)


class Source:
    """An open export file. Use as a context manager; read ``chunks`` or ``batches``, ``finish``.

    Either may be read again from the beginning.
    """

    def __init__(self, path: Path, encoding: str, delimiter: str) -> None:
        self.name = path.name
        self._path = path
        self._encoding = encoding
        self._delimiter = delimiter
        self._raw = RawFile(path)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raw.close()

    @property
    def size_bytes(self) -> int:
        """Size of the file when it was opened."""
        return self._raw.size_bytes

    @property
    def read_bytes(self) -> int:
        """How much has been read."""
        return self._raw.read_bytes

    def chunks(self) -> Iterator[Chunk]:
        """All records from the header on, all cells. The first chunk holds the header alone.

        Raises:
            InputError: not decodable, a NUL, an endless cell, an open quotation mark at the end.
        """
        lines = self._lines()
        try:
            header = self._header(lines)
            if header is None:
                return
            yield header
            width = len(header.rows[0])
            while block := lines.block():
                chunk = self._at_once(block, lines.number, width)
                if chunk is None:
                    chunk = self._one_by_one(lines, lines.number + len(block), width)
                else:
                    lines.skip(len(block))
                yield chunk
        except UnicodeDecodeError as error:
            raise _not_decodable(self._path, self._encoding) from error

    def batches(self, places: Sequence[int]) -> Iterator[TextBatch]:
        """All records behind the header; only the columns at ``places`` (from 0) become cells.

        Raises:
            InputError: as ``chunks``.
        """
        lines = self._lines()
        try:
            header = self._header(lines)
            if header is None:
                return
            names = header.rows[0]
            slow_lines = SLOW_LINES
            while piece := lines.piece():
                found = fastcsv.records(piece, self._delimiter)
                if len(found):
                    slow_lines = SLOW_LINES
                    yield from self._proper(lines, piece, found, names, places)
                elif not lines.ended and len(piece) < READ_ON_BYTES:
                    lines.extend()  # the first record may end in the next block
                else:
                    yield self._exact(lines, lines.number + slow_lines, names, places)
                    slow_lines = min(2 * slow_lines, MAX_SLOW_LINES)
        except UnicodeDecodeError as error:
            raise _not_decodable(self._path, self._encoding) from error

    def _lines(self) -> Lines:
        self._raw.rewind()
        return Lines(Utf8Blocks(self._raw, self._encoding), self.name, self._delimiter)

    def _proper(
        self,
        lines: Lines,
        piece: bytes,
        found: fastcsv.Records,
        names: Sequence[str],
        places: Sequence[int],
    ) -> Iterator[TextBatch]:
        """Batches of the proper records of a piece, halved until each stretch is clean or short.

        A ragged or blank record makes its stretch unclean; the exact reader says what it is.
        """
        before = lines.number
        todo = [(0, len(found))]
        while todo:
            first, last = todo.pop()
            start, end = int(found.starts[first]), int(found.starts[last])
            cells = None
            if not found.blank[first:last].any():
                cells = fastcsv.parse(
                    piece[start:end], last - first, self._delimiter, len(names), places
                )
            if cells is not None:
                lines.drop(end - start, int(found.lines[last] - found.lines[first]))
                at = before + 1 + found.lines[first:last]
                columns = dict(zip((names[place] for place in places), cells, strict=True))
                yield TextBatch(columns, at)
            elif last - first > SLOW_LINES:
                middle = (first + last) // 2
                todo += [(middle, last), (first, middle)]
            else:
                yield self._exact(lines, before + int(found.lines[last]), names, places)

    def _exact(
        self, lines: Lines, until: int, names: Sequence[str], places: Sequence[int]
    ) -> TextBatch:
        chunk = self._one_by_one(lines, until, len(names))
        columns = {
            names[place]: pa.array([row[place] for row in chunk.rows], pa.string())
            for place in places
        }
        return TextBatch(columns, np.asarray(chunk.lines, np.int64), tuple(chunk.broken))

    def _header(self, lines: Lines) -> Chunk | None:
        """The first record that is not blank; None if there is none."""
        while lines.more():
            chunk = self._one_by_one(lines, lines.number + 1, None)
            if chunk.broken:
                raise InputError(
                    f"the header line is not proper CSV: {chunk.broken[0].problem}.",
                    where=f"{self.name}:{chunk.broken[0].line}:1",
                    fix="Export the file again as CSV.",
                )
            if chunk.rows:
                return chunk
        return None

    def head(self, count: int) -> Chunk:
        """The header, and up to ``count`` records behind it that are whole; empty if blank."""
        lines = self._lines()
        try:
            head = self._header(lines)
            if head is None:
                return Chunk()
            rest = Chunk()
            with contextlib.suppress(InputError):  # reading it all will say what and where
                while len(rest.rows) < count and lines.more():
                    more = self._one_by_one(lines, lines.number + 1, len(head.rows[0]))
                    rest.rows += more.rows
                    rest.lines += more.lines
            return Chunk(head.rows + rest.rows, head.lines + rest.lines)
        except UnicodeDecodeError as error:
            raise _not_decodable(self._path, self._encoding) from error

    def _at_once(self, block: list[str], before: int, width: int) -> Chunk | None:
        """A whole block at the csv module's own speed, if every line of it is one good record.

        Each record takes at least one line, so as many records as lines means one line each and
        their numbers are certain. Anything else is left to ``_one_by_one``.
        """
        try:
            rows = list(csv.reader(block, delimiter=self._delimiter, strict=True))
        except csv.Error:
            return None
        if len(rows) != len(block) or set(map(len, rows)) != {width}:
            return None
        if any(not row[0] or row[0].isspace() for row in rows):
            return None  # it may be a blank record
        return Chunk(rows, list(range(before + 1, before + 1 + len(rows))))

    def _one_by_one(self, lines: Lines, until: int, width: int | None) -> Chunk:
        """Records up to line ``until``, each with its own line, its own reason if it is broken."""
        chunk = Chunk()
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        while lines.number < until:
            lines.start_record()
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                if lines.exhausted:
                    raise lines.never_closed() from error
                problem = f"the record is not proper CSV ({error})"
                chunk.broken.append(BadRow(lines.first_number, 0, problem))
                continue
            if not any(map(str.strip, row)):
                continue
            if width is None or len(row) == width:
                chunk.rows.append(row)
                chunk.lines.append(lines.first_number)
            else:
                chunk.broken.append(self._ragged(row, width, lines))
        return chunk

    def _ragged(self, row: list[str], width: int, lines: Lines) -> BadRow:
        problem = f"expected {width} columns as in the header, found {len(row)}"
        if len(row) < width and not lines.ends_with_newline:
            raise InputError(
                f"the file stops in the middle of a line: {problem}.",
                where=f"{self.name}:{lines.first_number}:{len(row)}",
                fix="Export the file again and check that the download was complete.",
            )
        return BadRow(lines.first_number, min(len(row), width), problem)

    def finish(self) -> str:
        """SHA-256 of what was read (hex), once everything was; the file must not have changed."""
        return self._raw.finish()


def _not_decodable(path: Path, encoding: str) -> InputError:
    """Find the first byte that does not decode, again in bounded memory."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, column, value = 1, 1, ""
    with os.fdopen(open_regular(path), "rb") as file:
        while block := file.readline(65_536):
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode(encoding, errors="ignore")
                column += len(good)
                value = f"the byte 0x{error.object[error.start]:02X} is"
                break
            column = 1 if block.endswith(b"\n") else column + len(text)
            line += block.endswith(b"\n")
    name = "UTF-8" if encoding.startswith("utf-8") else encoding
    fix = (
        "If the file comes from Excel or a Windows till, add it with --encoding cp1252; "
        "or save it as CSV UTF-8."
        if name == "UTF-8"
        else "Say how it was saved with --encoding, or save it as CSV UTF-8."
    )
    return InputError(
        f"{value or 'the end of the file is'} not {name} text.",
        where=f"{path.name}:{line}:{column}",
        fix=fix,
    )


def sniff_encoding(path: Path, wanted: str | None) -> str:
    """The encoding to read with: the byte order mark's, the one asked for, or UTF-8.

    Nothing else is guessed: bytes that are not UTF-8 are a question later, with its place.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        head = file.read(4)
    marked = ""
    if head.startswith(codecs.BOM_UTF8):
        marked = "utf-8-sig"
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        marked = "utf-16"
    if wanted is None:
        return marked or "utf-8"
    try:
        name = codecs.lookup(wanted).name
    except LookupError:
        name = ""
    if name not in ENCODINGS:
        raise InputError(
            f"the encoding {wanted!r} is not known; expected one such as utf-8, utf-16, cp1252 "
            "or latin-1.",
            where="--encoding",
            fix="Leave the option out for a file saved as CSV UTF-8.",
        )
    if marked and name.split("-")[:2] != marked.split("-")[:2]:
        raise InputError(
            f"the file begins with the mark of {marked[:6].upper().rstrip('-')}, but --encoding "
            f"says {wanted}.",
            where=f"{path.name}:1:1",
            fix="Leave --encoding out.",
        )
    return marked or name
