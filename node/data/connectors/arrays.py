"""Small tools on string arrays; every array of a stretch has the same length N, "" where empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
# An id or a code that a spreadsheet was told to leave alone: '00123 or ="00123".
_GUARD = r"""^(?:'|="([^"]*)"$)"""


def texts(values: Sequence[str]) -> pa.StringArray:
    """A string array of Python texts."""
    return pa.array(values, pa.string())


def repeated(value: str, count: int) -> pa.StringArray:
    """The same text N times."""
    return pa.repeat(pa.scalar(value, pa.string()), count)


def flags(array: Any) -> Bools:
    """A boolean arrow array as numpy."""
    return np.asarray(array.to_numpy(zero_copy_only=False), np.bool_)


def blank(array: pa.StringArray) -> Bools:
    """Where a cell holds nothing but blanks."""
    return flags(pc.equal(pc.utf8_trim_whitespace(array), ""))


def shows_amount(array: pa.StringArray) -> Bools:
    """Where a cell shows an amount other than zero, or anything that is no amount."""
    return flags(pc.match_substring_regex(array, "[^0 .,$€£-]"))


def by_distinct(array: pa.StringArray, change: Callable[[str], str]) -> pa.StringArray:
    """Every distinct text changed once by a Python function."""
    encoded = array.dictionary_encode()
    changed = texts([change(text) for text in encoded.dictionary.to_pylist()])
    return changed.take(encoded.indices)


def chosen(mask: Bools, yes: pa.StringArray, no: pa.StringArray) -> pa.StringArray:
    """``yes`` where the mask is true, else ``no``."""
    return pc.if_else(pa.array(mask), yes, no)


def first_filled(arrays: Sequence[pa.StringArray]) -> pa.StringArray:
    """Of several columns the first that is not blank, row by row."""
    out = arrays[0]
    for other in arrays[1:]:
        empty = blank(out)
        if not empty.any():
            break
        out = chosen(empty, other, out)
    return out


def unguarded(array: pa.StringArray) -> pa.StringArray:
    """Without the apostrophe or the ="..." that keeps a spreadsheet from changing a code."""
    if not pc.any(pc.match_substring_regex(array, _GUARD)).as_py():
        return array
    return by_distinct(array, _unguarded)


def _unguarded(text: str) -> str:
    clean = text.strip()
    if clean.startswith('="') and clean.endswith('"'):
        return clean[2:-1]
    return clean.removeprefix("'")


def starts_of(names: pa.StringArray) -> Int64s:
    """The rows at which another name begins, the first row among them (M <= N)."""
    count = len(names)
    if not count:
        return np.zeros(0, np.int64)
    differs = flags(pc.not_equal(names.slice(1), names.slice(0, count - 1)))
    return np.concatenate(([0], np.flatnonzero(differs) + 1)).astype(np.int64)


def orders_marked(cells: Mapping[str, pa.StringArray], starts: Int64s) -> list[int]:
    """A number for each order that only an order with the same cells has too, in this process.

    Args:
        cells: columns of N rows each.
        starts: the first row of each order (M,), the first row of all among them.
    """
    rows = pc.binary_join_element_wise(*cells.values(), "\x1f").to_pylist()
    marks = np.array([hash(row) for row in rows], np.int64).view(np.uint64)
    place = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    # the odd factors keep two rows of an order from being taken for each other's place
    weighed = marks * (2 * place + 1).astype(np.uint64)
    sums: list[int] = np.add.reduceat(weighed, starts).tolist()
    return sums


def filled_from_above(array: pa.StringArray, starts: Int64s) -> pa.StringArray:
    """Blank cells take the last cell above them that is filled, within the same order."""
    empty = blank(array)
    if not empty.any():
        return array
    rows = np.arange(len(array), dtype=np.int64)
    source = np.where(empty, 0, rows)
    source[starts] = starts
    return array.take(pa.array(np.maximum.accumulate(source)))
