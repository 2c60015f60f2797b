"""What a member checks in a descriptor before it takes part (SPEC.md section 2.2)."""

from __future__ import annotations

from collections.abc import Mapping

from protocols.secagg.params import (
    PROTOCOL,
    Demands,
    Expected,
    RoundDescriptor,
    check_figures,
    refuse,
)
from protocols.signing import identity_of

_PINNED = (
    "coop",
    "run",
    "round",
    "task",
    "model_hash",
    "order_hash",
    "agreement",
    "task_hash",
    "roster_hash",
    "prev_transcript",
    "dim",
    "scale",
    "clip",
    "w_max",
    "max_dropout",
    "stage_timeouts_s",
    "sigma_local",
)


def check_descriptor(
    descriptor: RoundDescriptor,
    demands: Demands,
    expected: Expected,
    roster: Mapping[bytes, bytes],
    me: bytes,
) -> None:
    """Every check of SPEC.md section 2.2 after the signature, in its order.

    Raises:
        Refused: naming the clause and both figures.
    """
    if descriptor.protocol != PROTOCOL:
        refuse(f"the round uses {descriptor.protocol[:40]!r}; this node speaks {PROTOCOL}.")
    _check_pins(descriptor, expected)
    _check_cohort(descriptor, expected, roster, me)
    _check_demands(descriptor, demands)
    check_figures(descriptor)


def _check_pins(descriptor: RoundDescriptor, expected: Expected) -> None:
    for name in _PINNED:
        offered, own = getattr(descriptor, name), getattr(expected, name)
        if offered != own:
            refuse(
                f"{name} of the round is {_show(offered)}; this node expects {_show(own)}.",
                _CLAUSE_OF.get(name, ""),
            )
    if descriptor.attempt < expected.min_attempt:
        refuse(
            f"attempt {descriptor.attempt} of round {descriptor.round} is over; "
            f"{expected.min_attempt} is the next."
        )


def _check_cohort(
    descriptor: RoundDescriptor, expected: Expected, roster: Mapping[bytes, bytes], me: bytes
) -> None:
    ids = frozenset(descriptor.ids)
    if ids != expected.ids:
        more, less = len(ids - expected.ids), len(expected.ids - ids)
        refuse(f"the cohort is not the order's: {more} more, {less} missing.", "c01")
    if me not in ids:
        refuse("this member is not in the cohort.", "c01")
    for one in descriptor.ids:
        public = roster.get(one)
        if public is None:
            refuse(f"{one.hex()[:16]} is not in the roster that this member accepted.", "c01")
        if identity_of(public) != one.hex():
            refuse(f"the roster's key of {one.hex()[:16]} is not that member's.", "c01")


def _check_demands(descriptor: RoundDescriptor, demands: Demands) -> None:
    if descriptor.members > demands.max_members:
        refuse(
            f"{descriptor.members} members are in the round, at most {demands.max_members} agreed.",
            "c14",
        )
    if descriptor.colluders < demands.colluders:
        refuse(
            f"{descriptor.colluders} colluders are allowed for; the agreement says "
            f"{demands.colluders}.",
            "c14",
        )
    if descriptor.min_cohort < demands.min_cohort:
        refuse(
            f"the smallest cohort is {descriptor.min_cohort}; the agreement says "
            f"{demands.min_cohort}.",
            "c14",
        )
    if descriptor.w_max > demands.w_max:
        refuse(f"the weight cap is {descriptor.w_max}; the agreement says {demands.w_max}.", "c17")
    if descriptor.sigma_local < demands.sigma_local:
        refuse(
            f"the noise share is {descriptor.sigma_local}; the agreement says "
            f"{demands.sigma_local}.",
            "c14",
        )
    if descriptor.spot_percent < demands.spot_percent:
        refuse(
            f"auditors would see {descriptor.spot_percent} % of a large sum; the agreement says "
            f"{demands.spot_percent} %.",
            "c24",
        )


_CLAUSE_OF: Mapping[str, str] = {
    "roster_hash": "c01",
    "agreement": "c05",
    "task_hash": "c13",
    "order_hash": "c13",
    "w_max": "c17",
    "sigma_local": "c14",
}


def _show(value: object) -> str:
    return value.hex()[:16] if isinstance(value, bytes) else str(value)[:40]
