"""Linter rules about results and the office: benefit, costs, use, sharing, audit, retention."""

from __future__ import annotations

from protocols.agreement.countries import COUNTRIES
from protocols.agreement.findings import Found, error, warning
from protocols.agreement.plural import money
from protocols.agreement.terms import (
    Audit,
    Benefit,
    Confidentiality,
    Costs,
    Incidents,
    Ip,
    Oversight,
    Parties,
    Purposes,
    Retention,
    Security,
    Sharing,
    Term,
    Terms,
    Workloads,
)

USUAL_CERTIFICATE_DAYS = 400
USUAL_HELPER_DAYS = 30
USUAL_NOTIFY_HOURS = 48
MANY_USES, MANY_PULLS = 10_000, 1_000
MOST_CHECKPOINT_HOURS, USUAL_CHECKPOINT_HOURS = 720, 168
LEAST_KEEP_DAYS, USUAL_KEEP_DAYS = 90, 365
USUAL_UPDATE_HOURS = 720
NAMES = (
    "nobody-contributes",
    "cost-cap",
    "cost-unpaid",
    "use-not-allowed",
    "use-missing",
    "use-beyond-retention",
    "results-of-one",
    "uses-unbounded",
    "pulls-unbounded",
    "country-unknown",
    "country-not-listed",
    "helper-country",
    "helper-notice",
    "certificates-long",
    "witnesses-unreachable",
    "no-way-to-check",
    "checked-rarely",
    "logs-too-short",
    "logs-short",
    "never-spot-checked",
    "told-late",
    "no-freeze",
    "slices",
    "no-reasons",
    "logs-before-audit",
    "logs-before-review",
    "updates-long",
)


def _benefit(terms: Terms) -> Found:
    block = terms.block("c18", Benefit)
    if block is not None and block.recipients == "contributors" and not block.min_rounds_percent:
        yield error(
            "nobody-contributes",
            "c18",
            "min_rounds_percent",
            "results go to contributors, and a member that is in no sum would be one.",
            "Write the share of the sums that counts, for example 50.",
        )


def _costs(terms: Terms) -> Found:
    block = terms.block("c19", Costs)
    if block is None:
        return
    price = money(block.run_cost_cents, block.currency)
    if block.run_cost_cents > block.period_cap_cents:
        yield error(
            "cost-cap",
            "c19",
            "period_cap_cents",
            f"one run costs {price}, and all runs of {block.period_days} days may cost "
            f"{money(block.period_cap_cents, block.currency)}; no run could start.",
            "Raise the cap, or lower the price.",
        )
    if block.method == "none" and block.run_cost_cents:
        yield warning(
            "cost-unpaid",
            "c19",
            "method",
            f"a run costs {price}, and nobody pays it.",
            "Write method equal, or a price of 0.",
        )


def _use(terms: Terms) -> Found:
    block, purposes = terms.block("c20", Ip), terms.block("c07", Purposes)
    recipes, keeps = terms.block("c13", Workloads), terms.block("c28", Retention)
    if block is None:
        return
    for purpose in sorted(set(block.uses) - set(purposes.allowed)) if purposes is not None else ():
        yield error(
            "use-not-allowed",
            "c20",
            "uses",
            f"results may be used for {purpose!r}, which c07 does not allow.",
            "Remove it, or allow the purpose.",
        )
    served = {entry.purpose for entry in recipes.workloads} if recipes is not None else set()
    for purpose in sorted(served - set(block.uses)):
        yield warning(
            "use-missing",
            "c20",
            "uses",
            f"models are trained for {purpose!r}, and may not be used for it.",
            "Add the purpose.",
        )
    if keeps is not None and block.use_days > keeps.models_days:
        yield error(
            "use-beyond-retention",
            "c20",
            "use_days",
            f"a result may be used for {block.use_days} days, and c28 deletes it after "
            f"{keeps.models_days}.",
            "Write the smaller figure here, or keep models longer.",
        )
    if block.foreground == "cooperative":
        yield warning(
            "results-of-one",
            "c20",
            "foreground",
            "results belong to the cooperative, not to the members who made them.",
            "Write members, or agree what the members get for it (Data Act art. 13).",
        )


def _limits(terms: Terms) -> Found:
    block = terms.block("c21", Confidentiality)
    if block is None:
        return
    why = "whoever asks a model often enough learns what it was trained on."
    if block.max_uses_per_day > MANY_USES:
        yield warning(
            "uses-unbounded",
            "c21",
            "max_uses_per_day",
            f"a result may be used {block.max_uses_per_day:,} times a day; {why}",
            f"{MANY_USES:,} or less is usual.",
        )
    if block.max_pulls_per_day > MANY_PULLS:
        yield warning(
            "pulls-unbounded",
            "c21",
            "max_pulls_per_day",
            f"a member may fetch results {block.max_pulls_per_day:,} times a day.",
            f"{MANY_PULLS:,} or less is usual.",
        )


def _countries(terms: Terms) -> Found:
    block = terms.block("c22", Sharing)
    if block is None:
        return
    unknown = sorted(set(block.countries) - COUNTRIES)
    if unknown:
        yield error(
            "country-unknown",
            "c22",
            "countries",
            f"{', '.join(unknown)} is no country code of ISO 3166.",
            "Britain is GB; the EU has no code, so list its countries.",
        )
    if block.coordinator_country not in block.countries:
        yield error(
            "country-not-listed",
            "c22",
            "coordinator_country",
            f"the coordinator runs in {block.coordinator_country}, which is not in the list of "
            "countries.",
            "Add the country, or move the coordinator.",
        )
    for number, one in enumerate(block.sub_processors):
        if one.country not in block.countries:
            yield error(
                "helper-country",
                "c22",
                f"sub_processors.{number}.country",
                f"{one.name} works for the coordinator in {one.country}, which is not in the list "
                "of countries.",
                "Add the country, or choose somebody else.",
            )
    if block.notice_days < USUAL_HELPER_DAYS:
        yield warning(
            "helper-notice",
            "c22",
            "notice_days",
            f"somebody new may work for the coordinator after {block.notice_days} days.",
            f"{USUAL_HELPER_DAYS} days are usual, so that members can object (GDPR art. 28).",
        )


def _security(terms: Terms) -> Found:
    block = terms.block("c23", Security)
    if block is not None and block.max_certificate_days > USUAL_CERTIFICATE_DAYS:
        yield warning(
            "certificates-long",
            "c23",
            "max_certificate_days",
            f"a stolen certificate is good for up to {block.max_certificate_days} days.",
            f"{USUAL_CERTIFICATE_DAYS} or less is usual.",
        )


def _audit(terms: Terms) -> Found:
    """Whether a member can check, in time and by itself (Data Act art. 13: no way to check)."""
    block, people = terms.block("c24", Audit), terms.block("c01", Parties)
    if block is None:
        return
    if people is not None and block.witnesses >= people.min_members:
        yield error(
            "witnesses-unreachable",
            "c24",
            "witnesses",
            f"{block.witnesses} witnesses are needed, and {people.min_members} members are enough "
            "to start; one that is away would stop every run.",
            f"Write fewer than {people.min_members}.",
        )
    hours = block.max_checkpoint_age_hours
    if hours > USUAL_CHECKPOINT_HOURS:
        far = hours > MOST_CHECKPOINT_HOURS
        yield (error if far else warning)(
            "no-way-to-check" if far else "checked-rarely",
            "c24",
            "max_checkpoint_age_hours",
            f"the coordinator's log may go unchecked for {hours} hours.",
            f"{USUAL_CHECKPOINT_HOURS} or less is usual, {MOST_CHECKPOINT_HOURS} the most.",
        )
    if block.keep_days < USUAL_KEEP_DAYS:
        far = block.keep_days < LEAST_KEEP_DAYS
        yield (error if far else warning)(
            "logs-too-short" if far else "logs-short",
            "c24",
            "keep_days",
            f"after {block.keep_days} days nobody need show any more what was done.",
            f"{USUAL_KEEP_DAYS} days or more are usual, {LEAST_KEEP_DAYS} the least.",
        )
    if not block.spot_check_percent:
        yield warning(
            "never-spot-checked",
            "c24",
            "spot_check_percent",
            "of a large sum, auditors compute only a few parts again.",
            "10 is usual.",
        )


def _incidents(terms: Terms) -> Found:
    block = terms.block("c25", Incidents)
    if block is None:
        return
    if block.notify_hours > USUAL_NOTIFY_HOURS:
        yield warning(
            "told-late",
            "c25",
            "notify_hours",
            f"members hear of an incident after up to {block.notify_hours} hours, and have to "
            "tell their authority within 72.",
            "24 is usual.",
        )
    if not block.freeze:
        yield warning(
            "no-freeze",
            "c25",
            "freeze",
            "runs go on while nobody knows yet what happened.",
            "Write true.",
        )


def _oversight(terms: Terms) -> Found:
    block = terms.block("c26", Oversight)
    if block is None:
        return
    if block.slices:
        yield error(
            "slices",
            "c26",
            "slices",
            f"fairness is asked for {', '.join(block.slices)}, and this version cannot measure "
            "it; every run would be denied.",
            "Leave the list empty, and look at the groups yourselves.",
        )
    if not block.reasons_required:
        yield warning(
            "no-reasons",
            "c26",
            "reasons_required",
            "customers may be listed without a reason that a person could check.",
            "Write true.",
        )


def _retention(terms: Terms) -> Found:
    block, audit = terms.block("c28", Retention), terms.block("c24", Audit)
    span = terms.block("c30", Term)
    if block is None:
        return
    if audit is not None and block.logs_days < audit.keep_days:
        yield error(
            "logs-before-audit",
            "c28",
            "logs_days",
            f"logs need be kept for {block.logs_days} days only, and c24 promises them for "
            f"{audit.keep_days}.",
            f"Write {audit.keep_days} or more.",
        )
    if span is not None and block.logs_days < (span.review_by - span.starts).days:
        yield warning(
            "logs-before-review",
            "c28",
            "logs_days",
            f"logs need be kept for {block.logs_days} days only, less than until the members "
            "review what was done (c30).",
            f"Write {(span.review_by - span.starts).days} or more.",
        )
    if block.updates_hours > USUAL_UPDATE_HOURS:
        yield warning(
            "updates-long",
            "c28",
            "updates_hours",
            f"hidden updates are kept for {block.updates_hours} hours.",
            "They are needed until a run is checked; 168 is usual.",
        )


RULES = (
    _benefit,
    _costs,
    _use,
    _limits,
    _countries,
    _security,
    _audit,
    _incidents,
    _oversight,
    _retention,
)
