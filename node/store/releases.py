"""Released models that this node was offered, pulled, uses or refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects.sqlite import insert as upsert

from node.store.schema import releases


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


def _release(row: Row[tuple[object, ...]]) -> StoredRelease:
    return StoredRelease(row.model, row.run, ReleaseState(row.state), row.card, row.received_at)
