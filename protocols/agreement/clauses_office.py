"""Clauses about how the cooperative is run: costs, countries, security, evidence, incidents.

SPEC.md section 6.2; the rules of ``clauses_parties`` hold here too.
"""

from __future__ import annotations

import re
from collections.abc import Set
from datetime import timedelta

from protocols.agreement.facts import AuditFacts, Facts, Request
from protocols.agreement.saying import CLOCK_SKEW, Says, minute, no, short, some, unknown
from protocols.agreement.terms import Audit, Costs, Incidents, Security, Sharing, Terms
from protocols.permit import Gate

RUNNING = (Gate.LAUNCH, Gate.ADMIT)
_RELEASE = re.compile(r"(\d{1,9}(?:\.\d{1,9}){0,9})(.*)")


def costs(terms: Terms, request: Request, facts: Facts) -> Says:
    """c19: with this run the period costs no more than agreed."""
    block = terms.block("c19", Costs)
    if block is None or request.gate is not Gate.LAUNCH or block.method == "none":
        return
    paid = facts.office.runs_paid_in_period if facts.office is not None else None
    if paid is None or paid < 0:
        yield unknown("c19", f"how many runs were paid for in the last {block.period_days} days")
        return
    total = (paid + 1) * block.run_cost_cents
    if total > block.period_cap_cents:
        found, cap = _money(total, block.currency), _money(block.period_cap_cents, block.currency)
        yield no(
            "c19",
            found,
            cap,
            f"with this run the members would pay {found} in {block.period_days} days, at most "
            f"{cap} is agreed ({paid} runs at {_money(block.run_cost_cents, block.currency)} "
            "before it)",
        )


def _money(cents: int, currency: str) -> str:
    return f"{cents // 100}.{cents % 100:02d} {currency}"


def sharing(terms: Terms, request: Request, facts: Facts) -> Says:
    """c22: the coordinator runs where and with whom the members agreed."""
    block = terms.block("c22", Sharing)
    if block is None or request.gate not in RUNNING:
        return
    countries = ", ".join(sorted(block.countries))
    abroad = [(f"sub-processor {one.name}", one.country) for one in block.sub_processors]
    for who, country in (("coordinator", block.coordinator_country), *abroad):
        if country not in block.countries:
            yield no(
                "c22",
                country,
                countries,
                f"the {short(who)} works in {country}, agreed are only: {countries}",
            )
    if request.gate is Gate.LAUNCH:
        yield from _where_it_runs(block, facts)


def _where_it_runs(block: Sharing, facts: Facts) -> Says:
    office = facts.office
    if office is None or not office.country:
        yield unknown("c22", "the country in which the coordinator runs")
    elif office.country != block.coordinator_country:
        yield no(
            "c22",
            short(office.country),
            block.coordinator_country,
            f"the coordinator runs in {short(office.country)}, agreed is "
            f"{block.coordinator_country}",
        )
    if office is None or office.sub_processors is None:
        yield unknown("c22", "who works for the coordinator (sub-processors)")
        return
    listed = {one.name for one in block.sub_processors}
    others = set(office.sub_processors) - listed
    if others:
        allowed = some(listed) if listed else "none"
        yield no(
            "c22",
            some(others),
            allowed,
            f"{some(others)} works for the coordinator and is not agreed (agreed: {allowed})",
        )


def security(terms: Terms, request: Request, facts: Facts) -> Says:
    """c23: short-lived certificates and recent software, on the side that asks."""
    block = terms.block("c23", Security)
    if block is None or request.gate not in RUNNING:
        return
    here = request.gate is Gate.ADMIT
    side = facts.mine if here else facts.office
    place = "this node" if here else "the coordinator"
    days = side.certificate_days if side is not None else None
    if days is None:
        yield unknown("c23", f"how long the certificate of {place} is valid")
    elif not 0 <= days <= block.max_certificate_days:
        yield no(
            "c23",
            f"{days} days",
            f"{block.max_certificate_days} days",
            f"the certificate of {place} is valid for {days} days, at most "
            f"{block.max_certificate_days} are agreed",
        )
    software = side.software if side is not None else ""
    if not software:
        yield unknown("c23", f"which version of datacoop runs at {place}")
    elif not _at_least(software, block.min_software):
        yield no(
            "c23",
            short(software),
            block.min_software,
            f"{place} runs datacoop {short(software)}, at least {block.min_software} is agreed",
        )


def _at_least(found: str, least: str) -> bool:
    one, other = _ordered(found), _ordered(least)
    return one is not None and other is not None and one >= other


def _ordered(version: str) -> tuple[tuple[int, ...], bool] | None:
    """Numbers without zeros at the end, and whether it is a finished release; or unreadable."""
    match = _RELEASE.fullmatch(version)
    if match is None:
        return None
    numbers = [int(part) for part in match[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), not match[2] or match[2].startswith(("+", ".post"))


def audit(terms: Terms, request: Request, facts: Facts) -> Says:
    """c24: one history of the coordinator's log, lately checked and witnessed."""
    block = terms.block("c24", Audit)
    if block is None or request.gate not in RUNNING:
        return
    found = facts.audit
    if found is None:
        yield unknown("c24", "the state of the coordinator's log")
        return
    if found.fork:
        yield no(
            "c24",
            "two histories",
            "one history",
            f"the coordinator has shown two histories of its log: {short(found.fork)}",
        )
    if request.gate is Gate.ADMIT:
        yield from _fresh(block, found, facts)
    else:
        yield from _witnessed(block, found, facts)


def _fresh(block: Audit, found: AuditFacts, facts: Facts) -> Says:
    limit = f"{block.max_checkpoint_age_hours} hours"
    at = found.verified_at
    if at is None:
        yield no("c24", "never", limit, "this node has never checked the coordinator's log")
    elif at - facts.now > CLOCK_SKEW:
        yield no(
            "c24",
            minute(at),
            minute(facts.now),
            f"the coordinator's log was last checked at {minute(at)} UTC, and it is only "
            f"{minute(facts.now)} UTC; check the clock of this computer",
        )
    elif facts.now - at > timedelta(hours=block.max_checkpoint_age_hours):
        age = f"{(facts.now - at) / timedelta(hours=1):.1f} hours"
        yield no(
            "c24",
            age,
            limit,
            f"this node last checked the coordinator's log {age} ago, at most {limit} are agreed",
        )


def _witnessed(block: Audit, found: AuditFacts, facts: Facts) -> Says:
    members: Set[str] = facts.roster.members if facts.roster is not None else frozenset()
    count = len(found.witnesses & members)
    if count < block.witnesses:
        yield no(
            "c24",
            count,
            block.witnesses,
            f"{count} members have countersigned the coordinator's log lately, at least "
            f"{block.witnesses} are needed",
        )


def incidents(terms: Terms, request: Request, facts: Facts) -> Says:
    """c25: nothing goes on while an incident freezes it; members are told in time."""
    block = terms.block("c25", Incidents)
    if block is None or request.gate is Gate.RELEASE:
        return
    if block.freeze and facts.frozen:
        yield no(
            "c25",
            short(facts.frozen),
            "no open incident",
            f"everything is frozen: {short(facts.frozen)}",
        )
    if request.gate is not Gate.LAUNCH:
        return
    office = facts.office
    if office is None or office.open_incidents is None or office.overdue_notices is None:
        yield unknown("c25", "whether incidents are open at the coordinator")
        return
    if block.freeze and office.open_incidents != 0:
        yield no(
            "c25",
            f"{office.open_incidents} open",
            "0 open",
            f"{office.open_incidents} incidents are open at the coordinator, 0 may be while runs "
            "start",
        )
    if office.overdue_notices != 0:
        yield no(
            "c25",
            f"{office.overdue_notices} late",
            "0 late",
            f"members have not been told of {office.overdue_notices} incidents within "
            f"{block.notify_hours} hours, 0 may be late",
        )
