"""Data health: named rules, each with a plain sentence and a fix, and one score from 0 to 100.

``check`` is for the member's own eyes and reads the whole vault; ``checked_rows`` guards a run
and sees only what the permit opens. How findings become a score: ``node.data.findings``; the
rules: ``node.data.sales_rules``, ``node.data.clock_rules``, ``node.data.stock_rules``. Customers'
lines under a purpose have rules of their own: ``node.data.line_quality``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Final

from node.data import sales_view, stock_rules
from node.data.findings import Finding, P, QualityReport, Rows, Rule, Seen, Severity, scored
from node.data.sales_rules import SALES_RULES
from node.data.stages import CheckedRows, ConsentedRows
from node.data.stock_rules import CUSTOMER_RULES, STOCK_RULES, TableView
from node.data.tables import CUSTOMER, STOCK, TableFacts
from node.data.vault import Vault
from protocols.errors import Code, InputError, Refused

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Finding",
    "QualityReport",
    "Rule",
    "Seen",
    "Severity",
    "check",
    "check_all",
    "check_table",
    "checked_rows",
    "failing_rows",
]

SALES: Final = "sales"
CUSTOMERS: Final = "customers"
STOCKS: Final = "stock"
RULES: Final = SALES_RULES
TABLE_RULES: Final[Mapping[str, tuple[TableFacts, tuple[Rule[[TableView]], ...]]]] = {
    CUSTOMERS: (CUSTOMER, CUSTOMER_RULES),
    STOCKS: (STOCK, STOCK_RULES),
}
DATASETS: Final = (SALES, *TABLE_RULES)


def check(vault: Vault, today: date) -> QualityReport:
    """All rules over the member's sales; an empty vault scores 0.

    Args:
        vault: the rows.
        today: the day as of which data counts as stale.
    """
    with sales_view.opened(vault, today) as view:
        if view is None:
            return QualityReport(0, 0, (_nothing("sales lines", "FILE.csv"),))
        return scored(view.lines, [rule.apply(view) for rule in RULES])


def check_table(vault: Vault, dataset: str, today: date) -> QualityReport | None:
    """All rules over ``customers`` or ``stock``; None where there is no row."""
    facts, rules = TABLE_RULES[dataset]
    with stock_rules.over(vault, facts, today) as view:
        if view is None:
            return None
        return scored(view.lines, [rule.apply(view) for rule in rules])


def check_all(vault: Vault, today: date, only: str = "") -> dict[str, QualityReport]:
    """Data set -> report: the sales, and the other tables that have rows; or ``only`` one."""
    out: dict[str, QualityReport] = {}
    if only in ("", SALES):
        out[SALES] = check(vault, today)
    for dataset in TABLE_RULES:
        report = check_table(vault, dataset, today) if only in ("", dataset) else None
        if report is not None:
            out[dataset] = report
    return out


def failing_rows(vault: Vault, dataset: str, name: str, today: date) -> Rows:
    """What fails a rule, without the customers; no rows if nothing does.

    Raises:
        InputError: there is no such rule, or it is about the whole and blames no row.
    """
    if dataset == SALES:
        rule = _named(RULES, name)
        assert rule.rows is not None
        with sales_view.opened(vault, today, values=False) as view:
            empty = view is None or not rule.look(view).count
            return Rows((), ()) if view is None or empty else rule.rows(view)
    facts, rules = TABLE_RULES[dataset]
    one = _named(rules, name)
    assert one.rows is not None
    with stock_rules.over(vault, facts, today) as table:
        if table is None or not one.look(table).count:
            return Rows((), ())
        return one.rows(table)


def _nothing(what: str, file: str) -> Finding:
    return Finding(
        rule="no_data",
        severity=Severity.ERROR,
        sentence=f"There are no {what} yet.",
        fix=f"Add an export of your till or shop: coop-node data add {file}",
        count=0,
        share=1.0,
        penalty=100.0,
    )


def _named(rules: tuple[Rule[P], ...], name: str) -> Rule[P]:
    for rule in rules:
        if rule.name == name:
            if rule.rows is None:
                raise InputError(
                    f"the rule {name} is about the whole; no single row is to blame.",
                    code=Code.USAGE,
                    where="--rows",
                )
            return rule
    raise InputError(
        f"there is no rule {name!r} here; expected one of "
        f"{', '.join(rule.name for rule in rules)}.",
        code=Code.USAGE,
        where="--rule",
    )


def checked_rows(
    consented: ConsentedRows, report: QualityReport | None = None, minimum_health: int = 0
) -> CheckedRows:
    """Rows fit to be trained on.

    Args:
        consented: from ``node.data.consent``.
        report: the member's own report, if the agreement sets a minimum health.
        minimum_health: the score (0-100) below which a data set stays out.

    Raises:
        InputError: there is nothing to train on, or the series are damaged.
        Refused: the health is below the minimum, or was not measured.
    """
    weekly = consented.weekly
    _require_sound(weekly)
    if minimum_health and report is None:
        raise Refused(f"the agreement asks for a health of {minimum_health}; none was measured.")
    score = report.score if report is not None else 100
    if score < minimum_health:
        raise Refused(
            f"the data's health is {score}, the agreement asks for at least {minimum_health}.",
            fix=report.findings[0].fix if report and report.findings else "",
        )
    return CheckedRows(
        permit=consented.permit,
        snapshot_root=consented.snapshot_root,
        health=score,
        weekly=weekly,
    )


def _require_sound(weekly: pd.DataFrame) -> None:
    """No empty table, no unreadable unit, no week twice: a training table relies on it."""
    if not len(weekly):
        raise InputError(
            "there are no sales lines with a category to train on.",
            fix="Add an export with a category column: coop-node data add FILE.csv",
        )
    if not weekly["units"].abs().lt(float("inf")).all():
        raise InputError("the weekly units hold values that are not numbers.")
    if weekly.duplicated(["category_code", "week_start"]).any():
        raise InputError("a week stands twice in the weekly table of a category.")
