"""``release list | show``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from coordinator.cli.shell import Json, answer, state, table
from protocols.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Models that left a run.")


def _cards(releases: Path) -> dict[str, dict[str, Any]]:
    return {
        folder.name: json.loads((folder / "card.json").read_bytes())
        for folder in sorted(releases.glob("*"))
        if (folder / "card.json").is_file()
    }


@app.command("list", epilog="Example: coop-coordinator release list")
def list_releases(context: typer.Context, as_json: Json = False) -> None:
    """All releases."""
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    cards = _cards(house.releases)
    rows = [
        [
            name[:16],
            card["created"],
            f"{card['workload']['id']} {card['workload']['version']}",
            str(card["cohort"]["members"]),
            f"{card['metrics']['wape_own']:.3f}",
            f"{card['metrics']['wape_blend']:.3f}",
        ]
        for name, card in cards.items()
    ]
    headers = ["model", "created", "workload", "members", "WAPE own", "WAPE blend"]
    answer(
        {"releases": list(cards.values())},
        as_json,
        lambda: table(rows, headers, "No release yet: a run has to finish and beat the baseline."),
    )


@app.command(epilog="Example: coop-coordinator release show 3fa9")
def show(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="First digits of the model.")],
) -> None:
    """The card of one release, as JSON."""
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    found = [card for name, card in _cards(house.releases).items() if name.startswith(model)]
    if len(found) != 1:
        raise InputError(f"{len(found)} releases begin with {model!r}.", where="model")
    answer({"card": found[0]}, True, list)
