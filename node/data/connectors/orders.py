"""Amounts that a till prints once for a whole order: discounts spread, refunds as lines.

All in whole millionths and exactly: the discounts of an order's lines add up to the order's, and
what is given back is never more than the goods came to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from node.data.columns import Role
from node.data.connectors.amounts import read, rounded, shown, spread
from node.data.connectors.arrays import Bools, Int64s, chosen, repeated, shows_amount, texts
from node.data.connectors.layout import Orders, key
from node.data.connectors.made import Made
from node.data.values import MICRO, Unreadable

REFUND = "refund"


@dataclass(slots=True)
class _Numbers:
    """Columns of some rows as whole millionths; every distinct text is read once."""

    memory: dict[str, int] = field(default_factory=dict)

    def of(self, array: pa.StringArray | None, rows: Int64s) -> list[str]:
        return array.take(pa.array(rows)).to_pylist() if array is not None else [""] * len(rows)

    def value(self, text: str) -> int:
        """A blank cell counts as nothing.

        Raises:
            Unreadable: not a number.
        """
        if text not in self.memory:
            self.memory[text] = read(text) or 0
        return self.memory[text]


def settle(made: Made, orders: Orders) -> None:
    """Spread the discount of each order over its lines and add a line for what was refunded."""
    if not (orders.discount or orders.refund):
        return
    for role in (Role.KIND, Role.TOTAL, Role.DISCOUNT):
        made.roles.setdefault(role, repeated("", made.count))
    if not made.count:
        return
    starts = made.starts
    ends = np.append(starts[1:], made.count)
    touched = np.flatnonzero(
        _any_in_order(made, orders.discount, starts) | _any_in_order(made, orders.refund, starts)
    )
    if not len(touched):
        return
    rows = np.concatenate([np.arange(starts[g], ends[g]) for g in touched])
    work = _Work(made, orders, rows)
    kept = np.ones(made.count, np.bool_)
    for group in touched:
        first, last = int(starts[group]), int(ends[group])
        try:
            work.order(first, last)
        except Unreadable as error:
            made.set_aside(range(first, last), key(orders.discount or orders.refund), _said(error))
            kept[first:last] = False
    work.write()
    if not kept.all():
        # after ``write``: added lines stand behind the rows that they belong to
        made.keep(work.still_good(kept))


def _said(error: Unreadable) -> str:
    return f"an amount of this order cannot be read: {error}"


def _any_in_order(made: Made, name: str, starts: Int64s) -> Bools:
    """For each order whether a column shows any amount but zero."""
    cells = made.cells.get(key(name)) if name else None
    if cells is None:
        return np.zeros(len(starts), np.bool_)
    return np.logical_or.reduceat(shows_amount(cells), starts)


class _Work:
    """The orders of one stretch that have an amount of their own."""

    def __init__(self, made: Made, orders: Orders, rows: Int64s) -> None:
        self._made = made
        self._orders = orders
        self._at = {int(row): place for place, row in enumerate(rows)}
        self._rows = rows
        self._numbers = _Numbers()
        # the order's own amount on its first row, or the lines' amounts that are summed up
        self._once = key(orders.discount) in set(map(key, orders.fill))
        take = self._numbers.of
        self._qty = take(made.roles.get(Role.QUANTITY), rows)
        self._price = take(made.roles.get(Role.UNIT_PRICE), rows)
        self._total = take(made.roles.get(Role.TOTAL), rows)
        self._off = take(made.roles.get(Role.DISCOUNT), rows)
        self._level = {
            name: take(made.cells.get(key(name)), rows)
            for name in (orders.discount, orders.subtotal, orders.total, orders.refund)
            if name
        }
        self._discounts: dict[int, str] = {}
        self._refunds: list[tuple[int, int, int]] = []  # after row, like row, amount
        self._inserted_after: list[int] = []

    def order(self, first: int, last: int) -> None:
        """Work out one order, rows ``first`` to ``last`` - 1.

        Raises:
            Unreadable: one of its amounts is no number.
        """
        places = [self._at[row] for row in range(first, last)]
        worths = [max(0, self._worth(place)) for place in places]
        goods = sum(worths)
        said = self._discount(places, goods)
        off = min(said, goods)
        given_back = self._refund(places[0], goods - off)
        if said:
            before = [abs(self._numbers.value(self._off[place])) for place in places]
            if not self._once:
                before = [0] * len(places)  # the lines' own column is what is spread
            shares = spread(off, worths) if off else [0] * len(places)
            for row, share, own in zip(range(first, last), shares, before, strict=True):
                self._discounts[row] = shown(share + own)
        if given_back:
            self._refunds.append((last - 1, first, given_back))

    def _worth(self, place: int) -> int:
        value = self._numbers.value
        if self._total[place].strip():
            return value(self._total[place])
        gross = rounded(value(self._qty[place]) * value(self._price[place]), MICRO)
        if self._orders.discount and not self._once:
            return gross
        return gross - abs(value(self._off[place]))

    def _discount(self, places: Sequence[int], goods: int) -> int:
        """What of the order's discount was for the goods: the subtotal settles it if it can."""
        name = self._orders.discount
        if not name:
            return 0
        cells = self._level[name]
        said = (
            abs(self._numbers.value(cells[places[0]]))
            if self._once
            else sum(abs(self._numbers.value(cells[place])) for place in places)
        )
        subtotal = self._level[self._orders.subtotal][places[0]] if self._orders.subtotal else ""
        if subtotal.strip():
            missing = goods - self._numbers.value(subtotal)
            if 0 <= missing <= said:
                return missing
        return said

    def _refund(self, place: int, goods: int) -> int:
        """What was given back for goods: all of it if all that was paid went back."""
        name = self._orders.refund
        if not name:
            return 0
        amount = abs(self._numbers.value(self._level[name][place]))
        paid = self._level[self._orders.total][place] if self._orders.total else ""
        if amount and paid.strip() and amount >= self._numbers.value(paid):
            return goods
        return min(amount, goods)

    def write(self) -> None:
        """Put discounts and refund lines into the stretch."""
        made = self._made
        if self._discounts:
            mask = np.zeros(made.count, np.bool_)
            mask[list(self._discounts)] = True
            new = np.full(made.count, "", object)
            for row, text in self._discounts.items():
                new[row] = text
            made.roles[Role.DISCOUNT] = chosen(mask, texts(new.tolist()), made.role(Role.DISCOUNT))
        if not self._refunds:
            return
        after, like, amounts = zip(*self._refunds, strict=True)
        self._inserted_after = list(after)
        none = [""] * len(after)
        made.insert(
            after,
            like,
            {
                **{
                    role: none
                    for role in (Role.SKU, Role.PRODUCT, Role.CATEGORY, Role.UNIT_PRICE)
                    if role in made.roles
                },
                Role.DISCOUNT: none,
                Role.QUANTITY: ["0"] * len(after),
                Role.TOTAL: [shown(-amount) for amount in amounts],
                Role.KIND: [REFUND] * len(after),
            },
        )

    def still_good(self, kept: Bools) -> Bools:
        """The mask of rows to keep, with the added lines in their places."""
        if not self._inserted_after:
            return kept
        return np.insert(kept, np.asarray(self._inserted_after) + 1, True)
