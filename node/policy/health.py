"""How healthy and how recent the rows are that an order would read (clause 9).

The score is the one that the member sees in ``data list`` or ``consent status``. It is worked out
once for each state of the rows, the consent ledger and the day, and then looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from functools import partial
from typing import Any, Final

from node.data import quality
from node.data.line_quality import owner_report
from node.data.stages import CUSTOMER_COLUMNS, Standing
from node.data.tables import SALES_LINE, TABLES
from node.data.vault import Vault
from node.policy.consents import ConsentDesk
from node.store.consents import Consents
from node.store.database import Database
from node.store.settings import Settings
from protocols.agreement.order import Order
from protocols.errors import CoopError

SALES: Final = quality.SALES  # cache key of the score over all sales lines; others are purposes
ROWS_ALONE: Final = quality.DATASETS  # scores that no customer's answer changes
PURPOSE: Final = "purpose"  # lines of customers who stand in the order's purpose
_OF_TABLE: Final = {facts.name: name for name, (facts, _) in quality.TABLE_RULES.items()}


def health(
    vault: Vault, database: Database, desk: ConsentDesk, order: Order, now: datetime
) -> float | None:
    """0 to 100 for the lines that the order's workload reads; None if they cannot be looked at.

    Of several tables the least healthy one counts; a table without rows has a health of 0. What
    the run does not read does not keep it back.
    """
    day = now.date()
    try:
        scores = []
        for dataset in datasets(order.columns):
            if dataset == PURPOSE:
                standing = desk.standing(order.purpose, now)
                look = partial(_of_lines, vault, standing)
                scores.append(_score(vault, database, order.purpose, now, look))
            elif dataset == SALES:
                look = partial(_of_sales, vault, day)
                scores.append(_score(vault, database, SALES, now, look))
            else:
                look = partial(_of_table, vault, dataset, day)
                scores.append(_score(vault, database, dataset, now, look))
    except CoopError:
        return None
    return min(scores)


def datasets(columns: Iterable[str]) -> tuple[str, ...]:
    """The data sets that columns are read from; a column of several tables is one of the sales."""
    found: set[str] = set()
    for column in columns:
        table, _, name = column.rpartition(".")
        owners = (
            [table] if table in TABLES else [t for t in TABLES if TABLES[t].field(name) is not None]
        )
        if name in CUSTOMER_COLUMNS:
            found.add(PURPOSE)
        if not owners or SALES_LINE.name in owners:
            found.add(SALES)
        else:
            found.update(_OF_TABLE[owner] for owner in owners)
    if PURPOSE in found:
        found.discard(SALES)  # the lines of customers who stand, and no others
    return tuple(sorted(found)) or (SALES,)


def _of_sales(vault: Vault, day: date) -> int:
    return quality.check(vault, day).score


def _of_lines(vault: Vault, standing: Standing) -> int:
    return owner_report(vault, standing)[0].score


def _of_table(vault: Vault, dataset: str, day: date) -> int:
    report = quality.check_table(vault, dataset, day)
    return report.score if report is not None else 0


def data_age_days(vault: Vault, now: datetime) -> int | None:
    """Whole days since the newest row; None without one. A row of tomorrow is not older than 0."""
    try:
        last = vault.last_day()
    except CoopError:
        return None
    return None if last is None else max(0, (now.date() - last).days)


def _score(
    vault: Vault, database: Database, what: str, now: datetime, look: Callable[[], int]
) -> float:
    with database.read() as connection:
        seen = {
            "rows": vault.data_digest(),
            "position": 0 if what in ROWS_ALONE else Consents(connection).position(),
            "basis": "" if what in ROWS_ALONE else Consents(connection).basis(what).basis,
            "day": now.date().isoformat(),
        }
        known: Any = Settings(connection).get(f"health:{what}")
    if isinstance(known, dict) and known.get("seen") == seen:
        return float(known["score"])
    score = look()
    with database.write() as connection:
        Settings(connection).put(f"health:{what}", {"seen": seen, "score": score})
    return float(score)
