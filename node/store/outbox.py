"""Letters to the coordinator that survive a crash, and how far its letters were read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from node.store.schema import cursors, outbox


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter; ``id`` is chosen by the writer, so that writing twice posts once."""

    seq: int
    id: str
    kind: str
    body: bytes
    created_at: datetime


class Outbox:
    """Letters in the order written, kept until the coordinator has them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def post(self, id: str, kind: str, body: bytes, created_at: datetime) -> bool:
        """Append; False if a letter with this id was posted before."""
        done = self._connection.execute(
            upsert(outbox)
            .values(id=id, kind=kind, body=body, created_at=created_at)
            .on_conflict_do_nothing(index_elements=[outbox.c.id])
        )
        return bool(done.rowcount)

    def open(self, limit: int = 100) -> tuple[Letter, ...]:
        """Letters that the coordinator has not acknowledged, oldest first."""
        query = (
            select(outbox).where(outbox.c.acked_at.is_(None)).order_by(outbox.c.seq).limit(limit)
        )
        return tuple(
            Letter(row.seq, row.id, row.kind, row.body, row.created_at)
            for row in self._connection.execute(query)
        )

    def acknowledge(self, id: str, at: datetime) -> bool:
        """The coordinator has it; False if it was acknowledged before or never posted."""
        done = self._connection.execute(
            update(outbox).where(outbox.c.id == id, outbox.c.acked_at.is_(None)).values(acked_at=at)
        )
        return bool(done.rowcount)


class Cursors:
    """Numbers by name, for example the last letter read from the coordinator."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> int:
        """The value; 0 before it was first set."""
        row = self._connection.execute(select(cursors).where(cursors.c.name == name)).first()
        return 0 if row is None else int(row.value)

    def put(self, name: str, value: int) -> None:
        """Insert or replace."""
        self._connection.execute(
            upsert(cursors)
            .values(name=name, value=value)
            .on_conflict_do_update(index_elements=[cursors.c.name], set_={"value": value})
        )
