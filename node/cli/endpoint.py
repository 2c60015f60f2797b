"""``endpoint serve`` and ``endpoint token new | list | revoke``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.acting import acting_home
from node.cli.shell import Json, answer, note, say, state, table

if TYPE_CHECKING:
    from node.endpoint.tokens import TokenDesk
    from node.house import Home

PORT = 8787
app = typer.Typer(
    no_args_is_help=True,
    help="A door on this machine for your shop system: it posts what customers said.",
)
tokens = typer.Typer(no_args_is_help=True, help="Who may speak there.")
app.add_typer(tokens, name="token")


def _desk(context: typer.Context, action: str = "") -> tuple[Home, TokenDesk]:
    from node.endpoint.tokens import TokenDesk
    from node.house import open_home

    home = acting_home(context, action) if action else open_home(state(context).home)
    return home, TokenDesk(home.database(), home.journal, home.clock)


@app.command(epilog="Example: coop-node endpoint serve --port 8787")
def serve(
    context: typer.Context,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: the one of config.toml, or 8787.")
    ] = 0,
) -> None:
    """Open the door until Ctrl-C. It listens on this machine only, and needs a token.

    With endpoint_port in config.toml 'coop-node start' opens it too.
    """
    from node.endpoint.server import LocalDoor

    home = acting_home(context, "consent")
    database = home.database()
    door = LocalDoor(home, database, port or home.settings.endpoint_port or PORT)
    say(f"The door is open at {door.address}, for programs of this machine that have a token.")
    note("Make one with: coop-node endpoint token new webshop")
    note("One withdrawal, for example:")
    note(
        f"  curl -X POST {door.address}/v1/withdraw -H 'Authorization: Bearer TOKEN' "
        "-d customer=4711 -d scope=train:churn"
    )
    door.run()
    database.close()


@tokens.command(epilog="Example: coop-node endpoint token new webshop --expires 365")
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Of the shop system, for example webshop.")],
    expires: Annotated[int | None, typer.Option(help="Days until it is good no more.")] = None,
    as_json: Json = False,
) -> None:
    """Make a token. It is shown once; here only its hash is kept."""
    _home, desk = _desk(context, "consent")
    made, text = desk.new(name, expires)
    until = f"until {made.expires_at:%Y-%m-%d}" if made.expires_at else "until you revoke it"
    answer(
        {"id": made.id, "name": made.name, "token": text, "expires_at": made.expires_at},
        as_json,
        lambda: [
            f"The token of {made.name}, good {until}:",
            text,
            "Keep it like a password: it is not shown again.",
        ],
    )


@tokens.command("list", epilog="Example: coop-node endpoint token list")
def list_tokens(context: typer.Context, as_json: Json = False) -> None:
    """All tokens, and which are good."""
    home, desk = _desk(context)
    now = home.clock()
    rows = [
        {
            "id": one.id,
            "name": one.name,
            "created_at": one.created_at,
            "expires_at": one.expires_at,
            "revoked_at": one.revoked_at,
            "good": one.is_good(now),
        }
        for one in desk.list()
    ]

    def lines() -> list[str]:
        shown = [
            [
                str(one["name"]),
                str(one["id"]),
                f"{one['created_at']:%Y-%m-%d}",
                f"{one['expires_at']:%Y-%m-%d}" if one["expires_at"] else "never",
                "yes" if one["good"] else "no",
            ]
            for one in rows
        ]
        empty = "There is none yet: coop-node endpoint token new webshop"
        return table(shown, ["name", "id", "made", "ends", "good"], empty)

    answer({"tokens": rows}, as_json, lines)


@tokens.command(epilog="Example: coop-node endpoint token revoke webshop")
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The name or id of the token.")],
    as_json: Json = False,
) -> None:
    """End a token at once, in a running node too."""
    _home, desk = _desk(context, "consent")
    ended = desk.revoke(name)
    answer(
        {"id": ended.id, "name": ended.name},
        as_json,
        lambda: [f"The token of {ended.name} is good no more."],
    )
