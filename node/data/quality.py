"""Data health: named rules, each with a plain sentence and a fix, and one score from 0 to 100.

The score starts at 100. A rule that finds something takes off up to its weight: all of it when
the affected share reaches ``full_at``, a part of it below. ``check`` is for the member's own
eyes and reads the whole vault; ``checked_rows`` guards a run and sees only what the permit opens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, ParamSpec

from node.data.stages import CheckedRows, ConsentedRows
from node.data.vault import Vault
from protocols.errors import InputError, Refused

if TYPE_CHECKING:
    import pandas as pd

STALE_AFTER_DAYS: Final = 14
FEW_WEEKS: Final = 26
TOO_FEW_WEEKS: Final = 8
OUTLIER_FACTOR: Final = 10
OUTLIER_MIN_LINES: Final = 10


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found: ``count`` things, as a share (0-1) of what it looked at."""

    rule: str
    severity: Severity
    sentence: str
    fix: str
    count: int
    share: float
    penalty: float


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Findings by penalty, heaviest first, and the health score (0-100)."""

    score: int
    lines: int
    findings: tuple[Finding, ...]


P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rule counted: ``count`` of ``total``, with words for the sentence."""

    count: int
    total: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rule(Generic[P]):
    """A named rule over what it looks at. ``sentence`` may use {count}, {total} and {detail}.

    The penalty is ``weight`` where the share of what was counted reaches ``full_at``, less below.
    """

    name: str
    severity: Severity
    weight: float
    full_at: float
    sentence: str
    fix: str
    look: Callable[P, Seen]

    def apply(self, *at: P.args, **named: P.kwargs) -> Finding | None:
        """The finding, or None if there is nothing to say."""
        seen = self.look(*at, **named)
        if not seen.count:
            return None
        share = seen.count / max(seen.total, 1)
        return Finding(
            rule=self.name,
            severity=self.severity,
            sentence=self.sentence.format(count=seen.count, total=seen.total, detail=seen.detail),
            fix=self.fix,
            count=seen.count,
            share=share,
            penalty=self.weight * min(1.0, share / self.full_at),
        )


def check(vault: Vault, today: date) -> QualityReport:
    """All rules over the member's rows; an empty vault scores 0.

    Args:
        vault: the rows.
        today: the day as of which data counts as stale.
    """
    lines = vault.summary().lines
    if not lines:
        nothing = Finding(
            rule="no_data",
            severity=Severity.ERROR,
            sentence="There are no sales lines yet.",
            fix="Add an export of your till or shop: coop-node data add FILE.csv",
            count=0,
            share=1.0,
            penalty=100.0,
        )
        return QualityReport(0, 0, (nothing,))
    found = [f for f in (rule.apply(vault, today) for rule in RULES) if f is not None]
    found.sort(key=lambda finding: (-finding.penalty, finding.rule))
    score = max(0, round(100 - sum(finding.penalty for finding in found)))
    return QualityReport(score, lines, tuple(found))


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


# --- rules -------------------------------------------------------------------------------------


def _one(vault: Vault, sql: str) -> tuple[int, ...]:
    rows = vault.query(sql)
    return tuple(int(value or 0) for value in rows[0])


def _gaps(vault: Vault, _today: date) -> Seen:
    """Days without a sale on weekdays on which the shop is usually open."""
    row = _one(
        vault,
        "WITH span AS (SELECT min(business_date) a, max(business_date) b FROM sales_line), "
        "days AS (SELECT unnest(generate_series(a::TIMESTAMP, b::TIMESTAMP, INTERVAL 1 DAY))::DATE "
        "AS d FROM span), sold AS (SELECT DISTINCT business_date d FROM sales_line), "
        "calendar AS (SELECT days.d, sold.d IS NOT NULL AS open, isodow(days.d) AS weekday "
        "FROM days LEFT JOIN sold USING (d)), usual AS (SELECT weekday FROM calendar "
        "GROUP BY weekday HAVING avg(open::INT) >= 0.5) "
        "SELECT count(*) FILTER (NOT open), count(*) FROM calendar "
        "WHERE weekday IN (SELECT weekday FROM usual)",
    )
    return Seen(row[0], row[1])


def _duplicate_orders(vault: Vault, _today: date) -> Seen:
    """Receipts with two or more lines that are alike in instant and lines, under two numbers."""
    row = _one(
        vault,
        "WITH orders AS (SELECT order_ref, min(ts_utc) AS ts, count(*) AS n, "
        "md5(string_agg(concat_ws('|', coalesce(sku, product, category_code), qty, net), ';' "
        "ORDER BY coalesce(sku, product, category_code), qty, net)) AS content "
        "FROM sales_line WHERE order_ref IS NOT NULL GROUP BY order_ref), "
        "alike AS (SELECT count(*) - 1 AS extra FROM orders WHERE n >= 2 "
        "GROUP BY ts, content HAVING count(*) > 1) "
        "SELECT coalesce((SELECT sum(extra) FROM alike), 0), (SELECT count(*) FROM orders)",
    )
    return Seen(row[0], row[1])


def _negative_prices(vault: Vault, _today: date) -> Seen:
    row = _one(
        vault,
        "SELECT count(*) FILTER (unit_price < 0 OR (qty > 0 AND net < 0)), count(*) "
        "FROM sales_line",
    )
    return Seen(row[0], row[1])


def _price_outliers(vault: Vault, _today: date) -> Seen:
    row = _one(
        vault,
        "WITH usual AS (SELECT sku, median(unit_price) AS m FROM sales_line "  # noqa: S608
        f"WHERE unit_price > 0 AND sku IS NOT NULL GROUP BY sku "
        f"HAVING count(*) >= {OUTLIER_MIN_LINES}) "
        f"SELECT count(*) FILTER (unit_price > {OUTLIER_FACTOR} * m "
        f"OR unit_price * {OUTLIER_FACTOR} < m), count(*) "
        "FROM sales_line JOIN usual USING (sku) WHERE unit_price > 0",
    )
    return Seen(row[0], row[1])


def _sums(vault: Vault, _today: date) -> Seen:
    """Lines whose total is off by more than two hundredths and half a percent."""
    row = _one(
        vault,
        "SELECT count(*) FILTER (abs(qty::DOUBLE * unit_price::DOUBLE - discount::DOUBLE "
        "- net::DOUBLE) > 0.02 + 0.005 * abs(net::DOUBLE)), count(*) FROM sales_line "
        "WHERE unit_price IS NOT NULL AND qty <> 0",
    )
    return Seen(row[0], row[1])


def _stale(vault: Vault, today: date) -> Seen:
    last = vault.last_day()
    if last is None or (today - last).days <= STALE_AFTER_DAYS:
        return Seen(0, 1)
    return Seen((today - last).days, (today - last).days, last.isoformat())


def _currencies(vault: Vault, _today: date) -> Seen:
    rows = vault.query(
        "SELECT currency, count(*) FROM sales_line WHERE currency IS NOT NULL "
        "GROUP BY currency ORDER BY count(*) DESC, currency"
    )
    minor = sum(int(row[1]) for row in rows[1:])
    return Seen(minor, sum(int(row[1]) for row in rows), ", ".join(row[0] for row in rows))


def _too_few_weeks(vault: Vault, _today: date) -> Seen:
    weeks = vault.weeks_of_history()
    return Seen(1, 1, str(weeks)) if weeks < TOO_FEW_WEEKS else Seen(0, 1)


def _few_weeks(vault: Vault, _today: date) -> Seen:
    weeks = vault.weeks_of_history()
    return Seen(1, 1, str(weeks)) if TOO_FEW_WEEKS <= weeks < FEW_WEEKS else Seen(0, 1)


def _no_category(vault: Vault, _today: date) -> Seen:
    row = _one(vault, "SELECT count(*) FILTER (category_code IS NULL), count(*) FROM sales_line")
    return Seen(row[0], row[1])


RULES: Final[tuple[Rule[[Vault, date]], ...]] = (
    Rule(
        "too_few_weeks",
        Severity.ERROR,
        40,
        1.0,
        f"There are {{detail}} whole weeks of sales; forecasts need at least {TOO_FEW_WEEKS}.",
        "Export a longer period and add it.",
        _too_few_weeks,
    ),
    Rule(
        "few_weeks",
        Severity.NOTE,
        5,
        1.0,
        "There are {detail} whole weeks of sales; own forecasts get better up to a year.",
        "Add older exports if you have them; the shared model helps most meanwhile.",
        _few_weeks,
    ),
    Rule(
        "gaps_in_days",
        Severity.WARNING,
        25,
        0.25,
        "{count} of {total} usual opening days have no sale.",
        "Check that every month was exported, then add the missing ones.",
        _gaps,
    ),
    Rule(
        "duplicate_orders",
        Severity.WARNING,
        20,
        0.05,
        "{count} of {total} receipts look like copies: same instant, same lines, other number.",
        "Check whether the till exports a receipt twice, for example once per payment.",
        _duplicate_orders,
    ),
    Rule(
        "negative_prices",
        Severity.WARNING,
        15,
        0.05,
        "{count} of {total} lines have a negative price or total without being a return.",
        "Enter returns with a negative quantity, and discounts in the discount column.",
        _negative_prices,
    ),
    Rule(
        "price_outliers",
        Severity.WARNING,
        15,
        0.05,
        f"{{count}} of {{total}} lines cost over {OUTLIER_FACTOR} times more or less than is usual "
        "for the product.",
        "Look for prices typed without the decimal sign, or changed pack sizes.",
        _price_outliers,
    ),
    Rule(
        "sums_do_not_add_up",
        Severity.NOTE,
        10,
        0.25,
        "{count} of {total} lines: quantity x unit price - discount is not the total.",
        "Check which column is the total after discount: --column total=...",
        _sums,
    ),
    Rule(
        "stale_data",
        Severity.WARNING,
        10,
        1.0,
        "The last sale is {count} days old ({detail}).",
        "Add the latest export.",
        _stale,
    ),
    Rule(
        "currency_mix",
        Severity.ERROR,
        25,
        0.01,
        "{count} of {total} lines are in another currency ({detail}).",
        "Import the sales of each currency into a node of its own, or convert them first.",
        _currencies,
    ),
    Rule(
        "no_category",
        Severity.WARNING,
        20,
        0.5,
        "{count} of {total} lines have no category and stay out of forecasts.",
        "Give these products a category in the till and export again.",
        _no_category,
    ),
)
