"""An export file as records with line numbers, read once, exactly and in bounded memory.

Nothing of a file is trusted: it may be a folder, a pipe, several gigabytes of one cell, cut off
in the middle, or still being written. Each of these is one sentence and a refusal.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final

from node.data.batch import BadRow
from protocols.errors import InputError, LocalError

MAX_RECORD_CHARS: Final = 100_000  # below the csv module's own limit for one cell
BLOCK_CHARS: Final = 2_000_000
READ_BYTES: Final = 1 << 20

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
    """An open export file. Use as a context manager; read ``chunks`` once, then ``finish``."""

    def __init__(self, path: Path, encoding: str, delimiter: str) -> None:
        self.name = path.name
        self._path = path
        self._encoding = encoding
        self._delimiter = delimiter
        self._raw = _Raw(path)
        self._text = io.TextIOWrapper(
            io.BufferedReader(self._raw, READ_BYTES), encoding=encoding, newline=""
        )

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._text.close()

    @property
    def size_bytes(self) -> int:
        """Size of the file when it was opened."""
        return self._raw.size_bytes

    @property
    def read_bytes(self) -> int:
        """How much has been read."""
        return self._raw.read_bytes

    def chunks(self) -> Iterator[Chunk]:
        """All records from the header on. The first chunk holds the header alone.

        Raises:
            InputError: not decodable, a NUL, an endless cell, an open quotation mark at the end.
        """
        lines = _Lines(self._text, self.name, self._delimiter)
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

    def _header(self, lines: _Lines) -> Chunk | None:
        """The first record that is not blank; None if there is none."""
        while lines.block():
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

    def _one_by_one(self, lines: _Lines, until: int, width: int | None) -> Chunk:
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
                if lines.ended:
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

    def _ragged(self, row: list[str], width: int, lines: _Lines) -> BadRow:
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
        self._raw.require_unchanged()
        return self._raw.digest.hexdigest()


class _Raw(io.RawIOBase):
    """The bytes of one regular file, hashed as they are read, never past the first size."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._name = path.name
        self._fd = open_regular(path)
        self._before = os.fstat(self._fd)
        self.size_bytes = self._before.st_size
        self.read_bytes = 0
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self.size_bytes - self.read_bytes)
        try:
            block = os.read(self._fd, wanted) if wanted else b""
        except OSError as error:
            raise LocalError(
                f"the file could not be read: {error.strerror}.",
                where=self._name,
                fix="Copy it to this computer's own disk and try again.",
            ) from error
        buffer[: len(block)] = block
        self.digest.update(block)
        self.read_bytes += len(block)
        return len(block)

    def require_unchanged(self) -> None:
        after = os.fstat(self._fd)
        same = (after.st_size, after.st_mtime_ns) == (
            self._before.st_size,
            self._before.st_mtime_ns,
        )
        if not same or self.read_bytes != self.size_bytes:
            raise InputError(
                "the file changed while it was being read; a finished file is expected.",
                where=self._name,
                fix="Wait until the program that writes it is done, then add it again.",
            )

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


def open_regular(path: Path) -> int:
    """A file descriptor for reading, for a regular and non-empty file only."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    choose = "Give the path of a CSV file that your till or shop exported."
    try:
        if path.is_dir():
            raise InputError("this is a folder; expected a file.", where=str(path), fix=choose)
        fd = os.open(path, flags)
    except FileNotFoundError as error:
        raise InputError("there is no such file.", where=str(path), fix=choose) from error
    except PermissionError as error:
        raise InputError(
            "this file may not be read by you.",
            where=str(path),
            fix="Change its permissions, or copy it to a folder of yours.",
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"this file cannot be opened: {getattr(error, 'strerror', None) or error}.",
            where=str(path),
            fix=choose,
        ) from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise InputError(
            "this is a pipe or a device; expected a regular file.", where=str(path), fix=choose
        )
    if status.st_size == 0:
        os.close(fd)
        raise InputError(
            "the file is empty; expected a header line and sales lines.",
            where=f"{path.name}:1:1",
            fix="Export it again, and choose a period in which there were sales.",
        )
    return fd


class _Lines:
    """Physical lines, in bounded blocks or one by one for the csv reader."""

    def __init__(self, text: io.TextIOWrapper, name: str, delimiter: str) -> None:
        self._text = text
        self._name = name
        self._delimiter = delimiter
        self._pending: list[str] = []
        self._at = 0
        self._rest = ""
        self._first_line = ""
        self._record_chars = 0
        self.number = 0  # lines handed out so far
        self.first_number = 1
        self.ended = False
        self.ends_with_newline = True

    def block(self) -> list[str]:
        """The lines that are read but not handed out; reads more if there are none."""
        while self._at >= len(self._pending) and not self.ended:
            self._refill()
        return self._pending[self._at :]

    def skip(self, count: int) -> None:
        """Count lines of the block as handed out."""
        self._at += count
        self.number += count

    def start_record(self) -> None:
        """The next line begins a record."""
        self._record_chars = 0
        self.first_number = self.number + 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        while self._at >= len(self._pending):
            if self.ended:
                raise StopIteration
            self._refill()
        line = self._pending[self._at]
        self.skip(1)
        if not self._record_chars:
            self._first_line = line
        self._record_chars += len(line)
        if self._record_chars > MAX_RECORD_CHARS:
            raise self._too_long()
        self.ends_with_newline = line[-1] in "\r\n"
        return line

    def _refill(self) -> None:
        """Read one block; an unfinished last line waits for its rest."""
        block = self._text.read(BLOCK_CHARS)
        self.ended = not block
        text = self._rest + block
        found = io.StringIO(text, newline="").readlines()
        self._rest = ""
        if found and not self.ended and not found[-1].endswith("\n"):
            self._rest = found.pop()
        self._pending, self._at = found, 0
        if "\0" in block:
            self._refuse_nul(text)
        if max(map(len, found), default=0) > MAX_RECORD_CHARS or (
            len(self._rest) > MAX_RECORD_CHARS
        ):
            place = next((k for k, x in enumerate(found) if len(x) > MAX_RECORD_CHARS), len(found))
            self._first_line = [*found, self._rest][place]
            self.first_number = self.number + 1 + place
            raise self._too_long()

    def _refuse_nul(self, text: str) -> None:
        before = io.StringIO(text[: text.index("\0") + 1], newline="").readlines()
        raise InputError(
            "a NUL character stands here; expected text.",
            where=f"{self._name}:{self.number + len(before)}:{len(before[-1])}",
            fix="The file is damaged or not a CSV file: export it again as CSV (UTF-8).",
        )

    def _too_long(self) -> InputError:
        place = _open_quote(self._first_line, self._delimiter)
        hint = " A quotation mark opens here and is not closed." if place else ""
        return InputError(
            f"one record runs on for more than {MAX_RECORD_CHARS} characters.{hint}",
            where=f"{self._name}:{self.first_number}:{place or 1}",
            fix="Open the file at this line; export it again if the line is damaged.",
        )

    def never_closed(self) -> InputError:
        place = _open_quote(self._first_line, self._delimiter) or 1
        return InputError(
            "a quotation mark opens here and the file ends before it is closed.",
            where=f"{self._name}:{self.first_number}:{place}",
            fix="The file was cut off: export it again and check that the download was complete.",
        )


def _open_quote(line: str, delimiter: str) -> int:
    """Character position (from 1) of the quotation mark left open in a line; 0 if none is."""
    opened, at_start = 0, True
    for place, char in enumerate(line, start=1):
        if char == '"' and opened:
            opened = 0
            at_start = True  # a doubled mark opens again at once
        elif char == '"' and at_start:
            opened = place
        elif not opened:
            at_start = char == delimiter
    return opened


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
