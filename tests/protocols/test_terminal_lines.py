"""What other parties say is printed, and never obeyed by the terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import typer

import coordinator.cli.shell as office
import coordinator.events
import node.cli.shell as shop
import node.events
from protocols.errors import RemoteError
from protocols.plain import shown

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[1;1Hpaid\r\u202egood\x9b31m\x00"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def harmless(text: str) -> bool:
    return all(one.isprintable() or one == "\n" for one in text)


def test_letters_stay_and_orders_to_the_terminal_do_not() -> None:
    assert (
        shown("Bäckerei Müller, 3 €\nnext\u00a0line\tend") == "Bäckerei Müller, 3 €\nnext line end"
    )
    assert shown("数据 🙂") == "数据 🙂"
    assert harmless(shown(EVIL)) and "paid" in shown(EVIL)


@pytest.mark.parametrize("shell", [office, shop], ids=["office", "shop"])
def test_commands_print_nothing_that_a_terminal_obeys(shell: Any, capsys: Any) -> None:
    app = typer.Typer()

    @app.command()
    def look() -> None:
        shell.say(f"member {EVIL}")
        shell.note(f"note {EVIL}")
        rows: Sequence[Sequence[str]] = [[EVIL, "x"]]
        shell.answer({"name": EVIL}, False, lambda: shell.table(rows, ["name", "what"], ""))
        raise RemoteError(f"the other side says {EVIL}", peer=EVIL, where=EVIL, fix=EVIL)

    code = shell.run(app, [], "look") if shell is shop else _unguarded(shell, app)
    said = capsys.readouterr()
    assert code != 0
    assert "paid" in said.out and "paid" in said.err
    assert harmless(said.out) and harmless(said.err)


def _unguarded(shell: Any, app: typer.Typer) -> int:
    """The office asks who is there first; here only what is printed matters."""
    try:
        app([], standalone_mode=False)
    except RemoteError as error:
        return int(shell._failed(error, False))
    return 0


@pytest.mark.parametrize("room", [coordinator.events, node.events], ids=["office", "shop"])
def test_a_running_process_prints_nothing_that_a_terminal_obeys(room: Any) -> None:
    stream = io.StringIO()
    events = room.Events(stream, True, lambda: NOW)
    events.emit("run", run=EVIL, state=EVIL, detail=f"{EVIL}\n12:00:00  Connected.")
    said = stream.getvalue()
    assert harmless(said) and said.count("\n") == 1  # one event is one line
