"""House rules: how one member tightens the agreement for its own node (SPEC.md section 6.3).

A rule that is not set adds nothing. No rule can allow what a clause denies, because a decision
needs both. The file ``house_rules.toml`` is read by the node's shell.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.agreement.terms import Hours


@dataclass(frozen=True, slots=True)
class HouseRules:
    """A member's own limits; ``None`` or empty means that the agreement alone decides."""

    purposes: frozenset[str] | None = None  # only these
    columns_never: frozenset[str] = frozenset()
    hours_utc: Hours | None = None
    manual_approval: bool = False  # of each order by itself: "always" is not enough
    min_cohort: int = 0
    min_colluders: int = 0
    max_rounds: int | None = None
    max_runs: int | None = None  # within the period of clause 14
    max_epsilon: float | None = None  # spent with the run, over the period of its budget
    countries: frozenset[str] | None = None  # in which the coordinator may run, ISO alpha-2
    max_uses_per_day: int | None = None  # of one result on this node
    consent_max_age_days: int | None = None  # a customer's older yes does not stand


NO_HOUSE_RULES = HouseRules()
