"""What every command shares: where the node lives, how it prints, how it fails."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from protocols.errors import Code, CoopError, InputError, LocalError
from protocols.plain import SCHEMA, columns, error_document, error_lines, shown

DISK_FULL = 28
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; answer yes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would happen, change nothing.")]


@dataclass(slots=True)
class State:
    """Options that stand before the command."""

    home: Path | None = None
    quiet: bool = False
    acting: str = ""  # who says to be acting, by the name that is registered


def state(context: typer.Context) -> State:
    """The options given before the command."""
    found = context.find_object(State)
    if found is None:
        raise LocalError("the command ran without its options.")
    return found


def say(text: str = "") -> None:
    """A line of the answer, on stdout."""
    typer.echo(shown(text))


def note(text: str) -> None:
    """A line about the work, on stderr; not with ``--quiet``."""
    context = click.get_current_context(silent=True)
    found = context.find_object(State) if context is not None else None
    if found is None or not found.quiet:
        typer.echo(shown(text), err=True)


def answer(document: dict[str, Any], as_json: bool, lines: Callable[[], Sequence[str]]) -> None:
    """The answer of a read command: JSON with a schema version, or lines for people."""
    if as_json:
        say(json.dumps({"schema": SCHEMA, **document}, indent=2, sort_keys=True, default=str))
        return
    for line in lines():
        say(line)


def table(rows: Sequence[Sequence[str]], headers: Sequence[str], empty: str) -> list[str]:
    """A table, or the sentence that says what to do when there is nothing yet."""
    return columns(rows, headers) if rows else [empty]


def confirm(question: str, yes: bool) -> None:
    """Ask; InputError when there is nobody to ask or the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(
            f"this asks for a yes: {question}",
            code=Code.USAGE,
            fix="Run it in a terminal, or add --yes.",
        )
    if not typer.confirm(shown(question)):
        raise InputError("you said no; nothing was changed.", code=Code.USAGE)


def run(app: typer.Typer, words: Sequence[str], name: str) -> int:
    """Run a command line; the exit code. The only place that catches what commands raise."""
    as_json = "--json" in words
    try:
        result = app(args=list(words), prog_name=name, standalone_mode=False)
    except CoopError as error:
        return _failed(error, as_json)
    except typer.Exit as end:
        return end.exit_code
    except (typer.Abort, KeyboardInterrupt):
        note("Stopped. Nothing is half-written; run the command again to go on.")
        return 130
    except OSError as error:
        return _failed(_os_error(error), as_json)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        note(error.format_message())
        if context is not None:
            note(f"Try: {context.command_path} --help")
        return 2
    return result if isinstance(result, int) else 0


def _failed(error: CoopError, as_json: bool) -> int:
    if as_json:
        say(json.dumps(error_document(error), indent=2, sort_keys=True))
    for line in error_lines(error):
        typer.echo(shown(line), err=True)
    return error.kind.exit_code


def _os_error(error: OSError) -> CoopError:
    where = str(error.filename or "")
    if isinstance(error, BrokenPipeError):  # who read the answer has gone, as ``head`` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return LocalError(
            "nobody reads the answer any more, so this stopped; nothing is half-done."
        )
    if error.errno == DISK_FULL:
        return LocalError(
            "the disk is full; nothing was changed.",
            where=where,
            fix="Free some space and run the command again.",
        )
    return LocalError(f"{error.strerror or error}.", where=where)
