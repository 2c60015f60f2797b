"""What the commands about customers' rights share: which request is meant, how it ended."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_home
from node.cli.shell import note
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from node.house import Home
    from node.rights.case import Case, Finished
    from node.store.requests import RequestKind


class Kind(StrEnum):
    """What a customer may ask for, as written on the command line."""

    ACCESS = "access"
    EXPORT = "export"
    RECTIFY = "rectify"
    ERASE = "erase"
    RESTRICT = "restrict"
    OBJECT = "object"
    LIFT = "lift"


Request = Annotated[
    str, typer.Argument(metavar="[REQUEST]", help="First digits of a request that was entered.")
]
Customer = Annotated[
    str,
    typer.Option(help="Instead of a request: the number as your till prints it; enters one."),
]
Received = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="The day on which they asked, if not today."),
]
Identified = Annotated[
    str, typer.Option(help="How you recognised the person; write no name. It stays here.")
]


def case_of(home: Home) -> Case:
    """What carrying out a right needs of an opened node."""
    from node.rights.case import open_case

    return open_case(home, home.database())


def case_for(context: typer.Context) -> Case:
    """The same for a person whose role answers customers; errors as ``acting_home``."""
    return case_of(acting_home(context, "answer"))


def entered(
    case: Case,
    kind: Kind,
    request: str,
    customer: str,
    received: datetime | None = None,
    identified: str = "",
) -> str:
    """The id of the request that is meant, entered now if only a customer is named."""
    from node.store.requests import RequestKind

    if not (request or customer):
        raise InputError(
            "which request?",
            code=Code.USAGE,
            fix=f"coop-node requests {kind.value} REQUEST, or --customer NUMBER",
        )
    if request and customer and kind is not Kind.ERASE:
        raise InputError("name a request or a customer, not both.", code=Code.USAGE)
    if identified and len(customer.strip()) > 2 and customer.strip() in identified:
        raise InputError(
            "write how you recognised the person, not who it is.", where="--identified"
        )
    found = request or _waiting(case, RequestKind(kind.value), customer)
    if not found:
        made = case.subjects.open(RequestKind(kind.value), customer, instant(received))
        found = made.request.id
        note(f"Request {found} ({kind.value}) is entered, due on {made.due:%Y-%m-%d}.")
    if identified:
        case.subjects.identify(found, identified)
    return found


def _waiting(case: Case, kind: RequestKind, customer: str) -> str:
    """The customer's open request of this kind, so that a repeated command goes on with it."""
    key = case.subjects.key(customer)
    keys = (key, case.mark(key))
    for one in case.subjects.list(only_open=True):
        if one.request.kind is kind and one.request.customer_key in keys:
            return one.request.id
    return ""


def instant(day: datetime | None) -> datetime | None:
    """Midnight UTC of a day that was typed in."""
    from datetime import UTC

    return day.replace(tzinfo=UTC) if day is not None else None


def evidence_lines(done: Finished) -> list[str]:
    """Where the evidence lies, for people."""
    return [
        f"Evidence: {done.file}",
        "It names nobody; check it with: coop-node verify FILE. Keep a copy elsewhere.",
    ]


def ended(done: Finished) -> dict[str, Any]:
    """How a request ended, for programs."""
    return {
        "request": done.request,
        "outcome": done.outcome.value,
        "evidence": done.evidence,
        "evidence_file": str(done.file),
    }
