"""One pass into an open transaction: shown first, kept whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node.data import intake
from node.data.intake import ImportResult, Options, add, known, prepare, preview
from node.data.vault import Vault
from protocols.errors import InputError
from tests.node.data.conftest import NOW, SECRET

TakeIn = Callable[..., ImportResult]
Till = Callable[..., Path]
DAYS = [("2017-01-02", "r1", "A", "1"), ("2017-01-03", "r2", "B", "2")]


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_what_is_new_and_what_is_here(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(DAYS))
    more = till([*DAYS, ("2017-01-04", "r3", "A", "1")], "more.csv")
    with prepare(vault, more, None, SECRET, NOW) as prepared:
        assert prepared.compare() == (1, 2)
        assert prepared.plan.rows == 3
        result = prepared.commit()
    assert (result.rows_added, result.duplicates) == (1, 2)


def test_leaving_without_commit_keeps_nothing(vault: Vault, till: Till, take_in: TakeIn) -> None:
    take_in(till(DAYS))
    before = tree(vault.root)
    with prepare(vault, till(DAYS[:1], "b.csv"), None, SECRET, NOW) as prepared:
        prepared.compare()
    path = till([("2018-01-02", "x", "A", "1")], "c.csv")
    with (
        pytest.raises(InputError, match="you said no"),
        prepare(vault, path, None, SECRET, NOW),
    ):
        raise InputError("you said no.")
    assert tree(vault.root) == before


def test_a_plan_is_the_same_with_and_without_a_vault(vault: Vault, till: Till) -> None:
    path = till(DAYS)
    with prepare(vault, path, None, SECRET, NOW) as prepared:
        assert prepared.plan == preview(path)


def test_the_same_file_again_is_answered_at_once(
    vault: Vault, till: Till, take_in: TakeIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = till(DAYS)
    assert known(vault, path, None, NOW.date()) is None
    take_in(path)
    monkeypatch.setattr(intake, "prepare", None)  # would fail if it were read again
    again = add(vault, preview(path), SECRET, NOW)
    assert (again.rows_added, again.duplicates, again.already_known) == (0, 2, True)
    tomorrow = (NOW + timedelta(days=1)).date()
    assert known(vault, path, None, tomorrow) is not None
    assert known(vault, path, Options(timezone="Asia/Tokyo"), NOW.date()) is None
    assert known(vault, path, Options(columns={"order": "SKU"}), NOW.date()) is None


def test_after_an_erasure_the_file_is_read_again(vault: Vault, till: Till, take_in: TakeIn) -> None:
    path = till(DAYS)
    take_in(path)
    (key,) = vault.query("SELECT DISTINCT customer_key FROM sales_line")[0]
    vault.erase([key], NOW, "asked")
    assert known(vault, path, None, NOW.date()) is None
    again = add(vault, preview(path), SECRET, datetime(2025, 2, 1, tzinfo=UTC))
    assert (again.rows_added, again.suppressed) == (0, 2)


def test_rows_set_aside_name_their_customer_to_nobody(
    vault: Vault, tmp_path: Path, take_in: TakeIn
) -> None:
    path = tmp_path / "f.csv"
    good = "2017-01-02,A,1,1.00,Kundin-7\n"
    path.write_text("date,category,qty,total,customer\n" + good * 99 + good.replace("1.00", "x"))
    take_in(path)
    (record,) = vault.imports()
    headers, (bad,) = vault.quarantined(record.sha256)
    assert headers == ("date", "category", "qty", "total") and bad.kept[3] == "x"
    keys = vault.query("SELECT DISTINCT customer_key FROM sales_line")
    assert [(bad.customer_key,)] == keys and "Kundin" not in str(bad)


def test_customers_come_in_as_keys(vault: Vault, tmp_path: Path, take_in: TakeIn) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        "Customer id,First seen,Country,First name\nC1,2016-05-06,NL,Zebulon\nC2,,,Jane\n" * 30
        + ",2016-05-06,NL,Nobody\n"
    )
    plan = preview(path)
    assert (plan.table, plan.bad_rows, plan.dropped) == ("customer", 1, ("First name",))
    take_in(path)
    rows = vault.query("SELECT first_seen::VARCHAR, country FROM customer ORDER BY 1")
    assert rows == [("2016-05-06", "NL"), (None, None)]


def test_a_stock_list_without_a_day_is_of_today(
    vault: Vault, tmp_path: Path, take_in: TakeIn
) -> None:
    path = tmp_path / "stock.csv"
    path.write_text("SKU,On hand\na,-2\nb,3\n")
    take_in(path)
    rows = vault.query("SELECT sku, on_hand::INT, as_of FROM stock ORDER BY sku")
    assert rows == [("a", -2, NOW.date()), ("b", 3, NOW.date())]
