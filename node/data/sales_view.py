"""The sales lines as the rules look at them: read a few times, then asked in small tables.

Four passes over the lines give tables by day (with what is counted), by receipt, by price and by
hour; every rule asks these. Memory follows the number of receipts and prices, not of lines.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from node.data import shapes
from node.data.findings import Rows
from node.data.manifest import ImportRecord
from node.data.shapes import Misfits
from node.data.tables import SALES_LINE
from node.data.vault import Vault

if TYPE_CHECKING:
    import duckdb

ROWS_KEPT: Final = shapes.ROWS_KEPT
SHOWN: Final = tuple(one.name for one in SALES_LINE.fields if not one.about_people)
SHOWN_SQL: Final = ", ".join(
    # text, because DuckDB asks for pytz to make a Python value of an instant
    "strftime(make_timestamp(epoch_us(l.ts_utc)), '%Y-%m-%dT%H:%M:%SZ') AS ts_utc"
    if name == "ts_utc"
    else f"l.{name}"
    for name in SHOWN
)

MONEY_BACK: Final = "is_return AND qty = 0"

# Each is the condition of a line that fails, and of the lines that are looked at.
CONDITIONS: Final[Mapping[str, tuple[str, str]]] = {
    "negative_prices": ("unit_price < 0 OR (qty > 0 AND net < 0)", "true"),
    "sums_do_not_add_up": (
        "abs(qty::DOUBLE * unit_price::DOUBLE - discount::DOUBLE - net::DOUBLE) "
        "> 0.02 + 0.005 * abs(net::DOUBLE)",
        "unit_price IS NOT NULL AND qty <> 0",
    ),
    "sales_in_future": ("business_date > $latest", "true"),
    # a day lasts from UTC-14 to UTC+12 somewhere on Earth
    "clock_off_its_day": (
        "epoch_us(ts_utc) // 3600000000 - 24 * (business_date - DATE '1970-01-01') "
        "NOT BETWEEN -14 AND 35",
        "true",
    ),
    # money given back for a whole receipt names no goods, so it can have no category
    "no_category": ("category_code IS NULL AND category IS NULL", f"NOT ({MONEY_BACK})"),
    "without_customer": ("customer_key IS NULL", "true"),
}
_COUNTS: Final = ", ".join(
    f"count(*) FILTER (({bad}) AND ({among})) AS {name}_bad, "
    f"count(*){f' FILTER ({among})' if among != 'true' else ''} AS {name}"
    for name, (bad, among) in CONDITIONS.items()
)
_DAILY: Final = (
    "CREATE TEMP TABLE daily AS SELECT business_date AS day, category, category_code, "  # noqa: S608
    f"location, currency, count(*) AS n, {_COUNTS} FROM sales_line GROUP BY ALL"
)
_SUMS: Final = "SELECT coalesce(sum(n), 0)::BIGINT, min(day), max(day), " + ", ".join(
    f"sum({name}_bad)::BIGINT, sum({name})::BIGINT" for name in CONDITIONS
)
_TABLES: Final = (
    # a 64-bit hash in place of the number: half the memory, and no two in a million collide
    "CREATE TEMP TABLE orders AS SELECT hash(order_ref) AS id, "
    "try_cast(ltrim(any_value(order_ref), '#') AS BIGINT) AS number, min(ts_utc) AS ts, "
    "min(business_date) AS day, count(*) AS n, "
    "sum(hash(coalesce(sku, product, category), qty, net)) AS content "
    "FROM sales_line WHERE order_ref IS NOT NULL GROUP BY hash(order_ref)",
    "CREATE TEMP TABLE prices AS SELECT sku, hash(lower(trim(product))) AS named, "
    "product IS NULL AS nameless, unit_price::DOUBLE AS price, count(*) AS n, "
    "min(business_date) FILTER (NOT is_return) AS first_sold "
    "FROM sales_line WHERE sku IS NOT NULL GROUP BY ALL",
    # a line on the full hour may stand for "no time of day"
    "CREATE TEMP TABLE hours AS SELECT (business_date - DATE '1990-01-01') // 7 AS week, "
    "((epoch_us(ts_utc) // 3600000000) % 24)::INTEGER AS hour, count(*) AS n FROM sales_line "
    "WHERE epoch_us(ts_utc) % 3600000000 <> 0 GROUP BY ALL",
)


@dataclass(frozen=True, slots=True)
class SalesView:
    """What the rules see.

    Args:
        db: the reader of the vault, with the small tables beside the view.
        today: the day as of which data is stale or in the future.
        imports: what was imported, oldest first.
        lines: how many lines there are.
        first, last: first and last business day.
        counted: condition -> (lines that fail, lines that were looked at).
        misfits: looks for values that cannot be; asked for once, it remembers.
        mapped: categories of the till that have a place in the shared taxonomy; None where no
            mapping is in use.
    """

    db: duckdb.DuckDBPyConnection
    today: date
    imports: Sequence[ImportRecord]
    lines: int
    first: date
    last: date
    counted: Mapping[str, tuple[int, int]]
    misfits: Callable[[], Misfits] = field(repr=False)
    mapped: frozenset[str] | None = None

    def ask(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a question."""
        return self.db.execute(sql, dict(params or {})).fetchall()

    def one(self, sql: str, params: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        """The first row of a question that always has one; nothing counts as 0."""
        return tuple(value or 0 for value in self.ask(sql, params)[0])

    def failing(self, where: str, params: Mapping[str, Any] | None = None) -> Rows:
        """Lines that fulfil a condition, without their customers; at most ``ROWS_KEPT``."""
        return self.rows(
            f"SELECT {SHOWN_SQL} FROM sales_line l "  # noqa: S608
            f"WHERE {where} ORDER BY ALL",
            SHOWN,
            params,
        )

    def rows(
        self, sql: str, headers: Sequence[str], params: Mapping[str, Any] | None = None
    ) -> Rows:
        """Rows of a question under headers; at most ``ROWS_KEPT``."""
        limited = f"SELECT * FROM ({sql}) LIMIT {ROWS_KEPT}"  # noqa: S608
        return Rows(tuple(headers), tuple(self.ask(limited, params)))


def latest(today: date) -> date:
    """Tomorrow: the latest day that a till anywhere can print now."""
    return today + timedelta(days=1)


@contextlib.contextmanager
def opened(vault: Vault, today: date, *, values: bool = True) -> Iterator[SalesView | None]:
    """The view over the vault; None if there is no line.

    Args:
        vault, today: as they are.
        values: look at every value at once, before the small tables take their memory.
    """
    with vault.reader() as db:
        misfits = cache(partial(shapes.look, db, SALES_LINE))
        if values:
            misfits()
        db.execute(_DAILY, {"latest": latest(today)})
        row = db.execute(f"{_SUMS} FROM daily").fetchall()[0]
        if not row[0]:
            yield None
            return
        for statement in _TABLES:
            db.execute(statement)
        counted = {name: (row[3 + 2 * k], row[4 + 2 * k]) for k, name in enumerate(CONDITIONS)}
        yield SalesView(
            db=db,
            today=today,
            imports=[one for one in vault.imports() if one.table == SALES_LINE.name],
            lines=row[0],
            first=row[1],
            last=row[2],
            counted=counted,
            misfits=misfits,
            mapped=frozenset(vault.categories) if vault.categories else None,
        )
