"""``agreement show | diff | sign``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.acting import acting_member
from node.cli.life import roster_lines
from node.cli.shell import Json, Yes, answer, confirm, note, say, state
from protocols.errors import Code, CoopError, InputError, LocalError
from protocols.plain import key_words

if TYPE_CHECKING:
    from node.house import Member
    from protocols.agreement.parse import ParsedAgreement

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
    html: Annotated[
        Path | None, typer.Option(help="Also write the page to this file, to read and print.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The agreement as one plain page: the newest proposed one, else the one you signed."""
    from node.house import open_member
    from protocols.agreement import pages, render

    member = open_member(state(context).home)
    _post(member)
    desk = member.agreements
    current, chosen = desk.current(), _chosen(member, which)
    if html is not None:
        html.write_text(pages.page_html(chosen), encoding="utf-8", newline="\n")
        note(f"Written to {html}; open it in any browser and print it.")
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


def _chosen(member: Member, which: str) -> ParsedAgreement:
    """The one that starts with these digits, else the newest proposed, else the signed one."""
    desk = member.agreements
    current, proposed = desk.current(), desk.proposed()
    if which:
        return desk.find(which)
    if proposed:
        return proposed[-1]
    if current is not None:
        return current
    raise LocalError(
        "no agreement has been sent to you yet.",
        code=Code.NOT_FOUND,
        fix="Your operator proposes one; try again later.",
    )


@app.command(epilog="Example: coop-node agreement diff")
def diff(
    context: typer.Context,
    which: Annotated[str, typer.Argument(help="First digits of the new one's id.")] = "",
    html: Annotated[
        Path | None, typer.Option(help="Also write it to this file, to read and print.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What would change from the version that you signed, clause by clause, and what that does."""
    from node.house import open_member
    from protocols.agreement import pages, render

    member = open_member(state(context).home)
    _post(member)
    old, new = member.agreements.current(), _chosen(member, which)
    if old is None:
        raise LocalError(
            "you have signed no version yet, so there is nothing to compare.",
            code=Code.NOT_FOUND,
            fix="Read it: coop-node agreement show",
        )
    if html is not None:
        html.write_text(pages.comparison_html(old, new), encoding="utf-8", newline="\n")
        note(f"Written to {html}; open it in any browser and print it.")
    document = {"from": old.id, "to": new.id, "changes": render.differences(old, new)}
    answer(document, as_json, lambda: [render.comparison(old, new)])


@app.command(epilog="Example: coop-node agreement sign")
def sign(
    context: typer.Context,
    which: Annotated[str, typer.Argument(help="First digits of its id.")] = "",
    roster_only: Annotated[
        bool, typer.Option("--roster", help="Only the list of members; your agreement stays.")
    ] = False,
    short_notice: Annotated[
        bool, typer.Option("--short-notice", help="Although it starts before the notice is over.")
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
    if roster is not None and desk.roster_to_sign() is not None:
        for line in roster_lines(desk, roster):
            say(line)
    if current is not None and chosen.id != current.id:
        say(f"What changes from version {current.agreement.version}, which you have signed:")
        say(render.comparison(current, chosen))
    confirm("Sign both with your key?", yes)
    done = desk.sign(chosen.id, roster.id if roster else None, short_notice=short_notice)
    _post(member)
    say(f"Signed: {done.agreement[:16]}. It is in force when enough members have signed.")


@app.command(epilog="Example: coop-node agreement terminate --reason 'We part as friends.'")
def terminate(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="One line, for the others.")] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Sign the end of the agreement; it ends when as many members have signed as clause 5 asks."""
    member = acting_member(context, "sign")
    _post(member)
    current = member.agreements.in_force()  # not one that waits for the others
    if current is None:
        raise LocalError("you have signed no agreement.", code=Code.NOT_FOUND)
    begun = member.life.begun(current)
    text = begun.reason if begun is not None else reason
    if not text:
        raise InputError(
            "the others will want to know why.",
            code=Code.USAGE,
            where="--reason",
            fix="Add --reason 'One sentence.'",
        )
    say_to = note if as_json else say
    say_to(f"The end of version {current.agreement.version} of: {current.agreement.title}")
    say_to(f"Reason{' given by others' if begun is not None else ''}: {text}")
    confirm("Sign the end of this agreement with your key?", yes)
    name, signed, needed = member.life.end(current, text)
    _post(member)
    ended = member.life.ended(current)
    document = {"document": name, "signed": signed, "needed": needed, "ended": ended}
    left = f"{signed} of {needed} needed signatures are known here."
    over = "The agreement has ended: this node refuses every run and use under it."
    answer(document, as_json, lambda: [over if ended else left])
