"""What customers asked for, until it is closed. Nobody's name or number is here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, insert, select, update

from node.store.schema import customer_requests


class RequestKind(StrEnum):
    """What a customer may ask for (GDPR art. 15, 16, 17, 18, 21)."""

    ACCESS = "access"
    RECTIFY = "rectify"
    ERASE = "erase"
    RESTRICT = "restrict"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class CustomerRequest:
    """One request.

    Args:
        id: 8 hex digits; ``customer_key``: 64, keyed as in the consent ledger.
        received_at: when the customer asked; ``entered_at``: when it was typed in here.
        extended_at, extension_reason: the one extension, and what the customer was told.
        closed_at, how: the end, and what was done.
    """

    id: str
    kind: RequestKind
    customer_key: str
    received_at: datetime
    entered_at: datetime
    extended_at: datetime | None = None
    extension_reason: str = ""
    closed_at: datetime | None = None
    how: str = ""


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

    def close(self, request: str, how: str, at: datetime) -> None:
        """Note the end."""
        self._set(request, closed_at=at, how=how)

    def _set(self, request: str, **values: object) -> None:
        self._connection.execute(
            update(customer_requests).where(customer_requests.c.id == request).values(**values)
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
    )
