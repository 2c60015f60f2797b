from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from node.data.intake import ImportResult
from node.data.quality import RULES, QualityReport, check
from node.data.vault import Vault

TODAY = date(2017, 12, 31)
FIRST = date(2017, 1, 1)
HEAD = "date,time,receipt,sku,category,qty,price,total,currency\n"


def line(k: int, **change: str) -> str:
    cells = {
        "date": (FIRST + timedelta(days=k)).isoformat(),
        "time": "10:00",
        "receipt": f"r{k}",
        "sku": "s1",
        "category": "A",
        "qty": "2",
        "price": "3.00",
        "total": "6.00",
        "currency": "EUR",
    } | change
    return ",".join(cells.values()) + "\n"


@pytest.fixture
def report(
    vault: Vault, take_in: Callable[..., ImportResult], tmp_path: Path
) -> Callable[..., QualityReport]:
    def run(text: str, today: date = TODAY) -> QualityReport:
        path = tmp_path / "f.csv"
        path.write_text(HEAD + text)
        take_in(path)
        return check(vault, today)

    return run


def year(**change: str) -> str:
    return "".join(line(k, **change) for k in range(365))


def found(report: QualityReport) -> dict[str, int]:
    return {finding.rule: finding.count for finding in report.findings}


def test_a_sound_year_scores_100(report: Callable[..., QualityReport]) -> None:
    result = report(year())
    assert (result.score, result.findings, result.lines) == (100, (), 365)


def test_an_empty_vault_scores_0(vault: Vault) -> None:
    result = check(vault, TODAY)
    assert result.score == 0 and "coop-node data add" in result.findings[0].fix


def test_days_without_sales_count_only_where_the_shop_is_open(
    report: Callable[..., QualityReport],
) -> None:
    open_days = [k for k in range(365) if (FIRST + timedelta(days=k)).weekday() != 6]
    missing = set(open_days[40:50])
    result = report("".join(line(k) for k in open_days if k not in missing))
    assert found(result) == {"gaps_in_days": 10}
    assert 90 < result.score < 100
    assert "10 of 312 usual opening days" in result.findings[0].sentence


@pytest.mark.parametrize(
    ("extra", "rule", "count"),
    [
        (line(400, receipt="c1") + line(400, receipt="c1", sku="s2", total="9", price="4.5")
         + line(400, receipt="c2") + line(400, receipt="c2", sku="s2", total="9", price="4.5"),
         "duplicate_orders", 1),
        (line(3, total="-6.00", price="-3.00"), "negative_prices", 1),
        (line(3, price="300", total="600") + line(4, price="0.03", total="0.06"),
         "price_outliers", 2),
        (line(3, total="5.00"), "sums_do_not_add_up", 1),
        (line(3, currency="USD"), "currency_mix", 1),
        (line(3, category=""), "no_category", 1),
    ],
)  # fmt: skip
def test_each_rule_finds_its_lines(
    report: Callable[..., QualityReport], extra: str, rule: str, count: int
) -> None:
    assert found(report(year() + extra)).get(rule) == count


def test_two_people_buying_one_thing_at_one_instant_are_no_copies(
    report: Callable[..., QualityReport],
) -> None:
    assert report(year() + line(3, receipt="x1") + line(3, receipt="x2")).findings == ()


def test_stale_and_few_weeks(report: Callable[..., QualityReport]) -> None:
    result = report("".join(line(k) for k in range(70)), FIRST + timedelta(days=70 + 13))
    assert found(result) == {"few_weeks": 1}
    result = report(line(70), FIRST + timedelta(days=70 + 15))
    assert found(result) == {"few_weeks": 1, "stale_data": 15}


def test_too_few_weeks_is_an_error(report: Callable[..., QualityReport]) -> None:
    result = report("".join(line(k) for k in range(20)), FIRST + timedelta(days=20))
    assert found(result) == {"too_few_weeks": 1}
    assert result.findings[0].severity == "error" and result.score == 60


def test_every_rule_has_words_and_the_worst_comes_first(
    report: Callable[..., QualityReport],
) -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) == 22
    assert all(rule.fix.endswith(".") or "=" in rule.fix for rule in RULES)
    result = report(year(category="") + line(3, currency="USD"))
    penalties = [finding.penalty for finding in result.findings]
    assert penalties == sorted(penalties, reverse=True) and result.score < 90


def test_categories_without_a_place_in_the_shared_taxonomy(
    vault: Vault, report: Callable[..., QualityReport]
) -> None:
    assert report(year() + line(3, receipt="x", category="B")).findings == ()
    mapped = Vault(vault.root, bytes(32), {"A": "food.bakery.mixed"})
    assert found(check(mapped, TODAY)) == {"unmapped_categories": 1}
