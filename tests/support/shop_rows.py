"""Rows of a small sound shop in memory, and a vault's reader over them.

What looks at rows through ``reader()`` can be tested here without importing files: a day takes no
time, and every cell can be made wrong by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from node.data import duck
from node.data.manifest import ImportRecord
from node.data.tables import TABLES, Kind

FIRST = date(2024, 1, 1)  # a Monday
DAYS = 210
LAST = FIRST + timedelta(days=DAYS - 1)
HOURS = (9, 11, 13, 15, 17)
GOODS = ("bread", "milk", "soap", "tea", "rice")
TYPES = {
    Kind.TEXT: pa.string(),
    Kind.DAY: pa.date32(),
    Kind.INSTANT: pa.timestamp("us", "UTC"),
    Kind.AMOUNT: pa.decimal128(18, 6),
    Kind.FLAG: pa.bool_(),
}
Row = dict[str, Any]


def sale(day: date, number: int, good: int = 0, **change: Any) -> Row:
    """One sound line; ``hour`` moves its instant, other names are columns."""
    hour = change.pop("hour", HOURS[good % len(HOURS)])
    name = GOODS[good % len(GOODS)]
    return {
        "order_ref": f"#{number}",
        "ts_utc": datetime.combine(day, time(hour, 15), UTC),
        "business_date": day,
        "sku": f"s-{name}",
        "product": name.capitalize(),
        "category": name,
        "category_code": name,
        "qty": Decimal(1 + number % 3),
        "unit_price": Decimal(2 + good),
        "discount": Decimal(0),
        "net": Decimal((1 + number % 3) * (2 + good)),
        "currency": "EUR",
        "channel": "till",
        "location": "High Street",
        "is_return": False,
        "customer_key": None,
    } | change


def sound(days: int = DAYS, first: date = FIRST) -> list[Row]:
    """Five lines a day, each a receipt of its own, with rising numbers."""
    return [
        sale(first + timedelta(days=k), 1000 + 5 * k + good, good)
        for k in range(days)
        for good in range(len(GOODS))
    ]


def stock_row(sku: str = "s-bread", **change: Any) -> Row:
    """One sound row of stock."""
    return {
        "sku": sku,
        "location": "High Street",
        "on_hand": Decimal(7),
        "incoming": Decimal(0),
        "as_of": LAST,
    } | change


def customer_row(number: int = 1, **change: Any) -> Row:
    """One sound customer."""
    return {
        "customer_key": f"{number:064x}",
        "first_seen": FIRST,
        "country": "FR",
        "region": "Brittany",
        "source": "shop",
    } | change


def import_note(name: str, first: date, last: date, added: int, known: int = 0) -> ImportRecord:
    """What the vault remembers of one import."""
    values: dict[str, Any] = {
        "file_name": name,
        "sha256": "0" * 64,
        "rows_read": added + known,
        "rows_added": added,
        "duplicates": known,
        "quarantined": 0,
        "quarantine": "",
        "date_from": first,
        "date_to": last,
        "when": datetime(2024, 8, 1, tzinfo=UTC),
    }
    names = ImportRecord.__dataclass_fields__
    return ImportRecord(**{name: values[name] for name in names if name in values})


@dataclass(frozen=True)
class RowsVault:
    """The part of a vault that reads, over rows in memory."""

    sales_line: Sequence[Row] = ()
    customer: Sequence[Row] = ()
    stock: Sequence[Row] = ()
    records: tuple[ImportRecord, ...] = ()
    categories: Mapping[str, str] = field(default_factory=dict)

    def imports(self) -> tuple[ImportRecord, ...]:
        return self.records

    def data_digest(self) -> str:
        return "d" * 64

    @contextlib.contextmanager
    def reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with duck.connection() as db:
            for name, facts in TABLES.items():
                schema = pa.schema([(one.name, TYPES[one.kind]) for one in facts.fields])
                db.register(name, pa.Table.from_pylist(list(getattr(self, name)), schema))
            yield db

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.reader() as db:
            return db.execute(sql).fetchall()
