"""Discrete Gaussian noise from a cryptographic source (SPEC.md section 4).

``P(x) ~ exp(-x^2 / (2 sigma^2))`` over all whole numbers, by inversion of its cumulative table.
A threshold has 127 bits and is compared exactly; no floating point is on the way. A large sigma is
a sum ``X1 + k X2`` of two small ones (Peikert 2010; Micciancio and Walter 2017, section 4.1).

Not constant in time: who can time a member's single draws could learn about its noise. The node
draws a whole vector at once, in its own house.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.errors import LocalError
from protocols.privacy._stream import Entropy, Words, fresh

MAX_SIGMA = 2.0**28  # beyond, no sum fits into a modulus of 32 bits
SINGLE_SIGMA = 2048.0  # up to here one table

_BITS = 127  # of a threshold: 63 in the first word beside the sign, 64 in the second
_FIXED = 256  # bits of the arithmetic that makes the table
_TAIL = 128  # magnitudes rarer than 2^-128 are cut off
_GUIDE = 16  # leading bits that look up directly
_CHUNK = 1 << 16
_INNER = Fraction(25, 4)  # variance of X1 over k^2; makes the two-level sum exact to 2^-170


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Thresholds of |X|: ``|X|`` is how many of them a uniform number of 127 bits reaches.

    ``high`` and ``low``: the upper 63 and lower 64 bits, uint64 ``(n,)``, ascending. ``guide``: for
    the leading bits of a word the magnitude, or -1 where a threshold lies among them.
    """

    high: NDArray[np.uint64] = field(repr=False)
    low: NDArray[np.uint64] = field(repr=False)
    guide: NDArray[np.int32] = field(repr=False)


def discrete_gaussian(sigma: float, count: int, entropy: Entropy) -> NDArray[np.int64]:
    """``count`` independent draws of discrete Gaussian noise.

    Args:
        sigma: parameter of the distribution, whole units; its variance is at most sigma^2 and
            equal to it to many digits for sigma of 2 or more. At most 2^28.
        count: how many.
        entropy: a CSPRNG, ``count -> bytes``; asked once, for the key of an AES-256 stream.

    Returns:
        int64 ``(count,)``; ``distance(sigma, count)`` bounds how far from exact.

    Raises:
        LocalError: sigma or count is out of range.
    """
    if count < 0:
        raise LocalError(f"{count} draws of noise cannot be made.")
    parts = _parts(sigma)
    words = fresh(entropy)
    total = np.zeros(count, dtype=np.int64)
    for start in range(0, count, _CHUNK):
        part = total[start : start + _CHUNK]
        for step, table in parts:
            drawn = _invert(table, words.uint64(part.size), words)
            drawn *= step
            part += drawn
    return total


def distance(sigma: float, count: int) -> float:
    """Statistical distance of ``count`` draws from true discrete Gaussian noise, at most.

    A table of N thresholds, each cut to 127 bits, is off by less than (N + 2) 2^-127 with its tail;
    N is at most 13.4 sigma + 1. The sum of two levels adds 2^-170.
    """
    each = sum(
        (14 * math.sqrt(variance) + 4) * 2.0**-_BITS + 2.0**-170 for _, variance in _split(sigma)
    )
    return min(1.0, count * each)


def _split(sigma: float) -> tuple[tuple[int, Fraction], ...]:
    """``(factor, variance)`` of the levels; their sum has the variance sigma^2 exactly."""
    if not (math.isfinite(sigma) and 0 < sigma <= MAX_SIGMA):
        raise LocalError(
            f"noise with a standard deviation of {sigma} whole units cannot be made; "
            f"above 0 to {MAX_SIGMA:.0f} can.",
            fix="Choose a smaller scale in the order.",
        )
    variance = Fraction(sigma) ** 2
    if sigma <= SINGLE_SIGMA:
        return ((1, variance),)
    factor = 1 << round(math.log2(sigma / 2.5) / 2)
    return ((1, _INNER * factor**2), (factor, variance / factor**2 - _INNER))


def _parts(sigma: float) -> list[tuple[int, _Table]]:
    return [(factor, _table(variance)) for factor, variance in _split(sigma)]


@lru_cache(maxsize=16)
def _table(variance: Fraction) -> _Table:
    """The cumulative table of |X|, from exact arithmetic: the same on every machine."""
    thresholds = _thresholds(variance)
    high = np.array([value >> 64 for value in thresholds], dtype=np.uint64)
    low = np.array([value & (2**64 - 1) for value in thresholds], dtype=np.uint64)
    edges = np.arange(1 << _GUIDE, dtype=np.uint64) << np.uint64(63 - _GUIDE)
    last = edges + np.uint64((1 << (63 - _GUIDE)) - 1)
    below = np.searchsorted(high, edges, side="left")
    guide = np.where(np.searchsorted(high, last, side="right") == below, below, -1)
    return _Table(high, low, guide.astype(np.int32))


def _thresholds(variance: Fraction) -> list[int]:
    """``floor(2^127 P(|X| <= k))`` for k = 0, 1, ... up to the cut.

    The weights follow ``w(k+1) = w(k) g(k)``, ``g(k+1) = g(k) r^2``, ``g(0) = r = exp(-1/(2 v))``
    in fixed point with 256 bits: after k steps off by less than (k+1)^2 units of 2^-256.
    """
    context = Context(prec=110, Emin=-(10**12), Emax=10**12)
    exponent = context.divide(Decimal(-variance.denominator), Decimal(2 * variance.numerator))
    ratio = int(context.multiply(context.exp(exponent), Decimal(1 << _FIXED)))
    square = ratio * ratio >> _FIXED
    weight, growth, mass = 1 << _FIXED, ratio, 1 << _FIXED
    masses = []
    while True:
        weight = weight * growth >> _FIXED
        growth = growth * square >> _FIXED
        if weight >> (_FIXED - _TAIL) == 0:
            break
        masses.append(mass)
        mass += 2 * weight
    return [(value << _BITS) // mass for value in masses]


def _invert(table: _Table, drawn: NDArray[np.uint64], more: Words) -> NDArray[np.int64]:
    """Words of 64 bits to signed values. The lowest bit is the sign, the rest the threshold's."""
    value: NDArray[np.int64] = table.guide[drawn >> np.uint64(64 - _GUIDE)].astype(np.int64)
    unsure = np.flatnonzero(value < 0)
    if unsure.size:
        upper = drawn[unsure] >> np.uint64(1)
        found = np.searchsorted(table.high, upper, side="left")
        equal = table.high[np.minimum(found, table.high.size - 1)] == upper
        for tie in np.flatnonzero(equal):
            found[tie] += _break_tie(table, int(found[tie]), int(more.uint64(1)[0]))
        value[unsure] = found
    sign = (drawn & np.uint64(1)).astype(np.int64)
    value ^= -sign
    value += sign
    return value


def _break_tie(table: _Table, first: int, second_word: int) -> int:
    """Thresholds with the upper half of number ``first`` whose lower half is reached, too."""
    reached = 0
    for place in range(first, table.high.size):
        if table.high[place] != table.high[first] or int(table.low[place]) > second_word:
            break
        reached += 1
    return reached
