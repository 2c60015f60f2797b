from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.data import duck, rowfiles
from node.data.intake import ImportResult, add, preview
from node.data.layout import Layout
from node.data.lock import Lock
from node.data.values import customer_key
from node.data.vault import Vault
from protocols.errors import Code, InputError, LocalError, Refused
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit

SECRET = bytes(range(32))
NOW = datetime(2025, 1, 6, tzinfo=UTC)
TakeIn = Callable[..., ImportResult]
Till = Callable[..., Path]
Rows = list[tuple[str, str, str, str]]


def day(k: int) -> str:
    return (date(2017, 1, 1) + timedelta(days=k)).isoformat()


def sales(first: int, last: int) -> Rows:
    """Two equal lines and one other on each day."""
    return [
        row
        for k in range(first, last)
        for row in (
            (day(k), f"r{k}", "A", "1"),
            (day(k), f"r{k}", "A", "1"),
            (day(k), "x", "B", "2"),
        )
    ]


def contents(vault: Vault) -> list[tuple[object, ...]]:
    return vault.query(
        "SELECT business_date, order_ref, category_code, qty, net, customer_key FROM sales_line "
        "ORDER BY ALL"
    )


def permit(**change: object) -> Permit:
    fields = {
        "gate": Gate.ADMIT,
        "agreement": AgreementId("a" * 64),
        "run": RunId("b" * 32),
        "purpose": "train:demand",
        "workload_digest": "c" * 64,
        "columns": ("business_date", "category_code", "qty"),
        "not_after": NOW + timedelta(hours=1),
    }
    return Permit(**(fields | change))  # type: ignore[arg-type]


# --- the same again ----------------------------------------------------------------------------


def test_the_same_file_twice_changes_nothing(vault: Vault, till: Till, take_in: TakeIn) -> None:
    path = till(sales(0, 10))
    first = take_in(path)
    before = (contents(vault), vault.data_digest(), vault.imports())
    again = take_in(path)
    assert (first.rows_added, first.already_known) == (30, False)
    assert (again.rows_added, again.duplicates, again.already_known) == (0, 30, True)
    assert (contents(vault), vault.data_digest(), vault.imports()) == before


def test_overlapping_exports_add_each_line_once(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(sales(0, 10), "a.csv"))
    result = take_in(till(sales(5, 15), "b.csv"))
    assert (result.rows_added, result.duplicates) == (15, 15)
    whole = Vault(vault.root.parent / "whole", bytes(32))
    add(whole, preview(till(sales(0, 15), "c.csv")), SECRET, NOW)
    assert contents(vault) == contents(whole)
    assert [r.rows_added for r in vault.imports()] == [30, 15]


def test_a_line_more_of_the_same_is_one_line_more(
    vault: Vault, till: Till, take_in: TakeIn
) -> None:
    line = (day(0), "r0", "A", "1")
    take_in(till([line, line], "a.csv"))
    assert take_in(till([line, line, line], "b.csv")).rows_added == 1
    assert take_in(till([line], "c.csv")).rows_added == 0
    assert len(contents(vault)) == 3


@settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=4))
def test_the_vault_is_the_union_of_its_files(
    till: Till, tmp_path_factory: pytest.TempPathFactory, files: list[list[int]]
) -> None:
    vault = Vault(tmp_path_factory.mktemp("u") / "vault", bytes(32))
    for k, file in enumerate(files):
        rows = [(day(item), "r", "A", "1") for item in file]
        add(vault, preview(till(rows, f"{k}.csv")), SECRET, NOW)
    for item in range(4):
        most = max(file.count(item) for file in files)
        found = vault.query(f"SELECT count(*) FROM sales_line WHERE business_date = '{day(item)}'")
        assert found == [(most,)]


def test_rows_of_another_order_have_the_same_identity(
    vault: Vault, till: Till, take_in: TakeIn
) -> None:
    take_in(till(sales(0, 5), "a.csv"))
    assert take_in(till(sales(0, 5)[::-1], "b.csv")).rows_added == 0


def test_an_import_is_recorded(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(sales(0, 10)))
    (record,) = vault.imports()
    assert (record.file_name, record.rows_read, record.rows_added) == ("till.csv", 30, 30)
    assert (record.date_from, record.date_to) == (date(2017, 1, 1), date(2017, 1, 10))
    assert len(record.sha256) == 64 and record.when.utcoffset() == timedelta(0)
    assert vault.summary().lines == 30 and vault.summary().customers == 1
    assert (vault.first_day(), vault.last_day()) == (date(2017, 1, 1), date(2017, 1, 10))


def test_the_digest_is_of_the_contents(tmp_path: Path, till: Till) -> None:
    vaults = [Vault(tmp_path / f"v{k}", bytes(32)) for k in range(2)]
    assert vaults[0].data_digest() == vaults[1].data_digest()
    for vault in vaults:
        add(vault, preview(till(sales(0, 5))), SECRET, NOW)
    assert (
        vaults[0].data_digest()
        == vaults[1].data_digest()
        == Vault(vaults[0].root, bytes(32)).data_digest()
    )
    add(vaults[1], preview(till(sales(0, 6))), SECRET, NOW)
    assert vaults[0].data_digest() != vaults[1].data_digest()


# --- weekly series -----------------------------------------------------------------------------


def test_weekly_series(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till([*sales(0, 8), (day(1), "back", "A", "-3")]))  # 1 January 2017 is a Sunday
    monday = vault.weekly_for_owner("monday")
    assert [str(kind) for kind in monday.dtypes] == ["str", "datetime64[s]", "float64", "int64"]
    assert monday.to_dict("list") == {
        "category_code": ["A", "A", "B", "B"],
        "week_start": [pd.Timestamp("2016-12-26"), pd.Timestamp("2017-01-02")] * 2,
        "units": [2.0, 11.0, 2.0, 14.0],
        "lines": [2, 15, 1, 7],
    }
    sunday = vault.weekly_for_owner("sunday")
    assert sunday["week_start"].dt.day_name().unique().tolist() == ["Sunday"]
    assert sunday["units"].tolist() == [11.0, 2.0, 14.0, 2.0]
    cut = vault.weekly_for_owner("sunday", since=date(2017, 1, 3), until=date(2017, 1, 4))
    assert cut["units"].tolist() == [4.0, 4.0]


def test_weekly_series_of_an_empty_vault(vault: Vault) -> None:
    empty = vault.weekly_for_owner("monday")
    assert len(empty) == 0
    assert [str(kind) for kind in empty.dtypes] == ["str", "datetime64[s]", "float64", "int64"]
    assert vault.summary().lines == 0 and vault.weeks_of_history(date(2017, 1, 1)) == 0
    with pytest.raises(InputError, match="monday or sunday"):
        vault.weekly_for_owner("tuesday")  # type: ignore[arg-type]


def test_lines_without_a_category_stay_out(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till([(day(0), "r", "", "1"), (day(0), "r", "A", "1")]))
    assert vault.weekly_for_owner("monday")["category_code"].tolist() == ["A"]


def test_weeks_of_history(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(sales(0, 20)))
    weeks = [vault.weeks_of_history(date(2017, 1, k)) for k in (1, 6, 7, 14, 20)]
    assert weeks == [0, 0, 1, 2, 2]
    assert vault.weeks_of_history() == 2
    assert vault.weeks_of_history(date(2016, 1, 1)) == 0


def test_a_run_needs_a_permit_that_fits(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(sales(0, 8)))
    own = vault.weekly_for_owner("monday")
    assert vault.weekly_for_run(permit(), NOW, "monday").equals(own)


@pytest.mark.parametrize(
    "change",
    [
        {"gate": Gate.USE},
        {"not_after": NOW - timedelta(seconds=1)},
        {"columns": ("business_date", "category_code")},
        {"columns": ()},
    ],
)
def test_without_it_no_row_is_read(
    vault: Vault,
    till: Till,
    take_in: TakeIn,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
) -> None:
    take_in(till(sales(0, 8)))

    def read(*_: object) -> None:
        raise AssertionError("a row file was opened")

    monkeypatch.setattr(rowfiles, "dataset", read)
    with pytest.raises(Refused):
        vault.weekly_for_run(permit(**change), NOW, "monday")


def test_a_run_reads_its_three_columns_and_no_other(
    vault: Vault, till: Till, take_in: TakeIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in(till(sales(0, 8)))
    real, opened = rowfiles.dataset, list[list[str]]()

    def recorded(*args: Any) -> Any:
        found = real(*args)
        opened.append(found.schema.names)
        return found

    monkeypatch.setattr(rowfiles, "dataset", recorded)
    vault.weekly_for_run(permit(), NOW, "monday")
    assert opened == [["business_date", "category_code", "qty"]]
    # the customer too, but only to leave out what customers bought who objected
    vault.weekly_for_run(permit(), NOW, "monday", without={"f" * 64})
    assert opened[1:] == [["business_date", "category_code", "qty", "customer_key"]]


def test_what_customers_bought_who_objected_is_left_out(
    vault: Vault, till: Till, take_in: TakeIn
) -> None:
    take_in(till(sales(0, 8)))
    own = vault.weekly_for_run(permit(), NOW, "monday")
    assert vault.weekly_for_run(permit(), NOW, "monday", without={"f" * 64}).equals(own)
    left = vault.weekly_for_run(permit(), NOW, "monday", without={customer_key(SECRET, "C1") or ""})
    assert len(own) == 4 and len(left) == 0


def test_categories_are_mapped_in_the_view_alone(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(sales(0, 8)))
    mapped = Vault(vault.root, bytes(32), {"A": "food.bread", "C": "x"})
    asked = "SELECT DISTINCT category, category_code FROM sales_line ORDER BY 1"
    assert vault.query(asked) == [("A", "A"), ("B", "B")]
    assert mapped.query(asked) == [("A", "food.bread"), ("B", "B")]
    assert mapped.weekly_for_owner("monday")["category_code"].unique().tolist() == [
        "B",
        "food.bread",
    ]
    other = Vault(vault.root, bytes(32), {"A": "food.cake", "C": "x"})
    assert len({v.data_digest() for v in (vault, mapped, other)}) == 3
    # what a line is does not change with what its category is called
    assert add(mapped, preview(till(sales(0, 8))), SECRET, NOW).rows_added == 0


# --- closed doors ------------------------------------------------------------------------------


def test_duckdb_reaches_no_file_at_all(
    vault: Vault, till: Till, take_in: TakeIn, tmp_path: Path
) -> None:
    take_in(till(sales(0, 1)))
    outside = tmp_path / "outside.csv"
    outside.write_text("a\n1\n")
    file = vault.root / "rows" / vault.manifest().files[0].name
    with duck.connection() as db:
        for sql in (
            f"SELECT * FROM read_csv('{outside}')",
            f"SELECT * FROM read_parquet('{file}')",
            f"COPY (SELECT 1) TO '{tmp_path / 'out.parquet'}'",
            "SELECT * FROM read_csv('https://example.org/x.csv')",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            "SET memory_limit = '100GB'",
            f"SET temp_directory = '{tmp_path}'",
        ):
            with pytest.raises(duckdb.Error):
                db.execute(sql)


def test_folders_with_odd_names(tmp_path: Path, till: Till) -> None:
    vault = Vault(tmp_path / "Jane's shop [1] *" / "ünï", bytes(32))
    add(vault, preview(till(sales(0, 3))), SECRET, NOW)
    assert vault.summary().lines == 9 and len(vault.weekly_for_owner("monday")) == 4


# --- one at a time, all or nothing -------------------------------------------------------------


def test_two_imports_do_not_interleave(vault: Vault, till: Till, take_in: TakeIn) -> None:
    with vault.begin():
        with pytest.raises(LocalError, match="another import") as caught:
            take_in(till(sales(0, 2)))
        assert caught.value.kind.exit_code == 75
        Vault(vault.root, bytes(32))  # opening does not disturb the one that runs
        assert list((vault.root / "tmp").iterdir())
    assert take_in(till(sales(0, 2))).rows_added == 6


def test_two_processes_may_begin_a_vault_at_once(tmp_path: Path) -> None:
    root = tmp_path / "vault"
    root.mkdir()
    with Lock(root / "lock"), ThreadPoolExecutor(3) as pool:
        begun = [pool.submit(Vault, root, bytes(32)) for _ in range(3)]
        with pytest.raises(TimeoutError):
            begun[0].result(timeout=0.1)
        Layout(root, bytes(32))._begin()
        assert len({one.result().data_digest() for one in begun}) == 1


def test_the_lock_is_released_by_its_file(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.try_take() and not second.try_take()
    first.release()
    assert second.try_take()
    second.release()


def test_an_abandoned_change_leaves_nothing(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(sales(0, 5)))
    before = (contents(vault), vault.data_digest())
    with pytest.raises(ZeroDivisionError), vault.begin():
        raise ZeroDivisionError
    assert (contents(vault), vault.data_digest()) == before
    assert not list((vault.root / "tmp").iterdir())


def test_an_empty_import_is_not_committed(vault: Vault) -> None:
    from node.data.vault import ImportNote

    with pytest.raises(LocalError, match="without a single line"), vault.begin() as change:
        change.commit(ImportNote("f.csv", "0" * 64, 0, 0, NOW))
    assert vault.imports() == ()


def test_leftovers_of_a_crash_are_removed(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(sales(0, 5)))
    before = contents(vault)
    for name in ("rows/dead.parquet", "quarantine/dead.sealed", "manifest.sealed.part"):
        (vault.root / name).write_bytes(b"half")
    (vault.root / "tmp" / "change-dead").mkdir()
    (vault.root / "tmp" / "change-dead" / "staged.parquet").write_bytes(b"half")
    again = Vault(vault.root, bytes(32))
    assert contents(again) == before
    assert sorted(p.name for p in vault.root.rglob("*") if p.is_file()) == sorted(
        ["lock", "manifest.sealed", again.manifest().files[0].name]
    )


@pytest.mark.parametrize("place", ["write", "fsync", "replace"])
def test_a_full_disk_changes_nothing(
    vault: Vault, till: Till, take_in: TakeIn, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    take_in(till(sales(0, 5), "a.csv"))
    before = (contents(vault), vault.data_digest(), vault.imports())

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    targets = {
        "write": (pq.ParquetWriter, "write_table"),
        "fsync": (os, "fsync"),
        "replace": (Path, "replace"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*targets[place], full)
        with pytest.raises(LocalError, match=r"the disk is full\. Nothing was changed") as caught:
            take_in(till(sales(5, 9), "b.csv"))
        assert caught.value.code is Code.UNAVAILABLE and "Free some space" in caught.value.fix
    again = Vault(vault.root, bytes(32))
    assert (contents(again), again.data_digest(), again.imports()) == before
    assert take_in(till(sales(5, 9), "b.csv")).rows_added == 12


LIMITED = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from node.data.intake import add, preview
from node.data.vault import Vault
from protocols.errors import LocalError
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    vault = Vault(Path(sys.argv[2]), bytes(32))
    add(vault, preview(Path(sys.argv[1])), bytes(32), datetime.now(UTC))
except LocalError as error:
    print(error.problem)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("limit", [1, 40_000])
def test_files_that_may_not_grow_are_a_full_disk(
    vault: Vault, till: Till, take_in: TakeIn, limit: int
) -> None:
    take_in(till(sales(0, 2), "a.csv"))
    before = contents(vault)
    path = till([(day(k % 900), f"r{k}", f"c{k % 7}", "1") for k in range(20_000)], "b.csv")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(vault.root), str(limit)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "the disk is full. Nothing was changed."
    assert contents(Vault(vault.root, bytes(32))) == before


# --- damage ------------------------------------------------------------------------------------


def test_damage_is_found(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(sales(0, 5)))
    assert vault.verify() == 1
    (path,) = (vault.root / "rows").iterdir()
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(LocalError, match="changed after it was written"):
        vault.verify()
    path.write_bytes(good[:-1])
    with pytest.raises(LocalError, match="missing or was changed"):
        vault.weekly_for_owner("monday")
    path.unlink()
    with pytest.raises(LocalError, match="Restore the vault"):
        Vault(vault.root, bytes(32))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw[:60] + bytes([raw[60] ^ 1]) + raw[61:], "changed or damaged"),
        (lambda raw: raw[:30] + bytes([raw[30] ^ 1]) + raw[31:], "changed or damaged"),
        (lambda raw: raw[:-1], "changed or damaged"),
        (lambda raw: raw[:20], "no sealed file"),
        (lambda raw: b"", "no sealed file"),
        (lambda raw: b'{"v": 1}' + raw, "no sealed file"),
        (lambda raw: raw[:15] + b"\x03" + raw[16:], r"newer version .*layout 3"),
        (lambda raw: raw[:15] + b"\x01" + raw[16:], "never sealed"),
        (lambda raw: raw[:16] + b"\0" + raw[17:], "another key"),
    ],
)
def test_a_damaged_manifest_is_found(
    vault: Vault, till: Till, take_in: TakeIn, change: Callable[[bytes], bytes], says: str
) -> None:
    take_in(till(sales(0, 5)))
    path = vault.root / "manifest.sealed"
    path.write_bytes(change(path.read_bytes()))
    held = sorted(vault.root.rglob("*"))
    with pytest.raises(LocalError, match=says):
        Vault(vault.root, bytes(32))
    assert sorted(vault.root.rglob("*")) == held, "nothing is thrown away"


def test_without_its_manifest_a_vault_is_not_begun_again(
    vault: Vault, till: Till, take_in: TakeIn
) -> None:
    take_in(till(sales(0, 5)))
    (vault.root / "manifest.sealed").unlink()
    with pytest.raises(LocalError, match="list of contents is missing"):
        Vault(vault.root, bytes(32))
    assert len(list((vault.root / "rows").iterdir())) == 1


def test_another_key_opens_nothing(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(sales(0, 5)))
    with pytest.raises(LocalError, match="sealed with another key") as caught:
        Vault(vault.root, b"\1" + bytes(31))
    assert caught.value.code is Code.TAMPERED and "vault.key" in caught.value.fix
    with pytest.raises(LocalError, match="31 bytes"):
        Vault(vault.root, bytes(31))


def test_row_files_cannot_be_swapped(vault: Vault, till: Till, take_in: TakeIn) -> None:
    """Two files of one vault and of one length, each in the place of the other."""
    take_in(till(sales(0, 5), "a.csv"))
    take_in(till(sales(5, 10), "b.csv"))
    one, two = (vault.root / "rows" / file.name for file in vault.manifest().files)
    raw = (one.read_bytes(), two.read_bytes())
    longest = max(map(len, raw))
    one.write_bytes(raw[1].ljust(longest, b"\0")[: len(raw[0])])
    two.write_bytes(raw[0].ljust(longest, b"\0")[: len(raw[1])])
    with pytest.raises(LocalError, match="changed, damaged, or sealed with another key"):
        contents(vault)
    with pytest.raises(LocalError, match="changed after it was written"):
        vault.verify()


def test_a_row_file_that_was_changed_is_not_read(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(sales(0, 5)))
    (path,) = (vault.root / "rows").iterdir()
    good = path.read_bytes()
    for at in range(4, len(good), len(good) // 12):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(LocalError) as caught:
            vault.query("SELECT * FROM sales_line")
        assert caught.value.code is Code.TAMPERED


# --- nothing in plain text ---------------------------------------------------------------------


def test_nothing_in_plain_text_ever_lies_in_the_folder(
    vault: Vault, till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During an import too: every file is looked at whenever one is made durable or renamed."""
    key = customer_key(SECRET, "C1")
    assert key is not None
    words = [
        text.encode()
        for text in ("Thing", "s-A", "receipt-77", "44.44", "444400", "cannot be", key, key[:16])
    ]
    words += [bytes.fromhex(key)[:8], (44_440_000).to_bytes(16, "little")]
    looked = 0

    def look() -> None:
        nonlocal looked
        for path in vault.root.rglob("*"):
            raw = path.read_bytes() if path.is_file() else b""
            assert not [word for word in words if word in raw], path
            looked += bool(raw)

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            look()
            out = real(*args, **kwargs)
            look()
            return out

        return step

    rows = [(day(k), "receipt-77", "A", "22.22") for k in range(300)]
    path = till(rows)
    path.write_text(path.read_text() + f"{day(0)},10:00:00,receipt-77,s-A,Thing,A,x,2,0,4,C1\n")
    plan = preview(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", watched(os.fsync))
        patch.setattr(Path, "replace", watched(Path.replace))
        patch.setattr(pq.ParquetWriter, "write_table", watched(pq.ParquetWriter.write_table))
        assert add(vault, plan, SECRET, NOW).rows_added == 300
    look()
    assert looked > 20
    assert vault.query("SELECT DISTINCT product FROM sales_line") == [("Thing",)]
    _, (bad,) = vault.quarantined(plan.sha256)
    assert "Thing" in bad.kept and "x" in bad.problem


def test_a_question_that_is_too_large_is_not_put_on_the_disk(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duck, "MEMORY", "20MB")
    with pytest.raises(LocalError, match="not enough memory") as caught:
        vault.query("SELECT * FROM range(20000000) t(a) ORDER BY hash(a)")
    assert "plain text" in caught.value.problem
    assert not list((vault.root / "tmp").iterdir())
