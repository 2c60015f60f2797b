"""``agreement export | import``: to and from ODRL, for other people's tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.shell import Json, answer, state
from protocols.errors import Code, InputError, LocalError

if TYPE_CHECKING:
    from coordinator.wiring import House
    from protocols.agreement.odrl import Standing
    from protocols.agreement.parse import ParsedAgreement

Shapes = Annotated[
    bool, typer.Option("--shapes", help="Check the SHACL shapes too; needs the extra 'exchange'.")
]


def register(app: typer.Typer) -> None:
    """Hang these commands beside the other commands about agreements."""
    app.command("export", epilog="Example: coop-coordinator agreement export --odrl terms.jsonld")(
        export
    )
    app.command(
        "import", epilog="Example: coop-coordinator agreement import terms.jsonld draft.json"
    )(import_file)


def export(
    context: typer.Context,
    odrl: Annotated[Path, typer.Option(help="The JSON-LD file to write; must not exist.")],
    which: Annotated[
        str, typer.Argument(help="First digits of its id; the one in force if left out.")
    ] = "",
    parties: Annotated[
        bool, typer.Option("--parties", help="With the members by name, from the signed roster.")
    ] = False,
    shapes: Shapes = False,
    as_json: Json = False,
) -> None:
    """Write an agreement as ODRL and DPV (JSON-LD), so that other tools can read it."""
    from coordinator.files import write
    from coordinator.wiring import open_house
    from protocols.agreement.odrl import odrl_bytes, to_odrl
    from protocols.agreement.roster import read_roster
    from protocols.signing import jws_payload

    house = open_house(state(context).home)
    parsed = _chosen(house, which)
    roster = None
    if parties:
        roster = read_roster(jws_payload(house.agreements.in_force()[1], "roster"), "roster")
    raw = odrl_bytes(to_odrl(parsed, roster, _standing(house, parsed)))
    lines = [f"{odrl}: version {parsed.agreement.version}, {parsed.id}"]
    if shapes:
        from coordinator.exchange import check_shapes

        lines += check_shapes(raw, str(odrl))
    if odrl.exists():
        raise InputError("this file exists already.", where=str(odrl), fix="Name another file.")
    write(odrl, raw, 0o644)
    answer({"file": str(odrl), "agreement": parsed.id, "checks": lines}, as_json, lambda: lines)


def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The JSON-LD file.")],
    draft: Annotated[Path, typer.Argument(help="The draft to write (JSON); must not exist.")],
    shapes: Shapes = False,
    as_json: Json = False,
) -> None:
    """Read an exported agreement back; refuses a file whose parts contradict each other."""
    from coordinator.files import read, write
    from protocols.agreement.odrl import from_odrl
    from protocols.canonical import MAX_DOCUMENT_BYTES, json_bytes

    raw = read(file, MAX_DOCUMENT_BYTES)
    parsed = from_odrl(raw, str(file)).agreement
    lines = [f"{draft}: version {parsed.agreement.version}, {parsed.id}"]
    if shapes:
        from coordinator.exchange import check_shapes

        lines += check_shapes(raw, str(file))
    if draft.exists():
        raise InputError("this file exists already.", where=str(draft), fix="Name another file.")
    write(draft, json_bytes(parsed.document), 0o644)
    answer({"file": str(draft), "agreement": parsed.id, "checks": lines}, as_json, lambda: lines)


def _chosen(house: House, which: str) -> ParsedAgreement:
    from coordinator.store.documents import Documents
    from protocols.agreement.parse import parse_agreement

    if not which:
        parsed = house.agreement()
        if parsed is None:
            raise LocalError(
                "no agreement is in force yet.",
                code=Code.NOT_FOUND,
                fix="Name one by its first digits: agreement status.",
            )
        return parsed
    with house.database.read() as db:
        found = Documents(db).starting(which, "agreement")
    if len(found) != 1:
        raise InputError(f"{len(found)} agreements begin with {which!r}.", where="which")
    return parse_agreement(found[0].body, found[0].id[:16])


def _standing(house: House, parsed: ParsedAgreement) -> Standing:
    """Where the version stands, from the signatures that the office holds."""
    from protocols.agreement.negotiation import negotiation
    from protocols.agreement.odrl import Standing as Named
    from protocols.agreement.status import Standing as Counted
    from protocols.agreement.status import status

    known = {one.id: one for one in house.agreements.standings()}.get(parsed.id)
    current = house.agreement()
    counted = Counted(
        proposed=known is not None,
        signers=frozenset(known.signed) if known else frozenset(),
        members=frozenset((*known.signed, *known.missing)) if known else frozenset(),
        successor_in_force=current is not None
        and current.agreement.version > parsed.agreement.version,
    )
    found = status(parsed.terms, counted, house.clock())
    return Named(found.state, negotiation(found, verified=True))
