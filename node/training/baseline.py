"""The member's own baseline: what its own rows alone can do, and what sharing has to beat.

LightGBM, one small model for each output, trained on every (category, origin, horizon) of the
member; with less than ``MIN_ROWS`` rows, the recent mean with the spread of the known rows. It
runs in a short-lived child process (``node.training.baseline_child``), so its memory is returned
and its threads never meet torch's. Arrays travel as npz over the child's stdin and stdout.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from node.data.features import LAGS, MEANS, FeatureRows, TrainingTable
from node.training import child
from protocols import canonical
from protocols.errors import InputError, LocalError
from protocols.workloads import demand

MIN_ROWS: Final = 60  # observed targets below which trees only memorise
MIN_SPREAD: Final = 30  # observed targets below which quantiles are those of a Poisson count
TIMEOUT_S: Final = 120.0
CHILD: Final = "node.training.baseline_child"
RECIPE: Final = "lightgbm/2"  # in the cache key: change it with the child
_MEAN_8: Final = LAGS + MEANS.index(8)  # input column: mean of 8 weeks / scale - 1


@dataclass(frozen=True, slots=True)
class OwnForecast:
    """``units`` float64 (N, H, 4) low, median, high, mean for the rows asked for; and by what."""

    units: NDArray[np.float64] = field(repr=False)
    method: str


def forecast(
    table: TrainingTable,
    rows: FeatureRows,
    *,
    cache: Path | None = None,
    timeout_s: float = TIMEOUT_S,
) -> OwnForecast:
    """Train the baseline on ``table`` and forecast ``rows``.

    Args:
        table: the member's own rows; may be empty.
        rows: what to forecast; series indices as in the table's panel.
        cache: a folder; the same data gives the same file, so nothing is trained twice.
        timeout_s: after which the child is ended.

    Raises:
        InputError: there are no rows to forecast.
        LocalError: the child ended early, ran out of time or answered nonsense.
    """
    if len(rows) == 0:
        raise InputError(
            "there is nothing to forecast: no category has a week of sales yet.",
            fix="Add sales first, for example with `coop-node data add FILE.csv`.",
        )
    if int(table.observed.sum()) < MIN_ROWS:
        return OwnForecast(_recent_mean(table, rows), "recent mean")
    arrays = _request(table, rows)
    kept = None if cache is None else cache / f"baseline-{_digest(arrays)}.npz"
    scaled = None if kept is None else _cached(kept, rows)
    if scaled is None:
        scaled = _checked(_run_child(arrays, timeout_s), rows)
        if kept is not None:
            _keep(kept, scaled)
    ordered = np.concatenate([np.sort(scaled[..., :3], axis=-1), scaled[..., 3:]], axis=-1)
    units = np.maximum(ordered, 0) * rows.scale[:, None, None]
    return OwnForecast(units, "LightGBM")


def _recent_mean(table: TrainingTable, rows: FeatureRows) -> NDArray[np.float64]:
    """The mean of eight weeks; quantiles from the ratios seen so far, else of a Poisson count."""
    level = np.maximum(rows.inputs[:, _MEAN_8].astype(np.float64) + 1, 0) * rows.scale
    known = table.target[table.observed]
    if len(known) >= MIN_SPREAD:
        usual = max(float(known.mean()), 1e-9)
        ratios = np.quantile(known.astype(np.float64), demand.QUANTILES) / usual
        quantiles = level[:, None] * ratios
    else:
        spread = 1.2816 * np.sqrt(level)  # the 90 % point of the normal curve
        quantiles = np.stack([level - spread, level, level + spread], axis=1)
    out = np.concatenate([np.maximum(quantiles, 0), level[:, None]], axis=1)
    return np.repeat(out[:, None, :], rows.month.shape[1], axis=1)


def _request(table: TrainingTable, rows: FeatureRows) -> dict[str, NDArray[np.generic]]:
    out: dict[str, NDArray[np.generic]] = {"target": table.target, "observed": table.observed}
    for name, part in (("train", table.rows), ("ask", rows)):
        out[f"{name}_inputs"] = part.inputs
        out[f"{name}_series"] = part.series
        out[f"{name}_month_week"] = part.month_week
        out[f"{name}_last_year"] = part.last_year
    return out


def _digest(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    parts: list[bytes | str] = [RECIPE, version("lightgbm")]
    for name, array in sorted(arrays.items()):
        parts += [name, array.dtype.str, repr(array.shape), np.ascontiguousarray(array).tobytes()]
    return canonical.digest("datacoop/baseline/1", *parts).hex()


def _run_child(arrays: Mapping[str, NDArray[np.generic]], timeout_s: float) -> bytes:
    return child.run(CHILD, arrays, timeout_s)


def _checked(answer: bytes, rows: FeatureRows) -> NDArray[np.float64]:
    expected = (len(rows), rows.month.shape[1], len(demand.OUTPUTS))
    try:
        with np.load(io.BytesIO(answer), allow_pickle=False) as data:
            scaled = np.asarray(data["forecast"], dtype=np.float64)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise LocalError(f"the own baseline answered something unreadable: {error}.") from error
    if scaled.shape != expected or not np.isfinite(scaled).all():
        raise LocalError(
            f"the own baseline answered an array of shape {scaled.shape}; expected {expected}, "
            "all finite."
        )
    return scaled


def _cached(path: Path, rows: FeatureRows) -> NDArray[np.float64] | None:
    """What was kept under this name; None if there is nothing or it is damaged."""
    try:
        return _checked(path.read_bytes(), rows)
    except (OSError, LocalError):
        return None


def _keep(path: Path, scaled: NDArray[np.float64]) -> None:
    """Write beside and rename, so that a reader never meets half a file."""
    payload = io.BytesIO()
    np.savez(payload, forecast=scaled)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as draft:
        draft.write(payload.getvalue())
    Path(draft.name).replace(path)
