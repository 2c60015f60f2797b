"""One run on one page: gather answers, train, evaluate, publish each round, release or say why not.

The run's state is in the database, its rounds are files; a coordinator that starts again after a
crash calls ``conduct`` and goes on where the files end.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from coordinator import files
from coordinator.rounds.attempt import Attempt, announced_survivors
from coordinator.rounds.ending import end_run
from coordinator.rounds.exchange import Exchange
from coordinator.store.database import Database
from coordinator.store.runs import (
    NEXT,
    Answer,
    Progress,
    PublishedSum,
    RunMember,
    RunMembers,
    Runs,
    State,
    Sums,
)
from protocols import codec, retrace
from protocols.audit.checkpoint import Checkpoint
from protocols.audit.entries import Kind
from protocols.audit.writer import Facts
from protocols.course import Course
from protocols.errors import Code, CoopError, LocalError, Refused, RemoteError
from protocols.ids import MemberId, RunId
from protocols.secagg.messages import Advertisement, AdvertiseRequest, Stage
from protocols.secagg.params import LogHead
from protocols.secagg.published import RoundResult
from protocols.signing import SigningKey

MAX_ATTEMPTS = 5
POLL_S = 0.2
Journal = Callable[[Kind, Facts], object]


@dataclass(frozen=True, slots=True)
class Made:
    """A release that is stored and not yet offered.

    ``offer`` posts it to the members inside the transaction that ends the run; ``discard`` takes
    it back if the operator aborted the run at the last moment.
    """

    model: str
    offer: Callable[[Connection], None]
    discard: Callable[[], None]


class Release(Protocol):
    """The release gate and what it makes."""

    def __call__(self, trace: retrace.Trace, /) -> Made:
        """Build, sign, log and store a release. Refused when a clause says no."""


@dataclass(frozen=True, slots=True)
class Office:
    """What a run needs of the coordinator."""

    database: Database
    folder: Path
    key: SigningKey = field(repr=False)
    journal: Journal
    log_head: Callable[[], Checkpoint]
    emit: Callable[..., None]
    clock: Callable[[], datetime]
    stop: threading.Event
    release: Release
    name_of: Callable[[MemberId], str]


class Stopped(Exception):
    """The coordinator is stopping or the operator aborted the run; nothing is wrong."""


class Run:
    """One run, from its order to its end.

    Args:
        course: the verified order, agreement and roster.
        office: folders, keys, database.
        exchange: the members.
    """

    def __init__(self, course: Course, office: Office, exchange: Exchange) -> None:
        self._course = course
        self._office = office
        self._exchange = exchange
        self._run = RunId(course.order.order.run)
        self._trace = retrace.begin(course)
        self._carried: Mapping[bytes, Advertisement] = {}  # keys for the next round
        self._connections: Mapping[MemberId, int] = {}  # when the last attempt began

    def conduct(self) -> State:
        """Carry the run to its end, or to where the coordinator stops; the state it is in."""
        state = self._conduct()
        if not NEXT[state]:  # over: what members sent in an unfinished round goes as well
            shutil.rmtree(self._office.folder / "stages", ignore_errors=True)
        return state

    def _conduct(self) -> State:
        try:
            self._follow_published()
            self._gather()
            while self._trace.number < self._course.last_round:
                self._one_round(self._trace.number + 1)
            return self._end()
        except Stopped:
            return self._state()
        except CoopError as error:
            return self._finish(State.FAILED, str(error))

    # ------------------------------------------------------------------ rounds

    def _one_round(self, number: int) -> None:
        state = State.EVALUATING if self._course.task(number) == "evaluate" else State.RUNNING
        if self._state() is not state:
            self._move(state)
        first, last = self._next_attempt(number), ""
        for attempt in range(first, MAX_ATTEMPTS):
            try:
                result = self._attempt(number, attempt)
            except RemoteError as error:
                self._check_going_on()  # a stop ends the stage in hand: that is no failure
                facts: dict[str, str | int] = {
                    "run": self._run,
                    "round": number,
                    "attempt": attempt,
                }
                self._office.emit("attempt-failed", **facts, problem=str(error))
                self._office.journal(Kind.INCIDENT, {**facts, "note": _note(error)})
                if announced_survivors(self._log(number, attempt)):
                    raise LocalError(
                        f"round {number} was spent and cannot be finished: {error.problem}",
                        fix="Launch a new run; it gets a new order, seed and model.",
                    ) from error
                last = f"; the last time, {error.problem}"
                continue
            self._publish(number, result)
            return
        raise LocalError(
            f"round {number} failed {MAX_ATTEMPTS} times{last.rstrip('.')}.",
            code=Code.UNAVAILABLE,
            fix="See 'run status' for who was missing, then launch a new run.",
        )

    def _next_attempt(self, number: int) -> int:
        """0, or one more than the last that was begun; a spent one is tried to its end."""
        last = -1
        while self._log(number, last + 1).exists():
            last += 1
        spent = last >= 0 and announced_survivors(self._log(number, last))
        return last if spent else last + 1

    def _attempt(self, number: int, attempt: int) -> RoundResult:
        log = self._log(number, attempt)
        opening = log.with_suffix(".opening")
        resuming = announced_survivors(log)
        if resuming:
            request = codec.decode_request(Stage.ADVERTISE, opening.read_bytes())
            assert isinstance(request, AdvertiseRequest)
            self._office.emit("resumed", run=self._run, round=number, stage=3)
        else:
            request = self._request(number, attempt)
            files.make_folder(opening.parent)
            files.write(opening, codec.encode_message(request))
        carried, self._carried = self._carried, {}  # keys serve one attempt
        tried = Attempt(
            descriptor=request.descriptor,
            key=self._office.key,
            roster=self._course.roster_keys,
            exchange=self._exchange,
            file=log,
            carry=number < self._course.last_round,
            progress=lambda stage: self._progress(number, attempt, stage),
            blamed=lambda member, problem: self._blamed(number, member, problem),
            arrived=lambda stage, member: self._arrived(number, stage, member),
        )
        here = self._wait_for_members()
        before, self._connections = self._connections, self._exchange.connections()
        if resuming:
            return tried.resume()
        steady = {one for one, number in before.items() if self._connections.get(one) == number}
        # who connected anew may have started anew, without the keys that it had sent
        usable = {one: ad for one, ad in carried.items() if MemberId(one.hex()) in steady}
        return tried.run(here, usable if attempt == 0 else {})

    def _request(self, number: int, attempt: int) -> AdvertiseRequest:
        head = self._office.log_head()
        log = LogHead(head.size, head.root)
        descriptor = self._course.descriptor(
            number, attempt, self._trace.state, log, self._trace.transcript
        )
        return AdvertiseRequest(descriptor, self._office.key.sign("SAQ1 RD", descriptor.digest()))

    def _publish(self, number: int, result: RoundResult) -> None:
        """Keep the round as a file, log it, take the step; from now on members may fetch it."""
        raw = retrace.record_bytes(retrace.Record(result.opening, result.published))
        self._office.journal(
            Kind.SUM,
            {
                "run": self._run,
                "round": number,
                "survivors": len(result.u3),
                "transcript": result.a3.hex(),
            },
        )
        files.make_folder(self._round_file(number).parent)
        files.write(self._round_file(number), raw)
        self._take(number, raw)
        self._forget_stages(number)
        self._carried = result.carried
        self._office.emit(
            "round",
            run=self._run,
            round=number,
            rounds=self._course.training_rounds,
            survivors=len(result.u3),
            members=[one.hex() for one in result.u3],
        )

    def _take(self, number: int, raw: bytes) -> None:
        """Verify a published round as every member does, and take its step."""
        self._trace = retrace.follow(self._trace, raw, self._office.key.public, f"round {number}")
        with self._office.database.write() as db:
            Sums(db).add(
                PublishedSum(
                    run=self._run,
                    round=number,
                    attempt=self._attempt_of_last(),
                    survivors=len(self._trace.survivors[-1]),
                    sha256=hashlib.sha256(raw).hexdigest(),
                    file=f"runs/{self._run}/rounds/{number:04d}.bin",
                    published_at=self._office.clock(),
                )
            )

    def _attempt_of_last(self) -> int:
        last = self._trace.last
        return last.published.attempt if last is not None else 0

    def _follow_published(self) -> None:
        """After a restart: the rounds that were published before."""
        while (file := self._round_file(self._trace.number + 1)).exists():
            self._take(self._trace.number + 1, file.read_bytes())
            self._forget_stages(self._trace.number)

    def _forget_stages(self, number: int) -> None:
        """The sum is confirmed and on the disk: what members sent is needed no more."""
        for file in self._log(number, 0).parent.glob(f"{number:04d}.*"):
            file.unlink(missing_ok=True)

    # ----------------------------------------------------------------- members

    def _gather(self) -> None:
        """Wait for every member's answer, at most half of the order's time; the rest is to run."""
        if self._state() is State.LAUNCHED:
            self._move(State.GATHERING)
        needed = self._least()
        while True:
            answers = {one.member: one.answer for one in self._answers()}
            admitted = sum(a is Answer.ADMITTED for a in answers.values())
            refused = sum(a is Answer.REFUSED for a in answers.values())
            order = self._course.order.order
            late = self._office.clock() >= order.issued + (order.deadline - order.issued) / 2
            if admitted + refused == len(self._course.cohort):
                late = True
            if len(self._course.cohort) - refused < needed or (late and admitted < needed):
                raise Refused(
                    f"{admitted} of {len(self._course.cohort)} members admitted the order and"
                    f" {refused} refused it; {needed} are needed.",
                    clauses=("c14",),
                    fix="'run status' shows each member's reasons.",
                )
            if late or self._trace.number:
                return
            self._pause()

    def _admitted(self) -> frozenset[MemberId]:
        return frozenset(one.member for one in self._answers() if one.answer is Answer.ADMITTED)

    def _wait_for_members(self) -> frozenset[MemberId]:
        """Members that admitted the order, after waiting a while for those who are away."""
        admitted = self._admitted()
        wait_s = float(self._course.order.order.rejoin_wait_s)
        self._exchange.wait_for(admitted, wait_s)
        self._check_going_on()
        return admitted

    def _least(self) -> int:
        descriptor = self._course.descriptor(1, 0, self._trace.state, LogHead(0, bytes(32)))
        return descriptor.least_survivors

    def _blamed(self, number: int, member: MemberId, problem: str) -> None:
        self._office.journal(
            Kind.INCIDENT,
            {"run": self._run, "round": number, "member": member, "note": _note(problem)},
        )

    def _arrived(self, number: int, stage: Stage, member: MemberId) -> None:
        if stage is Stage.MASK:
            name = self._office.name_of(member)
            self._office.emit("masked", run=self._run, round=number, name=name)

    def _answers(self) -> tuple[RunMember, ...]:
        with self._office.database.read() as db:
            return RunMembers(db).of(self._run)

    # ------------------------------------------------------------------- state

    def _progress(self, number: int, attempt: int, stage: Stage) -> None:
        self._check_going_on()
        with self._office.database.write() as db:
            Runs(db).advance(self._run, Progress(number, attempt, stage.name.lower(), ""))

    def _check_going_on(self) -> None:
        if self._office.stop.is_set() or self._state() is State.ABORTED:
            raise Stopped

    def _pause(self) -> None:
        self._office.stop.wait(POLL_S)
        self._check_going_on()

    def _end(self) -> State:
        """All rounds are in: the release gate decides."""
        self._check_going_on()
        try:
            made = self._office.release(self._trace)
        except Refused as refused:
            return self._finish(State.REFUSED, str(refused))
        state = self._finish(State.RELEASED, made.model, made.offer)
        if state is not State.RELEASED:
            made.discard()
        return state

    def _finish(
        self, state: State, detail: str, also: Callable[[Connection], None] | None = None
    ) -> State:
        """The last state, the letters about it and ``also``, together or not at all."""
        if self._state() is State.ABORTED:
            return State.ABORTED
        self._office.journal(Kind.RUN, {"run": self._run, "state": state.value})
        with self._office.database.write() as db:
            if Runs(db).require(self._run).state is State.ABORTED:
                return State.ABORTED
            if also is not None:
                also(db)
            end_run(db, self._run, state, detail, self._course.cohort, self._office.clock())
        self._office.emit("run", run=self._run, state=state.value, detail=detail)
        return state

    def _move(self, state: State) -> None:
        with self._office.database.write() as db:
            Runs(db).move(self._run, state, self._office.clock())
        self._office.emit("run", run=self._run, state=state.value, detail="")

    def _state(self) -> State:
        with self._office.database.read() as db:
            return Runs(db).require(self._run).state

    # ------------------------------------------------------------------- files

    def _log(self, number: int, attempt: int) -> Path:
        return self._office.folder / "stages" / f"{number:04d}.{attempt}.log"

    def _round_file(self, number: int) -> Path:
        return self._office.folder / "rounds" / f"{number:04d}.bin"


def _note(problem: object) -> str:
    """A sentence that fits into one entry of the log."""
    text = "".join(char if char.isprintable() else " " for char in str(problem))
    return text if len(text) <= 200 else text[:197] + "..."
