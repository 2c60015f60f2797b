"""The evaluation vector: bounded, summed, read back as unweighted means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import InputError, Refused
from protocols.workloads import metrics

FIGURES = [metric for metric in metrics.METRICS if metric.name != "evaluated"]
member = st.fixed_dictionaries({m.name: st.floats(m.low, m.high) for m in FIGURES})


def figures(value: float = 0.5) -> dict[str, float]:
    return {metric.name: value for metric in FIGURES}


@settings(deadline=None)
@given(st.lists(member, min_size=2, max_size=9))
def test_the_sum_gives_unweighted_means(everyone: list[dict[str, float]]) -> None:
    total = np.sum([metrics.encode_metrics(one) for one in everyone], axis=0)
    found = metrics.metrics_from_sum(total, len(everyone))
    for metric in FIGURES:
        expected = np.mean([one[metric.name] for one in everyone])
        assert found[metric.name] == pytest.approx(expected, abs=1e-9)
    assert found["evaluated"] == found["members"] == len(everyone)


@settings(deadline=None)
@given(st.fixed_dictionaries({m.name: st.floats(-1e300, 1e300) for m in FIGURES}))
def test_every_coordinate_is_bounded(wild: dict[str, float]) -> None:
    vector = metrics.encode_metrics(wild)
    assert vector.shape == (len(metrics.METRICS),)
    assert np.abs(vector).max() <= metrics.CLIP


def test_fixed_point_is_fine_enough() -> None:
    """With the scale of a run, rounding moves a mean by less than what a card prints."""
    scale, everyone = 2**16, [figures(0.6031), figures(0.6127), figures(0.7)]
    coded = [np.floor(metrics.encode_metrics(one) * scale + 0.5) / scale for one in everyone]
    found = metrics.metrics_from_sum(np.sum(coded, axis=0), 3)
    assert found["wape_blend"] == pytest.approx(np.mean([0.6031, 0.6127, 0.7]), abs=1e-4)


def test_a_member_without_held_out_weeks_does_not_count() -> None:
    total = metrics.encode_metrics(figures(0.4)) * 2 + metrics.encode_metrics({})
    found = metrics.metrics_from_sum(total, 3)
    assert found["evaluated"] == 2
    assert found["wql_own"] == pytest.approx(0.4)


def test_gain_compares_the_blend_with_the_baseline() -> None:
    one = figures() | {"wape_own": 0.8, "wape_blend": 0.6}
    found = metrics.metrics_from_sum(2 * metrics.encode_metrics(one), 2)
    assert found["gain_wape"] == pytest.approx(0.25)
    assert found["gain_wql"] == pytest.approx(0)


@pytest.mark.parametrize("evaluated", [0, 1, 2])
def test_too_few_to_speak_of(evaluated: int) -> None:
    total = evaluated * metrics.encode_metrics(figures())
    with pytest.raises(Refused, match="of 5 members"):
        metrics.metrics_from_sum(np.asarray(total), 5)


def test_impossible_sums_are_not_read() -> None:
    good = 3 * metrics.encode_metrics(figures())
    for total, members in (
        (good[:-1], 3),
        (good * np.nan, 3),
        (good, 0),
        (good * 10, 3),
    ):
        with pytest.raises(InputError):
            metrics.metrics_from_sum(total, members)


def test_names_must_be_exact_and_numbers_finite() -> None:
    with pytest.raises(InputError, match="wape_own"):
        metrics.encode_metrics({k: v for k, v in figures().items() if k != "wape_own"})
    with pytest.raises(InputError, match="extra"):
        metrics.encode_metrics(figures() | {"extra": 1.0})
    with pytest.raises(InputError, match="bias_own"):
        metrics.encode_metrics(figures() | {"bias_own": float("nan")})
    assert metrics.metric_names()[0] == "evaluated"
