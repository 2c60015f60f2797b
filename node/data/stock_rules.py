"""Rules about the tables of stock and of customers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from node.data import shapes
from node.data.findings import Rows, Rule, Seen, Severity
from node.data.sales_view import ROWS_KEPT, latest
from node.data.shapes import Misfits
from node.data.tables import CUSTOMER, STOCK, TableFacts
from node.data.vault import Vault

if TYPE_CHECKING:
    import duckdb

STALE_AFTER_DAYS: Final = 14
_SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    facts.name: tuple(one.name for one in facts.fields if one.name != "customer_key")
    for facts in (CUSTOMER, STOCK)
}
_NEWEST: Final = (
    "SELECT *, row_number() OVER (PARTITION BY sku, location ORDER BY as_of DESC) AS place "
    "FROM stock"
)


@dataclass(frozen=True, slots=True)
class TableView:
    """What the rules see of a small table: reader, day, a look for impossible values."""

    db: duckdb.DuckDBPyConnection
    facts: TableFacts
    today: date
    lines: int
    misfits: Callable[[], Misfits] = field(repr=False)

    def count(self, bad: str, source: str = "", among: str = "true") -> Seen:
        """Rows that fulfil a condition, of those that are looked at."""
        asked = (
            f"SELECT count(*) FILTER (({bad}) AND ({among})), "  # noqa: S608
            f"count(*) FILTER ({among}) FROM {self._source(source)}"
        )
        row = self.db.execute(asked, _days(asked, self.today)).fetchall()[0]
        return Seen(row[0], row[1])

    def failing(self, bad: str, source: str = "") -> Rows:
        """These rows; a customer is never among their columns."""
        names = _SHOWN[self.facts.name]
        asked = (
            f"SELECT {', '.join(names)} FROM {self._source(source)} "  # noqa: S608
            f"WHERE {bad} ORDER BY ALL LIMIT {ROWS_KEPT}"
        )
        rows = self.db.execute(asked, _days(asked, self.today)).fetchall()
        return Rows(names, tuple(rows))

    def _source(self, source: str) -> str:
        return f"({source}) t" if source else self.facts.name


def _days(sql: str, today: date) -> dict[str, date]:
    days = {"today": today, "latest": latest(today)}
    return {name: day for name, day in days.items() if f"${name}" in sql}


@contextlib.contextmanager
def over(vault: Vault, facts: TableFacts, today: date) -> Iterator[TableView | None]:
    """The view over a table; None if it has no row."""
    with vault.reader() as db:
        lines = db.execute(f"SELECT count(*) FROM {facts.name}").fetchall()[0][0]  # noqa: S608
        if not lines:
            yield None
            return
        yield TableView(db, facts, today, lines, cache(partial(shapes.look, db, facts)))


def _rule(
    name: str,
    severity: Severity,
    weight: float,
    full_at: float,
    sentence: str,
    fix: str,
    bad: str,
    source: str = "",
    among: str = "true",
) -> Rule[[TableView]]:
    """A rule over one condition; ``source`` is the SQL of what it looks at."""

    def look(view: TableView) -> Seen:
        return view.count(bad, source, among)

    def rows(view: TableView) -> Rows:
        return view.failing(f"({bad}) AND ({among})", source)

    return Rule(name, severity, weight, full_at, sentence, fix, look, rows)


def _impossible(view: TableView) -> Seen:
    return view.misfits().seen()


def _impossible_rows(view: TableView) -> Rows:
    return view.misfits().listed()


def _stale(view: TableView) -> Seen:
    row = view.db.execute("SELECT max(as_of) FROM stock").fetchall()[0]
    age = (view.today - row[0]).days
    return Seen(age, age, row[0].isoformat()) if age > STALE_AFTER_DAYS else Seen(0, 1)


_IMPOSSIBLE: Final[Rule[[TableView]]] = Rule(
    "impossible_values",
    Severity.ERROR,
    60,
    0.001,
    "{count} of {total} rows hold values that cannot be ({detail}).",
    "Remove the import that brought them and add its export again.",
    _impossible,
    _impossible_rows,
)

STOCK_RULES: Final[tuple[Rule[[TableView]], ...]] = (
    _IMPOSSIBLE,
    _rule(
        "negative_stock",
        Severity.WARNING,
        30,
        0.2,
        "{count} of {total} articles have less than nothing on hand.",
        "Book the deliveries that were sold before they were entered, or count these articles.",
        "place = 1 AND on_hand < 0",
        _NEWEST,
        "place = 1",
    ),
    Rule(
        "stale_stock",
        Severity.WARNING,
        25,
        1.0,
        "The newest stock is {count} days old ({detail}).",
        "Add the latest export of your stock.",
        _stale,
    ),
    _rule(
        "articles_left_behind",
        Severity.NOTE,
        10,
        0.5,
        f"{{count}} of {{total}} articles were last listed over {STALE_AFTER_DAYS} days before "
        "the newest list.",
        "Check that the newest export holds all articles and places.",
        f"place = 1 AND as_of < (SELECT max(as_of) FROM stock) - {STALE_AFTER_DAYS}",  # noqa: S608
        _NEWEST,
        "place = 1",
    ),
    _rule(
        "stock_in_future",
        Severity.WARNING,
        25,
        0.02,
        "{count} of {total} rows of stock are dated later than tomorrow.",
        "Check how days are written: --date-order dmy or mdy.",
        "as_of > $latest",
    ),
    _rule(
        "stock_twice",
        Severity.WARNING,
        20,
        0.1,
        "{count} of {total} rows of stock say another figure for the same article, place and day.",
        "Add one list of stock a day, with one row for each article and place.",
        "figures > 1",
        "SELECT *, count(DISTINCT on_hand) OVER (PARTITION BY sku, location, as_of) AS figures "
        "FROM stock",
    ),
    _rule(
        "stock_without_figure",
        Severity.NOTE,
        10,
        0.5,
        "{count} of {total} rows of stock say nothing about what is on hand.",
        "Export the column of what is on hand.",
        "on_hand IS NULL",
    ),
)

CUSTOMER_RULES: Final[tuple[Rule[[TableView]], ...]] = (
    _IMPOSSIBLE,
    _rule(
        "customer_twice",
        Severity.WARNING,
        20,
        0.2,
        "{count} of {total} rows are further rows of a customer who is listed already.",
        "Join the accounts of one person in the shop system, if it can.",
        "place > 1",
        "SELECT *, row_number() OVER (PARTITION BY customer_key ORDER BY first_seen) AS place "
        "FROM customer",
    ),
    _rule(
        "first_seen_in_future",
        Severity.WARNING,
        20,
        0.02,
        "{count} of {total} customers were first seen later than tomorrow.",
        "Check how days are written: --date-order dmy or mdy.",
        "first_seen > $latest",
    ),
    _rule(
        "bought_before_first_seen",
        Severity.NOTE,
        10,
        0.5,
        "{count} of {total} customers bought something before they were first seen.",
        "Check which column says since when somebody is a customer.",
        "bought < first_seen",
        "SELECT c.*, s.bought FROM customer c LEFT JOIN (SELECT customer_key, "
        "min(business_date) AS bought FROM sales_line WHERE customer_key IS NOT NULL "
        "GROUP BY customer_key) s USING (customer_key)",
    ),
    _rule(
        "unknown_to_the_till",
        Severity.NOTE,
        10,
        1.0,
        "{count} of {total} customers have no sale here.",
        "Check that sales and customers are exported with the same number of the customer.",
        "bought IS NULL",
        "SELECT c.*, s.bought FROM customer c LEFT JOIN (SELECT customer_key, "
        "min(business_date) AS bought FROM sales_line WHERE customer_key IS NOT NULL "
        "GROUP BY customer_key) s USING (customer_key)",
    ),
)
