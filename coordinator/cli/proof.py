"""``verify`` and ``evidence``: what can be shown to others, and checking what others show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.shell import Json, answer, say, state
from protocols.errors import Code, InputError, LocalError

if TYPE_CHECKING:
    from coordinator.wiring import House
    from protocols.evidence import Pins

KEY_DIGITS = 64
FORK_FIX = "Everything else in it is good. Show it to the other members and talk to the operator."


def register(app: typer.Typer) -> None:
    """Hang these commands at the top of the tree."""
    app.command(epilog="Example: coop-coordinator verify --release 3fa9")(verify)
    app.command(epilog="Example: coop-coordinator evidence --out evidence.zip")(evidence)


def verify(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(help="An evidence pack, a log folder or a release folder; else your own."),
    ] = None,
    release: Annotated[str, typer.Option(help="First digits of a release to check as well.")] = "",
    key: Annotated[
        str, typer.Option(help="Public key (64 hex digits) of a log that is not your own.")
    ] = "",
    agreement: Annotated[
        str, typer.Option(help="Id of the agreement that you know, to compare (64 digits).")
    ] = "",
    as_json: Json = False,
) -> None:
    """Check a log, a release or an evidence pack from files alone; nothing is asked of anybody."""
    if path is None:
        lines: Sequence[str] = _own(state(context).home, release)
    elif path.is_file():
        lines = _pack(path, agreement)
    else:
        lines = _folder(state(context).home, path, key)
    answer({"checks": lines}, as_json, lambda: [f"ok  {line}" for line in lines])


def evidence(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The zip file to write; must not exist.")],
    run: Annotated[str, typer.Option(help="Only one run: its first digits.")] = "",
    release: Annotated[str, typer.Option(help="Only one release: its first digits.")] = "",
    as_json: Json = False,
) -> None:
    """Pack what was agreed and done into one file that strangers can check."""
    from importlib.metadata import version

    from coordinator.evidence import evidence as gathered
    from coordinator.files import write
    from coordinator.wiring import open_house
    from protocols.pack.check import verify_pack

    if out.exists():
        raise InputError("this file exists already.", where=str(out), fix="Name another file.")
    if run and release:
        raise InputError("name a run or a release, not both.", where="--run", code=Code.USAGE)
    raw = gathered(open_house(state(context).home), run=run, release=release)
    report = verify_pack(raw, str(out), software=version("datacoop"))  # as whoever gets it will
    write(out, raw, 0o644)
    answer(
        {"file": str(out), "bytes": len(raw), "checks": list(report.lines())},
        as_json,
        lambda: [f"{out}: {len(raw)} bytes", *[f"ok  {line}" for line in report.lines()]],
    )


def _own(home: Path | None, release: str) -> list[str]:
    """The office's own log, and one of its releases."""
    from coordinator.log.append import verify_log
    from coordinator.release.models import verify_release_dir
    from coordinator.wiring import open_house

    house = open_house(home)
    lines = list(verify_log(house.home / "audit", house.key.public))
    if release:
        folders = [one for one in house.releases.glob("*") if one.name.startswith(release)]
        if len(folders) != 1:
            raise InputError(f"{len(folders)} releases begin with {release!r}.", where="--release")
        lines += verify_release_dir(folders[0], _pins(house, folders[0]))
    return lines


def _pins(house: House, folder: Path) -> Pins:
    """What the office knows for itself: the agreement of the release, and every epoch."""
    from coordinator.release.models import load_release
    from coordinator.store.documents import Documents
    from protocols import bundle
    from protocols.canonical import json_id, parse_json
    from protocols.evidence import Pins as Pinned
    from protocols.ids import AgreementId, RosterId
    from protocols.signing import jws_payload

    card = parse_json(load_release(folder).get(bundle.CARD, b"{}"), bundle.CARD)
    name = str(card.get("agreement"))
    with house.database.read() as db:
        known = Documents(db).get(name)
    epochs = [
        RosterId(json_id(jws_payload(one, "roster"))) for one in house.agreements.roster_chain()
    ]
    if known is None or not epochs:
        raise InputError(
            "this release is under an agreement that this office never proposed.",
            code=Code.TAMPERED,
            where=str(folder),
        )
    return Pinned(AgreementId(known.id), epochs[-1], house.key.public, earlier=frozenset(epochs))


def _pack(path: Path, agreement: str) -> Sequence[str]:
    """An evidence pack of anybody; the ids that are printed are for comparing."""
    from importlib.metadata import version

    from coordinator.files import read
    from protocols.pack.check import verify_pack
    from protocols.pack.form import MAX_PACK_BYTES

    known = frozenset({agreement}) if agreement else frozenset()
    raw = read(path, MAX_PACK_BYTES)
    report = verify_pack(raw, str(path), software=version("datacoop"), known=known)
    if report.fork:
        raise InputError(report.fork, code=Code.TAMPERED, where=str(path), fix=FORK_FIX)
    if not agreement:
        say("Compare the agreement's id below with the one that you know, or use --agreement.")
    return report.lines()


def _folder(home: Path | None, path: Path, key: str) -> Sequence[str]:
    """A log folder with its key, or a release folder of this office's cooperative."""
    from coordinator.log.append import Folder
    from coordinator.release.models import verify_release_dir
    from coordinator.wiring import open_house
    from protocols import bundle
    from protocols.audit.checkpoint import origin_of
    from protocols.audit.verify import verify_log
    from protocols.audit.writer import CHECKPOINT

    if (path / bundle.CARD).is_file():
        return verify_release_dir(path, _pins(open_house(home), path))
    place = Folder(path)
    note = place.read(CHECKPOINT)
    if not place.size() or not note:
        raise InputError(
            "this is neither an evidence pack, nor a log folder, nor a release.",
            where=str(path),
            code=Code.NOT_FOUND,
        )
    first = note.split(b"\n", 1)[0].decode("utf-8", "replace")
    known = {
        origin_of(role, one): one for one in _keys(home, key) for role in ("node", "coordinator")
    }
    if first not in known:
        raise InputError(
            f"the key of the log {first[:80]!r} is not known here.",
            where=str(path),
            code=Code.NOT_FOUND,
            fix="Give the public key that you know from elsewhere: --key. A member's stands in "
            "the signed list of members, the coordinator's in clause 5 of the agreement.",
        )
    return verify_log(place.lines(0), [note], known[first], first).lines()


def _keys(home: Path | None, key: str) -> list[bytes]:
    """The key that was given; else those of this office and of the members that it knows."""
    from coordinator.wiring import open_house

    if key:
        try:
            raw = bytes.fromhex(key)
        except ValueError:
            raw = b""
        if len(key) != KEY_DIGITS or len(raw) * 2 != KEY_DIGITS:
            raise InputError("a public key has 64 hexadecimal digits.", where="--key")
        return [raw]
    try:
        house = open_house(home)
    except LocalError:
        return []
    return [house.key.public, *(one.public_key for one in house.enrolment.members())]
