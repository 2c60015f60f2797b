"""Who becomes a member and who stays one: invite, enrol, renew, remove.

Every function is one transaction. A token is spent in the same transaction that makes the member,
so there is never one without the other; the same request repeated (its reply got lost) is answered
with the same certificate.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from coordinator.members import pki, succession
from coordinator.members.certificates import Authority, Issued, issue
from coordinator.members.pki import Office, Places
from coordinator.settings import CoordinatorSettings
from coordinator.store.database import Database
from coordinator.store.members import (
    Certificate,
    Certificates,
    Invite,
    Invites,
    Member,
    Members,
    Status,
)
from protocols.canonical import digest
from protocols.errors import Code, InputError, LocalError, Refused, RemoteError
from protocols.ids import MemberId
from protocols.joining import (
    Invitation,
    Profile,
    check_proof,
    check_token,
    parse_address,
    token_hash,
)

MAX_INVITE_TTL = timedelta(days=30)
MAX_CERTIFICATES = 8  # live at once, per member
_NEW_LINK = "Ask your operator for a new invitation ('coop-coordinator member invite')."


@dataclass(frozen=True, slots=True)
class Request:
    """What a node sends to enrol, as bytes of unknown origin."""

    token: str = field(repr=False)
    csr_pem: bytes
    identity_key: bytes  # Ed25519, 32 bytes
    proof: bytes
    profile: Profile
    encryption_key: bytes  # X25519, 32 bytes


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The answer: who the node is now, and its certificate."""

    member: MemberId
    cert_pem: bytes
    repeated: bool  # this very request was answered before


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The office's desk for members. ``database`` and ``where`` belong to one home."""

    database: Database
    where: Places
    office: Office

    def invite(
        self,
        name: str,
        ttl: timedelta,
        now: datetime,
        *,
        address: str = "",
        replaces: MemberId | None = None,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Invitation:
        """A single-use invitation; ``.link`` is the text for the member.

        Args:
            name: who it is for; a note for the operator, at most 80 characters.
            ttl: how long it is good, up to 30 days.
            now: aware UTC time.
            address: ``host:port`` in the link when it differs from the usual join address.
            replaces: the member whose keys are lost; its connections end now.
            entropy: for the 192-bit token.
        """
        Profile(name)
        if not timedelta(0) < ttl <= MAX_INVITE_TTL:
            raise InputError(
                f"an invitation lasts up to {MAX_INVITE_TTL.days} days; {ttl} was asked for.",
                where="--hours",
            )
        token = _token_text(entropy(24))
        row = Invite(token_hash(token), name, now, now + ttl, replaces=replaces)
        with self.database.write() as tx:
            Invites(tx).add(row)
            if replaces is not None:
                Certificates(tx).revoke(replaces, now)
        reached = parse_address(address, "--address") if address else self.office.join
        return Invitation(reached, self.office.fingerprint, token)

    def enrol(self, request: Request, now: datetime) -> Enrolled:
        """Spend the token and make the member, or answer a repeated request again.

        A member whose certificate ran out, or who restored its keys on another machine, comes
        back the same way with a fresh invitation; its earlier certificates are revoked.

        Raises:
            InputError: a malformed request.
            RemoteError: the proof of possession does not verify, or the token is unknown.
            Refused: the token is used or expired, the member was removed.
            LocalError: the authority's key is not there.
        """
        check_token(request.token)
        member = check_proof(
            request.identity_key,
            request.proof,
            coop=self.office.public.coop,
            token=request.token,
            csr_pem=request.csr_pem,
            profile=request.profile,
            encryption_key=request.encryption_key,
        )
        authority = pki.load_authority(self.where)
        with self.database.write() as tx:
            invite = Invites(tx).get(token_hash(request.token))
            if invite is None:
                raise RemoteError(
                    "this office never gave out the token of this invitation.",
                    peer=member[:16],
                    code=Code.UNAUTHENTICATED,
                    fix="Copy the whole link again, or ask your operator for a new one.",
                )
            if invite.used_at is not None:
                return _repeat(tx, invite, member, _request_hash(request))
            if now > invite.expires_at:
                raise Refused(
                    f"this invitation expired on {invite.expires_at:%Y-%m-%d at %H:%M} UTC.",
                    fix=_NEW_LINK,
                )
            _admit(tx, member, request, invite, now)
            issued = _issue(tx, authority, request.csr_pem, member, now)
            Certificates(tx).revoke(member, now, keep=(issued.serial,))
            spent = Invites(tx).use(
                invite.token_hash,
                member=member,
                request_hash=_request_hash(request),
                serial=issued.serial,
                now=now,
            )
            assert spent, "the write transaction is exclusive"
        return Enrolled(member, issued.pem, repeated=False)

    def renew(self, member: MemberId, csr_pem: bytes, now: datetime) -> bytes:
        """A new certificate (PEM) for an active member; the caller has checked the connection.

        The ones in use stay good, so a lost reply costs nothing; of many, the oldest are revoked.
        """
        authority = pki.load_authority(self.where)
        with self.database.write() as tx:
            known = Members(tx).get(member)
            if known is None or not known.active:
                raise RemoteError(
                    "this member was removed from the cooperative.",
                    peer=member[:16],
                    code=Code.UNAUTHENTICATED,
                    fix="Ask your operator why.",
                )
            issued = _issue(tx, authority, csr_pem, member, now)
            live = [one.serial for one in Certificates(tx).of(member) if one.revoked_at is None]
            kept = [serial for serial in live if serial != issued.serial][: MAX_CERTIFICATES - 1]
            Certificates(tx).revoke(member, now, keep=(issued.serial, *kept))
        return issued.pem

    def remove(self, member: MemberId, now: datetime) -> Member:
        """Take a member out: certificates revoked, connections refused from now on.

        The roster is a signed document: the epoch without this member must be proposed and signed
        before cohorts can be drawn from it. Removing twice changes nothing.
        """
        with self.database.write() as tx:
            known = Members(tx).get(member)
            if known is None:
                raise LocalError(
                    f"there is no member {member[:16]}.",
                    code=Code.NOT_FOUND,
                    fix="'coop-coordinator member list' shows them.",
                )
            if known.active:
                Members(tx).remove(member, now)
            Certificates(tx).revoke(member, now)
            removed = Members(tx).get(member)
            assert removed is not None
        return removed

    def find(self, text: str) -> Member:
        """The one member with this name, or whose id begins so (8 digits or more)."""
        with self.database.read() as tx:
            found = Members(tx).named(text)
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"{one.profile.name} ({one.id[:8]})" for one in found)
        raise InputError(
            f"{len(found)} members answer to {text!r}" + (f": {names}." if names else "."),
            code=Code.NOT_FOUND if not found else Code.USAGE,
            fix="Give the beginning of the id, 8 digits or more; 'member list' shows them.",
        )

    def name_of(self, member: MemberId) -> str:
        """What people call a member; the first digits of its id if nobody knows it."""
        with self.database.read() as tx:
            known = Members(tx).get(member)
        return known.profile.name if known is not None else member[:16]

    def members(self, status: Status | None = None) -> tuple[Member, ...]:
        """All members, or those of one status."""
        with self.database.read() as tx:
            return Members(tx).list(status)

    def invites(self) -> tuple[Invite, ...]:
        """All invitations, newest first."""
        with self.database.read() as tx:
            return Invites(tx).list()

    def check(self, member: MemberId, serial: str, now: datetime) -> Member:
        """The member behind a connection; see ``require_active``."""
        with self.database.read() as tx:
            known = require_active(tx, member, serial, now)
            waits = succession.waiting(tx, known)
        if waits:
            with self.database.write() as tx:
                succession.take_over(tx, member, now)
        return known


def open_enrolment(home: Path, settings: CoordinatorSettings, *, create: bool = False) -> Enrolment:
    """The desk of the cooperative in this home; ``create`` also makes the database.

    Raises:
        LocalError: no cooperative or no database here, or one that cannot be used.
    """
    where = pki.places(home, settings.ca_dir, settings.operator_dir)
    office = pki.load_office(where).reached_at(
        settings.host, settings.join_port, settings.link_port
    )
    return Enrolment(Database.open(where.database, create=create), where, office)


def require_active(tx: Connection, member: MemberId, serial: str, now: datetime) -> Member:
    """The member that may connect with this certificate.

    Raises:
        RemoteError: unknown, removed, or the certificate is unknown, revoked, expired or another
            member's. One sentence for each, since the holder has the key of that certificate.
    """
    certificate = Certificates(tx).get(serial)
    known = Members(tx).get(member)
    if certificate is None or known is None or certificate.member != member:
        problem, fix = "this office did not issue that certificate.", _NEW_LINK
    elif not known.active:
        problem, fix = "this member was removed from the cooperative.", "Ask your operator why."
    elif certificate.revoked_at is not None:
        problem = "this certificate was revoked; a newer one was issued to the same member."
        fix = f"If that was not you, tell your operator at once. Otherwise: {_NEW_LINK}"
    elif now > certificate.not_after:
        problem = f"this certificate ended on {certificate.not_after:%Y-%m-%d}."
        fix = _NEW_LINK
    else:
        return known
    raise RemoteError(problem, peer=member[:16], code=Code.UNAUTHENTICATED, fix=fix)


def _repeat(tx: Connection, invite: Invite, member: MemberId, request_hash: str) -> Enrolled:
    """Answer the request that spent this token once more; refuse any other."""
    certificate = Certificates(tx).get(invite.serial or "")
    same = invite.used_by == member and invite.request_hash == request_hash
    if not same or certificate is None or certificate.revoked_at is not None:
        raise Refused("this invitation was used already; each is good once.", fix=_NEW_LINK)
    return Enrolled(member, certificate.pem, repeated=True)


def _admit(
    tx: Connection, member: MemberId, request: Request, invite: Invite, now: datetime
) -> None:
    known = Members(tx).get(member)
    profile = request.profile
    if invite.replaces is not None:
        profile = succession.same_business(tx, invite.replaces, member, profile)
    if known is None:
        if invite.replaces is None:
            succession.business_once(tx, member, profile)
        else:
            succession.forget_others(tx, invite.replaces, now)
        Members(tx).add(
            Member(
                member,
                profile,
                request.identity_key,
                Status.ACTIVE,
                now,
                encryption_key=request.encryption_key,
                replaces=invite.replaces,
            )
        )
    elif not known.active:
        raise Refused(
            f"the member {member[:16]} was removed on {known.removed_at:%Y-%m-%d}; its identity "
            "is not taken again.",
            fix="Talk to your operator; a new start needs a new identity in a new home.",
        )
    elif known.encryption_key is None:
        Members(tx).give_encryption_key(member, request.encryption_key)
    elif known.encryption_key != request.encryption_key:
        raise Refused(
            "this member is listed with another encryption key.",
            fix="Restore the keys from the backup, or renew both: coop-node key renew.",
        )


def _issue(
    tx: Connection, authority: Authority, csr_pem: bytes, member: MemberId, now: datetime
) -> Issued:
    issued = issue(authority, csr_pem, member, now)
    Certificates(tx).add(Certificate(issued.serial, member, issued.not_after, issued.pem))
    return issued


def _request_hash(request: Request) -> str:
    """What makes two requests the same; the token is implied by the row it is compared in."""
    profile = request.profile
    return digest(
        "datacoop/enrol-request/v1",
        request.identity_key,
        request.csr_pem,
        profile.name,
        profile.legal_id,
        profile.trade,
        profile.region,
        request.encryption_key,
    ).hex()


def _token_text(raw: bytes) -> str:
    """Base32 in lower case: survives mail programs, no character that a shell minds."""
    return base64.b32encode(raw).decode().rstrip("=").lower()
