"""Members, their certificates, and the invitations that led to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, insert, select, update

from coordinator.store.schema import certificates, invites, members
from protocols.ids import MemberId
from protocols.joining import Profile


class Status(StrEnum):
    """Whether a member may connect."""

    ACTIVE = "active"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Member:
    """One member as the office knows it."""

    id: MemberId
    profile: Profile
    public_key: bytes  # Ed25519, 32 bytes
    status: Status
    joined_at: datetime
    removed_at: datetime | None = None
    encryption_key: bytes | None = None  # X25519, 32 bytes; None: joined before there was one
    replaces: MemberId | None = None  # the same business before its identity key was renewed
    suspended_since: datetime | None = None
    leaving_at: datetime | None = None

    @property
    def active(self) -> bool:
        """May this member connect and take part?"""
        return self.status is Status.ACTIVE


class Members:
    """Everybody who ever joined."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, member: Member) -> None:
        """Insert; the id and the key must be new."""
        self._connection.execute(
            insert(members).values(
                id=member.id,
                name=member.profile.name,
                legal_id=member.profile.legal_id,
                trade=member.profile.trade,
                region=member.profile.region,
                public_key=member.public_key,
                status=member.status.value,
                joined_at=member.joined_at,
                removed_at=member.removed_at,
                encryption_key=member.encryption_key,
                replaces=member.replaces,
                suspended_since=member.suspended_since,
                leaving_at=member.leaving_at,
            )
        )

    def get(self, member: MemberId) -> Member | None:
        """One member, or None."""
        row = self._connection.execute(select(members).where(members.c.id == member)).first()
        return None if row is None else _member(row)

    def list(self, status: Status | None = None) -> tuple[Member, ...]:
        """All members, or those of one status, sorted by id."""
        query = select(members).order_by(members.c.id)
        if status is not None:
            query = query.where(members.c.status == status.value)
        return tuple(_member(row) for row in self._connection.execute(query))

    def named(self, text: str) -> tuple[Member, ...]:
        """Members with this name, or whose id begins so (8 digits or more)."""
        query = select(members).order_by(members.c.id)
        if len(text) >= 8 and set(text) <= set("0123456789abcdef"):
            query = query.where(members.c.id.startswith(text) | (members.c.name == text))
        else:
            query = query.where(members.c.name == text)
        return tuple(_member(row) for row in self._connection.execute(query))

    def remove(self, member: MemberId, now: datetime) -> None:
        """Mark as removed; the row stays, the roster's history needs it."""
        self._connection.execute(
            update(members)
            .where(members.c.id == member)
            .values(status=Status.REMOVED.value, removed_at=now)
        )

    def set_presence(
        self, member: MemberId, suspended_since: datetime | None, leaving_at: datetime | None
    ) -> None:
        """What the member's own signed notices amount to."""
        self._connection.execute(
            update(members)
            .where(members.c.id == member)
            .values(suspended_since=suspended_since, leaving_at=leaving_at)
        )

    def give_encryption_key(self, member: MemberId, public: bytes) -> None:
        """The key of a member that had none."""
        self._connection.execute(
            update(members)
            .where(members.c.id == member, members.c.encryption_key.is_(None))
            .values(encryption_key=public)
        )


def _member(row: Row[tuple[object, ...]]) -> Member:
    return Member(
        id=MemberId(row.id),
        profile=Profile(row.name, row.legal_id, row.trade, row.region),
        public_key=row.public_key,
        status=Status(row.status),
        joined_at=row.joined_at,
        removed_at=row.removed_at,
        encryption_key=row.encryption_key,
        replaces=None if row.replaces is None else MemberId(row.replaces),
        suspended_since=row.suspended_since,
        leaving_at=row.leaving_at,
    )


@dataclass(frozen=True, slots=True)
class Certificate:
    """One client certificate that the authority issued."""

    serial: str  # hexadecimal
    member: MemberId
    not_after: datetime
    pem: bytes
    revoked_at: datetime | None = None


class Certificates:
    """Everything the authority issued to members."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, certificate: Certificate) -> None:
        """Insert a new one."""
        self._connection.execute(
            insert(certificates).values(
                serial=certificate.serial,
                member=certificate.member,
                not_after=certificate.not_after,
                revoked_at=certificate.revoked_at,
                pem=certificate.pem,
            )
        )

    def get(self, serial: str) -> Certificate | None:
        """By serial number, or None."""
        query = select(certificates).where(certificates.c.serial == serial)
        row = self._connection.execute(query).first()
        return None if row is None else _certificate(row)

    def of(self, member: MemberId) -> tuple[Certificate, ...]:
        """All of one member, the one that ends last first."""
        query = (
            select(certificates)
            .where(certificates.c.member == member)
            .order_by(certificates.c.not_after.desc(), certificates.c.serial)
        )
        return tuple(_certificate(row) for row in self._connection.execute(query))

    def revoke(self, member: MemberId, now: datetime, *, keep: tuple[str, ...] = ()) -> int:
        """Revoke what a member holds, except the serials in ``keep``; how many were revoked."""
        done = self._connection.execute(
            update(certificates)
            .where(
                certificates.c.member == member,
                certificates.c.revoked_at.is_(None),
                certificates.c.serial.not_in(keep),
            )
            .values(revoked_at=now)
        )
        return int(done.rowcount)


def _certificate(row: Row[tuple[object, ...]]) -> Certificate:
    return Certificate(row.serial, MemberId(row.member), row.not_after, row.pem, row.revoked_at)


@dataclass(frozen=True, slots=True)
class Invite:
    """One invitation; the token itself is nowhere in the office."""

    token_hash: str
    name: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    used_by: MemberId | None = None
    request_hash: str | None = None  # of the request that used it, to answer the same one again
    serial: str | None = None  # of the certificate that answered it
    replaces: MemberId | None = None  # the member whose keys were lost


class Invites:
    """All invitations, open, used and expired."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, invite: Invite) -> None:
        """Insert an open one."""
        self._connection.execute(
            insert(invites).values(
                token_hash=invite.token_hash,
                name=invite.name,
                created_at=invite.created_at,
                expires_at=invite.expires_at,
                replaces=invite.replaces,
            )
        )

    def get(self, token_hash: str) -> Invite | None:
        """By the hash of its token, or None."""
        query = select(invites).where(invites.c.token_hash == token_hash)
        row = self._connection.execute(query).first()
        return None if row is None else _invite(row)

    def list(self) -> tuple[Invite, ...]:
        """All, the newest first."""
        query = select(invites).order_by(invites.c.created_at.desc(), invites.c.token_hash)
        return tuple(_invite(row) for row in self._connection.execute(query))

    def use(
        self, token_hash: str, *, member: MemberId, request_hash: str, serial: str, now: datetime
    ) -> bool:
        """Spend it; False if it was spent already (nothing is changed then)."""
        done = self._connection.execute(
            update(invites)
            .where(invites.c.token_hash == token_hash, invites.c.used_at.is_(None))
            .values(used_at=now, used_by=member, request_hash=request_hash, serial=serial)
        )
        return int(done.rowcount) == 1


def _invite(row: Row[tuple[object, ...]]) -> Invite:
    return Invite(
        token_hash=row.token_hash,
        name=row.name,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
        used_by=None if row.used_by is None else MemberId(row.used_by),
        request_hash=row.request_hash,
        serial=row.serial,
        replaces=None if row.replaces is None else MemberId(row.replaces),
    )
