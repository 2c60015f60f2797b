"""Local training: a few steps from the shared model on the member's own rows.

No store, no network, no clock; the only randomness comes from the seed, which derives from
(order, round, member), so the same call gives the same update.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from node.data.features import TrainingTable
from node.training import models
from protocols.errors import InputError, LocalError
from protocols.workloads import demand

BETA_1: Final = 0.9
BETA_2: Final = 0.99
EPSILON: Final = 1e-8
FINAL_RATE: Final = 0.05  # share of the rate that is left in the last round
HIDE_CATEGORY: Final = 0.05  # share of rows that train the embedding of an unlisted category
MEAN_WEIGHT: Final = 0.5
MAX_TARGET: Final = 50.0  # multiples of the own level; beyond it is a typing error, not demand


def train(
    params: NDArray[np.float32],
    table: TrainingTable,
    config: demand.DemandConfig,
    seed: bytes,
    *,
    round_no: int,
    rounds: int,
) -> NDArray[np.float32]:
    """The update of one round, before clipping.

    Adam over ``local_steps`` batches drawn with replacement; its memory starts anew each round,
    since the model between rounds is the cooperative's. The rate falls along a half cosine.

    Args:
        params: the shared model, float32 (d,).
        table: at least one row.
        seed: from (order, round, member).
        round_no: 0 for the first round.
        rounds: how many the order has.

    Returns:
        trained minus given parameters, float32 (d,).

    Raises:
        InputError: empty table, wrong parameters, round out of range.
        LocalError: training ran into numbers that are not finite.
    """
    if len(table) == 0:
        raise InputError(
            "there are no rows to train on.", fix="Add at least five weeks of sales first."
        )
    if not 0 <= round_no < rounds:
        raise InputError(f"round {round_no} is outside an order of {rounds} rounds.")
    start = models.flat(params, config)
    generator = torch.Generator().manual_seed(_torch_seed(seed))
    data = models.batch(table.rows)
    target = torch.tensor(table.target).clamp(max=MAX_TARGET)
    observed = torch.tensor(table.observed, dtype=torch.float32)
    rate = config.lr * (
        FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * round_no / rounds)) / 2
    )
    vector = start.clone().requires_grad_()
    first, second = torch.zeros_like(start), torch.zeros_like(start)
    for step in range(1, config.local_steps + 1):
        at = torch.randint(len(table), (config.batch,), generator=generator)
        hidden = torch.rand(config.batch, generator=generator) < HIDE_CATEGORY
        rows = _hide(data.pick(at), hidden)
        out = models.forward(models.blocks(vector, config), rows)
        (gradient,) = torch.autograd.grad(loss(out, target[at], observed[at]), vector)
        with torch.no_grad():
            first.mul_(BETA_1).add_(gradient, alpha=1 - BETA_1)
            second.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
            spread = (second / (1 - BETA_2**step)).sqrt_().add_(EPSILON)
            vector.addcdiv_(first, spread, value=-rate / (1 - BETA_1**step))
    delta = (vector.detach() - start).numpy()
    if not np.isfinite(delta).all():
        raise LocalError(
            "local training ran into numbers that are not finite.",
            fix="Look for impossible quantities in your sales, or ask for a lower lr.",
        )
    return delta


def loss(out: Tensor, target: Tensor, observed: Tensor) -> Tensor:
    """Pinball loss of the quantiles (twice, summed) plus half a Poisson deviance of the mean.

    Args:
        out: (N, H, 4) from the network; target, observed: (N, H).

    Returns:
        scalar mean over observed targets. Every row counts alike: rows are in multiples of the
        own level, and weights by volume measured no better.
    """
    levels = torch.tensor(demand.QUANTILES)
    error = target[..., None] - out[..., :3]
    pinball = (2 * torch.maximum(levels * error, (levels - 1) * error)).sum(-1)
    mean = out[..., 3]
    deviance = mean - target * torch.log(mean + 1e-6)
    total = ((pinball + MEAN_WEIGHT * deviance) * observed).sum()
    return total / observed.sum().clamp(min=1)


def _hide(rows: models.Batch, hidden: Tensor) -> models.Batch:
    category = torch.where(hidden, demand.UNKNOWN, rows.vocabulary)
    return models.Batch(rows.inputs, category, rows.month, rows.month_week, rows.last_year)


def _torch_seed(seed: bytes) -> int:
    if len(seed) < 16:
        raise InputError(f"the training seed has {len(seed)} bytes; at least 16 are expected.")
    return int.from_bytes(hashlib.sha256(seed).digest()[:8], "little") >> 1
