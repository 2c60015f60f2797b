"""The metrics of the evaluation round: one bounded vector a member, summed under masks.

Every member scores three forecasts on its own held-out weeks: its own baseline, the shared model
and the blend. Each figure is cut to its bound and divided by it, so every coordinate lies in
[-1, 1] and fits the fixed point of secure aggregation with clip = 1. Only the sum over all
members becomes known. Figures about a part of the members (cold ones, small ones) are left out
on purpose: a sum over two members tells each of them the other's figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, Refused

CLIP: Final = 1.0
METHODS: Final[tuple[str, ...]] = ("own", "shared", "blend")


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure a member reports, in [low, high]; ``high`` is also its divisor."""

    name: str
    low: float
    high: float


def _per_method(name: str, low: float, high: float) -> tuple[Metric, ...]:
    return tuple(Metric(f"{name}_{method}", low, high) for method in METHODS)


METRICS: Final[tuple[Metric, ...]] = (
    Metric("evaluated", 0, 1),  # 1 if the member has held-out weeks; all others are 0 if not
    *_per_method("wape", 0, 4),
    *_per_method("wql", 0, 4),
    *_per_method("mase", 0, 8),
    *_per_method("coverage80", 0, 1),
    *_per_method("bias", -2, 2),
    Metric("blend_beats_own_wape", 0, 1),
    Metric("blend_beats_own_wql", 0, 1),
    Metric("blend_worse_2pct", 0, 1),
)


def metric_names() -> tuple[str, ...]:
    """Names of the coordinates, in order."""
    return tuple(metric.name for metric in METRICS)


def encode_metrics(figures: Mapping[str, float]) -> NDArray[np.float64]:
    """The member's metric vector (m,), each coordinate in [-1, 1].

    An empty mapping is a member without held-out weeks: all zeros.

    Raises:
        InputError: a name is missing or unknown, or a figure is not a finite number.
    """
    names = metric_names()
    if not figures:
        return np.zeros(len(names))
    wrong = sorted(set(figures) ^ (set(names) - {"evaluated"}))
    if wrong:
        raise InputError(f"the metrics {', '.join(wrong)} are missing or not known.")
    out = np.empty(len(names))
    for at, metric in enumerate(METRICS):
        value = 1.0 if metric.name == "evaluated" else float(figures[metric.name])
        if not np.isfinite(value):
            raise InputError(f"the metric {metric.name} is {value}; a finite number is expected.")
        out[at] = min(max(value, metric.low), metric.high) / metric.high
    return out


def metrics_from_sum(total: NDArray[np.float64], members: int) -> dict[str, float]:
    """Unweighted means over the members that could evaluate, from the published sum (m,).

    Besides the means: ``members``, ``evaluated`` (a count), ``gain_wape`` and ``gain_wql``
    (how much smaller the blend's error is than the baseline's, as a share).

    Raises:
        InputError: the sum has another length or is impossible for so many members.
        Refused: fewer than half of the members (or fewer than two) had held-out weeks.
    """
    total = np.asarray(total, dtype=np.float64)
    if total.shape != (len(METRICS),) or not np.isfinite(total).all():
        raise InputError(f"the sum of the metrics must hold {len(METRICS)} finite numbers.")
    if members < 1 or np.abs(total).max() > members * CLIP + 1e-3:
        raise InputError(f"this sum of metrics is not possible with {members} members.")
    evaluated = round(float(total[0]))
    if evaluated < 2 or 2 * evaluated < members:
        raise Refused(
            f"{evaluated} of {members} members could evaluate on held-out weeks; at least half "
            "(and two) are needed for a mean.",
            fix="Choose an earlier train_until, so that more members have weeks after it.",
        )
    means = {
        metric.name: float(value) * metric.high / evaluated
        for metric, value in zip(METRICS, total, strict=True)
    }
    means["evaluated"] = float(evaluated)
    means["members"] = float(members)
    for error in ("wape", "wql"):
        own, blend = means[f"{error}_own"], means[f"{error}_blend"]
        means[f"gain_{error}"] = 1 - blend / own if own > 0 else 0.0
    return means
