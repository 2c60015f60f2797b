"""What the office does with a release: holds, publishes, withdraws, revokes; and after crashes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator import files as disk
from coordinator.release import publishing
from coordinator.release.models import Release, load_release, make_release, store_release
from coordinator.release.publishing import SEALED, ReleaseDesk
from coordinator.store.database import Database
from coordinator.store.mail import Mail
from coordinator.store.members import Member, Members, Status
from coordinator.store.releases import NEXT, Releases, ReleaseState, Revocations
from memory_place import Memory
from protocols import bundle
from protocols.agreement.revocation import verify_revocation
from protocols.agreement.second import approver_kid
from protocols.agreement.terms import Governance
from protocols.audit.entries import Kind
from protocols.audit.writer import LogWriter
from protocols.canonical import parse_json
from protocols.errors import Code, InputError, LocalError, Refused
from protocols.evidence import verify_release
from protocols.ids import MemberId
from protocols.joining import Profile
from protocols.signing import SigningKey, signed_by
from small_coop import (
    COOP,
    COORDINATOR,
    IDS,
    MEMBERS,
    NOW,
    OPERATOR,
    Coop,
    coop,
    finished,
    office_log,
)

BEA, CARL = SigningKey(b"\x71" * 32), SigningKey(b"\x72" * 32)
SECOND = {"two_person": ["release", "revoke"], "approver_keys": [BEA.public.hex()]}
AS_OPERATOR = {"operator": OPERATOR}
AS_BEA = {approver_kid(BEA.public.hex()): BEA}


class World:
    """A desk over a real database and folder, and one release of a finished run."""

    def __init__(self, root: Path, database: Database, **figures: Any) -> None:
        self.found: Coop = coop(**figures)
        self.place, self.database, self.now = Memory(), database, NOW
        self.log: LogWriter = office_log(self.place)
        self.desk = ReleaseDesk(
            database, root / "releases", COORDINATOR, self.log, lambda: (), lambda: self.now
        )
        with database.write() as db:
            for key, name in zip(MEMBERS, IDS, strict=True):
                about = Profile(name[:8], f"HRB {name[:8]}", "grocery", "town")
                Members(db).add(Member(name, about, key.public, Status.ACTIVE, NOW))
        self.made = self.make()

    def make(self, now: datetime = NOW) -> Release:
        _, run = finished(found=self.found)
        made = make_release(self.found.source(run.records), COORDINATOR, self.log, now)
        store_release(made, self.desk.folder)
        return made

    def offer(self) -> None:
        offer = self.desk.prepare(self.made)
        with self.database.write() as db:
            offer(db)

    @property
    def model(self) -> str:
        return self.made.model

    @property
    def governance(self) -> Governance:
        block = self.found.agreement.terms.block("c05", Governance)
        assert block is not None
        return block

    def letters(self, kind: str) -> dict[MemberId, bytes]:
        with self.database.read() as db:
            return {
                one: letter.body
                for one in IDS
                for letter in Mail(db).after(one, 0)
                if letter.kind == kind
            }

    def state(self) -> ReleaseState:
        return self.desk.require(self.model).state

    def files(self) -> Mapping[str, bytes]:
        return load_release(self.desk.folder / self.model)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: the migrations take longer than a test."""
    file = tmp_path_factory.mktemp("empty") / "coordinator.db"
    Database.open(file, create=True).close()
    return file


@pytest.fixture
def database(tmp_path: Path, empty: Path) -> Iterator[Database]:
    made = Database.open(Path(shutil.copy(empty, tmp_path)))
    yield made
    made.close()


@pytest.fixture
def alone(tmp_path: Path, database: Database) -> World:
    return World(tmp_path, database)


@pytest.fixture
def held(tmp_path: Path, database: Database) -> World:
    made = World(tmp_path, database, **SECOND)
    made.offer()
    return made


def test_without_a_second_person_a_release_is_published_at_once(alone: World) -> None:
    alone.offer()
    assert alone.made.missing == () and alone.state() is ReleaseState.PUBLISHED
    letters = alone.letters("release")
    assert set(letters) == set(IDS)
    assert set(letters.values()) == {alone.made.files[bundle.CARD_SIGNED]}
    raw = alone.desk.fetched(IDS[0], alone.model)
    assert raw == (alone.desk.folder / alone.model / SEALED).read_bytes()
    alone.offer()  # again after a crash
    assert alone.state() is ReleaseState.PUBLISHED
    with pytest.raises(LocalError, match="is published; only a held one"):
        alone.desk.approve(alone.model, AS_OPERATOR)


def test_a_release_that_needs_two_is_held_until_both_signed(held: World) -> None:
    assert held.made.missing == ("the operator", "an approver")
    assert held.state() is ReleaseState.HELD and held.letters("release") == {}
    with pytest.raises(KeyError):
        held.desk.fetched(IDS[0], held.model)
    with pytest.raises(InputError, match="the operator and an approver is missing") as caught:
        verify_release(held.files(), held.found.pins)
    assert caught.value.where == "card.jws, check card"
    lines = verify_release(held.files(), held.found.pins, held=True).lines()
    assert any("held, it waits for the operator and an approver" in line for line in lines)

    assert held.desk.approve(held.model, AS_OPERATOR) == ("an approver",)
    assert held.desk.approve(held.model, AS_OPERATOR) == ("an approver",)  # again changes nothing
    assert held.state() is ReleaseState.HELD and held.letters("release") == {}
    assert held.desk.approve(held.model, AS_BEA) == ()
    assert held.state() is ReleaseState.PUBLISHED
    card = held.files()[bundle.CARD_SIGNED]
    assert set(held.letters("release").values()) == {card}
    kids = signed_by(parse_json(card, "card"), "card")
    assert kids == ("coordinator", "operator", approver_kid(BEA.public.hex()))
    verify_release(held.files(), held.found.pins)
    assert held.desk.fetched(IDS[0], held.model)
    approvals = [dict(one.facts) for one in held.log.entries(Kind.APPROVAL)]
    assert approvals == [{"model": held.model, "by": kid} for kid in kids[1:]]


def test_one_registered_person_is_not_two(held: World) -> None:
    ada, ben = "aa" * 8, "bb" * 8
    with pytest.raises(Refused, match="would sign with 2 keys") as caught:
        held.desk.approve(held.model, AS_OPERATOR | AS_BEA, by=ada)
    assert caught.value.clauses == ("c05",)
    assert held.desk.approve(held.model, AS_OPERATOR, by=ada) == ("an approver",)
    with pytest.raises(Refused, match="would sign with 2 keys"):
        held.desk.approve(held.model, AS_BEA, by=ada)
    assert held.state() is ReleaseState.HELD
    assert held.desk.approve(held.model, AS_BEA, by=ben) == ()

    def revoke(keys: Mapping[str, SigningKey], by: str) -> tuple[str, ...]:
        return held.desk.revoke(held.model, "A test.", keys, held.governance, by=by)

    assert revoke(AS_OPERATOR, ben) == ("an approver",)  # who approved it may take it back
    with pytest.raises(Refused, match="would sign with 2 keys"):
        revoke(AS_BEA, ben)
    assert revoke(AS_BEA, ada) == ()


@pytest.mark.parametrize(
    "keys",
    [
        {"operator": BEA},
        {"operator": COORDINATOR},
        {approver_kid(CARL.public.hex()): CARL},
        {approver_kid(BEA.public.hex()): CARL},
        {approver_kid(OPERATOR.public.hex()): OPERATOR},
        {"coordinator": CARL},
        {},
    ],
)
def test_a_key_that_clause_5_does_not_name_signs_nothing(
    held: World, keys: Mapping[str, SigningKey]
) -> None:
    before = held.files()
    if keys:
        with pytest.raises(InputError, match="clause 5 does not name"):
            held.desk.approve(held.model, keys)
    else:
        assert held.desk.approve(held.model, keys) == ("the operator", "an approver")
    assert held.files() == before and held.state() is ReleaseState.HELD


def test_a_second_signature_that_nobody_asked_for_does_not_verify(alone: World) -> None:
    """Without the word "release" in two_person only the coordinator signs a card."""
    alone.offer()
    with pytest.raises(LocalError):
        alone.desk.approve(alone.model, AS_OPERATOR)
    with pytest.raises(InputError, match="clause 5 does not name"):
        publishing._signed({}, None, AS_OPERATOR, {"coordinator": COORDINATOR.public})


def test_a_crash_between_the_files_and_the_letters_is_made_good(
    held: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.desk.approve(held.model, AS_OPERATOR)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Mail, "post", crash)
        with pytest.raises(KeyboardInterrupt):
            held.desk.approve(held.model, AS_BEA)
    assert held.state() is ReleaseState.HELD and held.letters("release") == {}
    assert held.desk.approve(held.model, AS_BEA) == ()
    assert len(held.letters("release")) == len(IDS)


def test_a_release_that_is_made_again_has_one_entry_in_the_log(alone: World) -> None:
    """The office was killed after the log and before the disk; an hour later it starts again."""
    again = alone.make(NOW + timedelta(hours=1))
    assert again.card == alone.made.card
    assert len(alone.log.entries(Kind.RELEASE)) == 1
    signed = again.files[bundle.CARD_SIGNED]
    assert signed == alone.made.files[bundle.CARD_SIGNED]
    other = World.make.__get__(alone)  # another run is another release
    alone.found = coop({"run": "cd" * 16})
    assert other(NOW).model != alone.model
    assert len(alone.log.entries(Kind.RELEASE)) == 2


def test_states_change_as_listed(alone: World) -> None:
    alone.offer()
    for state in ReleaseState:
        for after in ReleaseState:
            model = f"{state.value}-{after.value}"
            with alone.database.write() as db:
                Releases(db).add(model, "ab" * 16, state, NOW)
                if after in NEXT[state]:
                    Releases(db).move(model, after, NOW)
                else:
                    with pytest.raises(LocalError, match="cannot become"):
                        Releases(db).move(model, after, NOW)
    with alone.database.write() as db, pytest.raises(LocalError, match="no such release"):
        Releases(db).move("?", ReleaseState.HELD, NOW)
    with pytest.raises(InputError) as caught:
        alone.desk.require("?")
    assert caught.value.code is Code.NOT_FOUND


def test_a_revocation_is_logged_told_to_all_and_final(alone: World) -> None:
    alone.offer()
    assert alone.desk.revoke(alone.model, "A mistake.", AS_OPERATOR, alone.governance) == ()
    letters = alone.letters("revocation")
    assert set(letters) == set(IDS) and len(set(letters.values())) == 1
    signed = parse_json(letters[IDS[0]], "x")
    parsed = verify_revocation(signed, alone.governance, coop=COOP, where="x")
    assert (parsed.revocation.model, parsed.revocation.reason) == (alone.model, "A mistake.")
    (entry,) = alone.log.entries(Kind.REVOCATION)
    assert entry.facts["revocation"] == parsed.id
    assert alone.state() is ReleaseState.REVOKED
    with pytest.raises(KeyError):
        alone.desk.fetched(IDS[0], alone.model)
    with pytest.raises(LocalError, match="revoked before"):
        alone.desk.revoke(alone.model, "Again.", AS_OPERATOR, alone.governance)
    listed = parse_json(alone.desk.revocations(0), "x")
    assert listed["newest"] == 1 and listed["revocations"] == [{"seq": 1, "signed": signed}]
    assert parse_json(alone.desk.revocations(1), "x")["revocations"] == []


def test_a_revocation_may_need_two(held: World) -> None:
    say = held.desk.revoke
    assert say(held.model, "A mistake.", AS_OPERATOR, held.governance) == ("an approver",)
    assert held.letters("revocation") == {} and held.log.entries(Kind.REVOCATION) == ()
    assert parse_json(held.desk.revocations(0), "x") == {"newest": 0, "revocations": []}
    held.now += timedelta(days=1)
    with pytest.raises(InputError, match="clause 5 does not name"):
        say(held.model, "", {approver_kid(CARL.public.hex()): CARL}, held.governance)
    assert say(held.model, "another reason", AS_BEA, held.governance) == ()
    with held.database.read() as db:
        stored = Revocations(db).get(held.model)
    assert stored is not None and stored.seq == 1
    signed = parse_json(stored.jws, "x")
    parsed = verify_revocation(signed, held.governance, coop=COOP, where="x")
    assert parsed.revocation.reason == "A mistake." and parsed.revocation.issued == NOW
    lacking = {**signed, "signatures": signed["signatures"][:1]}
    with pytest.raises(Refused, match="lacks the signature of an approver") as caught:
        verify_revocation(lacking, held.governance, coop=COOP, where="x")
    assert caught.value.clauses == ("c05",)
    with pytest.raises(LocalError):  # what is revoked is not published any more
        held.desk.approve(held.model, AS_OPERATOR)


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 501])
def test_a_revocation_needs_one_line_of_reason(alone: World, reason: str) -> None:
    alone.offer()
    with pytest.raises(InputError):
        alone.desk.revoke(alone.model, reason, AS_OPERATOR, alone.governance)
    assert alone.state() is ReleaseState.PUBLISHED


def test_a_crash_after_the_log_of_a_revocation_is_made_good(
    alone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.offer()

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Revocations, "put", crash)
        with pytest.raises(KeyboardInterrupt):
            alone.desk.revoke(alone.model, "A mistake.", AS_OPERATOR, alone.governance)
    assert alone.state() is ReleaseState.PUBLISHED
    assert alone.desk.revoke(alone.model, "A mistake.", AS_OPERATOR, alone.governance) == ()
    assert len(alone.log.entries(Kind.REVOCATION)) == 1


def test_a_sealed_file_is_whole_or_absent(alone: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes, mode: int = 0) -> None:
        raise LocalError("the disk is full; nothing was changed.", code=Code.UNAVAILABLE)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", full)
        with pytest.raises(LocalError, match="disk is full"):
            alone.desk.prepare(alone.made)
    assert not (alone.desk.folder / alone.model / SEALED).exists()
    alone.offer()
    assert alone.desk.fetched(IDS[0], alone.model)


def test_what_is_offered_no_longer_stands_in_the_log_once(
    alone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the office stopped between the log and the database."""
    alone.offer()
    append = alone.log.append

    def crash(kind: Kind, facts: Mapping[str, Any]) -> None:
        append(kind, facts)
        raise LocalError("stopped")

    monkeypatch.setattr(alone.log, "append", crash)
    with pytest.raises(LocalError, match="stopped"):
        alone.desk.withdraw(alone.model)
    assert alone.state() is ReleaseState.PUBLISHED
    monkeypatch.setattr(alone.log, "append", append)
    alone.desk.withdraw(alone.model)
    assert alone.state() is ReleaseState.WITHDRAWN
    found = [dict(one.facts) for one in alone.log.entries(Kind.WITHDRAWAL)]
    assert found == [{"model": alone.model, "run": alone.made.card["run"]}]
    with pytest.raises(LocalError, match="it cannot become withdrawn"):
        alone.desk.withdraw(alone.model)
    assert len(list(alone.log.entries(Kind.WITHDRAWAL))) == 1
