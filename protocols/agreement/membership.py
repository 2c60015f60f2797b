"""What a member says about its own membership, and what a quorum says about an agreement.

SPEC.md section 8. Three small documents, each a JWS JSON General over the RFC 8785 form:

- a **notice** of one member, signed by its identity key: it suspends itself, resumes, or leaves;
- a **succession** of one member, signed by the old identity key and by the new one;
- a **termination** of an agreement version, signed by ``quorum_terminate`` of the members.

    {"kind": "datacoop/membership", "v": 1, "coop": "c0..", "member": "ab..",
     "state": "leaving", "at": "2026-03-01T08:00:00Z", "until": "2026-04-01T00:00:00Z"}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from protocols.agreement.base import Document, Hex64, One, Text, Utc, utc_text
from protocols.agreement.parse import validated
from protocols.agreement.roster import ParsedRoster
from protocols.agreement.terms import Governance
from protocols.agreement.terms import Membership as MembershipTerms
from protocols.canonical import Json, json_id
from protocols.errors import Code, InputError, Refused
from protocols.signing import check_encryption_key, identity_of, jws_payload, jws_verify

NOTICE, SUCCESSION, TERMINATION = (
    "datacoop/membership",
    "datacoop/succession",
    "datacoop/termination",
)
MAX_REASON = 500
State = Literal["suspended", "resumed", "leaving"]


class Notice(Document):
    """One member about itself. ``until``: when a leaver is gone; else null."""

    kind: Literal["datacoop/membership"]
    v: One
    coop: Hex64
    member: Hex64
    state: State
    at: Utc
    until: Utc | None

    @model_validator(mode="after")
    def _until(self) -> Notice:
        if (self.state == "leaving") != (self.until is not None):
            raise ValueError("exactly a notice of leaving says until when the member stays")
        if self.until is not None and self.until < self.at:
            raise ValueError("the member would leave before it gave notice")
        return self


class Succession(Document):
    """The same business under a new identity key: ``old`` is replaced by ``member``."""

    kind: Literal["datacoop/succession"]
    v: One
    coop: Hex64
    old: Hex64
    member: Hex64
    public_key: Hex64
    encryption_key: Hex64
    csr_sha256: Hex64
    at: Utc

    @model_validator(mode="after")
    def _new_key(self) -> Succession:
        if identity_of(bytes.fromhex(self.public_key)) != self.member:
            raise ValueError("the new id does not follow from the new public key")
        if self.old == self.member:
            raise ValueError("a member cannot succeed itself; the identity key must be new")
        check_encryption_key(bytes.fromhex(self.encryption_key), f"member {self.member[:16]}")
        return self


def _one_line(text: str) -> str:
    if "\n" in text or len(text) > MAX_REASON:
        raise ValueError(f"expected one line of at most {MAX_REASON} characters")
    return text


class Termination(Document):
    """The end of an agreement version before its term."""

    kind: Literal["datacoop/termination"]
    v: One
    coop: Hex64
    agreement: Hex64
    at: Utc
    reason: Annotated[Text, AfterValidator(_one_line), Field(description="in the members' words")]


@dataclass(frozen=True, slots=True)
class Presence:
    """What a member's notices amount to. ``leaving_at``: its last moment, past or to come."""

    suspended_since: datetime | None = None
    leaving_at: datetime | None = None

    def away(self, now: datetime) -> bool:
        """Whether the member takes part in nothing at ``now``."""
        return self.suspended_since is not None or (
            self.leaving_at is not None and now >= self.leaving_at
        )


def make_notice(
    *, coop: str, member: str, state: State, at: datetime, until: datetime | None = None
) -> dict[str, Any]:
    """The document of a notice; InputError if it does not hold together."""
    document: dict[str, Any] = {
        "kind": NOTICE,
        "v": 1,
        "coop": coop,
        "member": member,
        "state": state,
        "at": utc_text(at),
        "until": None if until is None else utc_text(until),
    }
    validated(Notice, document, "notice")
    return document


def make_succession(
    *,
    coop: str,
    old: str,
    public_key: bytes,
    encryption_key: bytes,
    csr_sha256: str,
    at: datetime,
) -> dict[str, Any]:
    """The document that ties a new identity key to the old one; both keys sign it."""
    document: dict[str, Any] = {
        "kind": SUCCESSION,
        "v": 1,
        "coop": coop,
        "old": old,
        "member": identity_of(public_key),
        "public_key": public_key.hex(),
        "encryption_key": encryption_key.hex(),
        "csr_sha256": csr_sha256,
        "at": utc_text(at),
    }
    validated(Succession, document, "succession")
    return document


def make_termination(*, coop: str, agreement: str, at: datetime, reason: str) -> dict[str, Any]:
    """The document that ends an agreement once enough members have signed it."""
    document: dict[str, Any] = {
        "kind": TERMINATION,
        "v": 1,
        "coop": coop,
        "agreement": agreement,
        "at": utc_text(at),
        "reason": reason,
    }
    validated(Termination, document, "termination")
    return document


def read_termination(document: Json, where: str = "termination") -> Termination:
    """A termination from a JSON object; nobody's signature is implied."""
    return validated(Termination, document, where)


def verify_notice(signed: Json, keys: Mapping[str, bytes], coop: str) -> Notice:
    """A notice with exactly the signature of the member that it is about.

    Raises:
        InputError: malformed, of another cooperative, signed by somebody else or by several.
    """
    where = "notice"
    notice = validated(Notice, jws_payload(signed, where), where)
    _of_coop(notice.coop, coop, where)
    signers = jws_verify(signed, keys, where)
    if signers != (notice.member,):
        raise InputError(
            f"a notice about member {notice.member[:16]} is signed by that member alone, this "
            f"one by {', '.join(one[:16] for one in signers)}.",
            where=where,
            code=Code.TAMPERED,
        )
    return notice


def verify_succession(signed: Json, keys: Mapping[str, bytes], coop: str) -> Succession:
    """A succession signed by the old key (one of ``keys``) and by the new one.

    Raises:
        InputError: malformed, of another cooperative, an unknown old member, not signed by both.
    """
    where = "succession"
    change = validated(Succession, jws_payload(signed, where), where)
    _of_coop(change.coop, coop, where)
    both = {change.member: bytes.fromhex(change.public_key)}
    if change.old in keys:
        both[change.old] = keys[change.old]
    signers = jws_verify(signed, both, where)
    if set(signers) != {change.old, change.member}:
        raise InputError(
            "a succession is signed by the old key and by the new one.",
            where=where,
            code=Code.TAMPERED,
        )
    return change


def signers_of_termination(
    signed: Json, electorate: ParsedRoster, coop: str, agreement: str
) -> tuple[Termination, frozenset[str]]:
    """The document and the voters of ``electorate`` with a valid signature over it.

    Raises:
        InputError: malformed, of another cooperative or agreement, a stranger's or a repeated
            signature, or one that does not verify.
    """
    where = "termination"
    end = read_termination(jws_payload(signed, where), where)
    _of_coop(end.coop, coop, where)
    if end.agreement != agreement:
        raise InputError(
            f"it ends agreement {end.agreement[:16]}, not {agreement[:16]}.",
            where=where,
            code=Code.TAMPERED,
        )
    signers = jws_verify(signed, electorate.keys, where)
    return end, electorate.voters() & frozenset(signers)


def verify_termination(
    signed: Json, electorate: ParsedRoster, governance: Governance, coop: str, agreement: str
) -> Termination:
    """A termination that a quorum of ``electorate`` has signed.

    Raises:
        InputError: as ``signers_of_termination``.
        Refused: fewer than ``quorum_terminate`` have signed.
    """
    end, signers = signers_of_termination(signed, electorate, coop, agreement)
    members = len(electorate.voters())
    needed = max(1, governance.quorum_terminate.needed(members))
    if len(signers) < needed:
        raise Refused(
            f"{len(signers)} of {members} members have signed the end of the agreement, "
            f"{needed} are needed.",
            clauses=("c05",),
            fix="It stays in force until they have: coop-node agreement terminate.",
        )
    return end


def presence(notices: Iterable[Notice]) -> Presence:
    """What one member's notices amount to: the newest says whether it is suspended, the newest
    notice of leaving until when it stays."""
    suspended = leaving = None
    for one in sorted(notices, key=lambda one: (one.at, one.state == "suspended")):
        if one.state == "suspended":
            suspended = suspended or one.at
        elif one.state == "resumed":
            suspended = None
        else:
            leaving = one.until
    return Presence(suspended, leaving)


def earliest_leave(now: datetime, block: MembershipTerms | None) -> datetime:
    """The first moment at which a member that gives notice now may be gone (clause 29)."""
    if block is None:
        raise Refused(
            "the agreement has no clause about leaving.", clauses=("c29",), fix="Suspend instead."
        )
    return now + timedelta(days=block.leave_notice_days)


def notice_id(document: Json) -> str:
    """The name of a notice, a succession or a termination: SHA-256 of its canonical form."""
    return json_id(document)


def _of_coop(found: str, coop: str, where: str) -> None:
    if found != coop:
        raise InputError(
            f"this {where} is of cooperative {found[:16]}, yours is {coop[:16]}.",
            where=where,
            code=Code.TAMPERED,
        )
