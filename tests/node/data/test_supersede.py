"""The newest export of an order is the truth about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialect_files import DIALECTS, records, role_batches, stretches
from node.data import intake
from node.data.columns import Role
from node.data.connectors import find, names
from node.data.connectors.layout_file import parse_layout
from node.data.convert import Converter, Format
from node.data.intake import ImportResult, Options, prepare, preview
from node.data.schema import ORDER
from node.data.supersede import Moments
from node.data.values import customer_key
from node.data.vault import LineCorrection, Vault
from protocols.errors import InputError

SECRET = bytes(range(32))
NOW = datetime(2026, 1, 6, 12, tzinfo=UTC)
START = datetime(2025, 3, 1, 9, 30, 11, tzinfo=UTC)
SHOPIFY = (
    "Name,Email,Financial Status,Currency,Subtotal,Total,Discount Amount,Created at,"
    "Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Lineitem discount,Cancelled at,"
    "Refunded Amount,Source,Location"
)


@dataclass(frozen=True)
class Order:
    """One order as a shop knows it at one time; day from the start, goods as (sku, quantity)."""

    number: int
    day: int
    goods: tuple[tuple[str, int], ...]
    refunded: int = 0
    cancelled: bool = False

    def rows(self) -> Iterable[str]:
        at = (START + timedelta(days=self.day, minutes=self.number)).strftime("%Y-%m-%d %H:%M:%S")
        total = sum(quantity for _, quantity in self.goods) * 4
        status = "partially_refunded" if self.refunded else "paid"
        gone = f"{at} +0000" if self.cancelled else ""
        for place, (sku, quantity) in enumerate(self.goods):
            top = (
                [f"p{self.number}@example.test", status, "EUR", f"{total}.00", f"{total}.00", "0"]
                if not place
                else [""] * 6
            )
            yield ",".join(
                [f"#{self.number}", *top, f"{at} +0000" if not place else "", str(quantity),
                 f"Thing {sku}", "4.00", sku, "0", gone if not place else "",
                 str(self.refunded) if self.refunded and not place else "", "web", ""]
            )  # fmt: skip


Export = Callable[..., Path]
Add = Callable[..., ImportResult]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    def write(*orders: Order, name: str = "orders.csv") -> Path:
        path = tmp_path / name
        lines = [SHOPIFY, *(row for order in orders for row in order.rows()), ""]
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


def put(vault: Vault, path: Path, older: str | None = None, **said: str) -> ImportResult:
    options = Options(older=older, **said)  # type: ignore[arg-type]
    with prepare(vault, path, options, SECRET, NOW) as prepared:
        return prepared.commit()


def held(vault: Vault) -> list[tuple[object, ...]]:
    return vault.query(
        "SELECT order_ref, ts_utc::VARCHAR, sku, qty, net, customer_key FROM sales_line "
        "ORDER BY ALL"
    )


ONE = Order(1001, 0, (("a", 1), ("b", 2)))
TWO = Order(1002, 1, (("a", 3),))
THREE = Order(1003, 2, (("c", 1),))


def test_a_refund_that_grew_takes_the_place_of_the_old_one(vault: Vault, export: Export) -> None:
    put(vault, export(replace(ONE, refunded=2), TWO))
    done = put(vault, export(replace(ONE, refunded=5), TWO))
    assert (done.rows_added, done.orders_changed, done.lines_replaced) == (1, 1, 1)
    assert vault.query("SELECT net::INT FROM sales_line WHERE net < 0") == [(-5,)]
    assert vault.query("SELECT sum(net)::INT FROM sales_line") == [(12 + 12 - 5,)]
    record = vault.imports()[-1]
    assert (record.source, record.orders_changed, record.lines_replaced) == ("shopify-orders", 1, 1)


def test_an_order_that_was_cancelled_later_goes(vault: Vault, export: Export) -> None:
    put(vault, export(ONE, TWO))
    done = put(vault, export(replace(ONE, cancelled=True), TWO, THREE))
    assert (done.rows_added, done.orders_changed, done.lines_replaced) == (1, 1, 2)
    assert [row[0] for row in held(vault)] == ["#1002", "#1003"]
    # an export of nothing but what was cancelled
    done = put(vault, export(replace(TWO, cancelled=True), replace(THREE, cancelled=True)))
    assert (done.rows_added, done.lines_replaced) == (0, 2)
    assert held(vault) == []
    assert len(vault.imports()) == 3
    assert vault.verify() == len(vault.manifest().names())


def test_a_file_of_cancelled_orders_that_nobody_has_is_refused(
    vault: Vault, export: Export
) -> None:
    with pytest.raises(InputError, match="no sales line is left"):
        put(vault, export(replace(ONE, cancelled=True)))
    assert vault.imports() == ()


def test_an_edited_line_and_equal_lines(vault: Vault, export: Export) -> None:
    twice = Order(1001, 0, (("a", 1), ("a", 1), ("a", 1), ("b", 1)))
    put(vault, export(twice, TWO))
    again = replace(twice, goods=(("a", 1), ("b", 5)))
    done = put(vault, export(again, TWO))
    assert (done.rows_added, done.lines_replaced, done.duplicates) == (1, 3, 2)
    assert [row[2:4] for row in held(vault)] == [("a", 1), ("b", 5), ("a", 3)]


def test_what_would_happen_is_said_before(vault: Vault, export: Export) -> None:
    put(vault, export(ONE, TWO))
    path = export(replace(ONE, goods=(("a", 1),)), replace(TWO, cancelled=True), THREE)
    before = (held(vault), vault.data_digest())
    with prepare(vault, path, Options(), SECRET, NOW) as prepared:
        assert prepared.compare() == (1, 1)
        assert prepared.replacing().orders == 2
        assert (prepared.replacing().lines, prepared.replacing().coming) == (2, 0)
        assert any("newest export" in note for note in prepared.plan.notes)
    assert (held(vault), vault.data_digest()) == before


def test_the_same_file_again_changes_nothing(vault: Vault, export: Export) -> None:
    path = export(replace(ONE, refunded=2), TWO)
    put(vault, path)
    before = (held(vault), vault.data_digest(), vault.imports(), vault.manifest().files)
    assert intake.add(vault, preview(path), SECRET, NOW).already_known
    done = put(vault, path)
    assert (done.rows_added, done.orders_changed, done.lines_replaced) == (0, 0, 0)
    assert (held(vault), vault.data_digest(), vault.imports(), vault.manifest().files) == before


def test_an_older_export_is_a_question(vault: Vault, export: Export) -> None:
    old = export(ONE, TWO, name="old.csv")
    put(vault, export(replace(ONE, cancelled=True), TWO, THREE, name="new.csv"))
    before = held(vault)
    with pytest.raises(InputError, match="older one") as caught:
        put(vault, old)
    assert caught.value.where == "--older"
    assert "new.csv" in caught.value.problem and "2025-03-03" in caught.value.problem
    assert held(vault) == before
    with pytest.raises(InputError, match="keep or replace"):
        put(vault, old, older="yes")
    # nothing of an order that is here differs, so there is nothing to ask
    assert put(vault, export(TWO, name="same.csv")).rows_added == 0


def test_an_older_export_that_is_kept_out_or_counts(vault: Vault, export: Export) -> None:
    zero = Order(1000, -9, (("z", 1),))
    old = export(zero, ONE, TWO, name="old.csv")
    new = export(replace(ONE, refunded=4), TWO, THREE, name="new.csv")
    put(vault, new)
    edited = replace(ONE, goods=(("a", 7),))
    never = replace(THREE, number=1004, day=0)  # perhaps cancelled since, and left out
    done = put(vault, export(zero, edited, TWO, never, name="older.csv"), older="keep")
    assert (done.rows_added, done.kept_back, done.lines_replaced) == (1, 2, 0)
    assert vault.query("SELECT count(*) FROM sales_line WHERE net < 0") == [(1,)]
    done = put(vault, old, older="replace")
    assert (done.rows_added, done.lines_replaced) == (0, 1)
    assert vault.query("SELECT count(*) FROM sales_line WHERE net < 0") == [(0,)]
    # what was here before the older one counted is read again, and so is what is said to count
    assert intake.known(vault, old, Options(older="replace"), NOW.date()) is None
    assert intake.known(vault, old, Options(), NOW.date()) is not None
    assert intake.known(vault, new, Options(), NOW.date()) is None
    assert (put(vault, new).rows_added, put(vault, new).rows_added) == (1, 0)
    assert vault.query("SELECT count(*) FROM sales_line WHERE net < 0") == [(1,)]


def test_two_tills_with_equal_numbers_leave_each_other_alone(
    vault: Vault, export: Export, tmp_path: Path
) -> None:
    put(vault, export(Order(1, 0, (("a", 1),)), Order(2, 0, (("a", 1),))))
    stripe = tmp_path / "charges.csv"
    moment = START + timedelta(minutes=1)

    def charge(amount: int) -> Path:
        stripe.write_text(
            "id,Created (UTC),Amount,Currency,Status,Amount Refunded\n"
            f"#1,{moment:%Y-%m-%d %H:%M},{amount}.00,eur,Paid,0\n"
        )
        return stripe

    put(vault, charge(9), dialect="stripe-payments")
    done = put(vault, charge(8), dialect="stripe-payments")
    assert (done.orders_changed, done.lines_replaced) == (1, 1)
    nets = vault.query("SELECT order_ref, net::INT FROM sales_line ORDER BY ALL")
    assert nets == [("#1", 4), ("#1", 8), ("#2", 4)]


def test_two_shops_with_one_till_are_told_apart_by_the_moment(vault: Vault, export: Export) -> None:
    put(vault, export(ONE))
    other = replace(TWO, number=1001, day=40)
    done = put(vault, export(other))
    assert (done.rows_added, done.orders_changed) == (1, 0)
    done = put(vault, export(replace(other, refunded=1)))
    assert (done.orders_changed, len(held(vault))) == (0, 4) or done.lines_replaced == 0
    assert [row[3] for row in held(vault) if row[2] == "b"] == [2]


def test_erased_and_corrected_customers_stay_so(vault: Vault, export: Export) -> None:
    put(vault, export(ONE, TWO))
    keys = {n: customer_key(SECRET, f"p{n}@example.test") for n in (1001, 1002)}
    first, second = keys[1001], keys[1002]
    assert first is not None and second is not None
    lines = vault.lines_of(first).to_pylist()
    off = [LineCorrection(one["line_hash"], one["copy"], {"customer_key": None}) for one in lines]
    vault.correct(first, off, NOW)
    vault.erase([second], NOW, "request")
    done = put(vault, export(replace(ONE, refunded=3), replace(TWO, refunded=1)))
    assert done.suppressed == 2
    found = held(vault)
    assert {row[0] for row in found} == {"#1001"} and len(found) == 3
    # the line that came later belongs to an order that was taken off this person
    assert all(row[5] is None for row in found)
    put(vault, export(replace(ONE, refunded=4), TWO, name="c.csv"))
    assert vault.trace(first).empty and vault.trace(second).empty
    assert len(held(vault)) == 3


def test_lines_of_other_sources_are_never_replaced(
    vault: Vault, export: Export, till: Callable[..., Path], take_in: Add
) -> None:
    take_in(till([("2025-03-01", "#1001", "A", "1")]))
    put(vault, export(ONE))
    put(vault, export(replace(ONE, goods=(("a", 9),))))
    assert sorted(str(row[2]) for row in held(vault)) == ["a", "s-A"]
    assert take_in(till([("2025-03-01", "#1001", "A", "5")])).lines_replaced == 0
    assert len(held(vault)) == 3


def test_another_key_and_many_imports_keep_the_source(vault: Vault, export: Export) -> None:
    for day in range(9):
        put(vault, export(Order(2000 + day, day, (("a", 1),)), name=f"{day}.csv"))
    assert len(vault.manifest().files) == 2  # eight of them were merged
    vault.rotate(lambda: bytes([7]) * 32, lambda: None, NOW)
    again = Vault(vault.root, bytes([7]) * 32)
    assert {file.source for file in again.manifest().files} == {"shopify-orders"}
    done = put(again, export(*(Order(2000 + day, day, (("a", 2),)) for day in range(9))))
    assert (done.rows_added, done.orders_changed, done.lines_replaced) == (9, 9, 9)


STATES = st.builds(
    lambda goods, refunded, cancelled: (tuple(goods), refunded, cancelled),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), min_size=1, max_size=3),
    st.integers(0, 3),
    st.booleans(),
)
HISTORY = st.lists(
    st.tuples(st.dictionaries(st.integers(0, 4), STATES, max_size=3), st.integers(0, 3)),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))
@given(HISTORY)
def test_exports_in_their_order_come_to_the_newest_state_of_each_order(
    export: Export,
    tmp_path_factory: pytest.TempPathFactory,
    history: Sequence[tuple[dict[int, tuple[tuple[tuple[str, int], ...], int, bool]], int]],
) -> None:
    folder = tmp_path_factory.mktemp("h")
    vault, whole = (Vault(folder / name, bytes(32)) for name in ("vault", "whole"))
    shop: dict[int, Order] = {}
    exported: dict[int, Order] = {}
    for changes, first in history:
        for number, (goods, refunded, cancelled) in changes.items():
            shop[number] = Order(1000 + number, number, goods, refunded, cancelled)
        part = {number: order for number, order in shop.items() if number >= first}
        if not part or all(order.cancelled for order in (part | exported).values()):
            continue
        try:
            put(vault, export(*(part[n] for n in sorted(part))), older="replace")
        except InputError as error:  # nothing but cancelled orders that are not here
            assert "no sales line is left" in error.problem
        exported |= part
    if any(not order.cancelled for order in exported.values()):
        put(whole, export(*(exported[n] for n in sorted(exported))))
    assert held(vault) == held(whole)


# --- what says so -------------------------------------------------------------------------------


def test_dialects_of_whole_orders_say_so() -> None:
    replacing = {name for name in names() if find(name).layout.replaces}
    assert replacing == {
        "etsy-sold-items", "shopify-orders", "stripe-api-charges", "stripe-payments",
        "woo-export-suite", "woo-rest-orders",
    }  # fmt: skip


def test_a_mapping_file_may_say_so() -> None:
    text = (
        'format = "datacoop-mapping/1"\nname = "own"\ntable = "sales_line"\nreplaces = "order"\n'
        '[columns]\ndate = "Day"\norder = "No"\nquantity = "Qty"\ntotal = "Sum"\n'
    )
    assert parse_layout(text.encode(), "m.toml").replaces
    assert not parse_layout(text.replace('replaces = "order"\n', "").encode(), "m").replaces
    for wrong in (text.replace('order = "No"\n', ""), text.replace('"order"\n[', '"line"\n[')):
        with pytest.raises(InputError) as caught:
            parse_layout(wrong.encode(), "m.toml")
        assert caught.value.where.startswith("m.toml:")


def test_an_export_without_order_numbers_replaces_nothing() -> None:
    dialect = find("etsy-sold-items")
    header = ["Sale Date", "Item Name", "Buyer", "Quantity", "Price", "Transaction ID",
              "Listing ID", "Item Total", "Date Paid", "Currency"]  # fmt: skip
    assert dialect.read(header).replaces == ""
    assert dialect.read([*header, "Order ID"]).replaces == "etsy-sold-items"


def test_moments_are_compared_as_clocks_of_any_zone_show_them() -> None:
    hour = 3_600_000_000
    refs = pa.array(["#1", "#1", None, "#2"])
    known = Moments(refs, np.array([0, 400 * 24 * hour, 5, -2 * hour]))
    asked = [("#1", 2 * hour), ("#1", 2 * hour + 1), ("#1", 30 * hour), ("#2", 0), ("#3", 0),
             ("#1", 401 * 24 * hour), ("#2", 24 * hour)]  # fmt: skip
    found = known.find(pa.array([a for a, _ in asked]), np.array([b for _, b in asked]))
    assert found.tolist() == [True, False, False, True, False, True, True]
    assert known.find(pa.array([None], pa.string()), np.array([5])).tolist() == [False]


FILES = [p for p in sorted(DIALECTS.glob("*/*.csv")) if find(p.parent.name).layout.replaces]


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_orders_that_are_left_out_are_named_however_a_file_is_cut(path: Path) -> None:
    header, *rows = records(path)
    reading = find(path.parent.name).read(header, rows)
    form = Format(reading.fixed["date_order"], ".", ZoneInfo("UTC"), "EUR")  # type: ignore[arg-type]
    found = []
    for cuts in ((), range(1, len(rows))):
        converter = Converter(reading.table, reading.columns, form, SECRET)
        batches = role_batches(reading, stretches(header, rows, reading.wanted, cuts))
        gone = [converter.orders(one.gone) for one in batches if one.gone is not None]
        kept = {ref for one in batches for ref in one.columns[Role.ORDER].to_pylist()}
        orders = pa.concat_tables([ORDER.empty_table(), *gone]).sort_by("order_ref")
        assert not kept & set(orders["order_ref"].to_pylist())
        left_out = any(one.left_out for one in batches)
        assert bool(orders.num_rows) is left_out
        found.append(orders)
    assert found[0] == found[1]
