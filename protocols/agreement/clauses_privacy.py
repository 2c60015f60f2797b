"""Clause 14: who is in a sum, how often sums are made, and what they may cost in privacy.

SPEC.md sections 6.2 and 6.5; the rules of ``clauses_parties`` hold here too.
"""

from __future__ import annotations

import math

from protocols.agreement.facts import Facts, PrivacyFacts, Request
from protocols.agreement.saying import Says, day, eps, no, recipe_of
from protocols.agreement.survivors import change_limit, survivor_change
from protocols.agreement.terms import (
    Budget,
    Competition,
    Privacy,
    Terms,
    WorkloadTerms,
    cohort_floor,
)
from protocols.permit import Gate

NONE = "none"


def privacy(terms: Terms, request: Request, facts: Facts) -> Says:
    """c14: colluders, cohort floor, runs per period, near changes of cohorts, epsilon."""
    block = terms.block("c14", Privacy)
    guard = terms.block("c27", Competition)
    if block is None or guard is None:
        return
    order = request.order
    floor = cohort_floor(block, guard, order.colluders)
    yield from _members(block, floor, request)
    if request.gate in (Gate.LAUNCH, Gate.ADMIT):
        yield from _ledgers(terms, block, floor, request, facts)
    entry = recipe_of(terms, order)
    if entry is not None:  # else clause 13 has said no
        yield from _claim(block, entry, request, facts)


def _members(block: Privacy, floor: int, request: Request) -> Says:
    order = request.order
    if order.colluders < block.colluders:
        yield no(
            "c14",
            order.colluders,
            block.colluders,
            f"the order protects against {order.colluders} colluding members, at least "
            f"{block.colluders} are agreed",
        )
    if len(order.cohort) < floor:
        yield no(
            "c14",
            len(order.cohort),
            floor,
            f"the cohort has {len(order.cohort)} members, at least {floor} are needed",
        )
    if order.min_cohort < floor:
        yield no(
            "c14",
            order.min_cohort,
            floor,
            f"the order would go on with {order.min_cohort} survivors, at least {floor} must be "
            "in every sum",
        )
    if order.min_cohort > len(order.cohort):
        yield no(
            "c14",
            len(order.cohort),
            order.min_cohort,
            f"the order needs {order.min_cohort} survivors from a cohort of {len(order.cohort)}",
        )


def _ledgers(terms: Terms, block: Privacy, floor: int, request: Request, facts: Facts) -> Says:
    ledger = facts.ledger
    if ledger is None:
        yield no("c14", "unknown", "known", "the ledger of runs could not be read")
        return
    if ledger.runs_in_period + 1 > block.max_runs:
        yield no(
            "c14",
            ledger.runs_in_period,
            block.max_runs,
            f"{ledger.runs_in_period} runs were started in the last {block.period_days} days, "
            f"{block.max_runs} are allowed",
        )
    cohort = frozenset(request.order.cohort)
    allowed = change_limit(terms, request.order)
    if allowed is None or len(cohort) < floor:
        return  # noise hides each customer in a difference as well; or said above
    change = survivor_change(ledger.earlier_cohorts, cohort, floor, allowed)
    if change is not None:
        yield no(
            "c14",
            change.found,
            change.allowed,
            f"compared with earlier runs of this workload {change.sentence}",
        )


def _claim(block: Privacy, entry: WorkloadTerms, request: Request, facts: Facts) -> Says:
    """What clause 13 says the recipe promises is what it does, and there is a budget for it."""
    found = facts.privacy
    running = request.gate in (Gate.LAUNCH, Gate.ADMIT)
    if found is None:
        # A release without a promise has none to look at; everything else has to be known.
        if running or entry.privacy != NONE:
            why = f": {facts.privacy_problem.rstrip('.')}" if facts.privacy_problem else ""
            yield no("c14", "unknown", "known", f"what this run costs in privacy is not known{why}")
        return
    if found.unit != entry.privacy:
        yield no(
            "c14",
            _promise(found.unit),
            _promise(entry.privacy),
            f"workload {entry.id} would run with {_promise(found.unit)}, agreed is "
            f"{_promise(entry.privacy)}",
        )
        return
    if entry.privacy == NONE:
        return
    budget = block.budget(entry.privacy)
    if budget is None:
        yield no(
            "c14",
            "no budget",
            f"a budget for one {entry.privacy}",
            f"workload {entry.id} spends privacy of each {entry.privacy}, and this clause has no "
            "budget for it",
        )
        return
    yield from _one_run(budget, found)
    if running:
        yield from _after(budget, found)


def _one_run(budget: Budget, found: PrivacyFacts) -> Says:
    if not 0 < found.delta <= budget.delta:
        yield no(
            "c14",
            f"{found.delta:g}",
            f"{budget.delta:g}",
            f"the run would miss its promise with a probability (delta) of {found.delta:g}, at "
            f"most {budget.delta:g} is allowed",
        )
    if not _fits(found.epsilon_run, budget.epsilon):
        yield no(
            "c14",
            eps(found.epsilon_run),
            eps(budget.epsilon),
            f"the run alone would spend {eps(found.epsilon_run)} of epsilon, "
            f"{eps(budget.epsilon)} is allowed",
        )


def _after(budget: Budget, found: PrivacyFacts) -> Says:
    known = math.isfinite(found.epsilon_before) and found.epsilon_before >= 0
    if known and _fits(found.epsilon_after, budget.epsilon):
        return
    left = budget.epsilon - found.epsilon_before if known else 0.0
    until = f" until {day(found.frees_at)}" if found.frees_at is not None else ""
    yield no(
        "c14",
        eps(found.epsilon_after),
        eps(budget.epsilon),
        f"the run would spend {eps(found.epsilon_run)} of epsilon, {eps(max(0.0, left), up=False)} "
        f"of {eps(budget.epsilon)} is left{until}: with it {eps(found.epsilon_after)} would be "
        f"spent for each {budget.unit} in {budget.period_days} days",
    )


def _fits(found: float, allowed: float) -> bool:
    return math.isfinite(found) and 0 <= found <= allowed


def _promise(unit: str) -> str:
    return "no noise" if unit == NONE else f"noise for each {unit}"
