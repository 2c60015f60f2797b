"""``requests open | list | extend | close``; what is asked for is carried out by ``rights``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli import asking, rights
from node.cli.acting import acting_home
from node.cli.shell import Json, answer, say, state, table

if TYPE_CHECKING:
    from node.house import Home
    from node.policy.subjects import SubjectDesk, Waiting

app = typer.Typer(
    no_args_is_help=True,
    help="What customers ask about their own data. While an answer is overdue, this node takes "
    "part in no run.",
)


def _desk(home: Home) -> SubjectDesk:
    from node.rights.case import open_case

    return open_case(home, home.database()).subjects


# ---------------------------------------------------------------------------------- the ledger


@app.command("open", epilog="Example: coop-node requests open --kind access --customer 4711")
def open_request(
    context: typer.Context,
    kind: Annotated[asking.Kind, typer.Option(help="What is asked for.")],
    customer: Annotated[
        str, typer.Option(help="The number as your till prints it; only its keyed hash is kept.")
    ],
    received: asking.Received = None,
    identified: asking.Identified = "",
    as_json: Json = False,
) -> None:
    """Enter a request; the answer says until when the customer has to hear from you.

    Check that it is really this customer who asks before you answer. Then carry it out with the
    command of the same name, for example: coop-node requests access 3fa90c1e
    """
    from node.rights.objection import at_once
    from node.store.requests import RequestKind

    case = asking.case_for(context)
    desk = case.subjects
    made = desk.open(RequestKind(kind.value), customer, asking.instant(received))
    counts = at_once(case, made.request)
    if identified:
        made = desk.identify(made.request.id, identified)
    answer(
        _document(made),
        as_json,
        lambda: [
            f"Request {made.request.id} ({kind.value}) is due on {made.due:%Y-%m-%d}.",
            *(["The objection counts already; what is left is the evidence."] if counts else []),
            f"To carry it out: coop-node requests {kind.value} {made.request.id}",
        ],
    )


@app.command("list", epilog="Example: coop-node requests list --all")
def list_requests(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are closed.")] = False,
    as_json: Json = False,
) -> None:
    """Show requests, what is due when, and what is late; late ones stop every run."""
    from node.house import open_home

    found = _desk(open_home(state(context).home)).list(only_open=not everything)
    rows = [
        [
            one.request.id,
            one.request.kind.value,
            f"{one.due:%Y-%m-%d}",
            one.stands,
            "yes" if one.request.checked_at is not None else "not yet",
        ]
        for one in found
    ]
    headers = ["id", "asks for", "due", "state", "recognised"]
    answer(
        {"requests": [_document(one) for one in found]},
        as_json,
        lambda: table(rows, headers, "No customer waits for an answer."),
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
    """Close a request that was answered by hand; there is no evidence then."""
    _desk(acting_home(context, "answer")).close(request, how)
    say("Closed.")


def _document(one: Waiting) -> dict[str, Any]:
    asked = one.request
    return {
        "id": asked.id,
        "kind": asked.kind.value,
        "received_at": asked.received_at.isoformat(),
        "due": one.due.isoformat(),
        "late": one.late,
        "days": one.days,
        "state": one.stands,
        "extended": asked.extended_at is not None,
        "recognised_at": asked.checked_at.isoformat() if asked.checked_at is not None else None,
        "closed_at": asked.closed_at.isoformat() if asked.closed_at is not None else None,
        "outcome": asked.outcome.value or None,
        "evidence": asked.evidence or None,
    }


rights.register(app)
