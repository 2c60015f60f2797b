"""Runs, what each member answered, and the sums that were published.

All transitions of a run stand in ``NEXT``; a step that is not there is refused and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from coordinator.store.schema import run_members, runs, sums
from protocols.errors import Code, LocalError
from protocols.ids import MemberId, OrderId, RunId


class State(StrEnum):
    """Where a run stands."""

    AWAITING = "awaiting"  # a second person's approval; the order lies in no mailbox
    LAUNCHED = "launched"  # the order lies in the mailboxes
    GATHERING = "gathering"  # waiting for the members' answers, or for them to come back
    RUNNING = "running"
    EVALUATING = "evaluating"
    RELEASED = "released"
    REFUSED = "refused"  # the release gate said no
    FAILED = "failed"
    ABORTED = "aborted"  # by the operator
    FINISHED = "finished"  # ended as ordered, without a release


_STOP = (State.FAILED, State.ABORTED)
NEXT: Mapping[State, tuple[State, ...]] = {
    State.AWAITING: (State.LAUNCHED, *_STOP),
    State.LAUNCHED: (State.GATHERING, *_STOP),
    State.GATHERING: (State.RUNNING, State.EVALUATING, *_STOP),
    State.RUNNING: (State.GATHERING, State.EVALUATING, State.FINISHED, *_STOP),
    State.EVALUATING: (
        State.GATHERING,
        State.RELEASED,
        State.REFUSED,
        State.FINISHED,
        *_STOP,
    ),
    State.RELEASED: (),
    State.REFUSED: (),
    State.FAILED: (),
    State.ABORTED: (),
    State.FINISHED: (),
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run got: round (from 1; 0 before the first), attempt, stage, a sentence."""

    round: int = 0
    attempt: int = 0
    stage: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run."""

    run: RunId
    order_id: OrderId
    state: State
    progress: Progress
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    launched_by: str | None = None  # a person of the office; None: whoever has the account
    approved_by: str | None = None

    @property
    def over(self) -> bool:
        """Nothing follows any more."""
        return not NEXT[self.state]


class Runs:
    """All runs. ``order_id`` must already lie in the documents."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self,
        run: RunId,
        order: OrderId,
        now: datetime,
        *,
        state: State = State.LAUNCHED,
        by: str | None = None,
    ) -> Run:
        """A new run in state ``launched``, or ``awaiting`` approval."""
        self._connection.execute(
            insert(runs).values(
                run=run,
                order_id=order,
                state=state.value,
                round=0,
                attempt=0,
                stage="",
                detail="",
                created_at=now,
                launched_by=by,
            )
        )
        return self.require(run)

    def approve(self, run: RunId, now: datetime, by: str | None) -> Run:
        """A second person has approved it: from ``awaiting`` to ``launched``."""
        moved = self.move(run, State.LAUNCHED, now)
        self._connection.execute(update(runs).where(runs.c.run == run).values(approved_by=by))
        return replace(moved, approved_by=by)

    def get(self, run: RunId) -> Run | None:
        """One run, or None."""
        row = self._connection.execute(select(runs).where(runs.c.run == run)).first()
        return None if row is None else _run(row)

    def require(self, run: RunId) -> Run:
        """One run; LocalError if there is none."""
        found = self.get(run)
        if found is None:
            raise LocalError(
                f"there is no run {run}.",
                code=Code.NOT_FOUND,
                fix="'coop-coordinator run status' lists them.",
            )
        return found

    def list(self, *, open_only: bool = False) -> tuple[Run, ...]:
        """All runs, or those that are not over, oldest first."""
        query = select(runs).order_by(runs.c.created_at, runs.c.run)
        found = tuple(_run(row) for row in self._connection.execute(query))
        return tuple(run for run in found if not run.over) if open_only else found

    def move(self, run: RunId, state: State, now: datetime, detail: str = "") -> Run:
        """Take one step of ``NEXT``; LocalError, and nothing changed, for any other."""
        old = self.require(run)
        if state not in NEXT[old.state]:
            raise LocalError(
                f"run {run} is {old.state.value}; it cannot become {state.value}.",
                code=Code.PROTOCOL,
            )
        started = now if state is State.RUNNING and old.started_at is None else old.started_at
        self._connection.execute(
            update(runs)
            .where(runs.c.run == run)
            .values(
                state=state.value,
                detail=detail,
                started_at=started,
                ended_at=None if NEXT[state] else now,
            )
        )
        return self.require(run)

    def advance(self, run: RunId, progress: Progress) -> None:
        """Write down how far a run that is not over got; never back to an earlier round."""
        old = self.require(run)
        before, after = old.progress, progress
        if old.over or (after.round, after.attempt) < (before.round, before.attempt):
            raise LocalError(
                f"run {run} ({old.state.value}) stands at round {before.round}, attempt "
                f"{before.attempt}; it cannot go to round {after.round}, attempt {after.attempt}.",
                code=Code.PROTOCOL,
            )
        self._connection.execute(
            update(runs)
            .where(runs.c.run == run)
            .values(
                round=progress.round,
                attempt=progress.attempt,
                stage=progress.stage,
                detail=progress.detail,
            )
        )


def _run(row: Row[tuple[object, ...]]) -> Run:
    return Run(
        run=RunId(row.run),
        order_id=OrderId(row.order_id),
        state=State(row.state),
        progress=Progress(row.round, row.attempt, row.stage, row.detail),
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        launched_by=row.launched_by,
        approved_by=row.approved_by,
    )


class Answer(StrEnum):
    """What a member's gate said about an order."""

    PENDING = "pending"
    ADMITTED = "admitted"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class RunMember:
    """One member's answer; ``reasons`` are its sentences, clause by clause."""

    run: RunId
    member: MemberId
    answer: Answer
    reasons: tuple[str, ...]
    at: datetime


class RunMembers:
    """Who is asked to take part in which run, and what came back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, answer: RunMember) -> None:
        """Insert or replace the answer of one member."""
        values = {
            "answer": answer.answer.value,
            "reasons": json.dumps(list(answer.reasons)),
            "at": answer.at,
        }
        new = upsert(run_members).values(run=answer.run, member=answer.member, **values)
        self._connection.execute(
            new.on_conflict_do_update(
                index_elements=[run_members.c.run, run_members.c.member], set_=values
            )
        )

    def of(self, run: RunId) -> tuple[RunMember, ...]:
        """All of one run, sorted by member."""
        query = select(run_members).where(run_members.c.run == run).order_by(run_members.c.member)
        return tuple(_answer(row) for row in self._connection.execute(query))

    def last(self) -> Mapping[MemberId, RunMember]:
        """The newest yes or no of each member, whatever the run."""
        given = (Answer.ADMITTED.value, Answer.REFUSED.value)
        query = (
            select(run_members)
            .where(run_members.c.answer.in_(given))
            .order_by(run_members.c.at, run_members.c.run)
        )
        rows = (_answer(row) for row in self._connection.execute(query))
        return {one.member: one for one in rows}


def _answer(row: Row[tuple[object, ...]]) -> RunMember:
    return RunMember(
        RunId(row.run),
        MemberId(row.member),
        Answer(row.answer),
        tuple(json.loads(row.reasons)),
        row.at,
    )


@dataclass(frozen=True, slots=True)
class PublishedSum:
    """Where the published sum of one round lies. ``survivors`` is |U3|."""

    run: RunId
    round: int
    attempt: int
    survivors: int
    sha256: str  # of the file, 64 hex digits
    file: str  # below the coordinator's home
    published_at: datetime


class Sums:
    """The index of published sums: one per round, ever."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, one: PublishedSum) -> bool:
        """Insert; False if the same sum is there. LocalError for a second sum of one round."""
        known = self.get(one.run, one.round)
        if known is not None:
            if (known.attempt, known.sha256) != (one.attempt, one.sha256):
                raise LocalError(
                    f"round {one.round} of run {one.run} has a published sum already; a second "
                    "one would let two sums be compared.",
                    code=Code.PROTOCOL,
                )
            return False
        self._connection.execute(
            insert(sums).values(
                run=one.run,
                round=one.round,
                attempt=one.attempt,
                survivors=one.survivors,
                sha256=one.sha256,
                file=one.file,
                published_at=one.published_at,
            )
        )
        return True

    def get(self, run: RunId, number: int) -> PublishedSum | None:
        """The sum of one round, or None."""
        query = select(sums).where(sums.c.run == run, sums.c.round == number)
        row = self._connection.execute(query).first()
        return None if row is None else _sum(row)

    def of(self, run: RunId) -> tuple[PublishedSum, ...]:
        """All sums of a run, by round."""
        query = select(sums).where(sums.c.run == run).order_by(sums.c.round)
        return tuple(_sum(row) for row in self._connection.execute(query))


def _sum(row: Row[tuple[object, ...]]) -> PublishedSum:
    return PublishedSum(
        run=RunId(row.run),
        round=row.round,
        attempt=row.attempt,
        survivors=row.survivors,
        sha256=row.sha256,
        file=row.file,
        published_at=row.published_at,
    )
