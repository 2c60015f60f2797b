"""Figures from counts: exact without noise, near with it, refused where they say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import InputError, Refused
from protocols.workloads import churn_metrics as metrics


def people(count: int, seed: int = 1, slope: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated scores (for slope 1) and outcomes."""
    rng = np.random.default_rng(seed)
    score = rng.beta(1.2, 2.5, size=count)
    left = rng.uniform(size=count) < np.clip(0.5 + slope * (score - 0.5), 0, 1)
    return score, left


def auroc(score: np.ndarray, left: np.ndarray) -> float:
    gone, stayed = score[left], score[~left]
    order = np.searchsorted(np.sort(stayed), gone)
    return float(order.mean() / len(stayed))


@given(
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    left=st.integers(0, 2**20 - 1),
    gains=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)
def test_one_customer_is_bounded(
    scores: list[float], left: int, gains: tuple[float, float]
) -> None:
    """Its row, and the whole range of its member's gain, in exact whole numbers."""
    outcome = np.array([bool(left >> at & 1) for at in range(len(scores))])
    rows = metrics.customer_rows(np.array(scores), outcome)
    swing = abs(round(gains[0] * metrics.GAIN_UNITS) - round(gains[1] * metrics.GAIN_UNITS))
    for row in rows:
        assert row[-1] == 0
        assert row[: 2 * len(metrics.NODES)].sum() == metrics.COUNT_UNITS
        assert row.min() >= 0
        square = sum(int(value) ** 2 for value in row) + swing**2
        assert square <= int(metrics.CUSTOMER_L2 * metrics.SCALE) ** 2


def test_the_worst_customer_comes_near_the_bound() -> None:
    """The units are not chosen so small that noise is wasted."""
    row = metrics.customer_rows(np.array([0.0]), np.array([True]))[0]
    worst = (sum(int(value) ** 2 for value in row) + (2 * metrics.GAIN_UNITS) ** 2) ** 0.5
    assert 0.98 * metrics.SCALE < worst <= metrics.SCALE


def test_a_gain_stays_in_its_range() -> None:
    left = np.array([True, False])
    good, bad = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    assert metrics.member_gain(bad, good, left) == metrics.GAIN_UNITS
    assert metrics.member_gain(good, bad, left) == -metrics.GAIN_UNITS
    assert metrics.member_gain(good, good, left) == 0
    assert metrics.member_gain(good[:0], good[:0], left[:0]) == 0
    with pytest.raises(InputError, match="probabilities"):
        metrics.member_gain(good * np.nan, good, left)


def test_figures_without_noise() -> None:
    score, left = people(20_000)
    total = metrics.customer_rows(score, left).sum(axis=0).astype(np.float64)
    found = metrics.metrics_from_sum(total, 10, 0.1)
    assert found["evaluated"] == 10
    assert found["customers"] == pytest.approx(20_000)
    assert found["churn_rate"] == pytest.approx(left.mean())
    assert found["brier"] == pytest.approx(np.mean((score - left) ** 2), abs=1e-4)
    assert found["auroc"] == pytest.approx(auroc(score, left), abs=5e-3)
    assert found["ece"] < 0.02
    loss = -np.mean(np.where(left, np.log(score), np.log1p(-score)))
    assert found["log_loss"] == pytest.approx(loss, abs=0.01)
    top = np.argsort(-score)[:2000]
    assert found["lift10"] == pytest.approx(left[top].mean() / left.mean(), rel=0.05)
    base = left.mean() * (1 - left.mean())
    assert found["skill"] == pytest.approx(1 - found["brier"] / base)


def test_scores_that_are_off_show_in_the_calibration() -> None:
    score, left = people(20_000, slope=0.4)
    total = metrics.customer_rows(score, left).sum(axis=0).astype(np.float64)
    exact = np.array(
        [
            abs((score - left)[(score >= low) & (score < low + 0.1)].sum())
            for low in np.arange(10) / 10
        ]
    )
    found = metrics.metrics_from_sum(total, 10, 0.1)["ece"]
    assert found == pytest.approx(exact.sum() / len(score), abs=0.01)


def test_figures_with_noise_are_as_near_as_they_say() -> None:
    score, left = people(3000)
    rows = metrics.customer_rows(score, left)
    total = rows.sum(axis=0).astype(np.float64)
    total[-1] += 40 * 0.006 / metrics.GAIN_CUT * metrics.GAIN_UNITS
    rng = np.random.default_rng(5)
    multiplier = 2.0
    seen = [
        metrics.metrics_from_sum(
            total + rng.normal(size=metrics.SIZE) * multiplier * metrics.SCALE, 40, multiplier
        )
        for _ in range(300)
    ]
    still = metrics.metrics_from_sum(total, 40, 0.1)
    assert still["brier_own"] - still["brier_blend"] == pytest.approx(0.006)
    for name in ("auroc", "brier", "gain_brier"):
        values = np.array([one[name] for one in seen])
        told = np.mean([one[f"noise_{name}"] for one in seen])
        assert values.std() == pytest.approx(told, rel=0.25), name
        assert abs(values.mean() - still[name]) < 0.3 * told, name


def test_too_few_customers_beside_the_noise() -> None:
    score, left = people(3000)
    total = metrics.customer_rows(score, left).sum(axis=0).astype(np.float64)
    metrics.metrics_from_sum(total, 40, 5.0)
    with pytest.raises(Refused, match="are needed beside the noise"):
        metrics.metrics_from_sum(total, 40, 500.0)
    with pytest.raises(Refused, match="could be scored"):
        metrics.metrics_from_sum(np.zeros(metrics.SIZE), 40, 1.0)
    everybody_stayed = metrics.customer_rows(score, np.zeros(3000, dtype=bool)).sum(axis=0)
    with pytest.raises(Refused, match="and 0 who left"):
        metrics.metrics_from_sum(everybody_stayed.astype(np.float64), 40, 1.0)


def test_sums_that_are_none() -> None:
    with pytest.raises(InputError, match="finite numbers"):
        metrics.metrics_from_sum(np.zeros(3), 5, 1.0)
    with pytest.raises(InputError, match="finite numbers"):
        metrics.metrics_from_sum(np.full(metrics.SIZE, np.nan), 5, 1.0)
    with pytest.raises(InputError, match="not possible"):
        metrics.metrics_from_sum(np.full(metrics.SIZE, 1e12), 5, 1.0)
    with pytest.raises(InputError, match="probabilities"):
        metrics.customer_rows(np.array([1.2]), np.array([True]))
    with pytest.raises(InputError, match="probabilities"):
        metrics.customer_rows(np.array([0.2, 0.3]), np.array([True]))


def test_the_vector_is_clamped() -> None:
    rows = np.full((3, metrics.SIZE), int(metrics.CLAMP * metrics.SCALE), dtype=np.int64)
    vector = metrics.member_vector(rows, 5)
    assert vector.tolist() == [int(metrics.CLAMP * metrics.SCALE)] * metrics.SIZE
    assert metrics.member_vector(rows[:0], -7).tolist() == [0] * (metrics.SIZE - 1) + [-7]
