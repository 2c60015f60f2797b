"""Damaged files, older files put back, files that are gone: refused, and never from zero again."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from agreement_world import ME, NOW
from privacy_world import Shop, run_name

from node.policy.journal import Journal
from node.policy.ledgers import FILE, open_whole, require_whole
from node.store.budgets import RunBudget
from node.store.database import Database
from protocols.audit.entries import Kind
from protocols.errors import Code, CoopError, InputError, LocalError

ONE, TWO, THREE = (run_name(number) for number in (1, 2, 3))


@dataclass
class RealShop(Shop):
    """With the journal on the disk beside the database."""

    def __post_init__(self) -> None:
        self.log = Journal(self.path.parent / "audit", ME, lambda: self.now)
        super().__post_init__()

    def journal(self, kind: str, facts: Mapping[str, object]) -> None:
        super().journal(kind, facts)
        self.log.append(Kind(kind), facts)  # type: ignore[arg-type]

    @property
    def folder(self) -> Path:
        return self.path.parent

    def takes_part(self, run: str, rounds: int = 2) -> None:
        """Admitted, rows read, one round signed; as the node does it."""
        assert self.admits(run, rounds)
        self.journal("snapshot", {"run": run, "root": "5b" * 32, "basis": "consent"})
        self.send(run)
        self.spend(run)
        self.journal("spent", {"run": run, "round": 1})

    def whole(self) -> tuple[int, int]:
        database = open_whole(self.folder, self.restored_at)
        try:
            return require_whole(database, self.folder, self.restored_at)
        finally:
            database.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[RealShop]:
    folder = tmp_path / "home"
    folder.mkdir()
    made = RealShop(folder / FILE)
    made.sign()
    yield made
    made.database.close()


@pytest.fixture
def busy(shop: RealShop) -> RealShop:
    """Two runs took part, one was admitted only; nothing is open any more."""
    shop.takes_part(ONE)
    shop.settle(ONE)
    shop.takes_part(TWO)
    assert shop.admits(THREE, 2)
    shop.database.close()
    return shop


def refused(shop: RealShop, *words: str) -> None:
    with pytest.raises(LocalError) as caught:
        shop.whole()
    assert caught.value.code is Code.TAMPERED
    text = str(caught.value)
    assert "restore" in text, text
    for word in words:
        assert word in text, text


def test_what_is_whole_opens(busy: RealShop) -> None:
    assert busy.whole() == (2, 2)


def test_a_new_folder_gets_its_ledgers(tmp_path: Path) -> None:
    Journal(tmp_path / "audit", ME, lambda: NOW).append(Kind.ENROLMENT, {})
    open_whole(tmp_path).close()
    assert (tmp_path / FILE).stat().st_size


@pytest.mark.parametrize("empty", [False, True], ids=["gone", "empty"])
def test_a_database_that_is_gone_is_not_begun_again(busy: RealShop, empty: bool) -> None:
    busy.path.unlink()
    if empty:
        busy.path.touch()
    refused(busy, "missing or empty", "never begins its ledgers again", "coop-node --home NEW")
    assert not busy.path.exists() or not busy.path.stat().st_size


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_cut_file_is_refused(busy: RealShop, share: float) -> None:
    data = busy.path.read_bytes()
    busy.path.write_bytes(data[: max(1, int(len(data) * share))])
    refused(busy)


def sums(database: Database) -> object:
    """Everything that a decision counts."""
    with database.read() as connection:
        runs = RunBudget(connection).list(NOW - timedelta(days=3000))
        marks = connection.exec_driver_sql("SELECT run, round FROM spent_rounds").all()
    return runs, sorted(tuple(one) for one in marks)


def test_a_flipped_bit_is_refused_or_changes_no_sum(busy: RealShop) -> None:
    """Anywhere in the file; half of the flips in the pages of the ledgers themselves."""
    data = busy.path.read_bytes()
    database = open_whole(busy.folder)
    before = sums(database), busy_lines(database)
    database.close()
    places = [place for run in (ONE, TWO, THREE) for place in found(data, run.encode())]
    assert len(places) >= 6
    source = random.Random(20260310)
    near = [source.choice(places) + source.randrange(-8, 180) for _ in range(24)]
    anywhere = [source.randrange(len(data)) for _ in range(12)]
    said_no = 0
    for place in near + anywhere:
        flipped = bytearray(data)
        flipped[min(place, len(data) - 1)] ^= 1 << source.randrange(8)
        for rest in ("-wal", "-shm"):
            busy.path.with_name(FILE + rest).unlink(missing_ok=True)
        busy.path.write_bytes(flipped)
        try:
            database = open_whole(busy.folder)
            try:
                require_whole(database, busy.folder)
                assert (sums(database), busy_lines(database)) == before, place
            finally:
                database.close()
        except CoopError as error:
            assert "restore" in str(error).lower() or "newer release" in str(error), error
            said_no += 1
    assert said_no > 8


def busy_lines(database: Database) -> object:
    from node.policy.privacy import PrivacyAccount

    with database.read() as connection:
        return PrivacyAccount(connection, None).lines()


def found(data: bytes, what: bytes) -> list[int]:
    out, at = [], data.find(what)
    while at >= 0:
        out.append(at)
        at = data.find(what, at + 1)
    return out


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE people",
        "DROP TABLE spent_rounds",
        "ALTER TABLE approvals DROP COLUMN role",
        "DROP TRIGGER notices_no_update",
        "UPDATE alembic_version SET version_num = '0003'",
    ],
)
def test_another_schema_is_refused(busy: RealShop, damage: str) -> None:
    with sqlite3.connect(busy.path) as raw:
        raw.execute(damage)
    raw.close()
    refused(busy, "damaged")


def changed(busy: RealShop, *statements: str) -> None:
    with sqlite3.connect(busy.path) as raw:
        for one in statements:
            raw.execute(one)
    raw.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (f"DELETE FROM spent_rounds WHERE run = '{TWO}' AND round = 1", "round 1 of run"),
        (f"UPDATE run_budget SET state = 'returned' WHERE run = '{ONE}'", "different things"),
        ("UPDATE run_budget SET reserved_at = '2016-01-01T00:00:00.000000Z'", "different things"),
        ("UPDATE run_budget SET cohort = '[]'", "different things"),
        (f"DELETE FROM run_budget WHERE run = '{ONE}'", "the database does not"),
        (f"DELETE FROM privacy_spending WHERE run = '{ONE}'", "has no line for run"),
        ("UPDATE run_budget SET reserved_at = 'soon'", "cannot be read"),
    ],
)
def test_ledgers_that_contradict_each_other_are_refused(
    busy: RealShop, statement: str, words: str
) -> None:
    changed(busy, statement)
    with pytest.raises(LocalError, match=words):
        busy.whole()


def test_an_older_copy_that_was_put_back_is_refused(shop: RealShop, tmp_path: Path) -> None:
    """The whole database of yesterday, in itself without a fault."""
    shop.takes_part(ONE)
    shop.settle(ONE)
    shop.database.close()
    copy = tmp_path / "yesterday.db"
    shutil.copy(shop.path, copy)
    shop.reopened()
    shop.takes_part(TWO)
    shop.settle(TWO)
    shop.database.close()
    shutil.copy(copy, shop.path)
    refused(shop, f"the journal knows of run {TWO[:16]}", "an older copy")
    shop.restored_at = shop.log.newest_at()  # after a restore all counts as spent (SPEC 6.5)
    assert shop.whole() == (0, 0)


def test_a_process_that_died_before_the_database_committed_goes_on(shop: RealShop) -> None:
    """The decision stands in the journal, the reservation does not: no permit ever left."""
    shop.journal("decision", {"gate": "admit", "allowed": True, "run": ONE})
    assert shop.whole() == (0, 0)
    assert shop.admits(ONE)


def test_a_journal_that_is_gone_is_refused(busy: RealShop) -> None:
    shutil.rmtree(busy.folder / "audit")
    refused(busy, "the journal is missing or empty")


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw.replace(b'"kind":"spent"', b'"kind":"start"', 1),
        lambda raw: raw[: len(raw) - 1],
    ],
    ids=["cut", "changed", "without its end"],
)
def test_a_damaged_journal_never_hides_a_run(
    busy: RealShop, damage: Callable[[bytes], bytes]
) -> None:
    busy.log.close()
    file = busy.folder / "audit" / "log.jsonl"
    file.write_bytes(damage(file.read_bytes()))
    (busy.folder / "audit" / "resume.json").unlink()
    with pytest.raises(InputError):
        Journal(busy.folder / "audit", ME, lambda: NOW)
