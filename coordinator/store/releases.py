"""Releases and their states, revocations, and how often members fetched.

All transitions of a release stand in ``NEXT``; a step that is not there is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from coordinator.store.schema import pulls, releases, revocations
from protocols.errors import Code, LocalError
from protocols.ids import MemberId


class ReleaseState(StrEnum):
    """Where a release stands."""

    HELD = "held"  # made and logged; operator and approver have not both signed yet
    PUBLISHED = "published"  # announced, sealed, may be fetched
    WITHDRAWN = "withdrawn"  # no longer offered; members may go on using what they have
    REVOKED = "revoked"  # nobody may use it


NEXT: Mapping[ReleaseState, tuple[ReleaseState, ...]] = {
    ReleaseState.HELD: (ReleaseState.PUBLISHED, ReleaseState.WITHDRAWN, ReleaseState.REVOKED),
    ReleaseState.PUBLISHED: (ReleaseState.WITHDRAWN, ReleaseState.REVOKED),
    ReleaseState.WITHDRAWN: (ReleaseState.REVOKED,),
    ReleaseState.REVOKED: (),
}


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """One release; ``changed_at`` is when it came into its state."""

    model: str
    run: str
    state: ReleaseState
    created_at: datetime
    changed_at: datetime


class Releases:
    """States of releases, by model id."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, model: str, run: str, state: ReleaseState, now: datetime) -> None:
        """A new release; one that is known already keeps its state."""
        self._connection.execute(
            upsert(releases)
            .values(model=model, run=run, state=state.value, created_at=now, changed_at=now)
            .on_conflict_do_nothing()
        )

    def get(self, model: str) -> StoredRelease | None:
        """One release, or nothing."""
        row = self._connection.execute(select(releases).where(releases.c.model == model)).first()
        return None if row is None else _release(row)

    def list(self, *states: ReleaseState) -> tuple[StoredRelease, ...]:
        """Releases in any of the states (all if none is named), oldest first."""
        query = select(releases).order_by(releases.c.created_at, releases.c.model)
        if states:
            query = query.where(releases.c.state.in_([state.value for state in states]))
        return tuple(_release(row) for row in self._connection.execute(query))

    def move(self, model: str, state: ReleaseState, now: datetime) -> None:
        """To another state.

        Raises:
            LocalError: there is no such release, or the step is not among ``NEXT``.
        """
        found = self.get(model)
        if found is None:
            raise LocalError("there is no such release.", code=Code.NOT_FOUND, where=model[:16])
        if state not in NEXT[found.state]:
            raise LocalError(
                f"the release is {found.state.value}; it cannot become {state.value}.",
                code=Code.USAGE,
                where=model[:16],
                fix="'coop-coordinator release list' shows where each release stands.",
            )
        self._connection.execute(
            update(releases)
            .where(releases.c.model == model)
            .values(state=state.value, changed_at=now)
        )


@dataclass(frozen=True, slots=True)
class StoredRevocation:
    """A signed revocation. ``seq`` counts complete ones from 1; None while a signature lacks."""

    model: str
    jws: bytes
    seq: int | None
    at: datetime


class Revocations:
    """Revocations by model id; complete ones are never changed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, model: str) -> StoredRevocation | None:
        """The revocation of a model, or nothing."""
        query = select(revocations).where(revocations.c.model == model)
        row = self._connection.execute(query).first()
        return None if row is None else _revocation(row)

    def put(self, model: str, jws: bytes, now: datetime, *, complete: bool) -> None:
        """Keep one; it gets the next number once it is complete. LocalError if it was already."""
        known = self.get(model)
        if known is not None and known.seq is not None:
            raise LocalError("this model was revoked before.", code=Code.USAGE, where=model[:16])
        seq = self.newest() + 1 if complete else None
        self._connection.execute(
            upsert(revocations)
            .values(model=model, jws=jws, seq=seq, at=now)
            .on_conflict_do_update(
                index_elements=[revocations.c.model], set_={"jws": jws, "seq": seq, "at": now}
            )
        )

    def newest(self) -> int:
        """Number of the last complete revocation; 0 before the first."""
        found = self._connection.execute(select(func.max(revocations.c.seq))).scalar()
        return int(found or 0)

    def after(self, seq: int, limit: int) -> tuple[StoredRevocation, ...]:
        """Complete ones after a number, in order."""
        query = (
            select(revocations)
            .where(revocations.c.seq > seq)
            .order_by(revocations.c.seq)
            .limit(limit)
        )
        return tuple(_revocation(row) for row in self._connection.execute(query))


class Pulls:
    """How often each member fetched a release on a day (UTC)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def on(self, member: MemberId, day: datetime) -> int:
        """So far."""
        query = select(pulls.c.count).where(pulls.c.member == member, pulls.c.day == _day(day))
        return int(self._connection.execute(query).scalar() or 0)

    def add(self, member: MemberId, day: datetime) -> None:
        """One more."""
        self._connection.execute(
            upsert(pulls)
            .values(member=member, day=_day(day), count=1)
            .on_conflict_do_update(
                index_elements=[pulls.c.member, pulls.c.day], set_={"count": pulls.c.count + 1}
            )
        )


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _release(row: Row[tuple[object, ...]]) -> StoredRelease:
    return StoredRelease(
        row.model, row.run, ReleaseState(row.state), row.created_at, row.changed_at
    )


def _revocation(row: Row[tuple[object, ...]]) -> StoredRevocation:
    return StoredRevocation(row.model, row.jws, row.seq, row.at)
