"""Time of noise, rounding, rotation and the account on this machine.

Example: python tests/benchmarks/bench_noise.py
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import numpy as np

from protocols.privacy import accountant, noise, rotation, rounding
from protocols.privacy.clip import clip_rows
from protocols.privacy.events import NoisedSums

MILLION = 1_000_000
GOALS_MS = {4.0: 29, 64.0: 47, 1024.0: 72}  # of the design, for one million draws


def best_ms(work: Callable[[], object], times: int = 5) -> float:
    """The shortest of some runs, milliseconds."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return 1000 * min(found)


def noise_lines() -> None:
    """Draws and the making of tables, from one to two levels."""
    for sigma in (4.0, 64.0, 1024.0, 2048.0, 11_965.2, 1e6, 2.0**28):
        noise._table.cache_clear()
        first = best_ms(lambda s=sigma: noise.discrete_gaussian(s, 1, secrets.token_bytes), 1)
        draws = best_ms(lambda s=sigma: noise.discrete_gaussian(s, MILLION, secrets.token_bytes))
        goal = f"  goal {GOALS_MS[sigma]} ms" if sigma in GOALS_MS else ""
        print(
            f"noise     sigma {sigma:>11,.0f}: {draws:6.1f} ms per million, "
            f"table {first:6.1f} ms{goal}"
        )


def other_lines() -> None:
    """Rounding, rotation, the account."""
    rows = clip_rows(np.random.default_rng(0).normal(size=(40_000, 25)), 1.0)
    bound = rounding.norm_bound(2**14, 1.0, 25)
    clipping = best_ms(lambda: clip_rows(rows, 0.5))
    rounded = best_ms(lambda: rounding.round_bounded(rows, 2**14, bound, secrets.token_bytes))
    print(f"clipping  40,000 rows of 25   : {clipping:6.1f} ms")
    print(f"rounding  40,000 rows of 25   : {rounded:6.1f} ms")
    values = np.random.default_rng(0).normal(size=1 << 20)
    sums = np.random.default_rng(0).integers(-(2**31), 2**31, 1 << 20)
    there = best_ms(lambda: rotation.rotate(values, bytes(32)))
    back = best_ms(lambda: rotation.unrotate(sums, bytes(32), 1 << 20))
    print(f"rotation  2^20 coordinates    : {there:6.1f} ms there, {back:6.1f} ms back")
    accountant.epsilon([NoisedSums("customer", 9.0, 1.0, 1)], 1e-5)  # loads the library
    for events in (
        [NoisedSums("customer", 8.0, 1.0, 50)],
        [NoisedSums("customer", 1.0, 0.02, 500)],
        [NoisedSums("customer", 8.0, 0.2, 100), NoisedSums("customer", 20.0, 1.0, 1)],
    ):

        def account(events: list[NoisedSums] = events) -> float:
            return accountant.epsilon(events, 1e-6)

        first, again = best_ms(account, 1), best_ms(account)
        print(f"account   {len(events)} kinds of sums     : {first:6.1f} ms, again {again:.3f} ms")


if __name__ == "__main__":
    noise_lines()
    other_lines()
