"""How much noise each member adds, and what that promises (SPEC.md section 6)."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.privacy.events import Event, Unit


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of noised sum of a run, for example "train" or "evaluate".

    ``noise_multiplier``: z promised against the colluders. ``norm_bound``: L2 norm of the most
    that one unit adds, whole units (``rounding.norm_bound``; for counts sqrt of how many).
    """

    name: str
    noise_multiplier: float
    sample_rate: float
    steps: int
    norm_bound: float
    dim: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Noise and promise of one run. Make it with ``make_plan``."""

    unit: Unit
    delta: float
    least_survivors: int
    colluders: int
    phases: tuple[Phase, ...]

    def sigma_local(self, name: str) -> float:
        """Standard deviation of one member's noise in a phase, whole units."""
        raise NotImplementedError

    @property
    def events_alone(self) -> tuple[Event, ...]:
        """What the coordinator sees that nobody helps: least_survivors honest shares."""
        raise NotImplementedError

    @property
    def events_colluders(self) -> tuple[Event, ...]:
        """What it sees with C members that subtract their own noise: the promise."""
        raise NotImplementedError

    @property
    def epsilon_alone(self) -> float:
        """Epsilon of ``events_alone`` at ``delta``."""
        raise NotImplementedError

    @property
    def epsilon_colluders(self) -> float:
        """Epsilon of ``events_colluders`` at ``delta``: the figure to promise and to budget."""
        raise NotImplementedError


def make_plan(
    *,
    unit: Unit,
    delta: float,
    least_survivors: int,
    colluders: int,
    phases: tuple[Phase, ...],
) -> Plan:
    """A plan; InputError if a figure is out of range. ``least_survivors``: of the descriptor."""
    raise NotImplementedError
