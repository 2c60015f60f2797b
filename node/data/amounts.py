"""What a sales line comes to: quantity, price, discount and total, each worked out if it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from node.data.cells import Bools, Cells, Int64s
from node.data.columns import Role
from node.data.values import MICRO, DecimalSign, is_return, number

LIMIT: Final = MICRO * 10**12  # what DECIMAL(18, 6) holds
_EXACT: Final = 2.0**62  # products below this are exact in int64


@dataclass(frozen=True, slots=True)
class Amounts:
    """Whole millionths of N lines, int64 (N,), and masks, bool (N,)."""

    qty: Int64s
    price: Int64s
    no_price: Bools
    discount: Int64s
    net: Int64s
    returned: Bools


def numbers(cells: Cells, role: Role, decimal: DecimalSign) -> tuple[Int64s, Bools]:
    """Whole millionths of a column, and where the cell is empty or the column absent."""

    def optional(text: str) -> tuple[int, bool]:
        return (number(text, decimal), False) if text.strip() else (0, True)

    read = cells.read(role, optional, (0, True))
    if read is None:
        return np.zeros(cells.count, np.int64), np.ones(cells.count, np.bool_)
    pairs = np.asarray(read[0], np.int64).reshape(-1, 2)[read[1]]
    return pairs[:, 0].copy(), pairs[:, 1].astype(np.bool_)


def amounts(cells: Cells, decimal: DecimalSign) -> Amounts:
    """The amounts of a batch of lines; rows that lack one are refused."""
    qty, no_qty = numbers(cells, Role.QUANTITY, decimal)
    price, no_price = numbers(cells, Role.UNIT_PRICE, decimal)
    discount, _ = numbers(cells, Role.DISCOUNT, decimal)
    net, no_net = numbers(cells, Role.TOTAL, decimal)
    cells.refuse_all(no_qty, Role.QUANTITY, "is empty; expected a number such as 1")
    worth = Role.TOTAL if cells.has(Role.TOTAL) else Role.UNIT_PRICE
    cells.refuse_all(no_net & no_price, worth, "is empty; expected the unit price or the total")
    said = cells.read(Role.KIND, is_return, False)
    flagged = np.zeros(cells.count, np.bool_)
    if said is not None:
        flagged = np.asarray(said[0], np.bool_)[said[1]]
    qty = np.where(flagged, -np.abs(qty), qty)
    returned = flagged | (qty < 0)
    net = np.where(flagged, -np.abs(net), net)
    cells.refuse_all(
        ~no_net & (qty < 0) & (net > 0),
        worth,
        "is positive although the quantity is negative; expected a negative total for a return",
    )
    # a discount is an amount off: positive on a sale, negative (given back) on a return
    discount = np.where(returned, -np.abs(discount), np.abs(discount))
    wanting = np.flatnonzero(no_net & ~no_price)
    net[wanting], large = _products(qty[wanting], price[wanting], discount[wanting])
    too_large = np.zeros(cells.count, np.bool_)
    too_large[wanting] = large
    _prices(qty, price, discount, net, np.flatnonzero(no_price & ~no_net & (qty != 0)), too_large)
    no_price = no_price & (no_net | (qty == 0))
    cells.refuse_all(too_large, worth, "comes to a million million or more")
    return Amounts(qty, price, no_price, discount, net, returned)


def _products(qty: Int64s, price: Int64s, discount: Int64s) -> tuple[Int64s, Bools]:
    """quantity x price - discount, rounded half to even, and where it does not fit."""
    net = np.zeros(len(qty), np.int64)
    large = np.zeros(len(qty), np.bool_)
    small = np.abs(qty.astype(np.float64) * price.astype(np.float64)) < _EXACT
    product = qty[small] * price[small]
    whole, rest = np.divmod(product, MICRO)
    whole += (2 * rest > MICRO) | ((2 * rest == MICRO) & (whole % 2 != 0))
    net[small] = whole - discount[small]
    for row in np.flatnonzero(~small):
        net[row], large[row] = _fitting(
            rounded(int(qty[row]) * int(price[row]), MICRO) - int(discount[row])
        )
    large |= np.abs(net) >= LIMIT
    net[large] = 0
    return net, large


def _prices(
    qty: Int64s, price: Int64s, discount: Int64s, net: Int64s, rows: Int64s, too_large: Bools
) -> None:
    """Unit prices from totals, in place: (total + discount) / quantity, rounded half to even."""
    known: dict[tuple[int, int], tuple[int, bool]] = {}
    gross = (net[rows] + discount[rows]).tolist()
    for row, amount, count in zip(rows.tolist(), gross, qty[rows].tolist(), strict=True):
        found = known.get((amount, count))
        if found is None:
            found = known[amount, count] = _fitting(rounded(amount * MICRO, count))
        price[row], too_large[row] = found


def _fitting(value: int) -> tuple[int, bool]:
    return (0, True) if abs(value) >= LIMIT else (value, False)


def rounded(numerator: int, denominator: int) -> int:
    """Quotient rounded half to even, as book-keepers and IEEE do."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    whole, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole % 2):
        whole += 1
    return whole
