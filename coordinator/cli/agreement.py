"""``agreement propose | status | show``; those about files alone are in ``agreement_files``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli import agreement_files
from coordinator.cli.shell import DryRun, Json, answer, note, say, state, table

app = typer.Typer(no_args_is_help=True, help="What the members agree on, and who signed it.")
agreement_files.add(app)


@app.command(epilog="Example: coop-coordinator agreement propose draft.toml")
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
        about = {"legal_id": house.legal_id, "country": house.settings.country}
        parsed, findings = check_draft(file, house.clock(), house.office, about, house.home)
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
    """Who has signed what and when, whose key runs out, and who is still missing."""
    from coordinator.members.matrix import matrix
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    found = matrix(house.database, house.agreements, house.clock())
    document = {
        "documents": [one.to_json() for one in found.sheets],
        "warnings": [str(one) for one in found.warnings],
    }

    def lines() -> list[str]:
        if not found.sheets:
            return ["Nothing proposed yet: coop-coordinator agreement new draft.toml"]
        out: list[str] = []
        for sheet in found.sheets:
            out += [f"{sheet.kind} {sheet.id[:16]}: {sheet.state}. {sheet.sentence}"]
            rows = [
                [
                    cell.name,
                    f"{cell.signed_at:%Y-%m-%d %H:%M}" if cell.signed_at else "MISSING",
                    f"{cell.key_until:%Y-%m-%d}" if cell.key_until else "-",
                    cell.presence,
                ]
                for cell in sheet.cells
            ]
            out += [f"  {line}" for line in table(rows, ["member", "signed", "key until", ""], "")]
            out.append("")
        return out + [f"SOON: {one}" for one in found.warnings]

    answer(document, as_json, lines)


@app.command(epilog="Example: coop-coordinator agreement show")
def show(
    context: typer.Context,
    html: Annotated[Path | None, typer.Option(help="Also write the page to this file.")] = None,
    as_json: Json = False,
) -> None:
    """The agreement in force, as one plain page."""
    from coordinator.wiring import open_house
    from protocols.agreement import pages, render
    from protocols.agreement.terms import Workloads
    from protocols.errors import LocalError

    house = open_house(state(context).home)
    parsed = house.agreement()
    if parsed is None:
        raise LocalError("no agreement is in force yet.", fix="See: agreement status.")
    if html is not None:
        html.write_text(pages.page_html(parsed), encoding="utf-8", newline="\n")
        note(f"Written to {html}; open it in any browser and print it.")
    block = parsed.terms.block("c13", Workloads)
    recipes = block.workloads if block is not None else ()
    document = {
        "id": parsed.id,
        "version": parsed.agreement.version,
        "workloads": [{"id": w.id, "version": w.version, "digest": w.digest} for w in recipes],
        "agreement": parsed.document,
    }
    answer(document, as_json, lambda: [render.page(parsed)])
