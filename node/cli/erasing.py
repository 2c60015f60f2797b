"""``requests erase | erase-again | restrict | object | lift | refuse``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from node.cli.asking import (
    Customer,
    Identified,
    Kind,
    Received,
    Request,
    case_for,
    ended,
    entered,
    evidence_lines,
)
from node.cli.shell import Json, Yes, answer, confirm
from protocols.errors import Code, InputError


class Ground(StrEnum):
    """On what ground a request is refused, as written on the command line."""

    UNFOUNDED = "unfounded"
    EXCESSIVE = "excessive"
    NOT_IDENTIFIED = "not-identified"
    DUTY_TO_KEEP = "duty-to-keep"
    LEGAL_CLAIMS = "legal-claims"
    OTHERS_RIGHTS = "others-rights"
    WITHDRAWN = "withdrawn"


TABLES = {
    "sales_line": "purchases",
    "customer": "customer records",
    "quarantine": "rows set aside",
    "consent": "answers",
}


def register(app: typer.Typer) -> None:
    """Hang these commands below ``requests``."""
    app.command(epilog="Example: coop-node requests erase --customer 4711 --identified 'photo id'")(
        erase
    )
    app.command("erase-again", epilog="Example: coop-node requests erase-again old-home/rights")(
        erase_again
    )
    app.command(epilog="Example: coop-node requests restrict --customer 4711")(restrict)
    app.command("object", epilog="Example: coop-node requests object --customer 4711")(object_to)
    app.command(epilog="Example: coop-node requests lift 3fa90c1e --reason 'came back and asked'")(
        lift
    )
    app.command(
        epilog="Example: coop-node requests refuse 3fa90c1e --ground excessive --reason 'each week'"
    )(refuse)


def erase(
    context: typer.Context,
    request: Request = "",
    customer: Customer = "",
    received: Received = None,
    identified: Identified = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Erase a customer everywhere on this node, and prove that nothing is left."""
    from node.rights.erase import erase as carried_out

    case = case_for(context)
    found = entered(case, Kind.ERASE, request, customer, received, identified)
    confirm("Erase this customer here? It cannot be undone.", yes)
    done = carried_out(case, case.home.vault, found, customer)
    document = {
        "before": dict(done.before),
        "searched": {"files": done.scanned.files, "bytes": done.scanned.bytes_read},
        "not_opened": [{"path": path, "why": why} for path, why in done.scanned.closed],
        "runs": list(done.runs),
        "models": [dict(one) for one in done.models],
        "office_told_of_runs": done.told,
        "requests_closed": done.closed,
        "cannot_reach": list(done.cannot),
    }

    def lines() -> list[str]:
        gone = [f"{done.before[name]} {words}" for name, words in TABLES.items()]
        out = [
            f"Erased: {', '.join(gone)}. {done.before['requests']} requests of this customer name "
            "nobody any more.",
            f"Nothing is left: {done.scanned.files} files "
            f"({done.scanned.bytes_read / 1e6:.0f} MB) and the opened vault were searched.",
        ]
        if done.closed:
            were = "request was" if done.closed == 1 else "requests were"
            out.append(f"{done.closed} other open {were} closed: there is nothing left to answer.")
        out += [f"Not opened: {path} ({why})." for path, why in done.scanned.closed]
        for one in done.models:
            out.append(
                f"Model {one['model'][:16]} was trained before. No clause prescribes what "
                f"becomes of it. Proposed: {one['proposal']}, because {one['why']}."
            )
        return [*out, "What this cannot reach:", *(f"  {one}" for one in done.cannot)]

    answer(
        document | ended(done.finished), as_json, lambda: lines() + evidence_lines(done.finished)
    )


def erase_again(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="Folder with evidence of erasures, if it is elsewhere.")
    ] = None,
    as_json: Json = False,
) -> None:
    """After an old copy came back: erase once more whoever was erased since it was made."""
    from node.rights.erase import erase_again as carried_out
    from node.rights.erase import marks_in

    case = case_for(context)
    if folder is not None and not folder.is_dir():
        raise InputError("this is no folder.", where=str(folder), code=Code.NOT_FOUND)
    done = carried_out(case, case.home.vault, marks_in(folder) if folder is not None else ())
    answer(
        {"known": done.known, "erased_again": done.found, "removed": dict(done.removed)},
        as_json,
        lambda: [
            f"{done.known} erasures are known; {done.found} of these customers were here again "
            "and are erased."
        ],
    )


def restrict(
    context: typer.Context,
    request: Request = "",
    customer: Customer = "",
    received: Received = None,
    identified: Identified = "",
    as_json: Json = False,
) -> None:
    """Keep a customer's data, and use it for nothing until the customer lifts that."""
    _no(context, Kind.RESTRICT, (request, customer, identified), received, as_json)


def object_to(
    context: typer.Context,
    request: Request = "",
    customer: Customer = "",
    received: Received = None,
    identified: Identified = "",
    as_json: Json = False,
) -> None:
    """Use a customer's data for no purpose any more. It counts at once and is not weighed."""
    _no(context, Kind.OBJECT, (request, customer, identified), received, as_json)


def _no(
    context: typer.Context,
    kind: Kind,
    who: tuple[str, str, str],
    received: datetime | None,
    as_json: bool,
) -> None:
    from node.rights.objection import say_no
    from node.store.requests import RequestKind

    case = case_for(context)
    request, customer, identified = who
    found = entered(case, kind, request, customer, received, identified)
    done = say_no(case, found, RequestKind(kind.value))
    answer(
        {"states": {name: one.value for name, one in done.states.items()}} | ended(done.finished),
        as_json,
        lambda: [
            "From now on no run reads this customer's purchases: "
            f"{', '.join(done.states) or 'no purpose'}.",
            "It ends only at the customer's own request: coop-node requests lift",
            *evidence_lines(done.finished),
        ],
    )


def lift(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="Why the customer wants it; it stays here.")],
    request: Request = "",
    customer: Customer = "",
    received: Received = None,
    identified: Identified = "",
    as_json: Json = False,
) -> None:
    """End a customer's objection or restriction, at the customer's own request."""
    from node.rights.objection import lift as carried_out

    case = case_for(context)
    found = entered(case, Kind.LIFT, request, customer, received, identified)
    done = carried_out(case, found, reason)
    answer(
        {"states": {name: one.value for name, one in done.states.items()}} | ended(done.finished),
        as_json,
        lambda: [
            *(f"{name}: {one.value}" for name, one in done.states.items()),
            "Where this says withdrawn the customer had said no yes before: import one to let "
            "them in.",
            *evidence_lines(done.finished),
        ],
    )


def refuse(
    context: typer.Context,
    request: Annotated[str, typer.Argument(help="First digits of the request.")],
    ground: Annotated[Ground, typer.Option(help="The ground in law.")],
    reason: Annotated[str, typer.Option(help="What the customer is told; it stays here.")],
    as_json: Json = False,
) -> None:
    """Refuse a request with its ground. Tell the customer why, and where to complain."""
    from node.rights.case import refuse as carried_out

    done = carried_out(case_for(context), request, ground.value, reason)
    answer(
        ended(done),
        as_json,
        lambda: [
            "Refused. Tell the customer the reason, and that they can complain to the authority "
            "and go to court (GDPR art. 12(4)).",
            *evidence_lines(done),
        ],
    )
