"""``requests access | export | rectify``; and what other commands say about customers' rights."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli import erasing
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
from node.cli.shell import Json, Yes, answer, confirm, note
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from node.house import Home
    from node.store.database import Database
    from protocols.documents.given import Shop


def register(app: typer.Typer) -> None:
    """Hang these commands below ``requests``."""
    app.command(
        epilog="Example: coop-node requests access --customer 4711 --identified 'photo id'"
    )(access)
    app.command(epilog="Example: coop-node requests export 3fa90c1e --out for-the-customer.zip")(
        export
    )
    app.command(epilog="Example: coop-node requests rectify 3fa90c1e --line 9c2f --set net=12.50")(
        rectify
    )
    erasing.register(app)


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

    case = case_for(context)
    found = entered(case, Kind.ACCESS, request, customer, received, identified)
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
        | ended(done.finished),
        as_json,
        lambda: [
            f"{path}: {len(done.names)} files with {done.rows} rows. Begin with answer.html.",
            *(f"Missing in it: {gap}" for gap in done.gaps),
            WARNING,
            *evidence_lines(done.finished),
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

    case = case_for(context)
    found = entered(case, Kind.EXPORT, request, customer, received, identified)
    path = out or Path(f"answer-{found}.zip")
    done = hand_over.export(case, case.home.vault(), found, path)
    answer(
        {"file": str(path), "files": list(done.names)} | ended(done.finished),
        as_json,
        lambda: [
            f"{path}: {len(done.names)} files with {done.rows} rows.",
            WARNING,
            *evidence_lines(done.finished),
        ],
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

    case = case_for(context)
    vault = case.home.vault()
    found = entered(case, Kind.RECTIFY, request, customer, received, identified)
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
        {"lines": done.lines, "records": done.records} | ended(done.finished),
        as_json,
        lambda: [
            f"Corrected: {done.lines} purchases, {done.records} customer records. The next run "
            "reads them so, and the same export does not undo it.",
            *evidence_lines(done.finished),
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
