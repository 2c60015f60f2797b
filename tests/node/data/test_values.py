from __future__ import annotations

from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.data.values import (
    EPOCH_ORDINAL,
    MICRO,
    NO_OFFSET,
    Unreadable,
    currency,
    day_readings,
    decimal_sign_of,
    identifier,
    is_return,
    moment,
    number,
    time_of_day,
    words,
)

PARIS = ZoneInfo("Europe/Paris")
amounts = st.decimals(-(10**12) + 1, 10**12 - 1, places=6, allow_nan=False, allow_infinity=False)


def micro(text: str) -> int:
    return int(Decimal(text) * MICRO)


@pytest.mark.parametrize(
    ("text", "sign", "value"),
    [
        ("12.50", ".", "12.5"),
        ("12,50", ",", "12.5"),
        ("1,234.50", ".", "1234.5"),
        ("1.234,50", ",", "1234.5"),
        ("1 234,50", ",", "1234.5"),
        ("1\u00a0234,50", ",", "1234.5"),
        ("1'234.50", ".", "1234.5"),
        ("-5", ".", "-5"),
        ("5.00-", ".", "-5"),
        ("\u22125", ".", "-5"),
        ("(5.00)", ".", "-5"),
        ("$45.00", ".", "45"),
        ("-$45.00", ".", "-45"),
        ("$-45.00", ".", "-45"),
        ("3,00 €", ",", "3"),
        ("EUR 3.00", ".", "3"),
        (".5", ".", "0.5"),
        ("7.", ".", "7"),
        ("0.3450000000", ".", "0.345"),
        ("999999999999.999999", ".", "999999999999.999999"),
    ],
)
def test_number_is_read_exactly(text: str, sign: str, value: str) -> None:
    assert number(text, sign) == micro(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["", "two", "1e5", "nan", "inf", "1,23.4", "1.2.3", "--5", "-5-", "(-5)", "12 3", "٣", "0x10"],
)
def test_what_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        number(text, ".")


@pytest.mark.parametrize("text", ["1000000000000", "0.1234567", "5%", "."])
def test_a_number_is_never_rounded_or_guessed(text: str) -> None:
    with pytest.raises(Unreadable):
        number(text, ".")


@given(amounts)
@settings(deadline=None)
def test_every_exact_amount_survives(value: Decimal) -> None:
    plain = f"{value:f}"
    assert number(plain, ".") == value * MICRO
    assert number(plain.replace(".", ","), ",") == value * MICRO
    assert number(f"{value:,f}", ".") == value * MICRO


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("12", ""),
        ("1.5", "."),
        ("1,5", ","),
        ("1,234", "?"),
        ("1.234", "?"),
        ("0.345", "."),
        ("0,345", ","),
        ("1234.567", "."),
        ("1,234,567", "."),
        ("1.234.567", ","),
        ("1,234.5", "."),
        ("1.234,5", ","),
        ("-$1.50", "."),
        ("abc", ""),
    ],
)
def test_the_decimal_sign_a_number_shows(text: str, sign: str) -> None:
    assert decimal_sign_of(text) == sign


@given(amounts)
@settings(deadline=None)
def test_a_shown_sign_is_never_the_wrong_one(value: Decimal) -> None:
    assert decimal_sign_of(f"{value:,.2f}") in (".", "?", "")


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("2017-01-02", {"dmy": (1, 2), "mdy": (1, 2), "ymd": (1, 2)}),
        ("2017/1/2", {"dmy": (1, 2), "mdy": (1, 2), "ymd": (1, 2)}),
        ("20170102", {"dmy": (1, 2), "mdy": (1, 2), "ymd": (1, 2)}),
        ("2 Jan 2017", {"dmy": (1, 2), "mdy": (1, 2), "ymd": (1, 2)}),
        ("January 2, 2017", {"dmy": (1, 2), "mdy": (1, 2), "ymd": (1, 2)}),
        ("02.01.2017", {"dmy": (1, 2), "mdy": (2, 1)}),
        ("13/01/2017", {"dmy": (1, 13)}),
        ("01/13/2017", {"mdy": (1, 13)}),
        ("2017-02-30", {}),
        ("31/04/2017", {}),
        ("2-Foo-2017", {}),
        ("0217-01-02", {}),
        ("42736", {}),
    ],
)
def test_all_readings_of_a_day(text: str, readings: dict[str, tuple[int, int]]) -> None:
    assert day_readings(text) == {k: date(2017, m, d) for k, (m, d) in readings.items()}


def test_a_two_digit_year_may_stand_first() -> None:
    assert day_readings("17/05/06") == {"dmy": date(2006, 5, 17), "ymd": date(2017, 5, 6)}


@given(st.dates(date(1990, 1, 1), date(2099, 12, 31)))
@settings(deadline=None)
def test_every_day_survives_in_every_order(day: date) -> None:
    ordinal = day.toordinal() - EPOCH_ORDINAL
    for order, form in (("dmy", "%d/%m/%Y"), ("mdy", "%m-%d-%Y"), ("ymd", "%Y-%m-%d")):
        assert moment(day.strftime(form), order, PARIS) == (ordinal, 0, NO_OFFSET)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "micros", "offset_s"),
    [
        ("00:00", 0, NO_OFFSET),
        ("23:59:59", 86_399_000_000, NO_OFFSET),
        ("9:05 PM", 75_900_000_000, NO_OFFSET),
        ("12:00 AM", 0, NO_OFFSET),
        ("12:00 pm", 43_200_000_000, NO_OFFSET),
        ("10:00:00.25", 36_000_250_000, NO_OFFSET),
        ("10:00Z", 36_000_000_000, 0),
        ("10:00 +0530", 36_000_000_000, 19_800),
        ("10:00-03:00", 36_000_000_000, -10_800),
    ],
)
def test_time_of_day(text: str, micros: int, offset_s: int) -> None:
    assert time_of_day(text) == (micros, offset_s)


@pytest.mark.parametrize("text", ["24:00", "10", "10:60", "13:00 PM", "0:30 AM", "10:00+15:00"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        time_of_day(text)


def test_utc_becomes_the_shops_day_and_a_printed_offset_keeps_its_day() -> None:
    first_july = date(2017, 7, 1).toordinal() - EPOCH_ORDINAL
    assert moment("2017-06-30T23:30:00Z", "ymd", PARIS) == (first_july, 5_400_000_000, 7200)
    assert moment("2017-07-01 00:30 +0900", "ymd", PARIS) == (first_july, 1_800_000_000, 32_400)


def test_words_currency_and_kind() -> None:
    assert words("  a \t b ", 10) == "a b"
    assert words("   ", 10) is None
    for text in ("x" * 11, "a\x07b"):
        with pytest.raises(Unreadable):
            words(text, 10)
    assert [currency(text) for text in ("eur", "€", "")] == ["EUR", "EUR", None]
    with pytest.raises(Unreadable):
        currency("$")  # several countries call theirs a dollar
    assert [is_return(text) for text in ("Refund", "sale", "", "STORNO")] == [1, 0, 0, 1]
    with pytest.raises(Unreadable):
        is_return("Dairy")


def test_an_identifier_has_one_normal_form() -> None:
    assert identifier(" Jane@Example.org ") == identifier("jane@example.ORG")
    assert identifier("１２ 34") == identifier("1234")
    assert identifier("1234") != identifier("1235")


@pytest.mark.parametrize(
    ("text", "kept"),
    [("Gift card for anna.b+1@example.co.uk!", "Gift card for (e-mail)!"),
     ("anna@example.com", "(e-mail)"), ("<anna@example.com>, b@c.de", "<(e-mail)>, (e-mail)"),
     ("2 @ 3.50", "2 @ 3.50"), ("Tea @home", "Tea @home"), ("a@b", "a@b"), ("@" * 400, "@" * 400)],
)  # fmt: skip
def test_an_address_in_a_text_is_masked(text: str, kept: str) -> None:
    assert words(text, 500) == kept
