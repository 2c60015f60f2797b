"""Who acts: ``coop-node --as NAME``, their passphrase, and whether their role may do it.

This separates duties at the program. Whoever can read the node's files can do without it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from node.cli.shell import note, state
from protocols.errors import Code, InputError, LocalError

if TYPE_CHECKING:
    from node.house import Home, Member
    from node.policy.people import Actor
    from node.store.database import Database
    from protocols.agreement.terms import DataRoles

VARIABLE = "COOP_PASSPHRASE"


def acting_member(context: typer.Context, action: str) -> Member:
    """The opened node that has joined, for a person whose role may do this.

    Args:
        context: of the command.
        action: a value of ``protocols.agreement.roles.Action``.

    Raises:
        Refused: the role may not, by default or by clause 6.
        InputError: nobody is named though people are registered, or the passphrase does not fit.
    """
    from node.house import open_home, open_member

    home = open_home(state(context).home)
    return open_member(home.folder, actor(context, home, action))


def acting_home(context: typer.Context, action: str, *, salvage: bool = False) -> Home:
    """The opened node, joined or not, for a person whose role may do this; errors as above.

    Args:
        context, action: as above.
        salvage: go on as the owner of the files if the ledgers are damaged or gone: they are what
            says who is registered, and a backup of the rest has to be possible then.
    """
    from node.house import open_home
    from node.policy.people import OS_USER

    home = open_home(state(context).home)
    try:
        found = actor(context, home, action)
    except LocalError as error:
        if not salvage or error.code is not Code.TAMPERED:
            raise
        note(f"The ledgers cannot be read, so nobody's role is known: {error.problem}")
        found = OS_USER
    return open_home(home.folder, found)


def actor(context: typer.Context, home: Home, action: str) -> Actor:
    """Who acts in a node's folder, and may do this; errors as above."""
    from node.policy.people import OS_USER, require_may
    from protocols.agreement.roles import Action

    name, database = state(context).acting, _database(home)
    found = OS_USER
    if database is not None or name:
        found = home.people(database or home.database()).identify(name, _passphrase)
    require_may(found, Action(action), _clause(database))
    if database is not None:
        database.close()
    return found


def _database(home: Home) -> Database | None:
    """The node's ledgers, or nothing if there never were any; before that nobody is registered."""
    from node import keys
    from node.policy.ledgers import FILE, require_never_there

    if (home.folder / FILE).is_file():
        return home.database()
    require_never_there(home.folder, keys.restored_at(home.folder))
    return None


def _clause(database: Database | None) -> DataRoles | None:
    """Clause 6 of the newest version that this member signed, or nothing before that."""
    from node.policy.agreements import newest_signed
    from protocols.agreement.terms import DataRoles as Block

    if database is None:
        return None
    with database.read() as connection:
        mine = newest_signed(connection)
    return mine.terms.block("c06", Block) if mine is not None else None


def _passphrase() -> str:
    given = os.environ.get(VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InputError(
            "your passphrase is needed and there is nobody to ask.",
            code=Code.USAGE,
            fix=f"Run it in a terminal, or set {VARIABLE}.",
        )
    return str(typer.prompt("Your passphrase", hide_input=True))
