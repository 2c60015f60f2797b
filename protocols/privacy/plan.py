"""How much noise each member adds, and what that promises (SPEC.md section 6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from protocols.errors import InputError
from protocols.privacy import accountant, calibrate, lattice, noise
from protocols.privacy.events import Event, NoisedSums, Unit

LEAST_SIGMA = 2.0  # of one share, whole units: below, the lattice is too coarse to promise anything
MAX_MEMBERS = 1_000


def local_sigma(noise_multiplier: float, norm_bound: float, shares: int) -> float:
    """Standard deviation of one member's noise, whole units: ``z D / sqrt(shares)``.

    Only * / and sqrt: every machine gets the same bytes.
    """
    return noise_multiplier * norm_bound / math.sqrt(shares)


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of noised sum of a run, for example "train" or "evaluate".

    Args:
        name: to find it again; unique in a plan.
        noise_multiplier: z, promised against the colluders.
        sample_rate: of the members' secret Poisson samples; 1 is everybody.
        steps: how many sums.
        norm_bound: D, the L2 norm of the most that one unit adds, whole units
            (``rounding.norm_bound``; for counts the root of how many one customer makes).
        dim: coordinates with noise.
    """

    name: str
    noise_multiplier: float
    sample_rate: float
    steps: int
    norm_bound: float
    dim: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Noise and promise of one run. Make it with ``make_plan``.

    ``least_survivors``: n_min', the smallest set that a round of the run may have
    (``RoundDescriptor.least_survivors``). ``colluders``: members that may help the coordinator.
    Nothing here loads the accountant until an epsilon is asked for.
    """

    unit: Unit
    delta: float
    least_survivors: int
    colluders: int
    phases: tuple[Phase, ...]

    @property
    def shares(self) -> int:
        """Honest shares of noise in every sum, whatever happens: n_min' - C."""
        return self.least_survivors - self.colluders

    def phase(self, name: str) -> Phase:
        """The phase of that name; KeyError if there is none."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        raise KeyError(name)

    def sigma_local(self, name: str) -> float:
        """Standard deviation of one member's noise in a phase, whole units."""
        phase = self.phase(name)
        return local_sigma(phase.noise_multiplier, phase.norm_bound, self.shares)

    @property
    def events_alone(self) -> tuple[Event, ...]:
        """What the coordinator sees that nobody helps: n_min' honest shares."""
        return tuple(self._event(phase, self.least_survivors) for phase in self.phases)

    @property
    def events_colluders(self) -> tuple[Event, ...]:
        """What it sees with C members that subtract their own noise: the promise."""
        return tuple(self._event(phase, self.shares) for phase in self.phases)

    @property
    def epsilon_alone(self) -> float:
        """Epsilon of ``events_alone`` at ``delta``."""
        return accountant.epsilon(self.events_alone, self.delta)

    @property
    def epsilon_colluders(self) -> float:
        """Epsilon of ``events_colluders`` at ``delta``: the figure to promise and to budget."""
        return accountant.epsilon(self.events_colluders, self.delta)

    def _event(self, phase: Phase, shares: int) -> Event:
        sigma = local_sigma(phase.noise_multiplier, phase.norm_bound, self.shares)
        found = 1 / lattice.concentrated_epsilon(phase.norm_bound, sigma, shares, phase.dim)
        count = phase.steps * phase.dim
        if shares == self.shares:  # never more than was promised, whatever a last digit says
            found = min(found, phase.noise_multiplier)
        return NoisedSums(
            unit=self.unit,
            noise_multiplier=found,
            sample_rate=phase.sample_rate,
            steps=phase.steps,
            sampler_distance=noise.distance(sigma, count * shares),
            lattice_distance=lattice.gaussian_distance(sigma, shares, count),
        )


def make_plan(
    *,
    unit: Unit,
    delta: float,
    least_survivors: int,
    colluders: int,
    phases: Sequence[Phase],
) -> Plan:
    """A plan whose figures are in range.

    Args:
        unit: whom the promise is about.
        delta: at which epsilon is said.
        least_survivors: n_min'.
        colluders: C, at least 1: each member sees the result and can subtract its own noise.
        phases: every kind of noised sum of the run; what is not here is not counted.

    Raises:
        InputError: a figure is out of range, or the scale is so coarse that a share of the noise
            would be below 2 whole units.
    """
    plan = Plan(unit, delta, least_survivors, colluders, tuple(phases))
    _need(unit in get_args(Unit), "the unit is 'customer' or 'member'")
    _need(0 < delta < 1, "delta is between 0 and 1")
    _need(
        1 <= colluders < least_survivors <= MAX_MEMBERS,
        f"{least_survivors} survivors with {colluders} colluders leave honest members",
    )
    _need(bool(plan.phases), "at least one phase has noise")
    names = [phase.name for phase in plan.phases]
    _need(len(set(names)) == len(names), "each phase has a name of its own")
    for phase in plan.phases:
        _check_phase(phase, plan.sigma_local(phase.name))
    return plan


def aimed_plan(plan: Plan, name: str, epsilon: float) -> Plan:
    """The plan with the least noise in one phase that costs at most ``epsilon`` against colluders.

    The other phases keep their noise and are counted. The new noise multiplier has four decimals;
    it belongs into the order, because its search is not the same on every machine.

    Raises:
        InputError: no noise in that phase brings the whole run down to ``epsilon``.
    """
    phase = plan.phase(name)

    def events(multiplier: float) -> tuple[Event, ...]:
        return _with(plan, replace(phase, noise_multiplier=multiplier)).events_colluders

    multiplier = calibrate.least_multiplier(
        lambda trial: accountant.epsilon(events(trial), plan.delta),
        lambda trial: accountant.rdp_epsilon(events(trial), plan.delta),
        epsilon,
        most=noise.MAX_SIGMA * math.sqrt(plan.shares) / phase.norm_bound,
    )
    aimed = _with(plan, replace(phase, noise_multiplier=multiplier))
    return make_plan(
        unit=aimed.unit,
        delta=aimed.delta,
        least_survivors=aimed.least_survivors,
        colluders=aimed.colluders,
        phases=aimed.phases,
    )


def _with(plan: Plan, changed: Phase) -> Plan:
    phases = (changed if phase.name == changed.name else phase for phase in plan.phases)
    return replace(plan, phases=tuple(phases))


def _check_phase(phase: Phase, sigma: float) -> None:
    _need(
        math.isfinite(phase.noise_multiplier) and phase.noise_multiplier > 0,
        f"the noise multiplier of {phase.name} is above 0",
    )
    _need(0 < phase.sample_rate <= 1, f"the sample rate of {phase.name} is above 0, at most 1")
    _need(phase.steps >= 1 and phase.dim >= 1, f"{phase.name} has steps and coordinates")
    _need(
        math.isfinite(phase.norm_bound) and phase.norm_bound >= 1,
        f"the norm bound of {phase.name} is a whole unit or more",
    )
    _need(
        LEAST_SIGMA <= sigma <= noise.MAX_SIGMA,
        f"each member's noise in {phase.name} is {LEAST_SIGMA:g} to {noise.MAX_SIGMA:.0f} whole "
        f"units (it would be {sigma:.3g}; choose another scale)",
    )


def _need(condition: bool, rule: str) -> None:
    if not condition:
        raise InputError(f"this privacy plan does not hold: {rule}.", where="privacy plan")
