"""Plans: the noise of one member, what it promises to whom, and what cannot be promised."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import InputError
from protocols.privacy import accountant, lattice, noise
from protocols.privacy.events import NoisedSums
from protocols.privacy.plan import Phase, Plan, aimed_plan, local_sigma, make_plan
from protocols.privacy.rounding import norm_bound

TRAIN = Phase("train", 8.0, 0.2, 100, norm_bound(2**14, 1.0, 23), 23)
EVALUATE = Phase("evaluate", 20.0, 1.0, 1, 16.0, 40)


def plan(**changes: Any) -> Plan:
    """The plan of these tests: 21 survivors at least, 5 of them may collude."""
    figures: dict[str, Any] = {
        "unit": "customer",
        "delta": 1e-5,
        "least_survivors": 21,
        "colluders": 5,
        "phases": (TRAIN, EVALUATE),
    }
    return make_plan(**{**figures, **changes})


def test_the_share_of_one_member() -> None:
    made = plan()
    assert made.shares == 16
    assert made.sigma_local("train") == 8.0 * TRAIN.norm_bound / 4
    assert made.sigma_local("evaluate") == 20.0 * 16.0 / 4
    with pytest.raises(KeyError):
        made.sigma_local("other")


def test_the_end_to_end_share_of_thirty_members() -> None:
    assert local_sigma(4.0, 2.0**14, 30) == pytest.approx(11965.2, abs=0.05)


def test_the_promise_is_made_against_the_colluders() -> None:
    made = plan()
    train, evaluate = made.events_colluders
    assert train == NoisedSums(
        "customer", 8.0, 0.2, 100, train.sampler_distance, train.lattice_distance
    )
    assert evaluate.noise_multiplier == 20.0
    assert made.epsilon_colluders == accountant.epsilon([train, evaluate], 1e-5)
    better, _ = made.events_alone
    assert better.noise_multiplier == pytest.approx(8.0 * math.sqrt(21 / 16))
    assert made.epsilon_alone < made.epsilon_colluders


def test_every_step_and_coordinate_is_charged() -> None:
    train, evaluate = plan().events_colluders
    sigma = plan().sigma_local("train")
    assert train.sampler_distance == noise.distance(sigma, 100 * 23 * 16)
    assert train.lattice_distance == lattice.gaussian_distance(sigma, 16, 100 * 23)
    assert 0 < train.sampler_distance < 1e-20
    assert evaluate.lattice_distance == lattice.gaussian_distance(80.0, 16, 40)
    assert evaluate.lattice_distance > train.lattice_distance  # counts are the coarser lattice


def test_evaluation_costs() -> None:
    assert plan().epsilon_colluders > plan(phases=(TRAIN,)).epsilon_colluders


def test_a_coarse_scale_costs_what_it_costs() -> None:
    """Rounding inflates the norm; the noise grows along, so the promise stays and utility pays."""
    fine = plan(phases=(TRAIN,))
    coarse = plan(phases=(replace(TRAIN, norm_bound=norm_bound(4, 1.0, 23)),))
    assert coarse.sigma_local("train") / 4 > 1.3 * fine.sigma_local("train") / 2**14
    assert coarse.events_colluders[0].noise_multiplier == 8.0
    assert coarse.epsilon_colluders > fine.epsilon_colluders  # without the continuous analysis


def test_the_noise_that_members_really_add_is_the_promise() -> None:
    """Sixteen honest shares, drawn: their sum has z times the bound."""
    made = plan()
    sigma = made.sigma_local("evaluate")
    total = sum(
        noise.discrete_gaussian(sigma, 100_000, lambda count, one=one: bytes([one]) * count)
        for one in range(made.shares)
    )
    spread = float(np.asarray(total).std())
    assert spread == pytest.approx(20.0 * 16.0, rel=5 / math.sqrt(2 * 100_000))


def test_an_aimed_plan_is_the_least_that_keeps_the_promise() -> None:
    everybody = replace(TRAIN, sample_rate=1.0)
    made = aimed_plan(plan(phases=(everybody, EVALUATE)), "train", 1.0)
    assert made.epsilon_colluders <= 1.0
    z = made.phase("train").noise_multiplier
    assert z == round(z, 4)
    assert made.phase("evaluate") == EVALUATE
    less = replace(made.phase("train"), noise_multiplier=z - 1e-4)
    assert plan(phases=(less, EVALUATE)).epsilon_colluders > 1.0
    sampled = aimed_plan(plan(phases=(replace(TRAIN, steps=20),)), "train", 1.0)
    assert 0.98 < sampled.epsilon_colluders <= 1.0
    with pytest.raises(InputError, match="no noise that can be made"):
        aimed_plan(plan(), "train", 0.01)  # the evaluation alone costs more


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0.1, 100),
    st.floats(64, 2**20),
    st.integers(3, 1000),
    st.data(),
)
def test_no_plan_promises_more_than_its_noise_holds(
    z: float, norm: float, survivors: int, data: st.DataObject
) -> None:
    colluders = data.draw(st.integers(1, survivors - 1))
    phase = Phase("train", z, 1.0, 1, norm, 10)
    try:
        made = plan(least_survivors=survivors, colluders=colluders, phases=(phase,))
    except InputError as error:
        assert "whole" in str(error)
        assert local_sigma(z, norm, survivors - colluders) < 2
        return
    promised, alone = made.events_colluders[0], made.events_alone[0]
    sigma = made.sigma_local("train")
    held = math.sqrt(made.shares) * sigma / norm
    assert promised.noise_multiplier <= min(z, held * (1 + 1e-15))
    assert promised.noise_multiplier >= z * (1 - 1e-9)
    assert alone.noise_multiplier > promised.noise_multiplier


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": "shop"}, "the unit is"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"delta": math.nan}, "delta"),
        ({"colluders": 0}, "colluders"),
        ({"colluders": 21}, "colluders"),
        ({"least_survivors": 1001}, "colluders"),
        ({"phases": ()}, "at least one phase"),
        ({"phases": (TRAIN, TRAIN)}, "a name of its own"),
        ({"phases": (replace(TRAIN, noise_multiplier=0.0),)}, "noise multiplier"),
        ({"phases": (replace(TRAIN, noise_multiplier=math.nan),)}, "noise multiplier"),
        ({"phases": (replace(TRAIN, sample_rate=0.0),)}, "sample rate"),
        ({"phases": (replace(TRAIN, sample_rate=1.5),)}, "sample rate"),
        ({"phases": (replace(TRAIN, steps=0),)}, "steps"),
        ({"phases": (replace(TRAIN, dim=0),)}, "coordinates"),
        ({"phases": (replace(TRAIN, norm_bound=0.0),)}, "norm bound"),
        ({"phases": (replace(TRAIN, norm_bound=math.inf),)}, "norm bound"),
        ({"phases": (replace(TRAIN, noise_multiplier=1e-4),)}, "another scale"),
        ({"phases": (replace(TRAIN, noise_multiplier=1e9),)}, "another scale"),
    ],
)
def test_a_plan_that_does_not_hold_is_not_made(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan(**changes)
