"""Agreements and rosters on their way from a draft to the signatures of all.

The office proposes, collects and delivers; it decides nothing. A member obeys only what it
signed itself and what carries the quorum, and checks both from the signatures (agreement
SPEC.md, sections 3 and 4).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from coordinator.members.succession import legal_id_of
from coordinator.store.database import Database
from coordinator.store.documents import Document, Documents, Signature, Signatures
from coordinator.store.mail import Mail
from coordinator.store.members import Certificates, Member, Members, Status
from coordinator.store.settings import ROSTER_IN_FORCE, Settings
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import Member as Party
from protocols.agreement.roster import ParsedRoster, make_roster, read_roster
from protocols.agreement.terms import Governance, Term
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, InputError, LocalError, Refused, RemoteError
from protocols.ids import MemberId
from protocols.signing import jws_bytes, jws_merge, jws_payload, jws_verify, signed_by

AGREEMENT, ROSTER = "agreement", "roster"
LATE = "signatures"  # kind of a letter with signatures alone
CURRENT = {AGREEMENT: "agreement.current", ROSTER: ROSTER_IN_FORCE}
PROPOSED = {AGREEMENT: "agreement.proposed", ROSTER: "roster.proposed"}
KEY_LIFE = timedelta(days=730)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one document is: who signed, how many are needed, whether it is complete."""

    kind: str
    id: str
    signed: tuple[MemberId, ...]
    missing: tuple[MemberId, ...]
    needed: int

    @property
    def complete(self) -> bool:
        """Whether the quorum has signed."""
        return len(self.signed) >= self.needed


@lru_cache(maxsize=8)
def parsed_roster(body: bytes) -> ParsedRoster:
    """A roster that the office keeps; each of many signatures asks for the same one."""
    return read_roster(parse_json(body, ROSTER), ROSTER)


@lru_cache(maxsize=4)
def parsed_agreement(body: bytes) -> ParsedAgreement:
    """An agreement that the office keeps."""
    return read_agreement(parse_json(body, AGREEMENT), AGREEMENT)


class Agreements:
    """The office's desk for documents that members sign."""

    def __init__(self, database: Database, coop: str, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._coop = coop
        self._clock = clock

    def propose(self, document: Mapping[str, Any] | None) -> tuple[str, ...]:
        """Send a new agreement version (or none) and, if members changed, a new roster epoch.

        Returns:
            What was proposed, as ``"agreement <id>"`` and ``"roster <id>"``.

        Raises:
            InputError: not valid, of another cooperative, or not the successor of the current one.
        """
        now = self._clock()
        done: list[str] = []
        with self._database.write() as db:
            active = Members(db).list(Status.ACTIVE)
            if not active:
                raise InputError(
                    "nobody has joined yet.", fix="Invite members first: member invite NAME."
                )
            if document is not None:
                parsed = read_agreement(document, "agreement")
                self._check_successor(db, parsed)
                self._propose(db, AGREEMENT, parsed.id, json_bytes(parsed.document), now)
                done.append(f"agreement {parsed.id}")
            roster = self._next_roster(db, active, now)
            if roster is not None:
                self._propose(db, ROSTER, roster.id, json_bytes(roster.document), now)
                done.append(f"roster {roster.id}")
            self._deliver_to_newcomers(db, active, now)
        return tuple(done)

    def take_signature(self, member: MemberId, body: bytes) -> bool:
        """Keep one member's signature over a proposed document; True if known before.

        When the quorum is complete the document and its signatures go to every member.

        Raises:
            RemoteError: not over a document of ours, not by this member, does not verify, or over
                a list of members by somebody who stands neither in it nor in the one before.
        """
        now = self._clock()
        signed = parse_json(body, "signature")
        with self._database.write() as db:
            found = Members(db).get(member)
            if found is None or signed_by(signed, "signature") != (member,):
                raise RemoteError(
                    "a member signs for itself alone.", peer=member, where=member[:16]
                )
            jws_verify(signed, {member: found.public_key}, "signature")
            named = hashlib.sha256(jws_bytes(signed, "signature")).hexdigest()
            document = Documents(db).get(named)
            if document is None or document.kind not in CURRENT:
                raise RemoteError(
                    "this signature is over a document that was never proposed.",
                    peer=member,
                    code=Code.TAMPERED,
                )
            if document.kind == ROSTER:
                _listed(db, document, member)
            new = Signatures(db).add(Signature(document.id, member, json_bytes(signed), now))
            late = Settings(db).get(CURRENT[document.kind]) == document.id
            if new and late and document.kind == AGREEMENT:
                self._pass_on(db, document.id, signed, member, now)
            elif new and not late:
                self._settle(db, document.kind, document.id, now)
        return not new

    def _pass_on(
        self, db: Connection, name: str, signed: Mapping[str, Any], by: MemberId, now: datetime
    ) -> None:
        """A signature that came after the quorum: the others get it without the document.

        It may be needed: when members leave, the quorum counts those who are still there.
        """
        body = json_bytes({"document": name, "signatures": signed["signatures"]})
        others = (one.id for one in Members(db).list(Status.ACTIVE) if one.id != by)
        Mail(db).post_all(others, kind=LATE, document=name, body=body, now=now)

    def standings(self) -> tuple[Standing, ...]:
        """Every document that is proposed or in force."""
        with self._database.read() as db:
            out = []
            for kind in (AGREEMENT, ROSTER):
                names = [Settings(db).get(CURRENT[kind]), Settings(db).get(PROPOSED[kind])]
                if kind == AGREEMENT:
                    names.insert(0, started(db, self._clock()))
                for name in dict.fromkeys(n for n in names if n):
                    out.append(self._standing(db, kind, name))
            return tuple(out)

    def in_force(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The signed agreement and the signed roster that new runs go by (JWS JSON General).

        A version that enough members have signed but that has not started replaces nothing yet.

        Raises:
            LocalError: there is none yet.
        """
        with self._database.read() as db:
            return self._signed(db, AGREEMENT), self._signed(db, ROSTER)

    def newest(self) -> ParsedAgreement | None:
        """The newest version that enough members have signed, started or not: what the next one
        replaces."""
        with self._database.read() as db:
            name = Settings(db).get(CURRENT[AGREEMENT])
            return parsed_agreement(_body(db, name)) if name else None

    def roster_chain(self, last: str = "") -> tuple[dict[str, Any], ...]:
        """Every completed roster epoch up to ``last`` (else the current one), signed."""
        with self._database.read() as db:
            chain: list[dict[str, Any]] = []
            name = last or Settings(db).get(CURRENT[ROSTER])
            while name:
                chain.append(signed_so_far(db, name))
                name = jws_payload(chain[-1], "roster").get("prev")
            return tuple(reversed(chain))

    def agreement_under(
        self, chain: Sequence[Mapping[str, Any]], version: str = ""
    ) -> dict[str, Any]:
        """An agreement with the signatures of members of these roster epochs.

        Somebody who joined in a later epoch has signed too, but is a stranger to whoever checks
        with this chain.

        Args:
            version: its id, for a run that was ordered under it; else the one in force.
        """
        known: set[str] = set()
        for one in chain:
            known |= read_roster(jws_payload(one, ROSTER), ROSTER).keys.keys()
        with self._database.read() as db:
            signed = signed_so_far(db, version) if version else self._signed(db, AGREEMENT)
        kids = signed_by(signed, AGREEMENT)
        kept = [s for kid, s in zip(kids, signed["signatures"], strict=True) if kid in known]
        return {**signed, "signatures": kept}

    def _signed(self, db: Connection, kind: str) -> dict[str, Any]:
        name = Settings(db).get(CURRENT[kind])
        if kind == AGREEMENT:
            name = started(db, self._clock())
        if not name:
            raise LocalError(
                f"no {kind} is in force yet.",
                code=Code.NOT_FOUND,
                fix="Propose one and wait for the signatures: agreement propose, agreement status.",
            )
        return signed_so_far(db, name)

    def _check_successor(self, db: Connection, parsed: ParsedAgreement) -> None:
        if parsed.agreement.coop != self._coop:
            raise InputError(
                f"the agreement is of cooperative {parsed.agreement.coop[:16]},"
                f" this one is {self._coop[:16]}.",
                where="coop",
            )
        current = Settings(db).get(CURRENT[AGREEMENT])
        if parsed.agreement.prev != current:
            raise InputError(
                f"it replaces {parsed.agreement.prev}, in force is {current}.",
                where="prev",
                fix="Make the new version with 'agreement new', which fills in prev.",
            )
        if current:
            follows = parsed_agreement(_body(db, current)).agreement.version + 1
            if parsed.agreement.version != follows:  # nodes tell by the number what replaces what
                raise InputError(
                    f"it calls itself version {parsed.agreement.version}, version {follows} is "
                    "next.",
                    where="version",
                    fix="Make the new version with 'agreement new', which fills in the number.",
                )
            _check_notice(self._governance(db), parsed, self._clock())
            self._check_lists(db, parsed)

    def _check_lists(self, db: Connection, parsed: ParsedAgreement) -> None:
        """Every earlier list of members stands under the new rule too: nodes check the whole
        chain by the clause 5 of the version that they signed, and a list went out to them with
        the signatures that the old rule asked for and no more."""
        old, new = self._governance(db), parsed.terms.block("c05", Governance)
        name = Settings(db).get(CURRENT[ROSTER])
        while new is not None and name:
            voters = len(self._electorate(db, ROSTER, name))
            had, needed = old.quorum_roster.needed(voters), new.quorum_roster.needed(voters)
            roster = parsed_roster(_body(db, name)).roster
            if had < needed:
                raise InputError(
                    f"under its rule for lists of members, list {roster.epoch} would need {needed} "
                    f"signatures; it went out with {had}, and no node could follow the lists.",
                    where="c05 quorum_roster",
                    fix="Keep the rule for lists; the rule for versions may become stricter.",
                )
            name = roster.prev

    def _propose(self, db: Connection, kind: str, name: str, body: bytes, now: datetime) -> None:
        Documents(db).add(Document(name, kind, body, now))
        Settings(db).put(PROPOSED[kind], name)
        Mail(db).post_all(_active(db), kind=kind, document=name, body=body, now=now)

    def _next_roster(
        self, db: Connection, active: tuple[Member, ...], now: datetime
    ) -> ParsedRoster | None:
        current = Settings(db).get(CURRENT[ROSTER])
        previous = None
        if current:
            previous = parsed_roster(_body(db, current))
        known = previous.members if previous else {}
        everybody = {one.id: one for one in Members(db).list()}
        parties = [
            known.get(one.id) or _party(one, _replaced(one, everybody, known))
            for one in _remaining(active, now)
        ]
        if previous and {one.id for one in parties} == set(known):
            return None
        if not parties:
            return None  # a roster names at least one; with nobody left, nothing runs anyway
        document = make_roster(self._coop, parties, previous, issued=now)
        parsed = read_roster(document, "new roster")
        waiting = Settings(db).get(PROPOSED[ROSTER])
        if waiting:  # the same but for its date: the one that members may have signed stays
            sent = parsed_roster(_body(db, waiting)).roster
            if sent.model_copy(update={"issued": parsed.roster.issued}) == parsed.roster:
                return None
        return parsed

    def _deliver_to_newcomers(
        self, db: Connection, active: tuple[Member, ...], now: datetime
    ) -> None:
        """A member that joined after a version came into force gets it with its signatures."""
        for kind in (AGREEMENT, ROSTER):
            name = Settings(db).get(CURRENT[kind])
            if not name:
                continue
            had = Mail(db).had(name, kind, f"{kind}-signed")
            for member in active:
                if member.id not in had:
                    body = json_bytes(signed_so_far(db, name))
                    Mail(db).post(
                        member.id, kind=f"{kind}-signed", document=name, body=body, now=now
                    )

    def _settle(self, db: Connection, kind: str, name: str, now: datetime) -> None:
        standing = self._standing(db, kind, name)
        current = Settings(db).get(CURRENT[kind])
        if not standing.complete or parse_json(_body(db, name), kind).get("prev") != current:
            return  # not enough, or another version has taken this one's place meanwhile
        Settings(db).put(CURRENT[kind], name)
        if Settings(db).get(PROPOSED[kind]) == name:
            Settings(db).put(PROPOSED[kind], None)
        body = json_bytes(signed_so_far(db, name))
        Mail(db).post_all(_active(db), kind=f"{kind}-signed", document=name, body=body, now=now)
        if kind == ROSTER:
            self._let_go(db, name, now)
            proposed = Settings(db).get(PROPOSED[AGREEMENT])
            if proposed:  # with other members, its signatures may be enough now
                self._settle(db, AGREEMENT, proposed, now)

    def _let_go(self, db: Connection, roster: str, now: datetime) -> None:
        """Members whose notice is over and whom the new roster does not name any more."""
        named = parsed_roster(_body(db, roster)).keys
        for member in Members(db).list(Status.ACTIVE):
            if (
                member.leaving_at is not None
                and member.leaving_at <= now
                and member.id not in named
            ):
                Members(db).remove(member.id, now)
                Certificates(db).revoke(member.id, now)

    def _standing(self, db: Connection, kind: str, name: str) -> Standing:
        electorate = self._electorate(db, kind, name)
        governance = self._governance(db)
        quorum = governance.quorum_agreement if kind == AGREEMENT else governance.quorum_roster
        signers = Signatures(db).parties(name)
        signed = tuple(sorted(MemberId(m) for m in electorate if m in signers))
        missing = tuple(sorted(MemberId(m) for m in electorate if m not in signers))
        return Standing(kind, name, signed, missing, quorum.needed(len(electorate)))

    def _electorate(self, db: Connection, kind: str, name: str) -> frozenset[MemberId]:
        """Whose signatures count: for a roster, the epoch before; else the newest roster."""
        roster_id = name if kind == ROSTER else Settings(db).get(CURRENT[ROSTER])
        roster_id = roster_id or Settings(db).get(PROPOSED[ROSTER])
        roster = parsed_roster(_body(db, roster_id))
        if kind == ROSTER and roster.roster.prev:
            roster = parsed_roster(_body(db, roster.roster.prev))
        return roster.voters()

    def _governance(self, db: Connection) -> Governance:
        name = started(db, self._clock()) or Settings(db).get(PROPOSED[AGREEMENT])
        parsed = parsed_agreement(_body(db, name))
        block = parsed.terms.block("c05", Governance)
        if block is None:
            raise LocalError("the agreement has no governance clause.", where="c05")
        return block


def started(db: Connection, now: datetime) -> str | None:
    """The newest version with its quorum that has started; the first counts before its start."""
    name: str | None = Settings(db).get(CURRENT[AGREEMENT])
    while name:
        parsed = parsed_agreement(_body(db, name))
        term = parsed.terms.block("c30", Term)
        if parsed.agreement.prev is None or (term is not None and term.starts <= now):
            return name
        name = parsed.agreement.prev
    return None


def _active(db: Connection) -> list[MemberId]:
    return [one.id for one in Members(db).list(Status.ACTIVE)]


def _check_notice(governance: Governance, parsed: ParsedAgreement, now: datetime) -> None:
    """A new version starts no earlier than the notice that the one in force promises."""
    term = parsed.terms.block("c30", Term)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    over = today + timedelta(days=governance.notice_days)
    if term is not None and term.starts < over:
        raise Refused(
            f"the new version starts on {term.starts:%Y-%m-%d}; members were promised "
            f"{governance.notice_days} days of notice, so it may start on {over:%Y-%m-%d}.",
            clauses=("c05",),
            fix="Set a later start in clause 30, and propose it again.",
        )


def _remaining(active: Sequence[Member], now: datetime) -> list[Member]:
    """Who stands in the next roster: not who has left, nor who has a successor."""
    succeeded = {one.replaces for one in active if one.replaces is not None}
    return [
        one
        for one in active
        if one.id not in succeeded and (one.leaving_at is None or now < one.leaving_at)
    ]


def _replaced(
    member: Member, everybody: Mapping[MemberId, Member], listed: Mapping[str, Party]
) -> MemberId | None:
    """The entry of the epoch before that a member takes the place of, through all its keys."""
    at = member.replaces
    while at is not None and at not in listed:
        before = everybody.get(at)
        at = before.replaces if before is not None else None
    return at


def _party(member: Member, replaces: MemberId | None) -> Party:
    profile = member.profile
    if member.encryption_key is None:
        raise LocalError(
            f"{profile.name} joined before members had an encryption key.",
            where=member.id[:16],
            fix="Send a new invitation; the member runs 'coop-node join --again'.",
        )
    return Party(
        id=member.id,
        name=profile.name,
        legal_id=legal_id_of(profile),
        trade=profile.trade or "not stated",
        region=profile.region or "not stated",
        public_key=member.public_key.hex(),
        encryption_key=member.encryption_key.hex(),
        replaces=replaces,
        not_after=(member.joined_at + KEY_LIFE).replace(microsecond=0),
        roles=("member",),
    )


def _body(db: Connection, name: str | None) -> bytes:
    document = Documents(db).get(name) if name else None
    if document is None:
        raise LocalError("a document is missing from the database.", where=str(name)[:16])
    return document.body


def _listed(db: Connection, document: Document, member: MemberId) -> None:
    """Refused if a member's signature under a list would be a stranger's: whoever checks the
    list, or anything that carries it, would refuse it for that one signature."""
    parsed = parsed_roster(document.body)
    before = Documents(db).get(parsed.roster.prev) if parsed.roster.prev else None
    known = parsed.keys.keys() | (parsed_roster(before.body).keys.keys() if before else set())
    if member not in known:
        raise RemoteError(
            f"member {member[:16]} stands in neither this list of members nor the one before.",
            peer=member,
            where=member[:16],
        )


def signed_so_far(db: Connection, name: str) -> dict[str, Any]:
    """A document with all signatures that the office has, as one JWS."""
    parts = [json.loads(one.jws) for one in Signatures(db).of(name)]
    if not parts:
        raise LocalError("nobody has signed this document yet.", where=name[:16])
    return jws_merge(*parts)
