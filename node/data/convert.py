"""Columns with a role become typed rows of a canonical table, or reasons why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from node.data.amounts import amounts, numbers
from node.data.batch import BadRow, RoleBatch
from node.data.cells import Bools, Cells, Headers, Int64s, Memory, decimals
from node.data.columns import Column, Role
from node.data.schema import CUSTOMER, ORDER, STAGED, STOCK
from node.data.stages import RawRows
from node.data.values import (
    EPOCH_ORDINAL,
    NO_OFFSET,
    DateOrder,
    DecimalSign,
    currency,
    customer_key,
    identifier,
    moment,
    time_of_day,
)

DAY_US: Final = 86_400_000_000
TEXT_LIMITS: Final = {
    Role.ORDER: 200,
    Role.SKU: 200,
    Role.PRODUCT: 500,
    Role.CATEGORY: 120,
    Role.CHANNEL: 120,
    Role.LOCATION: 200,
    Role.COUNTRY: 120,
    Role.REGION: 120,
    Role.SOURCE: 120,
}
_LINE: Final = pa.field("line", pa.int64(), nullable=False)


@dataclass(frozen=True, slots=True)
class Format:
    """How this file writes days, numbers and times, and what it leaves unsaid.

    ``as_of`` is the day of a stock list that names none.
    """

    date_order: DateOrder
    decimal: DecimalSign
    zone: ZoneInfo
    currency: str | None
    as_of: date | None = None


@dataclass(slots=True)
class Converter:
    """Turns batches into ``RawRows`` of one table (``sales_line``, ``customer`` or ``stock``).

    ``secret`` None leaves the customer keys out (a preview).
    """

    table: str
    columns: Sequence[Column]
    form: Format
    secret: bytes | None = field(repr=False)
    headers: Headers = field(init=False)
    _memory: Memory = field(init=False, repr=False, default_factory=Memory)
    _offsets: dict[int, int | None] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.headers = Headers.of(tuple(self.columns))

    def convert(self, batch: RoleBatch) -> tuple[RawRows, list[BadRow]]:
        """Typed rows in file order, and the rows that could not be read with their reasons."""
        cells = Cells(batch, self.headers, self._memory)
        make = {"sales_line": self._sales, "customer": self._customers, "stock": self._stock}
        rows = make[self.table](cells)
        good = cells.good()
        if not good.all():
            rows = rows.filter(pa.array(good))
        return RawRows(rows, self.table), cells.rejected(self._key)

    def orders(self, batch: RoleBatch) -> pa.Table:
        """Orders of which nothing is left (``RoleBatch.gone``), as ``schema.ORDER``.

        One whose moment cannot be read is left out: nobody can say which order it is.
        """
        cells = Cells(batch, self.headers, self._memory)
        day, local_us, offset_s = self._moments(cells)
        columns = [
            self._text(cells, Role.ORDER),
            pa.array(self._instants(day, local_us, offset_s)).view(pa.timestamp("us", "UTC")),
            pa.array(day.astype(np.int32)).view(pa.date32()),
        ]
        good = pa.array(cells.good())
        rows = pa.table(columns, names=ORDER.names).filter(good)
        return rows.filter(pc.is_valid(rows["order_ref"])).cast(ORDER)

    # --- tables -----------------------------------------------------------------------------

    def _sales(self, cells: Cells) -> pa.Table:
        day, local_us, offset_s = self._moments(cells)
        ts_us = self._instants(day, local_us, offset_s)
        made = amounts(cells, self.form.decimal)
        if cells.has(Role.CURRENCY):
            money = cells.texts(Role.CURRENCY, currency).fill_null(self.form.currency)
        else:
            money = _repeated(self.form.currency, cells.count)
        columns = {
            "order_ref": self._text(cells, Role.ORDER),
            "ts_utc": pa.array(ts_us).view(pa.timestamp("us", "UTC")),
            "business_date": pa.array(day.astype(np.int32)).view(pa.date32()),
            "sku": self._text(cells, Role.SKU),
            "product": self._text(cells, Role.PRODUCT),
            "category_code": self._text(cells, Role.CATEGORY),
            "qty": decimals(made.qty),
            "unit_price": decimals(made.price, made.no_price),
            "discount": decimals(made.discount),
            "net": decimals(made.net),
            "currency": money,
            "channel": self._text(cells, Role.CHANNEL),
            "location": self._text(cells, Role.LOCATION),
            "is_return": pa.array(made.returned),
            "customer_key": cells.texts(Role.CUSTOMER, self._key),
            "line": pa.array(cells.batch.lines),
            "local_us": pa.array(local_us),
        }
        return pa.table([columns[name] for name in STAGED.names], schema=STAGED)

    def _customers(self, cells: Cells) -> pa.Table:
        keys = cells.texts(Role.CUSTOMER, self._known_key)
        missing = pc.is_null(keys).to_numpy(zero_copy_only=False)
        cells.refuse_all(missing, Role.CUSTOMER, "is empty; expected a customer number or e-mail")
        columns = {
            "customer_key": keys,
            "first_seen": self._days(cells, Role.FIRST_SEEN),
            "country": self._text(cells, Role.COUNTRY),
            "region": self._text(cells, Role.REGION),
            "source": self._text(cells, Role.SOURCE),
        }
        return _with_line(columns, CUSTOMER, cells)

    def _stock(self, cells: Cells) -> pa.Table:
        skus = self._text(cells, Role.SKU)
        missing = pc.is_null(skus).to_numpy(zero_copy_only=False)
        cells.refuse_all(missing, Role.SKU, "is empty; expected the number of the article")
        days = self._days(cells, Role.AS_OF)
        if self.form.as_of is not None:
            days = days.fill_null(pa.scalar(self.form.as_of))
        undated = pc.is_null(days).to_numpy(zero_copy_only=False)
        cells.refuse_all(undated, Role.AS_OF, "is empty; expected the day of the count")
        columns = {
            "sku": skus,
            "location": self._text(cells, Role.LOCATION),
            "on_hand": decimals(*numbers(cells, Role.ON_HAND, self.form.decimal)),
            "incoming": decimals(*numbers(cells, Role.INCOMING, self.form.decimal)),
            "as_of": days,
        }
        return _with_line(columns, STOCK, cells)

    # --- columns ----------------------------------------------------------------------------

    def _text(self, cells: Cells, role: Role) -> pa.Array:
        return cells.words(role, TEXT_LIMITS[role])

    def _key(self, text: str) -> str | None:
        return None if self.secret is None else customer_key(self.secret, text)

    def _known_key(self, text: str) -> str | None:
        """A key for whoever is named, also in a preview, which has no secret."""
        return (self._key(text) or "") if identifier(text) else None

    def _days(self, cells: Cells, role: Role) -> pa.Array:
        """Business days of an optional column; null where it is empty."""
        form = self.form

        def day(text: str) -> int | None:
            return moment(text, form.date_order, form.zone)[0] if text.strip() else None

        read = cells.read(role, day, None)
        if read is None:
            return pa.nulls(cells.count, pa.date32())
        return pa.array(read[0], pa.int32()).view(pa.date32()).take(pa.array(read[1]))

    def _moments(self, cells: Cells) -> tuple[Int64s, Int64s, Int64s]:
        form, count = self.form, cells.count
        day, local_us = np.zeros(count, np.int64), np.zeros(count, np.int64)
        offset_s = np.full(count, NO_OFFSET, np.int64)
        read = cells.read(Role.DATE, lambda t: moment(t, form.date_order, form.zone), (0, 0, 0))
        if read is not None:
            parts = np.asarray(read[0], np.int64).reshape(-1, 3)[read[1]]
            day, local_us, offset_s = parts[:, 0].copy(), parts[:, 1].copy(), parts[:, 2].copy()
        clock = cells.read(Role.TIME, _optional_time, (0, NO_OFFSET))
        if clock is not None:
            parts = np.asarray(clock[0], np.int64).reshape(-1, 2)[clock[1]]
            local_us, offset_s = parts[:, 0].copy(), parts[:, 1].copy()
        return day, local_us, offset_s

    def _instants(self, day: Int64s, local_us: Int64s, offset_s: Int64s) -> Int64s:
        """UTC microseconds. In the doubled hour of autumn the earlier instant is taken."""
        unsaid: Bools = offset_s == NO_OFFSET
        for number_of_day in np.unique(day[unsaid]).tolist():
            if number_of_day not in self._offsets:
                self._offsets[number_of_day] = _offset_of_day(number_of_day, self.form.zone)
            rows = (day == number_of_day) & unsaid
            constant = self._offsets[number_of_day]
            if constant is not None:
                offset_s[rows] = constant
                continue
            for row in np.flatnonzero(rows):
                offset_s[row] = _offset_at(number_of_day, int(local_us[row]), self.form.zone)
        return day * DAY_US + local_us - offset_s * 1_000_000


def _with_line(columns: dict[str, pa.Array], schema: pa.Schema, cells: Cells) -> pa.Table:
    """The columns of a table, and where each row stood."""
    whole = pa.schema([*schema, _LINE])
    held = [columns[name].cast(schema.field(name).type) for name in schema.names]
    return pa.table([*held, pa.array(cells.batch.lines)], schema=whole)


def _repeated(text: str | None, count: int) -> pa.Array:
    return pa.array([text], pa.string()).take(pa.array(np.zeros(count, np.int64)))


def _optional_time(text: str) -> tuple[int, int]:
    return time_of_day(text) if text.strip() else (0, NO_OFFSET)


def _offset_of_day(day: int, zone: ZoneInfo) -> int | None:
    """The zone's offset in seconds if it holds all day long, else None."""
    first = _offset_at(day, 0, zone)
    return first if first == _offset_at(day, DAY_US - 1, zone) else None


def _offset_at(day: int, local_us: int, zone: ZoneInfo) -> int:
    midnight = datetime.combine(date.fromordinal(EPOCH_ORDINAL + day), time(), zone)
    offset = (midnight + timedelta(microseconds=local_us)).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)
