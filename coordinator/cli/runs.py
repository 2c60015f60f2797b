"""``run plan | launch | status | abort``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.shell import DryRun, Json, State, Yes, answer, confirm, say, state, table
from protocols.errors import InputError

if TYPE_CHECKING:
    from coordinator.plans import RunPlan
    from coordinator.wiring import House

app = typer.Typer(no_args_is_help=True, help="Runs: plan, launch, watch, abort.")
Workload = Annotated[str, typer.Option(help="Which, if the agreement lists several.")]
Rounds = Annotated[int, typer.Option(help="Rounds of training; 0: as suits the workload.")]
Settings = Annotated[
    Path | None,
    typer.Option(help="JSON file with what the agreement leaves free: categories, train_until."),
]
Hours = Annotated[float, typer.Option(help="Until when the order is good; half of it to answer.")]
Stage = Annotated[int, typer.Option(help="Longest wait for a stage, in seconds.")]
Training = Annotated[int, typer.Option(help="The same where members train; 0: as --stage-s.")]
Audit = Annotated[int, typer.Option(help="The same where sums are recomputed; 0: as --stage-s.")]
Dropout = Annotated[int, typer.Option(help="Percent of the members that may be missing.")]
Rejoin = Annotated[float, typer.Option(help="Wait for members that are away, each round, in s.")]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the operator typed."""

    workload: str
    rounds: int
    settings: Path | None
    hours: float
    stage_s: int
    training_s: int
    audit_s: int
    rejoin_s: float
    dropout: int


def _plan(options: State, asked: _Asked) -> tuple[House, RunPlan]:
    from coordinator.drafts import read_settings
    from coordinator.plans import Asked, Past, plan_run
    from coordinator.store.members import Status
    from coordinator.wiring import open_house
    from protocols.agreement.order import stage_timeouts

    house = open_house(options.home)
    house.agreements.in_force()  # or says what is missing
    chain = house.agreements.roster_chain()
    plan = plan_run(
        house.office,
        house.agreements.agreement_under(chain),
        chain,
        asked=Asked(
            workload=asked.workload,
            rounds=asked.rounds,
            settings=read_settings(asked.settings),
            lasts=timedelta(hours=asked.hours),
            stage_timeouts_s=stage_timeouts(asked.stage_s, asked.training_s, asked.audit_s),
            rejoin_wait_s=asked.rejoin_s,
            max_dropout_percent=asked.dropout,
        ),
        active=[one.id for one in house.enrolment.members(Status.ACTIVE)],
        past=Past(house.earlier_orders(), house.spent()),
        now=house.clock(),
    )
    return house, plan


def _shown(house: House, plan: RunPlan) -> tuple[dict[str, Any], list[str]]:
    from protocols.release import privacy_section

    order = plan.order.order
    names = {str(m.id): m.profile.name for m in house.enrolment.members()}
    noise, budget = _noise(plan), _budget(plan)
    refused = [str(one) for one in plan.denial.reasons] if plan.denial else []
    signed = {m for one in house.agreements.standings() for m in one.signed}
    document = {
        "run": order.run,
        "agreement": order.agreement,
        "workload": f"{order.workload.id} {order.workload.version}",
        "purpose": order.purpose,
        "rounds": order.rounds,
        "cohort": [names.get(one, one[:16]) for one in order.cohort],
        "privacy": privacy_section(plan.course),
        "noise_per_member": noise,
        "budget": budget,
        "refused": refused,
    }
    rows = [
        [
            names.get(one, ""),
            one[:16],
            "has signed" if one in signed else "has not signed: will refuse",
        ]
        for one in order.cohort
    ]
    lines = [
        f"{order.rounds} rounds of {order.workload.id} for {order.purpose}, "
        f"{len(order.cohort)} members, at least {order.min_cohort} in every sum.",
        *_privacy_lines(document),
        *table(rows, ["member", "id", "agreement"], "No member can take part."),
        *[f"REFUSED  {one}" for one in refused],
    ]
    return document, lines


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


@app.command(epilog="Example: coop-coordinator run plan --rounds 40 --settings settings.json")
def plan(
    context: typer.Context,
    workload: Workload = "",
    rounds: Rounds = 0,
    settings: Settings = None,
    hours: Hours = 24.0,
    stage_s: Stage = 120,
    training_s: Training = 0,
    audit_s: Audit = 0,
    rejoin_s: Rejoin = 30.0,
    dropout_percent: Dropout = 20,
    as_json: Json = False,
) -> None:
    """Who would take part, and whether the agreement allows it. Sends nothing."""
    asked = _Asked(
        workload=workload,
        rounds=rounds,
        settings=settings,
        hours=hours,
        stage_s=stage_s,
        training_s=training_s,
        audit_s=audit_s,
        rejoin_s=rejoin_s,
        dropout=dropout_percent,
    )
    house, made = _plan(state(context), asked)
    document, lines = _shown(house, made)
    answer(document, as_json, lambda: lines)
    if made.denial is not None:
        raise typer.Exit(3)


@app.command(epilog="Example: coop-coordinator run launch --rounds 40 --settings settings.json")
def launch(
    context: typer.Context,
    workload: Workload = "",
    rounds: Rounds = 0,
    settings: Settings = None,
    hours: Hours = 24.0,
    stage_s: Stage = 120,
    training_s: Training = 0,
    audit_s: Audit = 0,
    rejoin_s: Rejoin = 30.0,
    dropout_percent: Dropout = 20,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Sign the order with the operator's key and send it; 'serve' does the rest."""
    asked = _Asked(
        workload=workload,
        rounds=rounds,
        settings=settings,
        hours=hours,
        stage_s=stage_s,
        training_s=training_s,
        audit_s=audit_s,
        rejoin_s=rejoin_s,
        dropout=dropout_percent,
    )
    house, made = _plan(state(context), asked)
    document, lines = _shown(house, made)
    if dry_run:
        answer(document, as_json, lambda: [*lines, "Nothing was sent."])
        if made.denial is not None:
            raise typer.Exit(3)
        return
    if not as_json:
        for line in lines:
            say(line)
    if made.denial is None:
        confirm(f"Launch run {made.order.order.run[:8]}?", yes)
    house.launch(made)
    answer(document, as_json, lambda: [f"Launched run {made.order.order.run}."])


@app.command(epilog="Example: coop-coordinator run status --json")
def status(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="First digits of a run; all runs if left out.")] = "",
    as_json: Json = False,
) -> None:
    """Where runs stand, and what each member answered."""
    from coordinator.store.runs import RunMembers, Runs, Sums
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    names = {m.id: m.profile.name for m in house.enrolment.members()}
    with house.database.read() as db:
        found = [one for one in Runs(db).list() if one.run.startswith(run)]
        answers = {one.run: RunMembers(db).of(one.run) for one in found}
        sums = {one.run: Sums(db).of(one.run) for one in found}
    if run and not found:
        raise InputError(f"there is no run {run}.", where="run", fix="'run status' lists all.")
    document = {
        "runs": [
            {
                "run": one.run,
                "state": one.state.value,
                "round": one.progress.round,
                "stage": one.progress.stage,
                "detail": one.progress.detail,
                "published": len(sums[one.run]),
                "survivors": [each.survivors for each in sums[one.run]],
                "members": [
                    {
                        "name": names.get(each.member, each.member[:16]),
                        "answer": each.answer.value,
                        "reasons": list(each.reasons),
                    }
                    for each in answers[one.run]
                ],
            }
            for one in found
        ]
    }

    def lines() -> list[str]:
        out = []
        for one in found:
            out.append(
                f"run {one.run}  {one.state.value}  {len(sums[one.run])} rounds published"
                + (f"  {one.progress.detail}" if one.progress.detail else "")
            )
            out += [
                f"    {names.get(each.member, each.member[:16])}: {each.answer.value}"
                + (f" ({'; '.join(each.reasons)})" if each.reasons else "")
                for each in answers[one.run]
            ]
        return out or ["No runs yet: coop-coordinator run plan"]

    answer(document, as_json, lines)


@app.command(epilog="Example: coop-coordinator run abort 1f3a --yes")
def abort(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="First digits of the run.")],
    yes: Yes = False,
) -> None:
    """End a run now; members forget the round in hand, nothing is released."""
    from coordinator.rounds.ending import end_run
    from coordinator.store.runs import Runs, State
    from coordinator.wiring import open_house
    from protocols.audit.entries import Kind
    from protocols.ids import MemberId

    house = open_house(state(context).home)
    with house.database.read() as db:
        found = [one for one in Runs(db).list(open_only=True) if one.run.startswith(run)]
    if len(found) != 1:
        raise InputError(f"{len(found)} open runs begin with {run!r}.", where="run")
    confirm(f"Abort run {found[0].run}?", yes)
    with house.log() as log:
        log.append(Kind.RUN, {"run": found[0].run, "state": "aborted"})
    _, order = house.order_of(found[0])
    cohort = [MemberId(one) for one in order.order.cohort]
    with house.database.write() as db:
        end_run(db, found[0].run, State.ABORTED, "by the operator", cohort, house.clock())
    say(f"Run {found[0].run} is aborted.")
