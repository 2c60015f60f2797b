"""Field types that the three documents share (SPEC.md section 2).

Every model is frozen, strict and closed: an unknown key is an error, a number is never read
from text, and an empty list is never a valid answer.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from protocols.agreement.glyphs import readable, unmistakable
from protocols.errors import InputError

MAX_MEMBERS = 1000
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Document(BaseModel):
    """Base of every model here: frozen, strict, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def parse_utc(text: object) -> datetime:
    """An instant from ``2026-01-31T08:00:00Z``; no other text, so each has one spelling.

    Code that builds a model may give an aware whole second instead of text.
    """
    if isinstance(text, datetime) and text.tzinfo is not None and not text.microsecond:
        return text.astimezone(UTC)
    if not isinstance(text, str) or not _UTC.fullmatch(text):
        raise ValueError("expected a UTC instant such as 2026-01-31T08:00:00Z")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def utc_text(moment: datetime) -> str:
    """The one spelling of an instant in documents; fractions of a second are cut off."""
    if moment.tzinfo is None:
        raise InputError("an instant without a time zone was given; expected UTC.")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, if none stands twice."""
    hashable = [value for value in values if isinstance(value, Hashable)]
    if len(set(hashable)) != len(hashable):
        raise ValueError("a value stands twice; keep one")
    return values


def _ordered(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("expected in ascending order, each value once")
    return values


def one_line(text: str) -> str:
    """The text, if it is one line: a title with a break in it could pass for more than a title."""
    if "\n" in text:
        raise ValueError("expected one line, found a line break")
    return text


def _whole(value: object) -> object:
    """Python takes ``true`` for 1, pydantic's literals too; documents do not (SPEC.md 2.3)."""
    if isinstance(value, bool):
        raise ValueError(f"1 is expected, found {str(value).lower()}")
    return value


def _truth(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("true or false is expected")
    return value


One = Annotated[Literal[1], BeforeValidator(_whole)]
Always = Annotated[Literal[True], BeforeValidator(_truth)]
Never = Annotated[Literal[False], BeforeValidator(_truth)]
Utc = Annotated[datetime, BeforeValidator(parse_utc)]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_:.-]{0,63}$")]
Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,127}$")]
Title = Annotated[
    str,
    Field(min_length=1, max_length=200),
    AfterValidator(readable),
    AfterValidator(one_line),
    AfterValidator(unmistakable),
]
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,31}$")]
Text = Annotated[str, Field(min_length=1, max_length=8000), AfterValidator(readable)]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=100), AfterValidator(distinct)]
Columns = Annotated[
    tuple[Column, ...], Field(min_length=1, max_length=500), AfterValidator(distinct)
]
OrderedColumns = Annotated[
    tuple[Column, ...], Field(min_length=1, max_length=500), AfterValidator(_ordered)
]
OrderedIds = Annotated[
    tuple[Hex64, ...], Field(min_length=1, max_length=MAX_MEMBERS), AfterValidator(_ordered)
]
Config = Annotated[dict[str, JsonValue], Field(max_length=200)]


def same_json(left: object, right: object) -> bool:
    """Whether two JSON values are equal; ``true`` is not 1, and 5 is 5.0 as in RFC 8785."""
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool) and left == right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return left == right
    return type(left) is type(right) and left == right
