"""Faults on the link: connections that break, messages that come twice, late or not at all."""

from __future__ import annotations

import grpc
import pytest
from attack_coop import ADVERTISE, AGREE, AUDIT, MASK, SHARE, UNMASK, Coop
from attack_office import Lie

from coordinator.wire.sessions import Task
from node.federation import channel
from node.federation.link import Calls, remote_error
from protocols.errors import Code, RemoteError
from protocols.secagg.messages import Stage

ALL = {f"m{number}" for number in range(1, 8)}


def test_a_call_on_a_connection_that_another_thread_closed(coop: Coop) -> None:
    """It is an absent office like any other: the thread that keeps the letters must outlive it."""
    connection = channel.link_channel(coop.shops["m1"].folder)
    calls = Calls(connection)
    connection.close()
    for call in (
        lambda: list(calls.mail(0)),
        lambda: calls.submit("answer", "x", b"{}"),
        lambda: calls.fetch("rosters", "", "all"),
    ):
        with pytest.raises(RemoteError) as caught:
            call()
        assert caught.value.code is Code.UNAVAILABLE


def test_a_call_that_was_cut_off_is_tried_again() -> None:
    """Cancelled by our own side is no answer of the office: the letter must not count as sent."""

    class Cancelled(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.CANCELLED

        def details(self) -> str:
            return "Channel closed!"

    assert remote_error(Cancelled()).code is Code.UNAVAILABLE


def test_connections_that_break_in_every_stage(coop: Coop) -> None:
    """Two streams end just before each exchange: the members dial again and answer."""
    cut: list[tuple[int, Stage]] = []
    stages = [ADVERTISE, SHARE, MASK, AGREE, UNMASK, AUDIT]

    def watch(number: int, attempt: int, stage: Stage) -> None:
        if number > len(stages) or stage is not stages[number - 1] or (number, stage) in cut:
            return
        cut.append((number, stage))
        sessions = coop.office.server._sessions
        for name in ("m1", "m4"):
            sessions.end(coop.id(name), "cut")

    coop.malice.forget()
    coop.malice.watch = watch
    scenario = coop.launch(rounds=len(stages))
    assert scenario.ended() in ("released", "refused")
    assert {stage for _, stage in cut} == set(stages)
    assert scenario.rounds() == [ALL] * (len(stages) + 1)
    assert all(scenario.refusals(name) == [] for name in ALL)


def test_messages_that_come_twice_in_the_same_task(coop: Coop) -> None:
    """As after a broken connection: the answer comes from memory, nothing is done again."""

    def twice(member: object, task: Task) -> None:
        send(member, task)  # type: ignore[arg-type]
        with sessions._changed:
            session = sessions._live.get(member)  # type: ignore[call-overload]
        if session is not None:
            session.outbox.put(task)

    sessions = coop.office.server._sessions
    send = sessions.send
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "send", twice)
        scenario = coop.play()
    assert scenario.rounds() == [ALL] * 2
    assert all(scenario.refusals(name) == [] for name in ALL)


@pytest.mark.parametrize("stage", [AGREE, UNMASK, AUDIT])
def test_a_request_that_comes_again_gets_the_same_bytes(coop: Coop, stage: Stage) -> None:
    lie = Lie(stage, coop.ids(), lambda envelope, me: [envelope, envelope], round=1)
    scenario = coop.play(lie)
    for member in {one.member for one in lie.told}:
        first, again = [one.reply for one in lie.told if one.member == member]
        assert first is not None and first == again
    assert scenario.rounds() == [ALL] * 2


@pytest.mark.parametrize("stage", [MASK, AGREE, UNMASK, AUDIT])
def test_members_that_are_not_asked(coop: Coop, stage: Stage) -> None:
    """Two hear nothing of a stage: the others go on, and the two are back in the next round."""
    lie = Lie(stage, coop.ids(["m1", "m2"]), lambda envelope, me: None, round=1)
    scenario = coop.play(lie)
    assert scenario.ended() in ("released", "refused")
    assert scenario.rounds() == [ALL - {"m1", "m2"} if stage is MASK else ALL, ALL]


@pytest.mark.parametrize("stage", [MASK, AGREE, UNMASK, AUDIT])
def test_members_that_start_again_in_a_stage(coop: Coop, stage: Stage) -> None:
    """What they held of the round is gone, and they say so; a sum they still can check."""
    begun: list[Stage] = []

    def watch(number: int, attempt: int, found: Stage) -> None:
        if (number, found) == (1, stage) and not begun:
            begun.append(found)
            for name in ("m1", "m2"):
                coop.shops[name].restart()

    coop.malice.forget()
    coop.malice.watch = watch
    scenario = coop.launch()
    assert scenario.ended() in ("released", "refused") and begun
    assert scenario.rounds() == [ALL - {"m1", "m2"} if stage is MASK else ALL, ALL]
    for name in ("m1", "m2"):
        assert all("no part in the attempt" in one for one in scenario.refusals(name))


@pytest.mark.parametrize("stage", [MASK, AGREE, UNMASK, AUDIT])
def test_an_office_that_stops_and_starts_again(coop: Coop, stage: Stage) -> None:
    """Before U3 is known: a new attempt. After: the same one, finished from the log."""
    stopped: list[Stage] = []

    def watch(number: int, attempt: int, found: Stage) -> None:
        if (number, found) == (1, stage) and not stopped:
            stopped.append(found)
            coop.office.server.stop()

    coop.malice.forget()
    coop.malice.watch = watch
    scenario = coop.launch()
    coop.office.lines.wait(lambda one: one["event"] == "stopped", scenario.since)
    coop.office.stop()
    coop.office.start()
    assert scenario.ended() in ("released", "refused") and stopped
    assert scenario.rounds() == [ALL] * 2
    assert all(scenario.refusals(name) == [] for name in ALL)
