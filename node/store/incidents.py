"""Incidents that the operator announced, letter by letter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from node.store.schema import incidents


@dataclass(frozen=True, slots=True)
class StoredIncident:
    """One letter about one incident; its signature was verified before it came here."""

    incident: str
    state: str
    freeze: bool
    what: str
    at: datetime
    jws: bytes
    received_at: datetime


class Incidents:
    """Letters by incident and state; the first one of each state stays."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, one: StoredIncident) -> bool:
        """Insert; False if this state of the incident is known."""
        done = self._connection.execute(
            upsert(incidents)
            .values(
                incident=one.incident,
                state=one.state,
                freeze=int(one.freeze),
                what=one.what,
                at=one.at,
                jws=one.jws,
                received_at=one.received_at,
            )
            .on_conflict_do_nothing()
        )
        return bool(done.rowcount)

    def list(self) -> tuple[StoredIncident, ...]:
        """Every letter, oldest first."""
        rows = self._connection.execute(
            select(incidents).order_by(incidents.c.received_at, incidents.c.incident)
        )
        return tuple(
            StoredIncident(
                row.incident,
                row.state,
                bool(row.freeze),
                row.what,
                row.at,
                row.jws,
                row.received_at,
            )
            for row in rows
        )
