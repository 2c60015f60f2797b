"""What was released about somebody, kept apart from what it costs (SPEC.md section 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from protocols.errors import InputError, Refused

Unit = Literal["customer", "member"]
KIND = "noised-sums"
VERSION = 1
MAX_STEPS = 10_000_000
MAX_FIGURE = 2**1000  # larger whole numbers do not fit a float


@dataclass(frozen=True, slots=True, order=True)
class NoisedSums:
    """``steps`` secure sums, each with discrete Gaussian noise by the honest members.

    Args:
        unit: whose addition or removal the figures are about.
        noise_multiplier: z: standard deviation of the noise that honest members add together,
            divided by the L2 norm of the most that one unit adds to the sum.
        sample_rate: q: probability with which a unit is in a step's secret Poisson sample; 1 means
            that everybody is in every step.
        steps: number of sums.
        sampler_distance: statistical distance, all steps and coordinates together, between the
            noise drawn and true discrete Gaussian noise (``noise.distance``). 0 is the ideal.
        lattice_distance: the same between discrete Gaussian noise and continuous Gaussian noise
            rounded to whole units (``lattice.gaussian_distance``); it allows the tighter
            continuous analysis. 1 switches that analysis off.

    Raises:
        InputError: a figure is out of range.
    """

    unit: Unit
    noise_multiplier: float
    sample_rate: float
    steps: int
    sampler_distance: float = 0.0
    lattice_distance: float = 0.0

    def __post_init__(self) -> None:
        _need(self.unit in get_args(Unit), "unit is 'customer' or 'member'")
        _need(
            math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0,
            "the noise multiplier is a finite number above 0",
        )
        _need(0 < self.sample_rate <= 1, "the sample rate is above 0 and at most 1")
        _need(1 <= self.steps <= MAX_STEPS, f"steps are 1 to {MAX_STEPS}")
        _need(0 <= self.sampler_distance <= 1, "the sampler's distance is 0 to 1")
        _need(0 <= self.lattice_distance <= 1, "the lattice's distance is 0 to 1")

    def to_json(self) -> dict[str, Any]:
        """The event as a JSON object; ``from_json`` gives the same value back."""
        return {
            "kind": KIND,
            "v": VERSION,
            "unit": self.unit,
            "noise_multiplier": self.noise_multiplier,
            "sample_rate": self.sample_rate,
            "steps": self.steps,
            "sampler_distance": self.sampler_distance,
            "lattice_distance": self.lattice_distance,
        }


Event = NoisedSums  # the only kind of this version

_FIGURES = ("noise_multiplier", "sample_rate", "sampler_distance", "lattice_distance")
_FIELDS = frozenset(("kind", "v", "unit", "steps", *_FIGURES))


def from_json(value: Mapping[str, Any]) -> Event:
    """An event from a JSON object.

    Raises:
        Refused: the kind or version is unknown: what it cost cannot be said.
        InputError: a field is missing, unknown, or out of range.
    """
    kind, version = value.get("kind"), value.get("v")
    if kind != KIND or type(version) is not int or version != VERSION:
        raise Refused(
            f"a release of the kind {kind!r} (version {version!r}) is not known here, so nobody "
            "can say what it costs in privacy.",
            where="privacy account",
            fix="Update this program.",
        )
    _need(set(value) == _FIELDS, f"the fields are {', '.join(sorted(_FIELDS))}")
    _need(type(value["steps"]) is int, "steps is a whole number")
    unit = value["unit"]
    _need(isinstance(unit, str) and unit in get_args(Unit), "unit is 'customer' or 'member'")
    return NoisedSums(
        unit=unit,
        noise_multiplier=_number(value, "noise_multiplier"),
        sample_rate=_number(value, "sample_rate"),
        steps=value["steps"],
        sampler_distance=_number(value, "sampler_distance"),
        lattice_distance=_number(value, "lattice_distance"),
    )


def _number(value: Mapping[str, Any], name: str) -> float:
    # RFC 8785 writes 1.0 as 1, so a whole number is a number too
    number = value[name]
    _need(type(number) in {int, float}, f"{name} is a number")
    _need(abs(number) < MAX_FIGURE, f"{name} is below 2^1000")
    return float(number)


def _need(condition: bool, rule: str) -> None:
    if not condition:
        raise InputError(f"this privacy event is malformed: {rule}.", where="privacy event")
