"""Synthetic shops for the tests of this folder: no randomness but a fixed generator."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from node.data.stages import CheckedRows
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit
from protocols.workloads import demand

FIRST = date(2023, 1, 2)  # a Monday
NOW = datetime(2024, 3, 1, 9, tzinfo=UTC)
NAMES = tuple(f"C{at:02}" for at in range(6))


def weekly(weeks: int = 40, seed: int = 1, names: tuple[str, ...] = NAMES) -> pd.DataFrame:
    """Counts around a level, a trend and a strong week-of-month rhythm."""
    made = np.random.default_rng(seed)
    rows = []
    for at, name in enumerate(names):
        level = 3 + 4 * at
        for week in range(weeks):
            start = FIRST + timedelta(weeks=week)
            rhythm = 1.8 if (start + timedelta(days=3)).day <= 7 else 0.8
            units = made.poisson(level * rhythm) + (1 if week == 0 else 0)
            rows.append((name, pd.Timestamp(start), float(units)))
    return pd.DataFrame(rows, columns=["category_code", "week_start", "units"])


def last_day(weeks: int) -> date:
    """The Sunday that ends this many weeks."""
    return FIRST + timedelta(weeks=weeks, days=-1)


def config(train_weeks: int = 28, **changes: Any) -> demand.DemandConfig:
    document = {
        **demand.DEFAULTS,
        "categories": list(NAMES),
        "train_until": last_day(train_weeks).isoformat(),
        **changes,
    }
    return demand.parse_config(document)


def permit(**changes: Any) -> Permit:
    fields: dict[str, Any] = {
        "gate": Gate.ADMIT,
        "agreement": AgreementId("a" * 64),
        "run": RunId("b" * 32),
        "purpose": demand.PURPOSE,
        "workload_digest": "c" * 64,
        "columns": demand.COLUMNS,
        "not_after": NOW + timedelta(hours=1),
    }
    return Permit(**(fields | changes))


def checked(table: pd.DataFrame, allowed: Permit | None = None) -> CheckedRows:
    return CheckedRows(permit=allowed or permit(), snapshot_root="d" * 64, health=100, weekly=table)
