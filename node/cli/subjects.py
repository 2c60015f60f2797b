"""``requests open | list | extend | close``: what customers ask about their own data."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_home
from node.cli.shell import Json, answer, say, state, table

if TYPE_CHECKING:
    from node.house import Home
    from node.policy.subjects import SubjectDesk, Waiting

app = typer.Typer(
    no_args_is_help=True,
    help="Requests of customers about their own data. While an answer is overdue, this node takes "
    "part in no run.",
)


class Kind(StrEnum):
    """What a customer may ask for, as written on the command line."""

    ACCESS = "access"
    RECTIFY = "rectify"
    ERASE = "erase"
    RESTRICT = "restrict"
    OBJECT = "object"


def _desk(home: Home) -> SubjectDesk:
    from node.policy.agreements import newest_signed
    from node.policy.subjects import SubjectDesk

    database = home.database()
    with database.read() as connection:
        mine = newest_signed(connection)
    return SubjectDesk(
        database,
        home.keys.customer_secret,
        mine.terms if mine is not None else None,
        home.journal,
        home.clock,
    )


@app.command("open", epilog="Example: coop-node requests open --kind access --customer 4711")
def open_request(
    context: typer.Context,
    kind: Annotated[Kind, typer.Option(help="What is asked for.")],
    customer: Annotated[
        str, typer.Option(help="The number as your till prints it; only its keyed hash is kept.")
    ],
    received: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The day on which they asked, if not today."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Enter a request; the answer says until when the customer has to hear from you.

    Check that it is really this customer who asks before you answer. What is asked for has to be
    done by hand in this version; for objections and restrictions also enter them in the consent
    ledger: coop-node consent withdraw CUSTOMER PURPOSE --as objected.
    """
    from datetime import UTC

    from node.store.requests import RequestKind

    desk = _desk(acting_home(context, "answer"))
    at = received.replace(tzinfo=UTC) if received is not None else None
    made = desk.open(RequestKind(kind.value), customer, at)
    answer(
        _document(made),
        as_json,
        lambda: [
            f"Request {made.request.id} ({kind.value}) is due on {made.due:%Y-%m-%d}.",
            f"When it is answered: coop-node requests close {made.request.id} --how TEXT",
        ],
    )


@app.command("list", epilog="Example: coop-node requests list --all")
def list_requests(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are closed.")] = False,
    as_json: Json = False,
) -> None:
    """Show requests with their due dates; overdue ones first stop every run."""
    from node.house import open_home

    found = _desk(open_home(state(context).home)).list(only_open=not everything)
    rows = [
        [one.request.id, one.request.kind.value, f"{one.due:%Y-%m-%d}", _stands(one)]
        for one in found
    ]
    answer(
        {"requests": [_document(one) for one in found]},
        as_json,
        lambda: table(rows, ["id", "asks for", "due", "state"], "No customer waits for an answer."),
    )


@app.command(epilog="Example: coop-node requests extend 3fa90c1e --reason 'five years of receipts'")
def extend(
    context: typer.Context,
    request: Annotated[str, typer.Argument(help="First digits of the request.")],
    reason: Annotated[str, typer.Option(help="What the customer is told.")],
) -> None:
    """Take the longer time of clause c12, once. Tell the customer why, in the first month."""
    shown = _desk(acting_home(context, "answer")).extend(request, reason)
    say(f"Request {shown.request.id} is due on {shown.due:%Y-%m-%d} now. Tell the customer why.")


@app.command(epilog="Example: coop-node requests close 3fa90c1e --how 'sent by letter'")
def close(
    context: typer.Context,
    request: Annotated[str, typer.Argument(help="First digits of the request.")],
    how: Annotated[str, typer.Option(help="What was done; it stays on this node.")],
) -> None:
    """Close a request that was answered."""
    _desk(acting_home(context, "answer")).close(request, how)
    say("Closed.")


def _stands(one: Waiting) -> str:
    if one.request.closed_at is not None:
        return f"closed on {one.request.closed_at:%Y-%m-%d}"
    if one.late:
        return "OVERDUE: no run until it is answered"
    return "open, extended" if one.request.extended_at is not None else "open"


def _document(one: Waiting) -> dict[str, Any]:
    asked = one.request
    return {
        "id": asked.id,
        "kind": asked.kind.value,
        "received_at": asked.received_at.isoformat(),
        "due": one.due.isoformat(),
        "late": one.late,
        "extended": asked.extended_at is not None,
        "closed_at": asked.closed_at.isoformat() if asked.closed_at is not None else None,
    }
