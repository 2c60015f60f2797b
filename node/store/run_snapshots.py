"""What each run read here: who stood in its purpose, and the roots of both trees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from node.store.schema import run_snapshots


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """One reading of a run.

    Args:
        run: 32 hex digits; ``reading``: counted from 1 within the run.
        round: the first round that used it; 0 for what was read before the first one.
        scope, basis, assessment, position, at: of the standing.
        oldest: stored instant before which a yes did not count, or empty.
        standing: leaves of the tree of the scope; ``standing_root``: its root, 64 hex digits.
        customers, lines: whose lines were read, and how many; 0 and the week lines for a series.
        root: of the rows, 64 hex digits.
    """

    run: str
    reading: int
    round: int
    scope: str
    basis: str
    assessment: str
    position: int
    oldest: str
    at: datetime
    standing: int
    standing_root: str
    customers: int
    lines: int
    root: str


class RunSnapshots:
    """Rows by run and reading; only added."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, one: RunSnapshot) -> None:
        """Append."""
        values = {column.name: getattr(one, column.name) for column in run_snapshots.c}
        self._connection.execute(insert(run_snapshots).values(**values))

    def list(self, run: str | None = None) -> tuple[RunSnapshot, ...]:
        """Of one run, or all, in order of run and reading."""
        query = select(run_snapshots).order_by(run_snapshots.c.run, run_snapshots.c.reading)
        if run is not None:
            query = query.where(run_snapshots.c.run == run)
        return tuple(RunSnapshot(**row._mapping) for row in self._connection.execute(query))
