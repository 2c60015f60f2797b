"""What customers asked for and how it was answered; marks of those who were erased.

Nobody's name or number is here. A customer stands under a keyed hash; of one who was erased a
mark remains (``mark_of``), under the same secret, so that neither rows, consent nor requests can
be told apart from those of nobody.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from node.store.schema import customer_requests, erasures

_MARK = b"datacoop/erased/v1"


def mark_of(secret: bytes, customer_key: str) -> str:
    """What remains of an erased customer: HMAC-SHA256(secret, tag || key), 64 hex digits."""
    return hmac.digest(secret, _MARK + bytes.fromhex(customer_key), "sha256").hex()


class RequestKind(StrEnum):
    """What a customer may ask for (GDPR art. 15 to 18, 20, 21); ``lift`` ends a restriction."""

    ACCESS = "access"
    EXPORT = "export"
    RECTIFY = "rectify"
    ERASE = "erase"
    RESTRICT = "restrict"
    OBJECT = "object"
    LIFT = "lift"


class Outcome(StrEnum):
    """How a request ended; empty while it waits, and for those of before this was kept."""

    OPEN = ""
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CustomerRequest:
    """One request.

    Args:
        id: 8 hex digits; ``customer_key``: 64, keyed as in the consent ledger.
        received_at: when the customer asked; ``entered_at``: when it was typed in here.
        extended_at, extension_reason: the one extension, and what the customer was told.
        closed_at, how: the end, and what was done or why it was refused.
        identity_check, checked_at: how the person was recognised, and when that was entered.
        outcome: done or refused.
        evidence: SHA-256 of the evidence's document (64 hex digits), or empty.
    """

    id: str
    kind: RequestKind
    customer_key: str = field(repr=False)
    received_at: datetime
    entered_at: datetime
    extended_at: datetime | None = None
    extension_reason: str = ""
    closed_at: datetime | None = None
    how: str = ""
    identity_check: str = ""
    checked_at: datetime | None = None
    outcome: Outcome = Outcome.OPEN
    evidence: str = ""


class CustomerRequests:
    """Rows by id."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, one: CustomerRequest) -> None:
        """Insert."""
        self._connection.execute(
            insert(customer_requests).values(
                id=one.id,
                kind=one.kind.value,
                customer_key=bytes.fromhex(one.customer_key),
                received_at=one.received_at,
                entered_at=one.entered_at,
            )
        )

    def list(self, *, only_open: bool = False) -> tuple[CustomerRequest, ...]:
        """All, or those that wait, oldest first."""
        query = select(customer_requests).order_by(
            customer_requests.c.received_at, customer_requests.c.id
        )
        if only_open:
            query = query.where(customer_requests.c.closed_at.is_(None))
        return tuple(_request(row) for row in self._connection.execute(query))

    def extend(self, request: str, reason: str, at: datetime) -> None:
        """Note the extension."""
        self._set(request, extended_at=at, extension_reason=reason)

    def identify(self, request: str, note: str, at: datetime) -> None:
        """Note how the person was recognised."""
        self._set(request, identity_check=note, checked_at=at)

    def close(
        self,
        request: str,
        how: str,
        at: datetime,
        outcome: Outcome = Outcome.DONE,
        evidence: str = "",
    ) -> None:
        """Note the end."""
        values = {"outcome": outcome.value, "evidence": evidence}
        self._set(request, closed_at=at, how=how, **values)

    def of(self, *keys: str) -> tuple[CustomerRequest, ...]:
        """All requests under these keys or marks, oldest first."""
        return tuple(one for one in self.list() if one.customer_key in keys)

    def forget(self, customer_key: str, mark: str, keep: str) -> int:
        """Put the mark in the place of the key, and nothing in the place of what people wrote.

        What was asked for, when, and how it ended stay: the times of clause 12 hang on them. The
        texts of the request ``keep`` stay as well; how many requests there were.
        """
        key, texts = bytes.fromhex(customer_key), customer_requests.c
        mine = texts.customer_key == key
        self._connection.execute(
            update(customer_requests)
            .where(mine, texts.id != keep)
            .values(extension_reason="", how="", identity_check="")
        )
        done = self._connection.execute(
            update(customer_requests).where(mine).values(customer_key=bytes.fromhex(mark))
        )
        return done.rowcount

    def _set(self, request: str, **values: object) -> None:
        self._connection.execute(
            update(customer_requests).where(customer_requests.c.id == request).values(**values)
        )


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erased customer: the mark, the request, when."""

    mark: str
    request: str
    at: datetime


class Erasures:
    """Marks of erased customers; none is ever taken away."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, found: Iterable[Erasure]) -> int:
        """Keep them, of each person the newest; how many people are new."""
        before = len(self.list())
        for one in found:
            new = upsert(erasures).values(
                mark=bytes.fromhex(one.mark), request=one.request, at=one.at
            )
            self._connection.execute(
                new.on_conflict_do_update(
                    index_elements=[erasures.c.mark],
                    set_={"request": new.excluded.request, "at": new.excluded.at},
                    where=new.excluded.at > erasures.c.at,
                )
            )
        return len(self.list()) - before

    def list(self) -> tuple[Erasure, ...]:
        """All, oldest first."""
        query = select(erasures).order_by(erasures.c.at, erasures.c.mark)
        return tuple(
            Erasure(row.mark.hex(), row.request, row.at) for row in self._connection.execute(query)
        )


def _request(row: Row[tuple[object, ...]]) -> CustomerRequest:
    return CustomerRequest(
        row.id,
        RequestKind(row.kind),
        row.customer_key.hex(),
        row.received_at,
        row.entered_at,
        row.extended_at,
        row.extension_reason,
        row.closed_at,
        row.how,
        row.identity_check,
        row.checked_at,
        Outcome(row.outcome),
        row.evidence,
    )
