"""The child process of the own churn baseline: ``python -m node.training.churn_child``.

Reads one npz (inputs, left, weight, ask) from stdin, fits LightGBM, writes one npz with ``scores``
(N,) to stdout, and ends. No pickle in either direction.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from node.training.child import Arrays, serve

# Few, very small trees: a shop has some hundred customers, seen several times each.
ROUNDS: Final = 80
TREES: Final[Mapping[str, Any]] = {
    "objective": "binary",
    "num_leaves": 4,
    "extra_trees": True,
    "learning_rate": 0.05,
    "min_data_in_leaf": 20,
    "max_bin": 63,
    "lambda_l2": 1.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbose": -1,
}


def fit_and_score(arrays: Arrays) -> NDArray[np.float64]:
    """Fit on ``inputs`` and ``left``, weighted; score ``ask``: probabilities (N,)."""
    import lightgbm

    data = lightgbm.Dataset(
        arrays["inputs"],
        arrays["left"].astype(np.float64),
        weight=arrays["weight"],
        params={"verbose": -1, "max_bin": TREES["max_bin"], "num_threads": 1},
    )
    model = lightgbm.train(dict(TREES), data, ROUNDS)
    return np.asarray(model.predict(arrays["ask"], num_threads=1), dtype=np.float64)


if __name__ == "__main__":
    sys.exit(serve("scores", fit_and_score))
