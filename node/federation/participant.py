"""One admitted run on this node: the model derived so far, and one secure round at a time.

A stage comes in as a signed envelope and goes out as one. What the coordinator says is checked
by the machine of ``protocols.secagg``; what members train on is derived here from the order and
the published rounds (``protocols.retrace``), each verified before a step is taken on it.

Everything of a round lives in memory only, and not longer than the order's stages last. After a
restart the node follows the rounds that it kept and takes part from the next attempt of a round
that it has not spent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from node import files
from node import round as way
from protocols import codec, retrace
from protocols.aggregation import MemberMachine, mode
from protocols.agreement.survivors import change_limit
from protocols.audit.entries import Kind
from protocols.course import Course
from protocols.errors import Code, CoopError, Refused, RemoteError
from protocols.ids import MemberId, RunId
from protocols.permit import Gate, Permit
from protocols.secagg.disclosure import AuditReply, AuditRequest
from protocols.secagg.member import REFUSAL
from protocols.secagg.messages import (
    AdvertiseRequest,
    AgreeRequest,
    MaskRequest,
    Reply,
    Request,
    ShareRequest,
    Stage,
    UnmaskRequest,
    from_bitmap,
)
from protocols.secagg.params import LogHead, RoundDescriptor
from protocols.signing import SigningKey

Journal = Callable[[str, Mapping[str, object]], None]
Emit = Callable[..., None]
DONE: Mapping[type, str] = {
    AdvertiseRequest: "keys sent",
    ShareRequest: "shares sent",
    MaskRequest: "masked update sent",
    AgreeRequest: "survivors agreed",
    UnmaskRequest: "shares opened",
    AuditRequest: "sum checked",
}


@dataclass(frozen=True, slots=True)
class Ticket:
    """What was verified before a run starts on this node, and the permit that it gave."""

    course: Course
    permit: Permit
    coordinator_key: bytes

    @property
    def run(self) -> RunId:
        """The run's id."""
        return RunId(self.course.order.order.run)


class Ledgers(Protocol):
    """What a node remembers of rounds, durably."""

    def mark_sent(self, run: bytes) -> None:
        """Record that a vector of the run is about to leave; Refused once the run is over."""

    def mark_spent(self, run: bytes, round: int) -> None:
        """Record that this member signs for a round; Refused the second time."""

    def admit_survivors(self, run: str, round: int, members: frozenset[str], floor: int) -> None:
        """Record the survivors that this member is about to sign; Refused by clause 14."""

    def keep_survivors(self, run: str, round: int, members: frozenset[str]) -> None:
        """Record the survivors of a published round, whatever was agreed to before."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a participant needs of its house."""

    identity: SigningKey = field(repr=False)
    member: MemberId
    entropy: Callable[[int], bytes] = field(repr=False)
    noise: Callable[[float, int], NDArray[np.int64]] = field(repr=False)
    monotonic: Callable[[], float]
    clock: Callable[[], datetime]  # aware UTC: a permit ends
    ledgers: Ledgers
    fetch_round: Callable[[RunId, int], bytes]
    prepare: Callable[[Ticket], way.Prepared]
    check_log: Callable[[LogHead, bytes], None]  # head, the signed request that names it
    journal: Journal
    emit: Emit


class Participant:
    """This node in one run.

    Args:
        ticket: the admitted order and what it stands on.
        tools: keys, ledgers, the coordinator's published rounds.
        folder: where this run's files are kept.
    """

    def __init__(self, ticket: Ticket, tools: Tools, folder: Path) -> None:
        self.ticket = ticket
        self._tools = tools
        self._folder = folder
        self._rounds = folder / "rounds"
        self._rounds.mkdir(parents=True, exist_ok=True)
        self._trace = retrace.begin(ticket.course)
        self._prepared: way.Prepared | None = None
        self._member: MemberMachine | None = None
        self._attempts: dict[int, int] = {}
        self._proposed: frozenset[str] = frozenset()  # survivors that are to be signed
        self._shown: dict[int, bytes] = {}  # by round: the sum that this node was shown
        self._wrong: dict[int, bytes] = {}  # by round: the sum that it found to be wrong
        self._due: float | None = None  # when what the machine holds is no longer worth keeping
        self._heads: set[LogHead] = set()  # of the log, verified to be in the kept history
        self._busy = threading.Lock()
        while (file := self._file(self._trace.number + 1)).exists():
            self._trace = retrace.follow(
                self._trace, file.read_bytes(), ticket.coordinator_key, str(file)
            )

    @property
    def trace(self) -> retrace.Trace:
        """The run so far, verified."""
        return self._trace

    def ready(self) -> way.Prepared:
        """Read the rows under the permit, make the tables and the own baseline; once."""
        if self._prepared is None:
            self._prepared = self._tools.prepare(self.ticket)
        return self._prepared

    def handle(self, envelope: bytes) -> bytes:
        """Answer one stage.

        Raises:
            CoopError: refused, with one generic sentence; the reason is in the journal.
        """
        with self._busy:
            return self._handle(envelope)

    def _handle(self, envelope: bytes) -> bytes:
        order = self.ticket.course.order.order
        number: int | None = None
        try:
            opened = codec.open_envelope(
                envelope,
                self.ticket.coordinator_key,
                run=bytes.fromhex(order.run),
                agreement=bytes.fromhex(order.agreement),
            )
            number = opened.round
            request = _request(opened)
            reply = self._answer(opened, request)
        except CoopError as error:
            self._refuse(number, error)
            raise RemoteError(REFUSAL, peer="coordinator") from error
        sealed = codec.seal(
            key=self._tools.identity,
            sender=bytes.fromhex(self._tools.member),
            run=opened.run,
            round=opened.round,
            attempt=opened.attempt,
            stage=opened.stage,
            agreement=opened.agreement,
            body=codec.encode_message(reply),
        )
        if opened.stage is not Stage.AUDIT:  # an audit keeps nothing alive for longer
            self._due = self._tools.monotonic() + self._patience_s(opened.stage)
        self._tools.emit(
            "stage", run=self.ticket.run, round=opened.round, stage=DONE[type(request)]
        )
        return sealed

    def expire(self) -> None:
        """Forget the keys and shares of an attempt whose next stage did not come in time."""
        if not self._busy.acquire(blocking=False):
            return  # a stage is being answered now
        try:
            if self._due is not None and self._tools.monotonic() > self._due:
                self._forget()
        finally:
            self._busy.release()

    def catch_up(self, last: int) -> None:
        """Fetch, verify and keep every published round up to ``last``."""
        course = self.ticket.course
        if last > course.last_round:
            raise RemoteError(f"the run has no round {last}.", peer="coordinator")
        while self._trace.number < last:
            number = self._trace.number + 1
            raw = self._tools.fetch_round(self.ticket.run, number)
            trace = retrace.follow(
                self._trace, raw, self.ticket.coordinator_key, f"published round {number}"
            )
            self._check_own(trace)
            if trace.last is not None:
                self._check_log(trace.last.request)
            # also rounds that went on without this node count as changes (clause 14)
            self._tools.ledgers.keep_survivors(self.ticket.run, number, trace.survivors[-1])
            files.write(self._file(number), raw)
            survivors = len(trace.survivors[-1])
            self._tools.journal(
                Kind.SUM,
                {
                    "run": self.ticket.run,
                    "round": number,
                    "survivors": survivors,
                    "transcript": trace.transcript.hex(),
                    "model": trace.model,
                },
            )
            self._trace = trace
            self._tools.emit(
                "round",
                run=self.ticket.run,
                round=number,
                rounds=course.training_rounds,
                survivors=survivors,
            )

    def close(self) -> None:
        """The run is over for this node: forget keys and shares."""
        with self._busy:
            self._forget()
            self._prepared = None

    def _forget(self) -> None:
        self._member = self._due = None

    def _patience_s(self, stage: Stage) -> float:
        """How long an attempt may rest after an answer: this stage, and the one after it.

        After the last one the audit follows, and the wait for members that are away.
        """
        order = self.ticket.course.order.order
        waits = order.stage_timeouts_s.in_order
        if stage < Stage.UNMASK:
            return float(waits[stage] + waits[stage + 1])
        return float(sum(waits) + order.rejoin_wait_s)

    def _file(self, number: int) -> Path:
        return self._rounds / f"{number:04d}.bin"

    def _answer(
        self, opened: codec.Envelope, request: Request | AuditRequest
    ) -> Reply | AuditReply:
        opening = _opening(request)
        if opening is not None:
            named = opening.descriptor
            if (named.round, named.attempt) != (opened.round, opened.attempt):
                raise RemoteError(
                    "the descriptor is of another attempt than its envelope.", peer="coordinator"
                )
        if isinstance(request, AuditRequest):
            reply = self._checked(request)
            self._check_log(request.head.opening)
            return reply
        if opening is not None:
            self._open_attempt(opening.descriptor, early=isinstance(request, ShareRequest))
        elif self._due is not None and self._tools.monotonic() > self._due:
            raise RemoteError("the stage came after its time was over.", peer="coordinator")
        member = self._member
        if member is None:
            raise RemoteError(
                "this node has no part in the attempt: it started or refused after it began.",
                peer="coordinator",
            )
        found = member.descriptor
        if found is not None and (found.round, found.attempt) != (opened.round, opened.attempt):
            raise RemoteError("a message for another attempt came.", peer="coordinator")
        if isinstance(request, AgreeRequest) and found is not None:
            chosen = from_bitmap(request.survivors, found.ids)
            self._proposed = frozenset(one.hex() for one in chosen)
        answer: Reply | None = member.step(request)
        if opening is not None:  # its signature is verified now, and nothing has left
            self._check_log(opening)
        if answer is None:
            answer = self._masked(member, opened.round)
        return answer

    def _check_log(self, opening: AdvertiseRequest) -> None:
        """The log's head in a descriptor must stand in one history with the one that is kept.

        Otherwise a quorum certificate would bear witness to a log that a member was not shown.
        """
        head = opening.descriptor.log
        if head not in self._heads:
            self._tools.check_log(head, codec.encode_message(opening))
            self._heads.add(head)

    def _checked(self, request: AuditRequest) -> AuditReply:
        """Compute a sum again from what the coordinator discloses, and sign it if it is right."""
        course, trace, head = self.ticket.course, self._trace, request.head
        descriptor, claimed = head.opening.descriptor, head.published.sum_hash()
        number = descriptor.round
        if number != trace.number + 1:
            self.catch_up(number - 1)
            trace = self._trace
        expected = course.descriptor(
            number, descriptor.attempt, trace.state, descriptor.log, trace.transcript
        )
        if trace.number != number - 1 or descriptor != expected:
            raise RemoteError("a sum of another round was shown.", peer="coordinator")
        mine = self._member
        took_part = mine is not None and mine.descriptor == descriptor
        try:
            reply: AuditReply = mode(descriptor.protocol).confirm(
                request,
                identity=self._tools.identity,
                roster=course.roster_keys,
                coordinator_key=self.ticket.coordinator_key,
                transcript=mine.transcript if mine is not None and took_part else None,
                own_root=mine.vector_root if mine is not None and took_part else None,
                answered=self._shown.get(number),
            )
        except RemoteError as error:
            if error.code is Code.TAMPERED:
                self._wrong[number] = claimed
            raise
        self._shown[number] = claimed
        if reply.signature:
            if self._wrong.get(number) == claimed:
                del self._wrong[number]  # the sum was right, what was shown with it was not
            self._tools.journal(
                Kind.CHECK,
                {
                    "run": self.ticket.run,
                    "round": number,
                    "transcript": head.published.a3.hex(),
                    "sum": claimed.hex(),
                },
            )
        return reply

    def _open_attempt(self, descriptor: RoundDescriptor, early: bool) -> None:
        """Derive the model up to the round and start a fresh machine; the old one is gone.

        ``early``: the coordinator goes on with the keys that this node sent with the last stage
        of the round before.
        """
        self.catch_up(descriptor.round - 1)
        before, trace, tools = self._member, self._trace, self._tools
        if trace.number != descriptor.round - 1:
            raise RemoteError(
                f"round {descriptor.round} is over for this node.", peer="coordinator"
            )
        last = self._attempts.get(descriptor.round, -1)
        self._attempts[descriptor.round] = max(descriptor.attempt, last)
        course = self.ticket.course
        self._member = mode(descriptor.protocol).member(
            identity=tools.identity,
            demands=course.demands(),
            roster=course.roster_keys,
            coordinator_key=self.ticket.coordinator_key,
            expected=course.expected(descriptor.round, last + 1, trace.state, trace.transcript),
            entropy=tools.entropy,
            mark_spent=self._mark_spent,
            noise=tools.noise,
            carried=before.carried if before is not None and early else None,
        )

    def _masked(self, member: MemberMachine, number: int) -> Any:
        course, entropy, permit = self.ticket.course, self._tools.entropy, self.ticket.permit
        # whoever of the customers said no since the round before is not in this one
        prepared = way.again(permit, self.ready(), number, self._tools.clock())
        self._prepared = prepared
        if course.task(number) == "train":
            me, now = self._tools.member, self._tools.clock()
            bounded = way.update(permit, prepared, self._trace.state, number, me, entropy, now)
            return self._sent(member, bounded.values)
        scored = way.report(permit, prepared, self._trace.state, self._tools.clock())
        way.keep_report(scored, self._folder)
        if scored.errors:
            self._tools.emit("scores", run=self.ticket.run, measure=scored.measure, **scored.errors)
        return self._sent(member, scored.vector)

    def _sent(self, member: MemberMachine, vector: NDArray[Any]) -> Reply:
        """Mask a vector that is about to leave, while the permit of the run holds.

        The others can open a sum that holds it without this node's signature: from here on the
        run counts as spent.
        """
        self.ticket.permit.require(Gate.ADMIT, self._tools.clock())
        self._tools.ledgers.mark_sent(bytes.fromhex(self.ticket.run))
        reply: Reply = member.mask(vector, 1)
        return reply

    def _mark_spent(self, run: bytes, number: int) -> None:
        """The machine is about to sign; nothing of what it refused before is remembered."""
        ledgers, course = self._tools.ledgers, self.ticket.course
        ledgers.admit_survivors(self.ticket.run, number, self._proposed, course.floor)
        ledgers.mark_spent(run, number)
        self._tools.journal(Kind.SPENT, {"run": run.hex(), "round": number})

    def _check_own(self, trace: retrace.Trace) -> None:
        """A round that this node signed must be published as it signed it, and as it was shown it.

        Among C + 1 that confirm a large sum one honest auditor may have drawn chunks that hide
        the lie; whoever saw it takes no step on that sum all the same.
        """
        if trace.last is not None:
            claimed, number = trace.last.published.sum_hash(), trace.number
            if self._wrong.get(number) == claimed or self._shown.get(number, claimed) != claimed:
                raise RemoteError(
                    "the published sum is one that this node found to be wrong, or another than "
                    "it was shown.",
                    peer="coordinator",
                    code=Code.TAMPERED,
                )
        mine = self._member
        signed = mine.transcript if mine is not None else None
        if mine is None or mine.descriptor is None or signed is None:
            return
        if mine.descriptor.round == trace.number and signed != trace.transcript:
            raise RemoteError(
                "the published round is not the one that this node signed.",
                peer="coordinator",
                code=Code.TAMPERED,
            )

    def _refuse(self, number: int | None, error: CoopError) -> None:
        """Write the reason down; leave the attempt, unless nobody signed what came (no number)."""
        if number is not None:
            self._member = None
        place = {} if number is None else {"round": number}
        clauses = error.clauses if isinstance(error, Refused) else ()
        note = "".join(char if char.isprintable() else " " for char in str(error))
        self._tools.journal(
            Kind.REFUSAL,
            {
                "run": self.ticket.run,
                **place,
                "clauses": clauses or ("protocol",),
                "note": note[:200],
            },
        )
        self._tools.emit("out", run=self.ticket.run, round=number or 0, problem=str(error))


def _request(opened: codec.Envelope) -> Request | AuditRequest:
    if opened.stage is Stage.AUDIT:
        return codec.decode_audit_request(opened.body)
    return codec.decode_request(opened.stage, opened.body)


def _opening(request: Request | AuditRequest) -> AdvertiseRequest | None:
    """The signed descriptor that a request carries, if it does."""
    match request:
        case AdvertiseRequest():
            return request
        case ShareRequest():
            return request.opening
        case AuditRequest():
            return request.head.opening
        case _:
            return None


def survivor_allowance(course: Course) -> int | None:
    """How often the survivors may change by a few, from clause 14; None: as often as they like."""
    return change_limit(course.terms, course.order.order)
