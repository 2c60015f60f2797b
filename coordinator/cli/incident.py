"""``incident open | notify | close | list``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.shell import Json, Yes, answer, confirm, person, say, state, table

if TYPE_CHECKING:
    from coordinator.store.incidents import Incident
    from coordinator.wiring import House

app = typer.Typer(no_args_is_help=True, help="Incidents: write down, stop runs, tell members.")
Which = Annotated[str, typer.Argument(help="First digits of the incident.")]


@app.command("open", epilog="Example: coop-coordinator incident open --what 'A key is lost' -y")
def open_one(
    context: typer.Context,
    what: Annotated[str, typer.Option(help="What happened, in one line; members read it.")],
    freeze: Annotated[
        bool, typer.Option(help="End every run now and start none until it is closed.")
    ] = True,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Write an incident down. The clock of clause 25 starts; by default everything stops."""
    import secrets

    from coordinator.incidents import open_incident
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    question = "Open an incident and stop all runs?" if freeze else "Open an incident?"
    confirm(question, yes)
    made, ended = open_incident(
        house, what=what, freeze=freeze, entropy=secrets.token_bytes, by=person(context)
    )
    document = {**_document(made, house.clock()), "ended": list(ended)}

    def lines() -> list[str]:
        return [
            f"Incident {made.incident[:8]} is open.",
            *(["No run starts until it is closed."] if made.freeze else []),
            *[f"Run {one} is aborted." for one in ended],
            f"Tell the members by {made.notify_by:%Y-%m-%d %H:%M} UTC: "
            f"coop-coordinator incident notify {made.incident[:8]}",
        ]

    answer(document, as_json, lines)


@app.command(epilog="Example: coop-coordinator incident notify 1f3a --what 'The key was revoked'")
def notify(
    context: typer.Context,
    incident: Which,
    what: Annotated[str, typer.Option(help="What members read; else as it was opened.")] = "",
    yes: Yes = False,
) -> None:
    """Tell every member, in a letter that the operator signs."""
    from coordinator import incidents
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    found = _find(house, incident)
    confirm(f"Tell every member: {what or found.what}?", yes)
    told, in_time = incidents.notify(house, found, what=what, by=person(context))
    late = "" if in_time else f", later than {found.notify_by:%Y-%m-%d %H:%M} UTC (clause 25)"
    say(f"{told} members have the notice in their mailboxes{late}.")


@app.command(epilog="Example: coop-coordinator incident close 1f3a")
def close(context: typer.Context, incident: Which, yes: Yes = False) -> None:
    """It is over: runs may be launched again."""
    from coordinator import incidents
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    found = _find(house, incident)
    confirm(f"Close incident {found.incident[:8]}: {found.what}?", yes)
    incidents.close(house, found, by=person(context))
    say(f"Incident {found.incident[:8]} is closed.")


@app.command("list", epilog="Example: coop-coordinator incident list --json")
def list_all(context: typer.Context, as_json: Json = False) -> None:
    """Every incident, whether runs are frozen, and how long is left to tell the members."""
    from coordinator.store.incidents import Incidents
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    with house.database.read() as db:
        listed = Incidents(db).list()
    now = house.clock()
    documents = [_document(one, now) for one in listed]
    rows = [
        [
            one["incident"][:8],
            one["state"],
            "frozen" if one["freezes_now"] else "",
            one["clock"],
            one["what"],
        ]
        for one in documents
    ]
    answer(
        {"incidents": documents},
        as_json,
        lambda: table(rows, ["id", "state", "runs", "notice", "what"], "No incident so far."),
    )


def _find(house: House, prefix: str) -> Incident:
    from coordinator.store.incidents import Incidents

    with house.database.read() as db:
        return Incidents(db).starting(prefix)


def _document(one: Incident, now: datetime) -> dict[str, Any]:
    left = (one.notify_by - now) / timedelta(hours=1)
    if one.notified_at is not None:
        clock = f"told {one.notified_at:%Y-%m-%d %H:%M} UTC"
    elif one.overdue(now):
        clock = f"{-left:.1f} h LATE"
    else:
        clock = f"{left:.1f} h left"
    return {
        "incident": one.incident,
        "state": one.state,
        "what": one.what,
        "freeze": one.freeze,
        "freezes_now": one.freeze and one.closed_at is None,
        "opened_at": one.opened_at.isoformat(),
        "notify_by": one.notify_by.isoformat(),
        "notified_at": one.notified_at.isoformat() if one.notified_at else None,
        "closed_at": one.closed_at.isoformat() if one.closed_at else None,
        "hours_left": round(left, 2) if one.notified_at is None else None,
        "clock": clock,
    }
