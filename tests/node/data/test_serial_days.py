"""Days as spreadsheets count them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from node.data.serial_days import day_text


@pytest.mark.parametrize(
    ("number", "epoch", "text"),
    [
        ("1", 1900, "1900-01-01"),
        ("59", 1900, "1900-02-28"),
        ("60", 1900, "60"),  # the day that never was
        ("61", 1900, "1900-03-01"),
        ("42737", 1900, "2017-01-02"),
        ("42737.5", 1900, "2017-01-02 12:00:00"),
        ("42766.58680555555", 1900, "2017-01-31 14:05:00"),
        ("42737.99999999", 1900, "2017-01-03 00:00:00"),
        ("0", 1904, "1904-01-01"),
        ("60", 1904, "1904-03-01"),
        ("41275", 1904, "2017-01-02"),
        ("9999999", 1900, "9999999"),
        ("20170102", 1900, "20170102"),
        ("2017-01-02", 1900, "2017-01-02"),
        ("-5", 1900, "-5"),
        ("", 1900, ""),
    ],
)
def test_numbers_of_days(number: str, epoch: int, text: str) -> None:
    assert day_text(number, epoch) == text


def test_both_counts_are_1462_days_apart() -> None:
    for days in range(32874, 60000, 977):
        assert day_text(str(days), 1900) == day_text(str(days - 1462), 1904)
        assert date.fromisoformat(day_text(str(days), 1900)) == date(1899, 12, 30) + timedelta(days)
