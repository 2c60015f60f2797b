"""The child process of the own baseline: ``python -m node.training.baseline_child``.

Reads one npz of arrays from stdin, fits LightGBM once for each output, writes one npz with
``forecast`` (N, H, 4) in multiples of the rows' scale to stdout, and ends. No pickle in either
direction. LightGBM is imported late and without the libraries it would pick up by itself, which
halves the child's start and memory.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from node.training.child import Arrays, serve

# Tuned, so that sharing is measured against an honest opponent: a single shop has some thousand
# noisy rows, and few, very small trees with random thresholds measured best on held-out weeks
# (1.5 % better than LightGBM's usual splits; more leaves, more rounds, other rates are worse).
ROUNDS: Final = 60
TREES: Final[Mapping[str, Any]] = {
    "num_leaves": 4,
    "extra_trees": True,
    "learning_rate": 0.05,
    "min_data_in_leaf": 120,
    "max_bin": 63,
    "lambda_l2": 1.0,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbose": -1,
}
OBJECTIVES: Final[tuple[Mapping[str, Any], ...]] = (
    {"objective": "quantile", "alpha": 0.1},
    {"objective": "quantile", "alpha": 0.5},
    {"objective": "quantile", "alpha": 0.9},
    {"objective": "regression"},
)


def design(arrays: Arrays, part: str) -> NDArray[np.float64]:
    """One row for each (row, horizon): inputs, series, week of the month, last year, horizon."""
    inputs = arrays[f"{part}_inputs"]
    horizons = arrays[f"{part}_month_week"].shape[1]
    count = len(inputs)
    return np.concatenate(
        [
            np.repeat(inputs, horizons, axis=0),
            np.repeat(arrays[f"{part}_series"], horizons)[:, None],
            arrays[f"{part}_month_week"].reshape(-1, 1),
            arrays[f"{part}_last_year"].reshape(count * horizons, -1),
            np.tile(np.arange(horizons), count)[:, None],
        ],
        axis=1,
    ).astype(np.float64)


def fit_and_forecast(arrays: Arrays) -> NDArray[np.float64]:
    """Fit on the observed targets, forecast the rows asked for: (N, H, 4)."""
    import lightgbm

    seen = arrays["observed"].ravel()
    data = lightgbm.Dataset(
        design(arrays, "train")[seen],
        arrays["target"].ravel()[seen],
        params={"verbose": -1, "max_bin": TREES["max_bin"], "num_threads": 1},
        free_raw_data=False,
    )
    ask = design(arrays, "ask")
    columns = []
    for objective in OBJECTIVES:
        model = lightgbm.train({**TREES, **objective}, data, ROUNDS)
        columns.append(model.predict(ask, num_threads=1))
    shape = (*arrays["ask_month_week"].shape, len(OBJECTIVES))
    return np.stack(columns, axis=-1).reshape(shape)


if __name__ == "__main__":
    sys.exit(serve("forecast", fit_and_forecast))
