"""Live sessions: delivery, redelivery after a reconnect, and every way a task ends."""

from __future__ import annotations

import threading
from queue import Empty

import pytest

from coordinator.wire.sessions import Close, MailNotice, Outbound, Session, Sessions, Task
from protocols.ids import MemberId

A, B = MemberId("aa" * 32), MemberId("bb" * 32)


class Clock:
    """Seconds that pass only when a test says so, or a little at every look."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


def drain(session: Session) -> list[Outbound]:
    out = []
    while True:
        try:
            out.append(session.outbox.get_nowait())
        except Empty:
            return out


def test_tasks_reach_their_member_and_answers_come_back() -> None:
    sessions = Sessions(Clock())
    a, b = sessions.open(A), sessions.open(B)
    sessions.send(A, Task("1", b"to a"))
    sessions.send(B, Task("2", b"to b"))
    assert drain(a) == [Task("1", b"to a")] and drain(b) == [Task("2", b"to b")]
    sessions.reply(B, "2", b"from b")
    sessions.reply(A, "1", b"from a")
    got = {x.member: x.body for x in sessions.collect(["1", "2"], timeout_s=9, gone_after_s=1)}
    assert got == {A: b"from a", B: b"from b"}


def test_a_foreign_or_second_answer_is_dropped() -> None:
    sessions = Sessions(Clock())
    sessions.open(A)
    sessions.send(A, Task("1", b"q"))
    sessions.reply(B, "1", b"forged")
    sessions.reply(A, "1", b"first")
    sessions.reply(A, "1", b"second")
    assert [x.body for x in sessions.collect(["1"], 9, 1)] == [b"first"]


def test_an_unanswered_task_is_delivered_again_on_a_new_connection() -> None:
    sessions = Sessions(Clock())
    first = sessions.open(A)
    sessions.send(A, Task("1", b"q"))
    assert drain(first) == [Task("1", b"q")]
    sessions.close(first)
    second = sessions.open(A)
    assert drain(second) == [Task("1", b"q")]


def test_a_newer_connection_closes_the_older_and_stays() -> None:
    sessions = Sessions(Clock())
    first = sessions.open(A)
    second = sessions.open(A)
    assert isinstance(drain(first)[-1], Close)
    sessions.close(first)
    assert sessions.connected() == {A}
    assert drain(second) == []


def test_a_member_that_is_away_ends_its_task_after_the_grace() -> None:
    sessions = Sessions(Clock(step_s=0.2))
    session = sessions.open(A)
    sessions.send(A, Task("1", b"q"))
    sessions.close(session)
    (answer,) = sessions.collect(["1"], timeout_s=100, gone_after_s=1)
    assert answer.body is None and answer.problem == "not connected"


def test_time_and_refusal_and_stop_end_a_task_with_their_reason() -> None:
    sessions = Sessions(Clock(step_s=0.3))
    sessions.open(A)
    sessions.send(A, Task("1", b"q"))
    assert [x.problem for x in sessions.collect(["1"], 1, 1)] == ["no answer in time"]
    sessions.send(A, Task("2", b"q"))
    sessions.fail(A, "2", "this member does not go on")
    assert [x.problem for x in sessions.collect(["2"], 1, 1)] == ["this member does not go on"]
    sessions.send(A, Task("3", b"q"))
    sessions.stop()
    assert [x.problem for x in sessions.collect(["3"], 1, 1)] == ["the coordinator is stopping"]


def test_ready_keeps_what_is_still_out() -> None:
    sessions = Sessions(Clock())
    sessions.open(A)
    sessions.send(A, Task("1", b"q"))
    assert sessions.ready(["1"]) == []
    sessions.reply(A, "1", b"r")
    assert [x.body for x in sessions.ready(["1"])] == [b"r"]
    assert sessions.ready(["1"]) == []


def test_waiting_for_members_ends_when_they_are_there() -> None:
    sessions = Sessions(Clock(step_s=0.001))
    opener = threading.Timer(0.05, lambda: sessions.open(B))
    sessions.open(A)
    opener.start()
    assert sessions.wait_for([A, B], timeout_s=60) == {A, B}


def test_mail_notices_reach_only_the_connected() -> None:
    sessions = Sessions(Clock())
    session = sessions.open(A)
    sessions.notice(A, 7)
    sessions.notice(B, 8)
    assert drain(session) == [MailNotice(7)]


@pytest.mark.parametrize("timeout_s", [0.0, 0.5])
def test_waiting_for_the_absent_ends_in_time(timeout_s: float) -> None:
    sessions = Sessions(Clock(step_s=0.1))
    assert sessions.wait_for([A], timeout_s) == frozenset()
