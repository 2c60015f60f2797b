from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.data.intake import ImportResult, Options, add, escape_formula, preview
from node.data.vault import Vault
from protocols.errors import InputError, LocalError

VECTORS = Path(__file__).parents[2] / "vectors" / "imports"
REFUSALS = json.loads((VECTORS / "refusals.json").read_text(encoding="utf-8"))
SECRET = bytes(range(32))
NOW = datetime(2025, 1, 6, tzinfo=UTC)
TakeIn = Callable[..., ImportResult]

AMOUNTS = "qty, unit_price, discount, net"


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def decimals(vault: Vault, columns: str = AMOUNTS) -> list[tuple[str, ...]]:
    rows = vault.query(f"SELECT {columns} FROM sales_line ORDER BY ALL")
    return [tuple(f"{value.normalize():f}" for value in row) for row in rows]


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", REFUSALS, ids=lambda c: f"{c['file']}-{c['says'][:20]}")
def test_a_bad_file_is_refused_with_its_place(case: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        preview(VECTORS / case["file"], Options(**case.get("options", {})))
    assert caught.value.where == case["where"]
    assert case["says"] in caught.value.problem
    assert case.get("fix", "") in caught.value.fix
    assert caught.value.fix or case["where"].startswith("--")


def test_an_option_answers_the_question(vault: Vault, take_in: TakeIn) -> None:
    take_in(VECTORS / "bad-date-order.csv", Options(date_order="mdy"))
    assert vault.query("SELECT min(business_date), max(business_date) FROM sales_line") == [
        (date(2017, 1, 2), date(2017, 3, 4))
    ]
    take_in(VECTORS / "bad-decimal.csv", Options(decimal="comma"))
    take_in(VECTORS / "bad-decimal.csv", Options(decimal="."))
    assert [row[0] for row in decimals(vault, "net")] == ["1", "1", "1.234", "2.5", "1234", "2500"]
    take_in(VECTORS / "bad-latin1.csv", Options(encoding="latin-1"))
    assert vault.query("SELECT product FROM sales_line WHERE product LIKE 'C%'") == [("Café",)]
    take_in(VECTORS / "bad-rivals.csv", Options(columns={"total": "Net sales"}))


def test_too_many_bad_rows_show_the_first_five(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("date,category,qty,total\n" + "2017-01-01,A,x,1\n" * 9)
    with pytest.raises(InputError) as caught:
        preview(path)
    assert "9 of 9 rows" in caught.value.problem
    assert [f"f.csv:{line}:3: 'qty': 'x' is not a number" in caught.value.problem
            for line in range(2, 9)] == [True] * 5 + [False] * 2  # fmt: skip


def test_reading_stops_when_too_many_rows_are_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.data.lines.BLOCK_BYTES", 2000)
    path = tmp_path / "f.csv"
    bad, good = "2017-01-01,A,x,1\n", "2017-01-01,A,1,1\n"
    path.write_text("date,category,qty,total\n" + bad * 5000)
    with pytest.raises(InputError, match=r"of the first [0-9]+ rows cannot be read"):
        preview(path)
    path.write_text("date,category,qty,total\n" + bad * 100 + good * 4901)  # just bearable
    assert preview(path).bad_rows == 100


# --- good files --------------------------------------------------------------------------------


def test_a_till_export(vault: Vault, take_in: TakeIn) -> None:
    plan = preview(VECTORS / "good-till.csv")
    assert (plan.delimiter, plan.encoding, plan.decimal) == (",", "utf-8", ".")
    assert plan.preview[0][4] == "Milk" and len(plan.preview) == 3
    result = take_in(VECTORS / "good-till.csv")
    assert (result.rows_added, result.duplicates, result.quarantined) == (3, 0, 0)
    assert (result.date_from, result.date_to) == (date(2017, 1, 2), date(2017, 1, 3))
    assert decimals(vault) == [
        ("-1", "0.5", "0", "-0.5"),
        ("2", "0.5", "0", "1"),
        ("2", "0.5", "0", "1"),
    ]
    assert vault.query("SELECT count(*) FROM sales_line WHERE is_return") == [(1,)]


def test_utf16_reads_as_the_same_lines(vault: Vault, take_in: TakeIn) -> None:
    take_in(VECTORS / "good-till.csv")
    result = take_in(VECTORS / "good-utf16.csv")
    assert (result.rows_added, result.duplicates) == (0, 3)


def test_a_german_till(vault: Vault, take_in: TakeIn) -> None:
    plan = preview(VECTORS / "good-kasse-de.csv", Options(timezone="Europe/Berlin"))
    assert (plan.delimiter, plan.encoding) == (";", "utf-8-sig")
    assert (plan.date_order, plan.decimal) == ("dmy", ",")
    assert plan.dropped == ("Kassierer",)
    take_in(VECTORS / "good-kasse-de.csv", Options(timezone="Europe/Berlin"))
    rows = vault.query(
        "SELECT business_date, epoch(ts_utc)::BIGINT, product, category_code FROM sales_line "
        "ORDER BY ts_utc"
    )
    assert rows == [
        (date(2017, 1, 13), 1484295300, "Brötchen", "Backwaren"),
        (date(2017, 2, 2), 1486055100, "Käse", "Molkerei"),
    ]
    assert decimals(vault) == [("0.345", "1234.5", "0", "425.9"), ("10", "0.35", "0.5", "3")]


def test_an_american_till_with_tabs(vault: Vault, take_in: TakeIn) -> None:
    plan = preview(VECTORS / "good-us-tab.csv")
    assert (plan.delimiter_name, plan.date_order, plan.dropped) == (
        "tab",
        "mdy",
        ("Customer Name",),
    )
    take_in(VECTORS / "good-us-tab.csv")
    assert decimals(vault, "qty, net") == [("1", "1234.5"), ("2", "3")]
    assert vault.query("SELECT hour(ts_utc::TIMESTAMP) FROM sales_line ORDER BY 1") == [(0,), (21,)]


def test_a_return_is_a_negative_line(vault: Vault, take_in: TakeIn) -> None:
    take_in(VECTORS / "good-returns.csv")
    assert decimals(vault, "qty, unit_price, net") == [("-1", "20", "-20"), ("1", "20", "20")]
    assert vault.query("SELECT order_ref FROM sales_line WHERE is_return") == [("o2",)]


def test_a_missing_total_is_computed(vault: Vault, take_in: TakeIn) -> None:
    plan = preview(VECTORS / "good-computed.csv")
    assert "net from quantity x unit price - discount" in plan.derived
    take_in(VECTORS / "good-computed.csv")
    assert decimals(vault, "qty, net") == [("0.5", "1"), ("3", "0.999")]


def test_quotes_line_breaks_and_inches(vault: Vault, take_in: TakeIn) -> None:
    take_in(VECTORS / "good-quoted.csv")
    assert vault.query("SELECT product FROM sales_line ORDER BY 1") == [
        ('TV 32" screen',),
        ('Tea 5" pot',),
        ('Tea, "green" loose',),
    ]


def test_printed_offsets(vault: Vault, take_in: TakeIn) -> None:
    take_in(VECTORS / "good-offsets.csv", Options(timezone="Europe/Paris"))
    assert vault.query(
        "SELECT business_date, epoch(ts_utc)::BIGINT FROM sales_line ORDER BY ts_utc"
    ) == [
        (date(2017, 7, 1), 1498861800),  # 00:30 in Paris, printed with +0200
        (date(2017, 7, 1), 1498865400),  # 23:30 UTC is 01:30 of the next day in Paris
        (date(2017, 7, 1), 1498896000),  # 10:00 in Paris
    ]


def test_the_hours_around_a_clock_change(vault: Vault, take_in: TakeIn, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(
        "date,time,category,qty,total\n"
        "2017-10-29,01:30,A,1,1\n2017-10-29,02:30,A,1,1\n2017-10-29,03:30,A,1,1\n"
    )
    take_in(path, Options(timezone="Europe/Paris"))
    rows = vault.query("SELECT epoch(ts_utc)::BIGINT // 60 FROM sales_line ORDER BY ts_utc")
    first = rows[0][0]
    assert [row[0] - first for row in rows] == [0, 60, 180]


def test_a_discount_has_one_sign(vault: Vault, take_in: TakeIn, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(
        "date,category,qty,price,discount,total\n"
        "2017-01-01,A,1,5,-1,4\n2017-01-01,A,1,5,1,4\n2017-01-01,A,-1,5,1,-4\n"
    )
    take_in(path)
    assert decimals(vault, "discount, net") == [("-1", "-4"), ("1", "4"), ("1", "4")]
    assert vault.query("SELECT count(*) FROM sales_line WHERE net <> qty * unit_price - discount") \
        == [(0,)]  # fmt: skip


def test_customers_are_keyed_and_names_are_gone(
    vault: Vault, take_in: TakeIn, tmp_path: Path
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(
        "date,category,qty,total,customer name,e-mail,loyalty card\n"
        "2017-01-01,A,1,1,Zebulon Quux,zeb@quux.example,LOYAL-77\n"
        "2017-01-01,A,1,1,Zebulon Quux,zeb@quux.example, loyal-77 \n"
        "2017-01-01,A,1,1,,,\n"
    )
    plan = preview(path)
    assert plan.dropped == ("customer name", "e-mail")
    assert "Zebulon" not in repr(plan)
    take_in(path)
    keys = [row[0] for row in vault.query("SELECT customer_key FROM sales_line ORDER BY 1")]
    assert keys[0] == keys[1] and len(keys[0]) == 64 and keys[2] is None
    vault.verify()
    for name, content in tree(vault.root).items():
        for secret in (b"Zebulon", b"quux", b"LOYAL", b"loyal"):
            assert secret not in content, name


def test_the_customer_key_depends_on_the_secret(tmp_path: Path, take_in: TakeIn) -> None:
    path = tmp_path / "f.csv"
    path.write_text("date,category,qty,total,customer\n2017-01-01,A,1,1,c1\n")
    keys = set()
    for k in range(2):
        vault = Vault(tmp_path / f"v{k}", bytes(32))
        add(vault, preview(path), bytes([k]) * 32, NOW)
        keys.add(vault.query("SELECT customer_key FROM sales_line")[0][0])
    assert len(keys) == 2
    with pytest.raises(LocalError, match="at least 32"):
        add(Vault(tmp_path / "v", bytes(32)), preview(path), b"short", NOW)


def test_a_new_secret_does_not_import_lines_again(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "f.csv"
    path.write_text("date,category,qty,total,customer\n2017-01-01,A,1,1,c1\n")
    add(vault, preview(path), b"a" * 32, NOW)
    again = add(vault, preview(path, Options(timezone="Asia/Tokyo")), b"b" * 32, NOW)
    assert (again.rows_added, again.duplicates) == (0, 1)


@settings(deadline=None, max_examples=10, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.decimals(-(10**11), 10**11, places=6, allow_nan=False, allow_infinity=False),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([".", ","]),
)
def test_decimals_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, values: list[Decimal], sign: str
) -> None:
    folder = tmp_path_factory.mktemp("d")
    path = folder / "f.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["date", "category", "qty", "unit price", "total"])
        for value in values:
            text = f"{value:f}".replace(".", sign)
            writer.writerow(["2017-01-01", "A", 1, text, text])
    vault = Vault(folder / "v", bytes(32))
    add(vault, preview(path, Options(decimal=sign)), SECRET, NOW)
    rows = vault.query("SELECT unit_price, net FROM sales_line")
    assert sorted(rows) == sorted((value, value) for value in values)


# --- rows set aside ----------------------------------------------------------------------------


def bad_file(tmp_path: Path) -> Path:
    path = tmp_path / "f.csv"
    good = "2017-01-01,A,1,1.00,Milk,Jane Roe\n" * 100
    path.write_text(
        "date,category,qty,total,product,customer name\n"
        + good
        + '2017-01-01,A,many,1.00,"=HYPERLINK(""http://x"")",Jane Roe\n'
        + "2017-01-01,A,1,1.00,Milk,Jane Roe,extra\n"
        + good
    )
    return path


def test_bad_rows_are_set_aside_with_their_reason(
    tmp_path: Path, vault: Vault, take_in: TakeIn
) -> None:
    path = bad_file(tmp_path)
    plan = preview(path)
    assert (plan.rows, plan.bad_rows) == (202, 2)
    assert [bad.line for bad in plan.examples] == [102, 103]
    assert any("2 rows cannot be read" in note for note in plan.notes)
    result = take_in(path)
    assert (result.rows_added, result.quarantined) == (200, 2)
    assert result.quarantine is not None
    headers, rows = vault.quarantined(plan.sha256)
    assert headers == ("date", "category", "qty", "total", "product")
    assert (rows[0].line, rows[0].place) == (102, 3)
    assert "'many' is not a number" in rows[0].problem
    assert rows[0].kept[4] == '=HYPERLINK("http://x")'
    assert rows[1].problem == "expected 6 columns as in the header, found 7"
    assert "Jane" not in repr(headers) + "".join(str(row.kept) for row in rows)
    assert vault.imports()[0].quarantine == result.quarantine.name


def test_quarantine_lives_through_reopening(tmp_path: Path, vault: Vault, take_in: TakeIn) -> None:
    result = take_in(bad_file(tmp_path))
    Vault(vault.root, bytes(32))
    assert result.quarantine is not None and result.quarantine.is_file()


def test_the_share_of_bad_rows_is_a_setting(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 of 202 rows .*at most 0\.5%"):
        preview(bad_file(tmp_path), Options(max_bad_share=0.005))
    with pytest.raises(InputError, match="share of bad rows"):
        preview(bad_file(tmp_path), Options(max_bad_share=1.0))


@pytest.mark.parametrize(
    ("text", "shown"),
    [("=1+1", "'=1+1"), ("@x", "'@x"), ("-5.00", "-5.00"), ("-x", "'-x"), ("+1 2", "+1 2"),
     ("a=b", "a=b"), ("", ""), ("\tx", "'\tx"), ("-1\n=2", "'-1\n=2")],
)  # fmt: skip
def test_formulas_are_escaped(text: str, shown: str) -> None:
    assert escape_formula(text) == shown


def test_what_a_row_can_do_wrong(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    wrong = [
        ("2017-02-30,A,1,1.00,", 1, "is not a day"),
        (",A,1,1.00,", 1, "is empty; expected a day"),
        ("2017-01-01,A,,1.00,", 3, "is empty; expected a number"),
        ("2017-01-01,A,1,,", 4, "expected the unit price or the total"),
        ("2017-01-01,A,1,0.1234567,", 4, "7 decimals"),
        ("2017-01-01,A,-1,1.00,", 4, "expected a negative total"),
        (f"2017-01-01,{'A' * 121},1,1.00,", 2, "121 characters"),
        ("2017-01-01,A,1,1.00,euros", 5, "is not a currency"),
    ]
    good = "2017-01-01,A,1,1.00,EUR\n" * 500
    path.write_text(
        "date,category,qty,total,currency\n" + "".join(w[0] + "\n" for w in wrong) + good
    )
    plan = preview(path)
    assert plan.bad_rows == len(wrong)
    seen = list(plan.examples)
    for (_, place, words), bad in zip(wrong, seen, strict=False):
        assert bad.place == place and words in bad.problem, bad
    # the rest one by one, since a plan shows five
    for text, place, words in wrong[len(seen) :]:
        path.write_text("date,category,qty,total,currency\n" + text + "\n" + good)
        (bad,) = preview(path).examples
        assert bad.place == place and words in bad.problem


def test_numbers_that_overflow_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    huge = "999999999999"
    path.write_text(
        f"date,category,qty,price\n2017-01-01,A,{huge},{huge}\n" + "2017-01-01,A,1,1\n" * 99
    )
    (bad,) = preview(path).examples
    assert "million million" in bad.problem


# --- the plan is kept --------------------------------------------------------------------------


def test_a_preview_writes_nothing(tmp_path: Path, vault: Vault) -> None:
    path = bad_file(tmp_path)
    before = tree(tmp_path)
    preview(path)
    assert tree(tmp_path) == before


def test_a_file_that_changed_after_the_preview_is_refused(tmp_path: Path, vault: Vault) -> None:
    path = bad_file(tmp_path)
    plan = preview(path)
    path.write_text(path.read_text().replace("Milk", "Silk"))
    before = tree(vault.root)
    with pytest.raises(InputError, match="not the one that was previewed"):
        add(vault, plan, SECRET, NOW)
    assert tree(vault.root) == before
    with pytest.raises(LocalError, match="time zone"):
        add(vault, plan, SECRET, NOW.replace(tzinfo=None))


def test_evidence_late_in_a_large_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    row = "05/06/2017,A,1,2\n"
    path.write_text("date,category,qty,total\n" + row * 150_000 + '25/06/2017,A,1,"0,50"\n')
    plan = preview(path)
    assert (plan.date_order, plan.decimal) == ("dmy", ",")


def test_one_line_in_another_order_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("date,category,qty,total\n" + "25/06/2017,A,1,2\n" * 99 + "06/25/2017,A,1,2\n")
    plan = preview(path)
    assert (plan.date_order, plan.bad_rows) == ("dmy", 1)


def test_progress_ends_at_the_size_of_the_file() -> None:
    seen: list[tuple[int, int]] = []
    plan = preview(VECTORS / "good-till.csv", None, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (plan.size_bytes, plan.size_bytes)


def test_notes_say_what_is_missing() -> None:
    notes = " ".join(preview(VECTORS / "good-computed.csv").notes)
    assert "names no currency" in notes and "no receipt number" in notes
    quiet = Options(currency="EUR", timezone="Europe/Paris")
    assert preview(VECTORS / "good-till.csv", quiet).notes == ()


def test_the_currency_option_fills_the_gaps(vault: Vault, tmp_path: Path, take_in: TakeIn) -> None:
    path = tmp_path / "f.csv"
    path.write_text("date,category,qty,total,currency\n2017-01-01,A,1,1,\n2017-01-01,A,1,2,usd\n")
    take_in(path, Options(currency="eur"))
    assert vault.query("SELECT currency FROM sales_line ORDER BY net") == [("EUR",), ("USD",)]


def test_plans_are_values() -> None:
    plan = preview(VECTORS / "good-till.csv")
    assert replace(plan, path=Path("x")) != plan and preview(VECTORS / "good-till.csv") == plan


SHOPIFY = (
    "Name,Email,Financial Status,Created at,Currency,Subtotal,Total,"
    "Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku"
)


def shopify(path: Path, *days: str) -> Path:
    rows = [f"#{n},a@b.de,paid,{day},EUR,4.50,4.50,1,Tea,4.50,T1" for n, day in enumerate(days)]
    path.write_text("\n".join([SHOPIFY, *rows, ""]), encoding="utf-8")
    return path


def test_an_export_that_a_spreadsheet_saved_again_keeps_its_days(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    plan = preview(shopify(path, "03.04.2026 10:00", "29.03.2026 01:30"))
    assert (plan.reading.name, plan.date_order) == ("Shopify orders", "dmy")
    assert (plan.date_from, plan.date_to) == (date(2026, 3, 29), date(2026, 4, 3))
    with pytest.raises(InputError, match="two ways"):
        preview(shopify(path, "03/04/2026 10:00", "05/04/2026 01:30"))
    plan = preview(shopify(path, "2026-03-29 01:30:00 +0100"))
    assert plan.date_order == "ymd"


def test_an_address_in_a_product_never_reaches_the_vault(
    tmp_path: Path, vault: Vault, take_in: Callable[..., ImportResult]
) -> None:
    path = shopify(tmp_path / "orders.csv", "2026-03-29 01:30:00 +0100")
    text = path.read_text(encoding="utf-8").replace("Tea", "Voucher for anna@example.com")
    path.write_text(text, encoding="utf-8")
    take_in(path)
    found = vault.query("SELECT product, category FROM sales_line")
    assert found == [("Voucher for (e-mail)",) * 2]
