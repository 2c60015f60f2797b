"""Randomised Hadamard rotation: spreads a vector evenly, for narrow moduli (SPEC.md section 8)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def padded(dim: int) -> int:
    """Coordinates of a rotated vector: the least power of two that holds ``dim``."""
    raise NotImplementedError


def rotate(values: NDArray[np.floating], seed: bytes) -> NDArray[np.float64]:
    """``H D x / sqrt(padded)``, float64 ``(padded,)``; keeps the L2 norm."""
    raise NotImplementedError


def unrotate(sums: NDArray[np.int64], seed: bytes, dim: int) -> tuple[NDArray[np.int64], float]:
    """``(D H sums)[:dim]`` exactly, and the divisor sqrt(padded)."""
    raise NotImplementedError


def coordinate_bound(l2: float, dim: int, members: int, failure: float = 2.0**-40) -> float:
    """No coordinate of the rotated sum of ``members`` is larger, but with ``failure``."""
    raise NotImplementedError
