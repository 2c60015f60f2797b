"""Parquet files and database tables: the same rows as a CSV, or one sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from node.data import database, parquet
from node.data.database import Database
from node.data.exact_text import cell_text, number_text
from node.data.intake import ImportResult, Options, add, preview
from node.data.rawfile import RawFile
from node.data.values import Unreadable
from node.data.vault import Vault
from protocols.errors import InputError
from tests.node.data.conftest import NOW, SECRET

TakeIn = Callable[..., ImportResult]

TYPED = pa.table(
    {
        "date": pa.array([datetime(2017, 1, 1, 23, 30, tzinfo=UTC)] * 2, pa.timestamp("ms", "UTC")),
        "sku": pa.array(["a", None]).dictionary_encode(),
        "product": pa.array(["x", "y"], pa.large_string()),
        "quantity": pa.array([1, 2], pa.int8()),
        "total": pa.array([Decimal("1.234"), Decimal("2.000")], pa.decimal128(12, 3)),
        "unit price": pa.array([1.1, 2.2], pa.float32()),
        "is return": pa.array([True, None]),
    }
)


def write(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def test_parquet_types_come_in_exactly(tmp_path: Path, vault: Vault, take_in: TakeIn) -> None:
    path = write(tmp_path / "sales.parquet", TYPED)
    take_in(path, Options(timezone="Europe/Paris"))
    rows = vault.query(
        "SELECT business_date, epoch(ts_utc)::BIGINT, sku, qty, net, unit_price, is_return "
        "FROM sales_line ORDER BY product"
    )
    instant, day = 1483313400, date(2017, 1, 2)
    assert rows == [
        (day, instant, "a", Decimal(-1), Decimal("-1.234"), Decimal("1.1"), True),
        (day, instant, None, Decimal(2), Decimal(2), Decimal("2.2"), False),
    ]
    assert preview(path).read_as == "Parquet"


def test_only_wanted_columns_of_a_parquet_file_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "f.parquet", TYPED)
    with parquet.opened(path) as table:
        (batch,) = table.batches(["sku"])
    assert {name: cells.to_pylist() for name, cells in batch.columns.items()} == {"sku": ["a", ""]}


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([[1], [2]]), "holds list"),
        (pa.array([{"a": 1}, {"a": 2}]), "holds struct"),
        (pa.array([b"1", b"2"]), "holds binary"),
    ],
)
def test_what_is_no_single_value_is_refused(tmp_path: Path, column: pa.Array, words: str) -> None:
    path = write(tmp_path / "f.parquet", TYPED.append_column("odd", column))
    with pytest.raises(InputError) as caught:
        preview(path)
    assert caught.value.where == "f.parquet:1:8" and words in caught.value.problem


def test_a_text_that_stands_once_and_counts_often_is_cut(tmp_path: Path) -> None:
    bomb = pa.DictionaryArray.from_arrays(pa.array([0, 0, None]), pa.array(["x" * 100_000]))
    path = tmp_path / "sales.parquet"
    pq.write_table(pa.table({"product": bomb}), path, store_schema=False)
    with parquet.opened(path) as table:
        (batch,) = table.batches(["product"])
    assert batch.columns["product"].to_pylist() == ["x" * parquet.MAX_CHARS] * 2 + [""]


def test_a_decimal_of_the_most_digits() -> None:
    column = pa.array([Decimal("1.234")], pa.decimal256(76, 3))
    assert parquet.as_text(column).to_pylist() == ["1.2340"]


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "f.parquet", TYPED)
    data = path.read_bytes()
    for broken in (data[:-9], data[:100] + bytes(40) + data[140:]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="damaged"):
            preview(path)


def test_a_parquet_file_with_too_much_in_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "f.parquet", TYPED)
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 100)
    with pytest.raises(InputError, match="smaller row groups") as caught:
        preview(path)
    assert caught.value.fix.startswith("Write it in smaller") or "row groups" in caught.value.fix


# --- a database --------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as db:
        db.execute(
            'CREATE TABLE "all sales" (day TEXT, product TEXT, qty INT, total REAL, "e-mail")'
        )
        db.execute("CREATE VIEW teas AS SELECT * FROM \"all sales\" WHERE product = 'Tea'")
        db.execute("CREATE TABLE secrets (word TEXT)")
        db.executemany(
            'INSERT INTO "all sales" VALUES (?, ?, ?, ?, ?)',
            [("2017-01-01", "Milk", 1, 1.1, "a@b.nl"), ("2017-01-02", "Tea", 2, 0.1 + 0.2, None)],
        )
    db.close()
    return path


def at(path: Path, table: str, password: str = "") -> Database:
    return Database(f"sqlite:///{path}", table, password)


def test_a_table_and_a_view_come_in(shop: Path, vault: Vault) -> None:
    plan = preview(at(shop, "all sales"))
    assert (plan.rows, plan.dropped, plan.file_name) == (2, ("e-mail",), "all sales")
    result = add(vault, plan, SECRET, NOW)
    assert result.rows_added == 2
    rows = vault.query("SELECT product, qty, net FROM sales_line ORDER BY product")
    assert rows == [("Milk", 1, Decimal("1.1")), ("Tea", 2, Decimal("0.3"))]
    assert add(vault, preview(at(shop, "teas")), SECRET, NOW).duplicates == 1
    assert vault.imports()[0].file_name == "all sales"


def test_the_same_rows_have_the_same_digest(shop: Path) -> None:
    before = preview(at(shop, "all sales")).sha256
    assert preview(at(shop, "all sales")).sha256 == before
    with sqlite3.connect(shop) as db:
        db.execute("UPDATE \"all sales\" SET qty = 3 WHERE product = 'Milk'")
    db.close()
    assert preview(at(shop, "all sales")).sha256 != before


@pytest.mark.parametrize(
    ("url", "table", "where", "words"),
    [
        ("sqlite:///{shop}", "sales; DROP TABLE secrets", "--table", "has no table or view"),
        ("sqlite:///{shop}", '" UNION SELECT word FROM secrets --', "--table", "has no table"),
        ("sqlite:///{shop}", "other.sales", "--table", "no schema 'other'"),
        ("sqlite://", "sales", "--sql", "the path of a database file"),
        ("sqlite:///file:x?mode=rwc&uri=true", "sales", "--sql", "the path of a database file"),
        ("sqlite:///{folder}/none.db", "sales", "{folder}/none.db", "no such file"),
        ("sqlite:///{folder}/not.db", "sales", "--sql (sales)", "not a database"),
        ("postgresql://me:word@localhost/x", "sales", "--sql", "holds a password"),
        ("postgresql://me@localhost/x?password=word", "sales", "--sql", "cannot be a part"),
        ("mysql+pymysql://me@localhost/x?local_infile=1", "sales", "--sql", "cannot be a part"),
        ("oracle://me@localhost/x", "sales", "--sql", "oracle database cannot be read"),
        ("postgresql+nodriver://me@localhost/x", "sales", "--sql", "is not installed"),
        ("shop.db", "sales", "--sql", "not the address of a database"),
    ],
)
def test_a_database_that_cannot_be_read(
    shop: Path, url: str, table: str, where: str, words: str
) -> None:
    (shop.parent / "not.db").write_text("this is a text file and no database at all" * 50)
    places = {"shop": shop, "folder": shop.parent}
    with pytest.raises(InputError) as caught:
        preview(Database(url.format(**places), table, "geheim"))
    assert caught.value.where == where.format(**places) and words in caught.value.problem
    assert "CSV file that your till" not in caught.value.fix
    assert "geheim" not in repr(caught.value) and "word@" not in caught.value.problem
    assert not (shop.parent / "none.db").exists()


def test_a_dot_may_be_a_part_of_a_table_s_name(shop: Path) -> None:
    with sqlite3.connect(shop) as db:
        db.execute('CREATE VIEW "teas.2025" AS SELECT * FROM teas')
    assert preview(at(shop, "teas.2025")).rows == preview(at(shop, "teas")).rows


def test_a_view_without_an_end_is_refused(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(shop) as db:
        db.execute(
            "CREATE VIEW endless AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
            "FROM c) SELECT '2025-01-01' AS date, 'A' AS category, i AS qty, 1 AS total FROM c"
        )
    monkeypatch.setattr(database, "MAX_ROWS", 20_000)
    with pytest.raises(InputError, match="more than 20000 rows"):
        preview(at(shop, "endless"))


def test_nothing_is_written_to_the_database(shop: Path) -> None:
    before = shop.read_bytes(), sorted(path.name for path in shop.parent.iterdir())
    preview(at(shop, "teas"))
    assert (shop.read_bytes(), sorted(path.name for path in shop.parent.iterdir())) == before


def test_a_value_of_bytes_is_set_aside(shop: Path) -> None:
    with sqlite3.connect(shop) as db:
        db.executemany('INSERT INTO "all sales" VALUES (?, ?, ?, ?, ?)',
                       [("2017-01-01", "Milk", 1, 1.1, None)] * 60)  # fmt: skip
        db.execute("INSERT INTO \"all sales\" VALUES ('2017-01-01', x'00ff', 1, 1, NULL)")
    db.close()
    plan = preview(at(shop, "all sales"))
    assert [(bad.line, bad.problem) for bad in plan.examples] == [
        (63, "holds bytes; expected text, a number, a day or a time")
    ]


def test_a_password_does_not_print() -> None:
    assert "geheim" not in repr(Database("postgresql://localhost/x", "t", "geheim"))


# --- exact text --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""), (True, "true"), (12, "12"), (Decimal("1E+3"), "1000"), (0.1 + 0.2, "0.3"),
        (Decimal("1.234"), "1.2340"), (12.345, "12.3450"), (1e-5, "0.00001"), (3.0, "3"),
        (float("nan"), ""), (2.0**53, "9007199254740990"), (date(2017, 1, 2), "2017-01-02"),
        (datetime(2017, 1, 2, 3, 4, 5, tzinfo=UTC), "2017-01-02 03:04:05Z"),
        (time(3, 4), "03:04:00"),
    ],
)  # fmt: skip
def test_values_as_text(value: object, text: str) -> None:
    assert cell_text(value) == text


def test_values_that_have_no_text() -> None:
    for value in (b"x", [1], {"a": 1}):
        with pytest.raises(Unreadable):
            cell_text(value)
    assert number_text(1.1000000238418579, 7) == "1.1"


def test_a_file_is_hashed_again_from_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    raw = RawFile(tmp_path / "f")
    raw.read_to_end()
    once = raw.finish()
    raw.read_to_end()
    assert raw.finish() == once
    raw.close()
