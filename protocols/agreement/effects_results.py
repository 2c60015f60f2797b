"""What the clauses about results and the office say in words: benefit to retention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocols.agreement.plural import counted, days, hours, listed, money
from protocols.agreement.terms import (
    Audit,
    Benefit,
    Confidentiality,
    Costs,
    Incidents,
    Ip,
    Oversight,
    Retention,
    Security,
    Sharing,
)

Sentences = tuple[str, ...]
_FOREGROUND = {"members": "the members together", "cooperative": "the cooperative"}


def _benefit(block: Benefit) -> Sentences:
    share = f"at least {block.min_rounds_percent} % of a run's sums"
    if block.recipients == "contributors":
        return (f"A result goes only to members that are in {share}.",)
    return (
        "A result goes to every member, also to those that did not take part.",
        f"A member that is in {share} is named as a contributor.",
    )


def _costs(block: Costs) -> Sentences:
    cap = money(block.period_cap_cents, block.currency)
    limit = f"In any {days(block.period_days)} runs cost at most {cap} together"
    price = money(block.run_cost_cents, block.currency)
    if block.method == "none":
        return (f"Nobody is charged for runs. A run is put at {price}. {limit}.",)
    return (
        f"A run costs {price}, shared equally among the members.",
        f"{limit}; a run that would cost more is not started.",
    )


def _ip(block: Ip) -> Sentences:
    return (
        f"Results belong to {_FOREGROUND[block.foreground]} and carry the licence {block.licence}.",
        f"A result may be used for: {listed(block.uses)}; for {days(block.use_days)} after it was "
        "made. Then your computer refuses it.",
    )


def _confidentiality(block: Confidentiality) -> Sentences:
    return (
        f"One computer uses a result at most {counted(block.max_uses_per_day, 'time')} a day.",
        f"One member fetches results at most {counted(block.max_pulls_per_day, 'time')} a day.",
        "Nobody may try to recognise a person or another member in a result."
        if block.no_reidentification
        else "Others may try to recognise persons in a result.",
        "Nobody may try to get data back out of a model."
        if block.no_inversion
        else "Others may try to get data back out of a model.",
    )


def _sharing(block: Sharing) -> Sentences:
    helpers = tuple(
        f"{one.name} in {one.country} works for the coordinator: {one.service}."
        for one in block.sub_processors
    )
    return (
        "Results may be passed on to others."
        if block.onward
        else "Nothing is passed on to anybody who is not a member.",
        f"The coordinator runs in {block.coordinator_country}; it and those who work for it may "
        f"be only in: {listed(block.countries)}.",
        *(helpers or ("Nobody else works for the coordinator.",)),
        f"You hear of a new one {days(block.notice_days)} before it starts to work."
        if block.notice_days
        else "A new one may start to work on the day you hear of it.",
    )


def _security(block: Security) -> Sentences:
    return (
        f"A certificate is valid for at most {days(block.max_certificate_days)}.",
        f"Software older than version {block.min_software} takes no part.",
        *(f"Promised besides: {measure}" for measure in block.measures),
    )


def _audit(block: Audit) -> Sentences:
    return (
        "You take part only if your computer has checked the coordinator's log in the last "
        f"{hours(block.max_checkpoint_age_hours)}.",
        f"A run starts only if {counted(block.witnesses, 'member')} countersigned the log."
        if block.witnesses
        else "A run may start although no member has countersigned the log.",
        "Before a sum counts, members compute it again: a small one whole, of a large one at "
        f"least {block.spot_check_percent} %, drawn by chance.",
        f"You can look at the logs for at least {days(block.keep_days)}.",
    )


def _incidents(block: Incidents) -> Sentences:
    return (
        f"If something goes wrong, you are told within {hours(block.notify_hours)}.",
        "While an incident is open, no run starts and no result is used."
        if block.freeze
        else "While an incident is open, runs go on.",
    )


def _oversight(block: Oversight) -> Sentences:
    return (
        f"A model must be equally good for: {listed(block.slices)}. This version of the software "
        "cannot measure that, so every run is refused."
        if block.slices
        else "Models are not compared between groups of customers.",
        "Each customer on a list is listed with the reasons."
        if block.reasons_required
        else "Customers may be listed without a reason.",
        "A person decides about each customer, never a model alone."
        if block.human_decision
        else "A model may decide about a customer alone.",
    )


def _retention(block: Retention) -> Sentences:
    return (
        "The coordinator deletes your hidden updates at the latest "
        f"{hours(block.updates_hours)} after they came.",
        f"Released models are deleted everywhere after {days(block.models_days)}.",
        f"Logs are kept for at least {days(block.logs_days)}; no program deletes them.",
    )


SENTENCES: Mapping[type, Callable[[Any], Sentences]] = {
    Benefit: _benefit,
    Costs: _costs,
    Ip: _ip,
    Confidentiality: _confidentiality,
    Sharing: _sharing,
    Security: _security,
    Audit: _audit,
    Incidents: _incidents,
    Oversight: _oversight,
    Retention: _retention,
}
