"""Synthetic customers of one shop: each comes at its own pace, and some stay away for good."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd

from protocols.workloads import churn

FIRST = date(2024, 1, 1)
WEEKS = 52
HORIZON = 8
TRAIN_UNTIL = FIRST + timedelta(weeks=WEEKS - HORIZON, days=-1)


def config(**changes: object) -> churn.ChurnConfig:
    """Defaults, with few snapshots; the last day of training leaves one horizon of weeks."""
    settings = {
        **churn.DEFAULTS,
        "train_until": TRAIN_UNTIL.isoformat(),
        "horizon_weeks": HORIZON,
        "snapshots": 4,
        "snapshot_every_weeks": 4,
        "expected_customers": 200,
    }
    return churn.parse_config({**settings, **changes})


def lines(customers: int = 60, seed: int = 1, weeks: int = WEEKS) -> pd.DataFrame:
    """Lines of ``customers`` from a gamma of paces and a geometric end, one to three a visit."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(customers):
        pace = rng.gamma(2.0, 5.0) + 1.5  # days between visits
        end = rng.exponential(7 * weeks * 0.9)
        day = rng.uniform(0, 7 * weeks * 0.5)
        end = day + end
        while day < min(end, 7 * weeks):
            for _ in range(rng.integers(1, 4)):
                rows.append(
                    (
                        f"{number:064x}",
                        FIRST + timedelta(days=int(day)),
                        round(float(rng.gamma(2.0, 6.0)), 2),
                        f"c{rng.integers(0, 6)}",
                    )
                )
            day += rng.exponential(pace) + 1
    frame = pd.DataFrame(rows, columns=["customer_key", "business_date", "net", "category_code"])
    return frame.assign(business_date=pd.to_datetime(frame["business_date"]))


def entropy(seed: str = "e") -> Callable[[int], bytes]:
    """Repeatable bytes for tests."""
    count = itertools.count()

    def draw(many: int) -> bytes:
        return hashlib.shake_256(f"{seed} {next(count)}".encode()).digest(many)

    return draw
