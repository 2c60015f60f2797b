"""What this node has spent of its customers' privacy: consult, reserve before use, settle after.

The account lies in the node's database, in the transaction of the decision, so a crash between the
steps costs at most a reservation that counts as used. Whatever in it cannot be read, or is of a
kind that this version does not know, refuses: nobody can say then what is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from node.store.budgets import Use
from node.store.spending import NONE, Spending, SpendingLedger
from protocols.agreement.facts import PrivacyFacts
from protocols.agreement.order import Order
from protocols.agreement.terms import Budget, Terms
from protocols.errors import Code, InputError, LocalError
from protocols.privacy import budget, events
from protocols.privacy.plan import Plan
from protocols.spending import privacy_facts


class PrivacyAccount:
    """The account within one transaction of the store.

    Args:
        connection: of the transaction.
        restored_at: when this node was restored from a backup; nobody knows what it spent
            between the backup and that instant, so the whole budget counts as spent then.
    """

    def __init__(self, connection: Connection, restored_at: datetime | None) -> None:
        self._ledger = SpendingLedger(connection)
        self._restored_at = restored_at

    def consult(self, order: Order, plan: Plan | None, terms: Terms, now: datetime) -> PrivacyFacts:
        """The figures for a decision on this order, which itself does not count.

        Raises:
            LocalError: the account is damaged or incomplete.
            Refused: it holds an event that this version does not know.
        """
        lines = [line for line in self.lines() if line.run != order.run]
        return privacy_facts(plan, terms, accounted(lines), now, lost_before=self._restored_at)

    def reserve(self, order: Order, plan: Plan | None, now: datetime) -> None:
        """Write down what the run may spend; a second time for the same run changes nothing."""
        self._ledger.add(
            Spending(
                run=order.run,
                unit=NONE if plan is None else plan.unit,
                workload=order.workload.id,
                events=() if plan is None else tuple(e.to_json() for e in plan.events_colluders),
                delta=0.0 if plan is None else plan.delta,
                state=Use.RESERVED,
                reserved_at=now,
                until=max(order.deadline, now),
            )
        )

    def lines(self) -> tuple[Spending, ...]:
        """All lines, oldest first; errors as ``consult``."""
        return self._ledger.list()


def accounted(lines: Iterable[Spending]) -> tuple[budget.Line, ...]:
    """The lines that count, as the accountant takes them.

    A line counts at the last instant at which it could spend.

    Raises:
        Refused: an event of an unknown kind.
        LocalError: an event that cannot be read, or of another unit than its line.
    """
    return tuple(
        _counted(line) for line in lines if line.unit != NONE and line.state is not Use.RETURNED
    )


def _counted(line: Spending) -> budget.Line:
    try:
        found = tuple(events.from_json(one) for one in line.events)
    except (InputError, AttributeError) as error:
        raise _damaged(line) from error
    if not found or any(one.unit != line.unit for one in found):
        raise _damaged(line)
    state: budget.State = "reserved" if line.state is Use.RESERVED else "settled"
    return budget.Line(found[0].unit, found, line.until, state)


def price_of(line: Spending, delta: float) -> float:
    """Epsilon of one line by itself at ``delta``; 0 for what was given back or adds no noise."""
    counted = accounted([line])
    return budget.spent(counted, counted[0].unit, delta) if counted else 0.0


def _damaged(line: Spending) -> LocalError:
    return LocalError(
        f"what run {line.run[:16]} spent of privacy cannot be read in the account.",
        code=Code.TAMPERED,
        fix="Stop the node and restore the database from a backup (RUNBOOK.md).",
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """One budget of clause 14 as it stands: epsilon spent and left, and when some comes back.

    ``lines`` are those of its unit, also those out of the period, oldest first. ``lifetime`` is
    epsilon over all of them.
    """

    budget: Budget
    spent: float
    left: float
    lifetime: float
    frees_at: datetime | None
    restored: bool
    lines: tuple[Spending, ...]


def standing(
    limit: Budget, lines: Iterable[Spending], now: datetime, restored_at: datetime | None
) -> Standing:
    """How one budget stands; errors as ``PrivacyAccount.consult``."""
    own = tuple(line for line in lines if line.unit == limit.unit)
    counted = accounted(own)
    since = now - limit.period
    recent = [line.at for line in counted if line.at >= since]
    restored = restored_at is not None and restored_at >= since
    spent = limit.epsilon if restored else budget.spent(counted, limit.unit, limit.delta, since)
    if restored_at is not None and restored:
        recent = [max([restored_at, *recent])]
    return Standing(
        budget=limit,
        spent=spent,
        left=max(0.0, limit.epsilon - spent),
        lifetime=budget.spent(counted, limit.unit, limit.delta),
        frees_at=min(recent) + limit.period if recent else None,
        restored=restored,
        lines=own,
    )
