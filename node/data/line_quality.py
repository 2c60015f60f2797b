"""Health of customers' lines: the rules that matter where customers are looked at, one by one.

``owner_report`` is for the member's own eyes; ``checked_lines`` stands before a run. The way of
counting is that of ``node.data.quality``; the rules see the lines of a snapshot and the counts of
what it leaves out, nothing more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from node.data import snapshot
from node.data.quality import Finding, QualityReport, Rule, Seen, Severity
from node.data.snapshot import Snapshot
from node.data.stages import CheckedLines, ConsentedLines, LeftOut, Standing
from node.data.vault import Vault
from protocols.errors import InputError

FEW_CUSTOMERS: Final = 20
FEW: Final = "few_customers"
OWNER_COLUMNS: Final = ("customer_key", "business_date", "category_code")
TOO_FEW_WEEKS: Final = 12
FEW_WEEKS: Final = 40
CASH_SHARE: Final = 0.1  # of all lines under one number,
CASH_DAYS: Final = 0.8  # on as many of the days on which any customer bought: no person,
CASH_OPEN_DAYS: Final = 30  # unless there are too few days to tell


def owner_report(vault: Vault, standing: Standing) -> tuple[QualityReport, int]:
    """Health of what a run would see, and of how many customers; needs no permit."""
    found = snapshot.read(vault, standing, OWNER_COLUMNS, None, None)
    return look(found, standing.scope), found.customers


def look(found: Snapshot, scope: str) -> QualityReport:
    """All rules; without a single line the score is 0."""
    if not len(found.lines):
        out = found.left_out
        nothing = Finding(
            rule="no_customers",
            severity=Severity.ERROR,
            sentence=f"No customer with sales lines stands in {scope!r}: of {out.lines} lines "
            f"{out.without_customer} name no customer and {out.not_standing} are of customers "
            "who do not stand.",
            fix=_fix_for_few(out, scope),
            count=0,
            share=1.0,
            penalty=100.0,
        )
        return QualityReport(0, 0, (nothing,))
    few = _fix_for_few(found.left_out, scope)
    findings = [
        replace(one, fix=few if one.rule == FEW else one.fix.format(scope=scope))
        for one in (rule.apply(found) for rule in LINE_RULES)
        if one is not None
    ]
    findings.sort(key=lambda finding: (-finding.penalty, finding.rule))
    score = max(0, round(100 - sum(finding.penalty for finding in findings)))
    return QualityReport(score, len(found.lines), tuple(findings))


def checked_lines(consented: ConsentedLines) -> CheckedLines:
    """Customers' lines for a run, with their health.

    Nothing is refused for what the lines say, not even for having none: whether a shop takes part
    is seen by everybody and carries no noise, so it must not depend on any one customer. A shop
    with few customers, or with none, takes part with little more than its noise; ``owner_report``
    tells it so.

    Raises:
        InputError: an amount is not a number, which a vault cannot hold.
    """
    amounts = consented.lines.select_dtypes("float64").to_numpy()
    if not np.isfinite(amounts).all():
        raise InputError("the customers' lines hold amounts that are not numbers.")
    found = Snapshot(consented.book, consented.left_out, consented.lines)
    return CheckedLines(
        permit=consented.permit,
        standing=consented.standing,
        snapshot_root=consented.snapshot_root,
        health=look(found, consented.standing.scope).score,
        lines=consented.lines,
    )


def _fix_for_few(out: LeftOut, scope: str) -> str:
    """The step that would help most: rows, customer numbers, or answers of customers."""
    if not out.lines:
        return "Add an export of your till or shop: coop-node data add FILE.csv"
    if out.without_customer > out.not_standing:
        return (
            "Export the column with the customer's number and add it: coop-node data add FILE.csv "
            "--column customer=HEADER"
        )
    return (
        "Ask your customers, and enter their answers: coop-node consent import FILE.csv "
        f"(scope {scope})"
    )


# --- rules -------------------------------------------------------------------------------------


def _few_customers(found: Snapshot) -> Seen:
    few = found.customers < FEW_CUSTOMERS
    return Seen(1, 1, str(found.customers)) if few else Seen(0, 1)


def _without_customer(found: Snapshot) -> Seen:
    return Seen(found.left_out.without_customer, found.left_out.lines)


def _cash_customer(found: Snapshot) -> Seen:
    """Numbers that are in use nearly every day: typed in for everybody without a card."""
    lines = found.lines
    by_key = lines.groupby("customer_key", observed=True)["business_date"]
    count, days = by_key.size().to_numpy(), by_key.nunique().to_numpy()
    open_days = lines["business_date"].nunique()
    many = (count > CASH_SHARE * count.sum()) & (days >= CASH_DAYS * open_days)
    if open_days < CASH_OPEN_DAYS:
        return Seen(0, 1)
    return Seen(int(count[many].sum()), int(count.sum()), str(int(many.sum())))


def _weeks(found: Snapshot) -> int:
    days = found.lines["business_date"]
    return int((days.max() - days.min()).days + 1) // 7


def _too_few_weeks(found: Snapshot) -> Seen:
    weeks = _weeks(found)
    return Seen(1, 1, str(weeks)) if weeks < TOO_FEW_WEEKS else Seen(0, 1)


def _few_weeks(found: Snapshot) -> Seen:
    weeks = _weeks(found)
    return Seen(1, 1, str(weeks)) if TOO_FEW_WEEKS <= weeks < FEW_WEEKS else Seen(0, 1)


def _in_future(found: Snapshot) -> Seen:
    return Seen(found.left_out.in_future, found.left_out.in_future + found.left_out.lines)


def _no_category(found: Snapshot) -> Seen:
    if "category_code" not in found.lines:
        return Seen(0, 1)  # the run does not read it
    return Seen(int(found.lines["category_code"].isna().sum()), len(found.lines))


LINE_RULES: Final[tuple[Rule[[Snapshot]], ...]] = (
    Rule(
        FEW,
        Severity.ERROR,
        30,
        1.0,
        "{detail} customers with sales stand; below "
        f"{FEW_CUSTOMERS} a run gets little from here but noise.",
        "",  # _fix_for_few
        _few_customers,
    ),
    Rule(
        "too_few_weeks",
        Severity.ERROR,
        40,
        1.0,
        f"There are {{detail}} whole weeks of customers' sales; at least {TOO_FEW_WEEKS} are "
        "needed to tell who stays away.",
        "Export a longer period and add it.",
        _too_few_weeks,
    ),
    Rule(
        "few_weeks",
        Severity.NOTE,
        5,
        1.0,
        "There are {detail} whole weeks of customers' sales; who stays away is told better from "
        "most of a year.",
        "Add older exports if you have them.",
        _few_weeks,
    ),
    Rule(
        "cash_customer",
        Severity.ERROR,
        30,
        0.3,
        "{count} of {total} lines are under {detail} customer number(s) in use on nearly every "
        "day, as no person's is. Tills have such a number for cash customers.",
        "Take that number out: coop-node consent withdraw NUMBER {scope}",
        _cash_customer,
    ),
    Rule(
        "dates_in_future",
        Severity.WARNING,
        20,
        0.02,
        "{count} of {total} lines are dated in the future and stay out.",
        "Check the till's clock, and how days are written: --date-order dmy or mdy.",
        _in_future,
    ),
    Rule(
        "without_customer",
        Severity.WARNING,
        20,
        0.9,
        "{count} of {total} lines name no customer and stay out.",
        "Ask for the customer card at the till. If the till knows the customer, export that "
        "column too: --column customer=HEADER",
        _without_customer,
    ),
    Rule(
        "no_category",
        Severity.WARNING,
        10,
        0.5,
        "{count} of {total} lines have no category.",
        "Give these products a category in the till and export again.",
        _no_category,
    ),
)
