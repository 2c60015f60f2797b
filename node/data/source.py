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

from protocols.errors import InputError, LocalError

MAX_RECORD_CHARS: Final = 100_000  # below the csv module's own limit for one cell
MAX_CHUNK_ROWS: Final = 32_768
MAX_CHUNK_CHARS: Final = 4_000_000
READ_BYTES: Final = 1 << 20

_ENCODING_NAMES: Final = (
    "utf-8 utf-8-sig utf-16 utf-16-le utf-16-be latin-1 iso8859-2 iso8859-5 iso8859-7 iso8859-9 "
    "iso8859-15 cp437 cp850 cp852 cp866 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 "
    "cp1258 mac-roman koi8-r cp932 shift_jis euc-jp gb18030 gbk big5 euc-kr"
)
ENCODINGS: Final = frozenset(codecs.lookup(name).name for name in _ENCODING_NAMES.split())

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BadRow:
    """One record that cannot be used.

    ``line`` and ``place`` count from 1 (place 0: the whole record); ``problem`` says what was
    expected; ``kept`` are the cells that may be shown to the member again.
    """

    line: int
    place: int
    problem: str
    kept: tuple[str, ...] = field(default=(), repr=False)


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
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        try:
            yield from self._gather(reader, lines)
        except UnicodeDecodeError as error:
            raise _not_decodable(self._path, self._encoding) from error

    def _gather(self, reader: Iterator[list[str]], lines: _Lines) -> Iterator[Chunk]:
        chunk, chars, width = Chunk(), 0, 0
        while True:
            lines.start_record()
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                if lines.ended:
                    raise lines.never_closed() from error
                chunk.broken.append(
                    BadRow(lines.first_number, 0, f"the record is not proper CSV ({error})")
                )
                continue
            if not any(row) or not any(map(str.strip, row)):
                continue
            if not width:
                width = len(row)
                yield Chunk([row], [lines.first_number])
                continue
            if len(row) == width:
                chunk.rows.append(row)
                chunk.lines.append(lines.first_number)
            else:
                chunk.broken.append(self._ragged(row, width, lines))
            chars += lines.record_chars
            if len(chunk.rows) >= MAX_CHUNK_ROWS or chars >= MAX_CHUNK_CHARS:
                yield chunk
                chunk, chars = Chunk(), 0
        if chunk.rows or chunk.broken:
            yield chunk

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
    """Physical lines for the csv reader, with the bounds that the csv reader lacks."""

    def __init__(self, text: io.TextIOWrapper, name: str, delimiter: str) -> None:
        self._readline = text.readline
        self._name = name
        self._delimiter = delimiter
        self._first_line = ""
        self._number = 0
        self.first_number = 1
        self.record_chars = 0
        self.ended = False
        self.ends_with_newline = True

    def start_record(self) -> None:
        self.record_chars = 0
        self.first_number = self._number + 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._readline(MAX_RECORD_CHARS + 1)
        if not line:
            self.ended = True
            raise StopIteration
        self._number += 1
        if not self.record_chars:
            self._first_line = line
        self.record_chars += len(line)
        self.ends_with_newline = line[-1] in "\r\n"
        if "\0" in line:
            raise InputError(
                "a NUL character stands here; expected text.",
                where=f"{self._name}:{self._number}:{line.index(chr(0)) + 1}",
                fix="The file is damaged or not a CSV file: export it again as CSV (UTF-8).",
            )
        if self.record_chars > MAX_RECORD_CHARS:
            raise self._too_long()
        return line

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
