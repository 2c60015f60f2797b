"""Shamir sharing over GF(65537) as exact matrix products (SPEC.md section 4.1).

65537 is prime and just above a 16-bit word: secrets are words, and every product of a few hundred
terms stays below 2^53, so that float64 matrix products are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from protocols.errors import InputError, LocalError

Words = npt.NDArray[np.int64]

PRIME = 65537
SECRET_BYTES = 32
SECRET_WORDS = SECRET_BYTES // 2
SHARE_BYTES = 34
MAX_POINTS = 4096  # products stay exact: 4096 * 2^34 < 2^53


def _product(left: Words, right: Words) -> Words:
    """``left @ right`` modulo 65537, exact."""
    exact = left.astype(np.float64) @ right.astype(np.float64)
    return np.asarray(exact.astype(np.int64) % PRIME, dtype=np.int64)


@lru_cache(maxsize=16)
def _powers(points: int, threshold: int) -> Words:
    """Row m holds (m + 1)^0 .. (m + 1)^(threshold - 1); public, so it may be kept."""
    x = np.arange(1, points + 1, dtype=np.int64)
    rows = np.ones((points, threshold), dtype=np.int64)
    for power in range(1, threshold):
        rows[:, power] = rows[:, power - 1] * x % PRIME
    rows.setflags(write=False)
    return rows


def uniform(count: int, entropy: Callable[[int], bytes]) -> Words:
    """``count`` uniform elements of GF(65537).

    2^32 - 1 = 65535 * 65537, so a uint32 below 2^32 - 1 modulo 65537 is exactly uniform.
    """
    drawn = np.empty(0, dtype="<u4")
    while drawn.size < count:
        raw = np.frombuffer(entropy(4 * (count - drawn.size)), dtype="<u4")
        if raw.size != count - drawn.size:
            raise LocalError("the entropy source returned fewer bytes than asked for.")
        drawn = np.concatenate([drawn, raw[raw != 0xFFFFFFFF]])
    return drawn.astype(np.int64) % PRIME


def deal(
    secret: bytes, points: Sequence[int], threshold: int, entropy: Callable[[int], bytes]
) -> Words:
    """Shares of ``secret`` (an even number of bytes) at x = ``points``, distinct, from 1 up.

    Returns:
        int64 ``(len(points), words)``, every value below 65537.
    """
    if not 1 <= threshold <= len(points) or not 1 <= min(points) <= max(points) <= MAX_POINTS:
        raise LocalError(f"{len(points)} shares with a threshold of {threshold} cannot be made.")
    words = np.frombuffer(secret, dtype="<u2").astype(np.int64)
    coefficients = np.empty((threshold, words.size), dtype=np.int64)
    coefficients[0] = words
    coefficients[1:] = uniform((threshold - 1) * words.size, entropy).reshape(-1, words.size)
    rows = np.asarray(points, dtype=np.int64) - 1
    return _product(_powers(int(rows.max()) + 1, threshold)[rows], coefficients)


def inverse(values: Words) -> Words:
    """Multiplicative inverses modulo 65537, by Fermat: the exponent is 2^16 - 1."""
    out = values % PRIME
    for _ in range(15):
        out = out * out % PRIME * values % PRIME
    return out


def zero_weights(points: Words) -> Words:
    """Lagrange coefficients at 0 for many sets of points at once.

    Args:
        points: int64 ``(sets, t)``, distinct within a row, 1 to 65536.

    Returns:
        int64 ``(sets, t)``: f(0) = sum of the row times f(points), modulo 65537.
    """
    above, below = np.ones_like(points), np.ones_like(points)
    for m in range(points.shape[1]):
        other = points[:, m : m + 1]
        gap = (other - points) % PRIME
        gap[:, m] = 1
        factor = np.broadcast_to(other, points.shape).copy()
        factor[:, m] = 1
        above = above * factor % PRIME
        below = below * gap % PRIME
    if not below.all():
        raise LocalError("interpolation needs distinct points.")
    return above * inverse(below) % PRIME


def weights_at(points: Sequence[int], at: Sequence[int]) -> Words:
    """Lagrange coefficients: int64 ``(len(at), len(points))``, f(at) = weights @ f(points)."""
    if len(set(points)) != len(points) or not points:
        raise LocalError("interpolation needs distinct points.")
    row = np.asarray(points, dtype=np.int64)
    moved = (row[np.newaxis, :] - np.asarray(at, dtype=np.int64)[:, np.newaxis]) % PRIME
    return zero_weights(moved)  # g(x) = f(at + x), at 0


def combine(weights: Words, shares: Words) -> tuple[bytes, ...]:
    """Secrets at x = 0, each from its own shares.

    Args:
        weights: int64 ``(secrets, t)``, of ``zero_weights``.
        shares: int64 ``(secrets, t, 16)``.

    Returns:
        32 bytes for each. A value of 65536, which no secret holds, makes it empty: the shares
        were wrong.
    """
    values = np.einsum("st,stw->sw", weights, shares) % PRIME  # below t * 2^34: exact
    return tuple(b"" if (row == PRIME - 1).any() else row.astype("<u2").tobytes() for row in values)


def evaluate(weights: Words, shares: Words) -> Words:
    """Values at other points of the polynomials through ``shares``."""
    return _product(weights, shares)


def share_bytes(values: Words) -> bytes:
    """34 bytes of 16 values: low parts, then the map of the values equal to 65536."""
    high = sum(1 << m for m in range(SECRET_WORDS) if values[m] == PRIME - 1)
    return (values % (PRIME - 1)).astype("<u2").tobytes() + high.to_bytes(2, "little")


def share_values(data: bytes) -> Words:
    """Inverse of ``share_bytes``; InputError if the bytes are not canonical."""
    values: Words = share_rows([data])[0]
    return values


def share_rows(shares: Sequence[bytes]) -> Words:
    """Values of many shares, int64 ``(len(shares), 16)``.

    Raises:
        InputError: one of them is not canonical.
    """
    for one in shares:
        if len(one) != SHARE_BYTES:
            raise InputError(f"a share has {len(one)} bytes, expected {SHARE_BYTES}.")
    raw = np.frombuffer(b"".join(shares), dtype="<u2").reshape(-1, SECRET_WORDS + 1)
    values = raw[:, :SECRET_WORDS].astype(np.int64)
    high = (raw[:, SECRET_WORDS:] >> np.arange(SECRET_WORDS, dtype=np.uint16) & 1).astype(bool)
    if values[high].any():
        raise InputError("a share holds a value above 65536.")
    values[high] = PRIME - 1
    return values
