"""Which role may use which command; asked before every command once people are registered.

A command that does not stand here needs the operator: a new one is closed until somebody opens it.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import typer

from coordinator import config
from coordinator.cli.shell import State
from protocols.errors import Code, InputError, LocalError, Refused

PASSPHRASE = "COOP_PASSPHRASE"  # noqa: S105 - the name of a variable
Words = tuple[str, ...]

ANYBODY = {("init",), ("serve",), ("doctor",)}
"""Commands that need no person: they found, run and examine the office."""

SEE = {
    ("agreement", "check"),
    ("agreement", "diff"),
    ("agreement", "export"),
    ("agreement", "page"),
    ("agreement", "schema"),
    ("agreement", "show"),
    ("agreement", "status"),
    ("agreement", "templates"),
    ("corrections", "list"),
    ("costs",),
    ("incident", "list"),
    ("member", "list"),
    ("people", "list"),
    ("release", "list"),
    ("release", "show"),
    ("run", "plan"),
    ("run", "status"),
    ("taxonomy", "check"),
    ("taxonomy", "show"),
}
VERIFY = {("evidence",), ("log",), ("verify",), ("witnesses",)}

GROUPS: Mapping[str, str] = {
    "agreement": "draft",
    "incident": "incident",
    "member": "enrol",
    "people": "people",
    "release": "release",
    "run": "launch",
    "taxonomy": "draft",
}


def action_of(path: Words) -> str:
    """The act (``protocols.agreement.roles.Action``) that a command is."""
    if path in SEE:
        return "see"
    if path[:1] in VERIFY:
        return "verify"
    if path == ("release", "revoke"):
        return "revoke"
    return GROUPS.get(path[0], "settings")


def guarded(command: click.Command, path: Words = ()) -> click.Command:
    """The same tree; every command asks first who is there."""
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            guarded(child, (*path, name))
    elif command.callback is not None and path not in ANYBODY:
        command.callback = _asking(command.callback, path)
    return command


def _asking(callback: Callable[..., Any], path: Words) -> Callable[..., Any]:
    def call(*args: Any, **params: Any) -> Any:
        authorise(click.get_current_context().find_object(State) or State(), path)
        return callback(*args, **params)

    return call


def authorise(options: State, path: Words) -> None:
    """Find out who acts and whether they may; ``options.person`` is then their short id.

    Raises:
        InputError: people are registered and nobody was named, or nobody is and somebody was.
        Refused: the wrong passphrase, or a role that may not do this.
    """
    file = config.resolve_home(options.home) / "coordinator.db"
    if not _anybody_registered(file):
        if options.acts_as:
            raise InputError(
                "nobody is registered in this office.",
                where="--as",
                code=Code.USAGE,
                fix="Leave out --as, or register people: people add NAME --role operator.",
            )
        return
    if not options.acts_as:
        raise InputError(
            "people are registered in this office, so a command needs a person.",
            where="--as",
            code=Code.USAGE,
            fix=f"coop-coordinator --as NAME {' '.join(path)} ...",
        )
    from coordinator.members import people
    from coordinator.store.database import Database
    from protocols.agreement.roles import may

    database = Database.open(file)
    try:
        with database.read() as db:
            person = people.authenticate(db, options.acts_as, passphrase_of(options.acts_as))
    finally:
        database.close()
    if not may(person.role, action_of(path)):
        raise Refused(
            f"{person.name} is {person.role} here; '{' '.join(path)}' is for an operator.",
            where="--as",
            fix="An auditor looks and verifies: run status, verify, evidence, incident list.",
        )
    options.person = person.id


def passphrase_of(name: str, variable: str = PASSPHRASE) -> str:
    """From the environment, else typed; InputError when there is nobody to ask."""
    given = os.environ.get(variable)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InputError(
            f"the passphrase of {name} is missing.",
            where=variable,
            code=Code.USAGE,
            fix=f"Run it in a terminal, or set {variable}.",
        )
    return str(typer.prompt(f"Passphrase of {name}", hide_input=True, err=True))


def _anybody_registered(file: Path) -> bool:
    """Read without the database's own software, so that a command without people stays quick."""
    if not file.is_file():
        return False
    try:
        link = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
        try:
            query = "SELECT count(*) FROM people WHERE removed_at IS NULL"
            return bool(link.execute(query).fetchone()[0])
        finally:
            link.close()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # made by an older version: the command upgrades it
            return False
        raise LocalError(
            f"the database cannot be read: {error}.", where=str(file), fix="coop-coordinator doctor"
        ) from error
    except sqlite3.DatabaseError as error:
        raise LocalError(
            "the database is damaged.",
            where=str(file),
            fix="Stop the coordinator and restore the file from a backup (RUNBOOK.md).",
        ) from error
