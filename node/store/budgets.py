"""The ledger of runs: one line per run, reserved before use and settled after."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, func, insert, select, update

from node.store.schema import run_budget


class Use(StrEnum):
    """What became of a reservation."""

    RESERVED = "reserved"
    USED = "used"
    RETURNED = "returned"  # nothing left this node, no round was spent


@dataclass(frozen=True, slots=True)
class RunLine:
    """One line of the ledger."""

    run: str
    workload: str
    cohort: frozenset[str]
    state: Use
    reserved_at: datetime


class RunBudget:
    """Lines by run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, line: RunLine) -> None:
        """Insert a reservation, or reserve again what was returned."""
        if self.get(line.run) is not None:
            self._connection.execute(
                update(run_budget)
                .where(run_budget.c.run == line.run)
                .values(state=Use.RESERVED.value, reserved_at=line.reserved_at, settled_at=None)
            )
            return
        self._connection.execute(
            insert(run_budget).values(
                run=line.run,
                workload=line.workload,
                cohort=json.dumps(sorted(line.cohort)),
                state=line.state.value,
                reserved_at=line.reserved_at,
            )
        )

    def settle(self, run: str, state: Use, at: datetime) -> None:
        """Close a reservation; nothing happens if there is none open."""
        self._connection.execute(
            update(run_budget)
            .where(run_budget.c.run == run, run_budget.c.state == Use.RESERVED.value)
            .values(state=state.value, settled_at=at)
        )

    def get(self, run: str) -> RunLine | None:
        """By run, or nothing."""
        row = self._connection.execute(select(run_budget).where(run_budget.c.run == run)).first()
        return None if row is None else _line(row)

    def count(self, since: datetime, except_run: str) -> int:
        """Runs reserved or used since an instant, without one run."""
        query = (
            select(func.count())
            .select_from(run_budget)
            .where(
                run_budget.c.reserved_at >= since,
                run_budget.c.state != Use.RETURNED.value,
                run_budget.c.run != except_run,
            )
        )
        return int(self._connection.execute(query).scalar_one())

    def list(self, since: datetime, workload: str | None = None) -> tuple[RunLine, ...]:
        """Lines reserved or used since an instant, oldest first."""
        query = (
            select(run_budget)
            .where(run_budget.c.reserved_at >= since, run_budget.c.state != Use.RETURNED.value)
            .order_by(run_budget.c.reserved_at, run_budget.c.run)
        )
        if workload is not None:
            query = query.where(run_budget.c.workload == workload)
        return tuple(_line(row) for row in self._connection.execute(query))


def _line(row: Row[tuple[object, ...]]) -> RunLine:
    return RunLine(
        row.run,
        row.workload,
        frozenset(json.loads(row.cohort)),
        Use(row.state),
        row.reserved_at,
    )
