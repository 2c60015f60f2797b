"""Linter rules about runs: purposes, data, programs, cohorts, budgets, weights, competition."""

from __future__ import annotations

from protocols.agreement.findings import Found, error, warning
from protocols.agreement.terms import (
    NEVER_RELEASED,
    PROFILES,
    Benefit,
    Budget,
    Competition,
    Contribution,
    Datasets,
    Outputs,
    Privacy,
    Purposes,
    Quality,
    Terms,
    Workloads,
    WorkloadTerms,
    cohort_floor,
    weight_cap,
)

MOST_EPSILON, USUAL_EPSILON = 8.0, 4.0
MOST_DELTA, USUAL_DELTA = 1e-4, 1e-5
"""Delta has to stay below 1 in 10 times the customers: 1,000 and 10,000 of them."""
HIGH_RISK = ("credit_scoring", "employment", "essential_services", "insurance_pricing")
"""Purposes that would make a model high-risk under the EU AI Act, annex III."""
ABOUT_PRICES = ("price_advice", "price_setting", "pricing")
"""Purposes that competitors must never share (agreement.md section 5: no price advice, ever)."""
WORDS_FOR_NOISE = frozenset(
    {"clamp", "customer_clip", "delta", "evaluation_noise_multiplier", "noise_multiplier"}
    | {"sample_rate"}
)
NAMES_A_PERSON = frozenset(
    {"address", "bank_account", "birth_date", "card_number", "customer_name", "date_of_birth"}
    | {"e_mail", "email", "first_name", "iban", "last_name", "mobile", "phone", "street"}
)
MADE_HERE = ("metrics", "model")
OLD_DATA_DAYS = 800
NAMES = (
    "purpose-both",
    "purpose-high-risk",
    "purpose-not-forbidden",
    "purpose-prices",
    "purpose-unserved",
    "names-a-person",
    "column-unread",
    "data-unchecked",
    "data-old",
    "workload-purpose",
    "workload-columns",
    "workload-both",
    "workload-weight",
    "workload-free-noise",
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


def _purposes(terms: Terms) -> Found:
    block, recipes = terms.block("c07", Purposes), terms.block("c13", Workloads)
    if block is None:
        return
    for purpose in sorted(set(block.allowed) & set(block.forbidden)):
        yield error(
            "purpose-both",
            "c07",
            "forbidden",
            f"{purpose!r} is both allowed and forbidden.",
            "Keep it in one list.",
        )
    for purpose in HIGH_RISK:
        if purpose in block.allowed:
            yield error(
                "purpose-high-risk",
                "c07",
                "allowed",
                f"{purpose!r} is high-risk under the EU AI Act and not supported.",
                "Remove it from the allowed purposes.",
            )
        elif purpose not in block.forbidden:
            yield warning(
                "purpose-not-forbidden",
                "c07",
                "forbidden",
                f"{purpose!r} is not forbidden by name.",
                "Add it to the forbidden purposes.",
            )
    for purpose in sorted(set(ABOUT_PRICES) & set(block.allowed)):
        yield error(
            "purpose-prices",
            "c07",
            "allowed",
            f"{purpose!r} would let businesses agree on prices.",
            "Remove it; the cooperative gives no advice on prices.",
        )
    served = {entry.purpose for entry in recipes.workloads} if recipes is not None else set()
    for purpose in sorted(set(block.allowed) - served):
        yield warning(
            "purpose-unserved",
            "c07",
            "allowed",
            f"no workload serves the purpose {purpose!r}.",
            "Remove it.",
        )


def _data(terms: Terms) -> Found:
    block, recipes = terms.block("c08", Datasets), terms.block("c13", Workloads)
    if block is None:
        return
    read = {column for entry in recipes.workloads for column in entry.columns} if recipes else None
    for number, table in enumerate(block.tables):
        where = f"tables.{number}.columns"
        named = sorted(set(table.columns) & NAMES_A_PERSON)
        if named:
            yield warning(
                "names-a-person",
                "c08",
                where,
                f"{', '.join(named)} of {table.table} would tell who a customer is.",
                "Leave them out; customers are known by a key that each member makes itself.",
            )
        idle = [
            one
            for one in table.columns
            if read is not None and one not in read and f"{table.table}.{one}" not in read
        ]
        if idle:
            yield warning(
                "column-unread",
                "c08",
                where,
                f"{', '.join(idle)} of {table.table} may be read, and no workload reads it.",
                "Remove what is not needed (GDPR art. 5(1)(c)).",
            )


def _quality(terms: Terms) -> Found:
    block = terms.block("c09", Quality)
    if block is None:
        return
    if block.min_health == 0:
        yield warning(
            "data-unchecked",
            "c09",
            "min_health",
            "data of any quality takes part; one broken export harms the model of all.",
            "50 is usual.",
        )
    if block.max_age_days > OLD_DATA_DAYS:
        yield warning(
            "data-old",
            "c09",
            "max_age_days",
            f"data take part whose newest sale is {block.max_age_days} days old.",
            "A bit more than a year is usual.",
        )


def _workloads(terms: Terms) -> Found:
    block = terms.block("c13", Workloads)
    for number, entry in enumerate(block.workloads if block is not None else ()):
        yield from _workload(terms, f"workloads.{number}", entry)


def _workload(terms: Terms, where: str, entry: WorkloadTerms) -> Found:
    purposes, datasets = terms.block("c07", Purposes), terms.block("c08", Datasets)
    share = terms.block("c17", Contribution)
    if purposes is not None and entry.purpose not in purposes.allowed:
        yield error(
            "workload-purpose",
            "c13",
            f"{where}.purpose",
            f"workload {entry.id} serves {entry.purpose!r}, which c07 does not allow.",
            "Allow the purpose or remove the workload.",
        )
    extra = sorted(set(entry.columns) - datasets.columns) if datasets is not None else []
    if extra:
        yield error(
            "workload-columns",
            "c13",
            f"{where}.columns",
            f"workload {entry.id} reads {', '.join(extra)}, which c08 does not declare.",
            "Declare the columns or choose another workload.",
        )
    both = sorted(set(entry.config) & set(entry.free))
    if both:
        yield error(
            "workload-both",
            "c13",
            f"{where}.free",
            f"the settings {', '.join(both)} of workload {entry.id} are both fixed and free.",
            "Keep each in one list.",
        )
    weight = entry.config.get("w_max")
    if share is not None and isinstance(weight, int) and weight > share.w_max:
        yield error(
            "workload-weight",
            "c13",
            f"{where}.config.w_max",
            f"workload {entry.id} fixes w_max = {weight}, c17 allows {share.w_max}.",
            "Use one figure.",
        )
    chosen = sorted(set(entry.free) & WORDS_FOR_NOISE)
    if entry.privacy != "none" and chosen:
        yield warning(
            "workload-free-noise",
            "c13",
            f"{where}.free",
            f"the operator may choose {', '.join(chosen)} of workload {entry.id} for each run, "
            "and with it how well customers are hidden.",
            "Fix the figures in config; the budget in c14 bounds them all the same.",
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


RULES = (
    _purposes,
    _data,
    _quality,
    _workloads,
    _cohorts,
    _profile,
    _budgets,
    _outputs,
    _weights,
)
