"""Countersignatures of members over the coordinator's log: the newest few of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from coordinator.store.members import Status
from coordinator.store.schema import cosignatures, members
from protocols.ids import MemberId

KEPT = 16  # of each member


@dataclass(frozen=True, slots=True)
class Cosignature:
    """One member's countersignature: of which head, when (POSIX seconds, the member's word)."""

    member: MemberId
    size: int
    root: str  # hex
    at: int
    note: bytes  # the checkpoint with the log's signature and this member's line
    received_at: datetime


class Cosignatures:
    """What members vouched for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, one: Cosignature) -> None:
        """Insert, or replace the older one of the same size; the oldest beyond ``KEPT`` go."""
        values = {
            "member": one.member,
            "size": one.size,
            "root": one.root,
            "at": one.at,
            "note": one.note,
            "received_at": one.received_at,
        }
        keys = [cosignatures.c.member, cosignatures.c.size]
        self._connection.execute(
            upsert(cosignatures)
            .values(**values)
            .on_conflict_do_update(index_elements=keys, set_=values)
        )
        kept = (
            select(cosignatures.c.size)
            .where(cosignatures.c.member == one.member)
            .order_by(cosignatures.c.size.desc())
            .limit(KEPT)
        )
        self._connection.execute(
            delete(cosignatures).where(
                cosignatures.c.member == one.member, cosignatures.c.size.not_in(kept)
            )
        )

    def newest(self, member: MemberId) -> Cosignature | None:
        """A member's countersignature of the largest head, or None."""
        query = (
            select(cosignatures)
            .where(cosignatures.c.member == member)
            .order_by(cosignatures.c.size.desc())
            .limit(1)
        )
        row = self._connection.execute(query).first()
        return None if row is None else Cosignature(**row._mapping)

    def newest_of_each(self) -> tuple[Cosignature, ...]:
        """The newest of every active member that has one, largest head first."""
        last = (
            select(cosignatures.c.member, func.max(cosignatures.c.size).label("size"))
            .group_by(cosignatures.c.member)
            .subquery()
        )
        query = (
            select(cosignatures)
            .join(
                last,
                (cosignatures.c.member == last.c.member) & (cosignatures.c.size == last.c.size),
            )
            .join(members, members.c.id == cosignatures.c.member)
            .where(members.c.status == Status.ACTIVE.value)
            .order_by(cosignatures.c.size.desc(), cosignatures.c.member)
        )
        return tuple(Cosignature(**row._mapping) for row in self._connection.execute(query))
