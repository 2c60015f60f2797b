"""What noised sums cost (SPEC.md section 5). dp-accounting is loaded on first use only."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.privacy.events import Event


def epsilon(events: Sequence[Event], delta: float) -> float:
    """The epsilon of all events together at ``delta``; infinite if nothing bounds it."""
    raise NotImplementedError


def noise_multiplier(
    epsilon: float, delta: float, sample_rate: float, steps: int, extra: Sequence[Event] = ()
) -> float:
    """The least z, rounded up, for which ``steps`` more sums cost at most ``epsilon``."""
    raise NotImplementedError
