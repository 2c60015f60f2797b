"""The linter: what is wrong with an agreement before anybody signs it (SPEC.md section 7).

The schema says whether a document can be read; this says whether it makes sense.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from protocols.agreement.saying import day
from protocols.agreement.terms import (
    NEVER_RELEASED,
    PROFILES,
    TYPE_OF,
    Agreement,
    Approval,
    Budget,
    Competition,
    Contribution,
    Datasets,
    Governance,
    Outputs,
    Parties,
    Privacy,
    Purposes,
    Term,
    Terms,
    Workloads,
    cohort_floor,
    weight_cap,
)

EXPECTED_TEXT = {
    "c02": "what the cooperative is for",
    "c21": "confidentiality and no re-identification",
    "c22": "no onward sharing",
    "c25": "notice of incidents",
    "c28": "retention and deletion",
    "c29": "joining, leaving and what happens to past models",
}
MOST_EPSILON, USUAL_EPSILON = 8.0, 4.0
MOST_DELTA, USUAL_DELTA = 1e-4, 1e-5
"""Delta has to stay below 1 in 10 times the customers: 1,000 and 10,000 of them."""
HIGH_RISK = ("credit_scoring", "employment", "essential_services", "insurance_pricing")
"""Purposes that would make a model high-risk under the EU AI Act, annex III."""


class Level(StrEnum):
    """An error must be put right before signing; a warning should be talked about."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction or gap, with the clause it stands in and what to do."""

    clause: str
    level: Level
    sentence: str
    fix: str

    def __str__(self) -> str:
        return f"{self.clause} {self.level}: {self.sentence} {self.fix}"


Found = Iterator[Finding]


def check(agreement: Agreement, terms: Terms, now: datetime) -> tuple[Finding, ...]:
    """All findings, errors first, then by clause."""
    found = [
        *_texts(agreement),
        *_missing(terms),
        *_governance(terms),
        *_purposes(terms),
        *_workloads(terms),
        *_cohorts(terms),
        *_budgets(terms),
        *_outputs(terms),
        *_weights(terms),
        *_approval(terms),
        *_term(terms, now),
    ]
    return tuple(sorted(found, key=lambda one: (one.level is not Level.ERROR, one.clause)))


def _error(clause: str, sentence: str, fix: str) -> Finding:
    return Finding(clause, Level.ERROR, sentence, fix)


def _warning(clause: str, sentence: str, fix: str) -> Finding:
    return Finding(clause, Level.WARNING, sentence, fix)


def _missing(terms: Terms) -> Found:
    for clause in sorted(set(TYPE_OF) - set(terms.blocks)):
        yield _error(
            clause, f"the clause on {TYPE_OF[clause]} is missing.", "Everything would be denied."
        )


def _texts(agreement: Agreement) -> Found:
    present = {clause.id for clause in agreement.clauses}
    for clause, topic in EXPECTED_TEXT.items():
        if clause not in present:
            yield _warning(clause, f"nothing is said about {topic}.", "Add the clause.")


def _governance(terms: Terms) -> Found:
    block, people = terms.block("c05", Governance), terms.block("c01", Parties)
    if block is None:
        return
    if block.operator_key == block.coordinator_key:
        yield _error(
            "c05",
            "orders and releases are signed with the same key.",
            "Keep the operator's key apart from the server's key.",
        )
    if people is None:
        return
    for what, quorum in (
        ("the agreement", block.quorum_agreement),
        ("the roster", block.quorum_roster),
    ):
        needed = quorum.needed(people.min_members)
        if 2 * needed <= people.min_members:
            yield _error(
                "c05",
                f"{needed} of {people.min_members} members could sign {what}; two halves could "
                "sign two different ones.",
                "Ask for more than half.",
            )
        if needed > people.min_members:
            yield _warning(
                "c05",
                f"{what} needs {needed} signatures, but {people.min_members} members are enough "
                "to start.",
                "Lower the quorum or raise the number of members in c01.",
            )


def _purposes(terms: Terms) -> Found:
    block, recipes = terms.block("c07", Purposes), terms.block("c13", Workloads)
    if block is None:
        return
    for purpose in sorted(set(block.allowed) & set(block.forbidden)):
        yield _error("c07", f"{purpose!r} is both allowed and forbidden.", "Keep it in one list.")
    for purpose in HIGH_RISK:
        if purpose in block.allowed:
            yield _error(
                "c07",
                f"{purpose!r} is high-risk under the EU AI Act and not supported.",
                "Remove it from the allowed purposes.",
            )
        elif purpose not in block.forbidden:
            yield _warning(
                "c07", f"{purpose!r} is not forbidden by name.", "Add it to the forbidden purposes."
            )
    served = {entry.purpose for entry in recipes.workloads} if recipes is not None else set()
    for purpose in sorted(set(block.allowed) - served):
        yield _warning("c07", f"no workload serves the purpose {purpose!r}.", "Remove it.")


def _workloads(terms: Terms) -> Found:
    block = terms.block("c13", Workloads)
    if block is None:
        return
    purposes, datasets = terms.block("c07", Purposes), terms.block("c08", Datasets)
    share = terms.block("c17", Contribution)
    for entry in block.workloads:
        if purposes is not None and entry.purpose not in purposes.allowed:
            yield _error(
                "c13",
                f"workload {entry.id} serves {entry.purpose!r}, which c07 does not allow.",
                "Allow the purpose or remove the workload.",
            )
        extra = sorted(set(entry.columns) - datasets.columns) if datasets is not None else []
        if extra:
            yield _error(
                "c13",
                f"workload {entry.id} reads {', '.join(extra)}, which c08 does not declare.",
                "Declare the columns or choose another workload.",
            )
        both = sorted(set(entry.config) & set(entry.free))
        if both:
            yield _error(
                "c13",
                f"the settings {', '.join(both)} of workload {entry.id} are both fixed and free.",
                "Keep each in one list.",
            )
        weight = entry.config.get("w_max")
        if share is not None and isinstance(weight, int) and weight > share.w_max:
            yield _error(
                "c13",
                f"workload {entry.id} fixes w_max = {weight}, c17 allows {share.w_max}.",
                "Use one figure.",
            )


def _cohorts(terms: Terms) -> Found:
    privacy, guard = terms.block("c14", Privacy), terms.block("c27", Competition)
    if privacy is None or guard is None:
        return
    profile = PROFILES[guard.profile]
    least = max(privacy.colluders + 2, 3, profile.min_contributors, guard.min_contributors)
    if privacy.min_cohort < least:
        yield _error(
            "c14",
            f"the smallest cohort is {privacy.min_cohort}; {privacy.colluders} colluders and "
            f"competition profile {guard.profile} ask for {least}.",
            f"Write min_cohort {least} or more.",
        )
    if guard.min_contributors < profile.min_contributors:
        yield _error(
            "c27",
            f"profile {guard.profile} asks for {profile.min_contributors} contributors, the "
            f"clause says {guard.min_contributors}.",
            "A profile can be tightened, never loosened.",
        )
    if guard.max_weight_percent > profile.max_weight_percent:
        yield _error(
            "c27",
            f"profile {guard.profile} caps a member's weight at {profile.max_weight_percent} %, "
            f"the clause says {guard.max_weight_percent} %.",
            "A profile can be tightened, never loosened.",
        )
    if privacy.survivor_changes > 2:
        yield _warning(
            "c14",
            f"the members in the sum may change {privacy.survivor_changes} times a run; without "
            "added noise each change shows something about those who left.",
            "2 is usual.",
        )
    people = terms.block("c01", Parties)
    floor = cohort_floor(privacy, guard)
    if people is not None and people.min_members < floor:
        yield _warning(
            "c01",
            f"{people.min_members} members are enough to start, but a run needs {floor}.",
            "Raise min_members.",
        )


def _budgets(terms: Terms) -> Found:
    """Budgets without a workload, workloads without a budget, budgets that promise little."""
    privacy, recipes = terms.block("c14", Privacy), terms.block("c13", Workloads)
    if privacy is None or recipes is None:
        return
    claims = {entry.privacy for entry in recipes.workloads}
    for entry in recipes.workloads:
        if entry.privacy != "none" and privacy.budget(entry.privacy) is None:
            yield _error(
                "c14",
                f"workload {entry.id} spends privacy of each {entry.privacy}, and there is no "
                "budget for it; every order would be denied.",
                f"Add a budget for the unit {entry.privacy} or remove the workload.",
            )
        weight = entry.config.get("w_max", 1)
        if entry.privacy != "none" and weight != 1:
            yield _error(
                "c13",
                f"workload {entry.id} adds noise for each {entry.privacy} and fixes w_max = "
                f"{weight}; the noise is made for members that all count the same.",
                "Write w_max 1.",
            )
    for budget in privacy.budgets:
        if budget.unit not in claims:
            yield _error(
                "c14",
                f"there is a budget for each {budget.unit}, and no workload that uses it.",
                "Remove the budget, or add the workload.",
            )
        yield from _budget(budget)


def _budget(budget: Budget) -> Found:
    if budget.epsilon > MOST_EPSILON:
        yield _error(
            "c14",
            f"an epsilon of {budget.epsilon:g} promises a {budget.unit} next to nothing.",
            f"{USUAL_EPSILON:g} or less is usual, {MOST_EPSILON:g} is the most.",
        )
    elif budget.epsilon > USUAL_EPSILON:
        yield _warning(
            "c14",
            f"an epsilon of {budget.epsilon:g} in {budget.period_days} days is weak.",
            f"{USUAL_EPSILON:g} or less is usual.",
        )
    if budget.delta > USUAL_DELTA:
        far = budget.delta > MOST_DELTA
        yield (_error if far else _warning)(
            "c14",
            f"a delta of {budget.delta:g} is more than 1 in 10 times "
            f"{1 / (10 * (MOST_DELTA if far else USUAL_DELTA)):,.0f} customers.",
            "Write 1 divided by ten times the number of all customers, or less.",
        )
    if budget.period_days < 365:
        yield _warning(
            "c14",
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
            yield _error(
                "c15",
                f"{kind!r} may not leave a node: it is never released.",
                "Remove it from the results that may be released.",
            )
    privacy, guard = terms.block("c14", Privacy), terms.block("c27", Competition)
    if privacy is not None and guard is not None:
        floor = cohort_floor(privacy, guard)
        if block.min_contributors < floor:
            yield _error(
                "c15",
                f"a release would show {block.min_contributors} contributors, c14 and c27 ask "
                f"for {floor}.",
                f"Write min_contributors {floor} or more.",
            )


def _weights(terms: Terms) -> Found:
    block, privacy = terms.block("c17", Contribution), terms.block("c14", Privacy)
    guard = terms.block("c27", Competition)
    if block is None or privacy is None or guard is None:
        return
    floor = cohort_floor(privacy, guard)
    cap = weight_cap(floor)
    if block.w_max > cap:
        yield _error(
            "c17",
            f"with {floor} survivors the largest weight that keeps a member at 25 % is {cap}, "
            f"the clause says {block.w_max}.",
            f"Write w_max {cap}.",
        )


def _approval(terms: Terms) -> Found:
    block = terms.block("c16", Approval)
    if block is not None and block.mode == "automatic":
        yield _warning(
            "c16",
            "orders are approved without a person.",
            "Manual is the default; a member can still approve one workload always.",
        )


def _term(terms: Terms, now: datetime) -> Found:
    block = terms.block("c30", Term)
    if block is None:
        return
    if now >= block.ends:
        yield _error("c30", f"the agreement ended on {day(block.ends)}.", "Set a later end.")
    if (block.ends - block.starts).days > 5 * 366:
        yield _warning("c30", "it runs for more than five years.", "Set a review date.")
