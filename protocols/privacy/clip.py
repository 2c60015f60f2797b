"""Clipping in L2: the most that one customer, or one member, adds to a sum (SPEC.md section 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.errors import LocalError

Rows = NDArray[np.float64]


def clip_rows(values: NDArray[np.floating], clip_l2: float) -> Rows:
    """Scale every row down to an L2 norm of at most ``clip_l2``.

    Args:
        values: ``(rows, dim)``, one row per unit; float32 or float64.
        clip_l2: the bound, above 0.

    Returns:
        float64 ``(rows, dim)``; a row within the bound is unchanged.

    Raises:
        LocalError: a value is not a finite number.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or not (np.isfinite(clip_l2) and clip_l2 > 0):
        raise LocalError("rows of numbers and a bound above 0 are needed to clip.")
    if not np.isfinite(rows).all():
        raise LocalError(
            "a customer's contribution is not a finite number, so it cannot be bounded.",
            fix="Check the rows; a value is far too large or missing.",
        )
    # divided by the largest first, so that no square overflows or vanishes
    largest = np.max(np.abs(rows), axis=1, keepdims=True, initial=0.0)
    safe = np.where(largest > 0, largest, 1.0)
    unit = rows / safe
    norms = safe * np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, None]
    factor = np.minimum(1.0, clip_l2 / np.where(norms > 0, norms, clip_l2))
    clipped: Rows = rows * factor
    return clipped


def clip_vector(values: NDArray[np.floating], clip_l2: float) -> Rows:
    """``clip_rows`` for one vector ``(dim,)``: a member's whole update."""
    clipped: Rows = clip_rows(np.asarray(values)[None, :], clip_l2)[0]
    return clipped
