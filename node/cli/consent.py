"""``consent import | export | receipt | status | basis | withdraw | verify | prove``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli import rights
from node.cli.consent_proofs import opened, register
from node.cli.shell import DryRun, Json, Yes, answer, confirm, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.data.quality import QualityReport
    from node.policy.consents import ScopeStatus
    from node.store.notices import Notice

app = typer.Typer(
    no_args_is_help=True,
    help="What your customers said. Without a yes, nobody's purchases are read for a purpose.",
)
register(app)


class BasisName(StrEnum):
    """The legal bases, as written on the command line."""

    CONSENT = "consent"
    LEGITIMATE_INTEREST = "legitimate-interest"


class No(StrEnum):
    """The ways of saying no."""

    WITHDRAWN = "withdrawn"
    OBJECTED = "objected"
    RESTRICTED = "restricted"


@app.command("import", epilog="Example: coop-node consent import answers.csv --dry-run")
def import_answers(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(help="CSV with the columns customer,scope,state,at,source[,wording]."),
    ],
    timezone: Annotated[str, typer.Option(help="Your shop's, e.g. Europe/Berlin.")] = "UTC",
    wording: Annotated[
        Path | None, typer.Option(help="The text your customers saw; its hash is kept.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Enter what customers said: the newest answer of each counts.

    customer is the number as your till prints it, scope a purpose such as train:churn, state one
    of granted, withdrawn, objected, restricted. The number itself is not kept.
    """
    import hashlib

    from node import files

    home, desk = opened(context, "consent")
    seen = hashlib.sha256(files.read(wording)).hexdigest() if wording is not None else ""
    answers = desk.preview(file, timezone=timezone, wording=seen)
    counts = answers.counts()
    if not as_json:
        say(f"{answers.name}: {len(answers.rows)} answers.")
        for (scope, what), number in sorted(counts.items()):
            say(f"  {scope}: {number} {what}")
    document: dict[str, Any] = {
        "file": answers.sha256,
        "answers": [
            {"scope": scope, "state": what, "count": number}
            for (scope, what), number in sorted(counts.items())
        ],
    }
    if dry_run:
        answer({"dry_run": True, **document}, as_json, lambda: ["Dry run: nothing was entered."])
        return
    confirm("Enter these answers?", yes)
    added = desk.record(answers)
    rights.keep_erased_out(home)
    answer(
        {"added": added, **document},
        as_json,
        lambda: [
            f"{added} answers entered, {len(answers.rows) - added} were here already.",
            "Next: coop-node consent status",
        ],
    )


@app.command(epilog="Example: coop-node consent status --json")
def status(context: typer.Context, as_json: Json = False) -> None:
    """How many customers said what, and whose purchases a run would read."""
    from node.data.line_quality import owner_report
    from node.data.stages import Basis
    from node.store.notices import Notices

    home, desk = opened(context)
    with desk.database.read() as connection:
        notices = {text.sha256: text for text in Notices(connection).list()}
    vault, whole, scopes = home.vault(), desk.is_whole(), desk.status()
    about_customers = {one.scope for one in scopes if one.basis.basis != Basis.NONE and whole}
    seen = {
        scope: owner_report(vault, desk.standing(scope, home.clock()))
        for scope in sorted(about_customers)
    }
    document = {
        "complete": whole,
        "scopes": [
            {
                "scope": one.scope,
                "basis": one.basis.basis,
                "assessment": one.basis.assessment,
                "history": [asdict(legal) for legal in one.history],
                "counts": {str(what): number for what, number in one.counts.items()},
                "grants_without_wording": one.without_wording,
                "texts": _texts(one, notices),
                **_seen(seen.get(one.scope)),
            }
            for one in scopes
        ],
    }

    def lines() -> list[str]:
        out = [] if scopes else ["No installed workload reads customers' purchases."]
        for one in scopes:
            out += _in_words(one, seen.get(one.scope))
        if not whole:
            out.append(
                "This node came back from a backup: import the answers as your till knows them "
                "now. Until then nobody's purchases are read."
            )
        return out

    answer(document, as_json, lines)


def _texts(one: ScopeStatus, notices: Mapping[str, Notice]) -> list[dict[str, Any]]:
    """Which texts customers saw when they said yes, and whether `notice` knows them."""
    return [
        {
            "sha256": wording,
            "grants": count,
            "known": wording in notices,
            "locale": notices[wording].locale if wording in notices else None,
        }
        for wording, count in one.wordings.items()
        if wording
    ]


def _seen(seen: tuple[QualityReport, int] | None) -> dict[str, Any]:
    """What a run would read for one purpose; nothing where it reads no customer's lines."""
    if seen is None:
        return {"customers_read": 0, "health": None, "findings": []}
    report, customers = seen
    findings = [asdict(finding) for finding in report.findings]
    return {"customers_read": customers, "health": report.score, "findings": findings}


def _in_words(one: ScopeStatus, seen: tuple[QualityReport, int] | None) -> list[str]:
    if one.basis.basis == "no-customers":
        said_no = sum(number for what, number in one.counts.items() if what != "granted")
        return [
            f"{one.scope}: sums over all your sales, nothing about a customer; what the {said_no} "
            "customers bought who said no is left out."
        ]
    basis = (
        f"a legitimate interest (assessment {one.basis.assessment})"
        if one.basis.assessment
        else "consent"
    )
    read = seen[1] if seen is not None else 0
    out = [f"{one.scope}: on the basis of {basis}, the purchases of {read} customers are read."]
    out += _decided(one)
    rows = [[str(what), str(number)] for what, number in sorted(one.counts.items())]
    out += table(
        rows,
        ["answer", "customers"],
        "Nobody has said anything yet: coop-node consent import FILE.csv",
    )
    if one.without_wording:
        out.append(
            f"{one.without_wording} answers do not say which text the customer saw; import the "
            "next ones with --wording TEXTFILE."
        )
    if seen is not None:
        out.append(f"Health: {seen[0].score} of 100")
        out += [f"  {finding.sentence} {finding.fix}" for finding in seen[0].findings]
    return out


def _decided(one: ScopeStatus) -> list[str]:
    """The legal bases that were decided, with their days, oldest first."""
    said = [
        f"{legal.basis} on {legal.at:%Y-%m-%d}"
        + (f" ({legal.assessment})" if legal.assessment else "")
        for legal in one.history
        if legal.at is not None
    ]
    return [f"  Legal basis decided: {', then '.join(said)}"] if said else []


@app.command(
    epilog="Example: coop-node consent basis train:churn legitimate-interest --assessment LIA-7"
)
def basis(
    context: typer.Context,
    purpose: Annotated[str, typer.Argument(help="For example train:churn.")],
    why: Annotated[BasisName, typer.Argument(help="consent or legitimate-interest.")],
    assessment: Annotated[
        str, typer.Option(help="Reference of your legitimate-interest assessment.")
    ] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Say why purchases may be read for a purpose. Consent, unless you say otherwise.

    With consent only customers who said yes are read. With a legitimate interest everybody is
    read who did not object; it needs a written assessment. Ask somebody who knows the law.
    """
    from node.data.stages import Basis

    _home, desk = opened(context, "consent")
    if why is BasisName.LEGITIMATE_INTEREST:
        confirm(
            f"Read the purchases of every customer who did not object, for {purpose}?",
            yes,
        )
    desk.set_basis(purpose, Basis(why.value), assessment)
    answer(
        {"scope": purpose, "basis": why.value, "assessment": assessment},
        as_json,
        lambda: [f"{purpose}: {why.value}, from the next run on."],
    )


@app.command(epilog="Example: coop-node consent withdraw 4711 train:churn")
def withdraw(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="The customer's number as your till prints it.")],
    scope: Annotated[str, typer.Argument(help="The purpose, for example train:churn.")],
    what: Annotated[
        No, typer.Option("--as", help="withdrawn, objected or restricted.")
    ] = No.WITHDRAWN,
    as_json: Json = False,
) -> None:
    """Take one customer out of a purpose: counts before the next run reads its first row."""
    from node.store.consents import State

    _home, desk = opened(context, "consent")
    known = desk.forbid(customer, scope, State(what.value))
    answer(
        {"scope": scope, "state": what.value, "known_before": known},
        as_json,
        lambda: [
            f"{what.value.capitalize()}: this customer's purchases are not read for {scope} any "
            "more."
            if known
            else f"{what.value.capitalize()}: this customer had said nothing about {scope} before; "
            "check the number if you expected otherwise."
        ],
    )
