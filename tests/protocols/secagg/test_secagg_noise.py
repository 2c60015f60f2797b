"""Rounds with noise: whole units in, every survivor's noise in the sum, none on the weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from secagg_world import World, certified, play

from protocols.errors import InputError, LocalError, Refused
from protocols.secagg import (
    Demands,
    Member,
    MemberState,
    RoundResult,
    Stage,
    check_certificate,
    fixedpoint,
)
from protocols.secagg.messages import AdvertiseRequest
from protocols.secagg.params import check_figures, noise_reach, sum_bits, value_bound
from protocols.secagg.recovery import check_range

SIGMA = 40.0


def noisy(**changes: Any) -> World:
    return World(**{"n": 6, "dim": 50, "sigma_local": SIGMA, "seed": "noisy", **changes})


def test_the_sum_holds_the_noise_of_every_survivor() -> None:
    world = noisy()
    gone = {Stage.MASK: frozenset(world.ids[:1])}
    result = play(world, world.members(), world.aggregator(), gone=gone)
    assert isinstance(result, RoundResult)
    clean = np.sum([world.update(one) for one in result.u3], axis=0)
    noise = np.sum([world.noise_of(one)(SIGMA, 50) for one in result.u3], axis=0)
    assert noise.any()
    assert (result.sum == clean + noise).all()
    assert result.weight_sum == 5  # nobody needs noise on what is public
    check_certificate(certified(world, result), world.descriptor(), world.roster)


def at_training(world: World, **changes: Any) -> Member:
    members = world.members()
    out = play(world, members, world.aggregator(), until=Stage.SHARE)
    assert not isinstance(out, RoundResult)
    member = members[world.ids[0]]
    if "noise" in changes:
        object.__setattr__(member._party, "noise", changes["noise"])
    member.step(out[world.ids[0]])
    return member


@pytest.mark.parametrize(
    ("update", "weight", "problem"),
    [
        (np.zeros(50, dtype=np.float32), 1, "array of int64"),
        (np.zeros(50, dtype=np.int32), 1, "array of int64"),
        (np.zeros(49, dtype=np.int64), 1, "shape"),
        (np.full(50, 4098, dtype=np.int64), 1, "clip"),
        (np.full(50, -4098, dtype=np.int64), 1, "clip"),
        (np.zeros(50, dtype=np.int64), 2, "weight"),
        ([0] * 50, 1, "array of int64"),
    ],
)
def test_only_whole_units_within_the_bound_are_taken(
    update: Any, weight: int, problem: str
) -> None:
    member = at_training(noisy())
    with pytest.raises(InputError, match=problem):
        member.mask(update, weight)
    assert member.state is MemberState.TRAINING
    member.mask(np.full(50, 4097, dtype=np.int64), 1)


@pytest.mark.parametrize(
    "noise",
    [
        lambda sigma, count: np.zeros(count + 1, dtype=np.int64),
        lambda sigma, count: np.zeros(count, dtype=np.float64),
        lambda sigma, count: np.zeros(count, dtype=np.int32),
    ],
)
def test_a_source_of_noise_that_gives_something_else_ends_the_round(noise: Any) -> None:
    member = at_training(noisy(), noise=noise)
    with pytest.raises(LocalError, match="one whole number"):
        member.mask(np.zeros(50, dtype=np.int64), 1)
    assert member.state is MemberState.ABORTED


def opening(world: World, **changes: Any) -> AdvertiseRequest:
    descriptor = world.descriptor(**changes)
    return AdvertiseRequest(descriptor, world.coordinator.sign("SAQ1 RD", descriptor.digest()))


def test_06_noise_below_the_agreement_or_another_than_the_order() -> None:
    world = noisy()
    one = world.ids[0]
    with pytest.raises(Refused, match=r"noise share is 40.0; the agreement says 41.0"):
        world.member(one, demands=Demands(1, 3, 1, sigma_local=41.0)).step(opening(world))
    for wrong in (0.0, 39.9, 40.1):
        with pytest.raises(Refused, match="sigma_local"):
            world.member(one).step(opening(world, sigma_local=wrong))


def test_06_a_node_without_a_source_of_noise_takes_no_part() -> None:
    world = noisy()
    member = world.member(world.ids[0], noise=None)
    with pytest.raises(LocalError, match="no source of it"):
        member.step(opening(world))
    assert member.state is MemberState.ABORTED


def test_05_the_modulus_has_room_for_the_noise() -> None:
    world = noisy(sigma_local=100_000.0)
    d = world.descriptor()
    assert d.bits > World(n=6, dim=50).descriptor().bits
    with pytest.raises(Refused, match="modulus"):
        check_figures(replace(d, sigma_local=10.0))
    with pytest.raises(Refused, match="at most 32"):
        check_figures(replace(d, sigma_local=1e9))
    with pytest.raises(Refused, match="weighs the same"):
        check_figures(replace(noisy(n=7, min_cohort=7).descriptor(), w_max=2))
    assert noise_reach(9, 1.5) == 36


def test_a_sum_within_reach_of_the_noise_is_taken_and_one_beyond_is_not() -> None:
    d = noisy().descriptor()
    most = 6 * value_bound(d.scale, d.clip) + noise_reach(6, SIGMA)
    total = np.zeros(50, dtype=np.int64)
    for value in (most, -most):
        total[7] = value
        check_range(total, 6, 6, d)
        total[7] += 1 if value > 0 else -1
        with pytest.raises(Exception, match="a coordinate of"):
            check_range(total, 6, 6, d)


@given(st.integers(3, 1000), st.floats(0.01, 1e5), st.integers(1, 2**20))
def test_a_sum_with_noise_cannot_wrap(n: int, sigma: float, scale: int) -> None:
    bits = sum_bits(n, scale, 1.0, 1, sigma)
    assert n * value_bound(scale, 1.0) + noise_reach(n, sigma) < 2 ** (bits - 1)


def test_units_and_noise_wrap_into_the_modulus() -> None:
    d = noisy(dim=3).descriptor()
    lanes = fixedpoint.add_noise(
        np.array([-5, 0, 7], dtype=np.int64), np.array([2, -1, 2**40], dtype=np.int64), d
    )
    assert fixedpoint.centre(lanes, 32).tolist() == [-3, -1, 7, 1]
