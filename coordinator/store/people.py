"""People who work in the office: a role each, a passphrase, perhaps a key to approve with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from coordinator.store.schema import people


@dataclass(frozen=True, slots=True)
class Person:
    """One person. ``id`` stands in the log, never the name."""

    id: str  # 16 hex digits
    name: str
    role: str
    passphrase: str = field(repr=False)  # as ``coordinator.members.people`` hashes it
    added_at: datetime
    removed_at: datetime | None = None
    approver_key: bytes | None = None  # Ed25519 public key, 32 bytes


class People:
    """Everybody who was ever registered."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, person: Person) -> None:
        """A new person."""
        self._connection.execute(
            insert(people).values(
                id=person.id,
                name=person.name,
                role=person.role,
                passphrase=person.passphrase,
                added_at=person.added_at,
            )
        )

    def list(self, *, former: bool = False) -> tuple[Person, ...]:
        """Those who are registered now, or everybody; oldest first."""
        query = select(people).order_by(people.c.added_at, people.c.id)
        if not former:
            query = query.where(people.c.removed_at.is_(None))
        return tuple(_person(row) for row in self._connection.execute(query))

    def remove(self, person: str, at: datetime) -> None:
        """From now on this person is nobody here; the entry stays."""
        self._connection.execute(update(people).where(people.c.id == person).values(removed_at=at))

    def give_key(self, person: str, public: bytes) -> None:
        """The public part of the key that this person approves with; replaces an earlier one."""
        self._connection.execute(
            update(people).where(people.c.id == person).values(approver_key=public)
        )


def _person(row: Row[tuple[object, ...]]) -> Person:
    return Person(
        id=row.id,
        name=row.name,
        role=row.role,
        passphrase=row.passphrase,
        added_at=row.added_at,
        removed_at=row.removed_at,
        approver_key=row.approver_key,
    )
