"""Taking a member out where clause 5 asks for a second person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coordinator.cli.app import app
from coordinator.cli.shell import run
from coordinator.members.people import new_key
from coordinator.members.removal import TAG, agreed
from memory_place import Memory
from protocols.agreement.second import approver_kid
from protocols.agreement.terms import Governance
from protocols.audit.entries import Kind
from protocols.audit.writer import LogWriter
from protocols.errors import Refused, RemoteError
from protocols.ids import MemberId
from protocols.signing import SigningKey, verify
from small_coop import office_log
from small_office import IDS, SmallOffice, signed_office

BEA, CARL = SigningKey(b"\x51" * 32), SigningKey(b"\x52" * 32)
ADA, BEN = "aa" * 8, "bb" * 8
WHO = MemberId(IDS[2])


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallOffice:
    made = signed_office(
        tmp_path / "office", two_person=["remove"], approver_keys=[BEA.public.hex()]
    )
    monkeypatch.setattr("coordinator.wiring.open_house", lambda home: made.house)
    return made


def governance(office: SmallOffice) -> Governance:
    agreement = office.house.agreement()
    assert agreement is not None
    block = agreement.terms.block("c05", Governance)
    assert block is not None
    return block


@pytest.fixture
def log() -> LogWriter:
    return office_log(Memory())


def status(office: SmallOffice) -> str:
    return str(office.house.enrolment.find(WHO[:16]).status.value)


def test_nobody_is_removed_by_one_alone(
    office: SmallOffice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(office.folder), "member", "remove", WHO[:16], "--yes"]
    assert run(app, words, "coop-coordinator") == 0
    assert "stays until a second person approves (clause 5)" in capsys.readouterr().out
    assert status(office) == "active"
    for name, key in (("bea", BEA), ("carl", CARL)):
        new_key(tmp_path / name, lambda count, key=key: key.seed)  # type: ignore[misc]
    assert run(app, [*words, "--approver-key", str(tmp_path / "carl")], "coop-coordinator") == 3
    assert "none of those that clause 5 lets approve" in capsys.readouterr().err
    assert status(office) == "active"
    assert run(app, [*words, "--approver-key", str(tmp_path / "bea")], "coop-coordinator") == 0
    assert status(office) == "removed"


def test_keys_are_not_lost_because_one_says_so(
    office: SmallOffice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(office.folder), "member", "invite", "Shop", "--replaces", WHO[:16], "-y"]
    assert run(app, words, "coop-coordinator") == 0
    assert "stays connected until a second person approves" in capsys.readouterr().out
    assert office.house.enrolment.invites() == ()
    new_key(tmp_path / "bea", lambda count: BEA.seed)
    assert run(app, [*words, "--approver-key", str(tmp_path / "bea")], "coop-coordinator") == 0
    (invite,) = office.house.enrolment.invites()
    assert invite.replaces == WHO


def test_the_signature_is_in_the_log_and_about_this_removal(
    office: SmallOffice, log: LogWriter
) -> None:
    coop, rule = "c0" * 32, governance(office)
    assert agreed(log, rule, coop, WHO, BEA, None)
    (entry,) = log.entries(Kind.APPROVAL)
    facts: dict[str, Any] = dict(entry.facts)
    assert facts["by"] == approver_kid(BEA.public.hex())
    signature = bytes.fromhex(facts["signature"])
    verify(BEA.public, signature, TAG, coop, WHO, 0)
    with pytest.raises(RemoteError):
        verify(BEA.public, signature, TAG, coop, IDS[1], 0)


@pytest.mark.parametrize(
    "entry",
    [
        (Kind.REMOVAL, {"member": WHO}),
        (Kind.MEMBERSHIP, {"member": WHO, "state": "keys-lost"}),
    ],
    ids=["removed", "keys lost"],
)
def test_one_registered_person_is_not_two(
    office: SmallOffice, log: LogWriter, entry: tuple[Kind, dict[str, str]]
) -> None:
    coop, rule = "c0" * 32, governance(office)
    for _ in range(2):
        with pytest.raises(Refused, match="a second person is another person") as caught:
            agreed(log, rule, coop, WHO, BEA, ADA)
        assert caught.value.clauses == ("c05",)
        assert not agreed(log, rule, coop, WHO, None, ADA)  # asked for, and still one person
    assert agreed(log, rule, coop, WHO, BEA, BEN)
    log.append(*entry)
    with pytest.raises(Refused):  # what was asked before counts once
        agreed(log, rule, coop, WHO, BEA, BEN)


def test_without_the_clause_nothing_is_asked(office: SmallOffice, log: LogWriter) -> None:
    alone = governance(office).model_copy(update={"two_person": ("launch",)})
    assert agreed(log, alone, "c0" * 32, WHO, None, ADA)
    assert agreed(log, None, "c0" * 32, WHO, None, None)
    assert log.entries(Kind.APPROVAL) == ()
