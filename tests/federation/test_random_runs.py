"""Random operation lists: the invariants hold whatever happens; two bad members stop nobody."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from coordinator.store.runs import State
from sim_checks import played
from sim_lies import CORRUPTIONS
from sim_operations import (
    EXCHANGES,
    PUBLISH,
    Abort,
    CoordinatorCrash,
    Corrupt,
    Delay,
    Drop,
    Operation,
    Resend,
    Restart,
    Stop,
)
from sim_papers import papers
from sim_world import World

ROUNDS = st.integers(1, 3)
STAGE = st.sampled_from(EXCHANGES)
ANYWHERE = st.sampled_from((*EXCHANGES, PUBLISH))
WHEN = st.sampled_from(["start", "middle", "end"])


def of_members(*names: str) -> st.SearchStrategy[Operation]:
    """What can happen to these members, and what they can do."""
    who = st.sampled_from(names)
    return st.one_of(
        st.builds(Drop, who, STAGE, ROUNDS, st.sampled_from(["before", "unsent", "after"])),
        st.builds(Restart, who, ROUNDS, STAGE),
        st.builds(Delay, who, STAGE, ROUNDS),
        st.builds(Resend, who, STAGE, ROUNDS),
        st.builds(Corrupt, who, STAGE, ROUNDS, st.sampled_from(sorted(CORRUPTIONS))),
    )


OF_THE_OFFICE: st.SearchStrategy[Operation] = st.one_of(
    st.builds(
        CoordinatorCrash, st.sampled_from((*EXCHANGES, PUBLISH)), ROUNDS, WHEN, st.booleans()
    ),
    st.builds(Stop, STAGE, ROUNDS),
)
ANYTHING: st.SearchStrategy[Operation] = st.one_of(
    of_members(*(f"m{n}" for n in range(1, 8))),
    of_members("m1", "m2", "m3"),
    OF_THE_OFFICE,
    st.builds(Abort, STAGE, ROUNDS),
)


def play(operations: list[Operation], rounds: int) -> State:
    with tempfile.TemporaryDirectory() as folder:
        return played(World(Path(folder), papers(rounds=rounds)), operations)


def whatever_happens(operations: list[Operation]) -> None:
    event(f"ended {play(operations, 2).value}")


def two_bad_members(bad: list[Operation], office: list[Operation]) -> None:
    """7 members tolerate 2, and 5 attempts tolerate 3 crashes; two rounds change the sum once."""
    state = play([*bad, *office], 1)
    assert state in (State.RELEASED, State.REFUSED)


quick = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
some = st.lists(ANYTHING, max_size=7)
bad_two = st.tuples(
    st.lists(of_members("m2", "m6"), max_size=5), st.lists(OF_THE_OFFICE, max_size=3)
)


@quick
@given(some)
def test_the_invariants_hold(operations: list[Operation]) -> None:
    whatever_happens(operations)


@quick
@given(bad_two)
def test_two_members_stop_nobody(case: tuple[list[Operation], list[Operation]]) -> None:
    two_bad_members(*case)


@pytest.mark.soak
@many
@given(some)
def test_the_invariants_hold_soak(operations: list[Operation]) -> None:
    whatever_happens(operations)


@pytest.mark.soak
@many
@given(bad_two)
def test_two_members_stop_nobody_soak(case: tuple[list[Operation], list[Operation]]) -> None:
    two_bad_members(*case)
