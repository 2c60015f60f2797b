"""``documents make record | transparency``: what the office can say in writing."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli.shell import Json, answer, state
from protocols.errors import Code, InputError

app = typer.Typer(
    no_args_is_help=True,
    help="The record as processor and the report of a quarter, made from what is here.",
)


@app.command(epilog="Example: coop-coordinator documents make transparency --quarter 2026Q4")
def make(
    context: typer.Context,
    kinds: Annotated[list[str], typer.Argument(help="record, transparency or all.")],
    formats: Annotated[
        str, typer.Option("--format", help="Of the files: md,html,json,csv or some.")
    ] = "md,html,json,csv",
    quarter: Annotated[str, typer.Option(help="Of the report, as 2026Q4; else this one.")] = "",
    as_json: Json = False,
) -> None:
    """Make documents from register, agreement and log, into the folder documents/."""
    from coordinator import documents as making
    from coordinator.wiring import open_house
    from protocols.documents.quarter import chosen_quarter

    endings = tuple(dict.fromkeys(one.strip() for one in formats.split(",") if one.strip()))
    unknown = [one for one in endings if one not in making.FORMATS]
    if unknown or not endings:
        raise InputError(
            f"{unknown[0]!r} is not a format." if unknown else "no format is named.",
            where="--format",
            code=Code.USAGE,
            fix=f"There are: {', '.join(making.FORMATS)}.",
        )
    house = open_house(state(context).home)
    when = chosen_quarter(quarter, house.clock())
    chosen = making.KINDS if "all" in kinds else tuple(dict.fromkeys(kinds))
    drawn = [(kind, *making.draw(house, kind, when)) for kind in chosen]
    out, shown = [], []
    for kind, document, missing in drawn:
        name = kind if kind == "record" else f"{kind}.{when}"
        paths = making.write(house, name, document, missing, endings)
        shown += [f"{path}" for path in paths]
        shown += [
            f"  lacks {one.item} {one.what}: {one.why}. What to do: {one.supply}" for one in missing
        ]
        out.append(
            {
                "name": name,
                "id": document.id,
                "files": [str(path) for path in paths],
                "missing": [
                    {"item": one.item, "what": one.what, "why": one.why, "supply": one.supply}
                    for one in missing
                ],
            }
        )
    answer({"written": out}, as_json, lambda: shown)
