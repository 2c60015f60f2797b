"""Runs that promise privacy to each customer, from the order to a verified release."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import small_coop
from coordinator.release.models import load_release
from coordinator.store.runs import State
from protocols.evidence import verify_release
from protocols.release import privacy_section
from protocols.retrace import read_record
from protocols.workloads import churn
from sim_checks import played
from sim_customers import churn_papers
from sim_operations import MASK, Drop, Restart
from sim_papers import Papers, papers
from sim_world import World

MEMBERS = 7


@cache
def usual() -> Papers:
    return churn_papers(MEMBERS, rounds=5)


def test_customers_teach_a_model_that_is_released_with_its_epsilon(tmp_path: Path) -> None:
    world = World(tmp_path, usual(), real_ledgers=True)
    assert played(world) is State.RELEASED
    course = usual().course
    findings = verify_release(
        load_release(world.home.folder / "releases" / world.trace.model), usual().pins
    )
    told = findings.card["privacy"]
    assert told == privacy_section(course)
    assert 0 < told["epsilon"]["coordinator"] < told["epsilon"]["colluders"] < 90
    assert told["sums"]["train"]["steps"] == 5 and told["sums"]["evaluate"]["steps"] == 1
    assert findings.card["workload"]["id"] == churn.ID
    metrics = findings.card["metrics"]
    assert metrics["auroc"] > 0.65  # it has learned that who stays away is gone
    assert metrics["brier_blend"] < metrics["brier_own"]
    for node in world.nodes.values():
        assert node.participant is not None and node.participant.trace.model == findings.model
        assert (node.folder / "run" / "scores.json").exists()
        assert node.refusals() == []


def test_every_sum_carries_noise_that_nobody_knows(tmp_path: Path) -> None:
    """The same customers, sampled and rounded by the same bytes; only the noise differs."""
    totals = []
    for name in ("one", "two"):
        world = World(tmp_path / name, churn_papers(MEMBERS, rounds=1))
        for node in world.nodes.values():
            node.noise_seed = name
        played(world)
        record = read_record(world.home.records()[0], "first")
        totals.append(record.published.total)
        assert record.descriptor.sigma_local > 0
    spread = record.descriptor.sigma_local * math.sqrt(2 * MEMBERS)
    away = np.abs(totals[0] - totals[1])
    assert away.min() > 0 and 0.5 * spread < math.sqrt(np.mean(np.square(away))) < 1.6 * spread


def test_members_that_drop_out_leave_enough_noise(tmp_path: Path) -> None:
    world = World(tmp_path, usual())
    operations = [Drop("m1", MASK), Drop("m2", MASK), Restart("m4", round=2), Drop("m1", MASK, 3)]
    assert played(world, operations) is State.RELEASED
    least = min(map(len, world.trace.survivors))
    plan = usual().course.privacy()
    assert plan is not None and plan.least_survivors <= least < MEMBERS
    card = verify_release(
        load_release(world.home.folder / "releases" / world.trace.model), usual().pins
    ).card
    assert card["privacy"] == privacy_section(usual().course)  # the promise, not who turned up


def test_turned_vectors_go_through_a_whole_run(tmp_path: Path) -> None:
    signed = churn_papers(MEMBERS, rounds=2, rotate=True, scale=256, clamp=16.0)
    world = World(tmp_path, signed)
    assert played(world) in {State.RELEASED, State.REFUSED}  # every node derived the same model
    assert world.trace.finished
    record = read_record(world.home.records()[0], "first")
    assert record.descriptor.dim == 32 > world.trace.state.params.size
    assert record.descriptor.bits <= 20
    assert np.abs(world.trace.state.params).max() > 0.01


def test_a_budget_that_is_too_small_releases_nothing(tmp_path: Path) -> None:
    signed = churn_papers(MEMBERS, rounds=1)
    order = {key: getattr(signed.order.order, key) for key in ("purpose", "columns", "config")} | {
        "workload": {"id": churn.ID, "version": "1", "digest": small_coop.CHURN_DIGEST}
    }
    poor = papers(MEMBERS, rounds=1, order=order, figures={"epsilon": 0.5})
    world = World(tmp_path, poor)
    assert played(world) is State.REFUSED
    assert "c14" in world.home.state()[1]


@pytest.mark.parametrize("noise", [10.0])
def test_too_much_noise_beats_no_baseline(noise: float, tmp_path: Path) -> None:
    world = World(tmp_path, churn_papers(MEMBERS, rounds=1, evaluation_noise_multiplier=noise))
    assert played(world) is State.REFUSED
