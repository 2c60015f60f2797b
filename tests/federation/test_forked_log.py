"""A coordinator that shows two histories, loses one, or keeps silent: found, named and kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import small_coop
from coordinator.log.append import AuditLog
from coordinator.log.witness import Witnesses
from coordinator.store.database import Database
from coordinator.store.members import Member, Members, Status
from node.federation.witness import COMPARE_AFTER, Witness
from node.policy.witnessed import Witnessed
from protocols.agreement.roster import ParsedRoster, read_roster
from protocols.audit.cosign import cosign, merge
from protocols.audit.entries import Entry, Kind, encode
from protocols.audit.merkle import EMPTY_ROOT
from protocols.bundle import CHECKPOINT
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import MemberId
from protocols.joining import Profile
from protocols.signing import SigningKey, identity_of, jws_payload
from small_coop import COORDINATOR, MEMBERS

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SENTENCE = "log of 9 entries does not continue the one of 7"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Office:
    """One database, and as many histories as a liar likes; who is shown which."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self.database = Database.open(folder / "coordinator.db", create=True)
        with self.database.write() as db:
            for number, key in enumerate(MEMBERS):
                about = Profile(f"Shop {number}", f"HRB {number}", "grocery", "town")
                name = identity_of(key.public)
                Members(db).add(Member(name, about, key.public, Status.ACTIVE, NOW))
        self.shown: dict[MemberId, AuditLog] = {}
        self.log = self.history("honest", 7)

    def history(self, name: str, entries: int) -> AuditLog:
        """A log that begins as every other and may go on another way."""
        log = AuditLog(self.folder / name, COORDINATOR, self.clock)
        grow(log, entries)
        return log

    def witnesses(self, member: MemberId) -> Witnesses:
        return Witnesses(self.database, self.shown.get(member, self.log), self.clock)


def grow(log: AuditLog, entries: int, mark: str = "a") -> None:
    for _ in range(entries):
        log.append(Kind.PULL, {"model": mark})


class Calls:
    """What one member asks of the office; ``answers`` replace what it would say."""

    def __init__(self, office: Office, member: MemberId) -> None:
        self.office, self.member = office, member
        self.answers: dict[str, bytes | Exception] = {}
        self.taken = 0

    def fetch(self, kind: str, run: str, name: str, max_bytes: int = 0) -> bytes:
        told = self.answers.get(kind)
        if isinstance(told, Exception):
            raise told
        if told is not None:
            return told
        witnesses = self.office.witnesses(self.member)
        if kind == "checkpoint":
            return witnesses.checkpoint(name)
        assert kind == "witnesses"
        return witnesses.heads(self.member, name)

    def submit(self, kind: str, name: str, body: bytes) -> None:
        assert kind == "cosignature"
        self.taken += 1
        self.office.witnesses(self.member).take(self.member, body)


class Shop:
    def __init__(self, folder: Path, key: SigningKey, office: Office) -> None:
        self.id = identity_of(key.public)
        self.calls = Calls(office, self.id)
        self.journal: list[tuple[str, Mapping[str, object]]] = []
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.audit = folder / "audit"
        self.kept = Witnessed(self.audit, key, COORDINATOR.public, self._write, office.clock)
        self.witness = Witness(self.kept, roster, lambda event, **facts: self._say(event, facts))

    def _write(self, kind: str, facts: Mapping[str, Any]) -> None:
        encode(Entry(0, "2026-03-01T09:30:00.000000Z", Kind(kind), facts))
        self.journal.append((kind, facts))

    def _say(self, event: str, facts: Mapping[str, object]) -> None:
        self.events.append((event, facts))

    def contact(self) -> None:
        self.witness.contact(self.calls)

    def fork(self) -> str:
        return self.kept.facts().fork


def roster() -> ParsedRoster:
    signed, _ = small_coop.rosters()
    return read_roster(jws_payload(signed[-1], "roster"), "roster")


class World:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.office = Office(folder / "office", self.clock)
        self.a, self.b = (
            Shop(folder / name, key, self.office)
            for name, key in zip("ab", MEMBERS[:2], strict=True)
        )

    def part(self) -> AuditLog:
        """From here on shop b is shown another history of the same length."""
        other = self.office.history("other", self.office.log.head().size)
        self.office.shown[self.b.id] = other
        return other


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "office").mkdir()
    return World(tmp_path)


def evidence(shop: Shop) -> set[str]:
    (folder,) = (shop.audit / "forks").iterdir()
    return {one.name for one in folder.iterdir()}


def test_two_honest_members_agree_and_are_fresh_witnesses(world: World) -> None:
    for _ in range(3):
        for shop in (world.a, world.b):
            shop.contact()
        world.clock.now += COMPARE_AFTER
        grow(world.office.log, 2)
    assert not world.a.fork() and not world.b.fork()
    assert world.a.kept.facts().verified_at == NOW + 2 * COMPARE_AFTER
    assert world.a.witness.compare(world.a.calls) == 1
    assert [kind for kind, _ in world.a.journal] == ["witness"] * 3
    assert world.a.events == []


def test_nothing_new_costs_no_countersignature(world: World) -> None:
    for _ in range(3):
        world.a.contact()
    assert world.a.calls.taken == 1


# ------------------------------------------------------------------- two histories


def test_a_rewritten_log_is_found_at_the_next_contact(world: World) -> None:
    world.b.contact()
    world.office.shown[world.b.id] = world.office.history("other", 0)
    grow(world.office.shown[world.b.id], 9, "b")
    for _ in range(2):  # told once, however often it is shown
        world.b.contact()
        grow(world.office.shown[world.b.id], 1, "b")
    assert SENTENCE in world.b.fork()
    assert evidence(world.b) == {
        *("kept.note", "shown.note", "proof.json", "about.json", "README.txt")
    }
    kinds = [kind for kind, _ in world.b.journal]
    assert kinds == ["witness", "incident"]
    assert world.b.events[0][0] == "fork" and world.b.calls.taken == 1
    newest = world.b.kept.newest()
    assert newest is not None and newest.head.size == 7  # what it saw first stays
    # back on the first history the finding stays, until an owner has talked about it
    del world.office.shown[world.b.id]
    grow(world.office.log, 1)
    world.b.contact()
    assert SENTENCE in world.b.fork() and world.b.calls.taken == 1
    world.b.kept.forks.resolve("2026", "owner")
    world.b.contact()
    assert not world.b.fork() and world.b.calls.taken == 2


def test_equal_sizes_with_other_roots(world: World) -> None:
    world.b.contact()
    other = world.office.history("other", 6)
    grow(other, 1, "b")
    world.office.shown[world.b.id] = other
    world.b.contact()
    assert "two different logs of 7 entries" in world.b.fork()


def test_a_descriptor_of_another_history_stops_the_round(world: World) -> None:
    world.b.contact()
    other = world.part()
    grow(other, 2, "b")
    head = other.head()  # what the descriptor names, while contacts still show the first history
    del world.office.shown[world.b.id]
    grow(world.office.log, 4)
    with pytest.raises(RemoteError, match="two histories were signed") as caught:
        world.b.witness.check_head(world.b.calls, head, {"descriptor.bin": b"signed bytes"})
    assert caught.value.code is Code.TAMPERED and "audit/forks" in caught.value.fix
    assert "descriptor.bin" in evidence(world.b) and world.b.fork()


def test_heads_of_rounds_in_one_history_go_on_and_are_kept(world: World) -> None:
    world.b.contact()
    heads = []
    for _ in range(3):
        grow(world.office.log, 2)
        heads.append(world.office.log.head())
    for head in (heads[2], heads[0], heads[1]):  # a late one is of the same history
        world.b.witness.check_head(world.b.calls, head, {})
    newest = world.b.kept.newest()
    assert newest is not None and newest.head == heads[2] and not world.b.fork()


def test_a_head_beyond_the_newest_is_no_history_of_this_log(world: World) -> None:
    world.b.contact()
    ahead = world.office.history("ahead", 20).head()
    with pytest.raises(RemoteError, match="does not hold the 20 entries"):
        world.b.witness.check_head(world.b.calls, ahead, {})


def test_a_coordinator_that_withholds_the_proof_of_a_round(world: World) -> None:
    world.b.contact()
    grow(world.office.log, 1)
    head = world.office.log.head()
    gone = RemoteError("there is no checkpoint yet.", code=Code.NOT_FOUND)
    hostile: list[bytes | Exception] = [
        gone,
        b"",
        b"{}",
        b'{"note": 7, "proofs": []}',
        b'{"note": "x", "proofs": []}',
        b'{"note": "\\ud800", "proofs": [[], []]}',
        b'{"note": "x", "proofs": [["zz"], []]}',
        world.office.log.checkpoint(),
    ]
    for told in hostile:
        world.b.calls.answers["checkpoint"] = told
        with pytest.raises(RemoteError):
            world.b.witness.check_head(world.b.calls, head, {})
        world.b.contact()  # letters go on
        assert world.b.events[-1][0] == "log"
    assert not world.b.fork()  # silence is no proof; the age of the last look denies
    assert world.b.kept.facts().verified_at == NOW
    unavailable = RemoteError("no answer.", code=Code.UNAVAILABLE)
    world.b.calls.answers["checkpoint"] = unavailable
    with pytest.raises(RemoteError, match="no answer"):
        world.b.contact()
    # a head with an empty proof is a head that does not continue
    note = {"note": world.office.log.checkpoint().decode(), "proofs": [[]]}
    world.b.calls.answers["checkpoint"] = json.dumps(note).encode()
    world.b.contact()
    assert "does not continue" in world.b.fork()


@pytest.mark.parametrize("longer", [0, 3])
def test_countersignatures_of_two_histories_name_both_members(world: World, longer: int) -> None:
    world.a.contact()
    world.b.contact()
    other = world.part()
    grow(other, 2 + longer, "b")
    grow(world.office.log, 2)
    world.b.contact()  # each of them sees a log that only grew
    world.a.contact()
    assert not world.a.fork() and not world.b.fork()
    world.clock.now += COMPARE_AFTER
    world.a.contact()
    said = world.a.fork()
    names = {one.id: one.name for one in roster().roster.members}
    assert names[world.b.id] in said and world.b.id[:8] in said and "two histories" in said
    assert world.a.kept.forks.open()[0].members == (world.b.id,)
    assert world.a.journal[-1][1]["members"] == (world.b.id,)
    world.b.contact()
    assert names[world.a.id] in world.b.fork()


def test_other_members_checkpoints_are_compared_by_file(world: World) -> None:
    with pytest.raises(InputError, match="kept no checkpoint"):
        world.a.witness.compare_file(world.office.log.checkpoint(), None)
    world.a.contact()
    world.b.contact()
    theirs = world.b.kept.newest()
    assert theirs is not None
    lines = world.a.witness.compare_file(theirs.note, None)
    assert "one history" in lines[1] and world.b.id[:8] in lines[0]
    grow(world.office.log, 2)
    world.a.contact()
    assert "one history" in world.a.witness.compare_file(theirs.note, None)[1]  # from the history
    grow(world.office.log, 1)
    world.b.contact()
    newer = world.b.kept.newest()
    assert newer is not None
    with pytest.raises(InputError, match="without a proof"):
        world.a.witness.compare_file(newer.note, None)
    assert "proved it" in world.a.witness.compare_file(newer.note, world.a.calls)[1]


@pytest.mark.parametrize("offline", [True, False])
def test_a_file_of_another_history_is_a_fork(world: World, offline: bool) -> None:
    world.a.contact()
    world.b.contact()
    other = world.part()
    grow(other, 2, "b")
    grow(world.office.log, 2 if offline else 4)
    world.a.contact()
    world.b.contact()
    theirs = world.b.kept.newest()
    assert theirs is not None
    with pytest.raises(RemoteError, match=r"two\s+histories|two histories"):
        world.a.witness.compare_file(theirs.note, None if offline else world.a.calls)
    assert world.b.id[:8] in world.a.fork()


def test_the_evidence_of_a_file_is_the_own_head_of_that_size(world: World) -> None:
    world.a.contact()
    other = world.part()
    grow(other, 2, "b")
    grow(world.office.log, 2)
    world.a.contact()
    world.b.contact()
    theirs, same = world.b.kept.newest(), world.a.kept.newest()
    grow(world.office.log, 3)
    world.a.contact()  # the newest head is of another size, and alone proves nothing
    assert theirs is not None and same is not None and same.head.size == theirs.head.size
    with pytest.raises(RemoteError, match=f"keeps {same.head.size} entries"):
        world.a.witness.compare_file(theirs.note, None)
    (folder,) = (world.a.audit / "forks").iterdir()
    assert (folder / "kept.note").read_bytes() == same.note
    assert (folder / "shown.note").read_bytes() == theirs.note


def test_files_that_prove_nothing_are_refused(world: World) -> None:
    world.a.contact()
    note = world.office.log.checkpoint()
    stranger = SigningKey(b"\x77" * 32)
    head = world.office.log.head()
    for wrong in (b"", b"hello\n", note[:-1], note.replace(b"\n7\n", b"\n8\n")):
        with pytest.raises(InputError):
            world.a.witness.compare_file(wrong, world.a.calls)
    lines = world.a.witness.compare_file(merge(note, [cosign(head, stranger, 9)], "n"), None)
    assert "no member countersigned" in lines[0]
    assert not world.a.fork()


# ----------------------------------------------------------------- a log that was cut


def test_an_honest_restore_from_an_old_backup_has_a_clear_sentence(world: World) -> None:
    world.a.contact()
    world.office.shown[world.a.id] = world.office.history("restored", 5)
    world.a.contact()
    said = world.a.fork()
    assert "had 7 entries and now has 5" in said and "older backup" in said
    # the owner has talked to the operator, and takes the log as it is from here on
    world.a.kept.forks.resolve("2026", "owner")
    world.a.kept.start_anew()
    world.a.contact()
    newest = world.a.kept.newest()
    assert newest is not None and newest.head.size == 5 and not world.a.fork()
    assert newest.cosigned_at is None  # it has signed another history up to 7
    grow(world.office.shown[world.a.id], 3)
    world.a.contact()
    newest = world.a.kept.newest()
    assert newest is not None and newest.cosigned_at is not None


def test_the_office_learns_of_its_restore_from_a_countersignature(world: World) -> None:
    world.a.contact()
    grow(world.office.log, 1, "lost")
    world.a.contact()
    restored = world.office.history("restored", 9)
    world.office.shown[world.a.id] = restored
    kept = world.a.kept.newest()
    assert kept is not None
    with pytest.raises(RemoteError, match="restored from an older backup"):
        world.a.calls.submit("cosignature", "x", _fresh(world, kept.note))
    assert restored.head().size == 10  # the incident


def _fresh(world: World, note: bytes) -> bytes:
    """The same head, countersigned a minute later."""
    world.clock.now += timedelta(minutes=1)
    text, _, lines = note.decode().rpartition("\n\n")
    plain = f"{text}\n\n{lines.splitlines()[0]}\n".encode()
    line = cosign(world.office.log.head(), MEMBERS[0], int(world.clock.now.timestamp()))
    return merge(plain, [line], "note")


# ------------------------------------------------------------------------ releases


def test_a_release_that_was_logged_elsewhere_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.a.contact()
    other = world.part()
    grow(other, 2, "b")
    grow(world.office.log, 3)
    files: dict[str, bytes] = {CHECKPOINT: world.office.log.checkpoint()}
    monkeypatch.setattr("protocols.bundle.unpack", lambda raw, where: files)
    world.a.witness.check_release(world.a.calls, b"zip")
    files[CHECKPOINT] = other.checkpoint()
    with pytest.raises(RemoteError, match="two histories"):
        world.a.witness.check_release(world.a.calls, b"zip")
    assert "release.note" in evidence(world.a)
    del files[CHECKPOINT]
    world.a.witness.check_release(world.a.calls, b"zip")  # ``receive`` refuses that there is none


def test_an_empty_log_and_an_impossible_head(world: World) -> None:
    from node.federation.witness import head_of

    assert head_of(0, EMPTY_ROOT, world.a.kept).size == 0
    for size, root in ((0, bytes(32)), (3, EMPTY_ROOT)):
        with pytest.raises(RemoteError, match="impossible"):
            head_of(size, root, world.a.kept)
