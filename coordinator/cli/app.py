"""The command tree and the options that stand before every command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli import (
    agreement,
    corrections,
    documents,
    exchange,
    incident,
    log,
    member,
    office,
    office_duties,
    people,
    proof,
    release,
    runs,
    taxonomy,
)
from coordinator.cli.shell import State

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run the office of a data cooperative: invite members, propose agreements, launch runs.",
    epilog="Example: coop-coordinator init --name 'Corner Shops' --host office.example.org",
)
app.add_typer(member.app, name="member")
app.add_typer(agreement.app, name="agreement")
app.add_typer(runs.app, name="run")
app.add_typer(release.app, name="release")
app.add_typer(incident.app, name="incident")
app.add_typer(corrections.app, name="corrections")
app.add_typer(people.app, name="people")
app.add_typer(taxonomy.app, name="taxonomy")
app.add_typer(documents.app, name="documents")
app.add_typer(log.app, name="log")
office.register(app)
office_duties.register(app)
exchange.register(agreement.app)
proof.register(app)


@app.callback()
def options(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(help="The coordinator's folder. [env: COOP_COORDINATOR_HOME]"),
    ] = None,
    acts_as: Annotated[
        str,
        typer.Option(
            "--as", help="Who you are, once people are registered. [env: COOP_AS, COOP_PASSPHRASE]"
        ),
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the answer.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Plain text.")] = False,
) -> None:
    """Options for every command."""
    if no_color:
        os.environ["NO_COLOR"] = "1"
    name = acts_as or os.environ.get("COOP_AS", "")
    context.obj = State(home=home, quiet=quiet, acts_as=name)
