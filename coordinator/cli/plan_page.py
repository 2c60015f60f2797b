"""What ``run plan`` shows: every clause's answer, who takes part, what it costs, how long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from coordinator.cli.shell import table

if TYPE_CHECKING:
    from coordinator.plans import RunPlan
    from coordinator.wiring import House

_ELSEWHERE = {
    "node": "each member's own node decides",
    "attested": "a promise; no software checks it",
}


def shown(house: House, plan: RunPlan) -> tuple[dict[str, Any], list[str]]:
    """The plan as JSON and as lines for people."""
    from protocols.release import privacy_section

    order = plan.order.order
    names = {str(m.id): m.profile.name for m in house.enrolment.members()}
    refused = [str(one) for one in plan.denial.reasons] if plan.denial else []
    clauses = _clauses(plan)
    document: dict[str, Any] = {
        "run": order.run,
        "agreement": order.agreement,
        "workload": f"{order.workload.id} {order.workload.version}",
        "purpose": order.purpose,
        "rounds": order.rounds,
        "cohort": [names.get(one, one[:16]) for one in order.cohort],
        "left_out": {names.get(one, one[:16]): why for one, why in plan.left_out.items()},
        "privacy": privacy_section(plan.course),
        "noise_per_member": _noise(plan),
        "budget": _budget(plan),
        "costs": _costs(house, plan),
        "expected": _expected(house, plan),
        "second_person": plan.second_person,
        "clauses": clauses,
        "refused": refused,
    }
    people = [
        *[[names.get(one, ""), one[:16], "takes part"] for one in order.cohort],
        *[
            [names.get(one, ""), one[:16], f"not asked: {why}"]
            for one, why in plan.left_out.items()
        ],
    ]
    answers = [[one["clause"], one["title"], one["answer"]] for one in clauses]
    lines = [
        f"{order.rounds} rounds of {order.workload.id} for {order.purpose}, "
        f"{len(order.cohort)} members, at least {order.min_cohort} in every sum.",
        *_privacy_lines(document),
        *_cost_lines(document),
        *_time_lines(document),
        *table(people, ["member", "id", ""], "No member can take part."),
        "",
        *table(answers, ["clause", "title", "answer"], ""),
        *[f"REFUSED  {one}" for one in refused],
    ]
    if plan.second_person:
        lines.append("Clause 5: a second person has to approve it before it is sent.")
    return document, lines


def _clauses(plan: RunPlan) -> list[dict[str, str]]:
    """What every clause says to this run, in order; a no that belongs to none stands last."""
    reasons = plan.denial.reasons if plan.denial else ()
    out = []
    for clause in plan.agreement.agreement.clauses:
        mine = [one.sentence for one in reasons if one.clause == clause.id]
        answer = f"NO: {'; '.join(mine)}" if mine else _ELSEWHERE.get(clause.enforced_by, "yes")
        out.append({"clause": clause.id, "title": clause.title, "answer": answer})
    known = {one["clause"] for one in out}
    out += [
        {"clause": one.clause, "title": one.name, "answer": f"NO: {one.sentence}"}
        for one in reasons
        if one.clause not in known
    ]
    return out


def _costs(house: House, plan: RunPlan) -> dict[str, Any] | None:
    """What the run costs and what the period has cost so far; None without clause 19."""
    from coordinator import costs
    from protocols.agreement.terms import Costs

    block = plan.agreement.terms.block("c19", Costs)
    if block is None:
        return None
    now = house.clock()
    with house.database.read() as db:
        listed = costs.charges(db)
    period = costs.between(listed, now - timedelta(days=block.period_days), now)
    return {
        "method": block.method,
        "currency": block.currency,
        "cents": block.run_cost_cents,
        "members": len(plan.order.order.cohort) if block.method == "equal" else 0,
        "runs_before": len(period),
        "cents_before": sum(one.cents for one in period),
        "cap_cents": block.period_cap_cents,
        "period_days": block.period_days,
    }


def _expected(house: House, plan: RunPlan) -> dict[str, Any]:
    """Seconds by the last run of this workload that began, and the longest that it may take."""
    from coordinator.store.runs import Runs

    order, rounds = plan.order.order, plan.course.last_round
    longest_s = rounds * (sum(order.stage_timeouts_s.in_order) + order.rejoin_wait_s)
    with house.database.read() as db:
        ended = [one for one in Runs(db).list() if one.ended_at and one.progress.round]
    paces_s = [
        (one.ended_at - one.started_at).total_seconds() / one.progress.round
        for one in ended
        if one.started_at is not None
        and one.ended_at is not None
        and house.order_of(one)[1].order.workload.digest == order.workload.digest
    ]
    return {
        "rounds": rounds,
        "seconds": round(paces_s[-1] * rounds) if paces_s else None,
        "at_most_seconds": round(longest_s),
        "deadline": order.deadline.isoformat(),
    }


def _noise(plan: RunPlan) -> dict[str, float]:
    """Standard deviation of one member's noise in each kind of round, in whole units."""
    promise = plan.course.privacy()
    if promise is None:
        return {}
    return {one.name: promise.sigma_local(one.name) for one in promise.phases}


def _budget(plan: RunPlan) -> dict[str, Any] | None:
    """What is left of the agreed budget before and after the run, as the office counts it."""
    agreed, found = plan.budget, plan.privacy
    if agreed is None:
        return None
    return {
        "unit": agreed.unit,
        "epsilon": agreed.epsilon,
        "delta": agreed.delta,
        "period_days": agreed.period_days,
        "spent_before": found.epsilon_before,
        "spent_after": found.epsilon_after,
        "left_after": max(0.0, agreed.epsilon - found.epsilon_after),
        "frees_at": found.frees_at.isoformat() if found.frees_at is not None else None,
    }


def _privacy_lines(document: Mapping[str, Any]) -> list[str]:
    from protocols.agreement.saying import eps

    section, budget = document["privacy"], document["budget"]
    lines = [f"Privacy: {section['statement']}"]
    if "epsilon" in section:
        seen = section["epsilon"]
        lines.append(
            f"  epsilon {seen['coordinator']:g} for the coordinator alone, {seen['colluders']:g} "
            f"with {section['colluders']} members that help it; delta {section['delta']:g}; at "
            f"least {section['least_survivors']} members in every sum."
        )
        lines += [
            f"  Noise of each member, {name}: standard deviation {sigma:.1f} whole units; the sum "
            f"has {section['sums'][name]['noise_multiplier']:g} times what one {section['claim']} "
            f"can change, {section['sums'][name]['steps']} sums."
            for name, sigma in document["noise_per_member"].items()
        ]
    if budget is not None:
        after = eps(budget["spent_after"])
        until = f" Some comes back on {budget['frees_at'][:10]}." if budget["frees_at"] else ""
        lines.append(
            f"  Budget of each {budget['unit']}: epsilon {budget['epsilon']:g} in "
            f"{budget['period_days']} days. Spent so far {eps(budget['spent_before'])}, with this "
            f"run {after}, then {eps(budget['left_after'], up=False)} is left.{until}"
        )
    return lines


def _cost_lines(document: Mapping[str, Any]) -> list[str]:
    found = document["costs"]
    if found is None:
        return []
    from coordinator.costs import money

    currency, cents = found["currency"], found["cents"]
    each = f", {money(cents // found['members'], currency)} each" if found["members"] else ""
    total, cap = money(found["cents_before"] + cents, currency), money(found["cap_cents"], currency)
    return [
        f"Cost: {money(cents, currency)}{each}. It is run {found['runs_before'] + 1} of "
        f"{found['period_days']} days, together {total} of at most {cap}."
    ]


def _time_lines(document: Mapping[str, Any]) -> list[str]:
    found = document["expected"]
    usual = (
        f"about {_span(found['seconds'])} by the last run of this workload"
        if found["seconds"] is not None
        else "no run of this workload to judge by"
    )
    return [
        f"Time: {usual}; at most {_span(found['at_most_seconds'])} if every wait is used up, "
        f"until {found['deadline'][:16].replace('T', ' ')} UTC. Members answer before it begins."
    ]


def _span(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
