"""Orders as WooCommerce's REST API (v3, ``/orders``) returns them: a JSON list, saved as a file.

The one nested source: each order holds its lines. It is laid flat, one row a line, under fixed
names such as ``line_items.sku``, and then read like any other export (dialect woo-rest-orders).
Numbers are never made binary: JSON's own text is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from node.data.batch import TextBatch
from node.data.connectors.amounts import shown
from node.data.opened import Header, Rows
from node.data.rawfile import RawFile
from node.data.sniff import SAMPLE_ROWS
from node.data.values import Unreadable, number
from protocols.errors import InputError

_HALF = re.compile(r"[\ud800-\udfff]")
MAX_BYTES: Final = 64_000_000  # of JSON; as values it takes some ten times as much memory
MAX_ROWS: Final = 1_000_000
BATCH_ROWS: Final = 32_768
ORDER: Final = (
    "id",
    "number",
    "status",
    "currency",
    "date_created_gmt",
    "total",
    "customer_id",
    "created_via",
)
HEADER: Final[Header] = (
    *ORDER,
    "billing.email",
    "refunds.total",
    "line_items.name",
    "line_items.sku",
    "line_items.quantity",
    "line_items.total",
    "line_items.discount",
)


@dataclass(slots=True)
class RestTable:
    """Orders laid flat; rows count from 1, in the file's order."""

    name: str
    header: Header
    sample: Rows
    read_as: str
    _raw: RawFile
    _rows: Rows = field(repr=False)
    _done: int = 0
    epoch: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raw.close()

    def batches(self, wanted: Sequence[str]) -> Iterator[TextBatch]:
        """All rows; only the wanted columns become cells."""
        places = [self.header.index(name) for name in wanted]
        for first in range(0, len(self._rows), BATCH_ROWS):
            part = self._rows[first : first + BATCH_ROWS]
            columns = {
                name: pa.array([row[place] for row in part], pa.string())
                for name, place in zip(wanted, places, strict=True)
            }
            self._done = first + len(part)
            yield TextBatch(columns, np.arange(first + 1, first + len(part) + 1))

    def progress(self) -> tuple[int, int]:
        """Rows read, and in all."""
        return self._done, len(self._rows)

    def most_rows(self) -> int:
        """How many rows there are."""
        return self.progress()[1]

    def size_bytes(self) -> int:
        """Size of the file."""
        return self._raw.size_bytes

    def finish(self) -> str:
        """SHA-256 of the file."""
        return self._raw.finish()


@contextmanager
def opened(path: Path) -> Iterator[RestTable]:
    """A JSON file of orders.

    Raises:
        InputError: too large, no JSON, or no list of orders.
    """
    raw = RawFile(path)
    try:
        if raw.size_bytes > MAX_BYTES:
            raise InputError(
                f"the file has {raw.size_bytes / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB of "
                "JSON are taken at once.",
                where=path.name,
                fix="Fetch one year at a time and add the files one after the other.",
            )
        rows = tuple(_flat(_orders(_bytes(raw), path.name), path.name))
        yield RestTable(
            path.name, HEADER, rows[:SAMPLE_ROWS], "JSON, WooCommerce REST v3", raw, rows
        )
    finally:
        raw.close()


def _bytes(raw: RawFile) -> bytes:
    out, block = bytearray(), bytearray(1 << 20)
    while count := raw.readinto(memoryview(block)):
        out += block[:count]
    return bytes(out)


def _orders(data: bytes, name: str) -> list[Any]:
    try:
        # numbers stay the text that they are; a constant such as NaN is no amount
        found = json.loads(data.decode("utf-8-sig"), parse_float=str, parse_int=str)
    except json.JSONDecodeError as error:
        raise InputError(
            f"the file is not proper JSON: {error.msg}.",
            where=f"{name}:{error.lineno}:{error.colno}",
            fix="Fetch the orders again and check that the download was complete.",
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            "the file is not proper JSON: it is no UTF-8 text, or is nested without end.",
            where=f"{name}:1:1",
            fix="Fetch the orders again.",
        ) from error
    if not isinstance(found, list):
        raise InputError(
            "the JSON is no list of orders.",
            where=f"{name}:1:1",
            fix="Save what /wp-json/wc/v3/orders returns: a list, from [ to ].",
        )
    return found


def _flat(orders: Sequence[Any], name: str) -> Iterator[tuple[str, ...]]:
    count = 0
    for at, order in enumerate(orders, start=1):
        if not isinstance(order, dict) or not isinstance(order.get("line_items"), list):
            raise InputError(
                f"entry {at} of the list is no order: it has no line_items.",
                where=f"{name}:1:1",
                fix="Save what /wp-json/wc/v3/orders returns.",
            )
        billing = order.get("billing")
        held = [_text(order.get(key)) for key in ORDER]
        held.append(_text(billing.get("email")) if isinstance(billing, dict) else "")
        held.append(_refunded(order.get("refunds")))
        for line in order["line_items"]:
            count += 1
            if count > MAX_ROWS:
                raise InputError(
                    f"the file has more than {MAX_ROWS} lines.",
                    where=name,
                    fix="Fetch one year at a time.",
                )
            yield (*held, *_line(line if isinstance(line, dict) else {}))


def _line(line: Mapping[str, Any]) -> tuple[str, ...]:
    name, sku, quantity, total, before = (
        _text(line.get(key)) for key in ("name", "sku", "quantity", "total", "subtotal")
    )
    try:
        discount = shown(number(before, ".") - number(total, ".")) if before else ""
    except Unreadable:
        discount = ""  # the total is then refused where the line is read
    return name, sku, quantity, total, discount


def _refunded(refunds: Any) -> str:
    """What was given back for an order, as one amount; a text that is no amount if one is none."""
    if not isinstance(refunds, list):
        return ""
    total = 0
    for one in refunds:
        text = _text(one.get("total")) if isinstance(one, dict) else ""
        try:
            total += abs(number(text, "."))
        except Unreadable:
            return f"refund {text!r}"
    return shown(total) if total else ""


def _text(value: Any) -> str:
    """A JSON value as a cell; what is no plain value is none, half a character is U+FFFD."""
    return _HALF.sub("\ufffd", value) if isinstance(value, str) else ""
