"""``agreement export``: to ODRL, for other people's tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli.shell import Json, answer, state
from protocols.errors import Code, InputError, LocalError


def register(app: typer.Typer) -> None:
    """Hang this command beside the other commands about agreements."""
    app.command("export", epilog="Example: coop-node agreement export --odrl terms.jsonld")(export)


def export(
    context: typer.Context,
    odrl: Annotated[Path, typer.Option(help="The JSON-LD file to write; must not exist.")],
    which: Annotated[
        str, typer.Argument(help="First digits of its id; the one you signed if left out.")
    ] = "",
    parties: Annotated[
        bool, typer.Option("--parties", help="With the members by name, from the signed roster.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write an agreement as ODRL and DPV (JSON-LD), so that other tools can read it."""
    from node.files import write
    from node.house import open_member
    from protocols.agreement.odrl import odrl_bytes, to_odrl

    member = open_member(state(context).home)
    desk = member.agreements
    chosen = desk.find(which) if which else desk.current()
    if chosen is None:
        raise LocalError(
            "you have signed no agreement yet.",
            code=Code.NOT_FOUND,
            fix="Name one by its first digits: coop-node agreement show.",
        )
    if odrl.exists():
        raise InputError("this file exists already.", where=str(odrl), fix="Name another file.")
    write(odrl, odrl_bytes(to_odrl(chosen, desk.newest_roster() if parties else None)), 0o644)
    lines = [f"{odrl}: version {chosen.agreement.version}, {chosen.id}"]
    answer({"file": str(odrl), "agreement": chosen.id}, as_json, lambda: lines)
