"""Small tables of sales, customers and stock for tests of the vault."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from node.data.batch import BadRow
from node.data.schema import CUSTOMER, STAGED, STOCK
from node.data.stages import RawRows
from node.data.vault import Committed, ImportNote, Vault

NOW = datetime(2025, 1, 6, 12, tzinfo=UTC)
START = date(2024, 1, 1)
KEY = bytes(32)
PEOPLE = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(40)]


def lines(first: int, count: int, people: bool = True) -> RawRows:
    """Line k is of day k % 300, receipt k // 2 and person k % 40; every pair of lines is equal."""
    at = [k // 2 for k in range(first, first + count)]
    amount = pa.decimal128(18, 6)
    columns = {
        "order_ref": [f"r{k}" for k in at],
        "ts_utc": [datetime(2024, 1, 1, 9, tzinfo=UTC) + timedelta(days=k % 300) for k in at],
        "business_date": [START + timedelta(days=k % 300) for k in at],
        "sku": [f"s{k % 7}" for k in at],
        "product": ["Thing"] * count,
        "category_code": [f"c{k % 3}" for k in at],
        "qty": pa.array([Decimal(1)] * count, amount),
        "unit_price": pa.array([Decimal(k % 9) for k in at], amount),
        "discount": pa.array([Decimal(0)] * count, amount),
        "net": pa.array([Decimal(k % 9) for k in at], amount),
        "currency": ["EUR"] * count,
        "channel": [None] * count,
        "location": [None] * count,
        "is_return": [False] * count,
        "customer_key": [PEOPLE[k % 40] if people else None for k in at],
        "line": list(range(first, first + count)),
        "local_us": [9 * 3_600_000_000] * count,
    }
    return RawRows(pa.table(columns, schema=STAGED))


def customers(*rows: tuple[str, date | None, str | None]) -> RawRows:
    made = [
        {"customer_key": key, "first_seen": day, "country": country, "region": None, "source": "x"}
        for key, day, country in rows
    ]
    return RawRows(pa.Table.from_pylist(made, CUSTOMER), "customer")


def stock(*rows: tuple[str, date, int]) -> RawRows:
    made = [
        {"sku": sku, "location": None, "on_hand": Decimal(n), "incoming": None, "as_of": day}
        for sku, day, n in rows
    ]
    return RawRows(pa.Table.from_pylist(made, STOCK), "stock")


def take(
    vault: Vault,
    *rows: RawRows,
    bad: tuple[BadRow, ...] = (),
    name: str = "a",
    source: str = "",
    gone: pa.Table | None = None,
) -> Committed:
    with vault.begin(source) as change:
        for one in rows:
            change.write(one)
        if gone is not None:
            change.leave_out(gone)
        change.quarantine(("sku",), bad)
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        note = ImportNote(name, sha256, 1, len(bad), NOW, reading="9" * 64)
        return change.commit(note)
