"""What a table of names cannot say: one small function for each habit of a till.

Each works on one stretch in place and keeps nothing but what stands in ``made.memory``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from node.data.columns import Role
from node.data.connectors.amounts import shown, spread
from node.data.connectors.arrays import Bools, blank, by_distinct, chosen, repeated, texts
from node.data.connectors.made import Made
from node.data.connectors.orders import REFUND
from node.data.connectors.zones import zone_of
from node.data.values import ORDERS, DateOrder, Unreadable, day_readings, number, split_moment
from protocols.errors import InputError

MAX_ITEMS: Final = 500  # of one order in one cell

# --- moments -----------------------------------------------------------------------------------


def square_moments(made: Made) -> None:
    """Day, time and the name of a zone become one moment with a printed offset.

    The days of a file stand in one order; if its first stretch can be read in two, the member has
    to say which (``--date-order``).
    """
    if not made.count:
        return
    days = made.role(Role.DATE)
    order = _order_of(made, days)
    days = by_distinct(days, lambda text: _iso(text, order))
    clock = made.roles.pop(Role.TIME, None)
    if clock is not None:
        zones = made.cells.get("time zone")
        joined = pc.binary_join_element_wise(days, pc.utf8_trim_whitespace(clock), " ")
        days = chosen(blank(clock), days, joined)
    made.roles[Role.DATE] = days
    if clock is not None and zones is not None:
        offsets, known = _offsets(made, days, zones)
        joined = pc.binary_join_element_wise(days, offsets, " ")
        made.roles[Role.DATE] = chosen(blank(offsets), days, joined)
        made.keep(known)


def _order_of(made: Made, days: pa.StringArray) -> DateOrder:
    if "order" not in made.memory:
        said = made.memory.get("date_order", "")
        made.memory["order"] = said or _decided(pc.unique(days).to_pylist())
    found = made.memory["order"]
    return next(order for order in ORDERS if order == found)


def _decided(days: Sequence[str]) -> DateOrder:
    readable = [readings for readings in map(day_readings, days) if readings]
    fitting = [order for order in ORDERS if all(order in readings for readings in readable)]
    two = [r for r in readable if len({r[order] for order in fitting}) > 1]
    if not two and fitting:
        return fitting[0]
    if not fitting:
        return max(ORDERS, key=lambda order: sum(order in readings for readings in readable))
    example = two[0]
    both = " or ".join(f"{example[order]:%d %B %Y} ({order})" for order in fitting)
    raise InputError(
        f"the days of this file can be read in two ways: one of them is {both}.",
        where="--date-order",
        fix=f"Say which one: {' or '.join(f'--date-order {order}' for order in fitting)}",
    )


def _iso(text: str, order: DateOrder) -> str:
    day_text, time_text = split_moment(text)
    day = day_readings(day_text).get(order)
    return text if day is None else f"{day.isoformat()} {time_text}".strip()


def _offsets(
    made: Made, moments: pa.StringArray, zones: pa.StringArray
) -> tuple[pa.StringArray, Bools]:
    """Printed offsets such as -04:00, "" where no zone is named; and where a zone is known.

    A row whose zone nobody knows is set aside rather than read in another zone.
    """
    good = np.ones(made.count, np.bool_)
    names = zones.dictionary_encode()
    indices = names.indices.to_numpy()
    out = np.full(made.count, "", object)
    for code, name in enumerate(names.dictionary.to_pylist()):
        if not name.strip():
            continue
        rows = np.flatnonzero(indices == code)
        zone = zone_of(name)
        if zone is None:
            good[rows] = False
            made.set_aside(
                rows,
                "time zone",
                f"'Time Zone': {name.strip()[:60]!r} is not a time zone that is known; expected a "
                "name such as Eastern Time (US & Canada) or America/New_York",
            )
        else:
            out[rows] = _offsets_in(zone, moments.take(pa.array(rows)))
    return texts(out.tolist()), good


def _offsets_in(zone: ZoneInfo, moments: pa.StringArray) -> list[str]:
    encoded = moments.dictionary_encode()
    whole_day: dict[str, str] = {}
    distinct = []
    for text in encoded.dictionary.to_pylist():
        day = text[:10]
        if day not in whole_day:
            whole_day[day] = _offset_of_day(day, zone)
        distinct.append(whole_day[day] or _offset_at(text, zone))
    return [distinct[code] for code in encoded.indices.to_pylist()]


def _offset_of_day(day: str, zone: ZoneInfo) -> str:
    """The offset if it holds all day long, else ""."""
    try:
        first = datetime.combine(date.fromisoformat(day), time(), zone)
    except ValueError:
        return ""
    last = first.replace(hour=23, minute=59, second=59)
    return _printed(first) if first.utcoffset() == last.utcoffset() else ""


def _offset_at(text: str, zone: ZoneInfo) -> str:
    for form in (
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d %I:%M:%S %p",
        "%Y-%m-%d %I:%M %p",
    ):
        try:
            return _printed(datetime.strptime(text, form).replace(tzinfo=zone))
        except ValueError:
            continue
    return ""  # no moment: the converter refuses the row with its own words


def _printed(moment: datetime) -> str:
    offset = moment.utcoffset() or timedelta()
    minutes = offset // timedelta(minutes=1)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


# --- payments ----------------------------------------------------------------------------------

_EPOCH = re.compile(r"[0-9]{9,10}")
_HAS_OFFSET = re.compile(r"(?:Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})$")


def payments(made: Made) -> None:
    """Payments name no goods: a payment counts 1, what is given back 0; moments without a zone
    (and seconds since 1970) are in UTC, unless the file has a column that names the zone."""
    if Role.KIND in made.roles:
        back = pc.equal(made.roles[Role.KIND], REFUND)
        made.roles[Role.QUANTITY] = pc.if_else(back, "0", made.role(Role.QUANTITY))
    if "time zone" in made.cells:
        square_moments(made)
    else:
        made.roles[Role.DATE] = by_distinct(made.role(Role.DATE), _in_utc)


def _in_utc(text: str) -> str:
    clean = text.strip()
    if _EPOCH.fullmatch(clean):
        return datetime.fromtimestamp(int(clean), UTC).strftime("%Y-%m-%d %H:%M:%S +00:00")
    if not split_moment(clean)[1] or _HAS_OFFSET.search(clean):
        return clean
    return f"{clean} +00:00"


# --- several goods in one cell -----------------------------------------------------------------

_BETWEEN = re.compile(r",\s+(?=-?[0-9]+(?:[.,][0-9]+)?\s*[×x]\s)")
_ITEM = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\s*[×x]\s+(.+)", re.DOTALL)
_ITEMS_END: Final = "\x1e"  # between cells that are read as one; blank to ``str.strip``
Item = Mapping[Role, str]


def woo_products(made: Made) -> None:
    """``2× Tea, 1× Cup`` becomes a line for each product; the order's net is shared by quantity."""
    _split(made, made.role(Role.PRODUCT), _listed, none="0")
    back = pc.match_substring_regex(made.role(Role.TOTAL), "^\\s*-")
    made.roles[Role.KIND] = pc.if_else(back, REFUND, made.role(Role.KIND))


def _listed(text: str, net: str) -> list[Item]:
    items = []
    for part in _BETWEEN.split(text.strip()):
        match = _ITEM.fullmatch(part.strip())
        if match is None:
            raise Unreadable(f"{part[:40]!r} is not a product; expected one such as 2× Tea")
        items.append((match[1], match[2]))
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
