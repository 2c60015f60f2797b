"""The text of an export file as UTF-8: whole lines in blocks, or one line at a time.

The fast reader takes whole lines as bytes, the exact one takes them as text; both hand out the
same lines with the same numbers, so that either can go on where the other stopped.
"""

from __future__ import annotations

import codecs
import io
from typing import Final

from node.data.rawfile import RawFile
from protocols.errors import InputError

MAX_RECORD_CHARS: Final = 100_000  # below the csv module's own limit for one cell
BLOCK_BYTES = 4 << 20
_MAX_CHAR_BYTES: Final = 4
_SPLIT_BYTES: Final = 64 << 10


class Utf8Blocks:
    """The file's text in blocks of UTF-8 without a byte order mark."""

    def __init__(self, raw: RawFile, encoding: str) -> None:
        self._raw = raw
        self._plain = encoding in ("utf-8", "utf-8-sig")
        self._skip = len(codecs.BOM_UTF8) if encoding == "utf-8-sig" else 0
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self.ended = False

    def read(self) -> bytes:
        """The next block, not empty; b"" once the file has ended.

        Raises:
            UnicodeDecodeError: the bytes are not text in the encoding (UTF-8 is left to the reader
                of the lines).
        """
        while not self.ended:
            block = bytearray(BLOCK_BYTES)
            count = self._raw.readinto(memoryview(block))
            del block[count:]
            self.ended = not count
            if not self._plain:
                text = self._decoder.decode(bytes(block), final=self.ended)
                out = text.encode("utf-8", "surrogatepass")
            else:
                out = bytes(block[self._skip :])
                self._skip = 0
            if out:
                return out
        return b""


class Lines:
    """Physical lines that are read but not handed out: bytes first, text when asked for.

    Lines end with LF, CR LF or CR. ``number`` counts the lines that were handed out;
    ``first_number`` is the line on which the present record starts.
    """

    def __init__(self, blocks: Utf8Blocks, name: str, delimiter: str) -> None:
        self._blocks = blocks
        self._name = name
        self._delimiter = delimiter
        self._text: list[str] = []  # lines that were split off for the exact reader
        self._at = 0
        self._piece = b""  # whole lines behind them
        self._rest = b""  # the beginning of a line whose end is not read yet
        self._first_line = ""
        self._record_chars = 0
        self.number = 0
        self.first_number = 1
        self.ended = False  # nothing is left to be read
        self.exhausted = False  # nothing is left to be handed out, and more was asked for
        self.ends_with_newline = True

    # --- bytes ------------------------------------------------------------------------------

    def piece(self) -> bytes:
        """All whole lines at hand as UTF-8; reads on if there are none; b"" at the end."""
        if self._at < len(self._text):
            self._piece = "".join(self._text[self._at :]).encode() + self._piece
        self._text, self._at = [], 0
        while not self._piece and not self.ended:
            self.extend()
        return self._piece

    def extend(self) -> None:
        """Read one more block behind the piece."""
        block = self._blocks.read()
        self.ended = not block
        data = self._rest + block
        cut = len(data) if self.ended else _after_last_line(data)
        if b"\0" in block:
            self._refuse_nul(self._piece + data)
        self._piece += data[:cut]
        self._rest = data[cut:]
        if len(self._rest) > MAX_RECORD_CHARS * _MAX_CHAR_BYTES:
            before = _split(self._piece)
            self._first_line = self._rest.decode(errors="ignore")
            self.first_number = self.number + len(self._text) - self._at + len(before) + 1
            raise self._too_long()

    def drop(self, size_bytes: int, lines: int) -> None:
        """Count the beginning of the piece as handed out."""
        self._piece = self.piece()[size_bytes:]
        self.number += lines

    # --- text -------------------------------------------------------------------------------

    def more(self) -> bool:
        """Whether any line is left; reads on if there is none at hand."""
        return self._at < len(self._text) or bool(self.piece())

    def block(self) -> list[str]:
        """The lines at hand as text; reads on if there are none."""
        if self._at >= len(self._text):
            self._text, self._at = _split(self.piece()), 0
            self._piece = b""
        return self._text[self._at :]

    def skip(self, count: int) -> None:
        """Count lines of the block as handed out."""
        self._at += count
        self.number += count

    def start_record(self) -> None:
        """The next line begins a record."""
        self._record_chars = 0
        self.first_number = self.number + 1

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        if self._at >= len(self._text):
            self._split_some()
        line = self._text[self._at]
        self.skip(1)
        if not self._record_chars:
            self._first_line = line
        self._record_chars += len(line)
        if self._record_chars > MAX_RECORD_CHARS:
            raise self._too_long()
        self.ends_with_newline = line[-1] in "\r\n"
        return line

    def _split_some(self) -> None:
        """A few lines of the piece as text: the exact reader often needs no more."""
        piece = self.piece()
        if not piece:
            self.exhausted = True
            raise StopIteration
        cut = piece.find(b"\n", _SPLIT_BYTES) + 1 or len(piece)
        self._text, self._at = _split(piece[:cut]), 0
        self._piece = piece[cut:]

    # --- refusals ---------------------------------------------------------------------------

    def _refuse_nul(self, data: bytes) -> None:
        before = _split(data[: data.index(b"\0") + 1], "replace")
        pending = len(self._text) - self._at
        raise InputError(
            "a NUL character stands here; expected text.",
            where=f"{self._name}:{self.number + pending + len(before)}:{len(before[-1])}",
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
        """The refusal of a file that ends inside a quoted cell."""
        place = _open_quote(self._first_line, self._delimiter) or 1
        return InputError(
            "a quotation mark opens here and the file ends before it is closed.",
            where=f"{self._name}:{self.first_number}:{place}",
            fix="The file was cut off: export it again and check that the download was complete.",
        )


def _after_last_line(data: bytes) -> int:
    """Where the last whole line ends; a CR at the very end may be half of a line break."""
    return max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1


def _split(piece: bytes, errors: str = "strict") -> list[str]:
    return io.StringIO(piece.decode("utf-8", errors), newline="").readlines()


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
