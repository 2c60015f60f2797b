"""People of this member and their roles. A person is never deleted, only removed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from node.store.schema import people


@dataclass(frozen=True, slots=True)
class Person:
    """One person. ``id`` (8 hex digits) stands in the journal, the name stays here.

    Args:
        salt: 16 bytes; ``secret_hash``: scrypt over the passphrase, 32 bytes, at ``log2_n``.
        removed_at: since when they may do nothing any more.
    """

    id: str
    name: str
    role: str
    salt: bytes = field(repr=False)
    secret_hash: bytes = field(repr=False)
    log2_n: int
    added_at: datetime
    removed_at: datetime | None = None


class People:
    """Rows by id."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, person: Person) -> None:
        """Insert."""
        self._connection.execute(
            insert(people).values(
                id=person.id,
                name=person.name,
                role=person.role,
                salt=person.salt,
                secret_hash=person.secret_hash,
                log2_n=person.log2_n,
                added_at=person.added_at,
            )
        )

    def present(self) -> tuple[Person, ...]:
        """Those who were not removed, by name."""
        query = select(people).where(people.c.removed_at.is_(None)).order_by(people.c.name)
        return tuple(_person(row) for row in self._connection.execute(query))

    def everybody(self) -> tuple[Person, ...]:
        """Also those who were removed, oldest first."""
        query = select(people).order_by(people.c.added_at, people.c.id)
        return tuple(_person(row) for row in self._connection.execute(query))

    def named(self, name: str) -> Person | None:
        """Who goes by this name now, or nothing."""
        return next((one for one in self.present() if one.name == name), None)

    def set_role(self, person: str, role: str) -> None:
        """Change what somebody may do."""
        self._connection.execute(update(people).where(people.c.id == person).values(role=role))

    def remove(self, person: str, at: datetime) -> None:
        """Take everything away; the row stays."""
        self._connection.execute(update(people).where(people.c.id == person).values(removed_at=at))


def _person(row: Row[tuple[object, ...]]) -> Person:
    return Person(
        row.id,
        row.name,
        row.role,
        row.salt,
        row.secret_hash,
        row.log2_n,
        row.added_at,
        row.removed_at,
    )
