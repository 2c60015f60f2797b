"""Every transition of both machines, every illegal one, repeats, and what is forgotten."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

import numpy as np
import pytest
from secagg_world import STAGES, World, play

from protocols.errors import CoopError, InputError, LocalError, RemoteError
from protocols.secagg import (
    Aggregator,
    Member,
    MemberState,
    OfficeState,
    RoundResult,
    Stage,
)
from protocols.secagg._phases import Training
from protocols.secagg._state import (
    MEMBER,
    OFFICE,
    MemberEvent,
    OfficeEvent,
    member_next,
    office_next,
)
from protocols.secagg.messages import AgreeRequest, Reply, Request, UnmaskRequest

M, ME, OS, OE = MemberState, MemberEvent, OfficeState, OfficeEvent
REQUEST_EVENTS = (ME.ADVERTISE, ME.SHARE, ME.MASK, ME.AGREE, ME.UNMASK)


def all_requests(world: World) -> tuple[dict[MemberEvent, Request], bytes]:
    """The five honest requests that one member sees in a whole round with this entropy."""
    one = world.ids[0]
    seen: dict[MemberEvent, Request] = {}

    def keep(stage: Stage, to: bytes, message: object) -> object:
        if to == one:
            seen[REQUEST_EVENTS[stage]] = message  # type: ignore[assignment]
        return message

    play(world, world.members(), world.aggregator(), down=keep)
    for ledger in world.ledgers.values():
        ledger.spent.clear()
    return seen, one


def member_in(state: MemberState, world: World, requests: Mapping[MemberEvent, Request]) -> Member:
    """A fresh machine with the same entropy, walked along the honest requests to ``state``."""
    one = world.ids[0]
    world.ledgers[one].spent.clear()
    member = world.member(one)
    if state is M.ABORTED:
        with pytest.raises(RemoteError):
            member.step(requests[ME.SHARE])
        return member
    if state is M.CLOSED:
        member.close()
        return member
    order = [M.START, M.ADVERTISED, M.SHARED, M.TRAINING, M.MASKED, M.AGREED, M.DONE]
    for reached in order[1 : order.index(state) + 1]:
        if reached is M.MASKED:
            member.mask(world.update(one), 1)
        else:
            event = {
                M.ADVERTISED: ME.ADVERTISE,
                M.SHARED: ME.SHARE,
                M.TRAINING: ME.MASK,
                M.AGREED: ME.AGREE,
                M.DONE: ME.UNMASK,
            }[reached]
            member.step(requests[event])
    assert member.state is state
    return member


def early_member() -> tuple[Member, Request]:
    """A member whose keys for this round went out in the one before, and its first request."""
    world = World(n=5, seed="early")
    members, office = world.members(), world.aggregator(carry=True)
    result = play(world, members, office)
    assert isinstance(result, RoundResult)
    world.go_on(result)
    one = world.ids[0]
    second = world.aggregator(carried=result.carried)
    assert not second.open() and second.can_close()
    return world.member(one, carried=members[one].carried), second.close_stage()[one]


WORLD = World(n=5, seed="states")
REQUESTS, ME_ID = all_requests(WORLD)


@pytest.mark.parametrize(("state", "event"), list(MEMBER), ids=str)
def test_every_transition_of_a_member(state: MemberState, event: MemberEvent) -> None:
    if event is ME.EARLY:
        member, request = early_member()
        member.step(request)
        assert member.state is MEMBER[state, event]
        return
    member = member_in(state, WORLD, REQUESTS)
    if event in REQUEST_EVENTS:
        member.step(REQUESTS[event])
    elif event is ME.INPUT:
        member.mask(WORLD.update(ME_ID), 1)
    elif event is ME.REPEAT:
        member.step(REQUESTS[ME.AGREE])
    elif event is ME.CLOSE:
        member.close()
    elif state in (M.ABORTED, M.CLOSED):
        with pytest.raises(RemoteError, match="over"):
            member.step(REQUESTS[ME.ADVERTISE])
    else:  # FAIL: any request at the wrong time
        wrong = REQUESTS[ME.SHARE if state is not M.ADVERTISED else ME.MASK]
        with pytest.raises(RemoteError):
            member.step(wrong)
    assert member.state is MEMBER[state, event]


@pytest.mark.parametrize("event", REQUEST_EVENTS)
@pytest.mark.parametrize("state", list(MemberState))
def test_35_a_request_out_of_order_ends_the_round(state: MemberState, event: MemberEvent) -> None:
    """All pairs of state and request: the legal one goes on, a repeat repeats, the rest abort."""
    member = member_in(state, WORLD, REQUESTS)
    repeated = {
        M.AGREED: {ME.AGREE},
        M.DONE: {ME.AGREE, ME.UNMASK},
    }.get(state, set())
    if (state, event) in MEMBER:
        member.step(REQUESTS[event])
        return
    if event in repeated:
        assert member.step(REQUESTS[event]) is not None
        assert member.state is state
        return
    with pytest.raises(RemoteError):
        member.step(REQUESTS[event])
    assert member.state is (M.CLOSED if state is M.CLOSED else M.ABORTED)
    assert member._phase is None and not member._answers


@pytest.mark.parametrize("state", [s for s in MemberState if (s, ME.INPUT) not in MEMBER])
def test_masking_at_the_wrong_time_changes_nothing(state: MemberState) -> None:
    member = member_in(state, WORLD, REQUESTS)
    with pytest.raises(LocalError, match="cannot take"):
        member.mask(WORLD.update(ME_ID), 1)
    assert member.state is state


def test_an_unusable_update_changes_nothing() -> None:
    member = member_in(M.TRAINING, WORLD, REQUESTS)
    with pytest.raises(InputError, match="clip"):
        member.mask(WORLD.update(ME_ID) + np.float32(5), 1)
    assert member.state is M.TRAINING
    member.mask(WORLD.update(ME_ID), 1)


def test_repeats_of_stages_3_and_4_get_the_identical_reply() -> None:
    member = member_in(M.MASKED, WORLD, REQUESTS)
    agreed = member.step(REQUESTS[ME.AGREE])
    assert member.step(REQUESTS[ME.AGREE]) == agreed
    opened = member.step(REQUESTS[ME.UNMASK])
    assert member.step(REQUESTS[ME.UNMASK]) == opened
    assert member.step(REQUESTS[ME.AGREE]) == agreed
    assert member._phase is None
    member.close()
    with pytest.raises(RemoteError, match="over"):
        member.step(REQUESTS[ME.UNMASK])
    assert not member._answers


@pytest.mark.parametrize("event", [ME.AGREE, ME.UNMASK])
def test_a_second_different_request_ends_the_round(event: MemberEvent) -> None:
    member = member_in(M.DONE, WORLD, REQUESTS)
    given = REQUESTS[event]
    other = (
        AgreeRequest(b"\x0f", bytes(32))
        if isinstance(given, AgreeRequest)
        else UnmaskRequest(given.certificate[:-1])  # type: ignore[union-attr]
    )
    with pytest.raises(RemoteError):
        member.step(other)
    assert member.state is M.ABORTED and not member._answers


def test_secrets_are_dropped_as_soon_as_they_are_not_needed() -> None:
    member = member_in(M.ADVERTISED, WORLD, REQUESTS)
    draws = WORLD.entropies[ME_ID].draws
    channel, seed, own = draws[:3]

    def held() -> set[bytes]:
        found: set[bytes] = set()
        phase = member._phase
        for name in getattr(type(phase), "__slots__", ()):
            value = getattr(phase, name)
            if isinstance(value, bytes):
                found.add(value)
        return found

    assert {channel, seed, own} <= held()
    member.step(REQUESTS[ME.SHARE])
    assert channel not in held() and {seed, own} <= held()
    member.step(REQUESTS[ME.MASK])
    assert not hasattr(member._phase, "channels")
    member.mask(WORLD.update(ME_ID), 1)
    assert not {channel, seed, own} & held()


def test_42_nothing_secret_is_printed() -> None:
    for state in MemberState:
        member = member_in(state, WORLD, REQUESTS)
        draws = WORLD.entropies[ME_ID].draws
        secrets = [WORLD.keys[ME_ID].seed, *draws[:3], *draws[4:]]  # the fourth is the public nonce
        text = repr(member) + repr(member._phase) + repr(member._party) + repr(vars(member))
        try:
            member.step(REQUESTS[ME.ADVERTISE])
            member.step(REQUESTS[ME.ADVERTISE])
        except CoopError as error:
            text += "".join(traceback.format_exception(error)) + repr(error)
        for secret in secrets:
            if len(secret) >= 16:
                assert secret.hex() not in text and repr(secret)[2:-1] not in text
    phase = member_in(M.TRAINING, WORLD, REQUESTS)._phase
    assert isinstance(phase, Training)
    assert all(repr(share)[2:-1] not in repr(phase) for share in phase.shares.values())


# ---------------------------------------------------------------- the coordinator


def office_in(state: OfficeState) -> tuple[Aggregator, dict[bytes, Reply]]:
    """A machine in ``state`` and the answers that would come next."""
    world = World(n=5, seed="states")
    office, members = world.aggregator(), world.members()
    if state is OS.START:
        return office, {}
    out = office.open()
    if state is OS.ABORTED:
        office.abort()
        return office, {}
    for _ in STAGES:
        replies: dict[bytes, Reply] = {}
        for one, request in out.items():
            replies[one] = members[one].step(request) or members[one].mask(world.update(one), 1)
        if office.state is state:
            return office, replies
        for one, reply in replies.items():
            office.receive(one, reply)
        out = office.close_stage()
    assert office.state is state is OS.FINISHED
    return office, {}


@pytest.mark.parametrize(("state", "event"), list(OFFICE), ids=str)
def test_every_transition_of_the_coordinator(state: OfficeState, event: OfficeEvent) -> None:
    office, replies = office_in(state)
    if event is OE.OPEN:
        office.open()
    elif event is OE.FAIL:
        office.abort()
    elif event is OE.RECEIVE:
        one, reply = next(iter(replies.items()))
        office.receive(one, reply)
        assert one not in office.waiting_for
    else:
        assert not office.enough()
        for one, reply in replies.items():
            office.receive(one, reply)
        assert office.can_close() and office.enough()
        office.close_stage()
    assert office.state is OFFICE[state, event]


@pytest.mark.parametrize("event", list(OfficeEvent))
@pytest.mark.parametrize("state", list(OfficeState))
def test_an_illegal_call_leaves_the_coordinator_as_it_is(
    state: OfficeState, event: OfficeEvent
) -> None:
    if (state, event) in OFFICE:
        return
    office, _ = office_in(state)
    _, replies = office_in(OS.ADVERTISE)
    call = {
        OE.OPEN: office.open,
        OE.FAIL: office.abort,
        OE.RECEIVE: lambda: office.receive(*next(iter(replies.items()))),
        OE.CLOSE_STAGE: office.close_stage,
    }[event]
    before = (office.waiting_for, office.blamed)
    with pytest.raises(LocalError):
        call()
    assert office.state is state
    assert (office.waiting_for, office.blamed) == before


@pytest.mark.parametrize("late", list(STAGES))
@pytest.mark.parametrize("state", [OS.ADVERTISE, OS.SHARE, OS.MASK, OS.AGREE, OS.UNMASK])
def test_35_an_answer_of_another_stage_has_no_effect(state: OfficeState, late: Stage) -> None:
    states = (OS.ADVERTISE, OS.SHARE, OS.MASK, OS.AGREE, OS.UNMASK)
    if states[late] is state:
        return
    office, _ = office_in(state)
    _, replies = office_in(states[late])
    before = (office._total.copy(), office.waiting_for)
    for one, reply in replies.items():
        with pytest.raises(RemoteError, match="not asked"):
            office.receive(one, reply)
    assert (office._total == before[0]).all() and office.waiting_for == before[1]
    assert not office.blamed


def test_the_same_answer_twice_counts_once_and_another_is_blamed() -> None:
    for state in (OS.ADVERTISE, OS.SHARE, OS.MASK, OS.AGREE, OS.UNMASK):
        office, replies = office_in(state)
        (one, reply), (_, foreign) = list(replies.items())[:2]
        office.receive(one, reply)
        total = office._total.copy()
        office.receive(one, reply)
        assert (office._total == total).all()
        if foreign != reply:
            with pytest.raises(RemoteError, match="two different answers"):
                office.receive(one, foreign)
            assert [blame.member for blame in office.blamed] == [one]


def test_a_stranger_has_no_effect() -> None:
    office, replies = office_in(OS.ADVERTISE)
    with pytest.raises(RemoteError, match="not asked"):
        office.receive(bytes(32), next(iter(replies.values())))
    assert len(office.waiting_for) == 5


def test_tables_refuse_what_they_do_not_hold() -> None:
    with pytest.raises(LocalError):
        member_next(M.START, ME.UNMASK)
    with pytest.raises(LocalError):
        office_next(OS.FINISHED, OE.OPEN)


def test_a_failing_entropy_source_ends_the_round() -> None:
    member = WORLD.member(ME_ID, entropy=lambda count: bytes(count - 1))
    with pytest.raises(LocalError, match="entropy"):
        member.step(REQUESTS[ME.ADVERTISE])
    assert member.state is M.ABORTED
