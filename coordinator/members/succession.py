"""The same business under a new identity: who takes whose place, and when the old one goes.

A successor is a member of its own from the moment it is made. The identity that it replaces stays
one until a quorum has signed the roster that names the successor, and the successor has connected.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from coordinator.members.certificates import Authority, issue
from coordinator.store.documents import Documents
from coordinator.store.mail import Mail
from coordinator.store.members import Certificate, Certificates, Member, Members, Status
from coordinator.store.settings import ROSTER_IN_FORCE, Settings
from protocols.agreement.membership import Succession
from protocols.agreement.roster import read_roster
from protocols.canonical import parse_json
from protocols.errors import Code, InputError, Refused, RemoteError
from protocols.ids import MemberId
from protocols.joining import Profile

MAX_FORWARDED = 1000  # letters of an identity that was renewed


def legal_id_of(profile: Profile) -> str:
    """What the roster says of a business that gave no register number."""
    return profile.legal_id or profile.name


def succeed(
    tx: Connection, authority: Authority, change: Succession, csr_pem: bytes, now: datetime
) -> bytes:
    """Make the successor of a member that still has its old key; its certificate, PEM.

    Raises:
        InputError: not a certificate request for the new id.
        RemoteError: the old identity is no member, or the new one is known already.
    """
    old, new = MemberId(change.old), MemberId(change.member)
    before = Members(tx).get(old)
    if before is None or Members(tx).get(new) is not None:
        raise RemoteError("the new identity is known here already.", peer=old, code=Code.INPUT)
    forget_others(tx, old, now)
    Members(tx).add(
        Member(
            new,
            before.profile,
            bytes.fromhex(change.public_key),
            Status.ACTIVE,
            now,
            encryption_key=bytes.fromhex(change.encryption_key),
            replaces=old,
            suspended_since=before.suspended_since,
            leaving_at=before.leaving_at,
        )
    )
    issued = issue(authority, csr_pem, new, now)
    Certificates(tx).add(Certificate(issued.serial, new, issued.not_after, issued.pem))
    return issued.pem


def forget_others(tx: Connection, old: MemberId, now: datetime) -> None:
    """Earlier successors of ``old`` that never took over."""
    for other in Members(tx).list(Status.ACTIVE):
        if other.replaces == old:
            Members(tx).remove(other.id, now)
            Certificates(tx).revoke(other.id, now)


def same_business(tx: Connection, lost: MemberId, member: MemberId, profile: Profile) -> Profile:
    """The profile under which somebody whose keys were lost comes back: the same legal id.

    Raises:
        InputError: another legal id, or a node that still has the keys that were lost.
    """
    before = Members(tx).get(lost)
    if before is None or member == lost:
        raise InputError(
            "this node still has the keys that the invitation is to replace; nothing is lost.",
            where="invitation",
            fix="Ask for a plain invitation and run 'coop-node join --again' with it.",
        )
    legal_id = legal_id_of(before.profile)
    if profile.legal_id not in ("", legal_id):
        raise InputError(
            f"the invitation is for the business {legal_id!r}, not for {profile.legal_id!r}.",
            where="legal_id",
            fix="Join with the same legal id as before, or ask for a plain invitation.",
        )
    return replace(profile, legal_id=legal_id)


def business_once(tx: Connection, member: MemberId, profile: Profile) -> None:
    """Refused if another member has the same legal id: a business counts once."""
    legal_id = legal_id_of(profile)
    for other in Members(tx).list(Status.ACTIVE):
        if other.id != member and legal_id_of(other.profile) == legal_id:
            raise Refused(
                f"the business {legal_id!r} is a member already.",
                clauses=("c01",),
                fix="If its keys are lost, the operator sends another invitation: 'member invite "
                "NAME --replaces MEMBER'. If it is another business, join with its own --legal-id.",
            )


def waiting(tx: Connection, member: Member) -> bool:
    """Whether the identity that this member replaces is still one."""
    old = Members(tx).get(member.replaces) if member.replaces is not None else None
    return old is not None and old.active


def take_over(tx: Connection, member: MemberId, now: datetime) -> None:
    """The successor connects and the roster names it: the old identity is none any more, and
    what was not fetched of its mail comes along. Before that, nothing changes."""
    known = Members(tx).get(member)
    old = Members(tx).get(known.replaces) if known and known.replaces else None
    if known is None or old is None or not old.active or not _listed(tx, member):
        return
    arrived = Mail(tx).documents(member)
    for letter in Mail(tx).after(old.id, Mail(tx).cursor(old.id).acked, MAX_FORWARDED):
        if (letter.kind, letter.document) not in arrived:
            Mail(tx).post(
                member, kind=letter.kind, document=letter.document, body=letter.body, now=now
            )
    Members(tx).remove(old.id, now)
    Certificates(tx).revoke(old.id, now)


def _listed(tx: Connection, member: MemberId) -> bool:
    name = Settings(tx).get(ROSTER_IN_FORCE)
    roster = Documents(tx).get(name) if name else None
    if roster is None:
        return False
    return member in read_roster(parse_json(roster.body, "roster"), "roster").keys
