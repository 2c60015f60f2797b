"""Each rule over the sales has rows that trip it, alone, and rows like them that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from node.data import quality, shapes
from node.data.clock_rules import night
from node.data.findings import QualityReport
from node.data.shapes import Misfits
from protocols.errors import InputError
from shop_rows import DAYS, FIRST, LAST, Row, RowsVault, import_note, sale, sound

SOUND = sound()
MIDDLE = FIRST + timedelta(days=100)


@dataclass(frozen=True)
class Case:
    """Rows that trip a rule and nothing else, and their neighbours that trip nothing."""

    rule: str
    count: int
    bad: RowsVault
    good: RowsVault
    today: date = LAST
    good_today: date | None = None
    rows: int = -1  # how many rows are listed; -1: as many as are counted


def plus(*extra: Row, base: list[Row] | None = None, **more: Any) -> RowsVault:
    return RowsVault([*(SOUND if base is None else base), *extra], **more)


def changed(which: Callable[[Row], bool], **change: Any) -> RowsVault:
    return RowsVault([row | change if which(row) else row for row in SOUND])


def twice(number: int) -> tuple[Row, Row]:
    return sale(MIDDLE, number, 0, hour=12), sale(MIDDLE, number, 1, hour=12)


def key(number: int) -> str:
    return f"{number:064x}"


def back(sku: str, day: date) -> Row:
    return sale(
        day, 7000, sku=sku, product=None, qty=Decimal(-1), unit_price=None, net=Decimal(-2),
        is_return=True, category=None, category_code="bread",
    )  # fmt: skip


def money_back(number: int) -> Row:
    """Given back for a whole receipt: no goods, so no category."""
    return sale(
        MIDDLE, number, sku=None, product=None, qty=Decimal(0), unit_price=None, net=Decimal(-2),
        is_return=True, category=None, category_code=None,
    )  # fmt: skip


def at_night(count: int, hour: int) -> list[Row]:
    return [sale(FIRST + timedelta(days=3 * k), 8000 + k, hour=hour) for k in range(count)]


def days(last: int) -> list[Row]:
    return [row for row in SOUND if row["business_date"] <= FIRST + timedelta(days=last - 1)]


def moved_receipt(day: date) -> RowsVault:
    """Receipt 1177 stands among those of 5 February."""
    instant = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=13, minutes=15)
    return changed(lambda r: r["order_ref"] == "#1177", business_date=day, ts_utc=instant)


def is_bread(row: Row) -> bool:
    return bool(row["category"] == "bread")


def named_until(day: int) -> RowsVault:
    return changed(lambda r: r["business_date"] < FIRST + timedelta(days=day), customer_key=key(1))


def late(row: Row, weeks: int = 2) -> bool:
    return bool(row["business_date"] > LAST - timedelta(weeks=weeks))


CASES = [
    Case("too_few_weeks", 1, RowsVault(days(55)), RowsVault(days(182)),
         today=FIRST + timedelta(days=55), good_today=FIRST + timedelta(days=182)),
    Case("few_weeks", 1, RowsVault(days(56)), RowsVault(days(182)),
         today=FIRST + timedelta(days=60), good_today=FIRST + timedelta(days=182)),
    Case("gaps_in_days", 5,
         RowsVault([r for r in SOUND if not 0 <= (r["business_date"] - MIDDLE).days < 5]),
         RowsVault([r for r in SOUND if r["business_date"].weekday() != 2])),
    Case("stale_data", 15, plus(), RowsVault(SOUND), today=LAST + timedelta(days=15),
         good_today=LAST + timedelta(days=14)),
    Case("sales_in_future", 1, plus(sale(LAST + timedelta(days=1), 9000)),
         plus(sale(LAST, 9000)), today=LAST - timedelta(days=1)),
    Case("clock_off_its_day", 1,
         plus(sale(MIDDLE, 1502, ts_utc=datetime(2024, 2, 1, 11, 15, tzinfo=UTC))),
         plus(sale(MIDDLE, 1502, ts_utc=datetime.combine(
             MIDDLE + timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=8)))),
    Case("impossible_hours", 1, plus(*at_night(1, 2)), plus(*at_night(30, 2))),
    Case("time_zone_doubt", 4,
         RowsVault([r | {"ts_utc": r["ts_utc"] - timedelta(hours=5)}
                    if 0 <= (r["business_date"] - FIRST).days - 70 < 28 else r for r in SOUND]),
         RowsVault([r | {"ts_utc": r["ts_utc"] - timedelta(hours=1)}
                    if r["business_date"] > date(2024, 3, 31) else r for r in SOUND])),
    Case("mixed_date_order", 1, moved_receipt(date(2024, 5, 2)), moved_receipt(date(2024, 5, 20))),
    Case("impossible_values", 1, plus(sale(MIDDLE, 1500, channel="")),
         plus(sale(MIDDLE, 1500, channel="web"))),
    Case("duplicate_orders", 1, plus(*twice(6000), *twice(6003)), plus(*twice(6000))),
    Case("repeated_imports", 300,
         plus(records=(import_note("a.csv", FIRST, LAST, 750),
                       import_note("b.csv", FIRST, FIRST + timedelta(days=59), 300, 10))),
         plus(records=(import_note("a.csv", FIRST, LAST, 750),
                       import_note("b.csv", MIDDLE, LAST, 300, 250))), rows=1),
    Case("negative_prices", 1,
         plus(sale(MIDDLE, 1500, 0, unit_price=Decimal(-2), qty=Decimal(1), net=Decimal(-2))),
         plus(sale(MIDDLE, 1500, 0, qty=Decimal(-1), net=Decimal(-2), is_return=True))),
    Case("price_outliers", 1,
         plus(sale(MIDDLE, 1500, unit_price=Decimal(21), qty=Decimal(1), net=Decimal(21))),
         plus(sale(MIDDLE, 1500, unit_price=Decimal(20), qty=Decimal(1), net=Decimal(20)))),
    Case("sums_do_not_add_up", 1, plus(sale(MIDDLE, 1500, net=Decimal(9))),
         plus(sale(MIDDLE, 1500, unit_price=None, net=Decimal(9)))),
    Case("currency_mix", 1, plus(sale(MIDDLE, 1500, currency="USD")),
         plus(sale(MIDDLE, 1500, currency=None))),
    Case("no_category", 1, plus(sale(MIDDLE, 1500, category=None, category_code=None)),
         plus(money_back(1500))),
    Case("unmapped_categories", DAYS,
         plus(categories=dict.fromkeys(("milk", "soap", "tea", "rice"), "10")),
         plus(categories=dict.fromkeys(("bread", "milk", "soap", "tea", "rice"), "10")),
         rows=1),
    Case("several_names", 1, plus(sale(MIDDLE, 1500, product="Brot")),
         plus(sale(MIDDLE, 1500, product=" BREAD ")), rows=2),
    Case("returns_without_sale", 1, plus(back("s-never", MIDDLE)),
         plus(back("s-bread", MIDDLE), back("s-never", FIRST + timedelta(days=20)))),
    Case("without_customer", 530, named_until(104), named_until(105)),
    Case("sudden_silence", 1, RowsVault([r for r in SOUND if not (is_bread(r) and late(r))]),
         RowsVault([r for r in SOUND if not (is_bread(r) and late(r, 1))])),
]  # fmt: skip


def found(report: QualityReport) -> dict[str, int]:
    return {finding.rule: finding.count for finding in report.findings}


def ids(case: Case) -> str:
    return case.rule


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_rule_is_tripped_alone_and_its_neighbour_is_not(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = quality.check(case.bad, case.today)
    assert found(report) == {case.rule: case.count}
    assert report.findings[0].penalty > 0 and report.score < 100.5 - report.findings[0].penalty
    assert "{" not in report.findings[0].sentence
    if case.rule != "impossible_values":  # what takes the time; the values are much the same
        monkeypatch.setattr(shapes, "look", lambda *_: Misfits(0, 0, {}))
    assert found(quality.check(case.good, case.good_today or case.today)) == {}


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_its_rows_are_listed_without_a_customer(case: Case) -> None:
    rule = next(one for one in quality.RULES if one.name == case.rule)
    if rule.rows is None:
        assert case.rule in ("too_few_weeks", "few_weeks", "stale_data")
        return
    rows = quality.failing_rows(case.bad, quality.SALES, case.rule, case.today)
    assert "customer_key" not in rows.headers
    wanted = case.count if case.rows < 0 else case.rows
    assert len(rows.cells) >= wanted > 0
    assert all(len(cells) == len(rows.headers) for cells in rows.cells)


def test_every_rule_has_a_case() -> None:
    assert sorted(case.rule for case in CASES) == sorted(rule.name for rule in quality.RULES)


def test_a_sound_shop_has_nothing_to_mend() -> None:
    report = quality.check(RowsVault(SOUND), LAST)
    assert (report.score, report.findings, report.lines) == (100, (), len(SOUND))


def test_a_rule_that_nothing_fails_lists_no_rows() -> None:
    found = quality.failing_rows(RowsVault(SOUND), quality.SALES, "impossible_hours", LAST)
    assert found.cells == ()


def test_the_night_is_the_longest_stretch_without_sales() -> None:
    open_hours = [100 if 8 <= hour < 20 else 0 for hour in range(24)]
    assert list(night(open_hours)) == list(range(21, 31))
    assert night([100] * 24) == range(0)
    assert night([0] * 24) == range(0)
    one_hour = with_hour([0] * 24, 0, 500)  # a till without a clock
    assert all(hour % 24 != 0 for hour in night(one_hour))


def with_hour(hours: list[int], at: int, lines: int) -> list[int]:
    return [lines if hour == at else n for hour, n in enumerate(hours)]


def exchanged(row: Row) -> Row:
    """A row whose day and month a till has exchanged, where that gives a date."""
    day = row["business_date"]
    if day.day > 12 or not date(2024, 3, 1) <= day < date(2024, 4, 1):
        return row
    moved = date(day.year, day.day, day.month)
    return row | {"business_date": moved, "ts_utc": row["ts_utc"] + (moved - day)}


def test_a_month_in_the_other_order_of_dates_is_found() -> None:
    report = quality.check(RowsVault([exchanged(row) for row in SOUND]), date(2024, 12, 12))
    assert found(report)["mixed_date_order"] == 11 * 5  # 3 March is the same in both orders


def test_two_tills_with_numbers_of_their_own_are_no_mixed_dates() -> None:
    """The second till came later, its numbers run through the same hundreds."""
    other = [
        sale(FIRST + timedelta(days=100 + k // 5), 1000 + k, 1, order_ref=f"{1000 + k}")
        for k in range(500)
    ]
    assert "mixed_date_order" not in found(quality.check(RowsVault([*SOUND, *other]), LAST))


def test_an_unknown_rule_and_one_about_the_whole_say_so() -> None:
    with pytest.raises(InputError, match="expected one of too_few_weeks"):
        quality.failing_rows(RowsVault(SOUND), quality.SALES, "nonsense", LAST)
    with pytest.raises(InputError, match="about the whole"):
        quality.failing_rows(RowsVault(SOUND), quality.SALES, "stale_data", LAST)
