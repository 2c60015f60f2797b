"""The demand network, as a function of one flat parameter vector.

The layout and the first weights are agreed (``protocols.workloads.demand``); this is the
arithmetic between them. There is no module object: a round starts from a vector and ends with
one, and a vector is what is clipped, summed and hashed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from node.data.features import FeatureRows
from protocols.errors import InputError
from protocols.workloads import demand

torch.set_num_threads(1)  # a shop's till machine; and the same sums in the same order each time

# With these, a network that says 0 starts at low 0.5, median 1, high 1.5 and mean 1 times the
# series' own level: a fair first guess.
SPREAD_BIAS = -0.4328  # softplus(-0.4328) = 0.5
MEAN_BIAS = 0.5413  # softplus(0.5413) = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """FeatureRows as tensors; same names and shapes."""

    inputs: Tensor = field(repr=False)
    vocabulary: Tensor = field(repr=False)
    month: Tensor = field(repr=False)
    month_week: Tensor = field(repr=False)
    last_year: Tensor = field(repr=False)

    def pick(self, at: Tensor) -> Batch:
        """The rows at these indices."""
        return Batch(
            self.inputs[at],
            self.vocabulary[at],
            self.month[at],
            self.month_week[at],
            self.last_year[at],
        )


def batch(rows: FeatureRows) -> Batch:
    """Tensors over copies of the rows' arrays."""
    return Batch(
        torch.tensor(rows.inputs),
        torch.tensor(rows.vocabulary),
        torch.tensor(rows.month),
        torch.tensor(rows.month_week),
        torch.tensor(rows.last_year),
    )


def flat(params: NDArray[np.float32], config: demand.DemandConfig) -> Tensor:
    """A tensor (d,) from a parameter vector; InputError if its length or type is another."""
    expected = (demand.dimension(config),)
    if params.shape != expected or params.dtype != np.float32:
        raise InputError(
            f"the parameters have shape {params.shape} and type {params.dtype}; expected "
            f"{expected} and float32.",
            fix="Use the model with the config of its own order.",
        )
    return torch.tensor(params)


def blocks(vector: Tensor, config: demand.DemandConfig) -> Mapping[str, Tensor]:
    """Views of the vector under the names of the layout."""
    out: dict[str, Tensor] = {}
    at = 0
    for block in demand.layout(config):
        out[block.name] = vector[at : at + block.size].view(block.shape)
        at += block.size
    return out


def forward(weights: Mapping[str, Tensor], rows: Batch) -> Tensor:
    """Forecasts in multiples of each row's scale: (N, H, 4) low, median, high, mean.

    Quantiles never cross and the mean is positive by construction.
    """
    inputs = torch.cat([rows.inputs, weights["category"][rows.vocabulary]], dim=1)
    hidden = torch.relu(torch.addmm(weights["trunk.bias"], inputs, weights["trunk.weight"]))
    hidden = torch.addmm(weights["join.bias"], hidden, weights["join.weight"])
    ahead = hidden[:, None, :] + weights["horizon"]
    ahead = ahead + weights["month"][rows.month] + weights["month_week"][rows.month_week]
    ahead = torch.relu(ahead + rows.last_year @ weights["last_year"])
    raw = ahead @ weights["head.weight"] + weights["head.bias"]
    median = 1 + raw[..., 1]
    low = median - softplus(raw[..., 0] + SPREAD_BIAS)
    high = median + softplus(raw[..., 2] + SPREAD_BIAS)
    return torch.stack([low, median, high, softplus(raw[..., 3] + MEAN_BIAS)], dim=-1)


def predict(
    params: NDArray[np.float32], rows: FeatureRows, config: demand.DemandConfig
) -> NDArray[np.float64]:
    """Forecasts in units, float64 (N, H, 4), none below 0."""
    with torch.no_grad():
        out = forward(blocks(flat(params, config), config), batch(rows)).numpy()
    units: NDArray[np.float64] = np.maximum(out.astype(np.float64), 0) * rows.scale[:, None, None]
    return units
