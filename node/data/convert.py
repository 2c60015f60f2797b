"""Records of text become typed sales lines, one distinct cell at a time.

Exports repeat themselves: a chunk of 30,000 lines holds a few hundred days, prices and names.
Each distinct text is read once, exactly and in plain Python, and the result is spread over the
rows with array operations. That keeps one reading of a cell for speed and for error messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from node.data.batch import BadRow
from node.data.columns import Column, Role
from node.data.schema import AMOUNT, STAGED
from node.data.source import Chunk
from node.data.stages import RawRows
from node.data.values import (
    EPOCH_ORDINAL,
    MICRO,
    NO_OFFSET,
    DateOrder,
    DecimalSign,
    Unreadable,
    currency,
    customer_key,
    is_return,
    moment,
    number,
    time_of_day,
    words,
)

T = TypeVar("T")
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DAY_US: Final = 86_400_000_000
LIMIT: Final = MICRO * 10**12  # what DECIMAL(18, 6) holds
MAX_REMEMBERED: Final = 200_000
_NOT_PLAIN: Final = r"^$|^ | $|  |[^\x20-\x7e]"  # what ``words`` might change or refuse
TEXT_LIMITS: Final = {
    Role.ORDER: 200,
    Role.SKU: 200,
    Role.PRODUCT: 500,
    Role.CATEGORY: 120,
    Role.CHANNEL: 120,
    Role.LOCATION: 200,
}


@dataclass(frozen=True, slots=True)
class Format:
    """How this file writes days, numbers and times, and what it leaves unsaid."""

    date_order: DateOrder
    decimal: DecimalSign
    zone: ZoneInfo
    currency: str | None


@dataclass(slots=True)
class _Bad:
    """Which rows of a chunk cannot be used: the first place and problem of each."""

    place: dict[int, int] = field(default_factory=dict)
    problem: dict[int, str] = field(default_factory=dict)

    def add(self, row: int, place: int, problem: str) -> None:
        self.place.setdefault(row, place)
        self.problem.setdefault(row, problem)


class Converter:
    """Turns chunks into ``RawRows``. ``secret`` None leaves the customer key out (a preview)."""

    def __init__(self, columns: Sequence[Column], form: Format, secret: bytes | None) -> None:
        self._at = {c.role: c for c in columns if c.role is not None}
        self._kept = [c.place - 1 for c in columns if c.fate == "kept"]
        self._form = form
        self._secret = secret
        self._memory: dict[Role, dict[str, Any]] = {role: {} for role in self._at}
        self._offsets: dict[int, int | None] = {}

    def kept_cells(self, row: Sequence[str]) -> tuple[str, ...]:
        """The cells of a row that are neither personal, nor the customer's, nor unknown."""
        return tuple(row[place] for place in self._kept)

    def convert(self, chunk: Chunk) -> tuple[RawRows, list[BadRow]]:
        """Typed lines in file order, and the rows that could not be read with their reasons."""
        bad = _Bad()
        count = len(chunk.rows)
        cells: list[tuple[str, ...]] = list(zip(*chunk.rows, strict=True)) if count else []
        day, local_us, offset_s = self._moments(cells, count, bad)
        ts_us = self._instants(day, local_us, offset_s)
        amounts = self._amounts(cells, count, bad)
        texts = {role: self._texts(role, cells, count, bad) for role in TEXT_LIMITS}
        money = self._spread(Role.CURRENCY, cells, count, bad, currency)
        if money is None:
            money = pa.array([self._form.currency], pa.string()).take(_zeros(count))
        elif self._form.currency is not None:
            money = money.fill_null(self._form.currency)
        keys = self._spread(Role.CUSTOMER, cells, count, bad, self._customer_key)
        columns = {
            "order_ref": texts[Role.ORDER],
            "ts_utc": pa.array(ts_us).view(pa.timestamp("us", "UTC")),
            "business_date": pa.array(day.astype(np.int32)).view(pa.date32()),
            "sku": texts[Role.SKU],
            "product": texts[Role.PRODUCT],
            "category_code": texts[Role.CATEGORY],
            "qty": decimals(amounts.qty),
            "unit_price": decimals(amounts.price, amounts.no_price),
            "discount": decimals(amounts.discount),
            "net": decimals(amounts.net),
            "currency": money,
            "channel": texts[Role.CHANNEL],
            "location": texts[Role.LOCATION],
            "is_return": pa.array(amounts.returned),
            "customer_key": keys if keys is not None else pa.nulls(count, pa.string()),
            "line": pa.array(np.asarray(chunk.lines, np.int64)),
            "local_us": pa.array(local_us),
        }
        table = pa.table([columns[name] for name in STAGED.names], schema=STAGED)
        rejected = [
            BadRow(chunk.lines[r], place, bad.problem[r], self.kept_cells(chunk.rows[r]))
            for r, place in bad.place.items()
        ]
        if rejected:
            keep = np.ones(count, np.bool_)
            keep[list(bad.place)] = False
            table = table.filter(pa.array(keep))
        return RawRows(table), sorted(rejected + chunk.broken, key=lambda row: row.line)

    # --- one column -----------------------------------------------------------------------

    def _read(
        self,
        role: Role,
        cells: Sequence[tuple[str, ...]],
        bad: _Bad,
        parse: Callable[[str], T],
        blank: T,
    ) -> tuple[list[T], npt.NDArray[np.int32]] | None:
        """Distinct values of a column and each row's index into them; None if it is absent."""
        column = self._at.get(role)
        if column is None or not cells:
            return None
        encoded = pa.array(cells[column.place - 1], pa.string()).dictionary_encode()
        indices = encoded.indices.to_numpy()
        memory = self._memory[role]
        if len(memory) > MAX_REMEMBERED:
            memory.clear()
        values: list[T] = []
        problems: dict[int, str] = {}
        for code, text in enumerate(encoded.dictionary.to_pylist()):
            if text not in memory:
                try:
                    memory[text] = parse(text)
                except Unreadable as error:
                    memory[text] = error
            value = memory[text]
            if isinstance(value, Unreadable):
                problems[code] = f"{column.header.strip()!r}: {value}"
                value = blank
            values.append(value)
        if problems:
            for row in np.flatnonzero(np.isin(indices, list(problems))):
                bad.add(int(row), column.place, problems[int(indices[row])])
        return values, indices

    def _spread(
        self,
        role: Role,
        cells: Sequence[tuple[str, ...]],
        count: int,
        bad: _Bad,
        parse: Callable[[str], str | None],
    ) -> pa.Array | None:
        read = self._read(role, cells, bad, parse, None)
        if read is None:
            return None if role in (Role.CURRENCY, Role.CUSTOMER) else pa.nulls(count, pa.string())
        return pa.array(read[0], pa.string()).take(pa.array(read[1]))

    def _texts(self, role: Role, cells: Sequence[tuple[str, ...]], count: int, bad: _Bad) -> Any:
        """A text column. Texts that ``words`` would leave as they are skip it."""
        limit = TEXT_LIMITS[role]
        column = self._at.get(role)
        if column is not None and cells:
            encoded = pa.array(cells[column.place - 1], pa.string()).dictionary_encode()
            distinct = encoded.dictionary
            odd = pc.match_substring_regex(distinct, _NOT_PLAIN)
            longest = pc.max(pc.utf8_length(distinct)).as_py() or 0
            if longest <= limit and not pc.any(odd).as_py():
                return encoded.cast(pa.string())
        return self._spread(role, cells, count, bad, lambda text: words(text, limit))

    def _customer_key(self, text: str) -> str | None:
        return None if self._secret is None else customer_key(self._secret, text)

    # --- instants -------------------------------------------------------------------------

    def _moments(
        self, cells: Sequence[tuple[str, ...]], count: int, bad: _Bad
    ) -> tuple[Int64s, Int64s, Int64s]:
        form = self._form
        day, local_us = np.zeros(count, np.int64), np.zeros(count, np.int64)
        offset_s = np.full(count, NO_OFFSET, np.int64)
        read = self._read(
            Role.DATE, cells, bad, lambda t: moment(t, form.date_order, form.zone), (0, 0, 0)
        )
        if read is not None:
            parts = np.asarray(read[0], np.int64).reshape(-1, 3)[read[1]]
            day, local_us, offset_s = parts[:, 0].copy(), parts[:, 1].copy(), parts[:, 2].copy()
        clock = self._read(Role.TIME, cells, bad, _optional_time, (0, NO_OFFSET))
        if clock is not None:
            parts = np.asarray(clock[0], np.int64).reshape(-1, 2)[clock[1]]
            local_us, offset_s = parts[:, 0].copy(), parts[:, 1].copy()
        return day, local_us, offset_s

    def _instants(self, day: Int64s, local_us: Int64s, offset_s: Int64s) -> Int64s:
        """UTC microseconds. In the doubled hour of autumn the earlier instant is taken."""
        for number_of_day in np.unique(day[offset_s == NO_OFFSET]).tolist():
            if number_of_day not in self._offsets:
                self._offsets[number_of_day] = _offset_of_day(number_of_day, self._form.zone)
            rows = (day == number_of_day) & (offset_s == NO_OFFSET)
            constant = self._offsets[number_of_day]
            if constant is not None:
                offset_s[rows] = constant
                continue
            for row in np.flatnonzero(rows):
                offset_s[row] = _offset_at(number_of_day, int(local_us[row]), self._form.zone)
        return day * DAY_US + local_us - offset_s * 1_000_000

    # --- amounts --------------------------------------------------------------------------

    def _numbers(
        self, role: Role, cells: Sequence[tuple[str, ...]], count: int, bad: _Bad
    ) -> tuple[Int64s, Bools]:
        """Whole millionths of a column, and where the cell is empty or the column absent."""
        read = self._read(role, cells, bad, self._optional_number, (0, True))
        if read is None:
            return np.zeros(count, np.int64), np.ones(count, np.bool_)
        pairs = np.asarray(read[0], np.int64).reshape(-1, 2)[read[1]]
        return pairs[:, 0].copy(), pairs[:, 1].astype(np.bool_)

    def _optional_number(self, text: str) -> tuple[int, bool]:
        return (number(text, self._form.decimal), False) if text.strip() else (0, True)

    def _amounts(self, cells: Sequence[tuple[str, ...]], count: int, bad: _Bad) -> _Amounts:
        qty, no_qty = self._numbers(Role.QUANTITY, cells, count, bad)
        price, no_price = self._numbers(Role.UNIT_PRICE, cells, count, bad)
        discount, _ = self._numbers(Role.DISCOUNT, cells, count, bad)
        net, no_net = self._numbers(Role.TOTAL, cells, count, bad)
        self._refuse_rows(no_qty, Role.QUANTITY, "is empty; expected a number such as 1", bad)
        worth = Role.TOTAL if Role.TOTAL in self._at else Role.UNIT_PRICE
        self._refuse_rows(
            no_net & no_price, worth, "is empty; expected the unit price or the total", bad
        )
        said = self._read(Role.KIND, cells, bad, is_return, False)
        flagged = np.zeros(count, np.bool_)
        if said is not None:
            flagged = np.asarray(said[0], np.bool_)[said[1]]
        qty = np.where(flagged, -np.abs(qty), qty)
        returned = flagged | (qty < 0)
        net = np.where(flagged, -np.abs(net), net)
        self._refuse_rows(
            ~no_net & (qty < 0) & (net > 0),
            worth,
            "is positive although the quantity is negative; expected a negative total for a return",
            bad,
        )
        # a discount is an amount off: positive on a sale, negative (given back) on a return
        discount = np.where(returned, -np.abs(discount), np.abs(discount))
        too_large = np.zeros(count, np.bool_)
        for row in np.flatnonzero(no_net & ~no_price):
            value = _rounded(int(qty[row]) * int(price[row]), MICRO) - int(discount[row])
            too_large[row] = abs(value) >= LIMIT
            net[row] = 0 if too_large[row] else value
        for row in np.flatnonzero(no_price & ~no_net & (qty != 0)):
            value = _rounded((int(net[row]) + int(discount[row])) * MICRO, int(qty[row]))
            too_large[row] = abs(value) >= LIMIT
            price[row] = 0 if too_large[row] else value
            no_price[row] = False
        self._refuse_rows(too_large, worth, "comes to a million million or more", bad)
        return _Amounts(qty, price, no_price, discount, net, returned)

    def _refuse_rows(self, rows: Bools, role: Role, problem: str, bad: _Bad) -> None:
        column = self._at.get(role)
        name = column.header.strip() if column else str(role)
        for row in np.flatnonzero(rows):
            bad.add(int(row), column.place if column else 0, f"{name!r}: {problem}")


@dataclass(frozen=True, slots=True)
class _Amounts:
    qty: Int64s
    price: Int64s
    no_price: Bools
    discount: Int64s
    net: Int64s
    returned: Bools


def decimals(millionths: Int64s, missing: Bools | None = None) -> pa.Array:
    """DECIMAL(18, 6) from whole millionths: 16 bytes each, little-endian two's complement."""
    wide = np.empty((len(millionths), 2), np.int64)
    wide[:, 0] = millionths
    wide[:, 1] = millionths >> 63
    validity = None
    if missing is not None and missing.any():
        validity = pa.array(~missing).buffers()[1]
    buffers = [validity, pa.py_buffer(wide.tobytes())]
    return pa.Array.from_buffers(AMOUNT, len(millionths), buffers)


def _zeros(count: int) -> pa.Array:
    return pa.array(np.zeros(count, np.int64))


def _optional_time(text: str) -> tuple[int, int]:
    return time_of_day(text) if text.strip() else (0, NO_OFFSET)


def _rounded(numerator: int, denominator: int) -> int:
    """Quotient rounded half to even, as book-keepers and IEEE do."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    whole, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole % 2):
        whole += 1
    return whole


def _offset_of_day(day: int, zone: ZoneInfo) -> int | None:
    """The zone's offset in seconds if it holds all day long, else None."""
    first = _offset_at(day, 0, zone)
    return first if first == _offset_at(day, DAY_US - 1, zone) else None


def _offset_at(day: int, local_us: int, zone: ZoneInfo) -> int:
    midnight = datetime.combine(date.fromordinal(EPOCH_ORDINAL + day), time(), zone)
    offset = (midnight + timedelta(microseconds=local_us)).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)
