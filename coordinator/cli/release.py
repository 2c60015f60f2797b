"""``release list | show``."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def _errors(card: Mapping[str, Any]) -> list[str]:
    """The measure and its two figures; dashes for a workload that is not installed any more."""
    from protocols.workloads.catalogue import CATALOGUE

    workload = CATALOGUE.get((card["workload"]["id"], str(card["workload"]["version"])))
    if workload is None:
        return ["-"] * 3
    found = workload.compared(card["metrics"])
    return [found.measure, f"{found.baseline_error:.3f}", f"{found.blend_error:.3f}"]


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
            *_errors(card),
            str(card["privacy"].get("epsilon", {}).get("colluders", "-")),
        ]
        for name, card in cards.items()
    ]
    headers = ["model", "created", "workload", "members", "error", "own", "blend", "epsilon"]
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
