"""``member invite | list | remove``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.shell import DryRun, Json, Yes, answer, confirm, person, say, state, table
from protocols.plain import key_words

if TYPE_CHECKING:
    from coordinator.store.members import Member
    from coordinator.wiring import House

app = typer.Typer(no_args_is_help=True, help="Who belongs to the cooperative.")
ApproverKey = Annotated[
    Path | None, typer.Option(help="Key file of the second person, where clause 5 asks for it.")
]


@app.command(epilog="Example: coop-coordinator member invite 'Bakery Miller' --hours 48")
def invite(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Who it is for.")],
    hours: Annotated[int | None, typer.Option(help="How long the link is good.")] = None,
    address: Annotated[str, typer.Option(help="host:port, if nodes reach you elsewhere.")] = "",
    replaces: Annotated[
        str, typer.Option(help="A member whose keys are lost: name, or 8 digits of its id.")
    ] = "",
    approver_key: ApproverKey = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make one invitation link. It works once; send it to one person on a way you trust.

    With --replaces the business comes back under a new key: the connections of the lost one end
    now, and the members sign a list in which the new key takes its place.
    """
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    ttl = timedelta(hours=hours if hours is not None else house.settings.invite_hours)
    lost = house.enrolment.find(replaces) if replaces else None
    if lost is not None:
        confirm(f"The keys of {lost.profile.name} ({lost.id[:16]}) are lost?", yes)
        if not _agreed(house, lost, approver_key, person(context)):
            waits = (
                f"{lost.profile.name} stays connected until a second person approves (clause 5):"
            )
            answer(
                {"link": None, "name": name, "replaces": lost.id, "waits": "second person"},
                as_json,
                lambda: [waits, "  the same command, with --approver-key FILE"],
            )
            return
    invitation = house.enrolment.invite(
        name, ttl, house.clock(), address=address, replaces=lost.id if lost else None
    )
    if lost is not None:
        from protocols.audit.entries import Kind

        with house.log() as log:
            log.append(Kind.MEMBERSHIP, {"member": lost.id, "state": "keys-lost"})
    document = {
        "link": invitation.link,
        "name": name,
        "hours": ttl.total_seconds() / 3600,
        "replaces": lost.id if lost else None,
    }
    answer(
        document,
        as_json,
        lambda: [
            invitation.link,
            "",
            f"For {name}, good once, for {document['hours']:.0f} hours. In quotes:",
            f"  coop-node join '{invitation.link}'",
        ],
    )


@app.command("list", epilog="Example: coop-coordinator member list --json")
def list_members(context: typer.Context, as_json: Json = False) -> None:
    """Members and open invitations."""
    from coordinator.members.matrix import presence_of
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    members = house.enrolment.members()
    now = house.clock()
    waiting = [i for i in house.enrolment.invites() if i.used_at is None and now <= i.expires_at]
    document = {
        "members": [
            {
                "id": m.id,
                "name": m.profile.name,
                "status": m.status.value,
                "joined_at": m.joined_at.isoformat(),
                "key": m.public_key.hex(),
                "key_words": key_words(m.id),
                "presence": presence_of(m, now),
                "replaces": m.replaces,
            }
            for m in members
        ],
        "invited": [{"name": i.name, "expires_at": i.expires_at.isoformat()} for i in waiting],
    }
    rows = [[m.profile.name, presence_of(m, now), m.id[:16], key_words(m.id)] for m in members]

    def lines() -> list[str]:
        out = table(rows, ["name", "status", "id", "key words"], "Nobody has joined yet.")
        return out + [
            f"invited: {i.name}, until {i.expires_at:%Y-%m-%d %H:%M} UTC" for i in waiting
        ]

    answer(document, as_json, lines)


@app.command(epilog="Example: coop-coordinator member remove 'Bakery Miller'")
def remove(
    context: typer.Context,
    who: Annotated[str, typer.Argument(help="Name, or the first 8 digits of the id.")],
    approver_key: ApproverKey = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Take a member out: its connection ends now, its place in the roster with the next epoch."""
    from coordinator.wiring import open_house
    from protocols.audit.entries import Kind

    house = open_house(state(context).home)
    member = house.enrolment.find(who)
    if dry_run:
        say(f"{member.profile.name} ({member.id[:16]}) would be removed.")
        return
    confirm(f"Remove {member.profile.name} ({member.id[:16]})?", yes)
    if not _agreed(house, member, approver_key, person(context)):
        say(f"{member.profile.name} stays until a second person approves (clause 5):")
        say(f"  coop-coordinator member remove {member.id[:16]} --approver-key FILE")
        return
    with house.log() as log:
        log.append(Kind.REMOVAL, {"member": member.id})
        house.enrolment.remove(member.id, house.clock())
        proposed = house.propose_roster(log)
    say(f"{member.profile.name} cannot connect any more. It stands in the list of members until")
    say("enough of them have signed the next one.")
    for one in proposed:
        say(f"Proposed for signature: {one}")


def _agreed(house: House, member: Member, approver_key: Path | None, by: str | None) -> bool:
    """Whether all agree whom clause 5 asks for before the office ends a member's connection."""
    from coordinator.members.people import load_key
    from coordinator.members.removal import agreed
    from protocols.agreement.terms import Governance

    key = load_key(approver_key) if approver_key is not None else None
    agreement, coop = house.agreement(), house.office.public.coop
    governance = agreement.terms.block("c05", Governance) if agreement is not None else None
    with house.log() as log:
        return agreed(log, governance, coop, member.id, key, by)
