"""Clipping and rounding: bounded for certain, unbiased, and what is not a number is refused."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import LocalError
from protocols.privacy.clip import clip_rows, clip_vector
from protocols.privacy.rounding import BETA, norm_bound, round_bounded


def seeded(label: str) -> Callable[[int], bytes]:
    """Entropy that is the same in every run of the test."""

    def entropy(count: int) -> bytes:
        return hashlib.shake_256(label.encode()).digest(count)

    return entropy


# --------------------------------------------------------------------------------- clipping


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 30),
    st.sampled_from([1e-300, 1e-3, 1.0, 1e30, 1e300]),
    st.integers(0, 2**32),
)
def test_no_row_is_longer_and_directions_stay(rows: int, dim: int, size: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(rows, dim)) * size
    clipped = clip_rows(values, 1.5)
    assert clipped.shape == values.shape
    assert (np.linalg.norm(clipped, axis=1) <= 1.5 * (1 + 1e-12)).all()
    short = np.abs(values).max(axis=1) * math.sqrt(dim) < 1.5
    assert (clipped[short] == values[short]).all()
    long = np.abs(values).max(axis=1) > 1.5
    if long.any():
        assert np.linalg.norm(clipped[long], axis=1) == pytest.approx(1.5)
        unit = values[long] / np.abs(values[long]).max(axis=1, keepdims=True)
        cosine = (unit * clipped[long]).sum(axis=1) / np.linalg.norm(unit, axis=1) / 1.5
        assert cosine == pytest.approx(1.0)


def test_zeros_empty_rows_and_one_vector() -> None:
    assert (clip_rows(np.zeros((3, 4)), 1.0) == 0).all()
    assert clip_rows(np.zeros((0, 4)), 1.0).shape == (0, 4)
    assert clip_rows(np.zeros((2, 0)), 1.0).shape == (2, 0)
    assert clip_vector(np.array([3.0, 4.0]), 1.0) == pytest.approx([0.6, 0.8])
    assert clip_vector(np.array([3.0, 4.0], dtype=np.float32), 5.0).tolist() == [3.0, 4.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_clipped(bad: float) -> None:
    values = np.zeros((3, 2))
    values[1, 1] = bad
    with pytest.raises(LocalError, match="not a finite number"):
        clip_rows(values, 1.0)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan, math.inf])
def test_a_clip_that_bounds_nothing_is_an_error(bound: float) -> None:
    with pytest.raises(LocalError, match="bound above 0"):
        clip_rows(np.zeros((1, 2)), bound)
    with pytest.raises(LocalError, match="bound nothing"):
        norm_bound(16, bound, 2)


# --------------------------------------------------------------------------------- rounding


def test_the_norm_bound_of_the_paper() -> None:
    assert norm_bound(2**14, 1.0, 10_000) / 2**14 == pytest.approx(1.000035, abs=5e-7)
    assert norm_bound(16, 1.0, 10_000) / 16 == pytest.approx(3.3202, abs=1e-4)
    assert norm_bound(4, 0.5, 9) == math.sqrt(4 + 9 / 4 + 2 + 1.5)
    assert norm_bound(4, 0.5, 9, 0.5) == pytest.approx(
        math.sqrt(4 + 9 / 4 + math.sqrt(2 * math.log(2)) * 3.5)
    )
    assert pytest.approx(math.exp(-0.5)) == BETA


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 40),
    st.sampled_from([1, 2, 16, 1000, 2**14, 2**20]),
    st.floats(0.01, 10),
    st.integers(0, 2**32),
)
def test_every_rounded_row_is_within_its_bound(
    rows: int, dim: int, scale: int, clip: float, seed: int
) -> None:
    values = clip_rows(np.random.default_rng(seed).normal(size=(rows, dim)) * clip, clip)
    bound = norm_bound(scale, clip, dim)
    whole = round_bounded(values, scale, bound, seeded(str(seed)))
    assert whole.dtype == np.int64
    assert all(sum(int(one) ** 2 for one in row) <= bound * bound for row in whole)
    assert (np.abs(whole - values * scale) < 1 + 1e-6).all()


def test_rounding_is_unbiased_before_any_redraw() -> None:
    values = np.tile(np.array([0.25, -0.25, 0.9, 1e-3, 3.0, -2.5]), (200_000, 1))
    whole = round_bounded(values, 1, 100.0, seeded("unbiased"))  # a bound that nothing reaches
    spread = np.sqrt((values[0] % 1) * (1 - values[0] % 1) / 200_000)
    assert (np.abs(whole.mean(axis=0) - values[0]) <= 5 * spread + 1e-12).all()
    assert np.unique(whole[:, 0]).tolist() == [0, 1]
    assert np.unique(whole[:, 1]).tolist() == [-1, 0]
    correlation = np.corrcoef(whole[:, 0], whole[:, 1])[0, 1]
    assert abs(correlation) < 5 / math.sqrt(200_000)


def test_rows_beyond_the_bound_are_drawn_again() -> None:
    """At scale 1 many first draws are too long; none comes out."""
    values = clip_rows(np.ones((5000, 16)), 1.0)
    bound = 2.0  # norm_bound would be 2.83; tighter, so that redraws happen
    free = round_bounded(values, 1, 4.0, seeded("free"))
    assert ((free**2).sum(axis=1) > 4).mean() > 0.2
    held = round_bounded(values, 1, bound, seeded("held"))
    assert ((held**2).sum(axis=1) <= 4).all()
    assert held.any(axis=1).mean() > 0.9


def test_the_probability_of_a_redraw_is_at_most_beta() -> None:
    values = clip_rows(np.random.default_rng(5).normal(size=(20_000, 64)), 1.0)
    bound = norm_bound(4, 1.0, 64)
    once = round_bounded(values, 4, 100.0, seeded("beta"))
    assert ((once**2).sum(axis=1) > bound * bound).mean() <= BETA


def test_no_rows_are_no_rows_and_a_zero_row_stays() -> None:
    assert round_bounded(np.zeros((0, 3)), 8, 1.0, bytes).shape == (0, 3)
    assert (round_bounded(np.zeros((2, 3)), 8, 1.0, seeded("z")) == 0).all()


def test_rows_that_were_not_clipped_are_refused() -> None:
    with pytest.raises(LocalError, match="not clipped"):
        round_bounded(np.array([[2.0, 0.0]]), 16, norm_bound(16, 1.0, 2), seeded("x"))
    # no coordinate alone is too large, all together are
    with pytest.raises(LocalError, match="after 400 draws"):
        round_bounded(np.full((1, 16), 0.9), 64, norm_bound(64, 1.0, 16), seeded("x"))
    for bad in (math.nan, math.inf):
        with pytest.raises(LocalError, match="not clipped"):
            round_bounded(np.array([[bad]]), 16, 16.5, seeded("x"))


@pytest.mark.parametrize("bound", [0.0, math.nan, math.inf, 2.0**31])
def test_a_norm_bound_out_of_range_is_an_error(bound: float) -> None:
    with pytest.raises(LocalError, match="norm bound"):
        round_bounded(np.zeros((1, 1)), 16, bound, bytes)


def test_a_scale_that_is_too_fine_is_an_error() -> None:
    with pytest.raises(LocalError, match="beyond"):
        norm_bound(2**30, 2.0, 10)
