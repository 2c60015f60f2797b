"""People of an office: one role each, a passphrase, and what each role may do."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import typer

from coordinator.cli import guard
from coordinator.cli.app import app
from coordinator.cli.shell import run
from coordinator.members import people
from coordinator.store.database import Database
from coordinator.store.people import People
from protocols.agreement.roles import Action, Role, may
from protocols.errors import InputError, LocalError, Refused
from small_office import NOW, SmallOffice

SECRET, WRONG = "four words in a row", "five words in a row"
ENTROPY = iter(range(1, 10_000))


def entropy(count: int) -> bytes:
    return next(ENTROPY).to_bytes(count, "big")


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "LOG2_N", 14)


@pytest.fixture
def database(tmp_path: Path, cheap: None) -> Database:
    return Database.open(tmp_path / "office.db", create=True)


def add(database: Database, name: str, role: str = "operator", secret: str = SECRET) -> Any:
    with database.write() as db:
        return people.add(db, name=name, role=role, passphrase=secret, now=NOW, entropy=entropy)


def test_a_passphrase_opens_and_another_does_not(database: Database) -> None:
    anna = add(database, "Anna")
    assert SECRET not in anna.passphrase and SECRET not in repr(anna)
    with database.read() as db:
        assert people.authenticate(db, "Anna", SECRET).id == anna.id
        with pytest.raises(Refused, match="not the passphrase of Anna"):
            people.authenticate(db, "Anna", WRONG)
        with pytest.raises(InputError, match="nobody called 'Bea'"):
            people.authenticate(db, "Bea", SECRET)


def test_two_people_with_the_same_passphrase_are_stored_differently(database: Database) -> None:
    anna, bea = add(database, "Anna"), add(database, "Bea")
    assert anna.passphrase != bea.passphrase


def test_a_person_has_one_role(database: Database) -> None:
    add(database, "Anna")
    with pytest.raises(Refused, match="Anna is operator here already; a person has one role"):
        add(database, "Anna", "auditor")


@pytest.mark.parametrize(
    ("name", "role", "secret", "words"),
    [
        ("Anna", "owner", SECRET, "no role 'owner' in an office"),
        ("Anna", "operator", "short", "5 characters, 12 are the least"),
        (" ", "operator", SECRET, "1 to 100 printable"),
        ("A\nB", "operator", SECRET, "1 to 100 printable"),
    ],
)
def test_what_is_no_person_is_refused(
    database: Database, name: str, role: str, secret: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        add(database, name, role, secret)


def test_an_office_never_loses_its_last_operator(database: Database) -> None:
    with pytest.raises(Refused, match="nobody could run this office"):
        add(database, "Carl", "auditor")
    add(database, "Anna")
    add(database, "Carl", "auditor")
    with database.write() as db:
        with pytest.raises(Refused, match="the last operator"):
            people.remove(db, "Anna", NOW)
        people.remove(db, "Carl", NOW)
        people.remove(db, "Anna", NOW)
        assert People(db).list() == ()
        assert len(People(db).list(former=True)) == 2


@pytest.mark.parametrize("stored", ["", "scrypt:99:00:00", "scrypt:15:zz:00", "md5:15:00:00"])
def test_a_damaged_passphrase_opens_for_nobody(database: Database, stored: str) -> None:
    anna = add(database, "Anna")
    with database.write() as db:
        db.exec_driver_sql("UPDATE people SET passphrase = ? WHERE id = ?", (stored, anna.id))
        with pytest.raises((LocalError, Refused)):
            people.authenticate(db, "Anna", SECRET)


def test_a_key_file_is_for_its_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "bea.key"
    made = people.new_key(file, entropy)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert people.load_key(file).public == made.public
    with pytest.raises(InputError, match="there is a file already"):
        people.new_key(file, entropy)
    file.write_text("not a key", encoding="utf-8")
    with pytest.raises(InputError, match="not a key file"):
        people.load_key(file)


# ----------------------------------------------------------------- the guard


def leaves(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    children = getattr(command, "commands", None)
    if children is None:
        return [path]
    return [leaf for name, child in children.items() for leaf in leaves(child, (*path, name))]


COMMANDS = leaves(typer.main.get_command(app))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_some_act(path: tuple[str, ...]) -> None:
    act = guard.action_of(path)
    assert act in set(Action)
    assert path in guard.ANYBODY or may(Role.OPERATOR, act)


def test_the_table_names_commands_that_exist() -> None:
    assert set(COMMANDS) >= guard.SEE
    assert set(COMMANDS) >= guard.ANYBODY


def test_an_auditor_looks_and_verifies_only() -> None:
    allowed = {one for one in COMMANDS if may(Role.AUDITOR, guard.action_of(one))}
    assert {("run", "plan"), ("run", "status"), ("verify",), ("incident", "list")} <= allowed
    for path in (("run", "launch"), ("run", "approve"), ("incident", "open"), ("purge",)):
        assert path not in allowed
    assert ("people", "add") not in allowed


def test_a_command_that_nobody_listed_is_the_operators() -> None:
    assert guard.action_of(("sweep",)) == Action.SETTINGS
    assert guard.action_of(("run", "sweep")) == Action.LAUNCH


@pytest.fixture
def office(tmp_path: Path, cheap: None, monkeypatch: pytest.MonkeyPatch) -> SmallOffice:
    made = SmallOffice(tmp_path / "office")
    for variable in ("COOP_AS", "COOP_PASSPHRASE", "COOP_NEW_PASSPHRASE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COOP_NEW_PASSPHRASE", SECRET)
    return made


def command(office: SmallOffice, *words: str) -> int:
    return run(app, ["--home", str(office.folder), *words], "coop-coordinator")


def test_roles_hold_from_the_first_person_on(
    office: SmallOffice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(office, "run", "status") == 0  # nobody: whoever has the account
    assert command(office, "--as", "Anna", "run", "status") == 2
    assert "nobody is registered" in capsys.readouterr().err
    assert command(office, "people", "add", "Anna", "--role", "operator") == 0
    assert command(office, "run", "status") == 2
    assert "--as NAME run status" in capsys.readouterr().err
    assert command(office, "--as", "Anna", "run", "status") == 2  # and no passphrase
    monkeypatch.setenv("COOP_PASSPHRASE", WRONG)
    assert command(office, "--as", "Anna", "run", "status") == 3
    monkeypatch.setenv("COOP_PASSPHRASE", SECRET)
    assert command(office, "--as", "Anna", "people", "add", "Carl", "--role", "auditor") == 0
    assert command(office, "--as", "Carl", "run", "status") == 0
    capsys.readouterr()
    assert command(office, "--as", "Carl", "incident", "open", "--what", "x", "--yes") == 3
    assert "Carl is auditor here; 'incident open' is for an operator" in capsys.readouterr().err
    monkeypatch.setenv("COOP_AS", "Carl")
    assert command(office, "people", "list") == 0
    assert command(office, "people", "add", "Dora", "--role", "operator") == 3


def test_the_log_knows_ids_and_no_names(
    office: SmallOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COOP_PASSPHRASE", SECRET)
    assert command(office, "people", "add", "Anna", "--role", "operator") == 0
    assert command(office, "--as", "Anna", "incident", "open", "--what", "x", "--yes") == 0
    assert command(office, "--as", "Anna", "people", "remove", "Anna", "--yes") == 0
    log = (office.folder / "audit" / "log.jsonl").read_text(encoding="utf-8")
    assert "Anna" not in log
    added, removed = office.entries("person")
    (opened,) = office.entries("incident")
    assert added["person"] == removed["person"] == removed["by"] == opened["by"]
    assert (added["role"], opened["role"]) == ("operator", "operator")


def test_everybody_makes_their_own_key(
    office: SmallOffice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COOP_PASSPHRASE", SECRET)
    out = tmp_path / "key"
    assert command(office, "people", "add", "Anna", "--role", "operator") == 0
    assert command(office, "--as", "Anna", "people", "add", "Bea", "--role", "operator") == 0
    assert command(office, "--as", "Anna", "people", "key", "Bea", "--out", str(out)) == 3
    assert not out.exists()
    assert command(office, "--as", "Bea", "people", "key", "Bea", "--out", str(out)) == 0
    public = people.load_key(out).public
    with office.house.database.read() as db:
        assert people.find(db, "Bea").approver_key == public


def test_a_damaged_database_is_said_and_lets_nobody_through(office: SmallOffice) -> None:
    (office.folder / "coordinator.db").write_bytes(b"no database at all, but long enough" * 40)
    assert command(office, "run", "status") == 1
