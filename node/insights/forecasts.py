"""The member's forecast of the weeks ahead: from its own rows at once, better with the model.

Nothing leaves the node. The result is plain data for a table (``rows``) or for JSON
(``document``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from node.data.features import FeatureRows, Panel, origin_rows, panel
from node.training import personalise
from protocols.errors import InputError
from protocols.workloads.demand import DemandConfig

if TYPE_CHECKING:
    import pandas as pd

HORIZONS: Final = 4
SCHEMA: Final = 1
BEST: Final = "blend"  # what a member with a shared model should act on


@dataclass(frozen=True, slots=True)
class Line:
    """One category in one week ahead; units. ``method`` is own, shared or blend."""

    category_code: str
    week_start: date
    horizon: int
    method: str
    p10: float
    p50: float
    p90: float
    mean: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Lines sorted by method, category and week; made from whole weeks up to ``known_until``."""

    known_until: date
    history_weeks: int
    own_method: str
    local_weight: float
    lines: tuple[Line, ...]

    def only(self, method: str) -> tuple[Line, ...]:
        """The lines of one method; InputError if it was not made."""
        found = tuple(line for line in self.lines if line.method == method)
        if not found:
            made = ", ".join(sorted({line.method for line in self.lines}))
            raise InputError(
                f"there is no forecast by {method!r} here; made were: {made}.",
                fix="Pull a shared model first, or ask for `own`.",
            )
        return found

    def document(self) -> dict[str, Any]:
        """For ``--json``: dates as ISO text, units to three decimals."""
        return {
            "schema": SCHEMA,
            "known_until": self.known_until.isoformat(),
            "history_weeks": self.history_weeks,
            "own_method": self.own_method,
            "local_weight": round(self.local_weight, 4),
            "lines": [
                {
                    key: value.isoformat()
                    if isinstance(value, date)
                    else round(value, 3)
                    if isinstance(value, float)
                    else value
                    for key, value in asdict(line).items()
                }
                for line in self.lines
            ],
        }


def own_forecast(
    weekly: pd.DataFrame,
    week_start: str,
    known_until: date,
    *,
    horizons: int = HORIZONS,
    cache: Path | None = None,
) -> Forecast:
    """The forecast of the own baseline: no cooperative, no model, no network.

    Args:
        weekly: category_code, week_start, units (see ``node.data.features.panel``).
        week_start: "monday" or "sunday".
        known_until: day of the last sale; a week that has only begun is left out.
        cache: a folder where the trained baseline's results are kept.

    Raises:
        InputError: no whole week of sales.
        LocalError: the baseline's child failed.
    """
    seen = panel(weekly, week_start, known_until)
    rows, made = personalise.own_forecasts(seen, horizons, cache=cache)
    return _assemble(seen, rows, made, 1.0)


def shared_forecast(
    weekly: pd.DataFrame,
    params: NDArray[np.float32],
    config: DemandConfig,
    known_until: date,
    *,
    cache: Path | None = None,
) -> Forecast:
    """Own baseline, shared model and blend for the weeks ahead.

    Categories that the model's order does not list are forecast too, by what the model knows of
    any category; their blend is theirs all the same.

    Args:
        params: the pulled model, float32 (d,).
        config: of the order that the model came from.

    Raises: as ``own_forecast``; InputError if ``params`` do not fit ``config``.
    """
    seen = panel(weekly, config.week_start, known_until)
    rows = origin_rows(seen, config.categories, config.horizons, seen.weeks - 1)
    made = personalise.forecasts(seen, seen, rows, params, config, cache=cache)
    return _assemble(seen, rows, made, personalise.local_weight(seen.weeks))


def _assemble(
    seen: Panel, rows: FeatureRows, made: personalise.Forecasts, weight: float
) -> Forecast:
    lines = [
        line
        for method, units in sorted(made.units.items(), key=_method_order)
        for line in _lines(seen, rows, method, units)
    ]
    last_day = date.fromordinal(seen.week(seen.weeks).toordinal() - 1)
    return Forecast(last_day, seen.weeks, made.own_method, weight, tuple(lines))


def _method_order(item: tuple[str, object]) -> int:
    return ("blend", "shared", "own").index(item[0])


def _lines(seen: Panel, rows: FeatureRows, method: str, units: NDArray[np.float64]) -> list[Line]:
    return [
        Line(
            seen.categories[int(series)],
            seen.week(int(rows.origin[at]) + 1 + step),
            step + 1,
            method,
            *(float(value) for value in units[at, step]),
        )
        for at, series in enumerate(rows.series)
        for step in range(units.shape[1])
    ]


def totals(lines: tuple[Line, ...]) -> Mapping[date, float]:
    """Expected units of all categories together by week: means add up, quantiles do not."""
    out: dict[date, float] = {}
    for line in lines:
        out[line.week_start] = out.get(line.week_start, 0.0) + line.mean
    return out
