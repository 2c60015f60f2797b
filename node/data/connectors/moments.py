"""Moments as tills print them: names of zones, orders of day and month, seconds since 1970."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from node.data.columns import Role
from node.data.connectors.arrays import Bools, blank, by_distinct, chosen, texts
from node.data.connectors.made import Made
from node.data.connectors.orders import REFUND
from node.data.connectors.zones import zone_of
from node.data.values import ORDERS, DateOrder, day_readings, split_moment
from protocols.errors import InputError


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
        raise InputError(
            "the days of this file are written in two orders: some are day, month, year and some "
            "month, day, year.",
            where="--date-order",
            fix="Export the file again in one go, or split it into a file of each order.",
        )
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
