"""Proper CSV at the speed of Arrow; anything else is left to the exact reader.

A stretch of bytes is *proper* if every quotation mark opens a cell right behind a delimiter or a
line break, closes it right before one, or is doubled inside it; every line break is LF or CR LF;
and no record is endless. In such a stretch both readers see the same cells, so speed costs no
exactness. Where the stretch stops being proper, it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from node.data.lines import MAX_RECORD_CHARS

Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_LF: Final = 10
_CR: Final = 13
_QUOTE: Final = 34
_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Records:
    """Where the proper records at the beginning of a piece lie (N of them).

    ``starts`` int64 (N + 1,): byte offset of each, and of what follows the last; ``lines`` int64
    (N + 1,): line breaks before each of these offsets; ``blank`` bool (N,): records without any
    visible ASCII character, which the exact reader must look at.
    """

    starts: Int64s
    lines: Int64s
    blank: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.blank)


def records(piece: bytes, delimiter: str) -> Records:
    """The proper records with which a piece begins; it must begin with a record.

    Raises:
        UnicodeDecodeError: the piece is not UTF-8.
    """
    if not piece.isascii():
        piece.decode()
    data = np.frombuffer(piece, np.uint8)
    breaks = np.flatnonzero(data == _LF)
    quotes = np.flatnonzero(data == _QUOTE) if b'"' in piece else np.zeros(0, np.int64)
    before = np.searchsorted(quotes, breaks)
    at = np.flatnonzero(before % 2 == 0)  # line breaks outside of quotation marks
    offence = min(_bad_quote(data, quotes, ord(delimiter)), _bad_break(piece, data))
    at = at[breaks[at] < offence]
    starts = np.concatenate(([0], breaks[at] + 1))
    long = np.flatnonzero(np.diff(starts) > MAX_RECORD_CHARS)
    if len(long):
        at, starts = at[: long[0]], starts[: long[0] + 1]
    lines = np.concatenate(([0], at + 1))
    return Records(starts, lines, _blank(data, starts, ord(delimiter)))


def _bad_quote(data: Bytes, quotes: Int64s, delimiter: int) -> int:
    """Offset of the first quotation mark in a wrong place; the length if there is none."""
    size = len(data)
    if not len(quotes):
        return size
    opening, closing = quotes[0::2], quotes[1::2]
    left = np.where(opening > 0, data[opening - 1], _LF)
    good_left = (left == delimiter) | (left == _LF) | (left == _QUOTE)
    good_left |= opening == 0
    right = data[np.minimum(closing + 1, size - 1)]
    good_right = (right == delimiter) | (right == _LF) | (right == _CR) | (right == _QUOTE)
    good_right &= closing + 1 < size
    wrong = np.concatenate((opening[~good_left], closing[~good_right]))
    return int(wrong.min()) if len(wrong) else size


def _bad_break(piece: bytes, data: Bytes) -> int:
    """Offset of the first CR that no LF follows; the length if there is none."""
    if b"\r" not in piece:
        return len(piece)
    returns = np.flatnonzero(data == _CR)
    after = data[np.minimum(returns + 1, len(data) - 1)]
    alone = returns[after != _LF]
    return int(alone[0]) if len(alone) else len(piece)


def _solid(delimiter: int) -> npt.NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[33:127] = True
    table[[delimiter, _QUOTE]] = False
    return table


def _blank(data: Bytes, starts: Int64s, delimiter: int) -> npt.NDArray[np.bool_]:
    """Which records have no visible ASCII character beside delimiters and quotation marks."""
    solid = _solid(delimiter)
    firsts = starts[:-1]
    blank: npt.NDArray[np.bool_] = ~solid[data[firsts]]
    suspects = np.flatnonzero(blank)
    if len(suspects) > len(blank) // 64:
        return ~np.logical_or.reduceat(solid[data[: starts[-1]]], firsts)
    for row in suspects:
        blank[row] = not solid[data[starts[row] : starts[row + 1]]].any()
    return blank


def parse(
    stretch: bytes, count: int, delimiter: str, width: int, places: Sequence[int]
) -> list[pa.StringArray] | None:
    """The cells of some columns of proper records, in the order of ``places`` (from 0).

    None if they are not ``count`` records of ``width`` cells each.
    """
    if stretch.startswith(_MARK):  # Arrow would take it off, also far down in a file
        return None
    names = [str(place) for place in range(width)]
    wanted = [names[place] for place in places]
    try:
        table = csv.read_csv(
            pa.BufferReader(stretch),
            csv.ReadOptions(column_names=names, use_threads=False, block_size=len(stretch) + 1),
            csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != count:
        return None
    return [table.column(k).combine_chunks() for k in range(len(wanted))]
