"""Held-out weeks: how good the own baseline, the shared model and the blend really are.

Rolling origins: models are fixed at ``train_until``, then every ``horizons`` weeks the next ones
are forecast from all weeks before them, until ``holdout_weeks`` are used up. All figures are over
(category, week) pairs of one member; the cooperative takes unweighted means over members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from node.data.features import FeatureRows, Panel, origin_rows, own_table, run_panel, stack, targets
from node.training import baseline, models, personalise
from node.training.personalise import HIGH, LOW, MEDIAN
from protocols.errors import InputError
from protocols.workloads import metrics
from protocols.workloads.demand import QUANTILES, DemandConfig

if TYPE_CHECKING:
    from node.data.stages import CheckedRows

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """One forecast on one member's held-out weeks.

    ``wape`` sum |y - median| / sum y; ``wql`` mean over quantiles of 2 x pinball loss / sum y;
    ``mase`` mean of |y - median| / the category's mean |y_t - y_(t-1)| in the training weeks;
    ``coverage80`` share of weeks within [low, high]; ``bias`` sum of means / sum y - 1.
    """

    wape: float
    wql: float
    mase: float
    coverage80: float
    bias: float


@dataclass(frozen=True, slots=True)
class Report:
    """A member's own figures; they stay here, only ``figures`` go into the masked sum."""

    history_weeks: int
    own_method: str
    scores: Mapping[str, Scores]

    @property
    def cold(self) -> bool:
        """Whether the member has little history."""
        return self.history_weeks < personalise.COLD_WEEKS

    def figures(self) -> dict[str, float]:
        """The metrics of the evaluation round, for ``metrics.encode_metrics``."""
        own, mixed = self.scores["own"], self.scores["blend"]
        out = {
            f"{name}_{method}": value
            for method, scores in self.scores.items()
            for name, value in asdict(scores).items()
        }
        out["blend_beats_own_wape"] = float(mixed.wape < own.wape)
        out["blend_beats_own_wql"] = float(mixed.wql < own.wql)
        out["blend_worse_2pct"] = float(mixed.wape > 1.02 * own.wape)
        return out


def score(forecast: Floats, truth: Floats, observed: NDArray[np.bool_], mae: Floats) -> Scores:
    """Scores of one forecast.

    Args:
        forecast: (N, H, 4) low, median, high, mean.
        truth, observed: (N, H); pairs that are not observed do not count.
        mae: (N,) naive error of the row's category in the training weeks.

    Raises:
        InputError: nothing was sold in the observed weeks, so no share can be taken.
    """
    sold = float(truth[observed].sum())
    if not sold > 0:
        raise InputError(
            "nothing was sold in the held-out weeks, so no error can be measured.",
            fix="Add the sales after train_until, or ask for an earlier one.",
        )
    levels = np.array(QUANTILES)
    error = (truth[..., None] - forecast[..., :3])[observed]
    pinball = np.maximum(levels * error, (levels - 1) * error)
    median_error = np.abs(error[:, MEDIAN])
    usable = observed & (mae > 0)[:, None]
    naive = np.broadcast_to(mae[:, None], observed.shape)
    scaled = (np.abs(truth - forecast[..., MEDIAN]) / np.where(usable, naive, 1))[usable]
    inside = (error[:, LOW] >= 0) & (error[:, HIGH] <= 0)
    return Scores(
        wape=float(median_error.sum()) / sold,
        wql=float((2 * pinball).sum(axis=0).mean()) / sold,
        mase=float(scaled.mean()) if scaled.size else 0.0,
        coverage80=float(inside.mean()),
        bias=float(forecast[..., 3][observed].sum()) / sold - 1,
    )


def holdout_rows(seen: Panel, train_weeks: int, config: DemandConfig) -> FeatureRows:
    """Rows of every rolling origin that has at least one known week after it."""
    last = min(seen.weeks, train_weeks + config.holdout_weeks)
    origins = range(train_weeks - 1, last - 1, config.horizons)
    if not origins:
        raise InputError(
            f"there are no weeks after {config.train_until.isoformat()} to evaluate on.",
            fix="Add newer sales, or ask for an order with an earlier train_until.",
        )
    return stack([origin_rows(seen, config.categories, config.horizons, at) for at in origins])


def report(
    seen: Panel,
    params: NDArray[np.float32],
    config: DemandConfig,
    *,
    cache: Path | None = None,
) -> Report:
    """Score the three forecasts on the member's own held-out weeks; for its own eyes.

    Raises:
        InputError: no weeks before or after ``train_until``, or nothing sold after it.
        LocalError: the baseline's child failed.
    """
    past = seen.until(config.train_until)
    rows = holdout_rows(seen, past.weeks, config)
    found = personalise.forecasts(past, seen, rows, params, config, cache=cache)
    truth, observed = targets(seen, rows, past.weeks + config.holdout_weeks)
    mae = _naive_mae(past)[rows.series]
    scores = {name: score(each, truth, observed, mae) for name, each in found.units.items()}
    return Report(past.weeks, found.own_method, scores)


def warm_baseline(seen: Panel, config: DemandConfig, cache: Path) -> None:
    """Train the own baseline of ``report`` ahead of time, into the cache; the node may wait then.

    Raises: as ``report``.
    """
    past = seen.until(config.train_until)
    rows = holdout_rows(seen, past.weeks, config)
    baseline.forecast(own_table(past, config.categories, config.horizons), rows, cache=cache)


def run_metrics(
    checked: CheckedRows,
    now: datetime,
    params: NDArray[np.float32],
    config: DemandConfig,
    *,
    cache: Path | None = None,
    known_until: date | None = None,
) -> tuple[Floats, Report | None]:
    """The vector of the evaluation round, and the report behind it for the member alone.

    A member that has nothing to evaluate on sends zeros, which say so; it still takes part, so
    the sum closes.

    Raises:
        Refused: the permit does not open these rows.
        InputError: the parameters do not fit the config.
        LocalError: the baseline's child failed.
    """
    seen = run_panel(checked, now, config, known_until)
    models.flat(params, config)  # a wrong model is an error, not a member without weeks
    try:
        found = report(seen, params, config, cache=cache)
    except InputError:
        return metrics.encode_metrics({}), None
    return metrics.encode_metrics(found.figures()), found


def _naive_mae(past: Panel) -> Floats:
    """Mean |y_t - y_(t-1)| in the training weeks, (categories,), NaN where there are no two."""
    steps = np.abs(np.diff(past.units, axis=1))
    count = (~np.isnan(steps)).sum(axis=1)
    return np.where(count > 0, np.nansum(steps, axis=1) / np.maximum(count, 1), np.nan)
