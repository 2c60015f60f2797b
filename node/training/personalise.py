"""What each member makes of the shared model: a blend with its own baseline, and honest ranges.

Choosing one of the two on a short validation window was measured to fail (it keeps half the gain
and no guarantee); a fixed weight that grows with the history does not need one.

Two finishing steps, both local and cheap. Where every sale was in whole units, the median is a
whole number, as the median of a count is (worth 0.5 % of WAPE, for each method alike). The range
is stretched by a factor that is calibrated on the last weeks before the forecast (split
conformal: the 80 % quantile of how far outside its range each week fell), drawn towards a prior
because a few hundred weeks are noisy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from node.data.features import (
    MIN_HISTORY,
    FeatureRows,
    Panel,
    origin_rows,
    own_table,
    stack,
    targets,
)
from node.training import baseline
from protocols.errors import InputError
from protocols.workloads.demand import QUANTILES, DemandConfig

Floats = NDArray[np.float64]

BLEND_WEEKS: Final = 52.0  # weeks of own history at which both have the same say
COLD_WEEKS: Final = 26  # a member with less history than this counts as cold
LOW, MEDIAN, HIGH = 0, 1, 2
COVERED: Final = QUANTILES[HIGH] - QUANTILES[LOW]
CALIBRATION_WEEKS: Final = 8  # half of it for cold members
PRIOR_WIDTH: Final = 1.05  # a mean of two ranges comes out about 5 % too narrow
PRIOR_PAIRS: Final = 240  # how many (category, week) pairs the prior counts for
WIDTH_BOUNDS: Final = (0.8, 1.6)


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Units (N, H, 4) low, median, high, mean by method: own, and shared and blend if asked."""

    units: Mapping[str, Floats] = field(repr=False)
    own_method: str
    width: float


def local_weight(history_weeks: int, k: float = BLEND_WEEKS) -> float:
    """The own baseline's share of the blend, h / (h + k)."""
    if history_weeks < 0 or not k > 0:
        raise InputError(f"history of {history_weeks} weeks and k = {k} give no weight.")
    return history_weeks / (history_weeks + k)


def blend(own: Floats, shared: Floats, history_weeks: int) -> Floats:
    """Weighted mean of two forecasts (N, H, 4); quantiles stay in order since both are."""
    if own.shape != shared.shape:
        raise InputError(f"forecasts of shapes {own.shape} and {shared.shape} cannot be blended.")
    weight = local_weight(history_weeks)
    mixed: Floats = weight * own + (1 - weight) * shared
    return mixed


def own_forecasts(
    past: Panel, horizons: int, *, cache: Path | None = None
) -> tuple[FeatureRows, Forecasts]:
    """The own baseline alone for the weeks after the panel; needs no cooperative."""
    rows = origin_rows(past, (), horizons, past.weeks - 1)
    own = baseline.forecast(own_table(past, (), horizons), rows, cache=cache)
    return rows, Forecasts({"own": finish(own.units, whole_units(past))}, own.method, 1.0)


def forecasts(
    past: Panel,
    seen: Panel,
    rows: FeatureRows,
    params: NDArray[np.float32],
    config: DemandConfig,
    *,
    cache: Path | None = None,
) -> Forecasts:
    """Own baseline, shared model and blend.

    Args:
        past: what the baseline trains on and ranges are calibrated on.
        seen: ``past``, or ``past`` with the later weeks that ``rows`` roll over.
        rows: rows of ``seen`` to forecast.
        params: the shared model, float32 (d,).
        cache: a folder for the baseline's results.

    Raises:
        InputError: nothing to forecast, or parameters of another layout.
        LocalError: the baseline's child failed.
    """
    table = own_table(past, config.categories, config.horizons)
    own = baseline.forecast(table, rows, cache=cache)
    shared = _shared(params, rows, config)
    width = _calibrated(past, params, config)
    whole = whole_units(seen)
    mixed = blend(own.units, shared, past.weeks)
    units = {
        "own": finish(own.units, whole),
        "shared": finish(shared, whole, width),
        "blend": finish(mixed, whole, width),
    }
    return Forecasts(units, own.method, width)


def whole_units(seen: Panel) -> bool:
    """Whether every week's units are a whole number (pieces, not kilograms)."""
    known = seen.units[~np.isnan(seen.units)]
    return bool((known == np.round(known)).all())


def finish(forecast: Floats, whole: bool, width: float = 1.0) -> Floats:
    """Stretch the range about the median, none below 0; then round the median if ``whole``.

    The median is rounded half up and kept inside the range, so that quantiles stay in order.
    """
    out = forecast.copy()
    median = forecast[..., MEDIAN]
    out[..., LOW] = np.maximum(median - width * (median - forecast[..., LOW]), 0)
    out[..., HIGH] = median + width * (forecast[..., HIGH] - median)
    if whole:
        out[..., MEDIAN] = np.floor(median + 0.5)
        out[..., LOW] = np.minimum(out[..., LOW], out[..., MEDIAN])
        out[..., HIGH] = np.maximum(out[..., HIGH], out[..., MEDIAN])
    return out


def range_width(forecast: Floats, truth: Floats, observed: NDArray[np.bool_]) -> float:
    """The factor by which ranges must be stretched to cover their share of ``truth``.

    Each pair's score is its distance from the median in units of the range's own side; the
    factor is the scores' quantile, drawn towards ``PRIOR_WIDTH`` as if that had been seen on
    ``PRIOR_PAIRS`` pairs.
    """
    below = np.maximum(forecast[..., MEDIAN] - forecast[..., LOW], 1e-6)
    above = np.maximum(forecast[..., HIGH] - forecast[..., MEDIAN], 1e-6)
    error = truth - forecast[..., MEDIAN]
    scores = np.where(error >= 0, error / above, -error / below)[observed]
    pairs = len(scores)
    if pairs == 0:
        return PRIOR_WIDTH
    seen = float(np.quantile(scores, min(1.0, COVERED * (1 + 1 / pairs))))
    seen = min(max(seen, WIDTH_BOUNDS[0]), WIDTH_BOUNDS[1])
    return (PRIOR_PAIRS * PRIOR_WIDTH + pairs * seen) / (PRIOR_PAIRS + pairs)


def _calibrated(past: Panel, params: NDArray[np.float32], config: DemandConfig) -> float:
    """The width from the shared model's forecasts of the last known weeks.

    The shared model has seen these weeks of this member among many others, so its ranges there
    are nearly as honest as later; a second baseline trained without them measured no better.
    """
    weeks = CALIBRATION_WEEKS if past.weeks >= COLD_WEEKS else CALIBRATION_WEEKS // 2
    first = past.weeks - weeks - 1
    if first < MIN_HISTORY - 1:
        return PRIOR_WIDTH
    origins = range(first, past.weeks - 1, config.horizons)
    rows = stack([origin_rows(past, config.categories, config.horizons, at) for at in origins])
    if len(rows) == 0:
        return PRIOR_WIDTH
    truth, observed = targets(past, rows)
    return range_width(_shared(params, rows, config), truth, observed)


def _shared(params: NDArray[np.float32], rows: FeatureRows, config: DemandConfig) -> Floats:
    from node.training import models  # torch: a forecast without a shared model does without it

    return models.predict(params, rows, config)
