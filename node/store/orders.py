"""Orders with their state, and what a person of this member said about them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from node.store.schema import approvals, orders
from protocols.errors import Code, LocalError


class OrderState(StrEnum):
    """How far an order is on this node."""

    PENDING = "pending"  # waits for this member's approval
    ADMITTED = "admitted"
    REFUSED = "refused"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


FINISHED = frozenset({OrderState.DONE, OrderState.FAILED})


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """One order as received; ``reasons`` are the sentences of the last denial."""

    run: str
    order_id: str
    workload: str
    digest: str
    jws: bytes
    state: OrderState
    reasons: tuple[str, ...]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class StoredApproval:
    """What was said about a run (32 hex digits) or a workload digest (64)."""

    subject: str
    answer: str  # "once", "always" or "refused"
    reason: str
    at: datetime
    role: str = "owner"  # of the person who said it
    by: str = "os"  # their short id; "os" is whoever may use the computer's account


class Orders:
    """Orders by run. A run has one order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, order: StoredOrder, changed_at: datetime) -> None:
        """Insert, or change state and reasons of the same order.

        Raises:
            LocalError: another order is stored for this run; the gate refuses that before.
        """
        known = self.get(order.run)
        if known is not None and known.order_id != order.order_id:
            raise LocalError("another order is stored for this run.", code=Code.TAMPERED)
        changed = {
            "state": order.state.value,
            "reasons": json.dumps(list(order.reasons)),
            "changed_at": changed_at,
        }
        self._connection.execute(
            upsert(orders)
            .values(
                run=order.run,
                order_id=order.order_id,
                workload=order.workload,
                digest=order.digest,
                jws=order.jws,
                received_at=order.received_at,
                **changed,
            )
            .on_conflict_do_update(index_elements=[orders.c.run], set_=changed)
        )

    def move(
        self, run: str, state: OrderState, changed_at: datetime, reasons: Sequence[str] = ()
    ) -> None:
        """Change the state. LocalError if the run is not known."""
        done = self._connection.execute(
            update(orders)
            .where(orders.c.run == run)
            .values(state=state.value, reasons=json.dumps(list(reasons)), changed_at=changed_at)
        )
        if done.rowcount != 1:
            raise LocalError(f"no order of run {run} is stored.", code=Code.NOT_FOUND)

    def get(self, run: str) -> StoredOrder | None:
        """By run, or nothing."""
        row = self._connection.execute(select(orders).where(orders.c.run == run)).first()
        return None if row is None else _order(row)

    def list(self, *states: OrderState) -> tuple[StoredOrder, ...]:
        """Orders in any of the states (all if none is named), oldest first."""
        query = select(orders).order_by(orders.c.received_at, orders.c.run)
        if states:
            query = query.where(orders.c.state.in_([state.value for state in states]))
        return tuple(_order(row) for row in self._connection.execute(query))

    def starting(self, prefix: str) -> tuple[StoredOrder, ...]:
        """Orders whose run begins so, for people who type 8 digits."""
        query = select(orders).where(orders.c.run.startswith(prefix, autoescape=True))
        return tuple(_order(row) for row in self._connection.execute(query))


class Approvals:
    """Answers by subject: a run, or a workload digest for always."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, approval: StoredApproval) -> None:
        """Insert or replace the answer."""
        values = {
            "answer": approval.answer,
            "reason": approval.reason,
            "at": approval.at,
            "role": approval.role,
            "by": approval.by,
        }
        self._connection.execute(
            upsert(approvals)
            .values(subject=approval.subject, **values)
            .on_conflict_do_update(index_elements=[approvals.c.subject], set_=values)
        )

    def get(self, subject: str) -> StoredApproval | None:
        """The answer about a run or a digest, or nothing."""
        query = select(approvals).where(approvals.c.subject == subject)
        row = self._connection.execute(query).first()
        return None if row is None else _approval(row)

    def list(self) -> tuple[StoredApproval, ...]:
        """All, oldest first."""
        query = select(approvals).order_by(approvals.c.at, approvals.c.subject)
        return tuple(_approval(row) for row in self._connection.execute(query))

    def revoke(self, subject: str) -> bool:
        """Forget an answer; False if there was none."""
        done = self._connection.execute(delete(approvals).where(approvals.c.subject == subject))
        return bool(done.rowcount)


def _approval(row: Row[tuple[object, ...]]) -> StoredApproval:
    return StoredApproval(row.subject, row.answer, row.reason, row.at, row.role, row.by)


def _order(row: Row[tuple[object, ...]]) -> StoredOrder:
    return StoredOrder(
        row.run,
        row.order_id,
        row.workload,
        row.digest,
        row.jws,
        OrderState(row.state),
        tuple(json.loads(row.reasons)),
        row.received_at,
    )
