"""``run plan | launch | status | abort``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import plan_page
from coordinator.cli.shell import DryRun, Json, Yes, answer, confirm, person, say, state
from coordinator.cli.shell import State as Options
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


def _plan(options: Options, asked: _Asked) -> tuple[House, RunPlan]:
    from coordinator.drafts import read_settings
    from coordinator.launching import planned
    from coordinator.plans import Asked
    from coordinator.wiring import open_house
    from protocols.agreement.order import stage_timeouts

    house = open_house(options.home)
    wanted = Asked(
        workload=asked.workload,
        rounds=asked.rounds,
        settings=read_settings(asked.settings),
        lasts=timedelta(hours=asked.hours),
        stage_timeouts_s=stage_timeouts(asked.stage_s, asked.training_s, asked.audit_s),
        rejoin_wait_s=asked.rejoin_s,
        max_dropout_percent=asked.dropout,
    )
    return house, planned(house, wanted)


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
    document, lines = plan_page.shown(house, made)
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
    from coordinator import launching
    from coordinator.store.runs import State

    house, made = _plan(state(context), asked)
    document, lines = plan_page.shown(house, made)
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
        if not yes:  # a person may have thought about it for long
            launching.ask_again(house, made)
    run = launching.launch(house, made, by=person(context))
    waits = run.state is State.AWAITING
    document["state"] = run.state.value
    said = [
        f"Run {run.run} waits for a second person: coop-coordinator run approve {run.run[:8]}"
        " --approver-key FILE"
        if waits
        else f"Launched run {run.run}."
    ]
    answer(document, as_json, lambda: said)


@app.command(epilog="Example: coop-coordinator run approve 1f3a --approver-key bea.key")
def approve(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="First digits of the run that waits.")],
    approver_key: Annotated[Path, typer.Option(help="Key file of the second person.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Sign a waiting order as the second person and send it (clause 5)."""
    from coordinator import launching
    from coordinator.members.people import load_key
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    found = launching.find_run(house, run)
    key = load_key(approver_key)
    _, order = house.order_of(found)
    one = order.order
    about = f"{one.rounds} rounds of {one.workload.id} for {one.purpose}, {len(one.cohort)} members"
    if not as_json:
        say(f"Run {found.run}: {about}, until {one.deadline:%Y-%m-%d %H:%M} UTC.")
    confirm(f"Approve run {found.run[:8]} with the key {key.public.hex()[:16]}?", yes)
    launching.approve(house, found, key, by=person(context))
    document = {"run": found.run, "approver": key.public.hex(), "state": "launched"}
    answer(document, as_json, lambda: [f"Approved and launched run {found.run}."])


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
                "launched_by": one.launched_by,
                "approved_by": one.approved_by,
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
                f"run {one.run}  {_standing(one.state.value)}  "
                f"{len(sums[one.run])} rounds published"
                + (f"  {one.progress.detail}" if one.progress.detail else "")
            )
            out += [
                f"    {names.get(each.member, each.member[:16])}: {each.answer.value}"
                + (f" ({'; '.join(each.reasons)})" if each.reasons else "")
                for each in answers[one.run]
            ]
        return out or ["No runs yet: coop-coordinator run plan"]

    answer(document, as_json, lines)


def _standing(state: str) -> str:
    return "awaiting a second person's approval" if state == "awaiting" else state


@app.command(epilog="Example: coop-coordinator run abort 1f3a --yes")
def abort(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="First digits of the run.")],
    yes: Yes = False,
) -> None:
    """End a run now; members forget the round in hand, nothing is released."""
    from coordinator import launching
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    found = launching.find_run(house, run)
    confirm(f"Abort run {found.run}?", yes)
    with house.log() as log:
        house.abort(found, "by the operator", log.append)
    say(f"Run {found.run} is aborted.")
