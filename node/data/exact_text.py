"""Typed values of a database or a Parquet file as the exact text of a cell."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

from node.data.values import Unreadable


def cell_text(value: object) -> str:  # noqa: PLR0911
    """One value as text that reads as the same value.

    A binary fraction is written with 15 digits, which give back every decimal number of up to 15
    digits. An instant with a zone is written in UTC.

    Raises:
        Unreadable: bytes, or a value of several parts.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | UUID):
        return str(value)
    if isinstance(value, Decimal):
        return _plain(f"{value:f}")
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ") + "Z"
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    raise Unreadable(f"holds {type(value).__name__}; expected text, a number, a day or a time")


def number_text(value: float, digits: int = 15) -> str:
    """A binary fraction as a decimal number without exponent; "" for no number."""
    if not math.isfinite(value):
        return ""
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return _plain(f"{Decimal(format(value, f'.{digits}g')):f}")


def _plain(text: str) -> str:
    """Three decimals get a nought, so that nobody takes the point for one between thousands."""
    return f"{text}0" if len(text.partition(".")[2]) == 3 else text
