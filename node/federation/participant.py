"""One admitted run on this node: the model derived so far, and one secure round at a time.

A stage comes in as a signed envelope and goes out as one. What the coordinator says is checked
by the machine of ``protocols.secagg``; what members train on is derived here from the order and
the published rounds (``protocols.retrace``), each verified before a step is taken on it.

Everything of a round lives in memory only. After a restart the node follows the rounds that it
kept and takes part from the next attempt of a round that it has not spent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from node import files
from node import round as way
from protocols import codec, retrace
from protocols.agreement.terms import Contribution, Privacy
from protocols.audit.entries import Kind
from protocols.course import Course
from protocols.errors import Code, CoopError, LocalError, Refused, RemoteError
from protocols.ids import MemberId, RunId
from protocols.permit import Permit
from protocols.secagg.member import REFUSAL, Member
from protocols.secagg.messages import (
    AdvertiseRequest,
    AgreeRequest,
    MaskRequest,
    Reply,
    Request,
    ShareRequest,
    UnmaskRequest,
    from_bitmap,
)
from protocols.secagg.params import RoundDescriptor
from protocols.signing import SigningKey

Journal = Callable[[str, Mapping[str, object]], None]
Emit = Callable[..., None]
DONE: Mapping[type, str] = {
    AdvertiseRequest: "keys sent",
    ShareRequest: "shares sent",
    MaskRequest: "masked update sent",
    AgreeRequest: "survivors agreed",
    UnmaskRequest: "shares opened",
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

    def mark_spent(self, run: bytes, round: int) -> None:
        """Record that this member signs for a round; Refused the second time."""

    def admit_survivors(self, run: str, round: int, members: frozenset[str], floor: int) -> None:
        """Record the survivors that this member is about to sign; Refused by clause 14."""

    def keep_survivors(self, run: str, round: int, members: frozenset[str]) -> None:
        """Record the survivors of a published round, unless a set is recorded for it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a participant needs of its house."""

    identity: SigningKey = field(repr=False)
    member: MemberId
    entropy: Callable[[int], bytes] = field(repr=False)
    ledgers: Ledgers
    fetch_round: Callable[[RunId, int], bytes]
    prepare: Callable[[Ticket], way.Prepared]
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
        self._member: Member | None = None
        self._attempts: dict[int, int] = {}
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
            request = codec.decode_request(opened.stage, opened.body)
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
        self._tools.emit(
            "stage", run=self.ticket.run, round=opened.round, stage=DONE[type(request)]
        )
        return sealed

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
        self._member = None
        self._prepared = None

    def _file(self, number: int) -> Path:
        return self._rounds / f"{number:04d}.bin"

    def _answer(self, opened: codec.Envelope, request: Request) -> Reply:
        if isinstance(request, AdvertiseRequest):
            named = request.descriptor
            if (named.round, named.attempt) != (opened.round, opened.attempt):
                raise RemoteError(
                    "the descriptor is of another attempt than its envelope.", peer="coordinator"
                )
            self._open_attempt(named)
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
            self._admit_survivors(found, request)
        reply = member.step(request)
        if reply is None:
            reply = self._masked(member, opened.round)
        return reply

    def _open_attempt(self, descriptor: RoundDescriptor) -> None:
        """Derive the model up to the round and start a fresh machine; the old one is gone."""
        self.catch_up(descriptor.round - 1)
        trace, tools = self._trace, self._tools
        if trace.number != descriptor.round - 1:
            raise RemoteError(
                f"round {descriptor.round} is over for this node.", peer="coordinator"
            )
        last = self._attempts.get(descriptor.round, -1)
        self._attempts[descriptor.round] = max(descriptor.attempt, last)
        course = self.ticket.course
        self._member = Member(
            identity=tools.identity,
            demands=course.demands(),
            roster=course.roster_keys,
            coordinator_key=self.ticket.coordinator_key,
            expected=course.expected(descriptor.round, last + 1, trace.state, trace.transcript),
            entropy=tools.entropy,
            mark_spent=self._mark_spent,
        )

    def _masked(self, member: Member, number: int) -> Reply:
        prepared, course = self.ready(), self.ticket.course
        if course.task(number) == "train":
            tools = self._tools
            bounded = way.update(prepared, self._trace.state, number, tools.member, tools.entropy)
            return member.mask(bounded.values, 1)
        scored = way.report(prepared, self._trace.state, self._tools.entropy)
        way.keep_report(scored, self._folder)
        if scored.errors:
            self._tools.emit("scores", run=self.ticket.run, measure=scored.measure, **scored.errors)
        return member.mask(scored.vector, 1)

    def _admit_survivors(self, descriptor: RoundDescriptor, request: AgreeRequest) -> None:
        chosen = from_bitmap(request.survivors, descriptor.ids)
        members = frozenset(one.hex() for one in chosen)
        self._tools.ledgers.admit_survivors(
            self.ticket.run, descriptor.round, members, self.ticket.course.floor
        )

    def _mark_spent(self, run: bytes, number: int) -> None:
        self._tools.ledgers.mark_spent(run, number)
        self._tools.journal(Kind.SPENT, {"run": run.hex(), "round": number})

    def _check_own(self, trace: retrace.Trace) -> None:
        """A round that this node signed must be published as it signed it."""
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


def survivor_allowance(course: Course) -> int:
    """How often the survivors may change by a few, from clause 14."""
    privacy = course.terms.block("c14", Privacy)
    if privacy is None or course.terms.block("c17", Contribution) is None:
        raise LocalError("the agreement lacks a clause that its signature covered.")
    return privacy.survivor_changes
