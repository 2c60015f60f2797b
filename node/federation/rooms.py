"""The runs that this node takes part in: from a signed order to a participant, and back out.

An order is decided by the gate before any row is read. Only an admitted one gets a participant;
the answer is sent when its tables and baseline stand ready, so that a round never waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from node.federation.mailroom import Mailroom
from node.federation.participant import Participant, Ticket, Tools
from node.house import Member
from node.keys import restored_at
from node.policy.budget import settle
from node.policy.evidence import Me, current_roster, signed_version
from node.policy.gate import History
from node.policy.going import refuse_if_stopped
from node.store.orders import Orders, OrderState
from node.store.rounds import SpentRounds
from protocols import codec
from protocols.agreement.facts import Denial
from protocols.agreement.order import ParsedOrder, read_order
from protocols.agreement.terms import Governance
from protocols.canonical import Json, parse_json
from protocols.course import chart
from protocols.errors import CoopError, InputError, Refused, RemoteError
from protocols.ids import RunId
from protocols.permit import Permit
from protocols.secagg.member import REFUSAL
from protocols.signing import jws_payload


@dataclass(slots=True)
class Rooms:
    """Participants by run, and the orders that wait.

    Args:
        member: the opened node.
        mailroom: where answers go out.
        tools: what a participant needs.
        history: weeks and rows that this node holds for an order.
    """

    member: Member
    mailroom: Mailroom
    tools: Tools
    history: Callable[[ParsedOrder], History]
    _live: dict[RunId, Participant] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _deciding: threading.Lock = field(default_factory=threading.Lock)

    def receive(self, raw: bytes) -> None:
        """A signed order came: decide, answer, and get ready if it is admitted."""
        with self._deciding:
            self._consider(parse_json(raw, "order"))

    def reconsider(self) -> None:
        """Orders that waited for this member's approval, and runs that a restart interrupted."""
        with self._deciding:
            with self.member.database.read() as db:
                found = Orders(db).list(OrderState.PENDING, OrderState.ADMITTED, OrderState.RUNNING)
            for stored in found:
                if RunId(stored.run) not in self._live:
                    self._consider(parse_json(stored.jws, "order"))

    def close_finished(self) -> None:
        """Forget the participants of runs that are over, and keys whose time is over."""
        with self._lock:
            live = dict(self._live)
        for run, participant in live.items():
            participant.expire()
            with self.member.database.read() as db:
                stored = Orders(db).get(run)
            if stored is None or stored.state not in (OrderState.ADMITTED, OrderState.RUNNING):
                with self._lock:
                    over = self._live.pop(run)
                over.close()  # waits for a stage that is being answered; other runs go on

    def handle(self, envelope: bytes) -> bytes:
        """A stage of a run; RemoteError if this node does not take part in it."""
        run = RunId(codec.peek_envelope(envelope).run.hex())
        with self._lock:
            participant = self._live.get(run)
        if participant is None:
            raise RemoteError(f"this node does not take part in run {run}.", peer="coordinator")
        self._require_going(participant.ticket)
        return participant.handle(envelope)

    def _require_going(self, ticket: Ticket) -> None:
        """Nothing more is signed in a run that has to stop, or that this member left."""
        me = Me(self.member.membership.member, self.member.home.keys.identity.public)
        agreement, now = ticket.permit.agreement, self.member.home.clock()
        try:
            refuse_if_stopped(self.member.database, me, agreement, now)
        except Refused as error:
            note = "".join(c if c.isprintable() else " " for c in error.problem)
            facts = {"run": ticket.run, "clauses": error.clauses, "note": note[:200]}
            self.member.home.journal("refusal", facts)
            raise RemoteError(REFUSAL, peer="coordinator") from error

    def _consider(self, signed: Json) -> None:
        order = read_order(jws_payload(signed, "order"), "order")
        run = order.order.run
        late = restored_at(self.member.home.folder)
        if late is not None and order.order.issued <= late:
            reason = (
                "c14 privacy: this node was restored from a backup after the order was issued, "
                "so it cannot know which rounds it has spent"
            )
            self.member.home.journal("refusal", {"run": run, "clauses": ("c14",)})
            self._answer(run, "refused", (reason,))
            return
        decided = self.member.gate.admit(signed, self.history(order))
        if isinstance(decided, Denial):
            answer = "pending" if decided.pending else "refused"
            self._answer(run, answer, tuple(one.told for one in decided.reasons))
            return
        with self._lock:
            running = RunId(run) in self._live
        if running:  # the same order again: what this node holds of the run is not made anew
            self._answer(run, "admitted", ())
            return
        try:
            self._open(order, decided)
        except CoopError as error:
            self.member.home.journal("refusal", {"run": run, "clauses": ("data",)})
            with self.member.database.write() as db:
                now = self.member.home.clock()
                Orders(db).move(run, OrderState.FAILED, now, (str(error)[:500],))
                spent = SpentRounds(self.member.database, self.member.home.clock)
                settle(db, run, now, spent_rounds=spent.last(bytes.fromhex(run)) is not None)
            # what is wrong with the rows, and where they lie, is this member's own business
            self._answer(run, "refused", ("this member's data cannot be used for the order",))
            return
        self._answer(run, "admitted", ())

    def _open(self, order: ParsedOrder, permit: Permit) -> None:
        me = Me(self.member.membership.member, self.member.home.keys.identity.public)
        with self.member.database.read() as db:
            agreement = signed_version(db, order.order.agreement, me)
            roster = current_roster(db, agreement) if agreement is not None else None
        if agreement is None or roster is None:
            raise InputError("the agreement or the roster of the order is not here.")
        governance = agreement.terms.block("c05", Governance)
        if governance is None:
            raise InputError("the agreement has no governance clause.")
        ticket = Ticket(
            chart(order, agreement.terms, roster),
            permit,
            bytes.fromhex(governance.coordinator_key),
        )
        folder = self.member.home.run_folder(order.order.run)
        participant = Participant(ticket, self.tools, folder)
        participant.ready()
        with self._lock:
            self._live[ticket.run] = participant

    def _answer(self, run: str, answer: str, reasons: tuple[str, ...]) -> None:
        if self.mailroom.answer(run, answer, reasons):
            self.mailroom.emit("order", run=run, answer=answer, reasons="; ".join(reasons))
