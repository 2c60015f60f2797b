"""What members say about themselves and about the end of an agreement, as the office keeps it.

The office verifies, keeps and passes on; it decides nothing. Facts for the launch gate:

- ``away(db, cohort, now)``: who suspended itself or has left;
- ``ended(db, agreement)``: whether a quorum has ended this version;
- ``departed``: when members left is in the roster (``protocols.agreement.roster.departures``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from coordinator.members.agreements import (
    AGREEMENT,
    CURRENT,
    ROSTER,
    parsed_agreement,
    parsed_roster,
    signed_so_far,
    started,
)
from coordinator.members.pki import Places, load_authority
from coordinator.members.succession import succeed
from coordinator.store.database import Database
from coordinator.store.documents import Document, Documents, Signature, Signatures
from coordinator.store.mail import Mail
from coordinator.store.members import Member, Members, Status
from coordinator.store.settings import Settings
from protocols.agreement.membership import (
    Notice,
    Presence,
    Succession,
    notice_id,
    presence,
    read_termination,
    signers_of_termination,
    verify_notice,
    verify_succession,
)
from protocols.agreement.roster import ParsedRoster
from protocols.agreement.terms import Governance
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import MemberId
from protocols.signing import jws_only, jws_payload, signed_by

NOTICE, TERMINATION, SUCCESSION = "membership", "termination", "succession"
ENDED = "agreement.ended"  # setting: "<agreement> <document>" of the last one that was ended


def away(db: Connection, cohort: Iterable[str], now: datetime) -> frozenset[str]:
    """Members of ``cohort`` that have suspended themselves or have left."""
    asked = frozenset(cohort)
    return frozenset(
        one.id
        for one in Members(db).list(Status.ACTIVE)
        if one.id in asked and Presence(one.suspended_since, one.leaving_at).away(now)
    )


def ended(db: Connection, agreement: str) -> str | None:
    """The id of the document by which a quorum ended this version, or None."""
    name, _, document = (Settings(db).get(ENDED) or "").partition(" ")
    return document if name == agreement else None


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an agreement, and whether a quorum has signed it by now."""

    agreement: str
    document: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Life:
    """The office's desk for notices, successions and terminations.

    Args:
        database, where: of one home.
        coop: the cooperative's id.
        clock: aware UTC now.
    """

    database: Database
    where: Places
    coop: str
    clock: Callable[[], datetime]

    def take_notice(self, member: MemberId, body: bytes) -> Notice | None:
        """Keep what a member says about itself; None if it was known before.

        Raises:
            InputError, RemoteError: malformed, of somebody else, or it does not verify.
        """
        now = self.clock()
        signed = parse_json(body, NOTICE)
        with self.database.write() as db:
            found = _required(db, member)
            notice = verify_notice(signed, {member: found.public_key}, self.coop)
            name = notice_id(jws_payload(signed, NOTICE))
            if Documents(db).get(name) is not None:
                return None
            Documents(db).add(Document(name, NOTICE, json_bytes(signed), now))
            known = presence((*self._notices(db, found), notice))
            Members(db).set_presence(member, known.suspended_since, known.leaving_at)
        return notice

    def take_termination(self, member: MemberId, body: bytes) -> Ending | None:
        """Keep one member's signature under the end of the agreement in force.

        The first one is shown to every member; when the quorum is complete all signatures go to
        all, and no run is offered any more.

        Returns:
            What was kept; None if the signature was known.

        Raises:
            InputError, RemoteError: malformed, not of this member alone, not about the agreement
                in force, or it does not verify.
        """
        now = self.clock()
        signed = parse_json(body, TERMINATION)
        if signed_by(signed, TERMINATION) != (member,):
            raise RemoteError("a member signs for itself alone.", peer=member, where=member[:16])
        document = jws_payload(signed, TERMINATION)
        name = notice_id(document)
        with self.database.write() as db:
            agreement = read_termination(document).agreement
            if agreement not in (Settings(db).get(CURRENT[AGREEMENT]), started(db, now)):
                raise RemoteError(
                    "the agreement that is to end is not the one in force.",
                    peer=member,
                    code=Code.NOT_FOUND,
                )
            electorate = _roster(db)
            _, signers = signers_of_termination(signed, electorate, self.coop, agreement)
            if not signers:
                raise RemoteError("this member has no vote in the roster.", peer=member)
            first = Documents(db).add(Document(name, TERMINATION, json_bytes(document), now))
            if not Signatures(db).add(Signature(name, member, json_bytes(signed), now)):
                return None
            votes = electorate.voters() & Signatures(db).parties(name)
            complete = len(votes) >= _needed_to_end(db, agreement, len(electorate.voters()))
            newly = complete and ended(db, agreement) is None
            if newly:
                Settings(db).put(ENDED, f"{agreement} {name}")
            if first or newly:  # later ones change nothing any more
                # who left since it signed is a stranger to those who check it with this list
                whole = jws_only(signed_so_far(db, name), electorate.keys) if complete else None
                letter = json_bytes(whole or signed)
                active = [one.id for one in Members(db).list(Status.ACTIVE)]
                Mail(db).post_all(active, kind=TERMINATION, document=name, body=letter, now=now)
        return Ending(agreement, name, complete)

    def take_succession(self, member: MemberId, body: bytes) -> Succession | None:
        """A member renews its keys: the successor gets a certificate.

        ``body`` is ``{"signed": <JWS by the old and the new key>, "csr": <PEM>}``. The old
        identity stays a member until the successor connects; a second request of the same member
        takes the place of the first.

        Returns:
            The succession; None if it was known before.

        Raises:
            InputError, RemoteError: malformed, not signed by both keys, another request.
            LocalError: the authority's key is not there.
        """
        now = self.clock()
        letter = parse_json(body, SUCCESSION)
        signed, csr = letter.get("signed"), str(letter.get("csr")).encode()
        if set(letter) != {"signed", "csr"} or not isinstance(signed, dict):
            raise InputError("this is not a request to renew keys.", where=SUCCESSION)
        with self.database.read() as db:
            found = _required(db, member)
        change = verify_succession(signed, {member: found.public_key}, self.coop)
        if change.old != member or change.csr_sha256 != hashlib.sha256(csr).hexdigest():
            raise RemoteError(
                "the request to renew keys is of another member, or for another certificate.",
                peer=member,
                code=Code.TAMPERED,
            )
        name = notice_id(jws_payload(signed, SUCCESSION))
        authority = load_authority(self.where)
        with self.database.write() as db:
            if Documents(db).get(name) is not None:
                return None
            Documents(db).add(Document(name, SUCCESSION, json_bytes(signed), now))
            pem = succeed(db, authority, change, csr, now)
            reply = json_bytes({"member": change.member, "certificate": pem.decode("ascii")})
            Mail(db).post(member, kind=SUCCESSION, document=name, body=reply, now=now)
        return change

    def _notices(self, db: Connection, member: Member) -> list[Notice]:
        """Every notice that is kept of this member, verified again."""
        keys: dict[str, bytes] = {member.id: member.public_key}
        found = []
        for one in Documents(db).list(NOTICE):
            signed = parse_json(one.body, NOTICE)
            if jws_payload(signed, NOTICE).get("member") == member.id:
                found.append(verify_notice(signed, keys, self.coop))
        return found


def _required(db: Connection, member: MemberId) -> Member:
    found = Members(db).get(member)
    if found is None or not found.active:
        raise RemoteError("this member is not known here.", peer=member, code=Code.NOT_FOUND)
    return found


def _roster(db: Connection) -> ParsedRoster:
    name = Settings(db).get(CURRENT[ROSTER])
    document = Documents(db).get(name) if name else None
    if document is None:
        raise RemoteError(
            "no roster is in force, so nobody has a vote.", peer="coordinator", code=Code.NOT_FOUND
        )
    return parsed_roster(document.body)


def _needed_to_end(db: Connection, agreement: str, members: int) -> int:
    document = Documents(db).get(agreement)
    assert document is not None, "the agreement in force is kept"
    parsed = parsed_agreement(document.body)
    block = parsed.terms.block("c05", Governance)
    assert block is not None, "every agreement has its governance clause"
    return max(1, block.quorum_terminate.needed(members))
