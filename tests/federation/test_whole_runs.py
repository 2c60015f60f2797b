"""A run from its order to its end: released, or refused by members or at the gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coordinator.log.append import verify_log
from coordinator.release.models import load_release
from coordinator.store.runs import Answer, State
from protocols import bundle
from protocols.audit.entries import Kind
from protocols.evidence import verify_release
from protocols.retrace import read_parameters
from sim_checks import played
from sim_operations import ADVERTISE, MASK, SHARE, Abort, Drop, Restart
from sim_papers import papers
from sim_shops import LEARNING
from sim_world import World


def test_shops_learn_together_and_the_model_is_released(tmp_path: Path) -> None:
    world = World(tmp_path, papers(settings=LEARNING), real_ledgers=True)
    assert played(world) is State.RELEASED
    metrics = world.trace.metrics()
    assert metrics["evaluated"] == 7
    assert metrics["wape_blend"] < 0.5 * metrics["wape_own"]  # it has learned the rhythm
    folder = world.home.folder / "releases" / world.trace.model
    files = load_release(folder)
    findings = verify_release(files, world.papers.pins)
    assert findings.card["cohort"] == {"members": 7, "survivors_min": 7, "survivors_max": 7}
    world.home.log.close()
    verify_log(world.home.folder / "audit", world.papers.pins.coordinator_key or b"")
    for node in world.nodes.values():
        assert node.participant is not None
        own = node.participant.trace
        assert own.model == findings.model and own.finished
        released = read_parameters(files[bundle.MODEL], own.model, "model")
        assert np.array_equal(released, own.state.params)
        assert (node.folder / "run" / "scores.json").exists()
        kinds = [kind for kind, _ in node.journal if kind != Kind.CHECK]
        assert kinds == [Kind.SPENT, Kind.SUM] * 3  # signed, followed; nothing was refused
    checks = [facts["round"] for one in world.nodes.values() for facts in one.facts(Kind.CHECK)]
    assert sorted(checks) == [1, 1, 1, 2, 2, 2, 3, 3, 3]  # C + 1 survivors of each round


def test_the_model_starts_from_the_order_and_moves(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    played(world)
    first = world.papers.course.first_model()
    moved = world.trace.state.params - first.params
    assert 0 < np.linalg.norm(moved) <= world.papers.course.shape("train").clip * (1 + 1e-3)
    assert moved.size == world.papers.course.shape("train").dim


def test_a_blend_that_does_not_beat_the_baseline_is_not_released(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1), steady=True)
    assert played(world) is State.REFUSED
    metrics = world.trace.metrics()
    assert metrics["wape_blend"] > metrics["wape_own"]
    _, detail = world.home.state()
    assert "c15" in detail and f"{metrics['wape_blend']:.4f}" in detail
    log = (world.home.folder / "audit" / "log.jsonl").read_text()
    assert '"kind":"release"' not in log and '"clauses":["c15"]' in log


def test_a_release_without_two_of_them(tmp_path: Path) -> None:
    world = World(tmp_path, papers(settings=LEARNING), real_ledgers=True)
    operations = [Drop("m1", MASK), Restart("m1", round=2), Drop("m6", SHARE, round=3)]
    assert played(world, operations) is State.RELEASED
    assert [len(one) for one in world.trace.survivors] == [6, 7, 6]
    assert world.trace.metrics()["evaluated"] == 6


def test_the_run_goes_on_without_those_that_refused_the_order(tmp_path: Path) -> None:
    answers = {"m2": Answer.REFUSED, "m7": Answer.REFUSED}
    world = World(tmp_path, papers(rounds=1), answers=answers)
    assert played(world) is not State.FAILED
    assert {one.member for one in world.heard} == {"m1", "m3", "m4", "m5", "m6"}
    assert [len(one) for one in world.trace.survivors] == [5, 5]


def test_too_many_refusals_end_the_run_before_it_begins(tmp_path: Path) -> None:
    answers = dict.fromkeys(("m1", "m2", "m3"), Answer.REFUSED)
    world = World(tmp_path, papers(rounds=1), answers=answers)
    assert played(world) is State.FAILED
    assert (
        "4 of 7 members admitted the order and 3 refused it; 5 are needed"
        in (world.home.state()[1])
    )
    assert world.heard == []


@pytest.mark.parametrize(("silent", "ended"), [(2, False), (3, True)])
def test_members_that_never_answer_are_not_waited_for(
    silent: int, ended: bool, tmp_path: Path
) -> None:
    """Half of the order's time is for answers, the rest is to run."""
    answers = {f"m{n + 1}": Answer.PENDING for n in range(silent)}
    world = World(tmp_path, papers(rounds=1), answers=answers)
    world.home.late = True
    assert (played(world) is State.FAILED) is ended
    asked = {one.member for one in world.heard}
    assert asked == (set() if ended else {"m3", "m4", "m5", "m6", "m7"})


def test_an_abort_before_the_first_round(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    assert played(world, [Abort(ADVERTISE)]) is State.ABORTED
    assert world.home.records() == ()
