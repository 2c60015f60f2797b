"""When a line is the same line: everything the till printed about it is the same.

Identical lines are numbered from 0 in the order of the file, so a receipt with two equal lines
keeps both and an overlapping export adds neither again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from node.data.schema import IDENTITY

Hashes = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]

HASH_BYTES: Final = 16
_COLON: Final = pa.scalar(":", pa.large_string())
_NOTHING: Final = pa.scalar("", pa.large_string())


def line_hashes(lines: pa.Table) -> Hashes:
    """Identity of each of N lines: (N, 2) halves of the first 16 bytes of a SHA-256.

    Hashed is ``length:text`` of each column of ``schema.IDENTITY``, "-" where there is nothing.
    """
    texts = _joined(lines, IDENTITY).cast(pa.large_binary()).to_pylist()
    made = b"".join([hashlib.sha256(text).digest()[:HASH_BYTES] for text in texts])
    return np.frombuffer(made, ">u8").astype(np.uint64).reshape(-1, 2)


def row_digest(rows: pa.Table) -> bytes:
    """SHA-256 over all columns of a small table, in its order."""
    texts = _joined(rows, rows.column_names).cast(pa.large_binary()).to_pylist()
    return hashlib.sha256(b"\n".join(texts)).digest()


def _joined(table: pa.Table, names: Sequence[str]) -> pa.Array:
    parts = []
    for name in names:
        text = whole(table[name])
        if pa.types.is_fixed_size_binary(text.type):
            text = pa.array([value.hex() for value in text.to_pylist()], pa.string())
        text = text.cast(pa.large_string())
        length = pc.utf8_length(text).cast(pa.large_string())
        parts.append(pc.fill_null(pc.binary_join_element_wise(length, text, _COLON), "-"))
    return pc.binary_join_element_wise(*parts, _NOTHING)


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def as_bytes(hashes: Hashes) -> pa.Array:
    """(N, 2) hashes as a column of 16 bytes each."""
    packed = np.ascontiguousarray(hashes.astype(">u8"))
    return pa.Array.from_buffers(
        pa.binary(HASH_BYTES), len(hashes), [None, pa.py_buffer(packed.tobytes())]
    )


def from_bytes(column: pa.ChunkedArray | pa.Array) -> Hashes:
    """The column as (N, 2) hashes again."""
    held = whole(column).cast(pa.binary(HASH_BYTES))
    raw = held.buffers()[1]
    start = held.offset * HASH_BYTES
    view = memoryview(raw)[start : start + len(held) * HASH_BYTES] if raw is not None else b""
    return np.frombuffer(view, ">u8").astype(np.uint64).reshape(-1, 2)


class Numbered:
    """N lines of one import, numbered among their equals and quick to find.

    Takes 32 bytes a line.
    """

    def __init__(self, hashes: Hashes) -> None:
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))  # stable: equal lines keep their order
        ordered = hashes[order]
        first = np.ones(len(ordered), np.bool_)
        first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        starts = np.flatnonzero(first)
        runs = np.diff(np.append(starts, len(ordered)))
        copies = np.arange(len(ordered)) - np.repeat(starts, runs)
        self._high = np.ascontiguousarray(ordered[:, 0])
        self._low = np.ascontiguousarray(ordered[:, 1])
        self._order = order
        self.copies = np.empty(len(ordered), np.int32)  # (N,) in the order of the import
        self.copies[order] = copies

    def find(self, hashes: Hashes, copies: npt.NDArray[np.int32]) -> Int64s:
        """The place in the import of each of M lines, -1 for a line that is not in it; (M,)."""
        count = len(self._high)
        found = np.full(len(hashes), -1, np.int64)
        if not count:
            return found
        asked = np.argsort(hashes[:, 0], kind="stable")  # neighbours in memory: much quicker
        high, low = hashes[asked, 0], hashes[asked, 1]
        at = np.searchsorted(self._high, high)
        # two different lines may share half a hash: walk on to the run with the other half
        while True:
            inside = np.minimum(at, count - 1)
            other = (at < count) & (self._high[inside] == high) & (self._low[inside] != low)
            if not other.any():
                break
            at = at + other
        at = at + copies[asked]
        inside = np.minimum(at, count - 1)
        hit = (at < count) & (self._high[inside] == high) & (self._low[inside] == low)
        found[asked[hit]] = self._order[at[hit]]
        return found
