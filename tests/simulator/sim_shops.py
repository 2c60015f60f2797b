"""Small shops with weekly sales, through the real features and the real training.

No vault: the series are made here and enter at the stage after the quality rules. A member's
table is made once per process; training itself runs for every round.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from node import round as way
from node.data import features
from node.data.stages import CheckedRows
from node.federation.participant import Ticket
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit
from protocols.workloads import demand
from small_coop import NOW, demand_config

FIRST = date(2025, 6, 2)  # a Monday
TRAIN_WEEKS, HOLDOUT_WEEKS = 14, 4
CATEGORIES = ("bread", "milk")
SETTINGS = {
    **demand.DEFAULTS,
    "categories": list(CATEGORIES),
    "train_until": (FIRST + timedelta(weeks=TRAIN_WEEKS, days=-1)).isoformat(),
    "holdout_weeks": HOLDOUT_WEEKS,
    "horizons": 2,
    "local_steps": 2,
    "batch": 32,
    "lr": 0.02,
}
LEARNING = {"local_steps": 15, "clip_l2": 8.0, "lr": 0.05}  # enough to learn the rhythm below


def weekly(shop: int, steady: bool = False) -> pd.DataFrame:
    """Good and bad weeks take turns: a mean of recent weeks is poor, last week tells it all.

    ``steady``: every week is like the last, and the mean is hard to beat.
    """
    noise = np.random.default_rng(shop)
    rows = []
    for at, category in enumerate(CATEGORIES):
        level = 10.0 * (1 + at) * (1 + shop % 3)
        for week in range(TRAIN_WEEKS + HOLDOUT_WEEKS):
            rhythm = 1.0 if steady else 1.8 if week % 2 else 0.2
            units = round(level * rhythm + noise.integers(0, 3))
            start = pd.Timestamp(FIRST + timedelta(weeks=week))
            rows.append((category, start, float(units)))
    return pd.DataFrame(rows, columns=["category_code", "week_start", "units"])


def permit_of(run: str, agreement: str) -> Permit:
    """What the gate would hand out; the gate itself has its own tests."""
    return Permit(
        gate=Gate.ADMIT,
        agreement=AgreementId(agreement),
        run=RunId(run),
        purpose=demand.PURPOSE,
        workload_digest="d1" * 32,
        columns=demand.COLUMNS,
        not_after=NOW + timedelta(days=1),
    )


_MADE: dict[tuple[int, bool, str], tuple[CheckedRows, features.TrainingTable]] = {}


def prepare(shop: int, steady: bool, ticket: Ticket, cache_folder: Path) -> way.Prepared:
    """``node.federation.participant.Tools.prepare`` of one shop."""
    course = ticket.course
    config = demand_config(course)
    key = (shop, steady, course.order.id)
    if key not in _MADE:
        checked = CheckedRows(
            permit=ticket.permit,
            snapshot_root="5a" * 32,
            health=100,
            weekly=weekly(shop, steady),
        )
        _MADE[key] = checked, features.training_table(checked, NOW, config)
    checked, table = _MADE[key]
    return way.PreparedDemand(
        course=course,
        config=config,
        checked=checked,
        table=table,
        now=NOW,
        known_until=FIRST + timedelta(weeks=TRAIN_WEEKS + HOLDOUT_WEEKS, days=-1),
        cache=cache_folder,
    )
