"""``verify`` and ``evidence``: what can be shown to others, and checking what others show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_home, acting_member
from node.cli.shell import Json, answer, say, state
from protocols.errors import Code, InputError, LocalError

if TYPE_CHECKING:
    from node.history import History
    from node.house import Member

KEY_DIGITS = 64
FORK_FIX = "Everything else in it is good. Show it to the other members and talk to the operator."


def register(app: typer.Typer) -> None:
    """Hang these commands at the top of the tree."""
    app.command(epilog="Example: coop-node verify --release 3fa9")(verify)
    app.command(epilog="Example: coop-node evidence --out evidence.zip")(evidence)


def verify(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(
            help="An evidence pack or statement, a log folder, a release folder; else your own."
        ),
    ] = None,
    release: Annotated[str, typer.Option(help="First digits of a model to check as well.")] = "",
    customer: Annotated[
        str, typer.Option(help="What touched this customer, by the number that the till prints.")
    ] = "",
    run: Annotated[
        str, typer.Option(help="What happened in this run here: its first digits.")
    ] = "",
    member: Annotated[
        str, typer.Option(help="What is known of this member: first digits of its id.")
    ] = "",
    key: Annotated[
        str, typer.Option(help="Public key (64 hex digits) of a log that is not known here.")
    ] = "",
    agreement: Annotated[
        str, typer.Option(help="Id of the agreement that you know, to compare (64 digits).")
    ] = "",
    as_json: Json = False,
) -> None:
    """Check a log, a release, a pack or one history from files alone; nobody is asked."""
    if customer or run or member:
        found = _history(context, customer, run, member)
        answer(found.document(), as_json, found.lines)
        return
    home = state(context).home
    if path is None:
        lines = _own(home, release)
    elif path.is_file():
        lines = _statement(home, path, key) or _pack(home, path, agreement)
    else:
        lines = _folder(home, path, key)
    answer({"checks": lines}, as_json, lambda: [f"ok  {line}" for line in lines])


def evidence(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The zip file to write; must not exist.")],
    run: Annotated[str, typer.Option(help="Only one run: its first digits.")] = "",
    release: Annotated[str, typer.Option(help="Only one release: its first digits.")] = "",
    as_json: Json = False,
) -> None:
    """Pack what was agreed and done into one file that strangers can check; no customer in it."""
    from importlib.metadata import version

    from node.evidence import evidence as gathered
    from node.files import write
    from protocols.agreement.roles import Action
    from protocols.pack.check import verify_pack

    if out.exists():
        raise InputError("this file exists already.", where=str(out), fix="Name another file.")
    if run and release:
        raise InputError("name a run or a release, not both.", where="--run", code=Code.USAGE)
    member = acting_member(context, Action.EXPORT)
    raw = gathered(member, run=run, release=release)
    report = verify_pack(raw, str(out), software=version("datacoop"))  # as whoever gets it will
    write(out, raw, 0o644)
    answer(
        {"file": str(out), "bytes": len(raw), "checks": list(report.lines())},
        as_json,
        lambda: [f"{out}: {len(raw)} bytes", *[f"ok  {line}" for line in report.lines()]],
    )


def _history(context: typer.Context, customer: str, run: str, member: str) -> History:
    """One history; a customer's is for the role that answers customers."""
    from node import history
    from protocols.agreement.roles import Action

    if sum(map(bool, (customer, run, member))) != 1:
        raise InputError(
            "name one: a customer, a run or a member.", where="--customer", code=Code.USAGE
        )
    if customer:
        home = acting_home(context, Action.ANSWER)
        database = home.database()
        try:
            return history.of_customer(home, database, customer)
        finally:
            database.close()
    opened = acting_member(context, Action.VERIFY)
    return history.of_run(opened, run) if run else history.of_member(opened, member)


def _own(home: Path | None, release: str) -> Sequence[str]:
    """This node's own log, and one of the releases that it keeps."""
    from node.house import open_home, open_member
    from node.policy.journal import verify_log

    opened = open_home(home)
    opened.log.close()
    lines = list(verify_log(opened.folder / "audit", opened.keys.journal.public))
    if release:
        from node.federation.pulling import check_kept

        lines += check_kept(open_member(home), release)
    return lines


def _statement(home: Path | None, path: Path, key: str) -> Sequence[str]:
    """A statement about a customer's right; nothing if the file is something else."""
    from node.files import read
    from node.house import open_home
    from node.rights import evidence as statements
    from node.rights.case import logged

    with path.open("rb") as file:
        if file.read(1) != b"{":
            return ()
    raw = read(path, statements.MAX_EVIDENCE_BYTES)
    known = _keys(None, key)[0] if key else None
    found = statements.verify(raw, str(path), key=known)
    try:
        own = open_home(home)
    except LocalError:
        return (*found.lines(), "compare the key above with one that you have from elsewhere")
    if found.key != own.keys.identity.public:
        return (*found.lines(), "of another member, or of a key before a renewal")
    entry = logged(own, found.name)
    if entry is None:
        raise InputError(
            "it is signed with this node's key, and the journal does not know it.",
            code=Code.TAMPERED,
            where=str(path),
        )
    return (*found.lines(), f"in this node's log: entry {entry.seq} of {entry.at[:19]}Z, proven")


def _pack(home: Path | None, path: Path, agreement: str) -> Sequence[str]:
    """An evidence pack of anybody; one of my cooperative has to hold a version that I signed."""
    from importlib.metadata import version

    from node.files import read
    from protocols.pack.check import verify_pack
    from protocols.pack.form import MAX_PACK_BYTES

    raw = read(path, MAX_PACK_BYTES)
    report = verify_pack(
        raw,
        str(path),
        software=version("datacoop"),
        known=frozenset({agreement}) if agreement else frozenset(),
    )
    if report.fork:
        raise InputError(report.fork, code=Code.TAMPERED, where=str(path), fix=FORK_FIX)
    member = _joined(home)
    if member is not None and member.membership.public.coop == report.coop:
        if not _signed_here(member) & set(report.agreements):
            raise InputError(
                "it is of your cooperative, and this node has signed none of its agreements.",
                code=Code.TAMPERED,
                where=str(path),
                fix="Ask whoever made it which agreement it is about.",
            )
        return (*report.lines(), "yours: this node has signed an agreement in it")
    if not agreement:
        say("Compare the agreement's id below with the one that you know, or use --agreement.")
    return report.lines()


def _signed_here(member: Member) -> set[str]:
    from node.store.documents import SignedAgreements

    with member.database.read() as db:
        return {one.agreement for one in SignedAgreements(db).list()}


def _joined(home: Path | None) -> Member | None:
    """This node if there is one that has joined; a stranger checks without."""
    from node.house import open_member

    try:
        return open_member(home)
    except LocalError as error:
        if error.code is Code.NOT_ENROLLED:
            return None
        raise


def _folder(home: Path | None, path: Path, key: str) -> Sequence[str]:
    """A log folder, or the folder of a release that was offered here."""
    from node.policy.journal import Folder
    from protocols import bundle
    from protocols.audit.checkpoint import origin_of
    from protocols.audit.verify import verify_log
    from protocols.audit.writer import CHECKPOINT

    if (path / bundle.CARD).is_file():
        from node.federation.pulling import check_folder
        from node.house import open_member

        return check_folder(open_member(home), path)
    place = Folder(path)
    note = place.read(CHECKPOINT)
    if not place.size() or not note:
        raise InputError(
            "this is neither an evidence pack, nor a log folder, nor a release.",
            where=str(path),
            code=Code.NOT_FOUND,
        )
    first = note.split(b"\n", 1)[0].decode("utf-8", "replace")
    keys = _keys(home, key)
    known: dict[str, Any] = {origin_of("node", one): one for one in keys}
    known |= {origin_of("coordinator", one): one for one in keys}
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
    """The key that was given; else those of this node, its coordinator and the members."""
    if key:
        try:
            raw = bytes.fromhex(key)
        except ValueError:
            raw = b""
        if len(key) != KEY_DIGITS or len(raw) * 2 != KEY_DIGITS:
            raise InputError("a public key has 64 hexadecimal digits.", where="--key")
        return [raw]
    member = _joined(home)
    if member is None:
        return []
    roster = member.agreements.newest_roster()
    others = list(roster.keys.values()) if roster is not None else []
    mine = member.home.keys.journal.public
    return [mine, member.membership.public.coordinator_key, *others]
