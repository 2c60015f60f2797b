"""``notice list | show | adopt | drop``: what customers are shown: texts of clause 11, and notices
that this node made around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.acting import acting_member
from node.cli.shell import Json, Yes, answer, confirm, say, state, table

if TYPE_CHECKING:
    from node.house import Member
    from node.policy.notices import NoticeDesk

app = typer.Typer(
    no_args_is_help=True,
    help="What your customers are told, in the words that the members signed.",
)
Which = Annotated[
    str,
    typer.Argument(
        help="First digits of the text, its language (en), or the name of a notice that was made: "
        "notice.en."
    ),
]


def _desk(member: Member) -> NoticeDesk:
    from node.policy.notices import NoticeDesk

    current = member.agreements.current()
    return NoticeDesk(
        member.database,
        current.terms if current is not None else None,
        member.home.journal,
        member.home.clock,
    )


@app.command("list", epilog="Example: coop-node notice list")
def list_notices(context: typer.Context, as_json: Json = False) -> None:
    """Show the texts of the agreement and which are in use here."""
    from node.house import open_member

    desk = _desk(open_member(state(context).home))
    found, purposes = (*desk.texts(), *desk.made()), desk.purposes()
    rows = [
        [
            one.sha256[:16],
            one.locale,
            one.made or "text of the agreement",
            f"since {one.since:%Y-%m-%d}" if one.since else "not in use",
        ]
        for one in found
    ]
    document = {
        "purposes": list(purposes),
        "texts": [
            {
                "sha256": one.sha256,
                "locale": one.locale,
                "made": one.made or None,
                "in_use_since": one.since.isoformat() if one.since else None,
            }
            for one in found
        ],
    }

    def lines() -> list[str]:
        out = table(
            rows, ["text", "language", "what", "state"], "The agreement asks for no notice."
        )
        if purposes and not any(one.since for one in found):
            out.append(f"Runs for {', '.join(purposes)} wait until one is in use.")
            out.append("Read one: coop-node notice show TEXT, then: coop-node notice adopt TEXT")
        return out

    answer(document, as_json, lines)


@app.command(epilog="Example: coop-node notice show en")
def show(context: typer.Context, which: Which) -> None:
    """Print one text, to the letter."""
    from node.house import open_member

    say(_desk(open_member(state(context).home)).find(which).text)


@app.command(epilog="Example: coop-node notice adopt en")
def adopt(context: typer.Context, which: Which, yes: Yes = False) -> None:
    """Say that this text is shown to your customers from now on.

    Put it where they see it: at the till, on the web page, in the terms of the loyalty card.
    """
    member = acting_member(context, "consent")
    confirm(f"Is the text {which} shown to your customers, word for word?", yes)
    done = _desk(member).adopt(which)
    say(f"In use: {done.sha256[:16]} ({done.locale}).")


@app.command(epilog="Example: coop-node notice drop en")
def drop(context: typer.Context, which: Which) -> None:
    """Say that this text is not shown any more; runs that need it stop."""
    done = _desk(acting_member(context, "consent")).drop(which)
    say(f"Not in use any more: {done.sha256[:16]} ({done.locale}).")
