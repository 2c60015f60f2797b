"""Notices of this member about itself, and the ends of agreements, with their signatures.

Nothing here is trusted when it is read: ``node.policy.life`` verifies every signature again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from node.store.schema import membership_notices, terminations


@dataclass(frozen=True, slots=True)
class StoredNotice:
    """One notice; ``at`` and ``until`` as in the signed document."""

    member: str
    state: str
    at: datetime
    until: datetime | None
    jws: bytes


@dataclass(frozen=True, slots=True)
class StoredEnd:
    """The end of an agreement, with the signatures received so far."""

    document: str
    agreement: str
    jws: bytes
    received_at: datetime


class Notices:
    """What this member said about itself, oldest first. Nothing is changed or deleted."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """The transaction that it belongs to."""
        return self._connection

    def add(self, one: StoredNotice) -> None:
        """Append."""
        self._connection.execute(
            insert(membership_notices).values(
                member=one.member, state=one.state, at=one.at, until=one.until, jws=one.jws
            )
        )

    def list(self) -> tuple[StoredNotice, ...]:
        """All, oldest first."""
        query = select(membership_notices).order_by(membership_notices.c.seq)
        return tuple(
            StoredNotice(row.member, row.state, row.at, row.until, row.jws)
            for row in self._connection.execute(query)
        )


class Terminations:
    """Ends of agreements by document."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, one: StoredEnd) -> None:
        """Insert, or replace the signatures of a known one."""
        self._connection.execute(
            upsert(terminations)
            .values(
                document=one.document,
                agreement=one.agreement,
                jws=one.jws,
                received_at=one.received_at,
            )
            .on_conflict_do_update(index_elements=[terminations.c.document], set_={"jws": one.jws})
        )

    def of(self, agreement: str) -> tuple[StoredEnd, ...]:
        """All that would end this agreement, in order of their names."""
        query = (
            select(terminations)
            .where(terminations.c.agreement == agreement)
            .order_by(terminations.c.document)
        )
        return tuple(
            StoredEnd(row.document, row.agreement, row.jws, row.received_at)
            for row in self._connection.execute(query)
        )
