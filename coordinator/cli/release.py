"""``release list | show | approve | withdraw | revoke``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.shell import Json, Yes, answer, confirm, person, state, table
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from coordinator.wiring import House
    from protocols.signing import SigningKey

app = typer.Typer(no_args_is_help=True, help="Models that left a run, and models taken back.")
Model = Annotated[str, typer.Argument(help="First digits of the model.")]
OperatorKey = Annotated[
    Path | None, typer.Option("--operator-key", help="The operator's key file, to sign with it.")
]
ApproverKey = Annotated[
    Path | None, typer.Option("--approver-key", help="Key file of the second person.")
]


def cards_of(releases: Path) -> dict[str, dict[str, Any]]:
    """Model -> card, of every release that is kept."""
    return {
        folder.name: json.loads((folder / "card.json").read_bytes())
        for folder in sorted(releases.glob("*"))
        if (folder / "card.json").is_file()
    }


def _states(house: House) -> dict[str, str]:
    from coordinator.store.releases import Releases

    with house.database.read() as db:
        return {one.model: one.state.value for one in Releases(db).list()}


def _one(house: House, model: str) -> dict[str, Any]:
    """The card of the one release whose id begins so; InputError otherwise."""
    found = [card for name, card in cards_of(house.releases).items() if name.startswith(model)]
    if len(found) != 1:
        raise InputError(
            f"{len(found)} releases begin with {model!r}.",
            where="model",
            code=Code.INPUT if found else Code.NOT_FOUND,
            fix="'coop-coordinator release list' shows them.",
        )
    return found[0]


def _keys(operator: Path | None, approver: Path | None) -> dict[str, SigningKey]:
    """Key id -> key, from the files that were named."""
    from coordinator.members.people import load_key
    from protocols.agreement.order import OPERATOR
    from protocols.agreement.second import approver_kid

    keys: dict[str, SigningKey] = {}
    if operator is not None:
        keys[OPERATOR] = load_key(operator)
    if approver is not None:
        key = load_key(approver)
        keys[approver_kid(key.public.hex())] = key
    return keys


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
    cards, states = cards_of(house.releases), _states(house)
    rows = [
        [
            name[:16],
            states.get(name, "unfinished"),
            card["created"],
            str(card["use"]["expires"])[:10],
            f"{card['workload']['id']} {card['workload']['version']}",
            str(card["cohort"]["members"]),
            *_errors(card),
            str(card["privacy"].get("epsilon", {}).get("colluders", "-")),
        ]
        for name, card in cards.items()
    ]
    headers = ["model", "state", "created", "until"]
    headers += ["workload", "members", "error", "own", "blend", "epsilon"]
    listed = [card | {"state": states.get(name, "unfinished")} for name, card in cards.items()]
    answer(
        {"releases": listed},
        as_json,
        lambda: table(rows, headers, "No release yet: a run has to finish and beat the baseline."),
    )


@app.command(epilog="Example: coop-coordinator release show 3fa9")
def show(context: typer.Context, model: Model) -> None:
    """The card of one release, as JSON."""
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    card = _one(house, model)
    stands = _states(house).get(card["model"], "unfinished")
    answer({"card": card, "state": stands}, True, list)


@app.command(epilog="Example: coop-coordinator release approve 3fa9 --approver-key bea.key")
def approve(
    context: typer.Context,
    model: Model,
    operator_key: OperatorKey = None,
    approver_key: ApproverKey = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Sign a held release. With the operator's and an approver's signature it is published."""
    from coordinator.wiring import open_house
    from protocols.agreement.order import OPERATOR

    house = open_house(state(context).home)
    card, keys = _one(house, model), _keys(operator_key, approver_key)
    if not keys:
        keys[OPERATOR] = house.operator_key()
    name = str(card["model"])
    confirm(f"Sign the release of model {name[:16]} as {', '.join(keys)}?", yes)
    with house.log() as log:
        missing = house.release_desk(log).approve(name, keys, by=person(context))
    _said(name, missing, "published", as_json)


@app.command(epilog="Example: coop-coordinator release withdraw 3fa9")
def withdraw(context: typer.Context, model: Model, yes: Yes = False, as_json: Json = False) -> None:
    """Offer a release no longer. Members that have it may use it until it expires."""
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    name = str(_one(house, model)["model"])
    confirm(f"Withdraw model {name[:16]}?", yes)
    with house.log() as log:
        house.release_desk(log).withdraw(name)
    _said(name, (), "withdrawn", as_json)


@app.command(
    epilog="Example: coop-coordinator release revoke 3fa9 --reason 'Two shops sent tests.'"
)
def revoke(
    context: typer.Context,
    model: Model,
    reason: Annotated[str, typer.Option(help="One line, for the members.")] = "",
    operator_key: OperatorKey = None,
    approver_key: ApproverKey = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take a model back for good: no node uses it after its next contact with this office."""
    from coordinator.wiring import open_house
    from protocols.agreement.order import OPERATOR
    from protocols.agreement.terms import Governance

    house = open_house(state(context).home)
    name = str(_one(house, model)["model"])
    agreement = house.agreement()
    governance = agreement.terms.block("c05", Governance) if agreement is not None else None
    if governance is None:
        raise InputError("no agreement is in force that says who may revoke.", where="c05")
    keys = _keys(operator_key, approver_key)
    if not keys:
        keys[OPERATOR] = house.operator_key()
    confirm(f"Revoke model {name[:16]} for all members, for good?", yes)
    with house.log() as log:
        missing = house.release_desk(log).revoke(name, reason, keys, governance, by=person(context))
    _said(name, missing, "revoked", as_json)


def _said(model: str, missing: tuple[str, ...], done: str, as_json: bool) -> None:
    waits = f"the signature of {' and '.join(missing)} is missing" if missing else ""
    answer(
        {"model": model, "state": "waiting" if missing else done, "missing": list(missing)},
        as_json,
        lambda: [f"Model {model[:16]}: {waits or done}."],
    )
