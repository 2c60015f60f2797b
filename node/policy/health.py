"""How healthy and how recent the rows are that an order would read (clause 9).

The score is the one that the member sees in ``data list`` or ``consent status``. It is worked out
once for each state of the rows, the consent ledger and the day, and then looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from node.data import quality
from node.data.line_quality import owner_report
from node.data.stages import CUSTOMER_COLUMNS
from node.data.vault import Vault
from node.policy.consents import ConsentDesk
from node.store.consents import Consents
from node.store.database import Database
from node.store.settings import Settings
from protocols.agreement.order import Order
from protocols.errors import CoopError

SALES = "sales"  # cache key of the score over all sales lines; the others are purposes


def health(
    vault: Vault, database: Database, desk: ConsentDesk, order: Order, now: datetime
) -> float | None:
    """0 to 100 for the lines that the order's workload reads; None if they cannot be looked at."""
    plain = {column.rpartition(".")[2] for column in order.columns}
    try:
        if not CUSTOMER_COLUMNS & plain:
            return _score(
                vault, database, SALES, now, lambda: quality.check(vault, now.date()).score
            )
        standing = desk.standing(order.purpose, now)
        return _score(
            vault,
            database,
            order.purpose,
            now,
            lambda: owner_report(vault, standing)[0].score,
        )
    except CoopError:
        return None


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
            "position": 0 if what == SALES else Consents(connection).position(),
            "basis": "" if what == SALES else Consents(connection).basis(what).basis,
            "day": now.date().isoformat(),
        }
        known: Any = Settings(connection).get(f"health:{what}")
    if isinstance(known, dict) and known.get("seen") == seen:
        return float(known["score"])
    score = look()
    with database.write() as connection:
        Settings(connection).put(f"health:{what}", {"seen": seen, "score": score})
    return float(score)
