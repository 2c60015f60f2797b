"""One cell of an export file, read exactly or refused with what was expected.

Every function takes the text of a single cell and raises ``Unreadable`` with half a sentence
that can stand after the column's name: "the quantity 'two' is not a number; expected ...".
Amounts and quantities are whole millionths (an exact ``DECIMAL(18, 6)``), days are counted from
1970-01-01, times of day are microseconds.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from protocols.errors import InputError

SCALE_DIGITS: Final = 6
MICRO: Final = 10**SCALE_DIGITS
MAX_INTEGER_DIGITS: Final = 12
FIRST_YEAR: Final = 1990
LAST_YEAR: Final = 2099
EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
NO_OFFSET: Final = 1_000_000  # no clock is a million seconds off

DateOrder = Literal["dmy", "mdy", "ymd"]
DecimalSign = Literal[".", ","]
ORDERS: Final[tuple[DateOrder, ...]] = ("dmy", "mdy", "ymd")


class Unreadable(ValueError):
    """A cell that cannot be read; the text says what was expected."""


# --- numbers -----------------------------------------------------------------------------------

_SPACES = " \u00a0\u202f\u2009'’"
_MONEY_WORDS = re.compile(r"^(?:[A-Z]{3}|[€$£¥₹₺₽])\s*|\s*(?:[A-Z]{3}|[€$£¥₹₺₽])$")
_GROUPED = {
    ".": re.compile(rf"(?:([0-9]{{1,3}}(?:[,{_SPACES}][0-9]{{3}})+|[0-9]*))(?:\.([0-9]*))?"),
    ",": re.compile(rf"(?:([0-9]{{1,3}}(?:[.{_SPACES}][0-9]{{3}})+|[0-9]*))(?:,([0-9]*))?"),
}
_NOT_DIGIT = re.compile(r"[^0-9]")


def _bare(text: str) -> tuple[str, bool]:
    """A number without sign and currency, and whether it is negative."""
    core = text.strip()
    negative = False
    if core.startswith("(") and core.endswith(")"):
        core, negative = core[1:-1].strip(), True
    signed = negative
    for _ in range(2):  # the one sign may stand before or after the currency
        before, after = core[:1], core[-1:]
        if not signed and before and before in "-+\u2212":
            core, negative, signed = core[1:].strip(), before != "+", True
        elif not signed and after and after in "-\u2212":
            core, negative, signed = core[:-1].strip(), True, True
        core = _MONEY_WORDS.sub("", core)
    return core, negative


def number(text: str, decimal: DecimalSign) -> int:
    """A decimal number in whole millionths, exactly.

    Accepts a sign before or after, brackets for negative amounts, one currency sign and groups
    of three digits. More than six decimals or twelve digits before the sign are refused rather
    than rounded.
    """
    core, negative = _bare(text)
    match = _GROUPED[decimal].fullmatch(core)
    whole, fraction = (match[1] or "", match[2] or "") if match else ("", "")
    if not whole and not fraction:
        example = "12.50" if decimal == "." else "12,50"
        raise Unreadable(f"{_shown(text)} is not a number; expected one such as {example}")
    whole = _NOT_DIGIT.sub("", whole).lstrip("0")
    fraction = fraction.rstrip("0")
    if len(fraction) > SCALE_DIGITS:
        raise Unreadable(
            f"{_shown(text)} has {len(fraction)} decimals; expected at most {SCALE_DIGITS}"
        )
    if len(whole) > MAX_INTEGER_DIGITS:
        raise Unreadable(f"{_shown(text)} is too large; expected less than a million million")
    value = int((whole + fraction.ljust(SCALE_DIGITS, "0")) or "0")
    return -value if negative else value


def decimal_sign_of(text: str) -> DecimalSign | Literal["?", ""]:
    """Which decimal sign a number shows: ``.``, ``,``, ``?`` (both fit) or nothing (neither)."""
    core = _bare(text)[0]
    for space in _SPACES:
        core = core.replace(space, "")
    dots, commas = core.count("."), core.count(",")
    if not _NOT_DIGIT.sub("", core) or not (dots or commas):
        return ""
    if dots and commas:
        return "." if core.rindex(".") > core.rindex(",") else ","
    seen: DecimalSign = "." if dots else ","
    if dots + commas > 1:
        return "," if seen == "." else "."
    before, _, after = core.partition(seen)
    if len(after) == 3 and 1 <= len(before) <= 3 and not before.startswith("0"):
        return "?"
    return seen


# --- days and times ----------------------------------------------------------------------------

_ISO_DAY = re.compile(r"([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})|([0-9]{4})([0-9]{2})([0-9]{2})")
_PARTS_DAY = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})")
_NAMED_DAY = re.compile(
    r"([0-9]{1,2})[ -]([A-Za-z]{3,9})[ -]([0-9]{4})|([A-Za-z]{3,9}) ([0-9]{1,2}),? ([0-9]{4})"
)
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january",
            "feb february",
            "mar march",
            "apr april",
            "may",
            "jun june",
            "jul july",
            "aug august",
            "sep sept september",
            "oct october",
            "nov november",
            "dec december",
        ),
        start=1,
    )
    for name in names.split()
}
_TIME = re.compile(
    r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?\s*([AaPp][Mm])?"
    r"\s*(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2})?"
)
_SPLIT = re.compile(r"(.*?[0-9])[T ]+([0-9]{1,2}:.*)", re.DOTALL)


def _day(year: int, month: int, day: int) -> date | None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None


def day_readings(text: str) -> dict[DateOrder, date]:
    """Every day a cell can mean, by order of its parts; empty if it is no day at all.

    A day that can be read in one way only stands under all three orders.
    """
    part = split_moment(text)[0]
    if match := _ISO_DAY.fullmatch(part):
        year, month, day = match[1] or match[5], match[3] or match[6], match[4] or match[7]
        only = _day(int(year), int(month), int(day))
        return dict.fromkeys(ORDERS, only) if only else {}
    if match := _NAMED_DAY.fullmatch(part):
        name = (match[2] or match[4]).lower()
        only = _day(int(match[3] or match[6]), _MONTHS.get(name, 0), int(match[1] or match[5]))
        return dict.fromkeys(ORDERS, only) if only else {}
    match = _PARTS_DAY.fullmatch(part)
    if match is None:
        return {}
    first, second, third = int(match[1]), int(match[3]), int(match[4])
    short = len(match[4]) == 2
    year = 2000 + third if short else third
    readings = {"dmy": _day(year, second, first), "mdy": _day(year, first, second)}
    if short and len(match[1]) == 2:
        readings["ymd"] = _day(2000 + first, second, third)
    return {order: readings[order] for order in ORDERS if readings.get(order)}  # type: ignore[misc]


def has_one_reading(text: str) -> bool:
    """Whether the form of the cell alone fixes the order: year first, or the month by name."""
    part = split_moment(text)[0]
    return bool(_ISO_DAY.fullmatch(part) or _NAMED_DAY.fullmatch(part))


def split_moment(text: str) -> tuple[str, str]:
    """The day's text and the time's text (possibly empty) of one cell."""
    stripped = text.strip()
    match = _SPLIT.fullmatch(stripped)
    return (match[1].strip(), match[2].strip()) if match else (stripped, "")


def time_of_day(text: str) -> tuple[int, int]:
    """Microseconds since midnight and the offset from UTC in seconds (or ``NO_OFFSET``)."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise Unreadable(f"{_shown(text)} is not a time of day; expected one such as 14:05:00")
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    half = (match[5] or "").lower()
    if half and not 1 <= hour <= 12:
        raise Unreadable(f"{_shown(text)} has hour {hour} with {half}; expected 1 to 12")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise Unreadable(f"{_shown(text)} is not a time of day; expected 00:00:00 to 23:59:59")
    micros = int((match[4] or "0")[:6].ljust(6, "0"))
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros, _offset_s(match[6])


def _offset_s(text: str | None) -> int:
    if text is None:
        return NO_OFFSET
    if text in ("Z", "UTC", "GMT"):
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 14 or minutes > 59:
        raise Unreadable(f"the offset {text} is not a time zone; expected -12:00 to +14:00")
    return (-1 if text[0] == "-" else 1) * (hours * 3600 + minutes * 60)


def moment(text: str, order: DateOrder, zone: ZoneInfo) -> tuple[int, int, int]:
    """Business day, microseconds since its midnight, offset in seconds (or ``NO_OFFSET``).

    A cell in UTC is moved to the shop's zone, so that its day is the shop's day. A cell with
    another printed offset keeps the day that was printed: that is what the shop's clock showed.
    """
    day_text, time_text = split_moment(text)
    if not day_text:
        raise Unreadable("is empty; expected a day such as 2017-01-31")
    readings = day_readings(day_text)
    if order not in readings:
        raise Unreadable(f"{_shown(text)} {_no_day(day_text)}; expected {_EXAMPLES[order]}")
    day = readings[order]
    if not time_text:
        return day.toordinal() - EPOCH_ORDINAL, 0, NO_OFFSET
    micros, offset_s = time_of_day(time_text)
    if offset_s == 0:
        instant = datetime(day.year, day.month, day.day, tzinfo=UTC)
        local = (instant + timedelta(microseconds=micros)).astimezone(zone)
        offset = local.utcoffset()
        assert offset is not None
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        into_day = local.replace(tzinfo=None) - midnight
        return (
            local.date().toordinal() - EPOCH_ORDINAL,
            into_day // timedelta(microseconds=1),
            offset // timedelta(seconds=1),
        )
    return day.toordinal() - EPOCH_ORDINAL, micros, offset_s


def _no_day(text: str) -> str:
    """What is wrong with a text that should be a day."""
    if re.fullmatch(r"[34][0-9]{4}(?:\.[0-9]+)?", text):
        return "is a spreadsheet's number of a day (format the column as a date and save it again)"
    years = [int(year) for year in re.findall(r"[0-9]{4}", text)]
    if years and not text.isdigit() and not any(FIRST_YEAR <= y <= LAST_YEAR for y in years):
        return f"lies outside the years {FIRST_YEAR} to {LAST_YEAR}"
    return "is not a day"


_EXAMPLES = {
    "dmy": "day, month, year such as 31/01/2017 or 2017-01-31",
    "mdy": "month, day, year such as 01/31/2017 or 2017-01-31",
    "ymd": "year, month, day such as 2017-01-31",
}

# --- words -------------------------------------------------------------------------------------

MASKED: Final = "(e-mail)"
_ADDRESS = re.compile(r"[^\s@,;:<>()\[\]\"']+@[^\s@,;:<>()\[\]\"']+\.[A-Za-z]{2,}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# and what nobody sees: it comes along when a number is copied from a page or a message
_BLANKS = re.compile(r"[\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]+")
_RETURN = frozenset(
    [
        "return",
        "returned",
        "refund",
        "refunded",
        "credit",
        "yes",
        "y",
        "true",
        "1",
        "r",
        "storno",
        "retoure",
        "gutschrift",
        "remboursement",
        "retour",
        "devolucion",
    ]
)
_SALE = frozenset(
    [
        "sale",
        "sold",
        "sell",
        "purchase",
        "payment",
        "charge",
        "no",
        "n",
        "false",
        "0",
        "s",
        "verkauf",
        "vente",
        "venta",
    ]
)
_CURRENCY_SIGNS = {"€": "EUR", "£": "GBP", "₹": "INR", "₺": "TRY", "₽": "RUB"}


def words(text: str, max_chars: int) -> str | None:
    """Trimmed text with single blanks, or None if nothing stands there.

    An e-mail address in it ("Gift card for anna@example.com") names a person and is masked.
    """
    clean = _BLANKS.sub(" ", text).strip()
    if not clean:
        return None
    if len(clean) > max_chars:
        raise Unreadable(f"has {len(clean)} characters; expected at most {max_chars}")
    if _CONTROL.search(clean):
        raise Unreadable("holds control characters; expected plain text")
    return _ADDRESS.sub(MASKED, clean) if "@" in clean else clean


def currency(text: str) -> str | None:
    """A three-letter currency code, or None if nothing stands there."""
    clean = text.strip()
    if not clean:
        return None
    code = _CURRENCY_SIGNS.get(clean, clean.upper())
    if not (len(code) == 3 and code.isascii() and code.isalpha()):
        raise Unreadable(f"{_shown(text)} is not a currency; expected three letters such as EUR")
    return code


def is_return(text: str) -> bool:
    """Whether a line's kind says return (True) or sale (False, also when empty)."""
    word = text.strip().casefold()
    if word in _RETURN:
        return True
    if not word or word in _SALE:
        return False
    raise Unreadable(f"{_shown(text)} is neither a sale nor a return; expected sale or return")


def identifier(text: str) -> str:
    """A customer's identifier in its one normal form: NFKC, no blanks or unseen signs, no case."""
    return _BLANKS.sub("", unicodedata.normalize("NFKC", text)).casefold()


def customer_key(secret: bytes, text: str) -> str | None:
    """HMAC-SHA256 of an identifier in its normal form, 64 hex digits; None for an empty one.

    Args:
        secret: this member's own, 32 bytes; whoever has it can find a customer's key.
        text: the identifier as the till prints it.

    Raises:
        InputError: it is no text (half of a sign, or bytes that are not UTF-8).
    """
    try:
        normal = identifier(text).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            "the customer's number is no text.", where="customer", fix="Type it in again."
        ) from error
    return hmac.new(secret, normal, hashlib.sha256).hexdigest() if normal else None


def _shown(text: str) -> str:
    short = text.strip()
    return repr(short if len(short) <= 40 else short[:37] + "...")
