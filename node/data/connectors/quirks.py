"""What a table of names cannot say: one small function for each habit of a till.

Each works on one stretch in place and keeps nothing but what stands in ``made.memory``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from node.data.columns import Role
from node.data.connectors.amounts import shown, spread
from node.data.connectors.arrays import by_distinct, repeated, texts
from node.data.connectors.made import Made
from node.data.connectors.moments import payments, square_moments
from node.data.connectors.orders import REFUND
from node.data.values import Unreadable, number

MAX_ITEMS: Final = 500  # of one order in one cell

# --- several goods in one cell -----------------------------------------------------------------

# "2× Tea, 1× Cup": the sign of the first one counts, for a product may be named "Box, 2 x Tea".
_BETWEEN = {sign: re.compile(rf",\s+(?=-?[0-9]+(?:[.,][0-9]+)?\s*{sign}\s)") for sign in ("×", "x")}
_ITEM = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\s*([×x])\s+(.+)", re.DOTALL)
_ITEMS_END: Final = "\x1e"  # between cells that are read as one; blank to ``str.strip``
Item = Mapping[Role, str]


def woo_products(made: Made) -> None:
    """``2× Tea, 1× Cup`` becomes a line for each product; the order's net is shared by quantity."""
    _split(made, made.role(Role.PRODUCT), _listed, none="0")
    back = pc.match_substring_regex(made.role(Role.TOTAL), "^\\s*-")
    made.roles[Role.KIND] = pc.if_else(back, REFUND, made.role(Role.KIND))


def _listed(text: str, net: str) -> list[Item]:
    items = []
    first = _ITEM.fullmatch(text.strip())
    between = _BETWEEN["x" if first is not None and first[2] == "x" else "×"]
    for part in between.split(text.strip()):
        match = _ITEM.fullmatch(part.strip())
        if match is None:
            raise Unreadable(f"{part[:40]!r} is not a product; expected one such as 2× Tea")
        items.append((match[1], match[3]))
    weights = [abs(number(qty, ".")) for qty, _ in items]
    amount = number(net, ".") if net.strip() else 0
    shares = spread(abs(amount), weights) if sum(weights) else [0] * len(items)
    sign = -1 if amount < 0 else 1
    return [
        {
            Role.PRODUCT: name,
            Role.QUANTITY: f"-{qty.lstrip('-')}" if amount < 0 else qty,
            Role.TOTAL: shown(sign * share) if net.strip() else "",
        }
        for (qty, name), share in zip(items, shares, strict=True)
    ]


def woo_line_items(made: Made) -> None:
    """``name:Tea|sku:T1|quantity:2|total:9.00`` in line_item columns becomes a line for each."""
    columns = [made.cells[name] for name in sorted(made.cells, key=_numbered)
               if name.startswith("line_item")]  # fmt: skip
    if columns:
        joined = pc.binary_join_element_wise(*columns, _ITEMS_END)
        made.roles[Role.TOTAL] = _goods_only(made)
        _split(made, joined, _described, none="1")
    else:
        made.roles[Role.TOTAL] = _goods_only(made)
        made.roles[Role.QUANTITY] = repeated("1", made.count)


def _goods_only(made: Made) -> pa.StringArray:
    """What an order came to without taxes, shipping and fees; unreadable amounts stay as they are,
    so that the converter sets the row aside."""
    columns = [made.role(Role.TOTAL)]
    columns += [
        made.cells[n] for n in ("tax_total", "shipping_total", "fee_total") if n in made.cells
    ]
    return by_distinct(pc.binary_join_element_wise(*columns, "\x1f"), _rest)


def _rest(amounts: str) -> str:
    total, *others = amounts.split("\x1f")
    try:
        less = sum(number(text, ".") for text in others if text.strip())
        return shown(number(total, ".") - less)
    except Unreadable:
        return (
            total if not total.strip() else f"{total.strip()} (with taxes or shipping unreadable)"
        )


def _numbered(name: str) -> tuple[int, str]:
    digits = name.rpartition("_")[2]
    return (int(digits) if digits.isdigit() and len(digits) < 6 else 0, name)


def _described(text: str, _: str) -> list[Item]:
    out: list[Item] = []
    for one in filter(str.strip, re.split(f"[{_ITEMS_END};]", text)):
        said = dict(pair.split(":", 1) for pair in one.split("|") if ":" in pair)
        said = {name.strip().lower(): value.strip() for name, value in said.items()}
        if "quantity" not in said or "total" not in said:
            raise Unreadable(
                f"{one[:40]!r} is not a line item; expected one such as "
                "name:Tea|sku:T1|quantity:2|total:9.00"
            )
        out.append(
            {
                Role.PRODUCT: said.get("name", ""),
                Role.SKU: said.get("sku", ""),
                Role.QUANTITY: said["quantity"],
                Role.TOTAL: said["total"],
                Role.DISCOUNT: _taken_off(said),
            }
        )
    return out


def _taken_off(said: Mapping[str, str]) -> str:
    before = said.get("sub_total", said.get("subtotal", ""))
    return shown(number(before, ".") - number(said["total"], ".")) if before else ""


def _split(
    made: Made, cells: pa.StringArray, parse: Callable[[str, str], list[Item]], none: str
) -> None:
    """Each row becomes one row for each item of its cell; with a blank cell it counts ``none``."""
    nets = made.role(Role.TOTAL).to_pylist()
    items: list[Item] = []
    source: list[int] = []
    for row, (text, net) in enumerate(zip(cells.to_pylist(), nets, strict=True)):
        try:
            found = parse(text, net) if text.strip() else [{Role.QUANTITY: none}]
            if len(found) > MAX_ITEMS:
                raise Unreadable(f"holds {len(found)} goods; expected at most {MAX_ITEMS}")
        except Unreadable as error:
            made.set_aside([row], "product(s)", str(error))
            continue
        items += found
        source += [row] * len(found)
    made.repeat(np.asarray(source, np.int64))
    changed = {role for item in items for role in item} | {Role.QUANTITY}
    for role in sorted(changed):
        old = made.role(role).to_pylist()
        made.roles[role] = texts(
            [item.get(role, before) for item, before in zip(items, old, strict=True)]
        )


# --- stock -------------------------------------------------------------------------------------

# Before the key of a column that is a place; no key of a header has capital letters.
PLACE: Final = "PLACE:"
NOT_STOCKED: Final = frozenset({"not stocked", ""})


def stock_by_place(made: Made) -> None:
    """One column for each place becomes one row for each place."""
    places = sorted((name for name in made.cells if name.startswith(PLACE)), key=made.places.get)  # type: ignore[arg-type]
    if not places:
        return
    count = made.count
    amounts = [made.cells[name].to_pylist() for name in places]
    names = [made.memory[name] for name in places]
    made.repeat(np.repeat(np.arange(count), len(places)))
    made.roles[Role.LOCATION] = texts(names * count)
    on_hand = [amounts[place][row] for row in range(count) for place in range(len(places))]
    made.roles[Role.ON_HAND] = texts(on_hand)
    kept = np.array([text.strip().casefold() not in NOT_STOCKED for text in on_hand], np.bool_)
    if not kept.all():
        made.left_out["not kept at this place"] += int((~kept).sum())
        made.keep(kept)


QUIRKS: Final[Mapping[str, Callable[[Made], None]]] = {
    "square-moments": square_moments,
    "payments": payments,
    "woo-products": woo_products,
    "woo-line-items": woo_line_items,
    "stock-by-place": stock_by_place,
}
