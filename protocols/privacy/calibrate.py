"""The search for the least noise that keeps a promise (SPEC.md section 6)."""

from __future__ import annotations

import math
from collections.abc import Callable

from protocols.errors import InputError

RESOLUTION = 10_000  # a calibrated noise multiplier has four decimals
MAX_MULTIPLIER = 1e6

Cost = Callable[[float], float]


def least_multiplier(cost: Cost, quick: Cost, limit: float, most: float = MAX_MULTIPLIER) -> float:
    """The least z of four decimals with ``cost(z) <= limit``; both costs fall as z grows.

    ``quick`` is cheap and never below ``cost``: it finds where the dear search begins.

    Raises:
        InputError: no z up to ``most`` fits.
    """
    if not (math.isfinite(limit) and limit > 0):
        raise InputError(f"an epsilon of {limit} cannot be aimed at.", where="privacy account")
    high = _start(quick, limit, most)
    at_high = cost(high / RESOLUTION)
    low, at_low = 0, math.inf
    while high > 1:  # sixteenths down until it costs too much
        trial = high - max(1, high // 16)
        at_trial = cost(trial / RESOLUTION)
        if at_trial > limit:
            low, at_low = trial, at_trial
            break
        high, at_high = trial, at_trial
    turn = 0
    while high - low > 1:
        trial = _between(low, high, at_low, at_high, limit, turn)
        at_trial = cost(trial / RESOLUTION)
        if at_trial <= limit:
            high, at_high = trial, at_trial
        else:
            low, at_low = trial, at_trial
        turn += 1
    return high / RESOLUTION


def _start(quick: Cost, limit: float, most: float) -> int:
    """A z, in steps, with ``quick(z) <= limit``, within a sixty-fourth of the least such."""
    top = math.floor(most * RESOLUTION)
    high = min(RESOLUTION, top)
    while quick(high / RESOLUTION) > limit:
        if high == top:
            raise InputError(
                f"no noise that can be made brings the cost down to an epsilon of {limit:g}.",
                where="privacy account",
                fix="Allow a larger epsilon, or plan fewer rounds or a finer scale.",
            )
        high = min(2 * high, top)
    low = 0
    while high - low > max(1, high // 64):
        middle = (low + high) // 2
        if quick(middle / RESOLUTION) <= limit:
            high = middle
        else:
            low = middle
    return high


def _between(low: int, high: int, at_low: float, at_high: float, limit: float, turn: int) -> int:
    """Where to look next: by interpolation of the logarithms, each third time in the middle."""
    middle = (low + high) // 2
    if turn % 3 == 2 or not (math.isfinite(at_low) and at_high > 0):
        return middle
    share = math.log(at_low / limit) / math.log(at_low / at_high)
    guess = low + share * (high - low)
    return min(high - 1, max(low + 1, math.ceil(guess) - turn % 3))
