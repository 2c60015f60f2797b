"""Who may do what at the program: roles, passphrases, and what the journal says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from agreement_world import NOW

from node.policy.people import OS_USER, Actor, PeopleDesk, require_may
from node.store.database import Database
from protocols.agreement.roles import Action, Role
from protocols.agreement.terms import DataRoles
from protocols.audit.entries import Entry, Kind, encode
from protocols.errors import Code, InputError, Refused

ADA, BEN = "Ada Roux", "Ben Okoro"
SECRET, OTHER = "correct horse", "battery staple"


@dataclass
class Office:
    desk: PeopleDesk
    entries: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def ada(self) -> Actor:
        return self.desk.identify(ADA, lambda: SECRET)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    entries: list[tuple[str, Mapping[str, object]]] = []
    slept: list[float] = []

    def journal(kind: str, facts: Mapping[str, Any]) -> None:
        encode(Entry(len(entries), "2026-03-10T12:00:00.000000Z", Kind(kind), facts))
        entries.append((kind, facts))

    desk = PeopleDesk(
        Database.open(tmp_path / "node.db", create=True),
        journal,
        lambda: NOW,
        pause=slept.append,
        log2_n=4,  # cheap, for tests
    )
    return Office(desk, entries, slept)


@pytest.fixture
def staffed(office: Office) -> Office:
    office.desk.add(ADA, "owner", SECRET, OS_USER)
    office.desk.add(BEN, "steward", OTHER, office.ada())
    return office


def test_with_nobody_registered_the_user_of_the_computer_is_the_owner(office: Office) -> None:
    assert office.desk.identify("", lambda: "never asked") == OS_USER
    assert OS_USER.role == Role.OWNER


def test_from_the_first_person_on_the_program_asks(staffed: Office) -> None:
    with pytest.raises(InputError, match="say who you are") as caught:
        staffed.desk.identify("", lambda: SECRET)
    assert caught.value.code is Code.USAGE
    found = staffed.desk.identify(BEN, lambda: OTHER)
    assert found.role == "steward" and len(found.id) == 8
    assert not staffed.slept


@pytest.mark.parametrize(("name", "given"), [(ADA, OTHER), (ADA, ""), ("Nobody", SECRET)])
def test_what_does_not_fit_is_slow_and_written_down(staffed: Office, name: str, given: str) -> None:
    for _ in range(20):  # nobody is locked out
        with pytest.raises(InputError, match="do not fit"):
            staffed.desk.identify(name, lambda: given)
    assert len(staffed.slept) == 20 and min(staffed.slept) >= 1
    assert [kind for kind, facts in staffed.entries if facts["what"] == "wrong-passphrase"] == [
        "person"
    ] * 20
    assert staffed.ada().role == "owner"


def test_the_journal_has_roles_and_short_ids_and_no_name(staffed: Office) -> None:
    staffed.desk.set_role(BEN, "viewer", staffed.ada())
    staffed.desk.remove(BEN, staffed.ada())
    whats = [facts["what"] for _, facts in staffed.entries]
    assert whats == ["added", "added", "role", "removed"]
    text = str(staffed.entries)
    for word in ("Ada", "Ben", SECRET, OTHER):
        assert word not in text
    assert staffed.entries[0][1]["by"] == "os"
    assert staffed.entries[1][1]["by"] == staffed.ada().id


def test_no_passphrase_is_in_the_database(staffed: Office) -> None:
    path = staffed.desk._database.path
    staffed.desk._database.close()
    raw = b"".join(one.read_bytes() for one in path.parent.glob("node.db*"))
    assert SECRET.encode() not in raw and OTHER.encode() not in raw
    assert SECRET not in repr(staffed.desk.present())


def test_there_is_always_an_owner(staffed: Office) -> None:
    with pytest.raises(InputError, match="last owner"):
        staffed.desk.remove(ADA, OS_USER)
    with pytest.raises(InputError, match="last owner"):
        staffed.desk.set_role(ADA, "viewer", OS_USER)
    staffed.desk.set_role(BEN, "owner", staffed.ada())
    staffed.desk.remove(ADA, staffed.ada())
    with pytest.raises(InputError, match="do not fit"):
        staffed.ada()
    with pytest.raises(InputError, match="last owner"):
        staffed.desk.remove(BEN, OS_USER)


def test_the_first_person_is_an_owner(office: Office) -> None:
    with pytest.raises(InputError, match="first person has to be an owner"):
        office.desk.add(BEN, "steward", OTHER, OS_USER)
    assert office.desk.identify("", lambda: "") == OS_USER


@pytest.mark.parametrize(
    ("name", "role", "passphrase", "words"),
    [
        (ADA, "steward", OTHER, "taken"),
        ("", "steward", OTHER, "a name has"),
        ("x" * 41, "steward", OTHER, "a name has"),
        ("Eve\n", "steward", OTHER, "a name has"),
        ("Eve", "operator", OTHER, "not a role on a node"),
        ("Eve", "root", OTHER, "not a role on a node"),
        ("Eve", "steward", "short", "8 are the least"),
    ],
)
def test_nobody_is_registered_by_halves(
    staffed: Office, name: str, role: str, passphrase: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        staffed.desk.add(name, role, passphrase, staffed.ada())
    assert len(staffed.desk.present()) == 2


def test_a_lost_passphrase_does_not_lock_out_the_owner_of_the_files(staffed: Office) -> None:
    assert staffed.desk.reset() == 2
    assert staffed.desk.identify("", lambda: "") == OS_USER
    assert staffed.entries[-1][1] == {
        "what": "reset",
        "removed": 2,
        "role": "owner",
        "by": "os",
    }
    assert staffed.slept


def clause(**changes: list[str]) -> DataRoles:
    roles = {
        "type": "data_roles",
        "sign_agreement": ["owner"],
        "approve_orders": ["owner", "steward"],
        "export_results": ["owner"],
    }
    return DataRoles.model_validate_json(json.dumps({**roles, **changes}))


def test_a_role_does_what_it_may_and_no_more() -> None:
    require_may(Actor("owner", "aa"), Action.SIGN, None)
    with pytest.raises(Refused, match="viewer may not approve or refuse orders here") as caught:
        require_may(Actor("viewer", "aa"), Action.APPROVE, None)
    assert "allowed: owner, steward, custodian" in str(caught.value)
    assert caught.value.clauses == ()


def test_clause_6_takes_away_and_is_named() -> None:
    require_may(Actor("custodian", "aa"), Action.APPROVE, None)
    with pytest.raises(Refused, match="allowed: owner, steward") as caught:
        require_may(Actor("custodian", "aa"), Action.APPROVE, clause())
    assert caught.value.clauses == ("c06",)
    only = clause(approve_orders=["steward"])
    with pytest.raises(Refused):  # also of the owner, if the members agreed so
        require_may(OS_USER, Action.APPROVE, only)
    with pytest.raises(Refused):  # a clause adds nothing
        require_may(Actor("viewer", "aa"), Action.EXPORT, clause(export_results=["viewer"]))
