"""What the contract suite needs to know of each registered recipe: a config, and a fair sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.workloads import churn, churn_metrics, demand, metrics

MEMBERS = 6


@dataclass(frozen=True)
class Sample:
    """``free``: what an order fills in; ``wrong``: a setting that must be refused by name;
    ``evaluated``: the sum of an evaluation over ``MEMBERS`` members, whole units."""

    free: Mapping[str, Any]
    wrong: tuple[str, Any]
    evaluated: Callable[[], NDArray[np.int64]]
    noised: bool = field(default=False)


def demand_sum() -> NDArray[np.int64]:
    figures = {name: 0.5 for name in metrics.metric_names() if name != "evaluated"}
    figures |= {"wape_own": 0.6, "wape_blend": 0.5}
    one = np.round(metrics.encode_metrics(figures) * demand.METRIC_SCALE).astype(np.int64)
    return one * MEMBERS


def churn_sum() -> NDArray[np.int64]:
    left = np.arange(200) % 4 == 0
    own, shared = np.where(left, 0.4, 0.3), np.where(left, 0.7, 0.2)
    rows = churn_metrics.customer_rows(shared, left)
    gain = churn_metrics.member_gain(own, (own + 2 * shared) / 3, left)
    return MEMBERS * churn_metrics.member_vector(rows, gain)


SAMPLES: Mapping[str, Sample] = {
    demand.ID: Sample(
        free={"categories": ["bread", "milk"], "train_until": "2025-12-01"},
        wrong=("horizons", 9),
        evaluated=demand_sum,
    ),
    churn.ID: Sample(
        free={"train_until": "2025-12-01", "expected_customers": 1000},
        wrong=("delta", 0.5),
        evaluated=churn_sum,
        noised=True,
    ),
}
