"""``agreement show | sign``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.acting import acting_member
from node.cli.shell import Json, Yes, answer, confirm, note, say, state
from protocols.errors import Code, CoopError, LocalError
from protocols.plain import key_words

if TYPE_CHECKING:
    from node.house import Member

app = typer.Typer(no_args_is_help=True, help="What was agreed, and your signature under it.")


def _post(member: Member) -> None:
    """Fetch and send letters now; without a connection, what is here is shown."""
    from node.federation.post import exchange

    try:
        exchange(member)
    except CoopError as error:
        note(f"(Not connected: {error.problem} What is shown was received earlier.)")


@app.command(epilog="Example: coop-node agreement show")
def show(
    context: typer.Context,
    which: Annotated[str, typer.Argument(help="First digits of its id.")] = "",
    as_json: Json = False,
) -> None:
    """The agreement as one plain page: the newest proposed one, else the one you signed."""
    from node.house import open_member
    from protocols.agreement import render

    member = open_member(state(context).home)
    _post(member)
    desk = member.agreements
    current, proposed = desk.current(), desk.proposed()
    if which:
        chosen = desk.find(which)
    elif proposed:
        chosen = proposed[-1]
    elif current is not None:
        chosen = current
    else:
        raise LocalError(
            "no agreement has been sent to you yet.",
            code=Code.NOT_FOUND,
            fix="Your operator proposes one; try again later.",
        )
    signed = current is not None and chosen.id == current.id
    roster = desk.newest_roster()
    document = {
        "id": chosen.id,
        "version": chosen.agreement.version,
        "signed_by_you": signed,
        "agreement": chosen.document,
        "roster": roster.document if roster else None,
    }

    def lines() -> list[str]:
        out = [render.page(chosen)]
        if current is not None and not signed:
            out += [
                "",
                "What would change from what you signed:",
                render.comparison(current, chosen),
            ]
        if roster is not None:
            out += ["", f"Members (roster epoch {roster.roster.epoch}):"]
            out += [f"  {m.name}, {m.region}: {key_words(m.id)}" for m in roster.roster.members]
        out += ["", "You have signed it." if signed else "To sign it: coop-node agreement sign"]
        return out

    answer(document, as_json, lines)


@app.command(epilog="Example: coop-node agreement sign")
def sign(
    context: typer.Context,
    which: Annotated[str, typer.Argument(help="First digits of its id.")] = "",
    roster_only: Annotated[
        bool, typer.Option("--roster", help="Only the list of members; your agreement stays.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Sign the proposed agreement and the list of members."""
    from protocols.agreement import render

    member = acting_member(context, "sign")
    _post(member)
    desk = member.agreements
    proposed, roster, current = desk.proposed(), desk.newest_roster(), desk.current()
    newest = proposed[-1] if proposed and not roster_only else current
    chosen = desk.find(which) if which else newest
    if chosen is None:
        raise LocalError("there is nothing to sign yet.", code=Code.NOT_FOUND)
    members = len(roster.roster.members) if roster else 0
    epoch = roster.roster.epoch if roster else 0
    say(f"Version {chosen.agreement.version} of: {chosen.agreement.title}")
    say(f"Members: {members}, roster epoch {epoch}.")
    if current is not None and chosen.id != current.id:
        say(f"What changes from version {current.agreement.version}, which you have signed:")
        say(render.comparison(current, chosen))
    confirm("Sign both with your key?", yes)
    done = desk.sign(chosen.id, roster.id if roster else None)
    _post(member)
    say(f"Signed: {done.agreement[:16]}. It is in force when enough members have signed.")
