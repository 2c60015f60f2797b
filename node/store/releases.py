"""Released models that this node was offered, pulled, uses or refused; which were taken back;
how often each was used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from node.store.schema import releases, result_uses, revocations


class ReleaseState(StrEnum):
    """How far a release is on this node."""

    OFFERED = "offered"
    PULLED = "pulled"
    USED = "used"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release by its model id; ``card`` is the signed card as received."""

    model: str
    run: str
    state: ReleaseState
    card: bytes
    received_at: datetime


class Releases:
    """Releases by model id."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, release: StoredRelease) -> None:
        """Insert, or change the state of the same model."""
        self._connection.execute(
            upsert(releases)
            .values(
                model=release.model,
                run=release.run,
                state=release.state.value,
                card=release.card,
                received_at=release.received_at,
            )
            .on_conflict_do_update(
                index_elements=[releases.c.model], set_={"state": release.state.value}
            )
        )

    def get(self, model: str) -> StoredRelease | None:
        """By model id, or nothing."""
        row = self._connection.execute(select(releases).where(releases.c.model == model)).first()
        return None if row is None else _release(row)

    def list(self, *states: ReleaseState) -> tuple[StoredRelease, ...]:
        """Releases in any of the states (all if none is named), oldest first."""
        query = select(releases).order_by(releases.c.received_at, releases.c.model)
        if states:
            query = query.where(releases.c.state.in_([state.value for state in states]))
        return tuple(_release(row) for row in self._connection.execute(query))


@dataclass(frozen=True, slots=True)
class StoredRevocation:
    """A model that was taken back; ``jws`` as received, its signatures verified before."""

    model: str
    reason: str
    jws: bytes
    received_at: datetime


class Revocations:
    """Models that may not be used any more; nothing here is changed or deleted."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, revocation: StoredRevocation) -> bool:
        """Keep one; False if this model was taken back before (the first one stands)."""
        if self.get(revocation.model) is not None:
            return False
        self._connection.execute(
            insert(revocations).values(
                model=revocation.model,
                reason=revocation.reason,
                jws=revocation.jws,
                received_at=revocation.received_at,
            )
        )
        return True

    def get(self, model: str) -> StoredRevocation | None:
        """The revocation of a model, or nothing."""
        query = select(revocations).where(revocations.c.model == model)
        row = self._connection.execute(query).first()
        if row is None:
            return None
        return StoredRevocation(row.model, row.reason, row.jws, row.received_at)


class Uses:
    """How often a result was used on a day (UTC)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def on(self, model: str, day: datetime) -> int:
        """So far."""
        query = select(result_uses.c.count).where(
            result_uses.c.model == model, result_uses.c.day == _day(day)
        )
        return int(self._connection.execute(query).scalar() or 0)

    def add(self, model: str, day: datetime, count: int = 1) -> None:
        """So many more, or less; never below 0."""
        self._connection.execute(
            upsert(result_uses)
            .values(model=model, day=_day(day), count=max(0, count))
            .on_conflict_do_update(
                index_elements=[result_uses.c.model, result_uses.c.day],
                set_={"count": func.max(0, result_uses.c.count + count)},
            )
        )


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _release(row: Row[tuple[object, ...]]) -> StoredRelease:
    return StoredRelease(row.model, row.run, ReleaseState(row.state), row.card, row.received_at)
