"""``agreement new | propose | status``."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from coordinator.cli.shell import DryRun, Json, answer, say, state, table
from protocols.errors import InputError

app = typer.Typer(no_args_is_help=True, help="What the members agree on, and who signed it.")
MAX_FIGURES = 64


def _figures(pairs: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise InputError(f"{pair!r} is not NAME=VALUE.", where="--set")
        try:
            out[key] = json.loads(value)
        except json.JSONDecodeError:
            out[key] = value
    return out


@app.command(epilog="Example: coop-coordinator agreement new draft.json --set min_cohort=5")
def new(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where the draft is written.")],
    template: Annotated[str, typer.Option(help="Template to fill.")] = "grocers",
    days: Annotated[int, typer.Option(help="How long it is to be in force.")] = 365,
    settings: Annotated[
        Path | None,
        typer.Option(help="JSON file with settings that all orders share; by workload if several."),
    ] = None,
    workload: Annotated[
        list[str] | None, typer.Option(help="What may run: demand, churn; repeatable. [demand]")
    ] = None,
    max_rounds: Annotated[int, typer.Option(help="Most rounds that an order may ask for.")] = 100,
    figure: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the template; repeatable.")
    ] = None,
) -> None:
    """Fill a template into a draft that you and the members can read and change."""
    from coordinator.drafts import new_draft, pretty, read_settings
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    if file.exists():
        raise InputError("this file exists already.", where=str(file), fix="Name another file.")
    parsed = new_draft(
        house.office,
        template=template,
        lasts=timedelta(days=days),
        workloads=workload or ["demand"],
        settings=read_settings(settings),
        max_rounds=max_rounds,
        figures=_figures(figure or []),
        previous=house.agreement(),
        now=house.clock(),
    )
    file.write_text(pretty(parsed.document), encoding="utf-8")
    say(f"Draft written to {file}: version {parsed.agreement.version}.")
    say(f"Read it, then: coop-coordinator agreement propose {file}")


@app.command(epilog="Example: coop-coordinator agreement propose draft.json")
def propose(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="The draft; leave it out to propose the roster alone.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Check a draft and send it, with the roster, to every member for signature."""
    from coordinator.drafts import check_draft
    from coordinator.wiring import open_house
    from protocols.audit.entries import Kind

    house = open_house(state(context).home)
    parsed = None
    if file is not None:
        parsed, findings = check_draft(file, house.clock())
        for finding in findings:
            say(str(finding))
    if dry_run:
        say("Nothing was sent.")
        return
    done = house.agreements.propose(parsed.document if parsed else None)
    with house.log() as log:
        for one in done:
            kind, _, name = one.partition(" ")
            if kind == "agreement":
                log.append(Kind.AGREEMENT, {"agreement": name, "step": "proposed"})
            else:
                log.append(Kind.ROSTER, {"roster": name, "epoch": house.epoch_of(name)})
    for one in done:
        say(f"Proposed: {one}")
    if not done:
        say("Nothing new: the roster has not changed.")


@app.command(epilog="Example: coop-coordinator agreement status")
def status(context: typer.Context, as_json: Json = False) -> None:
    """Who has signed what, and who is still missing."""
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    names = {m.id: m.profile.name for m in house.enrolment.members()}
    standings = house.agreements.standings()
    document = {
        "documents": [
            {
                "kind": s.kind,
                "id": s.id,
                "signed": [names[m] for m in s.signed],
                "missing": [names[m] for m in s.missing],
                "needed": s.needed,
                "in_force": s.complete,
            }
            for s in standings
        ]
    }

    def lines() -> list[str]:
        rows = [
            [
                s.kind,
                s.id[:16],
                f"{len(s.signed)} of {len(s.signed) + len(s.missing)}, {s.needed} needed",
                "complete" if s.complete else "missing: " + ", ".join(names[m] for m in s.missing),
            ]
            for s in standings
        ]
        empty = "Nothing proposed yet: coop-coordinator agreement new draft.json"
        return table(rows, ["document", "id", "signatures", ""], empty)

    answer(document, as_json, lines)


@app.command(epilog="Example: coop-coordinator agreement show")
def show(context: typer.Context, as_json: Json = False) -> None:
    """The agreement in force, as one plain page."""
    from coordinator.wiring import open_house
    from protocols.agreement import render
    from protocols.agreement.terms import Workloads
    from protocols.errors import LocalError

    house = open_house(state(context).home)
    parsed = house.agreement()
    if parsed is None:
        raise LocalError("no agreement is in force yet.", fix="See: agreement status.")
    block = parsed.terms.block("c13", Workloads)
    recipes = block.workloads if block is not None else ()
    document = {
        "id": parsed.id,
        "version": parsed.agreement.version,
        "workloads": [{"id": w.id, "version": w.version, "digest": w.digest} for w in recipes],
        "agreement": parsed.document,
    }
    answer(document, as_json, lambda: [render.page(parsed)])
