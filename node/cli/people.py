"""``people add | list | remove | role | reset``: who may do what at this program."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from node.cli.acting import acting_home
from node.cli.shell import Json, Yes, answer, confirm, say, state, table

app = typer.Typer(
    no_args_is_help=True,
    help="Who may do what here. Separates duties at this program; whoever can read the node's "
    "files can do without it.",
)


class RoleName(StrEnum):
    """Roles on a node, as written on the command line."""

    OWNER = "owner"
    STEWARD = "steward"
    CUSTODIAN = "custodian"
    VIEWER = "viewer"


@app.command(epilog="Example: coop-node people add 'Ada Roux' --role owner")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What you call them; it stays on this node.")],
    role: Annotated[RoleName, typer.Option(help="owner, steward, custodian or viewer.")],
    passphrase_env: Annotated[
        str, typer.Option(help="Read the new passphrase from this variable instead of asking.")
    ] = "",
) -> None:
    """Register somebody with a role. The first one has to be an owner.

    From then on commands that act ask who you are: coop-node --as NAME COMMAND.
    """
    import os

    home = acting_home(context, "people")
    secret = os.environ.get(passphrase_env, "") if passphrase_env else ""
    secret = secret or str(
        typer.prompt(f"New passphrase of {name}", hide_input=True, confirmation_prompt=True)
    )
    database = home.database()
    from node.policy.people import OS_USER

    made = home.people(database).add(name, role.value, secret, home.acting or OS_USER)
    say(f"{made.name} is {made.role} now; the journal calls them {made.id}.")


@app.command("list", epilog="Example: coop-node people list")
def list_people(context: typer.Context, as_json: Json = False) -> None:
    """Show everybody and their role."""
    from node.house import open_home

    home = open_home(state(context).home)
    found = home.people(home.database()).present()
    document = {"people": [{"id": one.id, "name": one.name, "role": one.role} for one in found]}
    answer(
        document,
        as_json,
        lambda: table(
            [[one.name, one.role, one.id] for one in found],
            ["name", "role", "in the journal"],
            "Nobody is registered: whoever may use this computer's account acts as the owner.",
        ),
    )


@app.command(epilog="Example: coop-node --as 'Ada Roux' people remove 'Ben Okoro'")
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="As registered.")],
    yes: Yes = False,
) -> None:
    """Take every role away from somebody. The last owner cannot be removed."""
    from node.policy.people import OS_USER

    home = acting_home(context, "people")
    confirm(f"Remove {name}?", yes)
    gone = home.people(home.database()).remove(name, home.acting or OS_USER)
    say(f"{gone.name} may do nothing here any more.")


@app.command(epilog="Example: coop-node --as 'Ada Roux' people role 'Ben Okoro' steward")
def role(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="As registered.")],
    new: Annotated[RoleName, typer.Argument(help="owner, steward, custodian or viewer.")],
) -> None:
    """Give somebody another role."""
    from node.policy.people import OS_USER

    home = acting_home(context, "people")
    found = home.people(home.database()).set_role(name, new.value, home.acting or OS_USER)
    say(f"{found.name} is {new.value} now.")


@app.command(epilog="Example: coop-node people reset")
def reset(context: typer.Context, yes: Yes = False) -> None:
    """Remove everybody, when the last owner's passphrase is lost. The journal says so.

    Whoever can read the node's files could do as much by hand; this way it is written down.
    """
    from node.house import open_home

    home = open_home(state(context).home)
    confirm("Remove everybody who is registered? The journal will say that it was done.", yes)
    count = home.people(home.database()).reset()
    say(f"{count} people were removed: whoever may use this account acts as the owner again.")
