"""Each rule over stock and customers has rows that trip it, alone, and rows that do not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from node.data import quality, shapes
from node.data.tables import CUSTOMER, SALES_LINE, STOCK
from shop_rows import FIRST, LAST, RowsVault, customer_row, sale, sound, stock_row

EARLIER = LAST - timedelta(days=20)
KEY = f"{1:064x}"


@dataclass(frozen=True)
class Case:
    """Rows that trip a rule and nothing else, and rows that trip nothing."""

    dataset: str
    rule: str
    bad: RowsVault
    good: RowsVault


def stock(*rows: dict[str, object]) -> RowsVault:
    return RowsVault(stock=[stock_row("s-milk"), stock_row("s-tea"), *rows])


def customers(*rows: dict[str, object]) -> RowsVault:
    sales = [sale(FIRST + timedelta(days=9), 1, customer_key=f"{k:064x}") for k in (1, 2, 3)]
    return RowsVault(sales, customer=[customer_row(1), customer_row(2), *rows])


CASES = [
    Case("stock", "impossible_values", stock(stock_row(location="")), stock(stock_row())),
    Case("stock", "negative_stock", stock(stock_row(on_hand=Decimal(-1))),
         stock(stock_row(on_hand=Decimal(-1), as_of=LAST - timedelta(days=3)), stock_row())),
    Case("stock", "stale_stock", RowsVault(stock=[stock_row(as_of=LAST - timedelta(days=15))]),
         RowsVault(stock=[stock_row(as_of=LAST - timedelta(days=14))])),
    Case("stock", "articles_left_behind", stock(stock_row(as_of=EARLIER)),
         stock(stock_row(as_of=EARLIER), stock_row())),
    Case("stock", "stock_in_future", stock(stock_row(as_of=LAST + timedelta(days=2))),
         stock(stock_row(as_of=LAST + timedelta(days=1)))),
    Case("stock", "stock_twice", stock(stock_row(), stock_row(on_hand=Decimal(8))),
         stock(stock_row(), stock_row(), stock_row(location="Market"))),
    Case("stock", "stock_without_figure", stock(stock_row(on_hand=None)), stock(stock_row())),
    Case("customers", "impossible_values", customers(customer_row(3, country="")), customers()),
    Case("customers", "customer_twice", customers(customer_row(2)), customers(customer_row(3))),
    Case("customers", "first_seen_in_future",
         RowsVault([sale(LAST + timedelta(days=5), 1, customer_key=KEY)],
                   [customer_row(1, first_seen=LAST + timedelta(days=2))]),
         RowsVault([sale(LAST + timedelta(days=5), 1, customer_key=KEY)],
                   [customer_row(1, first_seen=LAST + timedelta(days=1))])),
    Case("customers", "bought_before_first_seen",
         customers(customer_row(3, first_seen=FIRST + timedelta(days=10))),
         customers(customer_row(3, first_seen=FIRST + timedelta(days=9)))),
    Case("customers", "unknown_to_the_till", customers(customer_row(4)),
         customers(customer_row(3, first_seen=None))),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.dataset}-{case.rule}")
def test_a_rule_is_tripped_alone_and_its_neighbour_is_not(case: Case) -> None:
    report = quality.check_table(case.bad, case.dataset, LAST)
    assert report is not None
    assert [finding.rule for finding in report.findings] == [case.rule]
    assert report.score < 100 and "{" not in report.findings[0].sentence
    sound_one = quality.check_table(case.good, case.dataset, LAST)
    assert sound_one is not None and (sound_one.score, sound_one.findings) == (100, ())
    if case.rule != "stale_stock":
        rows = quality.failing_rows(case.bad, case.dataset, case.rule, LAST)
        assert len(rows.cells) >= report.findings[0].count > 0
        assert "customer_key" not in rows.headers and KEY not in str(rows.cells)
        assert not quality.failing_rows(case.good, case.dataset, case.rule, LAST).cells


def test_every_rule_has_a_case() -> None:
    rules = {(name, one.name) for name, (_, every) in quality.TABLE_RULES.items() for one in every}
    assert {(case.dataset, case.rule) for case in CASES} == rules
    assert len(CASES) == len(rules)


def test_a_table_without_rows_has_no_score() -> None:
    assert quality.check_table(RowsVault(sound(7)), "stock", LAST) is None
    assert quality.check_table(RowsVault(sound(7)), "customers", LAST) is None
    assert quality.failing_rows(RowsVault(), "stock", "negative_stock", LAST).cells == ()


# --- values that cannot be, one stretch after another ------------------------------------------


@pytest.mark.parametrize(
    ("facts", "rows", "column", "words"),
    [
        (SALES_LINE, [sale(FIRST, 1, currency="eur")], "currency", "not of the form"),
        (SALES_LINE, [sale(FIRST, 1, product="Tea\x1b[2J")], "product", "control characters"),
        (SALES_LINE, [sale(FIRST, 1, sku="x" * 501)], "sku", "too long"),
        (SALES_LINE, [sale(FIRST, 1, net=Decimal(10**9))], "net", "out of all proportion"),
        (SALES_LINE, [sale(FIRST.replace(year=1900), 1)], "business_date", "between 1990"),
        (SALES_LINE, [sale(FIRST, 1, qty=None)], "qty", "is empty"),
        (SALES_LINE, [sale(FIRST, 1, customer_key="Mary")], "customer_key", "not of the form"),
        (STOCK, [stock_row(None)], "sku", "is empty"),
        (CUSTOMER, [customer_row(1, customer_key="x")], "customer_key", "not of the form"),
    ],
)
def test_an_impossible_value_is_found_with_its_place(
    facts: shapes.TableFacts, rows: list[dict[str, object]], column: str, words: str
) -> None:
    good = {SALES_LINE: sale(FIRST, 2), STOCK: stock_row(), CUSTOMER: customer_row(7)}[facts]
    vault = RowsVault(**{facts.name: [good, *rows, good]})
    with vault.reader() as db:
        found = shapes.look(db, facts)
    assert (found.rows, found.failing) == (3, 1)
    assert {name for name, _ in found.checks} >= {column}
    row, where, what, value = next(one for one in found.kept if one[1] == column)
    assert (row, where) == (2, column) and words in what
    assert "Mary" not in str(found.kept) and (value == "" or not where.startswith("customer"))


def test_rows_are_counted_over_all_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "BATCH_ROWS", 2048)  # DuckDB's own unit
    rows = [stock_row(f"s{k}", location="" if k % 1000 == 0 else "x") for k in range(5000)]
    with RowsVault(stock=rows).reader() as db:
        found = shapes.look(db, STOCK)
    assert (found.rows, found.failing) == (5000, 5)
    assert [one[0] for one in found.kept] == [1, 1001, 2001, 3001, 4001]
