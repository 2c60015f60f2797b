"""Discrete Gaussian noise from a cryptographic source (SPEC.md section 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.privacy._stream import Entropy


def discrete_gaussian(sigma: float, count: int, entropy: Entropy) -> NDArray[np.int64]:
    """``count`` independent draws, int64 ``(count,)``."""
    raise NotImplementedError


def distance(sigma: float, count: int) -> float:
    """Statistical distance of ``count`` draws from true discrete Gaussian noise, at most."""
    raise NotImplementedError
