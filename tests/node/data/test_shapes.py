"""The quick look of Arrow never calls sound what pandera finds fault with."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from node.data import shapes
from node.data.schema import AMOUNT
from node.data.tables import Field, Kind, TableFacts

TYPES = {
    Kind.TEXT: pa.string(),
    Kind.DAY: pa.date32(),
    Kind.INSTANT: pa.timestamp("us", "UTC"),
    Kind.AMOUNT: AMOUNT,
    Kind.FLAG: pa.bool_(),
}
GOOD: dict[Kind, list[Any]] = {
    Kind.TEXT: ["a", "Käse\tweich\n", "x" * 500, None],
    Kind.DAY: [date(1990, 1, 1), date(2099, 12, 30), None],
    Kind.INSTANT: [datetime(1990, 1, 1, tzinfo=UTC), datetime(2099, 12, 30, 23, tzinfo=UTC), None],
    Kind.AMOUNT: [Decimal("100000000"), Decimal("-100000000"), None],
    Kind.FLAG: [True, False],
}
BAD: dict[Kind, list[Any]] = {
    Kind.TEXT: ["", "x" * 501, "a\x1b[2J", "a\rb", "a\x7f", "a\0b"],
    Kind.DAY: [date(1989, 12, 31), date(2100, 1, 1)],
    Kind.INSTANT: [
        datetime(1989, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2099, 12, 31, 0, 0, 0, 1, tzinfo=UTC),
    ],
    Kind.AMOUNT: [Decimal("100000000.01"), Decimal("-100000000.01")],
}


def table(one: Field, values: list[Any]) -> tuple[pa.Table, TableFacts]:
    facts = TableFacts("t", "t", "t", (one,))
    return pa.table({one.name: pa.array(values, TYPES[one.kind])}), facts


def found(one: Field, values: list[Any]) -> tuple[bool, bool]:
    """Whether the quick look calls it sound, whether pandera does."""
    rows, facts = table(one, values)
    schema, frame = shapes._schema(facts), shapes._frame(rows, facts)
    return shapes.sound(rows, facts), not shapes._failures(schema, frame)


@pytest.mark.parametrize("kind", list(GOOD))
def test_what_pandera_takes_is_sound_at_once(kind: Kind) -> None:
    assert found(Field("x", kind, "x"), GOOD[kind]) == (True, True)


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in BAD.items() for value in values]
)
def test_what_pandera_refuses_is_never_sound(kind: Kind, value: object) -> None:
    assert found(Field("x", kind, "x"), [*GOOD[kind], value]) == (False, False)


@pytest.mark.parametrize("kind", [kind for kind in GOOD if kind is not Kind.FLAG])
def test_an_absent_value_where_one_has_to_be_is_not_sound(kind: Kind) -> None:
    assert found(Field("x", kind, "x", required=True), GOOD[kind]) == (False, False)


@pytest.mark.parametrize(
    ("texts", "good"),
    [(["EUR", "USD", None], True), (["EUR", "eur"], False), (["EURO"], False), (["EUR\n"], False)],
)
def test_a_pattern_is_fitted_by_the_whole_text(texts: list[Any], good: bool) -> None:
    assert found(Field("x", Kind.TEXT, "x", pattern="[A-Z]{3}"), texts) == (good, good)


def test_a_slice_of_a_longer_column_is_looked_at_alone() -> None:
    rows, facts = table(Field("x", Kind.TEXT, "x"), ["\x1b", "a", "b", "\x1b"])
    assert shapes.sound(rows.slice(1, 2), facts)
    assert not shapes.sound(rows.slice(2, 2), facts)


def test_nothing_at_all_is_sound() -> None:
    for kind in TYPES:
        rows, facts = table(Field("x", kind, "x"), [])
        assert shapes.sound(rows, facts)
