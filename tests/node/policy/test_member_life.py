"""One node's own life: suspended, leaving, the end of an agreement, and new keys over a crash."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from agreement_world import (
    COOP,
    KEYS,
    NOW,
    STRANGER,
    agreement,
    order,
    person,
    signed_by_all,
)
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import update

from coordinator.members import certificates
from node import backup as backups
from node import keys, membership
from node.membership import Membership
from node.policy import renewal
from node.policy.agreements import Agreements
from node.policy.evidence import Me, newest_signed_version, signed_version
from node.policy.life import Life, end_of, present, refuse_if_away, terminated
from node.store.database import Database
from node.store.documents import Signatures
from node.store.orders import Orders, OrderState, StoredOrder
from node.store.outbox import Cursors, Letter, Outbox
from node.store.schema import membership_notices
from protocols.agreement.membership import make_termination, notice_id, verify_succession
from protocols.agreement.roster import ParsedRoster, make_roster, read_roster
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import InputError, LocalError, Refused
from protocols.ids import CoopId
from protocols.joining import Address, Cooperative
from protocols.signing import SigningKey, identity_of, jws_merge, jws_sign

DAY = timedelta(days=1)
AUTHORITY_KEY = certificates.new_key_pem()
AUTHORITY_PEM = certificates.new_authority("Harvest", AUTHORITY_KEY, NOW)


def authority() -> certificates.Authority:
    return certificates.Authority(
        x509.load_pem_x509_certificate(AUTHORITY_PEM), certificates.load_key(AUTHORITY_KEY, "ca")
    )


class Node:
    """A home on disk that has joined, signed and accepted epoch 1 of eight members."""

    def __init__(self, home: Path) -> None:
        self.home, self.now = home, NOW
        self.entries: list[tuple[str, Mapping[str, object]]] = []
        self.open()

    def open(self) -> None:
        self.keys = keys.load(self.home)
        self.me = Me(self.keys.member, self.keys.identity.public)
        self.database = Database.open(self.home / "node.db", create=True)
        self.life = Life(self.database, COOP, self.keys.identity, self.journal, self.clock)
        self.desk = Agreements(self.database, COOP, self.keys.identity, self.journal, self.clock)

    def reopen(self) -> None:
        self.database.close()
        self.open()

    def clock(self) -> datetime:
        return self.now

    def journal(self, kind: str, facts: Mapping[str, object]) -> None:
        self.entries.append((kind, facts))

    @property
    def outbox(self) -> tuple[Letter, ...]:
        with self.database.read() as db:
            return Outbox(db).open()

    def letter(self, kind: str) -> Json:
        (found,) = [one for one in self.outbox if one.kind == kind]
        return parse_json(found.body, kind)


OTHERS = KEYS[1:]
TERMS = agreement(figures={"leave_notice_days": 30})


def first_roster(mine: keys.NodeKeys) -> ParsedRoster:
    me = person(
        mine.identity, encryption_key=mine.encryption_public.hex(), legal_id="HRB me", name="Me"
    )
    people = [me, *(person(key) for key in OTHERS)]
    return read_roster(make_roster(COOP, people, issued=NOW), "roster")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("node") / "home"
    mine = keys.create(home)
    public = object.__new__(Cooperative)  # its id is a hash of other keys than this world's
    for name, value in {
        "coop": CoopId(COOP),
        "name": "Harvest",
        "profile": "B",
        "ca_der": authority().certificate.public_bytes(Encoding.DER),
        "operator_key": bytes(32),
        "coordinator_key": bytes(32),
    }.items():
        object.__setattr__(public, name, value)
    known = Membership(public, mine.member, Address("h", 1), Address("h", 2), "ab" * 32, NOW)
    issued = certificates.issue(authority(), mine.csr_pem, mine.member, NOW)
    membership.store(home, known, issued.pem)
    node = Node(home)
    roster = first_roster(mine)
    node.desk.receive("agreement", json_bytes(TERMS.document))
    node.desk.receive("roster", json_bytes(roster.document))
    node.desk.sign(TERMS.id, roster.id)
    signers = [mine.identity, *OTHERS]
    node.desk.receive("roster-signed", json_bytes(signed_by_all(roster.document, signers)))
    node.desk.receive("agreement-signed", json_bytes(signed_by_all(TERMS.document, signers)))
    with node.database.write() as db:
        for one in Outbox(db).open():
            Outbox(db).acknowledge(one.id, NOW)
        Cursors(db).put("mail", 7)
    node.database.close()
    return home


@pytest.fixture(autouse=True)
def _the_id_of_this_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cooperative, "__post_init__", lambda self: None)


@pytest.fixture
def node(made: Path, tmp_path: Path) -> Node:
    return Node(Path(shutil.copytree(made, tmp_path / "home")))


# ------------------------------------------------------------------- suspending and leaving


def admitted(node: Node, run: str = "ab" * 16) -> None:
    parsed = order(run=run)
    with node.database.write() as db:
        Orders(db).put(
            StoredOrder(run, parsed.id, "demand", "d1" * 32, b"{}", OrderState.ADMITTED, (), NOW),
            NOW,
        )


def test_suspending_ends_open_runs_and_tells_the_office(node: Node) -> None:
    admitted(node)
    assert node.life.suspend() is True
    assert node.life.suspend() is False  # idempotent: nothing is sent twice
    with node.database.read() as db:
        assert present(db, node.me).suspended_since == NOW
        stored = Orders(db).get("ab" * 16)
    assert stored is not None and stored.state is OrderState.FAILED
    assert node.letter("membership")["signatures"]
    assert ("membership", {"member": node.me.id, "state": "suspended"}) in node.entries
    with pytest.raises(Refused, match="suspended itself") as caught:
        refuse_if_away(node.database, node.me, NOW)
    assert caught.value.clauses == ("c29",)
    assert node.life.resume() is True and node.life.resume() is False
    refuse_if_away(node.database, node.me, NOW)
    assert len(node.outbox) == 2
    assert node.life.suspend() is True  # all within one second: the last word counts
    with pytest.raises(Refused, match="suspended itself"):
        refuse_if_away(node.database, node.me, NOW)


def test_a_notice_that_was_tampered_with_still_suspends(node: Node) -> None:
    node.life.suspend()
    with node.database.write() as db:
        db.execute(update(membership_notices).values(jws=b'{"payload": "e30", "signatures": []}'))
    with node.database.read() as db:
        assert present(db, node.me).suspended_since == NOW


def test_leaving_keeps_the_notice_of_clause_29(node: Node) -> None:
    with pytest.raises(Refused, match="earlier than the 30 days of notice") as caught:
        node.life.leave(NOW + 29 * DAY)
    assert caught.value.clauses == ("c29",)
    assert node.outbox == ()
    last = node.life.leave(NOW + 40 * DAY)
    assert node.life.leave(last) == last and len(node.outbox) == 1
    refuse_if_away(node.database, node.me, last - DAY)
    with pytest.raises(Refused, match="has left"):
        refuse_if_away(node.database, node.me, last)
    assert node.life.leave() == last  # asked without a date, the notice that was given stands


# ------------------------------------------------------------------------------ termination


def ending(signers: list[SigningKey], reason: str = "We part.") -> Json:
    document = make_termination(coop=COOP, agreement=TERMS.id, at=NOW, reason=reason)
    return signed_by_all(document, signers)


def test_an_end_counts_when_the_quorum_has_signed_it(node: Node) -> None:
    node.life.receive_end(json_bytes(ending(OTHERS[:4])))
    assert not node.life.ended(TERMS)
    begun = node.life.begun(TERMS)
    assert begun is not None and begun.reason == "We part."
    name, signed, needed = node.life.end(TERMS, "ignored: one was begun")
    assert (signed, needed) == (5, 6) and not node.life.ended(TERMS)
    assert name == notice_id(
        make_termination(coop=COOP, agreement=TERMS.id, at=NOW, reason="We part.")
    )
    node.life.receive_end(json_bytes(ending(OTHERS[4:5])))
    with node.database.read() as db:
        assert terminated(db, TERMS)
        found = end_of(db, TERMS)
    assert found is not None and found.reason == "We part."
    assert ("termination", {"agreement": TERMS.id, "document": name, "complete": True}) in (
        node.entries
    )


def test_strangers_and_repetitions_end_nothing(node: Node) -> None:
    whole = ending(OTHERS)
    for signed in (
        ending([*OTHERS, STRANGER]),
        {**whole, "signatures": [*whole["signatures"], whole["signatures"][0]]},
        signed_by_all(make_termination(coop=COOP, agreement="ee" * 32, at=NOW, reason="x"), OTHERS),
    ):
        with pytest.raises(InputError):
            node.life.receive_end(json_bytes(signed))
    assert not node.life.ended(TERMS)


# ---------------------------------------------------------------------------- signatures here


def test_signatures_are_checked_when_they_come(node: Node) -> None:
    roster = node.desk.accepted_roster()
    assert roster is not None
    by_all = signed_by_all(roster.document, [node.keys.identity, *OTHERS])
    stranger = jws_sign(roster.document, identity_of(STRANGER.public), STRANGER)
    twice = {**by_all, "signatures": [*by_all["signatures"], by_all["signatures"][0]]}
    other = agreement(figures={"leave_notice_days": 31})
    moved = {**signed_by_all(TERMS.document, OTHERS), "payload": _payload(other.document)}
    for kind, signed, problem in (
        ("roster-signed", jws_merge(by_all, stranger), "not a party"),
        ("roster-signed", twice, "signed twice"),
        ("agreement-signed", moved, "does not verify"),
    ):
        with pytest.raises(InputError, match=problem):
            node.desk.receive(kind, json_bytes(signed))


def _payload(document: Json) -> str:
    return str(jws_sign(document, "x", STRANGER)["payload"])


def test_late_signatures_come_without_the_document(node: Node) -> None:
    late = SigningKey(b"\x55" * 32)
    name = identity_of(late.public)
    signed = jws_sign(TERMS.document, name, late)
    letter = {"document": TERMS.id, "signatures": signed["signatures"]}
    node.desk.receive("signatures", json_bytes(letter))  # of somebody whose roster comes later
    with node.database.read() as db:
        assert name in Signatures(db).of(TERMS.id)
    forged = jws_sign(TERMS.document, identity_of(OTHERS[0].public), STRANGER)
    with pytest.raises(InputError, match="does not verify"):
        letter = {"document": TERMS.id, "signatures": forged["signatures"]}
        node.desk.receive("signatures", json_bytes(letter))
    with pytest.raises(InputError, match="not received"):
        node.desk.receive("signatures", json_bytes({**letter, "document": "ee" * 32}))


# ----------------------------------------------------------------------------------- new keys


def begin(node: Node) -> keys.NodeKeys:
    return renewal.begin(node.home, node.database, node.journal, node.now)


def certificate_for(new: keys.NodeKeys) -> bytes:
    issued = certificates.issue(authority(), new.csr_pem, new.member, NOW)
    return json_bytes({"member": new.member, "certificate": issued.pem.decode()})


def accept_new_key(node: Node, new: keys.NodeKeys) -> None:
    before = node.desk.accepted_roster()
    assert before is not None
    mine = person(
        new.identity,
        encryption_key=new.encryption_public.hex(),
        legal_id="HRB me",
        name="Me",
        replaces=node.me.id,
    )
    people = [mine, *(person(key) for key in OTHERS)]
    roster = make_roster(COOP, people, before, issued=NOW)
    node.desk.receive("roster-signed", json_bytes(signed_by_all(roster, OTHERS)))


def test_new_keys_are_used_when_the_members_have_accepted_them(node: Node) -> None:
    old, encryption = node.keys, node.keys.encryption_public.hex()
    new = begin(node)
    assert begin(node) == new  # again: the same keys, the same letter
    statement = node.letter("succession")
    roster = node.desk.accepted_roster()
    assert roster is not None
    assert verify_succession(statement["signed"], roster.keys, COOP).member == new.member
    assert not renewal.ready(node.home, node.database)
    assert renewal.receive(node.home, certificate_for(new), NOW) == new.member
    assert not renewal.ready(node.home, node.database)  # nobody has signed it yet
    assert keys.load(node.home).member == old.member
    accept_new_key(node, new)
    admitted(node)
    assert not renewal.ready(node.home, node.database)  # a run of the old identity is open
    with node.database.write() as db:
        Orders(db).move("ab" * 16, OrderState.DONE, NOW)
    assert renewal.ready(node.home, node.database)
    renewal.switch(node.home, node.database, node.journal, NOW)
    node.reopen()
    assert node.keys.member == new.member == membership.load(node.home).member
    with node.database.read() as db:
        mine = signed_version(db, TERMS.id, node.me)
        assert mine is not None and newest_signed_version(db, node.me) is not None
        assert Cursors(db).get("mail") == 0
    assert node.keys.journal.public == old.identity.public  # the log goes on
    assert node.keys.customer_secret == old.customer_secret
    assert set(node.keys.opens) == {encryption, node.keys.encryption_public.hex()}
    assert [one.kind for one in node.outbox] == ["succession", "signature"]
    assert not (node.home / keys.NEXT).exists() and not (node.home / "keys.old").exists()


def test_a_suspension_holds_under_the_new_key(node: Node) -> None:
    node.life.suspend()
    last = node.life.leave(NOW + 40 * DAY)
    new = begin(node)
    renewal.receive(node.home, certificate_for(new), NOW)
    accept_new_key(node, new)
    renewal.switch(node.home, node.database, node.journal, NOW + DAY)
    node.reopen()
    with node.database.read() as db:
        known = present(db, node.me)
    assert known.suspended_since is not None and known.leaving_at == last


@pytest.mark.parametrize("crash_at", range(1, 8))
def test_a_crash_while_switching_is_finished(
    node: Node, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    new = begin(node)
    renewal.receive(node.home, certificate_for(new), NOW)
    accept_new_key(node, new)
    calls = 0

    def counted(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == crash_at:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for owner, name in (
            (Path, "rename"),
            (Path, "unlink"),
            (Path, "replace"),
            (renewal, "_sign_again"),
        ):
            patch.setattr(owner, name, counted(getattr(owner, name)))
        crashed = False
        try:
            renewal.switch(node.home, node.database, node.journal, NOW)
        except KeyboardInterrupt:
            crashed = True
    assert crashed == (crash_at <= 7)
    node.database.close()
    if renewal.interrupted(node.home):
        with pytest.raises(LocalError, match="changing to its new keys"):
            keys.load(node.home)
        renewal.finish_interrupted(node.home, NOW)
    elif keys.load(node.home).member != new.member:  # nothing had happened yet
        renewal.switch(node.home, Database.open(node.home / "node.db"), node.journal, NOW)
    node.open()
    assert node.keys.member == new.member == membership.load(node.home).member
    with node.database.read() as db:
        assert signed_version(db, TERMS.id, node.me) is not None
    assert sorted(one.name for one in node.home.glob("keys*")) == ["keys"]


def test_a_certificate_for_other_keys_is_not_kept(node: Node) -> None:
    with pytest.raises(InputError, match="not being renewed"):
        renewal.receive(node.home, certificate_for(node.keys), NOW)
    new = begin(node)
    other = certificates.issue(authority(), node.keys.csr_pem, node.me.id, NOW).pem.decode()
    with pytest.raises(Exception, match="names another member"):
        body = json_bytes({"member": new.member, "certificate": other})
        renewal.receive(node.home, body, NOW)
    assert renewal.give_up(node.home) and not renewal.give_up(node.home)


def test_a_backup_holds_a_renewal_that_was_begun(node: Node, tmp_path: Path) -> None:
    new = begin(node)
    target, passphrase = tmp_path / "b", "five plain words in order"
    backups.backup(node.home, target, passphrase, NOW, log2_n=14)
    other = tmp_path / "other"
    backups.restore(target, other, passphrase, NOW + DAY)
    assert renewal.pending(other) == new
    assert keys.restored_at(other) == NOW + DAY


def test_a_stranger_to_every_roster_has_nothing_to_renew(node: Node) -> None:
    with node.database.write() as db:
        db.exec_driver_sql("DELETE FROM accepted_rosters")
    with pytest.raises(Refused, match="no accepted roster"):
        begin(node)
