"""Amounts that a till prints once for a whole order: discounts spread, refunds as lines.

All in whole millionths and exactly: the discounts of an order's lines add up to the order's, and
what is given back is never more than the goods came to. Only orders that have such an amount are
looked at, all of a stretch at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from node.data.columns import Role
from node.data.connectors.amounts import CENT, read, rounded, shown, spread
from node.data.connectors.arrays import (
    Bools,
    Int64s,
    blank,
    chosen,
    repeated,
    shows_amount,
    texts,
)
from node.data.connectors.layout import Orders, key
from node.data.connectors.made import Made
from node.data.values import MICRO, Unreadable

REFUND: Final = "refund"
MAX_REMEMBERED: Final = 200_000
_EXACT: Final = 2.0**62  # products below this are exact in int64


@dataclass(slots=True)
class Numbers:
    """Texts as whole millionths; every distinct text of a file is read once."""

    memory: dict[str, int | Unreadable] = field(default_factory=dict)

    def value(self, text: str) -> int | Unreadable:
        """A blank cell counts as nothing; what is no number comes back as the reason why."""
        found = self.memory.get(text)
        if found is None:
            if len(self.memory) > MAX_REMEMBERED:
                self.memory.clear()
            try:
                found = read(text) or 0
            except Unreadable as error:
                found = error
            self.memory[text] = found
        return found


@dataclass(slots=True)
class _Column:
    """A column at some rows: whole millionths int64 (K,), where it is blank, and what is wrong."""

    values: Int64s
    empty: Bools
    wrong: dict[int, str]


@dataclass(frozen=True, slots=True)
class _Groups:
    """K rows of G orders: the rows, each row's order, and each order's first place among them."""

    rows: Int64s
    order: Int64s
    first: Int64s

    def sums(self, values: Int64s) -> Int64s:
        """Per order; int64 (G,)."""
        return np.add.reduceat(values, self.first)


def settle(made: Made, orders: Orders, numbers: Numbers) -> None:
    """Spread the discount of each order over its lines and add a line for what was refunded."""
    if not (orders.discount or orders.refund):
        return
    for role in (Role.KIND, Role.TOTAL, Role.DISCOUNT):
        made.roles.setdefault(role, repeated("", made.count))
    if not made.count:
        return
    touched = _shows(made, orders.discount) | _shows(made, orders.refund)
    if not touched.any():
        return
    groups = _groups(made, touched)
    # the order's own amount on its first row, or the lines' own amounts that are summed up
    once = bool(orders.discount) and key(orders.discount) in set(map(key, orders.fill))
    columns = {role: _column(made.roles.get(role), groups, numbers)
               for role in (Role.QUANTITY, Role.UNIT_PRICE, Role.TOTAL, Role.DISCOUNT)}  # fmt: skip
    level = {
        name: _column(made.cells.get(key(name)) if name else None, groups, numbers)
        for name in (orders.discount, orders.subtotal, orders.total, orders.refund)
    }
    bad = _wrong_orders(made, orders, groups, [*columns.values(), *level.values()])
    own = np.abs(columns[Role.DISCOUNT].values) if once or not orders.discount else 0
    gross = _worths(columns)
    bad |= _beyond_counting(made, orders, groups, gross, bad)
    gross = np.where(bad[groups.order], 0, gross)
    worth = np.maximum(gross - np.where(columns[Role.TOTAL].empty, own, 0), 0)
    goods = groups.sums(worth)
    said = _said(level, orders, groups, goods, once)
    off = np.where(bad, 0, np.minimum(said, goods))
    shares = _spread(off, worth, goods, groups)
    refunds = np.where(bad, 0, _refunds(level, orders, groups, goods - off))
    spread_now = (said > 0) & ~bad if orders.discount else np.zeros(len(bad), np.bool_)
    _write_discounts(made, groups, spread_now, shares + (own if once else 0))
    kept = np.ones(made.count, np.bool_)
    kept[groups.rows[bad[groups.order]]] = False
    kept = _write_refunds(made, groups, refunds, kept)
    made.keep(kept)


def _shows(made: Made, name: str) -> Bools:
    """For each order whether a column shows any amount but zero."""
    cells = made.cells.get(key(name)) if name else None
    if cells is None:
        return np.zeros(len(made.starts), np.bool_)
    return np.logical_or.reduceat(shows_amount(cells), made.starts)


def _groups(made: Made, touched: Bools) -> _Groups:
    lengths = np.diff(np.append(made.starts, made.count))
    rows = np.flatnonzero(np.repeat(touched, lengths))
    lengths = lengths[touched]
    first = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    return _Groups(rows, np.repeat(np.arange(len(lengths)), lengths), first)


def _column(array: pa.StringArray | None, groups: _Groups, numbers: Numbers) -> _Column:
    count = len(groups.rows)
    if array is None:
        return _Column(np.zeros(count, np.int64), np.ones(count, np.bool_), {})
    part = array.take(pa.array(groups.rows))
    encoded = part.dictionary_encode()
    read_once = [numbers.value(text) for text in encoded.dictionary.to_pylist()]
    indices = encoded.indices.to_numpy()
    values = np.array([0 if isinstance(v, Unreadable) else v for v in read_once], np.int64)
    odd = {code: str(v) for code, v in enumerate(read_once) if isinstance(v, Unreadable)}
    wrong = {}
    if odd:
        wrong = {int(at): odd[int(indices[at])] for at in np.flatnonzero(np.isin(indices, [*odd]))}
    return _Column(values[indices], blank(part), wrong)


def _wrong_orders(made: Made, orders: Orders, groups: _Groups, columns: list[_Column]) -> Bools:
    """Orders with an amount that is no number; all their rows are set aside."""
    bad = np.zeros(len(groups.first), np.bool_)
    for column in columns:
        for at, problem in column.wrong.items():
            order = int(groups.order[at])
            if not bad[order]:
                bad[order] = True
                made.set_aside(
                    groups.rows[groups.order == order],
                    key(orders.discount or orders.refund),
                    f"an amount of this order cannot be read: {problem}",
                )
    return bad


def _beyond_counting(
    made: Made, orders: Orders, groups: _Groups, gross: Int64s, bad: Bools
) -> Bools:
    """Orders whose lines come to more than 62 bits hold; they are set aside."""
    huge = np.add.reduceat(np.abs(gross.astype(np.float64)), groups.first) >= _EXACT
    for order in np.flatnonzero(huge & ~bad):
        made.set_aside(
            groups.rows[groups.order == order],
            key(orders.discount or orders.refund),
            "the lines of this order come to a million million or more",
        )
    return huge


def _worths(columns: dict[Role, _Column]) -> Int64s:
    """What each line came to before its discount: the total, else quantity x price."""
    qty, price = columns[Role.QUANTITY].values, columns[Role.UNIT_PRICE].values
    whole, part = np.divmod(qty, MICRO)
    gross = whole * price
    large = np.abs(whole.astype(np.float64) * price) >= _EXACT
    for at in np.flatnonzero((part != 0) | large):
        exact = rounded(int(qty[at]) * int(price[at]), MICRO)
        gross[at] = max(-int(_EXACT), min(exact, int(_EXACT)))
    total = columns[Role.TOTAL]
    return np.where(total.empty, gross, total.values)


def _said(
    level: dict[str, _Column], orders: Orders, groups: _Groups, goods: Int64s, once: bool
) -> Int64s:
    """What of each order's discount was for the goods: the subtotal settles it if it can."""
    amounts = np.abs(level[orders.discount].values)
    if not orders.discount:
        return np.zeros(len(goods), np.int64)
    said = amounts[groups.first] if once else groups.sums(amounts)
    subtotal = level[orders.subtotal]
    missing = goods - subtotal.values[groups.first]
    settled = ~subtotal.empty[groups.first] & (missing >= 0) & (missing <= said)
    return np.where(settled, missing, said)


def _refunds(level: dict[str, _Column], orders: Orders, groups: _Groups, goods: Int64s) -> Int64s:
    """What was given back for goods: all of it if all that was paid went back."""
    if not orders.refund:
        return np.zeros(len(goods), np.int64)
    amount = np.abs(level[orders.refund].values[groups.first])
    paid = level[orders.total]
    everything = ~paid.empty[groups.first] & (amount >= paid.values[groups.first]) & (amount > 0)
    return np.where(everything, goods, np.minimum(amount, goods))


def _spread(off: Int64s, worth: Int64s, goods: Int64s, groups: _Groups) -> Int64s:
    """Each line's share of its order's discount, as ``amounts.spread``, all orders at once."""
    unit = np.where(off % CENT == 0, CENT, 1)
    units, total = off // unit, np.maximum(goods, 1)
    large = units.astype(np.float64) * total >= _EXACT
    mine = np.where(large, 0, units)[groups.order] * worth
    share, rest = np.divmod(mine, total[groups.order])
    left = np.where(large, 0, units) - groups.sums(share)
    rank = np.lexsort((np.arange(len(rest)), -rest, groups.order))
    place = np.arange(len(rest)) - groups.first[groups.order]
    share[rank] += place < left[groups.order]
    share *= unit[groups.order]
    for order in np.flatnonzero(large):
        rows = np.flatnonzero(groups.order == order)
        share[rows] = spread(int(off[order]), worth[rows].tolist())
    return share


def _write_discounts(made: Made, groups: _Groups, now: Bools, amounts: Int64s) -> None:
    mask = now[groups.order]
    if not mask.any():
        return
    distinct, codes = np.unique(amounts[mask], return_inverse=True)
    words = texts([shown(int(value)) for value in distinct])
    source = np.zeros(made.count, np.int64)
    source[groups.rows[mask]] = codes
    changed = np.zeros(made.count, np.bool_)
    changed[groups.rows[mask]] = True
    spread_out = words.take(pa.array(source))
    made.roles[Role.DISCOUNT] = chosen(changed, spread_out, made.role(Role.DISCOUNT))


def _write_refunds(made: Made, groups: _Groups, refunds: Int64s, kept: Bools) -> Bools:
    """A line behind each order that was given back something; the mask with these lines in it."""
    given = np.flatnonzero(refunds)
    if not len(given):
        return kept
    last = np.append(groups.first[1:], len(groups.rows)) - 1
    after, like = groups.rows[last[given]], groups.rows[groups.first[given]]
    none = [""] * len(given)
    goods = (Role.SKU, Role.PRODUCT, Role.CATEGORY, Role.UNIT_PRICE, Role.DISCOUNT)
    new = {role: none for role in goods if role in made.roles}
    made.insert(
        after,
        like,
        new
        | {
            Role.QUANTITY: ["0"] * len(given),
            Role.TOTAL: [shown(-int(amount)) for amount in refunds[given]],
            Role.KIND: [REFUND] * len(given),
        },
    )
    return np.insert(kept, after + 1, True)
