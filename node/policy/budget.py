"""How often this node may take part: consult, reserve before use, settle after.

The ledger lives in the node's database, so a crash between the steps costs at most a reservation
that counts as used. Runs are counted here; ``node/policy/privacy.py`` has the same three verbs for
epsilon.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from node.store.budgets import RunBudget, RunLine, Use
from node.store.spending import SpendingLedger
from protocols.agreement.facts import LedgerFacts
from protocols.agreement.order import Order
from protocols.errors import Code, LocalError, Refused


@dataclass(frozen=True, slots=True)
class Period:
    """The last ``days`` days and how many runs they may hold."""

    days: int
    max_runs: int

    def since(self, now: datetime) -> datetime:
        """The first instant that counts."""
        return now - timedelta(days=self.days)


class Budget:
    """The ledger within one transaction of the store."""

    def __init__(self, connection: Connection, period: Period) -> None:
        self._lines = RunBudget(connection)
        self._period = period

    def consult(self, order: Order, now: datetime) -> LedgerFacts:
        """The figures for a decision on this order, which itself does not count."""
        since = self._period.since(now)
        cohorts = tuple(
            line.cohort
            for line in self._lines.list(since, order.workload.id)
            if line.run != order.run
        )
        return LedgerFacts(self._lines.count(since, order.run), cohorts)

    def reserve(self, order: Order, now: datetime) -> None:
        """Take one run; a second time for the same run changes nothing.

        Raises:
            Refused: the period is full. Checked again here, because another process may have
                reserved since the decision.
        """
        known = self._lines.get(order.run)
        if known is not None and known.state is not Use.RETURNED:
            return
        count = self._lines.count(self._period.since(now), order.run)
        if count >= self._period.max_runs:
            raise Refused(
                f"{count} runs were started in the last {self._period.days} days, "
                f"{self._period.max_runs} are allowed.",
                clauses=("c14",),
                code=Code.BUDGET,
                fix="Wait until the oldest run is out of the period.",
            )
        self._lines.add(
            RunLine(order.run, order.workload.id, frozenset(order.cohort), Use.RESERVED, now)
        )


def settle(connection: Connection, run: str, at: datetime, *, spent_rounds: bool) -> None:
    """Close the reservations of a run: used if a vector left or a round was spent, else given back.

    A line of spent privacy that is damaged stays as it is: it goes on counting, the gate refuses
    every further order, and the end of the run is not held up by it.
    """
    state = Use.USED if spent_rounds else Use.RETURNED
    RunBudget(connection).settle(run, state, at)
    with contextlib.suppress(LocalError):
        SpendingLedger(connection).settle(run, state, at)
