"""``consent export | receipt | verify | prove``: what goes out of the ledger, and what it shows."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.acting import acting_home
from node.cli.shell import Json, answer, state
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.house import Home
    from node.policy.consent_records import Controller
    from node.policy.consents import ConsentDesk
    from node.policy.run_books import ProvenReading


def register(app: typer.Typer) -> None:
    """Hang these commands beside the others of ``consent``."""
    app.command(epilog="Example: coop-node consent export ledger.csv")(export)
    app.command(epilog="Example: coop-node consent receipt 4711 receipt.json")(receipt)
    app.command(epilog="Example: coop-node consent verify")(verify)
    example = "Example: coop-node consent prove 3f9a --customer 4711 --out proof.json"
    app.command(epilog=example)(prove)


class Form(StrEnum):
    """The forms of an export."""

    CSV = "csv"
    ISO_27560 = "iso27560"


def opened(context: typer.Context, action: str = "") -> tuple[Home, ConsentDesk]:
    """The ledger's door; for a person whose role may do this, where something is changed."""
    from node.house import open_home

    home = acting_home(context, action) if action else open_home(state(context).home)
    return home, home.consents(home.database())


def require_new(file: Path) -> None:
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

    home, desk = opened(context, "export")
    require_new(file)
    if form is Form.CSV:
        lines = list(desk.export())
        count, said = len(lines) - 1, f"answers are in {file}; 'consent import' reads it again."
    else:
        lines = list(desk.records(_controller(home)).export(home.clock()))
        count, said = len(lines) - 2, f"consent records are in {file}."
    files.write(file, "".join(f"{line}\n" for line in lines).encode())
    answer({"file": str(file), "answers": count}, as_json, lambda: [f"{count} {said}"])


def receipt(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="The customer's number as your till prints it.")],
    file: Annotated[Path, typer.Argument(help="The JSON file to write; must not exist.")],
    as_json: Json = False,
) -> None:
    """Write what one customer has said, purpose by purpose, for that customer to keep."""
    import json

    from node import files

    home, desk = opened(context, "answer")
    require_new(file)
    made = desk.records(_controller(home)).receipt(_key(home, customer), home.clock())
    files.write(file, json.dumps(made, indent=1, sort_keys=True).encode())
    answer(
        {"file": str(file), "purposes": len(made["records"]), "receipt": made["receipt_id"]},
        as_json,
        lambda: [f"What this customer said about {len(made['records'])} purposes is in {file}."],
    )


def verify(context: typer.Context, as_json: Json = False) -> None:
    """Hold what counts now for each customer against every answer of the ledger."""
    _home, desk = opened(context)
    events = desk.verify()
    answer(
        {"answers": events, "agree": True},
        as_json,
        lambda: [f"{events} answers; what counts now follows from them."],
    )


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
    home, _ = opened(context)
    readings = home.run_books(home.database()).prove(run, home.log)
    if out is not None:
        require_new(out)
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
