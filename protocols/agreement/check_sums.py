"""Linter rules about sums: cohorts, competition profiles, budgets, results, weights."""

from __future__ import annotations

from protocols.agreement.findings import Found, error, warning
from protocols.agreement.terms import (
    NEVER_RELEASED,
    PROFILES,
    Benefit,
    Budget,
    Competition,
    Contribution,
    Outputs,
    Privacy,
    Terms,
    Workloads,
    cohort_floor,
    weight_cap,
)

MOST_EPSILON, USUAL_EPSILON = 8.0, 4.0
MOST_DELTA, USUAL_DELTA = 1e-4, 1e-5
"""Delta has to stay below 1 in 10 times the customers: 1,000 and 10,000 of them."""
MADE_HERE = ("metrics", "model")
NAMES = (
    "cohort-below-floor",
    "cohort-changes",
    "profile-contributors",
    "profile-weight",
    "profile-share",
    "profile-age",
    "profile-fields",
    "budget-missing",
    "budget-idle",
    "budget-weights",
    "delta-denied",
    "epsilon-void",
    "epsilon-weak",
    "delta-void",
    "delta-weak",
    "budget-short",
    "output-never",
    "output-unknown",
    "output-contributors",
    "weight-cap",
    "free-rider",
)


def _cohorts(terms: Terms) -> Found:
    privacy, guard = terms.block("c14", Privacy), terms.block("c27", Competition)
    if privacy is None or guard is None:
        return
    profile = PROFILES[guard.profile]
    least = max(privacy.colluders + 2, 3, profile.min_contributors, guard.min_contributors)
    if privacy.min_cohort < least:
        yield error(
            "cohort-below-floor",
            "c14",
            "min_cohort",
            f"the smallest cohort is {privacy.min_cohort}; {privacy.colluders} colluders and "
            f"competition profile {guard.profile} ask for {least}.",
            f"Write min_cohort {least} or more.",
        )
    if privacy.survivor_changes > 2:
        yield warning(
            "cohort-changes",
            "c14",
            "survivor_changes",
            f"the members in the sum may change {privacy.survivor_changes} times a run; without "
            "added noise each change shows something about those who left.",
            "2 is usual.",
        )


_LOOSER = "A profile can be tightened, never loosened."


def _profile(terms: Terms) -> Found:
    """Every row of the table of competition profiles."""
    guard = terms.block("c27", Competition)
    if guard is None:
        return
    name, least = guard.profile, PROFILES[guard.profile]
    if guard.min_contributors < least.min_contributors:
        yield error(
            "profile-contributors",
            "c27",
            "min_contributors",
            f"profile {name} asks for {least.min_contributors} contributors, the clause says "
            f"{guard.min_contributors}.",
            _LOOSER,
        )
    if guard.max_weight_percent > least.max_weight_percent:
        yield error(
            "profile-weight",
            "c27",
            "max_weight_percent",
            f"profile {name} caps a member's weight at {least.max_weight_percent} %, the clause "
            f"says {guard.max_weight_percent} %.",
            _LOOSER,
        )
    if guard.max_share_percent > least.max_share_percent:
        yield error(
            "profile-share",
            "c27",
            "max_share_percent",
            f"profile {name} caps a member's share of a figure at {least.max_share_percent} %, "
            f"the clause says {guard.max_share_percent} %.",
            _LOOSER,
        )
    if guard.min_age_days < least.min_age_days:
        yield error(
            "profile-age",
            "c27",
            "min_age_days",
            f"profile {name} asks for data that are {least.min_age_days} days old, the clause "
            f"says {guard.min_age_days}.",
            _LOOSER,
        )
    shown = sorted(set(least.blocked_fields) - set(guard.blocked_fields))
    if shown:
        yield error(
            "profile-fields",
            "c27",
            "blocked_fields",
            f"profile {name} lets no figure show {', '.join(shown)}, and the clause does not "
            "block it.",
            _LOOSER,
        )


def _budgets(terms: Terms) -> Found:
    """Budgets without a workload, workloads without a budget, budgets that promise little."""
    privacy, recipes = terms.block("c14", Privacy), terms.block("c13", Workloads)
    if privacy is None or recipes is None:
        return
    claims = {entry.privacy for entry in recipes.workloads}
    for number, entry in enumerate(recipes.workloads):
        if entry.privacy != "none" and privacy.budget(entry.privacy) is None:
            yield error(
                "budget-missing",
                "c14",
                "budgets",
                f"workload {entry.id} spends privacy of each {entry.privacy}, and there is no "
                "budget for it; every order would be denied.",
                f"Add a budget for the unit {entry.privacy} or remove the workload.",
            )
        budget, delta = privacy.budget(entry.privacy), entry.config.get("delta")
        if budget is not None and isinstance(delta, float) and delta > budget.delta:
            yield error(
                "delta-denied",
                "c14",
                f"budgets.{privacy.budgets.index(budget)}.delta",
                f"workload {entry.id} fixes a delta of {delta:g}, the budget allows "
                f"{budget.delta:g}; every order would be denied.",
                "Use one figure.",
            )
        weight = entry.config.get("w_max", 1)
        if entry.privacy != "none" and weight != 1:
            yield error(
                "budget-weights",
                "c13",
                f"workloads.{number}.config.w_max",
                f"workload {entry.id} adds noise for each {entry.privacy} and fixes w_max = "
                f"{weight}; the noise is made for members that all count the same.",
                "Write w_max 1.",
            )
    for number, one in enumerate(privacy.budgets):
        if one.unit not in claims:
            yield error(
                "budget-idle",
                "c14",
                f"budgets.{number}",
                f"there is a budget for each {one.unit}, and no workload that uses it.",
                "Remove the budget, or add the workload.",
            )
        yield from _budget(f"budgets.{number}", one)


def _budget(where: str, budget: Budget) -> Found:
    if budget.epsilon > MOST_EPSILON:
        yield error(
            "epsilon-void",
            "c14",
            f"{where}.epsilon",
            f"an epsilon of {budget.epsilon:g} promises a {budget.unit} next to nothing.",
            f"{USUAL_EPSILON:g} or less is usual, {MOST_EPSILON:g} is the most.",
        )
    elif budget.epsilon > USUAL_EPSILON:
        yield warning(
            "epsilon-weak",
            "c14",
            f"{where}.epsilon",
            f"an epsilon of {budget.epsilon:g} in {budget.period_days} days is weak.",
            f"{USUAL_EPSILON:g} or less is usual.",
        )
    if budget.delta > USUAL_DELTA:
        far = budget.delta > MOST_DELTA
        yield (error if far else warning)(
            "delta-void" if far else "delta-weak",
            "c14",
            f"{where}.delta",
            f"a delta of {budget.delta:g} is more than 1 in 10 times "
            f"{1 / (10 * (MOST_DELTA if far else USUAL_DELTA)):,.0f} customers.",
            "Write 1 divided by ten times the number of all customers, or less.",
        )
    if budget.period_days < 365:
        yield warning(
            "budget-short",
            "c14",
            f"{where}.period_days",
            f"the budget comes back after {budget.period_days} days; over years more is spent "
            "than one period allows.",
            "A year or more is usual.",
        )


def _outputs(terms: Terms) -> Found:
    block = terms.block("c15", Outputs)
    if block is None:
        return
    for kind in block.release:
        if kind in NEVER_RELEASED or kind in block.never:
            yield error(
                "output-never",
                "c15",
                "release",
                f"{kind!r} may not leave a node: it is never released.",
                "Remove it from the results that may be released.",
            )
        elif kind not in MADE_HERE:
            yield error(
                "output-unknown",
                "c15",
                "release",
                f"this version cannot make {kind!r}; every run would be denied.",
                f"It makes: {', '.join(MADE_HERE)}.",
            )
    privacy, guard = terms.block("c14", Privacy), terms.block("c27", Competition)
    if privacy is not None and guard is not None:
        floor = cohort_floor(privacy, guard)
        if block.min_contributors < floor:
            yield error(
                "output-contributors",
                "c15",
                "min_contributors",
                f"a release would show {block.min_contributors} contributors, c14 and c27 ask "
                f"for {floor}.",
                f"Write min_contributors {floor} or more.",
            )


def _weights(terms: Terms) -> Found:
    block, privacy = terms.block("c17", Contribution), terms.block("c14", Privacy)
    guard, benefit = terms.block("c27", Competition), terms.block("c18", Benefit)
    if block is None:
        return
    if benefit is not None and benefit.recipients == "members" and not block.min_rows:
        yield warning(
            "free-rider",
            "c17",
            "min_rows",
            "a member without a single line takes part and gets every result.",
            "Ask for some rows, or give results to contributors (c18).",
        )
    if privacy is None or guard is None:
        return
    floor = cohort_floor(privacy, guard)
    cap = weight_cap(floor)
    if block.w_max > cap:
        yield error(
            "weight-cap",
            "c17",
            "w_max",
            f"with {floor} survivors the largest weight that keeps a member at 25 % is {cap}, "
            f"the clause says {block.w_max}.",
            f"Write w_max {cap}.",
        )


RULES = (_cohorts, _profile, _budgets, _outputs, _weights)
