"""What a run costs of an agreed budget: the facts of clause 14, for every party alike.

A member asks with the lines of its own ledger, the coordinator with those of the runs that it
launched. The recipe and the order say what the run costs, never whoever sends the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from protocols.agreement.facts import PrivacyFacts
from protocols.agreement.order import ParsedOrder
from protocols.agreement.roster import ParsedRoster
from protocols.agreement.terms import Budget, Privacy, Terms
from protocols.course import chart
from protocols.privacy.budget import Limit, Line, admits
from protocols.privacy.plan import Plan

NO_PROMISE = PrivacyFacts("none")


def plan_of(order: ParsedOrder, terms: Terms, roster: ParsedRoster) -> Plan | None:
    """Noise and promise of an order; None for a recipe that promises nothing.

    Raises:
        InputError: the order is of another agreement or roster, names a workload that is not
            installed, or its config does not fit.
    """
    return chart(order, terms, roster).privacy()


def cost(plan: Plan | None) -> PrivacyFacts:
    """What a run costs by itself; nothing is said about any ledger."""
    if plan is None:
        return NO_PROMISE
    return PrivacyFacts(plan.unit, plan.delta, plan.epsilon_colluders)


def privacy_facts(
    plan: Plan | None,
    terms: Terms,
    lines: Sequence[Line],
    now: datetime,
    *,
    lost_before: datetime | None = None,
) -> PrivacyFacts:
    """What a run costs, and what would be spent before and after it in the budget's period.

    Args:
        plan: of the run that is asked about.
        lines: of the ledger, without that run.
        now: aware instant.
        lost_before: nobody knows what was spent before this instant, so everything counts as
            spent at it (a node that was restored from a backup).

    Returns:
        Facts at the order's delta, or at the agreed one if that is smaller. Without a budget for
        the unit nothing is spent before or after; clause 14 then says no.
    """
    if plan is None:
        return NO_PROMISE
    alone = cost(plan)
    budget = budget_of(terms, plan.unit)
    if budget is None:
        return alone
    period = budget.period
    counted = [line.at for line in lines if line.unit == plan.unit and line.at >= now - period]
    if lost_before is not None and lost_before >= now - period:
        before, after = budget.epsilon, float("inf")
        counted = [max([lost_before, *counted])]
    else:
        delta = min(plan.delta, budget.delta)
        limit = Limit(plan.unit, budget.epsilon, delta, budget.period_days)
        answer = admits(lines, plan.events_colluders, limit, now)
        before, after = answer.before, answer.after
    frees_at = min(counted) + period if counted else None
    return PrivacyFacts(plan.unit, plan.delta, alone.epsilon_run, before, after, frees_at)


def budget_of(terms: Terms, unit: str) -> Budget | None:
    """The budget of clause 14 for a unit, or nothing."""
    block = terms.block("c14", Privacy)
    return block.budget(unit) if block is not None else None
