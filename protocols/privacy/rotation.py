"""Randomised Hadamard rotation: spreads a vector evenly, for narrow moduli (SPEC.md section 8).

``y = H D x / sqrt(n)`` with random signs D keeps the L2 norm, and no coordinate of y is much larger
than ``norm / sqrt(n)``. So a sum needs fewer bits than the clip of a coordinate would ask for.
Source: Kairouz, Liu, Steinke (2021), arXiv 2102.06387, section 4 and Lemma 28.

The signs come from what the round's members made together (A1): nobody can choose them to fit
somebody's vector.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocols.canonical import digest
from protocols.errors import LocalError
from protocols.privacy._stream import Words

MAX_DIM = 1 << 24
SEED_BYTES = 32

_FACTOR = 5  # a pass transforms 2^5 places at once, as one matrix product
_EXACT = 2.0**53  # whole numbers below are exact in binary64, whatever the order of additions
_LN_2 = 0.6931471805599454  # rounded up


def padded(dim: int) -> int:
    """Coordinates of a rotated vector: the least power of two that holds ``dim``."""
    if not 1 <= dim <= MAX_DIM:
        raise LocalError(f"a vector of {dim} coordinates is not rotated; 1 to {MAX_DIM} are.")
    return 1 << (dim - 1).bit_length()


def rotate(values: NDArray[np.floating], seed: bytes) -> NDArray[np.float64]:
    """``H D x / sqrt(n)``; the L2 norm stays.

    Args:
        values: ``(dim,)``; zeros are added up to n = ``padded(dim)``.
        seed: 32 bytes that all members share.

    Returns:
        float64 ``(n,)``.
    """
    size = padded(values.size)
    signed = np.zeros(size, dtype=np.float64)
    signed[: values.size] = values
    signed *= _signs(seed, size)
    out: NDArray[np.float64] = _transform(signed) / math.sqrt(size)
    return out


def unrotate(sums: NDArray[np.int64], seed: bytes, dim: int) -> tuple[NDArray[np.int64], float]:
    """The inverse, exact up to its scale: ``(D H s)[:dim]`` and what to divide by, sqrt(n).

    Args:
        sums: int64 ``(n,)``, the sum of rotated and rounded vectors.
        seed: as for ``rotate``.
        dim: coordinates before rotation.

    Returns:
        int64 ``(dim,)``, the same on every machine, and the divisor.

    Raises:
        LocalError: wrong length, or a sum so large that the result would not fit 63 bits.
    """
    size = padded(dim)
    if sums.shape != (size,):
        raise LocalError(f"{sums.shape} sums cannot be turned back; {size} are needed.")
    largest = max(abs(int(sums.max())), abs(int(sums.min()))) * size
    if largest < _EXACT:
        turned = _transform(sums.astype(np.float64)).astype(np.int64)
    elif largest < 2**63:
        turned = _butterfly(sums)
    else:
        raise LocalError("these sums are too large to be turned back exactly.")
    turned *= _signs(seed, size)
    return turned[:dim], math.sqrt(size)


def coordinate_bound(l2: float, dim: int, members: int, failure: float = 2.0**-40) -> float:
    """No coordinate of the rotated sum is larger, except with probability ``failure``.

    ``members l2 sqrt(2 ln(2 n / failure) / n)``: a coordinate is a sum of n terms with random
    signs (Hoeffding), and any of n may fail. Only + * / and sqrt: the same on every machine.

    Args:
        l2: norm of one member's vector, at most; the result has its unit.
        dim: coordinates before rotation.
        members: vectors in the sum.
        failure: at least 2^-200; taken down to the next power of two.
    """
    if not (math.isfinite(l2) and l2 > 0 and members >= 1 and 2.0**-200 <= failure < 1):
        raise LocalError("a norm, members and a probability of failure are needed.")
    size = padded(dim)
    powers = 1 - math.frexp(failure)[1]  # failure is at least 2^-powers
    logarithm = (1 + (size.bit_length() - 1) + powers) * _LN_2
    return members * l2 * math.sqrt(2 * logarithm / size)


def _signs(seed: bytes, size: int) -> NDArray[np.int8]:
    if len(seed) != SEED_BYTES:
        raise LocalError(f"the seed of a rotation has {SEED_BYTES} bytes.")
    stream = Words(digest("privacy rotation", seed)).bytes(-(-size // 8))
    bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8), count=size, bitorder="little")
    return (1 - 2 * bits.astype(np.int8)).astype(np.int8)


def _hadamard(power: int) -> NDArray[np.float64]:
    matrix = np.ones((1, 1))
    for _ in range(power):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def _transform(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``H x`` in Sylvester order: a pass takes the last digits of the index, turns the rest on."""
    left = values.size.bit_length() - 1
    while left:
        power = min(_FACTOR, left)
        rows = values.reshape(-1, 1 << power) @ _hadamard(power)
        values = np.ascontiguousarray(rows.T).reshape(-1)
        left -= power
    return values


def _butterfly(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """``H x`` on whole numbers of 64 bits, one digit of the index a pass."""
    half = 1
    while half < values.size:
        pairs = values.reshape(-1, 2, half)
        values = np.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), axis=1)
        values = values.reshape(-1)
        half *= 2
    return values
