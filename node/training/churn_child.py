"""The child process of the own churn baseline: ``python -m node.training.churn_child``.

Reads one npz (inputs, left, weight, ask) from stdin, fits LightGBM, writes one npz with ``scores``
(N,) to stdout, and ends. No pickle in either direction.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

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
# LightGBM takes these where it finds them and works without; arrays are all it gets here.
UNUSED: Final[tuple[str, ...]] = ("pandas", "pyarrow", "sklearn", "dask", "matplotlib", "graphviz")


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


def main() -> int:
    """Read, fit, write; a traceback on stderr and a status other than 0 mean failure."""
    for name in UNUSED:
        sys.modules[name] = None  # type: ignore[assignment]  # "not installed", to an import
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    answer = io.BytesIO()
    np.savez(answer, scores=fit_and_score(arrays))
    sys.stdout.buffer.write(answer.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
