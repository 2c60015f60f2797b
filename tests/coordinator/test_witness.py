"""What the office answers about its log, and which countersignatures it takes."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.log.append import AuditLog
from coordinator.log.witness import Witnesses, fresh
from coordinator.store.cosignatures import KEPT, Cosignatures
from coordinator.store.database import Database
from coordinator.store.members import Member, Members, Status
from protocols.audit.checkpoint import check_growth, parse_checkpoint
from protocols.audit.cosign import cosign, merge, read_cosigned
from protocols.audit.entries import Kind
from protocols.audit.merkle import verify_consistency
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import MemberId
from protocols.joining import Profile
from protocols.signing import SigningKey, identity_of

OFFICE = SigningKey(b"\x05" * 32)
KEYS = {name: SigningKey(name.encode() * 32) for name in "abc"}
IDS = {name: identity_of(key.public) for name, key in KEYS.items()}
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


class Office:
    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.folder = folder
        self.database = Database.open(folder / "coordinator.db", create=True)
        with self.database.write() as db:
            for name, key in KEYS.items():
                about = Profile(name, f"HRB {name}", "grocery", "town")
                Members(db).add(Member(IDS[name], about, key.public, Status.ACTIVE, NOW))
        self.log = AuditLog(folder / "audit", OFFICE, lambda: self.now)
        self.witnesses = Witnesses(self.database, self.log, lambda: self.now)

    def grow(self, count: int = 1) -> None:
        for _ in range(count):
            self.log.append(Kind.PULL, {"model": "a"})

    def signed(self, name: str, at: datetime | None = None, log: AuditLog | None = None) -> bytes:
        note = (log or self.log).checkpoint()
        head = parse_checkpoint(note, OFFICE.public, self.log.origin, "note")
        line = cosign(head, KEYS[name], int((at or self.now).timestamp()))
        return merge(note, [line], "note")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office(tmp_path)
    made.grow(5)
    return made


def test_heads_come_with_proofs_for_one_or_two_sizes(office: Office) -> None:
    heads = {}
    for size in (5, 6, 7, 8, 9, 10):
        heads[office.log.head().size] = office.log.head()
        answer = json.loads(office.witnesses.checkpoint(f"5-{size}" if size > 5 else "5"))
        new = parse_checkpoint(answer["note"].encode(), OFFICE.public, office.log.origin, "note")
        asked = (5, size) if size > 5 else (5,)
        assert len(answer["proofs"]) == len(asked)
        for old, shown in zip(asked, answer["proofs"], strict=True):
            check_growth(heads[old], new, tuple(map(bytes.fromhex, shown)), "coordinator")
        office.grow()
    beyond = json.loads(office.witnesses.checkpoint("12"))
    assert beyond["proofs"] == [[]] and beyond["note"].split("\n")[1] == "11"


@pytest.mark.parametrize("name", ["", "-1", "05", "5-", "5-6-7", "a", "5 ", "9" * 17])
def test_sizes_have_one_form(office: Office, name: str) -> None:
    with pytest.raises(InputError):
        office.witnesses.checkpoint(name)
    with pytest.raises(InputError):
        office.witnesses.heads(IDS["a"], name)


def test_countersignatures_are_kept_merged_and_served_to_the_others(office: Office) -> None:
    assert not office.witnesses.take(IDS["a"], office.signed("a"))
    assert office.witnesses.take(IDS["a"], office.signed("a"))  # the same once more
    assert not office.witnesses.take(IDS["b"], office.signed("b"))
    mine = office.log.head()
    office.grow(3)
    assert not office.witnesses.take(IDS["c"], office.signed("c"))
    heads = json.loads(office.witnesses.heads(IDS["a"], "5"))["heads"]
    members = {IDS[name]: key.public for name, key in KEYS.items()}
    found = [
        read_cosigned(one["note"].encode(), OFFICE.public, office.log.origin, members, "note")
        for one in heads
    ]
    assert [(one.head.size, set(one.times)) for one in found] == [
        (8, {IDS["c"]}),
        (5, {IDS["b"]}),  # a asked, and is left out
    ]
    proof = tuple(map(bytes.fromhex, heads[0]["proof"]))
    verify_consistency(5, mine.root, 8, found[0].head.root, proof)
    both = json.loads(office.witnesses.heads(IDS["c"], "8"))["heads"]
    whole = both[0]["note"].encode()
    assert set(read_cosigned(whole, OFFICE.public, office.log.origin, members, "n").times) == {
        IDS["a"],
        IDS["b"],
    }
    verify_consistency(
        5, mine.root, 8, found[0].head.root, tuple(map(bytes.fromhex, both[0]["proof"]))
    )


def test_freshness_counts_active_members_by_their_own_time(office: Office) -> None:
    office.witnesses.take(IDS["a"], office.signed("a"))
    office.now += timedelta(hours=5)
    office.witnesses.take(IDS["b"], office.signed("b"))
    day, hours = timedelta(days=1), timedelta(hours=4)
    assert fresh(office.database, office.now, day) == {IDS["a"], IDS["b"]}
    assert fresh(office.database, office.now, hours) == {IDS["b"]}
    with office.database.write() as db:
        Members(db).remove(IDS["b"], office.now)
    assert fresh(office.database, office.now, day) == {IDS["a"]}
    assert fresh(office.database, office.now + 2 * day, day) == frozenset()


def refuse(office: Office, name: str, note: bytes, match: str) -> None:
    with pytest.raises((InputError, RemoteError), match=match):
        office.witnesses.take(IDS[name], note)


def test_what_is_not_a_members_own_countersignature_is_not_taken(office: Office) -> None:
    whole = office.signed("a")
    refuse(office, "b", whole, "not countersigned by you")
    refuse(office, "a", office.log.checkpoint(), "not countersigned by you")
    stranger = MemberId("ee" * 32)
    with pytest.raises(InputError, match="not a member"):
        office.witnesses.take(stranger, whole)
    changed = whole.replace(b"\n5\n", b"\n6\n")
    refuse(office, "a", changed, "is wrong")
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        with pytest.raises(InputError):
            office.witnesses.take(IDS["a"], whole[:cut])
    head = office.log.head()
    twice = merge(whole, [cosign(head, KEYS["a"], 7)], "note")
    refuse(office, "a", twice, "twice")
    with office.database.read() as db:
        assert Cosignatures(db).newest_of_each() == ()


def test_time_that_goes_back_is_not_taken(office: Office) -> None:
    refuse(office, "a", office.signed("a", NOW + timedelta(minutes=11)), "ahead of")
    office.witnesses.take(IDS["a"], office.signed("a"))
    old = office.signed("a", NOW - timedelta(minutes=5))
    assert office.witnesses.take(IDS["a"], old)  # late: the newer one stays
    office.grow()
    refuse(office, "a", office.signed("a", NOW - timedelta(days=1)), "went back")
    assert not office.witnesses.take(IDS["a"], office.signed("a", NOW + timedelta(minutes=1)))
    with office.database.read() as db:
        newest = Cosignatures(db).newest(IDS["a"])
    assert newest is not None and newest.size == 6


def test_a_head_that_our_key_signed_and_our_log_lacks_is_an_incident(
    office: Office, tmp_path: Path
) -> None:
    elsewhere = AuditLog(tmp_path / "elsewhere", OFFICE, lambda: NOW)
    for _ in range(9):
        elsewhere.append(Kind.STOP)
    notes = [office.signed("a", log=elsewhere), office.signed("b", log=elsewhere)]
    size = office.log.head().size
    for name, note in zip("ab", notes, strict=True):
        refuse(office, name, note, "restored from an older backup")
    assert office.log.head().size == size + 1  # one incident for the same head
    with pytest.raises(RemoteError) as caught:
        office.witnesses.take(IDS["a"], notes[0])
    assert caught.value.code is Code.TAMPERED
    assert fresh(office.database, NOW, timedelta(days=1)) == frozenset()


def test_the_history_of_each_member_is_bounded(office: Office) -> None:
    for turn in range(KEPT + 5):
        office.grow()
        office.now += timedelta(minutes=1)
        office.witnesses.take(IDS["a"], office.signed("a"))
        if turn == 0:
            office.witnesses.take(IDS["b"], office.signed("b"))
    with office.database.read() as db:
        count = db.exec_driver_sql("SELECT member, count(*) FROM cosignatures GROUP BY member")
        assert dict(map(tuple, count.all())) == {IDS["a"]: KEPT, IDS["b"]: 1}
        assert [one.size for one in Cosignatures(db).newest_of_each()] == [26, 6]


def test_a_line_that_only_looks_like_the_logs_own_is_not_served_to_the_others(
    office: Office,
) -> None:
    # one member could hang it above the real one: everybody else's comparison would stop there
    text, _, lines = office.signed("b").decode().rpartition("\n\n")
    forged = f"— {office.log.origin} {base64.b64encode(bytes(68)).decode()}\n"
    assert not office.witnesses.take(IDS["b"], f"{text}\n\n{forged}{lines}".encode())
    (served,) = json.loads(office.witnesses.heads(IDS["a"], "5"))["heads"]
    note = served["note"].encode()
    assert read_cosigned(note, OFFICE.public, office.log.origin, {IDS["b"]: KEYS["b"].public}, "n")
    assert forged.encode() not in note
