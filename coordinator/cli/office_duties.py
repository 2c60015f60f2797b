"""``costs`` and ``purge``: what clauses 19 and 28 ask of an office."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from coordinator.cli.shell import DryRun, Json, Yes, answer, confirm, say, state, table
from protocols.errors import InputError

DAY = "%Y-%m-%d"
USUAL_DAYS = 365


def register(app: typer.Typer) -> None:
    """Hang these commands at the top of the tree."""
    app.command(epilog="Example: coop-coordinator costs --from 2026-01-01 --csv")(costs)
    app.command(epilog="Example: coop-coordinator purge --dry-run")(purge)


def costs(
    context: typer.Context,
    since: Annotated[
        str, typer.Option("--from", help="Day; else as long ago as a period of clause 19.")
    ] = "",
    until: Annotated[str, typer.Option("--to", help="Day, not included; else now.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for a spreadsheet.")] = False,
    as_json: Json = False,
) -> None:
    """What each member has to pay for runs (clause 19)."""
    from coordinator import costs as ledger
    from coordinator.wiring import open_house
    from protocols.agreement.terms import Costs

    house = open_house(state(context).home)
    parsed, now = house.agreement(), house.clock()
    block = None if parsed is None else parsed.terms.block("c19", Costs)
    period = timedelta(days=block.period_days if block is not None else USUAL_DAYS)
    end = _day(until, "--to") if until else now
    start = _day(since, "--from") if since else end - period
    if start >= end:
        raise InputError("it begins after its end.", where="--from")
    with house.database.read() as db:
        listed = ledger.between(ledger.charges(db), start, end)
    names = {one.id: one.profile.name for one in house.enrolment.members()}
    shares = [(names.get(one.member, one.member[:16]), one) for one in ledger.statement(listed)]
    if as_csv:
        say(ledger.as_csv(shares, start, end).rstrip("\n"))
        return
    document = {
        "from": start.isoformat(),
        "to": end.isoformat(),
        "runs": len(listed),
        "members": [
            {
                "name": name,
                "id": one.member,
                "runs": one.runs,
                "cents": one.cents,
                "currency": one.currency,
            }
            for name, one in shares
        ],
    }
    rows = [
        [name, one.member[:16], str(one.runs), ledger.money(one.cents, one.currency)]
        for name, one in shares
    ]

    def lines() -> list[str]:
        head = f"Runs from {start:{DAY}} to {end:{DAY}}: {len(listed)}."
        return [head, *table(rows, ["member", "id", "runs", "share"], "Nobody has to pay.")]

    answer(document, as_json, lines)


def purge(
    context: typer.Context, dry_run: DryRun = False, yes: Yes = False, as_json: Json = False
) -> None:
    """Delete what clause 28 does not let stay. 'serve' does it by itself every day."""
    from coordinator import upkeep
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    now = house.clock()
    found = upkeep.due(house, now)
    if found and not dry_run:
        confirm(f"Delete {len(found)} things whose time is over?", yes)
        with house.log() as log:
            found = upkeep.purge(house, now, log.append)
    listed = [
        {
            "kind": one.kind,
            "path": one.path.relative_to(house.home).as_posix(),
            "age_hours": round(one.age / timedelta(hours=1), 1),
            "limit_hours": round(one.limit / timedelta(hours=1), 1),
        }
        for one in found
    ]
    document = {"deleted": not dry_run, "due": listed}
    rows = [
        [str(one["kind"]), str(one["path"]), f"{one['age_hours']} h", f"{one['limit_hours']} h"]
        for one in listed
    ]

    def lines() -> list[str]:
        shown = table(rows, ["what", "where", "age", "allowed"], "Nothing is older than allowed.")
        return shown if dry_run or not found else [*shown, f"Deleted {len(found)}."]

    answer(document, as_json, lines)


def _day(text: str, where: str) -> datetime:
    try:
        return datetime.strptime(text, DAY).replace(tzinfo=UTC)
    except ValueError as error:
        raise InputError(f"{text!r} is not a day.", where=where, fix="2026-01-31") from error
