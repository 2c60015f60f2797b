"""Incidents and their clocks. Their signed steps are documents of kind ``incident``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from coordinator.store.schema import incidents
from protocols.errors import Code, LocalError


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. Members have to be told by ``notify_by``."""

    incident: str  # 32 hex digits
    what: str
    freeze: bool
    opened_at: datetime
    notify_by: datetime
    notified_at: datetime | None = None
    closed_at: datetime | None = None

    @property
    def state(self) -> str:
        """``opened``, ``notified`` or ``closed``."""
        if self.closed_at is not None:
            return "closed"
        return "opened" if self.notified_at is None else "notified"

    def overdue(self, now: datetime) -> bool:
        """Whether the members should have been told by now and were not."""
        return self.notified_at is None and now > self.notify_by


class Incidents:
    """All incidents; nothing here is ever deleted."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, one: Incident) -> None:
        """A new one."""
        self._connection.execute(
            insert(incidents).values(
                incident=one.incident,
                what=one.what,
                freeze=int(one.freeze),
                opened_at=one.opened_at,
                notify_by=one.notify_by,
            )
        )

    def notified(self, incident: str, at: datetime) -> None:
        """The members were told; the first time counts."""
        self._set(incident, "notified_at", at)

    def closed(self, incident: str, at: datetime) -> None:
        """It is over; the first time counts."""
        self._set(incident, "closed_at", at)

    def list(self, *, open_only: bool = False) -> tuple[Incident, ...]:
        """All, or those that are not closed; oldest first."""
        query = select(incidents).order_by(incidents.c.opened_at, incidents.c.incident)
        if open_only:
            query = query.where(incidents.c.closed_at.is_(None))
        return tuple(_incident(row) for row in self._connection.execute(query))

    def starting(self, prefix: str) -> Incident:
        """The one whose id begins so; LocalError if it is none or several."""
        found = [one for one in self.list() if one.incident.startswith(prefix)]
        if len(found) != 1:
            raise LocalError(
                f"{len(found)} incidents begin with {prefix!r}.",
                code=Code.NOT_FOUND,
                fix="'coop-coordinator incident list' shows all.",
            )
        return found[0]

    def _set(self, incident: str, column: str, at: datetime) -> None:
        where = incidents.c.incident == incident
        self._connection.execute(
            update(incidents).where(where, incidents.c[column].is_(None)).values({column: at})
        )


def _incident(row: Row[tuple[object, ...]]) -> Incident:
    return Incident(
        incident=row.incident,
        what=row.what,
        freeze=bool(row.freeze),
        opened_at=row.opened_at,
        notify_by=row.notify_by,
        notified_at=row.notified_at,
        closed_at=row.closed_at,
    )
