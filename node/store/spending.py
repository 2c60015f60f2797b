"""The ledger of spent privacy: one line per run, in the same transaction as the decision.

Every run that was admitted has a line, also one that promises nothing (unit ``none``), so that
a line that is gone is noticed. Each line carries a hash of itself. What cannot be read, or is
not complete, is an error: an account that starts again from zero would allow everything again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from node.store.budgets import Use
from node.store.schema import privacy_spending, run_budget
from protocols.errors import Code, LocalError

NONE = "none"
_REPAIR = "Stop the node and restore the database from a backup (RUNBOOK.md)."


@dataclass(frozen=True, slots=True)
class Spending:
    """One line.

    Args:
        run, workload: of the order; ``unit``: whose privacy is spent, or ``none``.
        events: privacy events as JSON objects.
        delta: of the order; 0 for ``none``.
        state: reserved until the run's end is known.
        reserved_at: when the order was admitted.
        until: after this instant the run spends nothing more: its deadline, then its end.
    """

    run: str
    unit: str
    workload: str
    events: tuple[Mapping[str, Any], ...]
    delta: float
    state: Use
    reserved_at: datetime
    until: datetime


class SpendingLedger:
    """Lines by run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, line: Spending) -> None:
        """Insert a reservation, or reserve again what was returned. Nothing else is replaced."""
        known = self.get(line.run)
        if known is None:
            self._connection.execute(insert(privacy_spending).values(**_values(line)))
        elif known.state is Use.RETURNED:
            self._replace(line)

    def settle(self, run: str, state: Use, at: datetime) -> None:
        """Close a reservation; nothing happens if there is none open."""
        known = self.get(run)
        if known is not None and known.state is Use.RESERVED:
            until = min(known.until, at) if state is Use.USED else known.reserved_at
            self._replace(_changed(known, state, max(until, known.reserved_at)))

    def get(self, run: str) -> Spending | None:
        """By run, or nothing. LocalError if the line is damaged."""
        query = select(privacy_spending).where(privacy_spending.c.run == run)
        try:
            row = self._connection.execute(query).first()
        except (SQLAlchemyError, ValueError) as error:
            raise _unreadable(error) from error
        return None if row is None else _line(row)

    def list(self) -> tuple[Spending, ...]:
        """All lines, oldest first.

        Raises:
            LocalError: a line is damaged, or a run of this node has none.
        """
        query = select(privacy_spending).order_by(
            privacy_spending.c.reserved_at, privacy_spending.c.run
        )
        try:
            lines = tuple(map(_line, self._connection.execute(query)))
            runs = {row.run for row in self._connection.execute(select(run_budget.c.run))}
        except (SQLAlchemyError, ValueError) as error:
            raise _unreadable(error) from error
        missing = sorted(runs - {line.run for line in lines})
        if missing:
            raise LocalError(
                f"the account of spent privacy has no line for run {missing[0][:16]}"
                + (f" and {len(missing) - 1} more." if missing[1:] else "."),
                code=Code.TAMPERED,
                fix=_REPAIR,
            )
        return lines

    def _replace(self, line: Spending) -> None:
        self._connection.execute(
            update(privacy_spending)
            .where(privacy_spending.c.run == line.run)
            .values(**_values(line))
        )


def _changed(line: Spending, state: Use, until: datetime) -> Spending:
    return Spending(
        line.run,
        line.unit,
        line.workload,
        line.events,
        line.delta,
        state,
        line.reserved_at,
        until,
    )


def _values(line: Spending) -> dict[str, Any]:
    values: dict[str, Any] = {
        "run": line.run,
        "unit": line.unit,
        "workload": line.workload,
        "events": json.dumps([dict(one) for one in line.events], sort_keys=True, allow_nan=False),
        "delta": line.delta,
        "state": line.state.value,
        "reserved_at": line.reserved_at,
        "until": line.until,
    }
    return {**values, "seal": seal(values)}


def seal(values: Mapping[str, Any]) -> str:
    """SHA-256 over the columns of a line, 64 hex digits: damage is noticed, intent is not."""
    texts = [
        str(values[name]) for name in ("run", "unit", "workload", "events", "delta", "state")
    ] + [values[name].astimezone(UTC).isoformat() for name in ("reserved_at", "until")]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _line(row: Row[Any]) -> Spending:
    values = dict(row._mapping)
    if seal(values) != values["seal"]:
        raise LocalError(
            f"what run {str(values['run'])[:16]} spent of privacy is damaged in the account.",
            code=Code.TAMPERED,
            fix=_REPAIR,
        )
    return Spending(
        values["run"],
        values["unit"],
        values["workload"],
        tuple(json.loads(values["events"])),
        values["delta"],
        Use(values["state"]),
        values["reserved_at"],
        values["until"],
    )


def _unreadable(error: Exception) -> LocalError:
    return LocalError(
        f"the account of spent privacy cannot be read ({type(error).__name__}).",
        code=Code.TAMPERED,
        fix=_REPAIR,
    )
