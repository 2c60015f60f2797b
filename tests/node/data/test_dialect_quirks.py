"""Amounts without a lost cent, time zones, special categories, smallest units, hostile cells."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialect_files import DIALECTS, outcome, records
from node.data import connectors
from node.data.batch import BadRow, TextBatch
from node.data.columns import Fate, Role
from node.data.connectors import amounts, arrays, moments, quirks, special, zones
from node.data.connectors.passes import MAX_ORDER_ROWS
from node.data.values import Unreadable, number
from protocols.errors import InputError

CENT = 10_000

# --- amounts -----------------------------------------------------------------------------------


@given(
    cents=st.integers(0, 10**9),
    weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=30).filter(any),
)
def test_shares_add_up_and_are_whole_cents(cents: int, weights: list[int]) -> None:
    shares = amounts.spread(cents * CENT, weights)
    assert sum(shares) == cents * CENT
    assert all(share >= 0 and share % CENT == 0 for share in shares)
    total = sum(weights)
    assert all(
        abs(share * total - cents * CENT * weight) < CENT * total
        for share, weight in zip(shares, weights, strict=True)
    )


@given(millionths=st.integers(0, 10**12), weights=st.lists(st.integers(1, 9), min_size=1))
def test_an_amount_finer_than_cents_is_shared_exactly_too(
    millionths: int, weights: list[int]
) -> None:
    assert sum(amounts.spread(millionths, weights)) == millionths


@given(value=st.integers(-(10**17), 10**17))
def test_a_shown_amount_reads_back(value: int) -> None:
    assert number(amounts.shown(value), ".") == value


@pytest.mark.parametrize(
    ("text", "currency", "expected"),
    [("1250", "EUR", "12.5"), ("1250", "jpy", "1250"), ("1250", "KWD", "1.25"),
     ("-5", "usd", "-0.05"), ("0", "EUR", "0"), ("", "EUR", "")],
)  # fmt: skip
def test_smallest_units(text: str, currency: str, expected: str) -> None:
    assert amounts.major(text, currency) == expected


@pytest.mark.parametrize("text", ["12.50", "1e3", "²", "--5", "12 50", "٣"])
def test_what_is_no_whole_number_of_units_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        amounts.major(text, "EUR")
    with pytest.raises(Unreadable):
        amounts.major("1250", " ")


ORDER = "Name,Created at,Financial Status,Currency,Subtotal,Total,Discount Amount,Refunded Amount"
LINE = "Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Lineitem discount"
HEADER = (ORDER + "," + LINE).split(",")
cents = st.integers(0, 50_000).map(lambda value: f"{value / 100:.2f}")


@settings(max_examples=30, deadline=None)
@given(
    lines=st.lists(st.tuples(st.integers(1, 9), cents), min_size=1, max_size=8),
    discount=cents,
    refund=cents,
)
def test_an_orders_lines_add_up_to_the_order(
    lines: list[tuple[int, str]], discount: str, refund: str
) -> None:
    rows = []
    for at, (qty, price) in enumerate(lines):
        held = ["2025-01-02 10:00:00 +0000", "paid", "EUR", "", "99999.00", discount, refund]
        rows.append(["#1", *(held if at == 0 else [""] * 7), str(qty), "Tea", price, "T", ""])
    reading = connectors.find("shopify-orders").read(HEADER, rows)
    made = outcome(reading, HEADER, rows, {})
    cells = [row.split(" | ") for row in made["rows"]]
    goods = sum(qty * number(price, ".") for qty, price in lines)
    off = min(number(discount, "."), goods)
    sold = [row for row in cells if row[13] == "no"]
    assert sum(number(row[8], ".") for row in sold) == off
    assert sum(number(row[9], ".") for row in sold) == goods - off
    back = [row for row in cells if row[13] == "yes"]
    assert sum(number(row[9], ".") for row in back) == -min(number(refund, "."), goods - off)
    assert all(row[6] == "0" for row in back)


def orders_of(lines: list[tuple[str, str]], discount: str) -> dict[str, Any]:
    """What an order of (quantity, price) lines with one discount gives."""
    rows = []
    for at, (qty, price) in enumerate(lines):
        held = ["2025-01-02 10:00:00 +0000", "paid", "EUR", "", "", discount, ""]
        rows.append(["#1", *(held if at == 0 else [""] * 7), qty, "Tea", price, "T", ""])
    return outcome(connectors.find("shopify-orders").read(HEADER, rows), HEADER, rows, {})


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.integers(0, 10**7), st.integers(0, 10**12)), min_size=1, max_size=6
    ),
    discount=st.integers(0, 10**12),
)
def test_whole_orders_at_once_share_as_one_at_a_time(
    lines: list[tuple[int, int]], discount: int
) -> None:
    """Also for amounts whose products do not fit 64 bits, and quantities with a fraction."""
    shown = [(amounts.shown(qty), amounts.shown(price)) for qty, price in lines]
    worths = [amounts.rounded(qty * price, 10**6) for qty, price in lines]
    made = orders_of(shown, amounts.shown(discount))
    off = min(discount, sum(worths))
    expected = amounts.spread(off, worths) if off else [0] * len(lines)
    assert [number(row.split(" | ")[8], ".") for row in made["rows"]] == expected


def test_an_export_that_names_no_order_is_read_line_by_line() -> None:
    header, *rows = records(DIALECTS / "etsy-sold-items" / "2025.csv")
    at = header.index("Order ID")
    header, rows = header[:at], [row[:at] for row in rows]
    found = connectors.detect(header, rows)[0]
    made = outcome(found.reading, header, rows, {})
    discounts = {row.split(" | ")[4]: row.split(" | ")[8] for row in made["rows"]}
    assert discounts["Hare card"] == "1" and discounts["Hare print"] == "0"


def test_an_order_beyond_counting_is_set_aside() -> None:
    made = orders_of([("999999999999", "999999999"), ("1", "1.00")], "5.00")
    assert made["rows"] == []
    assert {problem for _, problem in made["bad"]} == {
        "the lines of this order come to a million million or more"
    }


def test_an_order_whose_discount_is_no_number_is_set_aside_whole() -> None:
    held = ["2025-01-02 10:00:00 +0000", "paid", "EUR", "", "9.00", "some", "0.00"]
    rows = [
        ["#1", *held, "1", "Tea", "4.00", "T", ""],
        ["#1", *[""] * 7, "1", "Cup", "5.00", "C", ""],
        ["#2", *held[:5], "", "3.00", "1", "Tea", "4.00", "T", ""],
    ]
    made = outcome(connectors.find("shopify-orders").read(HEADER, rows), HEADER, rows, {})
    assert [line for line, _ in made["bad"]] == [2, 3]
    assert "'some' is not a number" in made["bad"][0][1]
    assert [row.split(" | ")[9] for row in made["rows"]] == ["4", "-3"]


def test_an_endless_order_is_refused() -> None:
    count = MAX_ORDER_ROWS + 1
    reading = connectors.find("shopify-orders").read(HEADER)
    columns = {name: arrays.repeated("#1", count) for name in reading.wanted}
    with pytest.raises(InputError) as caught:
        reading.start().take(TextBatch(columns, np.arange(2, count + 2)))
    assert "no order has that many" in caught.value.problem


def test_broken_records_are_handed_on() -> None:
    reading = connectors.find("shopify-orders").read(HEADER)
    none = {name: pa.array([], pa.string()) for name in reading.wanted}
    broken = (BadRow(7, 0, "not proper CSV"),)
    one = reading.start()
    assert one.take(TextBatch(none, np.zeros(0, np.int64), broken)).bad == broken
    assert one.finish() is None


# --- cells -------------------------------------------------------------------------------------


def test_guards_of_spreadsheets_come_off() -> None:
    cells = arrays.texts(["'00123", '="00456"', "789", "o'neil", "", "'"])
    assert arrays.unguarded(cells).to_pylist() == ["00123", "00456", "789", "o'neil", "", ""]


def test_filling_stays_within_an_order() -> None:
    starts = arrays.starts_of(arrays.texts(["a", "a", "b", "b", "a"]))
    assert starts.tolist() == [0, 2, 4]
    cells = arrays.texts(["1", " ", "", "2", ""])
    assert arrays.filled_from_above(cells, starts).to_pylist() == ["1", "1", "", "2", ""]


def test_several_goods_in_one_cell_are_bounded() -> None:
    header, *rows = records(DIALECTS / "woo-analytics-orders" / "2025.csv")
    rows[0][6] = ", ".join(["1× Tea"] * 501)
    reading = connectors.find("woo-analytics-orders").read(header, rows)
    made = outcome(reading, header, rows[:1], {})
    assert made["rows"] == [] and "501 goods" in made["bad"][0][1]


def test_a_product_without_its_variant_stands_for_the_category() -> None:
    header, *rows = records(DIALECTS / "shopify-orders" / "2016.csv")
    at = header.index("Lineitem name")
    names = ["Tea - 200 g", "Tea", "Tea - green - 1 kg", " - ", "x" * 130, ""]
    lines = [[*row[:at], name, *row[at + 1 :]] for row, name in zip(rows, names, strict=False)]
    reading = connectors.find("shopify-orders").read(header, lines)
    made = outcome(reading, header, lines, {})
    found = [row.split(" | ")[5] for row in made["rows"] if row.split(" | ")[6] != "0"]
    assert found == ["Tea", "Tea", "Tea - green", "-", "x" * 120, "-"]
    assert made["bad"] == []


# --- time zones --------------------------------------------------------------------------------


def test_every_name_of_rails_is_a_zone() -> None:
    known = available_timezones()
    assert len(zones.RAILS) >= 151
    assert {zone for zone in zones.RAILS.values() if zone not in known} == set()
    winter = datetime(2026, 1, 15, 12, tzinfo=UTC)
    for name, hours in (("Eastern Time (US & Canada)", -5), ("Kolkata", 5.5), ("Samoa", 13),
                        ("Newfoundland", -3.5), ("Astana", 5), ("Chatham Is.", 13.75)):  # fmt: skip
        zone = zones.zone_of(f" {name} ")
        assert zone is not None
        offset = winter.astimezone(zone).utcoffset()
        assert offset is not None and offset.total_seconds() == hours * 3600, name


def test_names_that_are_no_zones() -> None:
    for name in ("", "Moon Base", "../../etc/passwd", "/etc/localtime", "EST5EDT\x00"):
        assert zones.zone_of(name) is None
    assert zones.zone_of("Europe/Berlin") == ZoneInfo("Europe/Berlin")


# --- special categories ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "kind"),
    [("Religion", "religion or belief"), ("Konfession", "religion or belief"),
     ("Customer diagnosis", "health"), ("ALLERGIES", "health"), ("Santé", "health"),
     ("Political party", "political opinion"), ("Ethnicity", "racial or ethnic origin"),
     ("Sexual orientation", "sex life or sexual orientation"),
     ("DNA sample", "genetic or biometric data"),
     ("Gewerkschaft", "trade-union membership"), ("Union", "trade-union membership"),
     ("Trade-union", "trade-union membership"), ("Denomination", "religion or belief"),
     ("CustomerReligion", "religion or belief"), ("Kundenreligion", "religion or belief"),
     ("Confesi\u00f3n", "religion or belief"), ("Party", "political opinion"),
     ("Schwerbehindert", "health"), ("Allergy notes", "health"),
     ("Race", "racial or ethnic origin")],
)  # fmt: skip
def test_a_name_that_speaks_of_a_special_category(header: str, kind: str) -> None:
    assert special.kind_of_name(header) == kind


@pytest.mark.parametrize(
    "header",
    ["Third Party Order Id", "3rd-party fees", "Party size", "Card Denomination", "Orientation",
     "Credit Union fee", "Union price", "Helpful votes", "Race number", "Herkunft", "Allergene",
     "Allergens", "Fair Trade", "Kosher", "Parti pris", "Health score"],
)  # fmt: skip
def test_a_name_that_speaks_of_goods_and_business_is_none(header: str) -> None:
    assert special.kind_of_name(header) == ""


def test_a_shop_may_stand_at_union_square() -> None:
    header, *rows = records(next((DIALECTS / "shopify-inventory-places").glob("*.csv")))
    reading = connectors.find("shopify-inventory-places").read(
        [*header, "Union Square"], [[*row, "3"] for row in rows]
    )
    assert reading.columns[-1].fate is Fate.USED


def test_no_column_of_a_known_till_is_special() -> None:
    for name in connectors.names():
        for version in connectors.find(name).layout.signature.versions:
            assert [one for one in version.header if special.kind_of_name(one)] == []


def test_content_is_looked_at_but_not_the_names_of_goods() -> None:
    header = ["Date", "Field 7", "Product", "Code"]
    rows = [["2025-01-01", faith, "Pregnancy test", code] for faith, code in
            [("Catholic", "E11.9"), ("Muslim", "J45.0"), ("jewish", "I10.1"), ("none", "F32.1"),
             ("Hindu", "x"), ("", "M54.5")]]  # fmt: skip
    found = special.special_columns(header, rows, goods=frozenset({3}))
    assert set(found) == {2, 4}
    assert "'Field 7' speaks of religion or belief (by what stands in it)" in found[2]
    assert special.kind_of_cells(["Catholic"] * 4) == ""  # too few to say so
    for harmless in ("labour", "Roma", "disabled", "liberal", "Conservative"):
        assert special.kind_of_cells([harmless] * 9) == ""
    assert special.kind_of_cells(["Orange"] * 9 + ["Catholic"]) == ""


def test_a_special_column_of_a_dialect_is_blocked_with_a_sentence() -> None:
    header, *rows = records(DIALECTS / "shopify-orders" / "2025.csv")
    reading = connectors.find("shopify-orders").read([*header, "Religion"], rows)
    assert reading.columns[-1].fate is Fate.BLOCKED
    assert "Religion" not in reading.wanted
    assert any("'Religion' speaks of religion" in note for note in reading.notes)


def test_marketing_consent_is_named_as_none_for_training() -> None:
    for name in ("shopify-orders", "shopify-customers"):
        layout = connectors.find(name).layout
        assert any("not to training" in note for note in layout.words.notes)
        reading = connectors.find(name).read(layout.signature.versions[0].header)
        marketing = [c for c in reading.columns if c.header.startswith("Accepts")]
        assert marketing and {c.fate for c in marketing} == {Fate.PERSONAL}


def test_ten_and_more_personal_columns_of_a_shop_are_dropped() -> None:
    for version in connectors.find("shopify-orders").layout.signature.versions:
        reading = connectors.find("shopify-orders").read(version.header)
        dropped = {c.header for c in reading.columns if c.fate is Fate.PERSONAL}
        assert {"Billing Name", "Billing Zip", "Shipping Phone", "Notes"} <= dropped
        assert len(dropped) > 20
        assert not dropped & set(reading.wanted)
        roles = [c.role for c in reading.columns if c.role is not None]
        assert roles.count(Role.CUSTOMER) >= 1


def test_a_file_that_a_spreadsheet_saved_with_commas_reads_the_same() -> None:
    for name in ("shopify-orders", "etsy-sold-items", "square-items"):
        path = sorted((DIALECTS / name).glob("*.csv"))[-1]
        header, *rows = records(path)
        commas = [[re.sub(r"^(-?\$?[0-9]+)\.([0-9]{2})$", r"\1,\2", cell) for cell in row]
                  for row in rows]  # fmt: skip
        assert commas != rows
        dialect = connectors.find(name)
        before = outcome(dialect.read(header, rows), header, rows, {})
        after = outcome(dialect.read(header, commas), header, commas, {})
        assert after["rows"] == before["rows"]


_NAMES = [h for n in connectors.names() for v in connectors.find(n).layout.signature.versions
          for h in v.header]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    header=st.lists(st.sampled_from(_NAMES) | st.text(max_size=12), min_size=1, max_size=60),
    cells=st.lists(st.text(max_size=8), max_size=6),
)
def test_any_header_is_known_or_not_or_refused(header: list[str], cells: list[str]) -> None:
    sample = [(cells * 60)[: len(header)]] * 4 if cells else []
    try:
        found = connectors.detect(header, sample)
    except InputError as error:
        assert "stands twice" in error.problem or "speaks of" in error.problem
        return
    assert [one.confidence for one in found] == sorted(
        (one.confidence for one in found), reverse=True
    )
    for one in found:
        assert [column.header for column in one.reading.columns] == header
        assert set(one.reading.wanted) <= set(header)


@settings(max_examples=30, deadline=None)
@given(path=st.sampled_from(sorted(DIALECTS.glob("*/*.csv"))), data=st.data())
def test_any_cell_is_read_or_set_aside(path: Path, data: st.DataObject) -> None:
    header, *rows = records(path)
    row = data.draw(st.integers(0, len(rows) - 1))
    place = data.draw(st.integers(0, len(header) - 1))
    rows[row] = list(rows[row])
    rows[row][place] = data.draw(st.text(max_size=30))
    reading = connectors.find(path.parent.name).read(header, rows[:0])
    made = outcome(reading, header, rows, {"date_order": "mdy"})
    assert len(made["rows"]) + len(made["bad"]) + sum(made["left_out"].values()) > 0


def test_a_cell_of_blanks_takes_no_time() -> None:
    header, *rows = records(DIALECTS / "woo-analytics-orders" / "2025.csv")
    rows[0][6] = "1× a" + " " * 90_000 + "b, " + "1" * 90_000
    reading = connectors.find("woo-analytics-orders").read(header, rows)
    assert outcome(reading, header, rows[:1], {})["rows"] == []


def test_a_product_may_be_named_with_a_count_of_its_own() -> None:
    items = quirks._listed("1× Box, 2 x Tea, 3× Cup", "4.00")
    assert [(item[Role.PRODUCT], item[Role.QUANTITY]) for item in items] == [
        ("Box, 2 x Tea", "1"),
        ("Cup", "3"),
    ]
    assert len(quirks._listed("1x Box, 2 x Tea", "4.00")) == 2


def test_days_in_two_orders_are_a_refusal_and_no_vote() -> None:
    with pytest.raises(InputError, match="written in two orders"):
        moments._decided(["12/25/2025", "25/12/2025", "03/04/2025"])
    assert moments._decided(["12/25/2025", "03/04/2025", "no day"]) == "mdy"
