"""House rules: what this member itself does not want (SPEC.md section 6.3). They only tighten."""

from __future__ import annotations

import math

from protocols.agreement.facts import Facts, Request
from protocols.agreement.house import HouseRules
from protocols.agreement.saying import Says, eps, hours, no, some
from protocols.agreement.terms import Sharing, Terms
from protocols.permit import Gate


def house_rules(terms: Terms, request: Request, facts: Facts) -> Says:
    """This member's own limits, which only tighten."""
    if request.gate not in (Gate.ADMIT, Gate.USE):
        return
    rules, order = facts.house, request.order
    purpose = request.purpose if request.gate is Gate.USE else order.purpose
    if rules.purposes is not None and purpose not in rules.purposes:
        allowed = ", ".join(sorted(rules.purposes)) or "none"
        yield no("house", purpose, allowed, f"your house rules allow the purposes: {allowed}")
    yield from _country(terms, rules)
    if request.gate is Gate.USE:
        yield from _uses(rules, facts)
        return
    hidden = rules.columns_never & {c for full in order.columns for c in (full, _plain(full))}
    if hidden:
        yield no("house", some(hidden), "never", f"your house rules never give {some(hidden)}")
    yield from hours("house", rules.hours_utc, facts)
    runs = facts.ledger.runs_in_period if facts.ledger is not None else 0
    for what, found, least in (
        (
            "the cohort has {} members, your house rules ask for {}",
            len(order.cohort),
            rules.min_cohort,
        ),
        (
            "the smallest sum has {} members, your house rules ask for {}",
            order.min_cohort,
            rules.min_cohort,
        ),
        (
            "{} colluders are guarded against, your house rules ask for {}",
            order.colluders,
            rules.min_colluders,
        ),
    ):
        if found < least:
            yield no("house", found, least, what.format(found, least))
    for what, found, most in (
        ("the run would take {} rounds, your house rules allow {}", order.rounds, rules.max_rounds),
        (
            "with this run there would be {} in the period, your house rules allow {}",
            runs + 1,
            rules.max_runs,
        ),
    ):
        if most is not None and found > most:
            yield no("house", found, most, what.format(found, most))
    yield from _house_epsilon(rules, facts)


def _house_epsilon(rules: HouseRules, facts: Facts) -> Says:
    if rules.max_epsilon is None:
        return
    spent = facts.privacy.epsilon_after if facts.privacy is not None else math.inf
    if not spent <= rules.max_epsilon:  # also not a number
        yield no(
            "house",
            eps(spent),
            eps(rules.max_epsilon, up=False),
            f"with this run {eps(spent)} of epsilon would be spent in the period, your house rules "
            f"allow {eps(rules.max_epsilon, up=False)}",
        )


def _country(terms: Terms, rules: HouseRules) -> Says:
    if rules.countries is None:
        return
    block = terms.block("c22", Sharing)
    country = block.coordinator_country if block is not None else "an unknown country"
    if country not in rules.countries:
        allowed = ", ".join(sorted(rules.countries)) or "none"
        yield no(
            "house",
            country,
            allowed,
            f"the coordinator runs in {country}, your house rules allow: {allowed}",
        )


def _uses(rules: HouseRules, facts: Facts) -> Says:
    if rules.max_uses_per_day is None:
        return
    used = facts.release.uses_today if facts.release is not None else None
    if used is None or used >= rules.max_uses_per_day:
        found = "an unknown number of" if used is None else used
        yield no(
            "house",
            found,
            rules.max_uses_per_day,
            f"this result was used {found} times today, your house rules allow "
            f"{rules.max_uses_per_day} times a day",
        )


def _plain(column: str) -> str:
    return column.rpartition(".")[2]
