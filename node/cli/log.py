"""``log show | compare | export | forks``: what this node has seen of the coordinator's log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.shell import Json, Yes, answer, confirm, say, table

if TYPE_CHECKING:
    from node.house import Member

app = typer.Typer(
    no_args_is_help=True, help="The coordinator's log: what was seen, compared and found."
)


@app.command(epilog="Example: coop-node log show")
def show(context: typer.Context, as_json: Json = False) -> None:
    """The newest head that this node verified, when, and whether two histories were ever shown."""
    from node.cli.acting import acting_member
    from protocols.errors import InputError

    kept = acting_member(context, "see").witnessed
    newest, facts, status = kept.newest(), kept.facts(), kept.status()
    if newest is None:
        raise InputError(
            "this node has not met the coordinator's log yet.", fix="Connect: coop-node start."
        )
    document = {
        "origin": kept.origin,
        "size": newest.head.size,
        "root": newest.head.root.hex(),
        "verified_at": facts.verified_at,
        "countersigned": newest.cosigned_at,
        "compared_at": status.compared_at or None,
        "fork": facts.fork or None,
    }
    answer(
        document,
        as_json,
        lambda: [
            f"log {kept.origin}",
            f"{newest.head.size} entries, root {newest.head.root.hex()}",
            f"last verified {facts.verified_at or 'at no known time'}; "
            f"compared with other members {status.compared_at or 'never yet'}",
            f"FORK: {facts.fork}"
            if facts.fork
            else "No other history was ever shown to this node.",
            "Read the first 16 digits of the root to another member who has the same number of "
            "entries, or send the file of `coop-node log export`.",
        ],
    )


@app.command(epilog="Example: coop-node log export /media/usb/our-checkpoint.note")
def export(context: typer.Context, file: Path) -> None:
    """Write the newest countersigned checkpoint into a file, for another member or an auditor."""
    from node import files
    from node.cli.acting import acting_member
    from protocols.errors import InputError

    newest = acting_member(context, "see").witnessed.newest()
    if newest is None:
        raise InputError("nothing has been seen yet.", fix="Connect: coop-node start.")
    if file.exists():
        raise InputError("this file exists already.", where=str(file), fix="Choose another name.")
    files.write(file, newest.note, mode=0o644)
    say(f"{newest.head.size} entries; the other member runs: coop-node log compare {file.name}")


@app.command(epilog="Example: coop-node log compare bakery-miller.note")
def compare(
    context: typer.Context,
    file: Path,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask nobody; only heads of one size compare then.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the checkpoint that another member kept with your own: one history, or two?"""
    from node import files
    from node.cli.acting import acting_member

    member = acting_member(context, "verify")
    lines = _compared(member, files.read(file), offline)
    answer({"compared": str(file), "findings": list(lines)}, as_json, lambda: list(lines))


@app.command(epilog="Example: coop-node log forks --resolve 2026-03-01")
def forks(
    context: typer.Context,
    resolve: Annotated[str, typer.Option(help="Close this finding, after talking.")] = "",
    start_anew: Annotated[
        bool, typer.Option("--start-anew", help="Accept the log as it is shown from now on.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Findings of two histories, with their evidence; an owner closes them after talking."""
    from node.cli.acting import acting_member
    from protocols.errors import Code, InputError

    if start_anew and not resolve:
        raise InputError("--start-anew goes with --resolve.", code=Code.USAGE)
    member = acting_member(context, "house" if resolve else "see")
    kept = member.witnessed
    if resolve:
        acting = member.home.acting
        confirm("Have you talked with the other members, and is the evidence copied?", yes)
        done = kept.forks.resolve(resolve, acting.role if acting else "owner")
        if start_anew:
            kept.start_anew()
        more = " The log is taken as it is shown at the next contact." if start_anew else ""
        answer({"resolved": done.id}, as_json, lambda: [f"Closed: {done.id}.{more}"])
        return
    found = kept.forks.list()
    rows = [[one.id, "closed" if one.resolved else "OPEN", one.sentence] for one in found]
    document = [
        {"id": one.id, "at": one.at, "resolved": one.resolved, "sentence": one.sentence}
        for one in found
    ]
    empty = "No other history was ever shown to this node."
    answer({"forks": document}, as_json, lambda: table(rows, ["finding", "state", "what"], empty))


def _compared(member: Member, note: bytes, offline: bool) -> tuple[str, ...]:
    from node.federation.channel import link_channel
    from node.federation.link import Calls
    from node.federation.witness import silent, witness_of

    witness = witness_of(member, silent)
    if offline:
        return witness.compare_file(note, None)
    with link_channel(member.home.folder) as channel:
        return witness.compare_file(note, Calls(channel))
