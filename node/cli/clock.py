"""``clock``: whether this computer's clock fits what the node wrote down before."""

from __future__ import annotations

from typing import Annotated

import typer

from node.cli.acting import acting_member
from node.cli.shell import Yes, confirm, say, state


def register(app: typer.Typer) -> None:
    """Hang the command at the top of the tree."""
    app.command(epilog="Example: coop-node clock")(clock)


def clock(
    context: typer.Context,
    ahead: Annotated[
        bool, typer.Option("--was-ahead", help="Say that it is right now and ran ahead before.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Compare the clock with the node's ledgers. A clock that was set back stops every run."""
    from node.house import open_member
    from node.policy.clock import accept
    from node.policy.facts import newest_seen

    member = acting_member(context, "keys") if ahead else open_member(state(context).home)
    now = member.home.clock()
    with member.database.read() as db:
        newest = newest_seen(db, member.around)
    if newest is None or newest <= now:
        say(f"It is {now:%Y-%m-%d %H:%M} UTC by this clock, and nothing here is later.")
        return
    say(f"It is {now:%Y-%m-%d %H:%M} UTC by this clock.")
    say(f"Something here was written down at {newest:%Y-%m-%d %H:%M} UTC, which is later.")
    if not ahead:
        say("If the clock is wrong now, set it. If it was wrong then: coop-node clock --was-ahead")
        return
    confirm(f"Is it {now:%Y-%m-%d %H:%M} UTC, and was the clock wrong before?", yes)
    accept(member.database, newest, member.home.journal, now)
    say("Taken. What was spent while the clock ran ahead counts until the later date.")
