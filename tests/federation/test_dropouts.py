"""Members that vanish at every point of a round, and come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.store.runs import State
from protocols.retrace import read_record
from protocols.secagg.messages import Stage
from sim_checks import played
from sim_operations import (
    ADVERTISE,
    AGREE,
    AUDIT,
    MASK,
    SHARE,
    STAGES,
    UNMASK,
    Delay,
    Drop,
    Resend,
    Restart,
)
from sim_papers import papers
from sim_world import World


def survivors(world: World, number: int) -> set[str]:
    """Names of the members in the published sum of a round."""
    return {world.papers.name_of(one) for one in world.trace.survivors[number - 1]}


def attempts(world: World) -> list[int]:
    return [read_record(raw, "record").published.attempt for raw in world.home.records()]


EVERYBODY = {f"m{n}" for n in range(1, 8)}


@pytest.mark.parametrize("when", ["before", "unsent", "after"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_node_is_killed_and_back_in_the_next_round(
    stage: Stage, when: str, tmp_path: Path
) -> None:
    world = World(tmp_path, papers(rounds=1))
    state = played(world, [Drop("m3", stage, when=when), Restart("m3", round=2)])  # type: ignore[arg-type]
    sent = stage > MASK or (stage is MASK and when == "after")
    assert survivors(world, 1) == (EVERYBODY if sent else EVERYBODY - {"m3"})
    assert survivors(world, 2) == EVERYBODY
    assert attempts(world) == [0, 0]
    assert state in (State.RELEASED, State.REFUSED)
    assert world.nodes["m3"].refusals() == []


@pytest.mark.parametrize("back", [SHARE, MASK, AGREE, UNMASK])
def test_a_node_that_started_again_does_not_go_on_in_the_middle(
    back: Stage, tmp_path: Path
) -> None:
    """Round secrets are on no disk: it refuses what comes, and takes part in the next round."""
    world = World(tmp_path, papers(rounds=1))
    gone = Stage(back - 1)
    state = played(world, [Drop("m3", gone, when="after"), Restart("m3", stage=back)])
    assert state in (State.RELEASED, State.REFUSED)
    (reason,) = world.nodes["m3"].refusals()
    assert "started or refused after it began" in reason
    assert ("m3" in survivors(world, 1)) is (back > MASK)
    assert survivors(world, 2) == EVERYBODY


def test_two_are_gone_for_good_and_the_rest_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, papers())
    state = played(world, [Drop("m1", SHARE), Drop("m6", MASK, when="after", round=2)])
    assert state in (State.RELEASED, State.REFUSED)
    assert [len(one) for one in world.trace.survivors] == [6, 6, 5]


@pytest.mark.parametrize("when", ["before", "unsent", "after"])
def test_auditors_that_vanish_have_stand_ins(when: str, tmp_path: Path) -> None:
    """Three of seven confirm a sum: whoever is asked and goes, another one takes its turn."""
    world = World(tmp_path, papers(rounds=1))
    four = ("m1", "m2", "m3", "m4")
    gone = [Drop(name, AUDIT, when=when) for name in four]  # type: ignore[arg-type]
    back = [Restart(name, round=2) for name in four]
    assert played(world, [*gone, *back]) is not State.FAILED
    assert attempts(world) == [0, 0]
    assert survivors(world, 1) == survivors(world, 2) == EVERYBODY
    asked = {one.member for one in world.said if (one.round, one.stage) == (1, AUDIT)}
    assert len(asked) >= 3


def test_nothing_is_published_that_too_few_confirmed(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    gone = [Drop(f"m{number}", AUDIT) for number in range(1, 6)]
    assert played(world, gone) is State.FAILED
    assert "must confirm it" in world.home.state()[1] and world.home.records() == ()


def test_late_answers_change_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    assert played(world, [Delay("m2", AGREE), Delay("m5", UNMASK)]) is not State.FAILED
    assert survivors(world, 1) == EVERYBODY
    assert world.nodes["m2"].refusals() == []  # its quorum stood without it; it opened its shares


def test_a_vector_that_comes_late_stays_masked(tmp_path: Path) -> None:
    """Excluded in stage 2, asked no more: b_j of m2 is never opened, so its vector says nothing."""
    world = World(tmp_path, papers(rounds=1))
    played(world, [Delay("m2", MASK)])
    assert survivors(world, 1) == EVERYBODY - {"m2"}
    assert survivors(world, 2) == EVERYBODY


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_request_twice(stage: Stage, tmp_path: Path) -> None:
    """Stages 3 and 4 are answered with the same bytes, the others end the attempt for the node."""
    world = World(tmp_path, papers(rounds=1))
    played(world, [Resend("m4", stage)])
    answers = [one for one in world.said if (one.member, one.round, one.stage) == ("m4", 1, stage)]
    assert len(answers) == 2
    if stage in (AGREE, UNMASK):
        assert answers[0].envelope == answers[1].envelope
        assert world.nodes["m4"].refusals() == []
    else:
        assert answers[1].envelope is None
        assert world.nodes["m4"].refusals()
    assert ("m4" in survivors(world, 1)) is (stage in (AGREE, UNMASK))


def test_a_new_attempt_has_fresh_keys_and_the_survivors_it_needs(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    three = ("m1", "m2", "m3")
    away = [Drop(name, SHARE) for name in three]
    state = played(world, [*away, *(Restart(name, stage=ADVERTISE) for name in three)])
    assert attempts(world) == [1, 0] and state is not State.FAILED
    assert survivors(world, 1) == EVERYBODY
    keys = {
        one.attempt: one.envelope
        for one in world.said
        if (one.member, one.round, one.stage) == ("m5", 1, ADVERTISE)
    }
    assert set(keys) == {0, 1} and keys[0] != keys[1]


@pytest.mark.parametrize("stage", [ADVERTISE, SHARE, MASK])
def test_too_few_members_end_the_run_with_the_figures(stage: Stage, tmp_path: Path) -> None:
    world = World(tmp_path, papers())
    state = played(world, [Drop(name, stage) for name in ("m1", "m2", "m3")])
    assert state is State.FAILED
    _, detail = world.home.state()
    assert "round 1 failed 5 times" in detail
    assert "4 of 7 members answered in stage advertise, 5 are needed" in detail
    failed = [facts for event, facts in world.home.events if event == "attempt-failed"]
    assert [one["attempt"] for one in failed] == [0, 1, 2, 3, 4]
    assert f"in stage {stage.name.lower()}, 5 are needed" in failed[0]["problem"]


@pytest.mark.parametrize("stage", [AGREE, UNMASK])
def test_a_spent_round_that_cannot_be_finished_ends_the_run(stage: Stage, tmp_path: Path) -> None:
    gone = ("m1", "m2", "m3", "m4")[: 3 if stage is AGREE else 4]
    world = World(tmp_path, papers())
    assert played(world, [Drop(name, stage) for name in gone]) is State.FAILED
    _, detail = world.home.state()
    assert f"round 1 was spent and cannot be finished: {7 - len(gone)} of 7" in detail
    assert "Launch a new run" in detail
    assert world.home.records() == ()


def test_survivors_that_change_too_often_are_refused(tmp_path: Path) -> None:
    """Clause 14 allows two near changes: m3 may leave and return once, not twice."""
    world = World(tmp_path, papers(rounds=5))
    flapping = [Drop("m3", MASK, round=2), Restart("m3", round=3), Drop("m3", MASK, round=4)]
    assert played(world, flapping) is State.FAILED
    assert [len(one) for one in world.trace.survivors] == [7, 6, 7]
    assert "round 4 was spent" in world.home.state()[1]
    for name in sorted(EVERYBODY - {"m3"}):
        (reason,) = world.nodes[name].refusals()
        assert "for the 3. time, 2 are allowed" in reason


def test_a_node_that_was_away_counts_the_changes_that_it_missed(tmp_path: Path) -> None:
    """m3 leaves and returns: two changes, also in its own book, so it refuses the third."""
    world = World(tmp_path, papers(rounds=4))
    operations = [Drop("m3", MASK, round=2), Restart("m3", round=3), Drop("m7", MASK, round=4)]
    assert played(world, operations) is State.FAILED
    (reason,) = world.nodes["m3"].refusals()
    assert "for the 3. time, 2 are allowed" in reason
