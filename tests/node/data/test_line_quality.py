"""The rules for customers' lines, each found and each not, and that none keeps a shop out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from node.data.intake import add, preview
from node.data.line_quality import FEW_CUSTOMERS, LINE_RULES, checked_lines, owner_report
from node.data.line_quality import look as look_at
from node.data.quality import QualityReport
from node.data.snapshot import Snapshot
from node.data.stages import (
    CUSTOMER_LINE_COLUMNS,
    Basis,
    ConsentedLines,
    LeftOut,
    Standing,
)
from node.data.vault import Vault
from protocols.audit.consent import RowBook
from protocols.errors import InputError
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit

NOW = datetime(2017, 12, 31, 12, tzinfo=UTC)
PERMIT = Permit(
    gate=Gate.ADMIT,
    agreement=AgreementId("a" * 64),
    run=RunId("b" * 32),
    purpose="train:churn",
    workload_digest="c" * 64,
    columns=CUSTOMER_LINE_COLUMNS,
    not_after=NOW + timedelta(hours=1),
)
STANDING = Standing.of("train:churn", Basis.CONSENT, "", NOW, 1, [])


def consented(
    visits: dict[str, list[int]], *, category: str | None = "A", **left_out: int
) -> ConsentedLines:
    """Lines from the days (0 is the first of the year) on which each customer bought."""
    rows = [
        (key, date(2017, 1, 1) + timedelta(days=day), f"r{key}{day}", 2.0, 1.0, category)
        for key, days in visits.items()
        for day in days
    ]
    lines = pd.DataFrame(rows, columns=list(CUSTOMER_LINE_COLUMNS))
    lines["business_date"] = lines["business_date"].astype("datetime64[s]")
    for name in ("customer_key", "order_ref", "category_code"):
        lines[name] = lines[name].astype("category")
    counts = {"without_customer": 0, "not_standing": 0, "in_future": 0, **left_out}
    kept = len(lines) + counts["without_customer"] + counts["not_standing"]
    nobody = RowBook((), (), ())
    out = LeftOut(lines=kept, **counts)
    return ConsentedLines(PERMIT, STANDING, "0" * 64, out, lines, nobody)


USUAL = {f"k{k:02d}": list(range(k, 360, 14)) for k in range(30)}


def look(found: ConsentedLines) -> QualityReport:
    seen = Snapshot(found.book, found.left_out, found.lines)
    return look_at(seen, found.standing.scope)


def rules(found: ConsentedLines) -> set[str]:
    return {finding.rule for finding in look(found).findings}


def test_a_year_of_usual_customers_has_nothing_to_say() -> None:
    found = consented(USUAL)
    assert look(found).findings == () and look(found).score == 100
    checked = checked_lines(found)
    assert checked.health == 100 and checked.lines is found.lines
    assert (checked.permit, checked.standing, checked.snapshot_root) == (
        PERMIT,
        STANDING,
        "0" * 64,
    )


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("few_customers", consented(dict(list(USUAL.items())[: FEW_CUSTOMERS - 1]))),
        ("too_few_weeks", consented({key: [0, 30] for key in USUAL})),
        ("few_weeks", consented({key: [0, 200] for key in USUAL})),
        ("cash_customer", consented({**USUAL, "cash": list(range(360))})),
        ("dates_in_future", consented(USUAL, in_future=3)),
        ("without_customer", consented(USUAL, without_customer=500)),
        ("no_category", consented(USUAL, category=None)),
    ],
)
def test_each_rule_is_found_alone(rule: str, found: ConsentedLines) -> None:
    assert rules(found) == {rule}
    (finding,) = look(found).findings
    assert finding.count > 0 and finding.fix and "{" not in finding.sentence + finding.fix
    assert look(found).score == round(100 - finding.penalty) < 100


def test_every_rule_is_tested() -> None:
    (mark,) = test_each_rule_is_found_alone.pytestmark  # type: ignore[attr-defined]
    assert {rule for rule, _ in mark.args[1]} == {rule.name for rule in LINE_RULES}


def test_a_cash_customer_is_named_as_what_it_is() -> None:
    (finding,) = look(consented({**USUAL, "cash": list(range(360))})).findings
    assert "1 customer number(s)" in finding.sentence
    assert "consent withdraw NUMBER train:churn" in finding.fix


def test_a_faithful_customer_is_no_cash_customer() -> None:
    often = {**USUAL, "often": list(range(0, 360, 2))}
    busy = {
        **USUAL,
        "daily": list(range(360)),
        **{f"x{k}": list(range(0, 360, 2)) for k in range(30)},
    }
    assert not rules(consented(often)) and not rules(consented(busy))
    few_days = {f"k{k}": list(range(20)) for k in range(5)}
    assert "cash_customer" not in rules(consented(few_days))


def test_a_run_without_categories_is_not_told_about_them() -> None:
    found = consented(USUAL, category=None)
    narrow = replace(found, lines=found.lines.drop(columns="category_code"))
    assert rules(narrow) == set()


@pytest.mark.parametrize("customers", [0, 1, FEW_CUSTOMERS - 1, FEW_CUSTOMERS])
def test_how_many_customers_there_are_keeps_no_shop_out(customers: int) -> None:
    """Who takes part is seen by all: one customer more or less must not decide it."""
    some = {key: [0] for key in [*USUAL, "more"][:customers]}
    found = consented(some, without_customer=10_000, in_future=900)
    assert checked_lines(found).lines is found.lines
    assert checked_lines(found).health < 100


def test_few_customers_are_told_what_to_do() -> None:
    few = {key: USUAL[key] for key in list(USUAL)[: FEW_CUSTOMERS - 1]}
    cases: tuple[tuple[dict[str, int], str], ...] = (
        ({"not_standing": 5}, "consent import"),
        ({"without_customer": 9, "not_standing": 5}, "--column customer="),
    )
    for left_out, word in cases:
        finding = look(consented(few, category="A", **left_out)).findings[0]
        assert finding.rule == "few_customers"
        assert f"{FEW_CUSTOMERS - 1} customers" in finding.sentence and word in finding.fix


def test_nobody_at_all() -> None:
    (finding,) = look(consented({})).findings
    assert look(consented({})).score == 0
    assert "data add" in finding.fix
    assert "consent import" in look(consented({}, not_standing=900)).findings[0].fix


def test_amounts_that_are_no_numbers_stay_out() -> None:
    found = consented(USUAL)
    for value in (float("nan"), float("inf")):
        with pytest.raises(InputError, match="not numbers"):
            checked_lines(replace(found, lines=found.lines.assign(net=value)))


def test_the_owner_sees_the_same_report(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    rows = [f"2017-{1 + k % 12:02d}-01,A,1,2,{'c1' if k % 2 else ''}" for k in range(48)]
    path.write_text("\n".join(["date,category,qty,total,customer", *rows, ""]), encoding="utf-8")
    vault = Vault(tmp_path / "vault", bytes(32))
    add(vault, preview(path), bytes(32), NOW)
    everybody = replace(STANDING, basis=Basis.LEGITIMATE_INTEREST, assessment="LIA-1")
    report, customers = owner_report(vault, everybody)
    assert [finding.rule for finding in report.findings] == ["few_customers", "without_customer"]
    assert (report.lines, customers) == (24, 1)
    assert owner_report(vault, STANDING)[0].score == 0
