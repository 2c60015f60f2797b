"""One pass over one file with a layout: whole orders together, rules first, then roles.

However a file is cut into stretches, the same rows come out: an order whose last row may not have
been seen yet is held back until the next stretch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from node.data.batch import BadRow, RoleBatch, TextBatch
from node.data.columns import Role
from node.data.connectors.amounts import major, shown
from node.data.connectors.arrays import (
    Bools,
    Int64s,
    blank,
    by_distinct,
    filled_from_above,
    first_filled,
    orders_marked,
    repeated,
    shows_amount,
    starts_of,
    unguarded,
)
from node.data.connectors.layout import Layout, Orders, Returns, Rule, key
from node.data.connectors.made import Cells, Made
from node.data.connectors.orders import REFUND, Numbers, settle
from node.data.connectors.quirks import QUIRKS
from node.data.values import Unreadable, decimal_sign_of, number
from protocols.errors import InputError

MAX_ORDER_ROWS: Final = 20_000
MAX_CATEGORY: Final = 120  # characters, as the converter takes them
_CODES: Final = (Role.ORDER, Role.SKU, Role.CUSTOMER, Role.COUNTRY, Role.REGION)
# Tables whose rows mean nothing without this, and why such a row is left out.
_NAMED_BY: Final = {
    "customer": (Role.CUSTOMER, "names no customer by a number, an e-mail address or a phone"),
    "stock": (Role.SKU, "no SKU"),
}
_MONEY: Final = (Role.UNIT_PRICE, Role.DISCOUNT, Role.TOTAL)
_COMMA_DECIMALS: Final = ",[0-9]{1,2}[^0-9]*$"
_MOMENT: Final = (Role.ORDER, Role.DATE, Role.TIME)
_MOMENT_QUIRKS: Final = ("payments", "square-moments")
TWICE: Final = "this order stands in the file twice and not the same; keep the newer one"
AGAIN: Final = "the same order again"
_KEEP, _BAD = 0, 1


class LayoutPass:
    """Reads one file, stretch by stretch.

    Args:
        layout: the format.
        names: key of the layout -> header as written in this file.
        places: key -> place of that column, from 1.
        said: what the member said: ``date_order``, ``currency``, ``as_of``; may be empty.
    """

    def __init__(
        self,
        layout: Layout,
        names: Mapping[str, str],
        places: Mapping[str, int],
        said: Mapping[str, str],
    ) -> None:
        self._layout = layout
        self._names = names
        self._places = places
        self._memory = dict(said)
        self._numbers = Numbers()
        self._seen: set[int] = set()  # a number for each order, about 60 bytes
        # an old export may not name the order; its rows then stand for themselves
        by = key(layout.orders.by) if layout.orders is not None else ""
        self._orders = layout.orders if by in names else None
        self._named = [by, *map(key, layout.columns.get(Role.DATE, ()))]
        self._held: tuple[Cells, Int64s] | None = None

    def take(self, batch: TextBatch) -> RoleBatch:
        """The next stretch; what belongs to an order that may go on is held back."""
        cells: Cells = {name: batch.columns[text] for name, text in self._names.items()}
        lines = np.asarray(batch.lines, np.int64)
        if self._orders is None:
            return self._made(cells, lines, batch.broken)
        if self._held is not None:
            old, old_lines = self._held
            cells = {name: pa.concat_arrays([old[name], cells[name]]) for name in cells}
            lines = np.concatenate((old_lines, lines))
        starts = starts_of(cells[key(self._orders.by)])
        lengths = np.diff(np.append(starts, len(lines)))
        if len(lengths) and lengths.max() > MAX_ORDER_ROWS:
            raise InputError(
                f"more than {MAX_ORDER_ROWS} rows in a row have the same "
                f"{self._names[key(self._orders.by)].strip()!r}; no order has that many.",
                where=f"line {lines[starts[lengths.argmax()]]}",
                fix="Sort nothing and change nothing in the export, or read the file with a "
                "mapping of its own: coop-node mapping new FILE.csv",
            )
        cut = int(starts[-1]) if len(starts) else 0
        self._held = ({n: a.slice(cut) for n, a in cells.items()}, lines[cut:])
        return self._made({n: a.slice(0, cut) for n, a in cells.items()}, lines[:cut], batch.broken)

    def finish(self) -> RoleBatch | None:
        """The last order."""
        if self._held is None or not len(self._held[1]):
            return None
        cells, lines = self._held
        self._held = None
        return self._made(cells, lines)

    # --- one stretch of whole orders --------------------------------------------------------

    def _made(self, cells: Cells, lines: Int64s, broken: tuple[BadRow, ...] = ()) -> RoleBatch:
        layout, orders = self._layout, self._orders
        made = self._orders_of(cells, lines, broken)
        cells, lines, starts = made.cells, made.lines, made.starts
        for rule in layout.rules:
            _apply(rule, made)
        gone = self._gone(cells, lines, starts, made) if layout.replaces else None
        made.roles = self._roles(made)
        if layout.table in _NAMED_BY:
            role, reason = _NAMED_BY[layout.table]
            nameless = blank(made.role(role))
            if nameless.any():
                made.left_out[reason] += int(nameless.sum())
                made.keep(~nameless)
        _to_points(made, layout, orders)
        if layout.formats.unit == "minor":
            _to_major(made, self._memory.get("currency", "") or layout.formats.currency, orders)
        if layout.quirk:
            QUIRKS[layout.quirk](made)
        if orders is not None:
            settle(made, orders, self._numbers)
        if layout.by_product and Role.PRODUCT in made.roles:
            made.roles[Role.CATEGORY] = by_distinct(made.roles[Role.PRODUCT], _without_variant)
        for role in _CODES:
            if role in made.roles:
                made.roles[role] = unguarded(made.roles[role])
        return replace(made.batch(), gone=gone)

    def _orders_of(self, cells: Cells, lines: Int64s, broken: tuple[BadRow, ...]) -> Made:
        """A stretch with its orders known and filled from above, each of them once.

        Two exports that overlap and were put one under the other have many orders twice, cell by
        cell the same; only the first of them counts. One that changed is set aside.
        """
        starts, out = np.zeros(0, np.int64), list(broken)
        if self._orders is not None:
            starts = starts_of(cells[key(self._orders.by)])
            for name in map(key, self._orders.fill):
                if name in cells and len(lines):
                    cells[name] = filled_from_above(cells[name], starts)
        made = Made({}, cells, lines, starts, self._places, self._memory, out)
        if self._orders is None or not self._layout.replaces or not len(starts):
            return made
        lengths = np.diff(np.append(starts, len(lines)))
        again = np.repeat(self._known(orders_marked(cells, starts)), lengths)
        other = np.zeros(len(lines), np.bool_)
        if self._orders.fill or self._layout.quirk == "payments":
            # its number and moment are known, but not with these cells: which is the newer one?
            at = pa.array(starts)
            named = {name: cells[name].take(at) for name in self._named if name in cells}
            other = np.repeat(self._known(orders_marked(named, np.arange(len(starts)))), lengths)
            other &= ~again
            made.set_aside(np.flatnonzero(other), key(self._orders.by), TWICE)
        if not (again.any() or other.any()):
            return made
        made.keep(~(again | other))
        once = Made({}, made.cells, made.lines, made.starts, self._places, self._memory, made.bad)
        once.left_out[AGAIN] = int(again.sum())
        return once

    def _known(self, marks: list[int]) -> Bools:
        """Which marks were seen before; all of them are from now on."""
        out = np.zeros(len(marks), np.bool_)
        for at, mark in enumerate(marks):
            out[at] = mark in self._seen
            self._seen.add(mark)
        return out

    def _gone(self, cells: Cells, lines: Int64s, starts: Int64s, made: Made) -> RoleBatch | None:
        """Orders that the rules leave out whole: their numbers and moments, one row each.

        An order with a row that was set aside is not among them: nobody knows what it says.
        """
        if made.count == len(lines):
            return None
        first = starts if self._orders is not None else np.arange(len(lines))
        there = np.zeros(len(lines), np.bool_)
        there[made.rows] = True
        there[made.aside] = True
        rows = first[~np.logical_or.reduceat(there, first)]
        if not len(rows):
            return None
        at = pa.array(rows)
        out = Made({}, {name: array.take(at) for name, array in cells.items()}, lines[rows],
                   np.arange(len(rows)), self._places, self._memory)  # fmt: skip
        out.roles = {r: array for r, array in self._roles(out).items() if r in _MOMENT}
        if self._layout.quirk in _MOMENT_QUIRKS:
            QUIRKS[self._layout.quirk](out)
        out.roles[Role.ORDER] = unguarded(out.role(Role.ORDER))
        return RoleBatch({role: out.role(role) for role in out.roles if role in _MOMENT}, out.lines)

    def _roles(self, made: Made) -> dict[Role, pa.StringArray]:
        out = {}
        for role, names in self._layout.columns.items():
            found = [made.cells[key(name)] for name in names if key(name) in made.cells]
            if found:
                out[role] = first_filled(found)
        for role, text in self._layout.constants.items():
            out.setdefault(role, repeated(text, made.count))
        if self._layout.returns is not None:
            out[Role.KIND] = _kinds(self._layout.returns, made)
        return out


def _without_variant(product: str) -> str:
    """``Tea - 200 g`` is Tea; without a variant the product as it is, as long as a category is."""
    name, _, _ = product.strip().rpartition(" - ")
    return (name.strip() or product.strip())[:MAX_CATEGORY]


def _kinds(returns: Returns, made: Made) -> pa.StringArray:
    cells = made.cells.get(key(returns.column))
    if cells is None:
        return repeated("", made.count)
    return by_distinct(cells, lambda t: REFUND if t.strip().casefold() in returns.values else "")


def _apply(rule: Rule, made: Made) -> None:
    """Leave out or set aside the rows that a rule is about."""
    cells = made.cells.get(key(rule.column))
    if cells is None or not made.count:
        return
    for reason, out in ((rule.filled, ~blank(cells)), (rule.zero, ~shows_amount(cells))):
        if reason:
            if out.any():
                made.left_out[reason] += int(out.sum())
            made.keep(~out)
            return
    encoded = cells.dictionary_encode()
    verdicts = ["", ""]  # keep, bad, then reasons
    known: dict[str, int] = {}
    codes = []
    for text in encoded.dictionary.to_pylist():
        verdict = _verdict(rule, text.strip().casefold())
        if verdict in ("keep", "bad"):
            codes.append(_KEEP if verdict == "keep" else _BAD)
            continue
        if verdict not in known:
            known[verdict] = len(verdicts)
            verdicts.append(verdict)
        codes.append(known[verdict])
    per_row = np.asarray(codes, np.int64)[encoded.indices.to_numpy()]
    made.left_out.update(_counts(per_row, verdicts))
    for row in np.flatnonzero(per_row == _BAD):
        shown = cells[int(row)].as_py().strip()[:40]
        made.set_aside(
            [int(row)],
            key(rule.column),
            f"{rule.column!r}: {shown!r} is not a known value; expected one of "
            f"{', '.join(sorted(filter(None, rule.keep)))}",
        )
    made.keep(per_row == _KEEP)


def _verdict(rule: Rule, value: str) -> str:
    if value in rule.leave_out:
        return rule.leave_out[value]
    if value in rule.keep:
        return "keep"
    return rule.other


def _counts(per_row: Int64s, verdicts: list[str]) -> Counter[str]:
    counts = np.bincount(per_row, minlength=len(verdicts)).tolist()
    return Counter({why: n for why, n in zip(verdicts[2:], counts[2:], strict=True) if n})


def _held(orders: Orders | None) -> list[str]:
    """Keys of the columns with an amount of a whole order."""
    if orders is None:
        return []
    return list(map(key, (orders.discount, orders.subtotal, orders.total, orders.refund)))


def _to_points(made: Made, layout: Layout, orders: Orders | None) -> None:
    """Amounts that a spreadsheet saved again with decimal commas, where the format has points.

    Only a cell such as 12,50 or 1.234,50 is changed, which has no other reading.
    """
    if layout.formats.decimal != ".":
        return
    for role in (*_MONEY, Role.QUANTITY, Role.ON_HAND, Role.INCOMING):
        if role in made.roles:
            made.roles[role] = _with_points(made.roles[role])
    for name in _held(orders):
        if name in made.cells:
            made.cells[name] = _with_points(made.cells[name])


def _with_points(array: pa.StringArray) -> pa.StringArray:
    if not pc.any(pc.match_substring_regex(array, _COMMA_DECIMALS)).as_py():
        return array
    return by_distinct(array, _with_point)


def _with_point(text: str) -> str:
    if decimal_sign_of(text) != ",":
        return text
    try:
        return shown(number(text, ","))
    except Unreadable:
        return text


def _to_major(made: Made, fallback: str, orders: Orders | None) -> None:
    """Amounts in a currency's smallest unit become ordinary ones."""
    money = made.roles.get(Role.CURRENCY, repeated(fallback, made.count))
    for name in _held(orders):
        if name in made.cells:
            pairs = pc.binary_join_element_wise(made.cells[name], money, "\x1f")
            made.cells[name] = by_distinct(pairs, _major)
    for role in _MONEY:
        if role in made.roles:
            pairs = pc.binary_join_element_wise(made.roles[role], money, "\x1f")
            made.roles[role] = by_distinct(pairs, _major)


def _major(pair: str) -> str:
    amount, _, currency = pair.partition("\x1f")
    try:
        return major(amount, currency)
    except Unreadable:
        # no number for the converter either, so that the row is set aside with its reason
        return f"{amount.strip()} (smallest unit of {currency.strip() or 'no currency'})"
