"""What a pass is making of one stretch: columns under roles, and what it could not use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from node.data.batch import BadRow, RoleBatch
from node.data.columns import Role
from node.data.connectors.arrays import Bools, Int64s, repeated, texts

Cells = dict[str, pa.StringArray]


@dataclass(slots=True)
class Made:
    """A stretch of N rows: whole orders where the format has orders.

    Args:
        roles: what has been made, each (N,).
        cells: the file's own columns by key, each (N,), filled from above where the format says so.
        lines: int64 (N,), the record that each row comes from.
        starts: the first row of each order; empty without orders.
        places: key -> place of the column in the file, for messages.
        memory: what a quirk keeps from one stretch to the next, and what the member said.
        rows: int64 (N,), where each row stood when the stretch came in, until rows are added.
        aside: such places of rows that were set aside.
    """

    roles: dict[Role, pa.StringArray]
    cells: Cells
    lines: Int64s
    starts: Int64s
    places: Mapping[str, int]
    memory: dict[str, str]
    bad: list[BadRow] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    rows: Int64s = field(init=False)
    aside: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = np.arange(len(self.lines), dtype=np.int64)

    @property
    def count(self) -> int:
        """N."""
        return len(self.lines)

    def role(self, role: Role) -> pa.StringArray:
        """A role's cells; blank ones if the file has none."""
        found = self.roles.get(role)
        return found if found is not None else repeated("", self.count)

    def set_aside(self, rows: Sequence[int] | Int64s, column: str, problem: str) -> None:
        """Note rows as unusable; ``drop`` takes them out. No cell of theirs is kept."""
        place = self.places.get(column, 0)
        self.bad += [BadRow(int(self.lines[row]), place, problem) for row in rows]
        self.aside += [int(self.rows[row]) for row in rows]

    def keep(self, mask: Bools) -> None:
        """Only the rows of a mask. Orders are found again by their names where they matter."""
        if mask.all():
            return
        before = np.concatenate(([0], np.cumsum(mask)))
        kept = np.flatnonzero(mask)
        at = pa.array(kept)
        self.roles = {role: array.take(at) for role, array in self.roles.items()}
        self.cells = {name: array.take(at) for name, array in self.cells.items()}
        self.lines = self.lines[kept]
        self.rows = self.rows[kept]
        starts = before[self.starts]
        # an order that lost all its rows has the same start as the next one, or none
        self.starts = np.unique(starts[starts < len(kept)]).astype(np.int64)

    def repeat(self, source: Int64s) -> None:
        """Row i becomes what row ``source[i]`` was; orders are not kept track of."""
        at = pa.array(source)
        self.roles = {role: array.take(at) for role, array in self.roles.items()}
        self.cells = {name: array.take(at) for name, array in self.cells.items()}
        self.lines = self.lines[source]
        self.rows = self.rows[source]
        self.starts = np.zeros(0, np.int64)

    def insert(
        self,
        after: Sequence[int] | Int64s,
        of: Sequence[int] | Int64s,
        new: Mapping[Role, Sequence[str]],
    ) -> None:
        """Put rows after others: a copy of row ``of`` with some roles different.

        Args:
            after: for each new row, the row it follows.
            of: the row whose other roles it takes.
            new: role -> one text for each new row.
        """
        for role in new:
            self.roles.setdefault(role, repeated("", self.count))
        count = self.count
        source = np.concatenate((np.arange(count), np.asarray(of, np.int64)))
        rank = np.concatenate((np.arange(count, dtype=float), np.asarray(after) + 0.5))
        order = np.argsort(rank, kind="stable")
        at, added_at = pa.array(order), pa.array(source[count:])
        arrays = {}
        for role, array in self.roles.items():
            added = texts(new[role]) if role in new else array.take(added_at)
            arrays[role] = pa.concat_arrays([array, added]).take(at)
        self.roles = {}
        self.repeat(source[order])
        self.roles = arrays

    def batch(self) -> RoleBatch:
        """The finished stretch."""
        return RoleBatch(
            self.roles,
            self.lines,
            tuple(sorted(self.bad, key=lambda b: b.line)),
            dict(self.left_out),
        )
