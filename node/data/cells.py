"""Columns of text read one distinct cell at a time.

Exports repeat themselves: a batch of 30,000 rows holds a few hundred days, prices and names. Each
distinct text is read once, exactly and in plain Python, and the result is spread over the rows
with array operations. That keeps one reading of a cell for speed and for error messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from node.data.batch import BadRow, RoleBatch
from node.data.columns import Column, Fate, Role
from node.data.schema import AMOUNT
from node.data.values import Unreadable, words

T = TypeVar("T")
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_REMEMBERED: Final = 200_000
_NOT_PLAIN: Final = r"^$|^ | $|  |@|[^\x20-\x7e]"  # what ``words`` might change or refuse


@dataclass(frozen=True, slots=True)
class Headers:
    """Which column of the file a role comes from, and which cells may be shown again."""

    at: Mapping[Role, Column]
    shown: tuple[Role, ...]

    @classmethod
    def of(cls, columns: tuple[Column, ...]) -> Headers:
        """From the columns of a reading."""
        at: dict[Role, Column] = {}
        for column in columns:
            if column.role is not None:
                at.setdefault(column.role, column)
        return cls(at, tuple(role for role, c in at.items() if c.fate is Fate.KEPT))

    def names(self) -> tuple[str, ...]:
        """The headers of the cells that may be shown again."""
        return tuple(self.at[role].header for role in self.shown)

    def place(self, role: Role) -> int:
        """Place of a role's column, from 1; 0 if it was made from several or from none."""
        return self.at[role].place if role in self.at else 0

    def name(self, role: Role) -> str:
        """What a person knows the role by."""
        return self.at[role].header.strip() if role in self.at else role.value


@dataclass(slots=True)
class Memory:
    """What distinct texts came to, role by role, over all batches of a file."""

    seen: dict[Role, dict[str, Any]] = field(default_factory=dict)

    def of(self, role: Role) -> dict[str, Any]:
        """The memory of one role, emptied when it grows too large."""
        known = self.seen.setdefault(role, {})
        if len(known) > MAX_REMEMBERED:
            known.clear()
        return known


class Cells:
    """One batch under way: its columns, and the first reason why a row cannot be used."""

    def __init__(self, batch: RoleBatch, headers: Headers, memory: Memory) -> None:
        self.batch = batch
        self.count = len(batch.lines)
        self.headers = headers
        self._memory = memory
        self._place: dict[int, int] = {}
        self._problem: dict[int, str] = {}

    def has(self, role: Role) -> bool:
        """Whether there is such a column."""
        return role in self.batch.columns

    def read(
        self, role: Role, parse: Callable[[str], T], blank: T
    ) -> tuple[list[T], npt.NDArray[np.int32]] | None:
        """Distinct values of a column and each row's index into them; None if it is absent."""
        if not self.has(role) or not self.count:
            return None
        encoded = self.batch.columns[role].dictionary_encode()
        indices = encoded.indices.to_numpy()
        memory = self._memory.of(role)
        values: list[T] = []
        problems: dict[int, str] = {}
        for code, text in enumerate(encoded.dictionary.to_pylist()):
            if text not in memory:
                try:
                    memory[text] = parse(text)
                except Unreadable as error:
                    memory[text] = error
            value = memory[text]
            if isinstance(value, Unreadable):
                problems[code] = str(value)
                value = blank
            values.append(value)
        if problems:
            for row in np.flatnonzero(np.isin(indices, list(problems))):
                self.refuse(int(row), role, problems[int(indices[row])])
        return values, indices

    def texts(self, role: Role, parse: Callable[[str], str | None]) -> pa.Array:
        """A column through a function of its distinct texts; nulls if it is absent."""
        read = self.read(role, parse, None)
        if read is None:
            return pa.nulls(self.count, pa.string())
        return pa.array(read[0], pa.string()).take(pa.array(read[1]))

    def words(self, role: Role, max_chars: int) -> pa.Array:
        """A column of plain text. Texts that ``values.words`` would leave as they are skip it."""
        if self.has(role) and self.count:
            distinct = pc.unique(self.batch.columns[role])
            odd = pc.match_substring_regex(distinct, _NOT_PLAIN)
            longest = pc.max(pc.utf8_length(distinct)).as_py() or 0
            if longest <= max_chars and not pc.any(odd).as_py():
                return self.batch.columns[role]
        return self.texts(role, lambda text: words(text, max_chars))

    # --- rows that cannot be used -----------------------------------------------------------

    def refuse(self, row: int, role: Role, problem: str) -> None:
        """Note why a row cannot be used; the first reason counts."""
        self._place.setdefault(row, self.headers.place(role))
        self._problem.setdefault(row, f"{self.headers.name(role)!r}: {problem}")

    def refuse_all(self, rows: Bools, role: Role, problem: str) -> None:
        """The same reason for every row of a mask (N,)."""
        for row in np.flatnonzero(rows):
            self.refuse(int(row), role, problem)

    def good(self) -> Bools:
        """Which rows can be used; bool (N,)."""
        keep = np.ones(self.count, np.bool_)
        keep[list(self._place)] = False
        return keep

    def rejected(self, key_of: Callable[[str], str | None]) -> list[BadRow]:
        """The rows that cannot be used, with those that the batch came with, in file order."""
        out = list(self.batch.bad)
        shown = [self.batch.columns.get(role) for role in self.headers.shown]
        customers = self.batch.columns.get(Role.CUSTOMER)
        for row, place in self._place.items():
            kept = tuple("" if one is None else one[row].as_py() for one in shown)
            key = key_of(customers[row].as_py()) if customers is not None else None
            line = int(self.batch.lines[row])
            out.append(BadRow(line, place, self._problem[row], kept, key or ""))
        return sorted(out, key=lambda bad: bad.line)


def decimals(millionths: Int64s, missing: Bools | None = None) -> pa.Array:
    """DECIMAL(18, 6) from whole millionths: 16 bytes each, little-endian two's complement."""
    wide = np.empty((len(millionths), 2), np.int64)
    wide[:, 0] = millionths
    wide[:, 1] = millionths >> 63
    validity = None
    if missing is not None and missing.any():
        validity = pa.array(~missing).buffers()[1]
    buffers = [validity, pa.py_buffer(wide.tobytes())]
    return pa.Array.from_buffers(AMOUNT, len(millionths), buffers)
