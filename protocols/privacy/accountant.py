"""What noised sums cost together (SPEC.md section 5). dp-accounting is loaded on first use only.

Several analyses are valid; the least figure counts. Each one is an upper bound:

- **rdp**: exact for the discrete noise. Full participation is zCDP at every order; a Poisson sample
  is analysed at whole orders only, where the binomial sum of Mironov, Talwar and Zhang (2019) needs
  nothing but the zCDP bound and the symmetry of the noise.
- **gaussian**: full participation only; all sums together are one Gaussian mechanism (Dong, Roth,
  Su 2022), whose epsilon Balle and Wang (2018) give in closed form.
- **pld**: privacy loss distributions of the continuous mechanism, where anything is sampled.

The last two analyse continuous noise: ``lattice_distance`` is charged to delta. The distance of
the sampler is charged in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from protocols.errors import InputError
from protocols.privacy.calibrate import least_multiplier
from protocols.privacy.events import MAX_STEPS, Event, NoisedSums, Unit

WHOLE_ORDERS = (*range(2, 129), 144, 160, 192, 224, 256, 320, 384, 512, 768, 1024)
ORDERS = tuple(sorted({1 + part / 10 for part in range(1, 100)} | set(WHOLE_ORDERS)))

MAX_EPSILON = 32.0  # beyond, nothing tighter is looked for: no agreement promises it
LEAST_PLD_MULTIPLIER = 0.25  # below, a privacy loss distribution takes memory without end
MAX_PLD_STEPS = 100_000
MAX_MULTIPLIER = 10_000.0  # beyond, the closed form of one Gaussian loses its digits
LEAST_DELTA = 1e-12  # below, the rounding of closed forms and Fourier transforms could count

_SEARCHED = 1e-9  # added where a root was searched to 1e-12 only
_MAX_CHARGES = 100
_MAX_EXPONENT = 700.0  # e to this still is a float


def epsilon(events: Iterable[Event], delta: float) -> float:
    """The epsilon that all events together cost at ``delta``; infinite if nothing bounds it.

    The order of the events does not matter; no events cost 0. Results are kept for the process.

    Raises:
        InputError: delta is not between 0 and 1, or the events are about different units.
    """
    return _epsilon(_merged(events), _checked(delta))


def rdp_epsilon(
    events: Iterable[Event], delta: float, orders: Sequence[float] | None = None
) -> float:
    """The figure of the analysis **rdp** alone: fast, and never below ``epsilon``.

    ``orders``: of Renyi; by default ``ORDERS``, or ``WHOLE_ORDERS`` if anything is sampled.

    Raises:
        InputError: as ``epsilon``.
    """
    merged = _merged(events)
    if not merged:
        return 0.0
    accountant = _rdp(merged, orders)
    return _charged(accountant.get_epsilon, _checked(delta), _sampler(merged))


def noise_multiplier(
    epsilon: float, delta: float, sample_rate: float, steps: int, extra: Sequence[Event] = ()
) -> float:
    """The least z, rounded up to four decimals, for which ``steps`` more sums fit.

    Args:
        epsilon: that all events together may cost, above 0.
        delta: at which.
        sample_rate: of the new sums, above 0 and at most 1.
        steps: how many new sums.
        extra: events that count as well, for example the evaluation's; all of one unit.

    Raises:
        InputError: a figure is out of range, or no noise brings the cost down to ``epsilon``.
    """
    known = tuple(extra)
    at = _checked(delta)
    unit = known[0].unit if known else "customer"

    def events(multiplier: float) -> tuple[Event, ...]:
        return (*known, NoisedSums(unit, multiplier, sample_rate, steps))

    return least_multiplier(
        lambda multiplier: _epsilon(_merged(events(multiplier)), at),
        lambda multiplier: rdp_epsilon(events(multiplier), at),
        epsilon,
    )


def _checked(delta: float) -> float:
    if not 0 < delta < 1:
        raise InputError(f"a delta of {delta} is not between 0 and 1.", where="privacy account")
    return float(delta)


def _merged(events: Iterable[Event]) -> tuple[Event, ...]:
    """Sorted, like events as one: the account must not depend on their order."""
    like: dict[tuple[Unit, float, float], list[Event]] = {}
    for event in events:
        key = (event.unit, event.noise_multiplier, event.sample_rate)
        like.setdefault(key, []).append(event)
    if len({unit for unit, _, _ in like}) > 1:
        raise InputError(
            "customers and members are different units; their costs do not add up.",
            where="privacy account",
        )
    return tuple(sorted(_one(group) for group in like.values()))


def _one(group: list[Event]) -> Event:
    steps = sum(event.steps for event in group)
    if steps > MAX_STEPS:
        raise InputError(f"{steps} sums are more than {MAX_STEPS}.", where="privacy account")
    return replace(
        group[0],
        steps=steps,
        sampler_distance=min(1.0, math.fsum(event.sampler_distance for event in group)),
        lattice_distance=min(1.0, math.fsum(event.lattice_distance for event in group)),
    )


def _sampler(events: tuple[Event, ...]) -> float:
    return math.fsum(event.sampler_distance for event in events)


def _lattice(events: tuple[Event, ...]) -> float:
    return math.fsum(event.lattice_distance for event in events)


@lru_cache(maxsize=4096)
def _epsilon(events: tuple[Event, ...], delta: float) -> float:
    if not events:
        return 0.0
    rigorous = rdp_epsilon(events, delta)
    distance = _sampler(events) + _lattice(events)
    if distance >= delta or rigorous > MAX_EPSILON or delta < LEAST_DELTA:
        return rigorous
    if all(event.sample_rate == 1 for event in events):
        multiplier = _joint_multiplier(events)
        if multiplier > MAX_MULTIPLIER:
            return rigorous
        return min(rigorous, _charged(_gaussian(multiplier), delta, distance))
    if not _fits_pld(events):
        return rigorous
    return min(rigorous, _charged(_pld(events).get_epsilon, delta, distance))


def _fits_pld(events: tuple[Event, ...]) -> bool:
    return (
        min(event.noise_multiplier for event in events) >= LEAST_PLD_MULTIPLIER
        and sum(event.steps for event in events) <= MAX_PLD_STEPS
    )


def _charged(figure: Callable[[float], float], delta: float, distance: float) -> float:
    """The least epsilon with ``figure(delta - (1 + e^epsilon) distance) <= epsilon``.

    What is within ``distance`` of an (epsilon, delta')-private release is
    (epsilon, delta' + (1 + e^epsilon) distance)-private.
    """
    found = float(figure(delta))
    if distance == 0:
        return found
    for _ in range(_MAX_CHARGES):
        if not found < _MAX_EXPONENT:
            return math.inf
        rest = delta - (1 + math.exp(found)) * distance
        if rest <= 0:
            return math.inf
        needed = float(figure(rest))
        if needed <= found:
            return found
        found = needed + _SEARCHED
    return math.inf


def _rdp(events: tuple[Event, ...], orders: Sequence[float] | None) -> Any:
    import dp_accounting
    from dp_accounting import rdp

    sampled = any(event.sample_rate < 1 for event in events)
    accountant = rdp.RdpAccountant(orders or (WHOLE_ORDERS if sampled else ORDERS))
    for event in events:
        multiplier = event.noise_multiplier
        if event.sample_rate == 1:
            one = dp_accounting.ZCDpEvent(0.5 / multiplier / multiplier)
        else:
            gaussian = dp_accounting.GaussianDpEvent(multiplier)
            one = dp_accounting.PoissonSampledDpEvent(event.sample_rate, gaussian)
        accountant.compose(dp_accounting.SelfComposedDpEvent(one, event.steps))
    return accountant


def _joint_multiplier(events: tuple[Event, ...]) -> float:
    """Of the one Gaussian mechanism that all sums with full participation together are."""
    return 1 / math.sqrt(math.fsum(event.steps / event.noise_multiplier**2 for event in events))


def _gaussian(multiplier: float) -> Callable[[float], float]:
    from dp_accounting import get_epsilon_gaussian

    return lambda delta: float(get_epsilon_gaussian(multiplier, delta)) + _SEARCHED


@lru_cache(maxsize=64)
def _pld(events: tuple[Event, ...]) -> Any:
    import dp_accounting
    from dp_accounting import pld

    accountant = pld.PLDAccountant()
    for event in events:
        one = dp_accounting.GaussianDpEvent(event.noise_multiplier)
        if event.sample_rate < 1:
            one = dp_accounting.PoissonSampledDpEvent(event.sample_rate, one)
        accountant.compose(dp_accounting.SelfComposedDpEvent(one, event.steps))
    return accountant
