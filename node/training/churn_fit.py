"""One step of churn training: the sum over this member's customers of what each one asks for.

    sample (secret) -> gradient of each customer's mean loss -> clip -> round -> sum -> clamp

Each customer is clipped and rounded alone, so adding or removing one changes the sum by at most
``rounding.norm_bound`` whole units in L2; clamping the sum afterwards moves two sums nearer, never
apart. The noise is added where the vector is masked. Who is in the sample comes from the
operating system: the order's seed is known to everybody, and a known sample hides nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from node.data.customers import CustomerTable
from protocols.errors import InputError, LocalError
from protocols.privacy.clip import clip_rows
from protocols.privacy.rotation import rotate
from protocols.privacy.rounding import norm_bound, round_bounded
from protocols.workloads import churn

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Entropy = Callable[[int], bytes]

SCORE_LIMIT = 30.0  # a logit beyond says nothing more, and its exponential stays finite


def step(
    params: NDArray[np.float32],
    table: CustomerTable,
    config: churn.ChurnConfig,
    entropy: Entropy,
    signs: bytes = b"",
) -> Whole:
    """What this member adds to one training step, before noise and masks.

    Args:
        params: the shared model, float32 (d,).
        table: this member's customers at the snapshots of the order; may be empty.
        config: of the order.
        entropy: a CSPRNG, ``count -> bytes``; for the sample and for the rounding.
        signs: 32 bytes that all members share, if the order asks for a rotation.

    Returns:
        int64 (``churn.coordinates``,), whole units; the direction that lowers the loss. Each
        coordinate is within +-``clamp * scale``.

    Raises:
        InputError: parameters of another layout, or labels that are not known.
        LocalError: a gradient is not a finite number.
    """
    if not table.known:
        raise InputError("whether these customers left is not known; nothing can be learnt.")
    asked = customer_gradients(params, table, config)
    chosen = asked[sampled(len(asked), config.sample_rate, entropy)]
    return customer_sum(chosen, config, entropy, signs)


def customer_sum(
    asked: Floats, config: churn.ChurnConfig, entropy: Entropy, signs: bytes = b""
) -> Whole:
    """Clip, turn if asked, and round each customer's row (n, d), and add them up, clamped.

    Returns:
        int64 (``churn.coordinates``,).
    """
    bound = norm_bound(config.scale, config.customer_clip, churn.coordinates(config))
    clipped = clip_rows(asked, config.customer_clip)
    if config.rotate:
        # each alone: a product of matrices may round a row differently when other rows change
        turned = np.empty((len(clipped), churn.coordinates(config)))
        for place, row in enumerate(clipped):
            turned[place] = rotate(row, signs)
        # a rotation keeps norms but for the last digits, and the bound must hold to the last digit
        clipped = clip_rows(turned, config.customer_clip)
    whole = round_bounded(clipped, config.scale, bound, entropy)
    limit = int(config.clamp * config.scale)
    out: Whole = np.clip(whole.sum(axis=0, dtype=np.int64), -limit, limit)
    return out


def sampled(count: int, rate: float, entropy: Entropy) -> NDArray[np.bool_]:
    """Each of ``count`` independently with probability ``rate`` (rounded down to 2^-64)."""
    if rate >= 1 or count == 0:
        return np.ones(count, dtype=np.bool_)
    words = np.frombuffer(entropy(8 * count), dtype="<u8")
    chosen: NDArray[np.bool_] = words < np.uint64(int(rate * 2**64))
    return chosen


def customer_gradients(
    params: NDArray[np.float32], table: CustomerTable, config: churn.ChurnConfig
) -> Floats:
    """Each customer's descent direction, the mean over its snapshots: float64 (customers, d)."""
    rows = row_gradients(params, table.inputs, table.left, config)
    if len(rows) == 0:
        return rows
    first = np.flatnonzero(np.diff(table.customer, prepend=-1))
    many = np.diff(np.append(first, len(rows)))
    mean: Floats = np.add.reduceat(rows, first, axis=0) / many[:, None]
    return mean


def row_gradients(
    params: NDArray[np.float32],
    inputs: NDArray[np.float32],
    left: NDArray[np.bool_],
    config: churn.ChurnConfig,
) -> Floats:
    """Minus the gradient of each row's log loss, float64 (N, d), in the order of the layout."""
    weights = blocks(params, config)
    x = inputs.astype(np.float64)
    hidden = _hidden(x, weights)
    error = (left - _logistic(_logit(x, hidden, weights)))[:, None]
    parts = [error * x, error * churn.INTERCEPT]
    if hidden is not None:
        back = error * weights["out.weight"] * (1 - hidden**2)
        parts += [(x[:, :, None] * back[:, None, :]).reshape(len(x), -1), back, error * hidden]
    out = np.concatenate(parts, axis=1)
    if not np.isfinite(out).all():
        raise LocalError(
            "training ran into numbers that are not finite.",
            fix="Look for impossible amounts in your sales.",
        )
    return out


def blocks(params: NDArray[np.float32], config: churn.ChurnConfig) -> Mapping[str, Floats]:
    """The parameters under the names of the layout, float64; InputError for another length."""
    if params.shape != (churn.dimension(config),) or params.dtype != np.float32:
        raise InputError(
            f"the parameters have shape {params.shape} and type {params.dtype}; expected "
            f"{(churn.dimension(config),)} and float32.",
            fix="Use the model with the config of its own order.",
        )
    out: dict[str, Floats] = {}
    at = 0
    for block in churn.layout(config):
        out[block.name] = params[at : at + block.size].astype(np.float64).reshape(block.shape)
        at += block.size
    return out


def logits(
    params: NDArray[np.float32], inputs: NDArray[np.float32], config: churn.ChurnConfig
) -> Floats:
    """Log odds of leaving, float64 (N,)."""
    weights = blocks(params, config)
    x = inputs.astype(np.float64)
    return _logit(x, _hidden(x, weights), weights)


def scores(
    params: NDArray[np.float32], inputs: NDArray[np.float32], config: churn.ChurnConfig
) -> Floats:
    """Probability of leaving, float64 (N,)."""
    return _logistic(logits(params, inputs, config))


def _hidden(x: Floats, weights: Mapping[str, Floats]) -> Floats | None:
    if "hidden.weight" not in weights:
        return None
    # summed row by row: a matrix product may round a row differently when other rows change
    inner = (x[:, :, None] * weights["hidden.weight"]).sum(axis=1)
    out: Floats = np.tanh(inner + weights["hidden.bias"])
    return out


def _logit(x: Floats, hidden: Floats | None, weights: Mapping[str, Floats]) -> Floats:
    out: Floats = (x * weights["weight"]).sum(axis=1) + churn.INTERCEPT * weights["bias"]
    if hidden is not None:
        out = out + (hidden * weights["out.weight"]).sum(axis=1)
    return np.clip(out, -SCORE_LIMIT, SCORE_LIMIT)


def _logistic(logit: Floats) -> Floats:
    out: Floats = 1 / (1 + np.exp(-logit))
    return out


def input_slopes(
    params: NDArray[np.float32], inputs: NDArray[np.float32], config: churn.ChurnConfig
) -> Floats:
    """How the log odds of leaving change with each input, float64 (N, INPUTS); uncut."""
    weights = blocks(params, config)
    x = inputs.astype(np.float64)
    direct: Floats = np.broadcast_to(weights["weight"], x.shape)
    hidden = _hidden(x, weights)
    if hidden is None:
        return direct
    back = weights["out.weight"] * (1 - hidden**2)
    out: Floats = direct + back @ weights["hidden.weight"].T
    return out
