"""Linter rules about what runs: purposes, data, programs. Sums are in ``check_sums``."""

from __future__ import annotations

from protocols.agreement.clauses_run import CATEGORY
from protocols.agreement.findings import Found, error, warning
from protocols.agreement.terms import (
    Contribution,
    Datasets,
    Purposes,
    Quality,
    SharedCategories,
    Terms,
    Workloads,
    WorkloadTerms,
)

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
OLD_DATA_DAYS = 800
FEW_MAPPED_PERCENT = 50
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
    "categories-unread",
    "categories-few",
    "workload-purpose",
    "workload-columns",
    "workload-both",
    "workload-weight",
    "workload-free-noise",
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
    if block.taxonomy is not None:
        yield from _categories(terms, block.taxonomy)


def _categories(terms: Terms, agreed: SharedCategories) -> Found:
    recipes = terms.block("c13", Workloads)
    read = {column for one in recipes.workloads for column in one.columns} if recipes else set()
    if CATEGORY not in {column.rpartition(".")[2] for column in read}:
        yield warning(
            "categories-unread",
            "c09",
            "taxonomy",
            f"no workload reads {CATEGORY}, so the list {agreed.id} changes nothing.",
            "Leave it out.",
        )
    if agreed.min_mapped_percent < FEW_MAPPED_PERCENT:
        yield warning(
            "categories-few",
            "c09",
            "taxonomy.min_mapped_percent",
            f"a member takes part with {agreed.min_mapped_percent} % of its sales lines under a "
            "common category; the common model learns little from the others.",
            "80 is usual.",
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


RULES = (_purposes, _data, _quality, _workloads)
