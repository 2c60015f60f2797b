"""One person's rows: found, corrected, erased; and old rows purged; and all under another key."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from node.data import rowfiles
from node.data.batch import BadRow
from node.data.identity import Numbered, as_bytes, from_bytes, line_hashes
from node.data.stages import RawRows
from node.data.vault import LineCorrection, Trace, Vault
from protocols.errors import InputError, LocalError
from vault_rows import KEY, NOW, PEOPLE, START, customers, lines, stock, take


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 lines of 40 people (200 receipts), two customer records, stock, three rows set aside."""
    made = Vault(tmp_path_factory.mktemp("filled") / "vault", KEY)
    bad = (
        BadRow(7, 1, "unreadable", ("s1",), customer_key=PEOPLE[3]),
        BadRow(8, 1, "unreadable", ("s2",), customer_key=PEOPLE[4]),
        BadRow(9, 1, "unreadable", ("s3",)),
    )
    rows = (
        lines(0, 400),
        customers((PEOPLE[3], date(2024, 1, 3), "DE"), (PEOPLE[4], None, "FR")),
        stock(("s1", START, 4), ("s1", date(2024, 6, 1), 5)),
    )
    take(made, *rows, bad=bad)
    return made.root


@pytest.fixture
def vault(tmp_path: Path, filled: Path) -> Vault:
    """A copy of the vault that is filled once."""
    return Vault(shutil.copytree(filled, tmp_path / "vault"), KEY)


def names(vault: Vault) -> set[str]:
    return {path.name for path in vault.root.rglob("*") if path.is_file()} - {"lock"}


# --- found -------------------------------------------------------------------------------------


def test_a_person_is_found_everywhere(vault: Vault) -> None:
    assert vault.trace(PEOPLE[3]) == Trace(10, 1, 1, date(2024, 1, 4), date(2024, 6, 12))
    assert vault.trace("f" * 64).empty and not vault.trace(PEOPLE[0]).empty
    mine = vault.lines_of(PEOPLE[3])
    assert mine.num_rows == 10 and set(mine["customer_key"].to_pylist()) == {PEOPLE[3]}
    assert mine["copy"].to_pylist().count(1) == 5


def test_instants_come_back_aware(vault: Vault) -> None:
    ((at, count),) = vault.query("SELECT min(ts_utc), count(*) FROM sales_line")
    assert (at, at.utcoffset(), count) == (datetime(2024, 1, 1, 9, tzinfo=UTC), timedelta(0), 400)
    asked = "SELECT count(*) FROM sales_line WHERE customer_key = $key"
    assert vault.query(asked, {"key": PEOPLE[3]}) == [(10,)]


# --- erased ------------------------------------------------------------------------------------


def test_an_erased_person_is_nowhere_and_does_not_come_back(vault: Vault) -> None:
    digest, others = vault.data_digest(), vault.lines_of(PEOPLE[4])
    before = names(vault)
    done = vault.erase([PEOPLE[3], "f" * 64], NOW, "request")
    assert (done.lines, done.customers, done.quarantined, done.files) == (10, 1, 1, 3)
    assert vault.trace(PEOPLE[3]).empty and vault.lines_of(PEOPLE[4]).equals(others)
    assert vault.verify() == 4 and len(before & names(vault)) == 2  # the list's name and the stock
    assert vault.data_digest() != digest
    assert [row.line for row in vault.quarantined(vault.imports()[0].sha256)[1]] == [8, 9]
    assert [(one.what, one.rows) for one in vault.manifest().removals] == [("erase", 12)]
    # the same export again, and a newer one: nothing of that person, nothing twice of others
    known = customers((PEOPLE[3], START, "DE"), (PEOPLE[5], START, "DE"))
    again = take(vault, lines(0, 440), known)
    assert (again.rows_added, again.suppressed, again.duplicates) == (39, 13, 390)
    assert vault.trace(PEOPLE[3]).empty and vault.trace(PEOPLE[5]).customers == 1
    assert vault.summary().lines == 428


def test_a_person_shares_equal_lines_with_others(tmp_path: Path) -> None:
    """The same line of two people: the one who stays is neither lost nor taken in again."""
    vault = Vault(tmp_path / "v", KEY)
    table = lines(0, 2).table
    twice = table.set_column(14, "customer_key", pa.array([PEOPLE[1], PEOPLE[2]]))
    take(vault, RawRows(twice))
    vault.erase([PEOPLE[1]], NOW, "request")
    done = take(vault, RawRows(twice))
    assert (done.rows_added, done.suppressed, done.duplicates) == (0, 1, 1)
    assert vault.query("SELECT customer_key, copy FROM sales_line") == [(PEOPLE[2], 1)]


def test_a_line_without_its_customer_is_not_given_an_erased_one(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "v", KEY)
    take(vault, lines(0, 400, people=False))
    vault.erase([PEOPLE[3]], NOW, "request")
    done = take(vault, lines(0, 400))
    assert (done.rows_added, done.named) == (0, 390) and vault.trace(PEOPLE[3]).empty


@pytest.mark.parametrize("keys", [[], ["x"], ["F" * 64], [PEOPLE[0], ""]])
def test_an_erasure_names_somebody(vault: Vault, keys: list[str]) -> None:
    with pytest.raises(InputError, match="64 hex digits"):
        vault.erase(keys, NOW, "request")


def test_whoever_was_erased_cannot_be_read_from_the_list(vault: Vault) -> None:
    vault.erase([PEOPLE[3]], NOW, "request")
    found = vault.manifest()
    assert len(found.erased) == 1
    plain = hashlib.sha256(PEOPLE[3].encode()).hexdigest()
    assert not found.erased & {PEOPLE[3], plain} and PEOPLE[3] not in repr(found)


WORK: dict[str, Callable[[Vault], object]] = {
    "erase": lambda vault: vault.erase([PEOPLE[3]], NOW, "request"),
    "purge": lambda vault: vault.purge(date(2024, 4, 10), NOW),
    "rotate": lambda vault: vault.rotate(lambda: bytes([7]) * 32, lambda: None, NOW),
    "correct": lambda vault: vault.correct(PEOPLE[3], [], NOW, record={"country": "AT"}),
}


@pytest.mark.parametrize("name", WORK)
def test_a_full_disk_changes_nothing(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = (vault.data_digest(), names(vault))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LocalError, match=r"the disk is full\. Nothing was changed"):
            WORK[name](vault)
    assert (vault.data_digest(), names(vault)) == before
    WORK[name](vault)
    assert names(vault) != before[1]


@pytest.mark.parametrize("name", WORK)
def test_one_change_at_a_time(vault: Vault, name: str) -> None:
    digest = vault.data_digest()
    with vault.begin(), pytest.raises(LocalError, match="is running"):
        WORK[name](vault)
    assert vault.data_digest() == digest


@pytest.mark.skipif(os.name == "nt", reason="an open file stays there")
def test_a_reader_goes_on_while_rows_are_erased(vault: Vault) -> None:
    asked = "SELECT count(*), count(DISTINCT customer_key) FROM sales_line"
    with vault.reader() as db:
        vault.erase([PEOPLE[3]], NOW, "request")
        assert db.execute(asked).fetchone() == (400, 40)
    assert vault.query(asked) == [(390, 39)]


def test_rows_set_aside_that_were_deleted_hold_nothing_up(vault: Vault) -> None:
    (path,) = (vault.root / "quarantine").iterdir()
    path.unlink()
    with pytest.raises(LocalError, match="rows set aside is missing"):
        vault.verify()
    assert vault.quarantined(vault.imports()[0].sha256) == ((), ())
    assert vault.erase([PEOPLE[3]], NOW, "request").quarantined == 0
    assert vault.verify() == 3


def test_rows_set_aside_cannot_be_changed(vault: Vault) -> None:
    (path,) = (vault.root / "quarantine").iterdir()
    raw = path.read_bytes()
    for change in (raw[:-1], raw[:-1] + bytes([raw[-1] ^ 1])):
        path.write_bytes(change)
        with pytest.raises(LocalError, match="changed or damaged"):
            vault.erase([PEOPLE[3]], NOW, "request")
    assert vault.summary().lines == 400


# --- split by customer, merged when small ------------------------------------------------------


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rowfiles, "SPLIT_ROWS", 100)
    monkeypatch.setattr(rowfiles, "SMALLEST", 16)
    monkeypatch.setattr(rowfiles, "GROUP_ROWS", 16)
    yield


@pytest.mark.usefixtures("small_parts")
def test_erasing_writes_a_small_part_again(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "v", KEY)
    take(vault, lines(0, 400))
    parts = {file.part: file for file in vault.manifest().files}
    assert set(parts) == {key[0] for key in PEOPLE} and sum(f.rows for f in parts.values()) == 400
    before = names(vault)
    assert vault.erase([PEOPLE[3]], NOW, "request").files == 1
    assert len(before - names(vault)) == 1 and vault.trace(PEOPLE[3]).empty
    assert vault.summary().lines == 390
    vault.verify()


@pytest.mark.usefixtures("small_parts")
def test_small_imports_do_not_pile_up(tmp_path: Path) -> None:
    vault, whole = Vault(tmp_path / "v", KEY), Vault(tmp_path / "w", KEY)
    for day in range(30):
        take(vault, lines(day * 20, 20), name=str(day))
    take(whole, lines(0, 600))
    asked = "SELECT * EXCLUDE (ts_utc) FROM sales_line ORDER BY ALL"
    assert vault.query(asked) == whole.query(asked)
    piles = Counter((file.part, file.rows > 16) for file in vault.manifest().files)
    assert max(piles.values()) < rowfiles.MERGE_FILES and len(vault.imports()) == 30
    assert len(names(vault)) == len(vault.manifest().files) + 1


def test_merging_changes_no_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vaults = [Vault(tmp_path / name, KEY) for name in ("a", "b")]
    for vault, limit in zip(vaults, (2, 100), strict=True):
        monkeypatch.setattr(rowfiles, "MERGE_FILES", limit)
        for part in range(4):
            take(vault, lines(part * 10, 10), name=str(part))
    assert [len(vault.manifest().files) for vault in vaults] == [1, 4]
    assert vaults[0].data_digest() == vaults[1].data_digest()


# --- corrected ---------------------------------------------------------------------------------


def test_a_correction_stays_when_the_export_comes_again(vault: Vault) -> None:
    digest = vault.data_digest()
    first, second = vault.lines_of(PEOPLE[3]).to_pylist()[:2]
    done = vault.correct(
        PEOPLE[3],
        [
            LineCorrection(first["line_hash"], first["copy"], {"net": Decimal("1.5"), "sku": "n"}),
            LineCorrection(second["line_hash"], second["copy"], {"customer_key": None}),
        ],
        NOW,
        record={"country": "AT"},
    )
    assert (done.lines, done.customers, done.files) == (2, 1, 2)
    assert vault.data_digest() != digest and vault.trace(PEOPLE[3]).lines == 9
    mine = vault.lines_of(PEOPLE[3]).to_pylist()
    assert [(one["net"], one["sku"]) for one in mine if one["sku"] == "n"] == [
        (Decimal("1.5"), "n")
    ]
    again = take(vault, lines(0, 400), customers((PEOPLE[3], date(2023, 5, 1), "DE")))
    assert (again.rows_added, again.named, again.duplicates) == (1, 0, 400)
    assert vault.lines_of(PEOPLE[3]).to_pylist() == mine
    asked = "SELECT country, first_seen FROM customer WHERE customer_key = ?"
    assert vault.query(asked, [PEOPLE[3]]) == [("AT", date(2023, 5, 1))]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"line_hash": b""}, "cannot be corrected"),
        ({"customer_key": PEOPLE[4]}, "not given to another"),
        ({"net": "much"}, "net"),
        ({"net": None}, "cannot be empty"),
    ],
)
def test_what_cannot_be_corrected(vault: Vault, values: dict[str, object], says: str) -> None:
    one = vault.lines_of(PEOPLE[3]).to_pylist()[0]
    before = (vault.data_digest(), names(vault))
    with pytest.raises(InputError, match=says):
        vault.correct(PEOPLE[3], [LineCorrection(one["line_hash"], one["copy"], values)], NOW)
    assert (vault.data_digest(), names(vault)) == before


def test_a_correction_is_of_that_persons_lines(vault: Vault) -> None:
    other = vault.lines_of(PEOPLE[4]).to_pylist()[0]
    with pytest.raises(InputError, match="not among this customer's lines"):
        vault.correct(
            PEOPLE[3], [LineCorrection(other["line_hash"], other["copy"], {"sku": "x"})], NOW
        )
    with pytest.raises(InputError, match="no customer record"):
        vault.correct(PEOPLE[9], [], NOW, record={"country": "AT"})
    with pytest.raises(InputError, match="nothing is to be corrected"):
        vault.correct(PEOPLE[3], [], NOW)


# --- customers and stock -----------------------------------------------------------------------


def test_a_customer_is_one_row(vault: Vault) -> None:
    done = take(vault, customers((PEOPLE[3], date(2024, 5, 1), None), (PEOPLE[4], START, "AT")))
    assert (done.rows_added, done.duplicates) == (1, 1)
    asked = "SELECT customer_key, first_seen, country FROM customer ORDER BY country"
    assert vault.query(asked) == [
        (PEOPLE[4], START, "AT"),
        (PEOPLE[3], date(2024, 1, 3), "DE"),
    ]


def test_the_newest_count_of_a_day_counts(vault: Vault) -> None:
    done = take(vault, stock(("s1", START, 4), ("s1", START, 9), ("s2", START, -1)))
    assert done.rows_added == 2
    asked = "SELECT sku, as_of, on_hand FROM stock ORDER BY ALL"
    assert vault.query(asked) == [
        ("s1", START, Decimal(9)),
        ("s1", date(2024, 6, 1), Decimal(5)),
        ("s2", START, Decimal(-1)),
    ]


def test_comparing_says_what_a_commit_would_do(vault: Vault) -> None:
    before = (vault.data_digest(), names(vault))
    with vault.begin() as change:
        change.write(lines(390, 20))
        change.write(customers((PEOPLE[3], START, "DE"), (PEOPLE[4], None, "FR")))
        assert change.compare() == (11, 11)
    assert (vault.data_digest(), names(vault)) == before


def test_the_same_file_in_the_same_way_is_known(vault: Vault) -> None:
    (record,) = vault.imports()
    assert vault.known(record.sha256, "9" * 64) == record
    assert vault.known(record.sha256, "8" * 64) is None and vault.known("0" * 64, "9" * 64) is None
    take(vault, lines(500, 10), name="b")
    assert vault.known(record.sha256, "9" * 64) is not None
    vault.erase([PEOPLE[3]], NOW, "request")
    assert vault.known(record.sha256, "9" * 64) is None
    take(vault, lines(0, 400))
    assert vault.known(record.sha256, "9" * 64) is not None


# --- purged ------------------------------------------------------------------------------------


def test_old_rows_are_purged_with_evidence(vault: Vault) -> None:
    before = (vault.data_digest(), names(vault))
    dry = vault.purge(date(2024, 4, 10), NOW, dry_run=True)
    assert (vault.data_digest(), names(vault)) == before
    done = vault.purge(date(2024, 4, 10), NOW)
    assert dry.rows == done.rows == {"sales_line": 200, "customer": 0, "stock": 1, "quarantine": 0}
    assert dry.facts() == done.facts() and done.digest_after == vault.data_digest() != before[0]
    assert vault.first_day() == date(2024, 4, 10) and vault.summary().lines == 200
    assert vault.purge(date(2024, 4, 10), NOW).files == 0
    vault.verify()


def test_each_table_has_its_own_limit(vault: Vault) -> None:
    later = NOW + timedelta(days=40)
    limits = {"customer": date(2024, 6, 13), "quarantine": date(2025, 1, 7)}
    done = vault.purge(limits, later)
    # one was last here on 12 June; of the other nothing but lines up to 13 June says a day
    assert done.rows == {"customer": 1, "quarantine": 3}
    assert vault.query("SELECT customer_key FROM customer") == [(PEOPLE[4],)]
    assert vault.summary().lines == 400 and vault.imports()[0].quarantine == ""


def test_a_purge_is_not_of_the_future(vault: Vault) -> None:
    with pytest.raises(InputError, match="in the future"):
        vault.purge(date(2025, 1, 7), NOW)
    with pytest.raises(InputError, match="is no table"):
        vault.purge({"sales": START}, NOW)


# --- another key -------------------------------------------------------------------------------


def test_everything_is_sealed_again_under_another_key(vault: Vault) -> None:
    asked = "SELECT * EXCLUDE (ts_utc) FROM sales_line ORDER BY ALL"
    rows, digest, before = vault.query(asked), vault.data_digest(), names(vault)
    vault.erase([PEOPLE[39]], NOW, "request")
    rows, digest = vault.query(asked), vault.data_digest()
    new = bytes([7]) * 32
    assert vault.rotate(lambda: new, lambda: None, NOW) == 4
    again = Vault(vault.root, new)
    assert (vault.query(asked), vault.data_digest()) == (again.query(asked), digest)
    assert again.query(asked) == rows and len(before & names(vault)) == 1  # the list's name
    again.verify()
    assert len(again.quarantined(again.imports()[0].sha256)[1]) == 3
    with pytest.raises(LocalError, match="another key"):
        Vault(vault.root, KEY)
    # people who were erased under the earlier key are still known
    assert take(again, lines(0, 400)).suppressed == 10


# --- what a line is ----------------------------------------------------------------------------


def test_identity_is_what_duckdb_made_of_it(tmp_path: Path) -> None:
    """Vaults of before have hashes from DuckDB; the same lines have to be the same still."""
    import duckdb

    from node.data.schema import IDENTITY

    table = lines(0, 60).table
    odd = ["", "ä\u0301€😀", "x:y", "-", None]
    texts = pa.array([odd[k % 5] for k in range(60)])
    amounts = [Decimal(text) for text in ("0", "-0.000001", "123456789012.5", "-1", "0.1")]
    money = pa.array([amounts[k % 5] for k in range(60)], pa.decimal128(18, 6))
    table = table.set_column(3, "sku", texts).set_column(9, "net", money)
    parts = " || ".join(
        f"coalesce(length({name}::VARCHAR) || ':' || {name}::VARCHAR, '-')" for name in IDENTITY
    )
    with duckdb.connect() as db:
        db.register("t", table)
        made = db.sql(f"SELECT unhex(substr(sha256({parts}), 1, 32)) FROM t ORDER BY line")
        expected = [row[0] for row in made.fetchall()]
    assert as_bytes(line_hashes(table)).to_pylist() == expected
    assert (from_bytes(as_bytes(line_hashes(table))) == line_hashes(table)).all()


def test_lines_are_numbered_and_found() -> None:
    half = np.array([[1, 5], [1, 4], [1, 5], [2, 5], [1, 5], [1, 4]], np.uint64)
    numbered = Numbered(half)
    assert numbered.copies.tolist() == [0, 0, 1, 0, 2, 1]
    # every line is where it is, also those that share half a hash with another one
    assert numbered.find(half, numbered.copies).tolist() == [0, 1, 2, 3, 4, 5]
    asked = np.array([[1, 5], [1, 6], [0, 5], [3, 5], [1, 4], [2, 5]], np.uint64)
    found = numbered.find(asked, np.array([3, 0, 0, 0, 2, 1], np.int32))
    assert found.tolist() == [-1] * 6
    assert Numbered(half[:0]).find(asked, np.zeros(6, np.int32)).tolist() == [-1] * 6
