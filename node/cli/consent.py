"""``consent import | export | receipt | status | basis | withdraw | verify | prove``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli import rights
from node.cli.acting import acting_home
from node.cli.shell import DryRun, Json, Yes, answer, confirm, say, state, table
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.data.quality import QualityReport
    from node.house import Home
    from node.policy.consent_records import Controller
    from node.policy.consents import ConsentDesk, ScopeStatus
    from node.policy.run_books import ProvenReading
    from node.store.notices import Notice

app = typer.Typer(
    no_args_is_help=True,
    help="What your customers said. Without a yes, nobody's purchases are read for a purpose.",
)


class BasisName(StrEnum):
    """The legal bases, as written on the command line."""

    CONSENT = "consent"
    LEGITIMATE_INTEREST = "legitimate-interest"


class No(StrEnum):
    """The ways of saying no."""

    WITHDRAWN = "withdrawn"
    OBJECTED = "objected"
    RESTRICTED = "restricted"


class Form(StrEnum):
    """The forms of an export."""

    CSV = "csv"
    ISO_27560 = "iso27560"


def _require_new(file: Path) -> None:
    if file.exists():
        raise InputError("this file exists already.", where=str(file), fix="Choose another name.")


def _key(home: Home, customer: str) -> str:
    from node.data.values import customer_key

    key = customer_key(home.keys.customer_secret, customer)
    if key is None:
        raise InputError("the customer is empty.", where="customer", code=Code.USAGE)
    return key


def _controller(home: Home) -> Controller:
    """This member as records name it; its cooperative too, once it has joined one."""
    from node import membership
    from node.policy.consent_records import Controller

    joined = membership.is_enrolled(home.folder)
    coop = membership.load(home.folder).public.name if joined else ""
    return Controller("", home.keys.member, coop)


def _desk(context: typer.Context, action: str = "") -> tuple[Home, ConsentDesk]:
    """The ledger's door; for a person whose role may do this, where something is changed."""
    from node.house import open_home

    home = acting_home(context, action) if action else open_home(state(context).home)
    return home, home.consents(home.database())


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

    home, desk = _desk(context, "consent")
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


@app.command(epilog="Example: coop-node consent export ledger.csv")
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write; must not exist.")],
    form: Annotated[
        Form, typer.Option("--format", help="csv, or iso27560: consent records as JSON.")
    ] = Form.CSV,
    as_json: Json = False,
) -> None:
    """Write every answer into a file, oldest first. Customers stand under their keyed hash.

    A CSV can be imported again. Consent records in the shape of ISO/IEC TS 27560 say for each
    customer and purpose which text was shown, every event, the legal basis and the controller.
    """
    from node import files

    home, desk = _desk(context, "export")
    _require_new(file)
    if form is Form.CSV:
        lines = list(desk.export())
        count, said = len(lines) - 1, f"answers are in {file}; 'consent import' reads it again."
    else:
        lines = list(desk.records(_controller(home)).export(home.clock()))
        count, said = len(lines) - 2, f"consent records are in {file}."
    files.write(file, "".join(f"{line}\n" for line in lines).encode())
    answer({"file": str(file), "answers": count}, as_json, lambda: [f"{count} {said}"])


@app.command(epilog="Example: coop-node consent receipt 4711 receipt.json")
def receipt(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="The customer's number as your till prints it.")],
    file: Annotated[Path, typer.Argument(help="The JSON file to write; must not exist.")],
    as_json: Json = False,
) -> None:
    """Write what one customer has said, purpose by purpose, for that customer to keep."""
    import json

    from node import files

    home, desk = _desk(context, "answer")
    _require_new(file)
    made = desk.records(_controller(home)).receipt(_key(home, customer), home.clock())
    files.write(file, json.dumps(made, indent=1, sort_keys=True).encode())
    answer(
        {"file": str(file), "purposes": len(made["records"]), "receipt": made["receipt_id"]},
        as_json,
        lambda: [f"What this customer said about {len(made['records'])} purposes is in {file}."],
    )


@app.command(epilog="Example: coop-node consent verify")
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Hold what counts now for each customer against every answer of the ledger."""
    _home, desk = _desk(context)
    events = desk.verify()
    answer(
        {"answers": events, "agree": True},
        as_json,
        lambda: [f"{events} answers; what counts now follows from them."],
    )


@app.command(epilog="Example: coop-node consent prove 3f9a --customer 4711 --out proof.json")
def prove(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run, or its first digits.")],
    customer: Annotated[
        str, typer.Option(help="A customer's number: was it in the run, and did it stand?")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="With --customer: the proof as a file for others.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show that every line a run read was of a customer who stood in its purpose.

    Works out again, from the ledger and from what was kept of the run, who stood and which lines
    were read, and finds both roots in this node's log. A proof about one customer is a file that
    anybody can check with SHA-256 alone (protocols/audit/SPEC.md, section 9).
    """
    import json

    from node import files

    if bool(customer) != (out is not None):
        raise InputError("--customer and --out belong together.", code=Code.USAGE)
    home, _ = _desk(context)
    readings = home.run_books(home.database()).prove(run, home.log)
    if out is not None:
        _require_new(out)
        key = _key(home, customer)
        proofs = [one.customer(key) for one in readings]
        files.write(out, json.dumps({"proofs": proofs}, indent=1, sort_keys=True).encode())
    document = {
        "run": readings[0].snapshot.run,
        "readings": [
            {
                "reading": one.snapshot.reading,
                "from_round": one.snapshot.round,
                "scope": one.snapshot.scope,
                "basis": one.snapshot.basis,
                "position": one.snapshot.position,
                "at": one.snapshot.at,
                "standing": one.snapshot.standing,
                "standing_root": one.snapshot.standing_root,
                "customers": one.snapshot.customers,
                "lines": one.snapshot.lines,
                "root": one.snapshot.root,
                "log_entry": one.entry.seq,
            }
            for one in readings
        ],
        "file": str(out) if out is not None else None,
    }
    answer(document, as_json, lambda: _proven_lines(readings, out))


def _proven_lines(readings: Sequence[ProvenReading], out: Path | None) -> list[str]:
    lines = [f"Run {readings[0].snapshot.run}: proven."]
    for one in readings:
        seen = one.snapshot
        since = f"from round {seen.round}" if seen.round else "before the first round"
        read = (
            f"{seen.lines} lines of {seen.customers} customers, all of whom stood in {seen.scope}"
            if one.book is not None
            else f"weekly sums over {seen.lines} lines, without the {seen.standing} customers "
            f"who said no to {seen.scope}"
        )
        lines.append(f"  {since}: {read} (position {seen.position}, log entry {one.entry.seq})")
    if out is not None:
        lines.append(f"The proof about this customer is in {out}.")
    return lines


@app.command(epilog="Example: coop-node consent status --json")
def status(context: typer.Context, as_json: Json = False) -> None:
    """How many customers said what, and whose purchases a run would read."""
    from node.data.line_quality import owner_report
    from node.data.stages import Basis
    from node.store.notices import Notices

    home, desk = _desk(context)
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

    _home, desk = _desk(context, "consent")
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

    _home, desk = _desk(context, "consent")
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
