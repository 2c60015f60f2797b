"""This member's own life in the cooperative: suspended, leaving; and agreements that were ended.

For the gate, inside its transaction, all figures established again from the signed bytes:

- ``present(connection, me) -> Presence`` with ``suspended_since`` and ``leaving_at`` for
  ``MemberFacts``;
- ``terminated(connection, agreement) -> bool`` for ``Evidence``;
- ``refuse_if_away(database, me, now)`` before this node signs anything in a run that goes on.

A notice of ours that does not verify any more counts as a suspension (nobody can say what it
said). A letter about an end that does not carry the quorum ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from node.policy.agreements import newest_signed
from node.policy.budget import settle
from node.policy.evidence import Me, signed_version
from node.store.database import Database
from node.store.documents import AcceptedRosters
from node.store.life import Notices, StoredEnd, StoredNotice, Terminations
from node.store.orders import Orders, OrderState
from node.store.outbox import Outbox
from node.store.rounds import SpentRounds
from protocols.agreement.base import utc_text
from protocols.agreement.membership import (
    Notice,
    Presence,
    State,
    Termination,
    earliest_leave,
    make_notice,
    make_termination,
    notice_id,
    presence,
    read_termination,
    signers_of_termination,
    verify_notice,
    verify_termination,
)
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.roster import ParsedRoster, replay
from protocols.agreement.terms import Governance
from protocols.agreement.terms import Membership as MembershipTerms
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import Code, InputError, Refused
from protocols.signing import SigningKey, identity_of, jws_merge, jws_only, jws_payload, jws_sign

LETTER, ENDED = "membership", "termination"
Journal = Callable[[str, Mapping[str, object]], None]


def present(connection: Connection, me: Me) -> Presence:
    """What my own notices amount to, their signatures verified again."""
    found: list[Notice] = []
    damaged: datetime | None = None
    for one in Notices(connection).list():
        if one.member != me.id:
            continue  # of an identity that this business has renewed
        try:
            signed = parse_json(one.jws, LETTER)
            coop = str(jws_payload(signed, LETTER).get("coop"))
            found.append(verify_notice(signed, {me.id: me.public}, coop))
        except InputError:
            damaged = damaged or one.at
    known = presence(found)
    if damaged is not None and known.suspended_since is None:
        return Presence(damaged, known.leaving_at)
    return known


def terminated(connection: Connection, agreement: ParsedAgreement) -> bool:
    """Whether a quorum of the members of an epoch that I accepted has ended this version."""
    return end_of(connection, agreement) is not None


def end_of(connection: Connection, agreement: ParsedAgreement) -> Termination | None:
    """The document by which a quorum has ended this version, or nothing."""
    kept = Terminations(connection).of(agreement.id)
    governance = agreement.terms.block("c05", Governance)
    if not kept or governance is None:
        return None
    for epoch in reversed(_accepted(connection, agreement, governance)):
        for one in kept:
            try:
                theirs = jws_only(parse_json(one.jws, ENDED), epoch.keys)
                if theirs is None:
                    continue
                return verify_termination(
                    theirs,
                    epoch,
                    governance,
                    agreement.agreement.coop,
                    agreement.id,
                )
            except (InputError, Refused):
                continue
    return None


def refuse_if_away(database: Database, me: Me, now: datetime) -> None:
    """Refused if this member has suspended itself or has left: nothing more is signed."""
    with database.read() as connection:
        known = present(connection, me)
    if not known.away(now):
        return
    since = known.suspended_since
    what = f"suspended itself at {utc_text(since)}" if since else "has left the cooperative"
    raise Refused(
        f"this member {what}.", clauses=("c29",), fix="To take part again: coop-node resume."
    )


def _next_word(connection: Connection, now: datetime) -> datetime:
    """The instant of what this member says now: the newest word counts, by the second."""
    second = timedelta(seconds=1)
    said = [one.at + second for one in Notices(connection).list()]
    return max([now.replace(microsecond=0), *said])


def _accepted(
    connection: Connection, agreement: ParsedAgreement, governance: Governance
) -> tuple[ParsedRoster, ...]:
    chain = [parse_json(one.jws, "roster") for one in AcceptedRosters(connection).chain()]
    if not chain:
        return ()
    try:
        return replay(chain, governance, agreement.agreement.coop)
    except (InputError, Refused):
        return ()


@dataclass(frozen=True, slots=True)
class Life:
    """The member's own desk for suspending, resuming, leaving and ending.

    Letters to the coordinator go into the outbox in the transaction that makes the word count
    here; the running node sends them.
    """

    database: Database
    coop: str
    key: SigningKey
    journal: Journal
    clock: Callable[[], datetime]

    @property
    def me(self) -> Me:
        """This member."""
        return Me(identity_of(self.key.public), self.key.public)

    def presence(self) -> Presence:
        """Suspended or leaving, as of now."""
        with self.database.read() as connection:
            return present(connection, self.me)

    def suspend(self) -> bool:
        """No rounds from this moment; open runs end here. False if suspended already."""
        return self._say("suspended", None)

    def resume(self) -> bool:
        """Take part again. False if not suspended."""
        return self._say("resumed", None)

    def leave(self, until: datetime | None = None) -> datetime:
        """Give notice; the last moment of membership. The same date twice changes nothing.

        Args:
            until: when to be gone; the earliest that clause 29 allows if None.

        Raises:
            Refused: nothing is signed here, or the date is before the notice is over.
        """
        now = self.clock()
        with self.database.read() as connection:
            mine = newest_signed(connection)
            known = present(connection, self.me)
            at = _next_word(connection, now)
        if mine is None:
            raise Refused(
                "this member has signed no agreement that it could leave.",
                clauses=("c29",),
                fix="There is nothing to do: without your signature nothing runs here.",
            )
        block = mine.terms.block("c29", MembershipTerms)
        earliest = earliest_leave(now, block)
        if until is None:
            until = known.leaving_at or max(earliest, at)
        if known.leaving_at == until:
            return until
        if until < earliest and block is not None:
            raise Refused(
                f"a member that gives notice today may leave on {earliest:%Y-%m-%d}; "
                f"{until:%Y-%m-%d} is earlier than the {block.leave_notice_days} days of notice.",
                clauses=("c29",),
                fix="Suspend at once instead (coop-node suspend), and leave on the later date.",
            )
        self._say("leaving", until)
        return until

    def _say(self, state: State, until: datetime | None) -> bool:
        now = self.clock()
        with self.database.write() as connection:
            known = present(connection, self.me)
            at = _next_word(connection, now)
            if state == "suspended" and known.suspended_since is not None:
                return False
            if state == "resumed" and known.suspended_since is None:
                return False
            document = make_notice(
                coop=self.coop, member=self.me.id, state=state, at=at, until=until
            )
            body = json_bytes(jws_sign(document, self.me.id, self.key))
            facts: dict[str, object] = {"member": self.me.id, "state": state}
            if until is not None:
                facts["until"] = utc_text(until)
            self.journal("membership", facts)
            Notices(connection).add(StoredNotice(self.me.id, state, at, until, body))
            Outbox(connection).post(f"membership-{notice_id(document)[:48]}", LETTER, body, now)
        if state == "suspended":
            self._end_runs()
        return True

    def _end_runs(self) -> None:
        """Runs that were admitted end here; what they reserved and did not spend comes back."""
        with self.database.write() as connection:
            orders = Orders(connection)
            for one in orders.list(OrderState.ADMITTED, OrderState.RUNNING):
                now = self.clock()
                reason = "c29 membership: this member suspended itself"
                orders.move(one.run, OrderState.FAILED, now, (reason,))
                spent = SpentRounds(self.database, self.clock).last(bytes.fromhex(one.run))
                settle(connection, one.run, now, spent_rounds=spent is not None)

    def end(self, agreement: ParsedAgreement, reason: str) -> tuple[str, int, int]:
        """Sign the end of a version: one that others have begun, else a new one.

        Returns:
            The document's id, how many members have signed it as far as this node knows, and how
            many are needed.
        """
        now = self.clock()
        with self.database.write() as connection:
            governance, electorate = self._electorate(connection, agreement)
            begun = self._begun(connection, agreement, electorate)
            document: Json
            if begun is None:
                document = make_termination(
                    coop=self.coop, agreement=agreement.id, at=now, reason=reason
                )
                parts: list[Json] = []
            else:
                document, parts = jws_payload(begun, ENDED), [begun]
            name = notice_id(document)
            mine = jws_sign(document, self.me.id, self.key)
            merged = jws_merge(mine, *parts)
            self.journal("termination", {"agreement": agreement.id, "document": name})
            Terminations(connection).put(StoredEnd(name, agreement.id, json_bytes(merged), now))
            Outbox(connection).post(f"end-{name[:56]}", ENDED, json_bytes(mine), now)
        _, signers = signers_of_termination(merged, electorate, self.coop, agreement.id)
        members = len(electorate.voters())
        return name, len(signers), max(1, governance.quorum_terminate.needed(members))

    def begun(self, agreement: ParsedAgreement) -> Termination | None:
        """The end of a version that others have begun and that I would sign."""
        with self.database.read() as connection:
            _, electorate = self._electorate(connection, agreement)
            signed = self._begun(connection, agreement, electorate)
        return None if signed is None else read_termination(jws_payload(signed, ENDED))

    def ended(self, agreement: ParsedAgreement) -> bool:
        """Whether a quorum has ended a version."""
        with self.database.read() as connection:
            return terminated(connection, agreement)

    def receive_end(self, body: bytes) -> str:
        """Keep a letter about an end, its signatures merged with those that are known.

        Raises:
            InputError: not a termination of an agreement that is known here, a stranger's or a
                wrong signature.
        """
        signed = parse_json(body, ENDED)
        document = jws_payload(signed, ENDED)
        end, name = read_termination(document), notice_id(document)
        with self.database.write() as connection:
            # also of a version that another one is to replace: it may be the one in force
            mine = signed_version(connection, end.agreement, self.me)
            if mine is None:
                raise InputError(
                    f"the agreement {end.agreement[:16]}, which is to end, is not one that "
                    "this member signed.",
                    where=ENDED,
                    code=Code.NOT_FOUND,
                )
            _, electorate = self._electorate(connection, mine)
            signers_of_termination(signed, electorate, self.coop, mine.id)
            known = {one.document: one for one in Terminations(connection).of(mine.id)}
            if name in known:
                signed = jws_merge(parse_json(known[name].jws, ENDED), signed)
            before = terminated(connection, mine)
            Terminations(connection).put(StoredEnd(name, mine.id, json_bytes(signed), self.clock()))
            if not before and terminated(connection, mine):
                self.journal(
                    "termination", {"agreement": mine.id, "document": name, "complete": True}
                )
        return name

    def _electorate(
        self, connection: Connection, agreement: ParsedAgreement
    ) -> tuple[Governance, ParsedRoster]:
        governance = agreement.terms.block("c05", Governance)
        epochs = _accepted(connection, agreement, governance) if governance is not None else ()
        if governance is None or not epochs:
            raise Refused(
                "no roster is accepted here, so nobody can say who may end the agreement.",
                clauses=("c01",),
                fix="Sign the roster first: coop-node roster sign.",
            )
        return governance, epochs[-1]

    def _begun(
        self, connection: Connection, agreement: ParsedAgreement, electorate: ParsedRoster
    ) -> Json | None:
        """The end that most members have signed so far, if any was begun."""
        best: tuple[int, str, Json] | None = None
        for one in Terminations(connection).of(agreement.id):
            signed = jws_only(parse_json(one.jws, ENDED), electorate.keys)
            if signed is None:
                continue
            try:
                _, signers = signers_of_termination(signed, electorate, self.coop, agreement.id)
            except InputError:
                continue
            if best is None or (len(signers), one.document) > best[:2]:
                best = (len(signers), one.document, signed)
        return best[2] if best is not None else None
