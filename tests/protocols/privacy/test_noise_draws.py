"""Discrete Gaussian draws: exact tables, goodness of fit, tails, ties and a known answer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from protocols.errors import LocalError
from protocols.privacy import noise
from protocols.privacy._stream import Words


def seeded(label: str) -> Callable[[int], bytes]:
    """Entropy that is the same in every run of the test."""

    def entropy(count: int) -> bytes:
        return hashlib.shake_256(label.encode()).digest(count)

    return entropy


def slow_thresholds(sigma: Fraction) -> list[int]:
    """The same table with one exponential for each weight and 90 digits: no recurrence."""
    with localcontext() as context:
        context.prec = 90
        weights = [Decimal(1)]
        while weights[-1] * 2**128 >= 1:
            power = Fraction(len(weights) ** 2) / (2 * sigma * sigma)
            weights.append((-Decimal(power.numerator) / Decimal(power.denominator)).exp())
        weights.pop()
        mass = weights[0] + 2 * sum(weights[1:])
        found, total = [], Decimal(0)
        for place, weight in enumerate(weights[:-1]):
            total += weight if place == 0 else 2 * weight
            found.append(int(total / mass * 2**127))
        return found


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0, 4.1, 64.0, 333.25])
def test_the_table_is_the_one_of_a_slow_second_way(sigma: float) -> None:
    assert noise._thresholds(Fraction(sigma) ** 2) == slow_thresholds(Fraction(sigma))


def test_a_sigma_too_small_for_any_noise_draws_zeros() -> None:
    assert not noise.discrete_gaussian(1e-9, 100, seeded("tiny")).any()
    assert not noise.discrete_gaussian(5e-324, 10, seeded("tiniest")).any()


@pytest.mark.parametrize("sigma", [0.5, 1.0, 4.0, 11.7, 64.0, 1024.0, 2048.0, 2049.0, 11965.2, 1e6])
def test_draws_fit_the_distribution(sigma: float) -> None:
    count = 400_000
    draws = noise.discrete_gaussian(sigma, count, seeded(f"fit {sigma}"))
    reach = max(3, math.ceil(6 * sigma))
    # bins of whole numbers between edges; exact masses from the lattice itself while it is small
    edges = np.unique(np.round(np.linspace(-3.5 * sigma, 3.5 * sigma, 60))).astype(np.int64)
    if sigma <= 2048:
        places = np.arange(-reach, reach + 1)
        mass = np.exp(-(places**2) / (2 * sigma * sigma))
        cumulative = np.cumsum(mass) / mass.sum()
        below = cumulative[np.searchsorted(places, edges) - 1]
    else:  # midpoints: the difference from the lattice is below 1e-8
        below = stats.norm.cdf((edges - 0.5) / sigma)
    expected = np.diff(np.concatenate(([0.0], below, [1.0]))) * count
    places_of = np.searchsorted(edges, draws, side="right")
    observed = np.bincount(places_of, minlength=edges.size + 1)
    keep = expected > 20
    assert keep.sum() >= 3
    statistic = float((((observed - expected) ** 2) / np.where(keep, expected, 1))[keep].sum())
    assert stats.chi2.sf(statistic, keep.sum() - 1) > 1e-5


@pytest.mark.parametrize("sigma", [4.0, 1024.0, 50_000.0])
def test_draws_are_symmetric_with_the_right_moments(sigma: float) -> None:
    count = 400_000
    draws = noise.discrete_gaussian(sigma, count, seeded(f"moments {sigma}")) / sigma
    assert abs(draws.mean()) < 5 / math.sqrt(count)
    assert abs(draws.var() - 1) < 5 * math.sqrt(2 / count)
    assert abs((draws**3).mean()) < 5 * math.sqrt(15 / count)
    assert abs((draws**4).mean() - 3) < 5 * math.sqrt(96 / count)


def test_the_tail_is_there_and_not_longer() -> None:
    count = 2_000_000
    draws = np.abs(noise.discrete_gaussian(64.0, count, seeded("tail")))
    for width in (3.0, 4.0, 4.5):
        expected = count * 2 * stats.norm.sf(width - 0.5 / 64)
        found = int((draws >= width * 64).sum())
        assert abs(found - expected) < 6 * math.sqrt(expected) + 3


def test_neighbouring_draws_and_coordinates_are_independent() -> None:
    draws = noise.discrete_gaussian(3000.0, 400_000, seeded("pairs")).astype(float)
    for lag in (1, 2, 1 << 15, 1 << 16):
        assert abs(np.corrcoef(draws[:-lag], draws[lag:])[0, 1]) < 5 / math.sqrt(draws.size - lag)


def test_two_keys_give_two_streams_and_one_key_one() -> None:
    one = noise.discrete_gaussian(64.0, 1000, seeded("a"))
    assert (one == noise.discrete_gaussian(64.0, 1000, seeded("a"))).all()
    assert (one != noise.discrete_gaussian(64.0, 1000, seeded("b"))).mean() > 0.9
    longer = noise.discrete_gaussian(64.0, 100_000, seeded("a"))
    assert (longer[:1000] == one).all()


@pytest.mark.parametrize(
    ("sigma", "expected"),
    [
        (4.0, [3, -3, -4, -3, 2, 0, 2, -3]),
        (1024.0, [752, -736, -1114, -765, 584, -124, 618, -783]),
        (1e6, [-648276, -2117016, -241009, -154556, 274138, 889701, 226052, 985645]),
    ],
)
def test_a_known_answer_from_fixed_entropy(sigma: float, expected: list[int]) -> None:
    assert noise.discrete_gaussian(sigma, 8, bytes).tolist() == expected


def test_the_known_answer_follows_from_the_words() -> None:
    """Inversion by hand: sign in the lowest bit, 63 bits against whole thresholds."""
    table = slow_thresholds(Fraction(4))
    for word, value in zip(Words(bytes(32)).uint64(1000), noise_of_zeros(), strict=True):
        number = int(word) >> 1
        magnitude = sum((number << 64) >= threshold for threshold in table)
        assert value == (-magnitude if int(word) & 1 else magnitude)


def noise_of_zeros() -> list[int]:
    return [int(one) for one in noise.discrete_gaussian(4.0, 1000, bytes)]


class Fixed:
    """Second words of choice."""

    def __init__(self, words: list[int]) -> None:
        self.words = words

    def uint64(self, count: int) -> np.ndarray:
        assert count == 1
        return np.array([self.words.pop(0)], dtype=np.uint64)


@pytest.mark.parametrize("place", [0, 1, 7, 30])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_tie_is_decided_by_the_second_word(place: int, sign: int) -> None:
    thresholds = noise._thresholds(Fraction(16))
    table = noise._table(Fraction(16))
    high, low = divmod(thresholds[place], 2**64)
    assert high != thresholds[place + 1] >> 64
    word = np.array([high << 1 | sign], dtype=np.uint64)
    for second, magnitude in ((low - 1, place), (low, place + 1), (low + 1, place + 1)):
        drawn = noise._invert(table, word, Fixed([second]))  # type: ignore[arg-type]
        assert drawn.tolist() == [-magnitude if sign else magnitude]


def test_far_thresholds_that_share_the_first_word_are_told_apart() -> None:
    thresholds = noise._thresholds(Fraction(64) ** 2)
    table = noise._table(Fraction(64) ** 2)
    top = thresholds[-1] >> 64
    same = [index for index, value in enumerate(thresholds) if value >> 64 == top]
    assert len(same) > 3
    word = np.array([top << 1], dtype=np.uint64)
    for index in same[:3]:
        second = thresholds[index] & (2**64 - 1)
        drawn = noise._invert(table, word, Fixed([second]))  # type: ignore[arg-type]
        assert drawn.tolist() == [index + 1]
    lowest = thresholds[same[0]] & (2**64 - 1)
    drawn = noise._invert(table, word, Fixed([lowest - 1]))  # type: ignore[arg-type]
    assert drawn.tolist() == [same[0]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_the_guide_never_changes_an_answer(word: int) -> None:
    table = noise._table(Fraction(300) ** 2)
    drawn = noise._invert(table, np.array([word], dtype=np.uint64), Fixed([0]))  # type: ignore[arg-type]
    first = int(np.searchsorted(table.high, np.uint64(word >> 1), side="left"))
    last = int(np.searchsorted(table.high, np.uint64(word >> 1), side="right"))
    assert first <= abs(int(drawn[0])) <= last  # equal but for a tie


@given(st.floats(2048.001, 2.0**28))
def test_two_levels_have_the_variance_exactly_and_hide_the_lattice(sigma: float) -> None:
    levels = noise._split(sigma)
    assert len(levels) == 2
    assert sum(factor**2 * variance for factor, variance in levels) == Fraction(sigma) ** 2
    (_, inner), (factor, outer) = levels
    width = inner * outer / (Fraction(sigma) ** 2)  # s^2 of SPEC.md section 4
    assert 2 * math.exp(-2 * math.pi**2 * float(width)) * 2.1 < 2.0**-170
    assert inner <= 7 * 2**28 * 4
    assert 0 < outer < Fraction(sigma) ** 2 / factor**2


def test_the_sum_of_two_levels_is_the_lattice_to_sixteen_digits() -> None:
    """The convolution, computed: no residue of the factor shows."""
    (_, inner), (factor, outer) = noise._split(2100.0)
    far = np.arange(-800, 801)
    weights = np.exp(-(far**2) / (2 * float(outer)))
    for at in (0, 1, factor // 2, factor - 1, 2100, 5000):
        near = at - factor * far
        mass = float((weights * np.exp(-(near**2) / (2 * float(inner)))).sum())
        ideal = math.exp(-(at**2) / (2 * 2100.0**2))
        if at == 0:
            scale = mass
        assert mass / scale == pytest.approx(ideal, rel=1e-12)


def test_the_distance_grows_with_draws_and_stays_tiny() -> None:
    assert noise.distance(4.0, 0) == 0
    assert 0 < noise.distance(4.0, 1) < 2.0**-120
    assert noise.distance(1024.0, 2**20 * 2**9) < 2.0**-80
    assert noise.distance(1e6, 2**20 * 2**9) < 2.0**-80
    assert noise.distance(1.0, 10**60) == 1.0
    for sigma in (0.5, 4.0, 64.0, 1024.0):
        entries = len(noise._thresholds(Fraction(sigma) ** 2))
        assert noise.distance(sigma, 1) >= (entries + 2) * 2.0**-127


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.inf, math.nan, 2.0**28 + 64])
def test_noise_of_no_size_is_not_made(sigma: float) -> None:
    with pytest.raises(LocalError, match="standard deviation"):
        noise.discrete_gaussian(sigma, 1, bytes)
    with pytest.raises(LocalError):
        noise.distance(sigma, 1)


def test_a_negative_count_and_short_entropy_are_errors() -> None:
    with pytest.raises(LocalError, match="-1 draws"):
        noise.discrete_gaussian(1.0, -1, bytes)
    with pytest.raises(LocalError, match="32 bytes"):
        noise.discrete_gaussian(1.0, 1, lambda count: bytes(count - 1))
    assert noise.discrete_gaussian(1.0, 0, bytes).shape == (0,)
