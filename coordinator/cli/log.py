"""``log witnesses``: who countersigned the audit log, and how recently."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from coordinator.cli.shell import Json, answer, state, table

app = typer.Typer(no_args_is_help=True, help="The audit log, as members vouch for it.")


@app.command(epilog="Example: coop-coordinator log witnesses")
def witnesses(context: typer.Context, as_json: Json = False) -> None:
    """Members that countersigned the log: up to which entry, when, and how long ago."""
    from coordinator.store.cosignatures import Cosignatures
    from coordinator.store.members import Members, Status
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    with house.database.read() as db:
        newest = {one.member: one for one in Cosignatures(db).newest_of_each()}
        active = Members(db).list(Status.ACTIVE)
    now, found = house.clock(), []
    for member in active:
        one = newest.get(member.id)
        at = datetime.fromtimestamp(one.at, UTC) if one else None
        found.append(
            {
                "member": member.id,
                "name": member.profile.name,
                "size": one.size if one else None,
                "root": one.root if one else None,
                "at": at.isoformat() if at else None,
                "hours_ago": round((now - at).total_seconds() / 3600, 1) if at else None,
            }
        )

    def lines() -> list[str]:
        rows = [
            [
                str(one["name"]),
                str(one["member"])[:8],
                "never" if one["at"] is None else f"{one['hours_ago']} h ago",
                "-" if one["size"] is None else str(one["size"]),
            ]
            for one in found
        ]
        headers = ["member", "id", "countersigned", "entries"]
        return table(rows, headers, "No member has joined yet.")

    answer({"witnesses": found}, as_json, lines)
