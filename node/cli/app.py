"""The command tree and the options that stand before every command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from node.cli import (
    agreement,
    budget,
    categories_change,
    clock,
    consent,
    customers,
    data,
    documents,
    endpoint,
    exchange,
    house,
    inventory,
    life,
    log,
    mapping,
    models,
    notice,
    orders,
    people,
    proof,
    subjects,
    vault,
)
from node.cli.shell import State

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Your shop's node: your rows stay here; what it learns with others comes back here.",
    epilog="Example: coop-node init && coop-node data add sales.csv && coop-node forecast",
)
house.register(app)
app.add_typer(data.app, name="data")
data.app.add_typer(vault.quarantine, name="quarantine")
data.app.command(epilog="Example: coop-node data retention --json")(vault.retention)
app.add_typer(vault.app, name="vault")
app.add_typer(categories_change.app, name="categories")
data.app.command(epilog="Example: coop-node data detect orders.csv")(mapping.detect)
app.add_typer(mapping.app, name="mapping")
app.add_typer(consent.app, name="consent")
app.add_typer(endpoint.app, name="endpoint")
app.command(epilog="Example: coop-node forecast --top 5")(data.forecast)
app.command(epilog="Example: coop-node customers --top 10")(customers.customers)
app.add_typer(agreement.app, name="agreement")
life.register(app)
orders.register(app)
budget.register(app)
clock.register(app)
app.add_typer(models.app, name="models")
app.add_typer(people.app, name="people")
app.add_typer(subjects.app, name="requests")
app.add_typer(notice.app, name="notice")
app.add_typer(documents.app, name="documents")
app.add_typer(inventory.app, name="inventory")
exchange.register(agreement.app)
proof.register(app)
app.add_typer(log.app, name="log")


@app.callback()
def options(
    context: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="The node's folder. [env: COOP_NODE_HOME]")
    ] = None,
    acting: Annotated[
        str, typer.Option("--as", help="Who you are, where people are registered.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the answer.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Plain text.")] = False,
) -> None:
    """Options for every command."""
    if no_color:
        os.environ["NO_COLOR"] = "1"
    context.obj = State(home=home, quiet=quiet, acting=acting)
