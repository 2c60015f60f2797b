"""The account: known answers, valid bounds, traps, and that no order of events matters."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent, rdp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from protocols.errors import InputError
from protocols.privacy import accountant, lattice
from protocols.privacy.calibrate import least_multiplier
from protocols.privacy.events import NoisedSums
from protocols.privacy.rounding import norm_bound

FOUR = 5e-5  # four decimals


def sums(z: float, q: float = 1.0, steps: int = 1, **more: float) -> NoisedSums:
    return NoisedSums("customer", z, q, steps, **more)


# ---------------------------------------------------------------------------- known answers


@pytest.mark.parametrize(
    ("z", "steps", "gaussian", "renyi", "plain"),
    [
        (1, 1, 4.3772, 4.7285, 5.2985),
        (4, 50, 8.5959, 9.2350, 10.0452),
        (8, 50, 3.7965, 4.1057, 4.6320),
        (5, 20, 3.8486, 4.1616, 4.6919),
        (10, 100, 4.3772, 4.7285, 5.2985),
        (20, 100, 1.9931, 2.1657, 2.5243),
    ],
)
def test_full_participation(
    z: float, steps: int, gaussian: float, renyi: float, plain: float
) -> None:
    events = [sums(z, steps=steps)]
    assert accountant.epsilon(events, 1e-5) == pytest.approx(gaussian, abs=FOUR)
    assert accountant.rdp_epsilon(events, 1e-5) == pytest.approx(renyi, abs=FOUR)
    rho = steps / (2 * z * z)  # Bun and Steinke (2016), what the others improve on
    assert rho + 2 * math.sqrt(rho * math.log(1e5)) == pytest.approx(plain, abs=FOUR)


@pytest.mark.parametrize(
    ("z", "steps", "tight", "renyi"),
    [
        (0.8, 500, 5.4403, 6.1645),
        (1.0, 500, 3.2136, 3.6026),
        (1.2, 1000, 3.1767, 3.4533),
        (2.0, 1000, 1.5216, 1.6454),
    ],
)
def test_sampled_records(z: float, steps: int, tight: float, renyi: float) -> None:
    events = [sums(z, 0.02, steps)]
    assert accountant.epsilon(events, 1e-6) == pytest.approx(tight, abs=FOUR)
    usual = rdp.RdpAccountant()
    one = PoissonSampledDpEvent(0.02, GaussianDpEvent(z))
    usual.compose(SelfComposedDpEvent(one, steps))
    assert usual.get_epsilon(1e-6) == pytest.approx(renyi, abs=FOUR)
    # whole orders only, which hold for discrete noise: a little above
    whole = accountant.rdp_epsilon(events, 1e-6)
    assert renyi - FOUR <= whole <= renyi * 1.002


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(16, 44.57), (64, 12.48), (256, 9.61), (1024, 9.36), (2**14, 9.3383)],
)
def test_end_to_end_of_thirty_members(scale: int, expected: float) -> None:
    """n = 30, d = 1e4, clip 1, z = 4, 50 steps: what rounding to a coarse scale costs."""
    norm_after, sigma = norm_bound(scale, 1.0, 10_000), 4 * scale / math.sqrt(30)
    concentrated = lattice.concentrated_epsilon(norm_after, sigma, 30, 10_000)
    found = accountant.rdp_epsilon([sums(1 / concentrated, steps=50)], 1e-5, range(2, 257))
    assert found == pytest.approx(expected, abs=FOUR if scale == 2**14 else 5e-3)


def test_the_end_to_end_case_without_rounding_and_at_z_8() -> None:
    assert accountant.rdp_epsilon([sums(4, steps=50)], 1e-5, range(2, 257)) == pytest.approx(
        9.3379, abs=FOUR
    )
    norm_after, sigma = norm_bound(2**14, 1.0, 10_000), 8 * 2**14 / math.sqrt(30)
    assert norm_after / 2**14 == pytest.approx(1.000035, abs=5e-7)
    concentrated = lattice.concentrated_epsilon(norm_after, sigma, 30, 10_000)
    found = accountant.rdp_epsilon([sums(1 / concentrated, steps=50)], 1e-5)
    assert found == pytest.approx(4.1058, abs=FOUR)


@pytest.mark.parametrize(
    ("steps", "multipliers"),
    [
        (20, (16.68, 8.92, 4.84, 2.68)),
        (50, (26.38, 14.10, 7.65, 4.24)),
        (100, (37.31, 19.94, 10.81, 6.00)),
        (200, (52.76, 28.20, 15.29, 8.49)),
    ],
)
def test_noise_for_a_promise(steps: int, multipliers: tuple[float, ...]) -> None:
    for epsilon, expected in zip((1, 2, 4, 8), multipliers, strict=True):
        found = accountant.noise_multiplier(epsilon, 1e-5, 1, steps)
        assert found == pytest.approx(expected, abs=6e-3)
        assert accountant.epsilon([sums(found, steps=steps)], 1e-5) <= epsilon
        assert accountant.epsilon([sums(found - 1e-4, steps=steps)], 1e-5) > epsilon


def test_twelve_monthly_releases_at_four_cost_less_than_their_sum() -> None:
    """By Renyi orders twelve releases at epsilon 4 compose to 17.8; the closed form says less."""

    def renyi(z: float) -> float:
        return accountant.rdp_epsilon([sums(z)], 1e-5)

    once = least_multiplier(renyi, renyi, 4.0)
    assert accountant.rdp_epsilon([sums(once)] * 12, 1e-5) == pytest.approx(17.8, abs=0.06)
    assert accountant.epsilon([sums(once)] * 12, 1e-5) == pytest.approx(16.62, abs=0.01)


# ------------------------------------------------------------------------- bounds that hold


def test_the_discrete_mechanism_itself_costs_no_more() -> None:
    """One dimension, computed from the two lattice distributions: the exact delta of epsilon."""
    shift, sigma, delta = 40, 40.0, 1e-5
    places = range(-600, 700)
    masses = [math.exp(-(x * x) / (2 * sigma * sigma)) for x in places]
    total = math.fsum(masses)
    pairs = [
        (mass / total, math.exp(-((x - shift) ** 2) / (2 * sigma * sigma)) / total)
        for x, mass in zip(places, masses, strict=True)
    ]
    for q in (1.0, 0.1):
        event = sums(1.0, q, lattice_distance=lattice.gaussian_distance(sigma, 1, 1))
        for found in (
            accountant.epsilon([event], delta),
            accountant.rdp_epsilon([event], delta),
            accountant.epsilon([sums(1.0, q, lattice_distance=1.0)], delta),
        ):
            for left, right in ((0, 1), (1, 0)):
                mixed = [(pair[0], (1 - q) * pair[0] + q * pair[1]) for pair in pairs]
                over = (pair[left] - math.exp(found) * pair[right] for pair in mixed)
                assert math.fsum(max(0.0, one) for one in over) <= delta


@pytest.mark.parametrize("z", [0.5, 1.0, 3.0])
def test_the_closed_form_agrees_with_a_second_one(z: float) -> None:
    found = accountant.epsilon([sums(z)], 1e-6)
    mu = 1 / z
    delta = norm.cdf(mu / 2 - found / mu) - math.exp(found) * norm.cdf(-mu / 2 - found / mu)
    assert delta == pytest.approx(1e-6, rel=1e-6)
    assert delta <= 1e-6


figures = st.one_of(
    st.builds(sums, st.sampled_from([6.0, 20.0]), st.just(1.0), st.sampled_from([1, 30])),
    # without the continuous analysis, which is slow and has tests of its own
    st.builds(
        lambda z, steps: sums(z, 0.1, steps, lattice_distance=1.0),
        st.sampled_from([2.0, 6.0]),
        st.sampled_from([1, 30]),
    ),
)


@settings(max_examples=10, deadline=None)
@given(st.lists(figures, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_order_and_grouping_do_not_matter_and_more_costs_more(
    events: list[NoisedSums], shuffler: random.Random
) -> None:
    known = accountant.epsilon(events, 1e-5)
    assert known <= accountant.rdp_epsilon(events, 1e-5)
    other = list(events)
    shuffler.shuffle(other)
    assert accountant.epsilon(other, 1e-5) == known
    single = [replace(event, steps=1) for event in events for _ in range(event.steps)]
    assert accountant.epsilon(single, 1e-5) == known
    assert accountant.epsilon(events[:-1], 1e-5) <= known + 1e-9
    assert accountant.epsilon(events, 1e-6) >= known


def test_less_noise_more_steps_and_larger_samples_cost_more() -> None:
    for worse, better in (
        (sums(2.0, 0.1, 50), sums(2.1, 0.1, 50)),
        (sums(2.0, 0.1, 50), sums(2.0, 0.09, 50)),
        (sums(2.0, 0.1, 50), sums(2.0, 0.1, 49)),
        (sums(6.0, 1.0, 50), sums(6.0, 0.99, 50)),
    ):
        assert accountant.epsilon([worse], 1e-5) > accountant.epsilon([better], 1e-5)


def test_a_mix_is_one_account() -> None:
    train, evaluate = sums(2.0, 0.1, 100), sums(10.0)
    both = accountant.epsilon([train, evaluate], 1e-5)
    apart = accountant.epsilon([train], 1e-5) + accountant.epsilon([evaluate], 1e-5)
    assert accountant.epsilon([train], 1e-5) < both < apart


# ------------------------------------------------------------------------------ distances


def test_distances_are_charged_to_delta() -> None:
    free = accountant.epsilon([sums(2.0)], 1e-5)
    for name in ("sampler_distance", "lattice_distance"):
        charged = accountant.epsilon([sums(2.0, **{name: 1e-7})], 1e-5)
        assert free < charged < free * 1.05
        # the fixed point itself: what is left of delta pays for this very epsilon
        rest = 1e-5 - (1 + math.exp(charged)) * 1e-7
        assert accountant.epsilon([sums(2.0)], rest) == pytest.approx(charged, abs=1e-6)


def test_a_large_figure_with_a_tiny_distance_is_still_a_figure() -> None:
    for z in (0.1, 0.05):
        plain = accountant.epsilon([sums(z)], 1e-5)
        assert plain > 64
        charged = accountant.epsilon([sums(z, sampler_distance=1e-300)], 1e-5)
        assert charged == pytest.approx(plain)
        assert accountant.epsilon([sums(z, sampler_distance=1e-30)], 1e-5) >= plain


def test_a_coarse_lattice_leaves_the_analysis_for_discrete_noise() -> None:
    event = sums(2.0, 0.1, 50)
    coarse = sums(2.0, 0.1, 50, lattice_distance=1.0)
    assert accountant.epsilon([coarse], 1e-5) == accountant.rdp_epsilon([event], 1e-5)
    assert accountant.epsilon([coarse], 1e-5) > accountant.epsilon([event], 1e-5)


def test_a_sampler_that_is_off_by_delta_bounds_nothing() -> None:
    assert accountant.epsilon([sums(2.0, sampler_distance=1e-5)], 1e-5) == math.inf
    assert accountant.epsilon([sums(2.0, sampler_distance=9e-6)], 1e-5) == math.inf
    many = [sums(2.0, sampler_distance=1e-7) for _ in range(100)]
    assert accountant.epsilon(many, 1e-5) == math.inf


def test_the_distance_from_rounded_gaussian_noise_is_a_bound() -> None:
    for sigma in (2.0, 3.0, 8.0):
        places = [-abs(x) for x in range(-math.ceil(8 * sigma), math.ceil(8 * sigma) + 1)]
        masses = [math.exp(-(x * x) / (2 * sigma * sigma)) for x in places]
        total = math.fsum(masses)
        rounded = [norm.cdf((x + 0.5) / sigma) - norm.cdf((x - 0.5) / sigma) for x in places]
        away = 0.5 * math.fsum(
            abs(mass / total - other) for mass, other in zip(masses, rounded, strict=True)
        )
        bound = lattice.gaussian_distance(sigma, 1, 1)
        assert away <= bound <= 3 * away
        divergence = math.fsum(
            other * other / (mass / total) for mass, other in zip(masses, rounded, strict=True)
        )
        assert divergence - 1 <= (1 + sigma**-4) / (288 * sigma**4)  # of one coordinate
        assert math.sqrt((divergence - 1) / 2) <= bound
    assert lattice.gaussian_distance(1.0, 1, 1) == 1.0
    assert lattice.gaussian_distance(0.3, 100, 1) == 1.0  # the shares do not make one Gaussian
    assert lattice.gaussian_distance(2.0, 3, 10**9) == 1.0
    assert lattice.gaussian_distance(9.0, 4, 100) == pytest.approx(10 / 23 / 324)


def test_shares_are_one_gaussian_when_they_are_not_tiny() -> None:
    assert lattice.share_excess(11.0, 30) == 0.0
    assert lattice.share_excess(1.0, 2) == pytest.approx(10 * math.exp(-(math.pi**2)))
    assert lattice.share_excess(0.5, 30) > 0.5
    exact = lattice.concentrated_epsilon(100.0, 25.0, 16, 1000)
    assert exact == 1.0
    assert lattice.concentrated_epsilon(1.0, 0.5, 4, 1) > 1.0


# ---------------------------------------------------------------------------------- traps


def test_traps_of_the_library_end_in_a_figure_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert accountant.epsilon([sums(1e-9)], 1e-5) > 1e12
        assert accountant.epsilon([sums(1e-300)], 1e-5) == math.inf
        assert accountant.epsilon([sums(0.05, 0.02, 100)], 1e-5) > 32
        assert accountant.epsilon([sums(100.0, 0.001, 10_000_000)], 1e-5) < 1
        assert accountant.epsilon([sums(1e6)], 1e-15) < 0.1
        assert accountant.epsilon([sums(1e9, 0.5, 3)], 1e-5) < 1e-2
        assert 0 < accountant.epsilon([sums(1.0, 1e-6, 10)], 1e-9) < 1


def test_nothing_costs_nothing() -> None:
    assert accountant.epsilon([], 1e-5) == 0
    assert accountant.rdp_epsilon([], 1e-5) == 0


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan, math.inf])
def test_a_delta_is_a_probability(delta: float) -> None:
    with pytest.raises(InputError, match="delta"):
        accountant.epsilon([sums(1.0)], delta)
    with pytest.raises(InputError, match="delta"):
        accountant.noise_multiplier(1.0, delta, 1, 1)


def test_units_do_not_mix_and_sums_have_an_end() -> None:
    with pytest.raises(InputError, match="different units"):
        accountant.epsilon([sums(1.0), NoisedSums("member", 1.0, 1, 1)], 1e-5)
    with pytest.raises(InputError, match="more than"):
        accountant.epsilon([sums(1.0, steps=10_000_000), sums(1.0)], 1e-5)


def test_the_search_counts_what_is_there_already() -> None:
    extra = [sums(20.0)]
    alone = accountant.noise_multiplier(1.0, 1e-5, 1, 100)
    found = accountant.noise_multiplier(1.0, 1e-5, 1, 100, extra)
    assert found > alone
    assert accountant.epsilon([*extra, sums(found, steps=100)], 1e-5) <= 1.0
    assert accountant.epsilon([*extra, sums(found - 1e-4, steps=100)], 1e-5) > 1.0
    with pytest.raises(InputError, match="no noise that can be made"):
        accountant.noise_multiplier(1.0, 1e-5, 1, 100, [sums(1.0)])
    for limit in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="aimed at"):
            accountant.noise_multiplier(limit, 1e-5, 0.1, 100)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**8), st.floats(1.0, 3.0), st.floats(0.2, 4.0))
def test_the_search_finds_the_least(least: int, slack: float, power: float) -> None:
    def cost(z: float) -> float:
        return (least / 10_000 / z) ** power

    asked: list[float] = []

    def dear(z: float) -> float:
        asked.append(z)
        return cost(z)

    found = least_multiplier(dear, lambda z: slack * cost(z), cost(least / 10_000))
    assert round(found * 10_000) == least
    if slack ** (1 / power) < 1.2:
        assert len(asked) < 50


def test_importing_the_room_loads_neither_scipy_nor_the_library() -> None:
    code = (
        "import sys, protocols.privacy.plan, protocols.privacy.budget\n"
        "print(sorted({'scipy', 'dp_accounting', 'absl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
