"""``requests access | export | rectify | erase | restrict | object | lift | refuse``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_home
from node.cli.shell import Json, Yes, answer, confirm, note
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from node.house import Home
    from node.rights.case import Case, Finished
    from node.store.database import Database
    from node.store.requests import RequestKind
    from protocols.documents.given import Shop


class Kind(StrEnum):
    """What a customer may ask for, as written on the command line."""

    ACCESS = "access"
    EXPORT = "export"
    RECTIFY = "rectify"
    ERASE = "erase"
    RESTRICT = "restrict"
    OBJECT = "object"
    LIFT = "lift"


class Ground(StrEnum):
    """On what ground a request is refused, as written on the command line."""

    UNFOUNDED = "unfounded"
    EXCESSIVE = "excessive"
    NOT_IDENTIFIED = "not-identified"
    DUTY_TO_KEEP = "duty-to-keep"
    LEGAL_CLAIMS = "legal-claims"
    OTHERS_RIGHTS = "others-rights"
    WITHDRAWN = "withdrawn"


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


def register(app: typer.Typer) -> None:
    """Hang these commands below ``requests``."""
    app.command(
        epilog="Example: coop-node requests refuse 3fa90c1e --ground excessive --reason 'each week'"
    )(refuse)
    app.command(
        epilog="Example: coop-node requests access --customer 4711 --identified 'photo id'"
    )(access)
    app.command(epilog="Example: coop-node requests export 3fa90c1e --out for-the-customer.zip")(
        export
    )
    app.command(epilog="Example: coop-node requests erase --customer 4711 --identified 'photo id'")(
        erase
    )
    app.command(epilog="Example: coop-node requests rectify 3fa90c1e --line 9c2f --set net=12.50")(
        rectify
    )
    app.command("erase-again", epilog="Example: coop-node requests erase-again old-home/rights")(
        erase_again
    )
    app.command(epilog="Example: coop-node requests restrict --customer 4711")(restrict)
    app.command("object", epilog="Example: coop-node requests object --customer 4711")(object_to)
    app.command(epilog="Example: coop-node requests lift 3fa90c1e --reason 'came back and asked'")(
        lift
    )


def _case_of(home: Home) -> Case:
    from node.rights.case import open_case

    return open_case(home, home.database())


def _case(context: typer.Context) -> Case:
    return _case_of(acting_home(context, "answer"))


def _entered(
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
    if identified and customer and customer.strip() in identified:
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
    from datetime import UTC

    return day.replace(tzinfo=UTC) if day is not None else None


def refuse(
    context: typer.Context,
    request: Annotated[str, typer.Argument(help="First digits of the request.")],
    ground: Annotated[Ground, typer.Option(help="The ground in law.")],
    reason: Annotated[str, typer.Option(help="What the customer is told; it stays here.")],
    as_json: Json = False,
) -> None:
    """Refuse a request with its ground. Tell the customer why, and where to complain."""
    from node.rights.case import refuse as carried_out

    done = carried_out(_case(context), request, ground.value, reason)
    answer(
        _ended(done),
        as_json,
        lambda: [
            "Refused. Tell the customer the reason, and that they can complain to the authority "
            "and go to court (GDPR art. 12(4)).",
            *_evidence_lines(done),
        ],
    )


# ------------------------------------------------------------------------------- carrying out


def access(
    context: typer.Context,
    request: Request = "",
    customer: Customer = "",
    received: Received = None,
    identified: Identified = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder to make; else answer-REQUEST here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer "what do you have about me?": a folder with a page and tables to hand over."""
    from node.rights import hand_over
    from node.rights.handout import WARNING

    case = _case(context)
    found = _entered(case, Kind.ACCESS, request, customer, received, identified)
    path = out or Path(f"answer-{found}")
    done = hand_over.access(
        case,
        case.home.vault(),
        found,
        path,
        shop=_shop(case.home),
        scores=hand_over.scores_of(case),
    )
    answer(
        {"folder": str(path), "files": list(done.names), "missing": list(done.gaps)}
        | _ended(done.finished),
        as_json,
        lambda: [
            f"{path}: {len(done.names)} files with {done.rows} rows. Begin with answer.html.",
            *(f"Missing in it: {gap}" for gap in done.gaps),
            WARNING,
            *_evidence_lines(done.finished),
        ],
    )


def export(
    context: typer.Context,
    request: Request = "",
    customer: Customer = "",
    received: Received = None,
    identified: Identified = "",
    out: Annotated[
        Path | None, typer.Option(help="Zip file to write; else answer-REQUEST.zip here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a customer's data as a zip file (JSON and CSV) that another shop can read."""
    from node.rights import hand_over
    from node.rights.handout import WARNING

    case = _case(context)
    found = _entered(case, Kind.EXPORT, request, customer, received, identified)
    path = out or Path(f"answer-{found}.zip")
    done = hand_over.export(case, case.home.vault(), found, path)
    answer(
        {"file": str(path), "files": list(done.names)} | _ended(done.finished),
        as_json,
        lambda: [
            f"{path}: {len(done.names)} files with {done.rows} rows.",
            WARNING,
            *_evidence_lines(done.finished),
        ],
    )


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

    case = _case(context)
    found = _entered(case, Kind.ERASE, request, customer, received, identified)
    confirm("Erase this customer here? It cannot be undone.", yes)
    done = carried_out(case, case.home.vault, found, customer)
    document = {
        "before": dict(done.before),
        "searched": {"files": done.scanned.files, "bytes": done.scanned.bytes_read},
        "not_opened": [{"path": path, "why": why} for path, why in done.scanned.closed],
        "runs": list(done.runs),
        "models": [dict(one) for one in done.models],
        "office_told_of_runs": done.told,
        "cannot_reach": list(done.cannot),
    }

    def lines() -> list[str]:
        gone = ", ".join(f"{count} {name}" for name, count in done.before.items() if count)
        out = [
            f"Erased: {gone or 'there was nothing'}.",
            f"Nothing is left: {done.scanned.files} files "
            f"({done.scanned.bytes_read / 1e6:.0f} MB) and the opened vault were searched.",
        ]
        out += [f"Not opened: {path} ({why})." for path, why in done.scanned.closed]
        for one in done.models:
            out.append(
                f"Model {one['model'][:16]} was trained before. No clause prescribes what "
                f"becomes of it. Proposed: {one['proposal']}, because {one['why']}."
            )
        return [*out, "What this cannot reach:", *(f"  {one}" for one in done.cannot)]

    answer(
        document | _ended(done.finished), as_json, lambda: lines() + _evidence_lines(done.finished)
    )


def rectify(
    context: typer.Context,
    request: Request = "",
    customer: Customer = "",
    received: Received = None,
    identified: Identified = "",
    line: Annotated[
        str, typer.Option(help="First digits of the purchase that is to be corrected.")
    ] = "",
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="COLUMN=VALUE of that purchase; without one of the customer."),
    ] = None,
    not_mine: Annotated[
        list[str] | None,
        typer.Option(help="First digits of a purchase of somebody else; repeatable."),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put wrong data right. Without --set or --not-mine it shows the customer's purchases."""
    from node.cli.shell import table
    from node.rights import rectify as right

    case = _case(context)
    vault = case.home.vault()
    found = _entered(case, Kind.RECTIFY, request, customer, received, identified)
    if not (values or not_mine):
        listed = right.lines_of(case, vault, found)
        names = ["line", *right.headers()]
        answer(
            {"request": found, "lines": [{"line": o.id, "cells": list(o.cells)} for o in listed]},
            as_json,
            lambda: [
                *table([[o.id, *o.cells] for o in listed], names, "No purchase is here."),
                f"Next: coop-node requests rectify {found} --line LINE --set net=12.50",
            ],
        )
        return
    given = _pairs(values or [])
    wanted = right.Wanted({line: given} if line else {}, not_mine or (), {} if line else given)
    confirm("Correct this? What it said before is not kept.", yes)
    done = right.rectify(case, vault, found, wanted)
    answer(
        {"lines": done.lines, "records": done.records} | _ended(done.finished),
        as_json,
        lambda: [
            f"Corrected: {done.lines} purchases, {done.records} customer records. The next run "
            "reads them so, and the same export does not undo it.",
            *_evidence_lines(done.finished),
        ],
    )


def _pairs(values: list[str]) -> dict[str, str]:
    found = {}
    for one in values:
        name, equals, text = one.partition("=")
        if not equals:
            raise InputError("expected COLUMN=VALUE.", where="--set", code=Code.USAGE)
        found[name.strip()] = text
    return found


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

    case = _case(context)
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

    case = _case(context)
    request, customer, identified = who
    found = _entered(case, kind, request, customer, received, identified)
    done = say_no(case, found, RequestKind(kind.value))
    answer(
        {"states": {name: one.value for name, one in done.states.items()}} | _ended(done.finished),
        as_json,
        lambda: [
            "From now on no run reads this customer's purchases: "
            f"{', '.join(done.states) or 'no purpose'}.",
            "It ends only at the customer's own request: coop-node requests lift",
            *_evidence_lines(done.finished),
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

    case = _case(context)
    found = _entered(case, Kind.LIFT, request, customer, received, identified)
    done = carried_out(case, found, reason)
    answer(
        {"states": {name: one.value for name, one in done.states.items()}} | _ended(done.finished),
        as_json,
        lambda: [
            *(f"{name}: {one.value}" for name, one in done.states.items()),
            "Where this says withdrawn the customer had said no yes before: import one to let "
            "them in.",
            *_evidence_lines(done.finished),
        ],
    )


def remind(home: Home, database: Database) -> None:
    """Say which requests are late or due soon."""
    from node.policy.subjects import reminders
    from node.rights.case import open_case

    for line in reminders(open_case(home, database).subjects.list(only_open=True)):
        note(line)


def keep_erased_out(home: Home) -> None:
    """After an import: whoever was erased and came back with an old copy goes again."""
    from node.rights.erase import keep_out

    found = keep_out(home)
    if found:
        note(f"{found} customers who were erased before were in it, and are erased again.")


def after_restore(folder: Path, evidence: Path | None, made_at: datetime) -> list[str]:
    """Erase again whom a backup brought back; what is to be said about it."""
    from node.house import open_home
    from node.rights.case import open_case
    from node.rights.erase import erase_again, marks_in

    if evidence is None:
        return [
            f"If customers were erased after {made_at:%Y-%m-%d}, erase them again: "
            "coop-node requests erase-again FOLDER (with their evidence files)."
        ]
    home = open_home(folder)
    database = home.database()
    try:
        done = erase_again(open_case(home, database), home.vault, marks_in(evidence))
    finally:
        database.close()
    return [
        f"{done.known} erasures are known; {done.found} of these customers were in the backup "
        "and are erased again."
    ]


def _shop(home: Home) -> Shop:
    """The shop in its owner's words."""
    from node.documents import shop

    return shop.load(home.folder)


def _evidence_lines(done: Finished) -> list[str]:
    return [
        f"Evidence: {done.file}",
        "It names nobody; check it with: coop-node verify FILE. Keep a copy elsewhere.",
    ]


def _ended(done: Finished) -> dict[str, Any]:
    return {
        "request": done.request,
        "outcome": done.outcome.value,
        "evidence": done.evidence,
        "evidence_file": str(done.file),
    }
