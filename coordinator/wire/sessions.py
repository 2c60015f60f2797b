"""Who is connected, and which round-stage tasks are out.

One object between the gRPC threads (which open and close sessions and bring replies) and the
run's thread (which sends tasks and waits). A task is delivered again when its member comes back
on a new connection; the node answers a repeated task id from its own memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue

from protocols.ids import MemberId


@dataclass(frozen=True, slots=True)
class Task:
    """One request of a round stage to one member."""

    task_id: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MailNotice:
    """Something new lies in the member's mailbox."""

    seq: int


@dataclass(frozen=True, slots=True)
class Close:
    """End of the session, with the reason for the member."""

    reason: str


Outbound = Task | MailNotice | Close


@dataclass(slots=True, eq=False)
class Session:
    """One live stream of one member; frames for it wait in ``outbox``."""

    member: MemberId
    outbox: SimpleQueue[Outbound]
    number: int = 0  # counts the sessions of this process


@dataclass(slots=True)
class _Pending:
    member: MemberId
    task: Task
    reply: bytes | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one task: a body, or why there is none."""

    task_id: str
    member: MemberId
    body: bytes | None = field(repr=False)
    problem: str = ""


class Sessions:
    """All live sessions. Every method may be called from any thread.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._live: dict[MemberId, Session] = {}
        self._left_at: dict[MemberId, float] = {}
        self._pending: dict[str, _Pending] = {}
        self._stopped = False
        self._opened = 0

    def open(self, member: MemberId) -> Session:
        """Register a stream; an earlier one of the same member is closed."""
        with self._changed:
            self._opened += 1
            session = Session(member, SimpleQueue(), self._opened)
            earlier = self._live.get(member)
            if earlier is not None:
                earlier.outbox.put(Close("a newer connection of this member took over"))
            if self._stopped:
                session.outbox.put(Close("the coordinator is stopping"))
            self._live[member] = session
            self._left_at.pop(member, None)
            for pending in self._pending.values():
                if pending.member == member and pending.reply is None and not pending.problem:
                    session.outbox.put(pending.task)
            self._changed.notify_all()
        return session

    def close(self, session: Session) -> None:
        """The stream ended."""
        with self._changed:
            if self._live.get(session.member) is session:
                del self._live[session.member]
                self._left_at[session.member] = self._clock()
                self._changed.notify_all()
        session.outbox.put(Close("closed"))

    def end(self, member: MemberId, reason: str) -> None:
        """Close the member's stream, if there is one."""
        with self._changed:
            session = self._live.get(member)
        if session is not None:
            session.outbox.put(Close(reason))

    def connected(self) -> frozenset[MemberId]:
        """Members with a live stream now."""
        with self._changed:
            return frozenset(self._live)

    def connections(self) -> Mapping[MemberId, int]:
        """Members with a live stream, and a number that changes with each new stream."""
        with self._changed:
            return {member: session.number for member, session in self._live.items()}

    def wait_for(self, members: Collection[MemberId], timeout_s: float) -> frozenset[MemberId]:
        """Wait until all of ``members`` are connected or the time is over; those who are."""
        deadline = self._clock() + timeout_s
        with self._changed:
            while not self._stopped:
                here = frozenset(m for m in members if m in self._live)
                left = deadline - self._clock()
                if len(here) == len(members) or left <= 0:
                    return here
                self._changed.wait(min(left, 0.5))
        return frozenset()

    def notice(self, member: MemberId, seq: int) -> None:
        """Tell a connected member that mail lies ready."""
        with self._changed:
            session = self._live.get(member)
        if session is not None:
            session.outbox.put(MailNotice(seq))

    def send(self, member: MemberId, task: Task) -> None:
        """Send a task now, or as soon as the member is back."""
        with self._changed:
            self._pending[task.task_id] = _Pending(member, task)
            session = self._live.get(member)
            if session is None:
                self._left_at.setdefault(member, self._clock())
            else:
                session.outbox.put(task)

    def reply(self, member: MemberId, task_id: str, body: bytes) -> None:
        """A member answered; unknown, foreign and repeated answers are dropped."""
        with self._changed:
            pending = self._pending.get(task_id)
            if pending is None or pending.member != member or pending.reply is not None:
                return
            pending.reply = body
            self._changed.notify_all()

    def fail(self, member: MemberId, task_id: str, problem: str) -> None:
        """A member said that it will not or cannot answer."""
        with self._changed:
            pending = self._pending.get(task_id)
            if pending is not None and pending.member == member and pending.reply is None:
                pending.problem = problem
                self._changed.notify_all()

    def collect(
        self, task_ids: Collection[str], timeout_s: float, gone_after_s: float
    ) -> Iterator[Answer]:
        """Answers as they come, each task once.

        A task ends without a body when its time is over, when its member said no, or when its
        member has been away for ``gone_after_s``. An answer that was handed out is held no longer.
        """
        deadline = self._clock() + timeout_s
        waiting = set(task_ids)
        try:
            while waiting:
                found = self._ready(waiting, deadline, gone_after_s)
                while found:
                    answer = found.pop()
                    waiting.discard(answer.task_id)
                    with self._changed:
                        self._pending.pop(answer.task_id, None)
                    yield answer
        finally:
            with self._changed:
                for task_id in task_ids:
                    self._pending.pop(task_id, None)

    def _ready(self, waiting: set[str], deadline: float, gone_after_s: float) -> list[Answer]:
        with self._changed:
            while True:
                now = self._clock()
                out: list[Answer] = []
                wake = deadline
                for task_id in waiting:
                    answer, due = self._state(task_id, now, deadline, gone_after_s)
                    if answer is not None:
                        out.append(answer)
                    wake = min(wake, due)
                if out:
                    return out
                self._changed.wait(max(0.0, min(wake - now, 0.5)))

    def _state(
        self, task_id: str, now: float, deadline: float, gone_after_s: float
    ) -> tuple[Answer | None, float]:
        pending = self._pending.get(task_id)
        if pending is None:
            return Answer(task_id, MemberId(""), None, "unknown task"), now
        member = pending.member
        if pending.reply is not None:
            return Answer(task_id, member, pending.reply), now
        due = deadline
        if member not in self._live:
            due = min(deadline, self._left_at.get(member, now) + gone_after_s)
        problem = pending.problem
        if not problem and self._stopped:
            problem = "the coordinator is stopping"
        if not problem and now >= due:
            problem = "no answer in time" if now >= deadline else "not connected"
        return (Answer(task_id, member, None, problem) if problem else None), due

    def ready(self, task_ids: Collection[str]) -> list[Answer]:
        """Answers that are there now; the other tasks stay out."""
        with self._changed:
            out = [
                Answer(task_id, pending.member, pending.reply, pending.problem)
                for task_id in task_ids
                if (pending := self._pending.get(task_id)) is not None
                and (pending.reply is not None or pending.problem)
            ]
            for answer in out:
                del self._pending[answer.task_id]
        return out

    def stop(self) -> None:
        """Close every stream and end every wait."""
        with self._changed:
            self._stopped = True
            for session in self._live.values():
                session.outbox.put(Close("the coordinator is stopping"))
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopped
