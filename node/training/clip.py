"""Clipping: what bounds the influence of any one member, and fits the fixed point.

``BoundedUpdate`` is made here and nowhere else; masking takes nothing but it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, LocalError


@dataclass(frozen=True, slots=True)
class BoundedUpdate:
    """An update with L2 norm <= ``clip_l2``, hence every coordinate within +-``clip_l2``.

    ``norm_before`` is the norm before clipping, for the member's own journal only.
    """

    values: NDArray[np.float32] = field(repr=False)
    clip_l2: float
    norm_before: float = field(repr=False)

    @property
    def clipped(self) -> bool:
        """Whether it had to be shortened."""
        return self.norm_before > self.clip_l2


def bounded(delta: NDArray[np.float32], clip_l2: float) -> BoundedUpdate:
    """The update, shortened to the norm if it is longer; its direction stays.

    The norm is taken in float64 over the float32 values that leave, so the bound holds for what
    is encoded and not only for what was meant.

    Raises:
        InputError: clip_l2 is not positive.
        LocalError: the update is not one finite float32 vector.
    """
    if not clip_l2 > 0 or not np.isfinite(clip_l2):
        raise InputError(f"the clipping norm is {clip_l2}; a positive number is expected.")
    if delta.ndim != 1 or delta.dtype != np.float32 or not np.isfinite(delta).all():
        raise LocalError("the update is not one vector of finite float32 numbers.")
    before = _norm(delta)
    values = delta.copy()
    factor = 1.0
    while _norm(values) > clip_l2:
        # rounding to float32 can lengthen by a hair; the second turn takes it back
        factor *= clip_l2 / _norm(values) * (1 - 1e-7)
        values = (delta.astype(np.float64) * factor).astype(np.float32)
    values.setflags(write=False)
    return BoundedUpdate(values, clip_l2, before)


def _norm(values: NDArray[np.float32]) -> float:
    wide = values.astype(np.float64)
    return float(np.sqrt(np.dot(wide, wide)))
