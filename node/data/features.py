"""Weekly series into numbers a model can learn from. Nothing here leaves the node.

A ``Panel`` is one row a category and one column a week: units, 0 in weeks without a sale after
the first one, NaN before it. ``FeatureRows`` describe a series at an origin (the last week that
is known) and its target weeks; ``TrainingTable`` adds what was sold in them.

Every input is divided by the series' own recent level (``scale``), so shops of all sizes look
alike and the level itself stays at home.

Two ways in. ``training_table`` and ``run_panel`` serve a run and take checked rows, whose permit
must open the gate for the columns of the workload. ``panel`` and ``own_table`` serve the member
itself: its own rows, its own machine, nothing sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from protocols.errors import InputError
from protocols.permit import Gate
from protocols.workloads import demand

if TYPE_CHECKING:
    from node.data.stages import CheckedRows

Floats = NDArray[np.float64]

LAGS: Final = 8
MEANS: Final = (2, 4, 8, 13, 26)
TOTALS: Final = (1, 2, 4, 8)
YEAR_WEEKS: Final = 52
MIN_HISTORY: Final = 4  # weeks a series needs before an origin to be trained on
MAX_ORIGINS: Final = 156  # three years: older weeks say little and cost time
MAX_WEEKS: Final = 1040
SCALE_FLOOR: Final = 0.25  # units a week; keeps a series without sales from dividing by zero
_WEEKDAY: Final[Mapping[str, int]] = {"monday": 0, "sunday": 6}


@dataclass(frozen=True, slots=True)
class Panel:
    """Units a week: ``units`` float64 (categories, weeks), NaN before a category's first sale."""

    categories: tuple[str, ...]
    first_week: date
    units: Floats = field(repr=False)

    @property
    def weeks(self) -> int:
        """How many weeks it spans."""
        return int(self.units.shape[1])

    def week(self, at: int) -> date:
        """First day of the week in column ``at``; also beyond the end."""
        return self.first_week + timedelta(weeks=at)

    def until(self, last_day: date) -> Panel:
        """The weeks that ended on or before ``last_day``; the categories stay in their rows."""
        keep = max(0, min(self.weeks, ((last_day - self.first_week).days + 1) // 7))
        if np.isnan(self.units[:, :keep]).all():
            raise InputError(
                f"no whole week with sales ended on or before {last_day.isoformat()}.",
                fix="Add the sales of earlier weeks, or choose a later day.",
            )
        return Panel(self.categories, self.first_week, self.units[:, :keep])


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """N series at their origins, H target weeks each.

    ``inputs`` float32 (N, INPUTS); ``vocabulary`` (N,) index of the category, 0 if not listed;
    ``series`` (N,) row in the panel; ``origin`` (N,) column of the last known week; ``month`` and
    ``month_week`` (N, H); ``last_year`` float32 (N, H, 2); ``scale`` float64 (N,), units a week.
    """

    inputs: NDArray[np.float32] = field(repr=False)
    vocabulary: NDArray[np.int64] = field(repr=False)
    series: NDArray[np.int64] = field(repr=False)
    origin: NDArray[np.int64] = field(repr=False)
    month: NDArray[np.int64] = field(repr=False)
    month_week: NDArray[np.int64] = field(repr=False)
    last_year: NDArray[np.float32] = field(repr=False)
    scale: Floats = field(repr=False)

    def __len__(self) -> int:
        return len(self.scale)


@dataclass(frozen=True, slots=True)
class TrainingTable:
    """Rows with their targets: what local training and the own baseline read.

    ``target`` float32 (N, H), units divided by the row's scale; ``observed`` bool (N, H), where
    the target week is known and may be trained on; ``history_weeks`` of the member.
    """

    rows: FeatureRows
    target: NDArray[np.float32] = field(repr=False)
    observed: NDArray[np.bool_] = field(repr=False)
    history_weeks: int

    def __len__(self) -> int:
        return len(self.rows)


def run_panel(
    checked: CheckedRows,
    now: datetime,
    config: demand.DemandConfig,
    known_until: date | None = None,
) -> Panel:
    """The panel that a run may see: up to the held-out weeks, listed categories only.

    ``known_until`` is the last day of sales here, so that a week that has only begun is left
    out; without it the last week with sales counts as whole.

    Raises:
        Refused: the permit is for another gate, has run out, or lacks a column.
        InputError: there is no listed category, or no whole week.
    """
    checked.permit.require(Gate.ADMIT, now, columns=demand.COLUMNS)
    listed = checked.weekly[checked.weekly["category_code"].isin(config.categories)]
    if listed.empty:
        raise InputError(
            "none of the categories in the order was ever sold here.",
            fix="Compare your category codes with the order's list, and map them before adding.",
        )
    last = config.train_until + timedelta(weeks=config.holdout_weeks)
    # A shop's weeks end with its last sale of anything, not with that of a listed category.
    newest = pd.to_datetime(checked.weekly["week_start"]).max().date() + timedelta(days=6)
    return panel(listed, config.week_start, min(last, newest, known_until or newest))


def training_table(
    checked: CheckedRows, now: datetime, config: demand.DemandConfig
) -> TrainingTable:
    """What this member trains on in a run: weeks that ended on or before ``train_until``.

    Raises: as ``run_panel``; InputError if no series has enough weeks.
    """
    seen = run_panel(checked, now, config).until(config.train_until)
    table = own_table(seen, config.categories, config.horizons)
    if len(table) == 0:
        raise InputError(
            f"no category has {MIN_HISTORY + 1} weeks of sales before {config.train_until}.",
            fix="Add older sales, or ask for an order with a later train_until.",
        )
    return table


def panel(weekly: pd.DataFrame, week_start: str, until: date) -> Panel:
    """The member's own panel, for its own use.

    Args:
        weekly: category_code (text), week_start (date of the first day), units.
        week_start: "monday" or "sunday".
        until: the last day that is known, for example that of the last sale; a week that ends
            later is left out, and weeks without a row before it are weeks without sales.

    Raises:
        InputError: columns are missing, units are not numbers, a week starts on another weekday,
            a week stands twice, or no whole week is there.
    """
    clean = _checked(weekly, week_start)
    starts = clean["week_start"].to_numpy().astype("datetime64[D]")
    last = np.datetime64(until, "D") - np.timedelta64(6, "D")
    clean, starts = clean[starts <= last], starts[starts <= last]
    if len(clean) == 0:
        raise InputError(
            f"there is no whole week of sales that ended on or before {until.isoformat()}.",
            fix="Add more sales, or wait until the first week is over.",
        )
    end = _first_day(last, week_start)
    first = starts.min()
    weeks = int((end - first).astype(int)) // 7 + 1
    if weeks > MAX_WEEKS:
        raise InputError(
            f"the sales span {weeks} weeks, from {first} to {end}; at most {MAX_WEEKS} are read.",
            fix="Look for a wrong year among the dates.",
        )
    names = tuple(sorted(set(clean["category_code"])))
    row = clean["category_code"].map({name: at for at, name in enumerate(names)}).to_numpy()
    column = (starts - first).astype(int) // 7
    units = np.full((len(names), weeks), np.nan)
    units[row, column] = np.maximum(clean["units"].to_numpy(dtype=np.float64), 0)
    begun = np.logical_or.accumulate(~np.isnan(units), axis=1)
    units[begun & np.isnan(units)] = 0.0
    return Panel(names, first.astype(object), units)


def _first_day(day: np.datetime64, week_start: str) -> np.datetime64:
    weekday = (day.astype("datetime64[D]").astype(int) + 3) % 7  # 1970-01-01 was a Thursday
    return day - np.timedelta64(int((weekday - _WEEKDAY[week_start]) % 7), "D")


def _checked(weekly: pd.DataFrame, week_start: str) -> pd.DataFrame:
    if week_start not in _WEEKDAY:
        raise InputError(f"weeks start on monday or sunday, not {week_start!r}.")
    missing = sorted({"category_code", "week_start", "units"} - set(weekly.columns))
    if missing:
        raise InputError(f"the weekly table lacks the columns {', '.join(missing)}.")
    units = pd.to_numeric(weekly["units"], errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(units).all():
        raise InputError("the weekly units hold values that are not numbers.")
    starts = pd.to_datetime(weekly["week_start"])
    wrong = starts[starts.dt.day_of_week != _WEEKDAY[week_start]]
    if len(wrong):
        raise InputError(
            f"the week of {wrong.iloc[0].date()} does not start on a {week_start}.",
            fix="Group the sales by the weekday that the order names.",
        )
    clean = pd.DataFrame(
        {"category_code": weekly["category_code"].astype(str), "week_start": starts, "units": units}
    )
    if clean.duplicated(["category_code", "week_start"]).any():
        raise InputError("a category has two rows for one week; one is expected.")
    return clean


def own_table(seen: Panel, vocabulary: Sequence[str], horizons: int) -> TrainingTable:
    """Every origin of ``seen`` with its known targets, for the member's own use; may be empty."""
    last = seen.weeks - 1
    first = max(MIN_HISTORY - 1, last - MAX_ORIGINS)
    parts = [origin_rows(seen, vocabulary, horizons, at) for at in range(first, last)]
    if parts:
        rows = stack(parts)
        known = (~np.isnan(seen.units)).cumsum(axis=1)
        rows = take(rows, np.flatnonzero(known[rows.series, rows.origin] >= MIN_HISTORY))
    else:
        rows = take(origin_rows(seen, vocabulary, horizons, last), np.zeros(0, dtype=np.int64))
    units, observed = targets(seen, rows)
    target = (units / rows.scale[:, None]).astype(np.float32)
    return TrainingTable(rows, target, observed, seen.weeks)


def targets(
    seen: Panel, rows: FeatureRows, end: int | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Units sold in the target weeks (N, H), and which are known and before column ``end``."""
    ahead = rows.origin[:, None] + 1 + np.arange(rows.month.shape[1])
    observed = ahead < (seen.weeks if end is None else min(end, seen.weeks))
    units = seen.units[rows.series[:, None], np.minimum(ahead, seen.weeks - 1)]
    return np.where(observed, units, 0.0), observed


def origin_rows(seen: Panel, vocabulary: Sequence[str], horizons: int, origin: int) -> FeatureRows:
    """One row a category that has begun by column ``origin``; later columns are not read."""
    if not 0 <= origin < seen.weeks:
        raise InputError(f"week {origin} is outside the panel of {seen.weeks} weeks.")
    begun = np.flatnonzero(~np.isnan(seen.units[:, : origin + 1]).all(axis=1))
    past = seen.units[begun, : origin + 1]
    inputs, scale = _inputs(past)
    index = {name: at + 1 for at, name in enumerate(vocabulary)}
    count, ahead = len(begun), [seen.week(origin + 1 + step) for step in range(horizons)]
    middle = [day + timedelta(days=3) for day in ahead]  # the day that decides the month
    month = np.array([day.month - 1 for day in middle], dtype=np.int64)
    part = np.array([min((day.day - 1) // 7, 3) for day in middle], dtype=np.int64)
    return FeatureRows(
        inputs=inputs,
        vocabulary=np.array(
            [index.get(seen.categories[at], demand.UNKNOWN) for at in begun], dtype=np.int64
        ),
        series=begun.astype(np.int64),
        origin=np.full(count, origin, dtype=np.int64),
        month=np.tile(month, (count, 1)),
        month_week=np.tile(part, (count, 1)),
        last_year=_last_year(past, scale, horizons),
        scale=scale,
    )


def _inputs(past: Floats) -> tuple[NDArray[np.float32], Floats]:
    """Inputs (C, INPUTS) and scale (C,) from the weeks up to the origin, (C, T)."""
    window = past[:, -YEAR_WEEKS:]
    known = ~np.isnan(window)
    level = _mean(window, YEAR_WEEKS)
    scale = 0.5 * _mean(window, 8) + 0.5 * level + SCALE_FLOOR
    relative = window / scale[:, None]
    lags = np.zeros((len(past), LAGS))
    reach = min(LAGS, window.shape[1])
    # the square root steadies counts: their spread grows with the root of their level
    lags[:, LAGS - reach :] = np.nan_to_num(np.sqrt(relative[:, -reach:]) - 1, nan=0.0)
    half = relative[:, -26:]
    quarter = relative[:, -13:]
    quiet = (quarter == 0).sum(axis=1) / np.maximum(known[:, -13:].sum(axis=1), 1)
    totals = np.nansum(window, axis=0)
    usual = max(float(totals.mean()), 1e-9)
    store = [totals[-weeks:].mean() / usual - 1 for weeks in TOTALS]
    weeks_known = np.minimum((~np.isnan(past)).sum(axis=1), 2 * YEAR_WEEKS)
    columns = [
        lags,
        *(_mean(window, weeks) / scale - 1 for weeks in MEANS),
        level / scale - 1,
        _deviation(half),
        quiet,
        np.log(scale),
        np.log1p(np.nan_to_num(half, nan=0.0).max(axis=1)),
        _quantile(quarter, 0.5) - 1,
        _quantile(half, 0.9) - 1,
        _quantile(half, 0.1) - 1,
        *(np.full(len(past), value) for value in store),
        np.log(weeks_known) - 3,
    ]
    return np.column_stack(columns).astype(np.float32), scale


def _mean(window: Floats, weeks: int) -> Floats:
    """Mean over the known ones of the last weeks; the whole window's where none is known."""
    part = window[:, -weeks:]
    count = (~np.isnan(part)).sum(axis=1)
    out: Floats = np.nansum(part, axis=1) / np.maximum(count, 1)
    return out


def _deviation(part: Floats) -> Floats:
    count = np.maximum((~np.isnan(part)).sum(axis=1), 1)
    mean = np.nansum(part, axis=1) / count
    out: Floats = np.sqrt(np.nansum((part - mean[:, None]) ** 2, axis=1) / count)
    return out


def _quantile(part: Floats, level: float) -> Floats:
    """Linear-interpolated quantile of the known values in each row; NaN sorts to the end."""
    ordered = np.sort(part, axis=1)
    count = (~np.isnan(part)).sum(axis=1)
    place = level * (np.maximum(count, 1) - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    at = np.arange(len(part))
    share = place - low
    out: Floats = np.nan_to_num(ordered[at, low] * (1 - share) + ordered[at, high] * share)
    return out


def _last_year(past: Floats, scale: Floats, horizons: int) -> NDArray[np.float32]:
    """Level around the same week a year earlier, and 1 where it is known: (C, H, 2)."""
    out = np.zeros((len(past), horizons, demand.LAST_YEAR), dtype=np.float32)
    origin = past.shape[1] - 1
    for step in range(horizons):
        centre = origin + 1 + step - YEAR_WEEKS
        part = past[:, max(0, centre - 1) : max(0, centre + 2)]
        count = (~np.isnan(part)).sum(axis=1)
        mean = np.nansum(part, axis=1) / np.maximum(count, 1)
        out[:, step, 0] = np.where(count > 0, np.sqrt(mean / scale) - 1, 0)
        out[:, step, 1] = count > 0
    return out


def stack(parts: Sequence[FeatureRows]) -> FeatureRows:
    """One after another."""
    return FeatureRows(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in FeatureRows.__slots__
        }
    )


def take(rows: FeatureRows, at: NDArray[np.int64]) -> FeatureRows:
    """The rows at these indices."""
    return FeatureRows(**{name: getattr(rows, name)[at] for name in FeatureRows.__slots__})
