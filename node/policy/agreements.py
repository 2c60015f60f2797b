"""Agreements and rosters on this node: received, read, signed, accepted.

A node obeys only versions that it signed itself. Documents may come in any order and twice;
what cannot be accepted yet is kept and tried again after each step.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from node.policy.evidence import Me
from node.policy.versions import governing
from node.store.database import Database
from node.store.documents import (
    AcceptedRoster,
    AcceptedRosters,
    Document,
    Documents,
    Signatures,
    Signed,
    SignedAgreements,
)
from node.store.outbox import Outbox
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import (
    ParsedRoster,
    read_roster,
    replay,
    verify_chain,
    verify_first,
    verify_next,
)
from protocols.agreement.terms import Governance, Term
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import Code, InputError, Refused
from protocols.ids import MemberId
from protocols.signing import (
    SigningKey,
    identity_of,
    jws_merge,
    jws_only,
    jws_payload,
    jws_sign,
    jws_verify,
    signed_by,
)

AGREEMENT, ROSTER = "agreement", "roster"
LATE = "signatures"  # kind of a letter with signatures alone
ID_DIGITS = 64
Journal = Callable[[str, Mapping[str, object]], None]


@dataclass(frozen=True, slots=True)
class Signing:
    """What signing produced: letters to the coordinator are in the outbox."""

    agreement: str
    roster: str | None
    new: bool


class Agreements:
    """The member's own desk for agreements and rosters of one cooperative."""

    def __init__(
        self,
        database: Database,
        coop: str,
        key: SigningKey,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._database, self._coop, self._key = database, coop, key
        self._journal, self._clock = journal, clock
        self._me = identity_of(key.public)

    def receive(self, kind: str, body: bytes) -> str:
        """Keep a letter: a document (``agreement``, ``roster``), one with its signatures
        (``agreement-signed``, ``roster-signed``), or signatures that came later
        (``signatures``). Receiving twice changes nothing.

        Returns:
            The id of the document.

        Raises:
            InputError: not a document of this kind, or of another cooperative; a party signed
                twice, a signature does not verify, a roster is signed by a stranger.
        """
        if kind == LATE:
            return self._receive_late(parse_json(body, kind))
        what, _, suffix = kind.partition("-")
        if what not in (AGREEMENT, ROSTER) or suffix not in ("", "signed"):
            raise InputError(f"{kind[:40]!r} is not a kind of document that is kept here.")
        document = parse_json(body, kind)
        signed = document if suffix else None
        if signed is not None:
            document = jws_payload(signed, kind)
        with self._database.write() as connection:
            name = self._keep(connection, what, document)
            if signed is not None:
                self._keep_signatures(connection, name, signed)
        self.settle()
        return name

    def receive_chain(self, chain: Sequence[Json]) -> int:
        """Accept all roster epochs at once, for a member that joins later; the newest epoch.

        Raises:
            InputError, Refused: see ``protocols.agreement.roster.verify_chain``.
        """
        with self._database.write() as connection:
            governance = self._governance(connection)
            if governance is None:
                raise Refused(
                    "the rules for rosters stand in the agreement, which is not signed yet.",
                    clauses=("c05",),
                    fix="Read and sign the agreement first: coop-node agreement show.",
                )
            parsed = verify_chain(chain, governance, self._coop, self._me, self._clock())
            known = {one.epoch for one in AcceptedRosters(connection).chain()}
            for one, signed in zip(parsed, chain, strict=True):
                self._keep(connection, ROSTER, one.document)
                if one.roster.epoch not in known:
                    self._accept(connection, one, signed)
            return parsed[-1].roster.epoch

    def proposed(self) -> tuple[ParsedAgreement, ...]:
        """Versions that this member has and has not signed, oldest version first."""
        with self._database.read() as connection:
            mine = {one.agreement for one in SignedAgreements(connection).list()}
            found = [
                read_agreement(parse_json(one.body, one.id[:16]), one.id[:16])
                for one in Documents(connection).list(AGREEMENT)
                if one.id not in mine
            ]
        return tuple(sorted(found, key=lambda one: one.agreement.version))

    def current(self) -> ParsedAgreement | None:
        """The newest version that this member signed."""
        with self._database.read() as connection:
            return newest_signed(connection)

    def in_force(self) -> ParsedAgreement | None:
        """The version that counts here now; before there is any, the first that was signed."""
        with self._database.read() as connection:
            return governing(connection, Me(self._me, self._key.public), self._clock())

    def find(self, prefix: str) -> ParsedAgreement:
        """An agreement by the first digits of its id. InputError if there is not exactly one."""
        with self._database.read() as connection:
            found = [one for one in Documents(connection).starting(prefix) if one.kind == AGREEMENT]
        if len(found) != 1:
            raise InputError(
                f"{len(found)} agreements begin so." if found else "there is no such agreement.",
                code=Code.NOT_FOUND,
                where=prefix[:64],
                fix="`coop-node agreement show` lists them.",
            )
        return read_agreement(parse_json(found[0].body, found[0].id[:16]), found[0].id[:16])

    def newest_roster(self) -> ParsedRoster | None:
        """The newest roster that was received, whether accepted or not, to show before signing."""
        with self._database.read() as connection:
            found = [_roster(one) for one in Documents(connection).list(ROSTER)]
        return max(found, key=lambda one: one.roster.epoch, default=None)

    def signers(self, document: str) -> frozenset[str]:
        """Parties whose signature was received, NOT verified; for a list on the screen."""
        with self._database.read() as connection:
            return frozenset(Signatures(connection).of(document))

    def accepted_roster(self) -> ParsedRoster | None:
        """The newest epoch that this member has accepted."""
        with self._database.read() as connection:
            newest = AcceptedRosters(connection).newest()
        if newest is None:
            return None
        return read_roster(jws_payload(parse_json(newest.jws, ROSTER), ROSTER), ROSTER)

    def roster_to_sign(self) -> ParsedRoster | None:
        """The newest proposed epoch that is not accepted yet, whether I have signed it or not."""
        accepted, newest = self.accepted_roster(), self.newest_roster()
        if newest is None or (accepted and newest.roster.epoch <= accepted.roster.epoch):
            return None
        return newest

    def rival_of(self, roster: ParsedRoster) -> str | None:
        """Another list of the same epoch that I have signed: two may not both come into force."""
        with self._database.read() as connection:
            for one in Documents(connection).list(ROSTER):
                same = one.id != roster.id and _roster(one).roster.epoch == roster.roster.epoch
                if same and self._me in Signatures(connection).of(one.id):
                    return one.id
        return None

    def sign(
        self, agreement: str, roster: str | None = None, *, short_notice: bool = False
    ) -> Signing:
        """Sign an agreement version and, if one is proposed, a roster; both go to the outbox.

        Signing twice sends the same signatures again and changes nothing.

        Args:
            agreement, roster: ids of what was received.
            short_notice: sign a new version although it starts before the notice of clause 5 of
                the version that I signed is over, counted from when it was received here.

        Raises:
            InputError: not received, of another cooperative, or I am not in the roster.
            Refused: the version replaces another one than the one that I signed, or starts too
                soon.
        """
        now = self._clock()
        with self._database.write() as connection:
            parsed = self._agreement(connection, agreement)
            self._check_successor(connection, parsed)
            if not short_notice:
                _check_notice(connection, parsed)
            members = self._listed(connection, roster) if roster is not None else None
            signature = json_bytes(jws_sign(parsed.document, self._me, self._key))
            self._journal(
                "signature", {"document": parsed.id, "what": AGREEMENT, "member": self._me}
            )
            new = SignedAgreements(connection).add(
                Signed(parsed.id, parsed.agreement.version, signature, now)
            )
            self._post(connection, parsed.id, signature, now)
            if members is not None:
                self._sign_roster(connection, members, now)
        self.settle()
        return Signing(parsed.id, roster, new)

    def sign_roster(self, roster: str) -> None:
        """Sign one roster epoch alone, when only the list of members changes.

        Raises:
            InputError: not received, or I am neither in it nor in the epoch before.
        """
        with self._database.write() as connection:
            self._sign_roster(connection, self._listed(connection, roster), self._clock())
        self.settle()

    def withdraw(self, agreement: str) -> None:
        """Stop obeying a version at once: no order under it is admitted from now on."""
        self._journal("agreement", {"agreement": agreement, "state": "withdrawn"})
        with self._database.write() as connection:
            SignedAgreements(connection).withdraw(agreement)

    def settle(self) -> tuple[int, ...]:
        """Accept every kept roster that can be accepted now; the epochs accepted."""
        accepted: list[int] = []
        with self._database.write() as connection:
            governance = self._governance(connection)
            while governance is not None:
                epoch = self._accept_next(connection, governance)
                if epoch is None:
                    break
                accepted.append(epoch)
        return tuple(accepted)

    def _accept_next(self, connection: Connection, governance: Governance) -> int | None:
        chain = [
            parse_json(one.jws, f"roster epoch {one.epoch}")
            for one in AcceptedRosters(connection).chain()
        ]
        previous = replay(chain, governance, self._coop)[-1] if chain else None
        expected = previous.roster.epoch + 1 if previous else 1
        for document in Documents(connection).list(ROSTER):
            if _roster(document).roster.epoch != expected:
                continue
            parts = [
                parse_json(jws, "roster") for jws in Signatures(connection).of(document.id).values()
            ]
            if not parts:
                continue
            signed = jws_merge(parts[0], *parts[1:])
            try:
                parsed = (
                    verify_next(signed, previous, governance, self._clock())
                    if previous
                    else verify_first(signed, governance, self._coop, self._me, self._clock())
                )
            except (Refused, InputError):
                continue  # not signed by enough, or not by members: it may still become so
            self._accept(connection, parsed, signed)
            return expected
        return None

    def _accept(self, connection: Connection, parsed: ParsedRoster, signed: Json) -> None:
        self._journal("roster", {"roster": parsed.id, "epoch": parsed.roster.epoch})
        AcceptedRosters(connection).add(
            AcceptedRoster(parsed.roster.epoch, parsed.id, json_bytes(signed), self._clock())
        )

    def _keep(self, connection: Connection, kind: str, document: Json) -> str:
        parsed: ParsedAgreement | ParsedRoster
        if kind == AGREEMENT:
            parsed = read_agreement(document, kind)
            coop = parsed.agreement.coop
        else:
            parsed = read_roster(document, kind)
            coop = parsed.roster.coop
        if coop != self._coop:
            raise InputError(
                f"this {kind} is of cooperative {coop[:16]}, yours is {self._coop[:16]}.",
                code=Code.TAMPERED,
                where=kind,
            )
        body = json_bytes(document)
        if Documents(connection).add(Document(parsed.id, kind, body, self._clock())):
            facts: dict[str, object] = {"agreement": parsed.id, "state": "received"}
            if isinstance(parsed, ParsedRoster):
                facts = {"roster": parsed.id, "epoch": parsed.roster.epoch, "state": "received"}
            self._journal(kind, facts)
        return parsed.id

    def _receive_late(self, letter: Json) -> str:
        """Signatures over a document that is here, without the document."""
        name, given = str(letter.get("document")), letter.get("signatures")
        if set(letter) != {"document", "signatures"} or not isinstance(given, list):
            raise InputError("this is not a letter with signatures.", where=LATE)
        with self._database.write() as connection:
            document = Documents(connection).get(name)
            if document is None or document.kind not in (AGREEMENT, ROSTER):
                raise InputError(
                    "signatures came over a document that was not received.",
                    code=Code.NOT_FOUND,
                    where=name[:16],
                )
            payload = base64.urlsafe_b64encode(document.body).rstrip(b"=").decode()
            self._keep_signatures(connection, name, {"payload": payload, "signatures": given})
        self.settle()
        return name

    def _check_signatures(self, connection: Connection, name: str, signed: Json) -> None:
        """Who is known here has signed these very bytes, and once.

        A roster and the one before name everybody who may sign it. An agreement may be signed by
        a member whose roster comes with a later letter: such a signature is kept, and counts for
        nothing until that roster is accepted.
        """
        document = Documents(connection).get(name)
        rosters = {one.id: _roster(one) for one in Documents(connection).list(ROSTER)}
        if document is not None and document.kind == ROSTER:
            prev = rosters[name].roster.prev
            rosters = {one: rosters[one] for one in (name, prev) if one in rosters}
            if prev is None or prev in rosters:  # all that may sign are known
                jws_verify(
                    signed, {k: v for r in rosters.values() for k, v in r.keys.items()}, ROSTER
                )
                return
        kids = signed_by(signed, name[:16])
        if len(set(kids)) != len(kids):
            raise InputError("one party signed twice.", where=name[:16], code=Code.TAMPERED)
        keys = {k: v for one in rosters.values() for k, v in one.keys.items()}
        known = jws_only(signed, keys)
        if known is not None:
            jws_verify(known, keys, name[:16])

    def _keep_signatures(self, connection: Connection, name: str, signed: Json) -> None:
        """Others' signatures count for the quorum. Mine, come back from others, never replaces
        the one that I made, and does not by itself make this node obey (``signed`` does)."""
        self._check_signatures(connection, name, signed)
        signatures = Signatures(connection)
        made_here = {self._me} & signatures.of(name).keys()
        for party, one in zip(signed_by(signed, name[:16]), signed["signatures"], strict=True):
            if party not in made_here and len(party) == ID_DIGITS:
                part = {"payload": signed["payload"], "signatures": [one]}
                signatures.put(name, party, json_bytes(part), self._clock())

    def _agreement(self, connection: Connection, name: str) -> ParsedAgreement:
        document = Documents(connection).get(name)
        if document is None or document.kind != AGREEMENT:
            raise InputError(
                "this agreement has not been received.",
                code=Code.NOT_FOUND,
                where=name[:16],
                fix="Start the node once, so that it can fetch its letters: coop-node start.",
            )
        return read_agreement(parse_json(document.body, name[:16]), name[:16])

    def _check_successor(self, connection: Connection, parsed: ParsedAgreement) -> None:
        mine = newest_signed(connection)
        if mine is None or mine.id == parsed.id:
            return
        follows = mine.agreement.version + 1
        if mine.id == parsed.agreement.prev and parsed.agreement.version == follows:
            return
        if mine.id == parsed.agreement.prev:  # the numbers say which version replaces which
            raise Refused(
                f"it calls itself version {parsed.agreement.version}, what follows yours is "
                f"version {follows}.",
                clauses=("c05",),
                fix="Do not sign it. Ask the operator for one with the right number.",
            )
        raise Refused(
            f"version {parsed.agreement.version} replaces {str(parsed.agreement.prev)[:16]}, "
            f"you have signed version {mine.agreement.version} ({mine.id[:16]}).",
            clauses=("c05",),
            fix="Ask the operator for the version that follows yours.",
        )

    def _listed(self, connection: Connection, roster: str) -> ParsedRoster:
        document = Documents(connection).get(roster)
        if document is None or document.kind != ROSTER:
            raise InputError(
                "this roster has not been received.", code=Code.NOT_FOUND, where=roster[:16]
            )
        parsed = _roster(document)
        before = Documents(connection).get(parsed.roster.prev or "")
        voters = parsed.voters() | (_roster(before).voters() if before is not None else frozenset())
        if self._me not in voters:
            raise InputError(
                "you are not a member in this roster, nor in the one before.", where=roster[:16]
            )
        return parsed

    def _sign_roster(self, connection: Connection, parsed: ParsedRoster, now: datetime) -> None:
        signature = json_bytes(jws_sign(parsed.document, self._me, self._key))
        self._journal("signature", {"document": parsed.id, "what": ROSTER, "member": self._me})
        self._post(connection, parsed.id, signature, now)

    def _post(self, connection: Connection, name: str, signature: bytes, now: datetime) -> None:
        Signatures(connection).put(name, self._me, signature, now)
        Outbox(connection).post(f"sig-{name[:60]}", "signature", signature, now)

    def _governance(self, connection: Connection) -> Governance | None:
        """Clause 5 of the version in force: one that is only proposed accepts no members."""
        mine = governing(connection, Me(self._me, self._key.public), self._clock())
        return mine.terms.block("c05", Governance) if mine is not None else None


def notice_over(connection: Connection, parsed: ParsedAgreement) -> datetime | None:
    """When the notice of a new version ends: ``notice_days`` of clause 5 of the version that this
    member signed, from the day on which the new one was received; None for a first version."""
    mine = newest_signed(connection)
    if mine is None or mine.id == parsed.id:
        return None
    block = mine.terms.block("c05", Governance)
    document = Documents(connection).get(parsed.id)
    if block is None or document is None:
        return None
    day = document.received_at.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=block.notice_days)


def _check_notice(connection: Connection, parsed: ParsedAgreement) -> None:
    over, term = notice_over(connection, parsed), parsed.terms.block("c30", Term)
    if over is None or term is None or term.starts >= over:
        return
    raise Refused(
        f"version {parsed.agreement.version} starts on {term.starts:%Y-%m-%d}; the notice that "
        f"you agreed on is over on {over:%Y-%m-%d}.",
        clauses=("c05",),
        fix="Ask the operator for a later start, or sign it all the same with --short-notice.",
    )


def newest_signed(connection: Connection) -> ParsedAgreement | None:
    """The highest version that this member signed, read again from its bytes."""
    signed = SignedAgreements(connection).list()
    if not signed:
        return None
    document = Documents(connection).get(signed[-1].agreement)
    if document is None:
        return None
    return read_agreement(parse_json(document.body, "agreement"), "agreement")


def member_of(key: SigningKey) -> MemberId:
    """The member id of an identity key."""
    return identity_of(key.public)


def _roster(document: Document) -> ParsedRoster:
    return read_roster(parse_json(document.body, document.id[:16]), document.id[:16])
