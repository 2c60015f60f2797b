"""Stochastic rounding to whole units that keeps a norm bound (SPEC.md section 3).

Source: Kairouz, Liu, Steinke (2021), "The Distributed Discrete Gaussian Mechanism for Federated
Learning with Secure Aggregation", arXiv 2102.06387, Proposition 22 and Algorithm 1.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from protocols.errors import LocalError
from protocols.privacy._stream import Entropy, fresh

BETA = math.exp(-0.5)  # a draw is thrown away with at most this probability
MAX_REDRAWS = 400  # BETA^400 < 2^-288: reached only by rows that were not clipped
MAX_NORM = 2.0**30


def norm_bound(scale: int, clip_l2: float, dim: int, beta: float = BETA) -> float:
    """The most that the L2 norm of one rounded row may be, in whole units.

    ``sqrt(C^2 s^2 + d/4 + sqrt(2 ln(1/beta)) (C s + sqrt(d)/2))``; a rounded row is within it with
    probability at least 1 - beta. With the usual beta it takes only + * / and sqrt, so every
    machine gets the same bytes.

    Args:
        scale: whole units for 1.0.
        clip_l2: L2 norm of the row before rounding, at most.
        dim: coordinates.

    Raises:
        LocalError: a figure is out of range.
    """
    if scale < 1 or dim < 1 or not (math.isfinite(clip_l2) and clip_l2 > 0 and 0 < beta < 1):
        raise LocalError(f"scale {scale}, clip {clip_l2} and dimension {dim} bound nothing.")
    slack = 1.0 if beta == BETA else math.sqrt(2 * math.log(1 / beta))
    length = clip_l2 * scale
    bound = math.sqrt(length * length + dim / 4 + slack * (length + math.sqrt(dim) / 2))
    if bound > MAX_NORM:
        raise LocalError(f"a norm of {bound:.0f} whole units is beyond {MAX_NORM:.0f}.")
    return bound


def round_bounded(
    values: NDArray[np.floating], scale: int, bound: float, entropy: Entropy
) -> NDArray[np.int64]:
    """Round every row to whole units at random, again until its norm is within ``bound``.

    Args:
        values: ``(rows, dim)``, clipped.
        scale: whole units for 1.0.
        bound: from ``norm_bound``.
        entropy: a CSPRNG, ``count -> bytes``.

    Returns:
        int64 ``(rows, dim)``, each row with ``sum(v^2) <= bound^2`` exactly.

    Raises:
        LocalError: a value is not finite, or a row cannot be brought within the bound because it
            was not clipped.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or scale < 1 or not 0 < bound <= MAX_NORM:
        raise LocalError("rows of numbers, a scale and a norm bound are needed to round.")
    if not np.isfinite(rows).all() or np.abs(rows, dtype=np.float64).max(initial=0) * scale > bound:
        raise LocalError(
            "a row was not clipped before rounding: a coordinate alone is beyond the norm bound."
        )
    most = int(Fraction(bound) ** 2)
    out = np.empty(rows.shape, dtype=np.int64)
    words = fresh(entropy)
    todo = np.arange(rows.shape[0])
    for _ in range(MAX_REDRAWS):
        if todo.size == 0:
            return out
        drawn = rows[todo] * float(scale)
        drawn += words.uint32(drawn.size).reshape(drawn.shape) * 2.0**-32
        whole = np.floor(drawn).astype(np.int64)
        out[todo] = whole
        todo = todo[np.einsum("ij,ij->i", whole, whole) > most]
    raise LocalError(
        f"after {MAX_REDRAWS} draws a rounded row is still beyond its norm bound.",
        fix="Clip every row to the order's norm before rounding.",
    )
