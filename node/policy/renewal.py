"""New keys for the same member: made beside the old ones, used once the members accepted them.

1. ``begin`` makes ``keys.next/`` and a statement that the old key and the new one sign; the running
   node sends it. 2. The office answers with a certificate for the new id (``receive``) and proposes
   a roster in which the new entry replaces the old one. 3. When this node has accepted that roster
   (``ready``), ``switch`` puts the new keys in place of the old ones and signs again, with the new
   key, what the old one had signed; orders of the old identity are not run any more.

Each step may be repeated after a crash. From the marker file on, a switch is only finished, never
begun again; while it is there nothing else opens these keys.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from node import files, keys, membership
from node.keys import NEXT, SWITCHING
from node.policy.agreements import newest_signed
from node.policy.evidence import Me, current_roster
from node.policy.life import present
from node.store.database import Database
from node.store.documents import Documents, Signatures, Signed, SignedAgreements
from node.store.life import Notices, StoredNotice
from node.store.orders import Orders, OrderState
from node.store.outbox import Cursors, Outbox
from protocols.agreement.membership import (
    SUCCESSION,
    State,
    make_notice,
    make_succession,
    notice_id,
)
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, InputError, LocalError, Refused
from protocols.ids import MemberId
from protocols.signing import jws_merge, jws_payload, jws_sign

STATEMENT = "succession.json"
LETTER = "succession"
MAIL_CURSOR = "mail"
_OLD = "keys.old"
Journal = Callable[[str, Mapping[str, object]], None]


def pending(home: Path) -> keys.NodeKeys | None:
    """The keys that are to be used next, if a renewal was begun."""
    return keys.load_from(home / NEXT) if (home / NEXT).is_dir() else None


def begin(home: Path, database: Database, journal: Journal, now: datetime) -> keys.NodeKeys:
    """Make the new keys and queue the statement for the office; begun before, the same again.

    Raises:
        LocalError: not enrolled, disk full.
        Refused: this member stands in no roster that it has accepted.
    """
    known, own = membership.load(home), keys.load(home)
    with database.read() as connection:
        mine = newest_signed(connection)
        roster = current_roster(connection, mine) if mine is not None else None
    if roster is None or own.member not in roster.keys:
        raise Refused(
            "this member stands in no accepted roster, so there is no key to renew.",
            clauses=("c01",),
            fix="Sign the agreement and the roster first: coop-node agreement sign.",
        )
    new = pending(home)
    if new is None:
        new = keys.create_next(home, own)
        journal("renewal", {"member": own.member, "successor": new.member})
    body = _statement(home, known.public.coop, own, new, now)
    name = notice_id(jws_payload(json.loads(body)["signed"], LETTER))
    with database.write() as connection:
        Outbox(connection).post(f"succession-{name[:48]}", LETTER, body, now)
    return new


def give_up(home: Path) -> bool:
    """Forget a renewal whose roster has not been accepted; False if none was begun."""
    if not (home / NEXT).is_dir():
        return False
    with files.disk(home):
        shutil.rmtree(home / NEXT)
    return True


def receive(home: Path, body: bytes, now: datetime) -> str:
    """The office's answer: a certificate for the new id. Returns that id.

    Raises:
        InputError: no renewal was begun here, or the answer is about other keys.
        RemoteError: a certificate that does not hold.
    """
    letter = parse_json(body, LETTER)
    new = pending(home)
    if new is None or letter.get("member") != new.member:
        raise InputError(
            "a certificate came for keys that are not being renewed here.",
            code=Code.NOT_FOUND,
            where=LETTER,
        )
    certificate = str(letter.get("certificate")).encode()
    known = membership.load(home)
    membership.check_certificate(
        certificate, known.public.ca_der, new.member, keys.tls_public(new), now
    )
    files.write(home / NEXT / keys.TLS_CERT, certificate, 0o644)
    return new.member


def ready(home: Path, database: Database) -> bool:
    """Whether the accepted roster names the new key in place of the old one, the certificate is
    here, and no run of the old identity is open."""
    new = pending(home)
    if new is None or not (home / NEXT / keys.TLS_CERT).is_file():
        return False
    with database.read() as connection:
        if Orders(connection).list(OrderState.ADMITTED, OrderState.RUNNING):
            return False
        mine = newest_signed(connection)
        roster = current_roster(connection, mine) if mine is not None else None
    old = keys.load(home).member
    return roster is not None and new.member in roster.keys and old not in roster.keys


def switch(home: Path, database: Database, journal: Journal, now: datetime) -> MemberId:
    """Use the new keys from now on; the new id. Call when ``ready``, with nothing else running."""
    new = pending(home)
    if new is None:
        raise LocalError("no renewal of keys was begun here.", where=str(home))
    old = keys.load(home).member
    journal("renewal", {"member": old, "successor": new.member, "state": "taken-over"})
    note = {"old": old, "new": new.member}
    files.write(home / SWITCHING, json.dumps(note, sort_keys=True).encode())
    _sign_again(home, database, new, now)
    return finish(home, database, now)


def finish(home: Path, database: Database | None, now: datetime) -> MemberId:
    """Finish a switch that a crash may have stopped anywhere; the new id.

    ``database`` may be None if nobody has opened it yet.
    """
    note = parse_json(files.read(home / SWITCHING), str(home / SWITCHING))
    new_id = MemberId(str(note.get("new")))
    if (home / NEXT).is_dir():
        opened = database or Database.open(home / "node.db")
        _sign_again(home, opened, keys.load_from(home / NEXT), now)
        if database is None:
            opened.close()
        if (home / keys.KEYS / keys.RESTORED).is_file():  # restored after the renewal was begun
            note_of_restore = files.read(home / keys.KEYS / keys.RESTORED)
            files.write(home / NEXT / keys.RESTORED, note_of_restore)
        with files.disk(home):
            if (home / keys.KEYS).is_dir():
                shutil.rmtree(home / _OLD, ignore_errors=True)
                (home / keys.KEYS).rename(home / _OLD)
            (home / NEXT).rename(home / keys.KEYS)
            files.sync_folder(home)
    known = membership.load(home)
    if known.member != new_id:
        membership.rewrite(home, replace(known, member=new_id))
    with files.disk(home):
        shutil.rmtree(home / _OLD, ignore_errors=True)
        (home / SWITCHING).unlink()
        files.sync_folder(home)
    return new_id


def interrupted(home: Path) -> bool:
    """Whether a switch was begun and not finished."""
    return (home / SWITCHING).is_file()


def finish_interrupted(home: Path, now: datetime) -> None:
    """At the start of a process that owns this node: finish what a crash left, if anything."""
    if interrupted(home):
        finish(home, None, now)


def _statement(
    home: Path, coop: str, own: keys.NodeKeys, new: keys.NodeKeys, now: datetime
) -> bytes:
    """The signed statement and the certificate request, the same bytes each time."""
    file = home / NEXT / STATEMENT
    if file.is_file():
        return files.read(file)
    document = make_succession(
        coop=coop,
        old=own.member,
        public_key=new.identity.public,
        encryption_key=new.encryption_public,
        csr_sha256=hashlib.sha256(new.csr_pem).hexdigest(),
        at=now,
    )
    assert document["kind"] == SUCCESSION
    both = jws_merge(
        jws_sign(document, own.member, own.identity), jws_sign(document, new.member, new.identity)
    )
    body = json_bytes({"signed": both, "csr": new.csr_pem.decode("ascii")})
    files.write(file, body)
    return body


def _sign_again(home: Path, database: Database, new: keys.NodeKeys, now: datetime) -> None:
    """What this member obeys, and what it said about itself, under the new key."""
    old = keys.load_from(home / keys.KEYS) if (home / keys.KEYS).is_dir() else None
    with database.write() as connection:
        newest = newest_signed(connection)
        for mine in SignedAgreements(connection).list():
            document = Documents(connection).get(mine.agreement)
            if document is None:
                continue
            signature = json_bytes(
                jws_sign(parse_json(document.body, "agreement"), new.member, new.identity)
            )
            SignedAgreements(connection).withdraw(mine.agreement)
            SignedAgreements(connection).add(
                Signed(mine.agreement, mine.version, signature, mine.signed_at)
            )
            Signatures(connection).put(mine.agreement, new.member, signature, now)
            if newest is not None and newest.id == mine.agreement:
                letter = f"sig-{mine.agreement[:44]}-{new.member[:15]}"
                Outbox(connection).post(letter, "signature", signature, now)
        if old is not None:
            coop = membership.load(home).public.coop
            _say_again(Notices(connection), Outbox(connection), coop, old, new, now)
        Cursors(connection).put(MAIL_CURSOR, 0)  # the successor has a mailbox of its own


def _say_again(
    notices: Notices,
    outbox: Outbox,
    coop: str,
    old: keys.NodeKeys,
    new: keys.NodeKeys,
    now: datetime,
) -> None:
    """A suspension or a notice of leaving holds for the business, not for a key."""
    said = {one.state for one in notices.list() if one.member == new.member}
    known = present(notices.connection, Me(old.member, old.identity.public))
    said_before: tuple[tuple[State, bool, datetime | None], ...] = (
        ("suspended", known.suspended_since is not None, None),
        ("leaving", known.leaving_at is not None, known.leaving_at),
    )
    for state, holds, until in said_before:
        if not holds or state in said:
            continue
        at = now.replace(microsecond=0)
        document = make_notice(coop=coop, member=new.member, state=state, at=at, until=until)
        body = json_bytes(jws_sign(document, new.member, new.identity))
        notices.add(StoredNotice(new.member, state, at, until, body))
        outbox.post(f"membership-{notice_id(document)[:48]}", "membership", body, now)
