"""Exact sums of money in dialects: whole millionths, smallest units, shares without a lost cent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from node.data.values import MICRO, DecimalSign, Unreadable, number

# ISO 4217 currencies that are not written with two decimals; Stripe counts them the same way
# (its documentation of zero-decimal and three-decimal currencies). UGX and ISK count as two there.
NO_DECIMALS: Final = frozenset(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "JPY",
        "KMF",
        "KRW",
        "MGA",
        "PYG",
        "RWF",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
)
CENT: Final = 10_000  # whole millionths
THREE_DECIMALS: Final = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])


def shown(millionths: int) -> str:
    """Whole millionths as a decimal number with a point and no needless zeros."""
    whole, rest = divmod(abs(millionths), MICRO)
    text = f"{whole}.{rest:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if millionths < 0 else text


def read(text: str, decimal: DecimalSign = ".") -> int | None:
    """Whole millionths of a cell; None if nothing stands there.

    Raises:
        Unreadable: not a number.
    """
    return number(text, decimal) if text.strip() else None


def rounded(numerator: int, denominator: int) -> int:
    """Quotient rounded half to even, as the converter rounds price times quantity."""
    whole, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole % 2):
        whole += 1
    return whole


def major(text: str, currency: str) -> str:
    """An amount in a currency's smallest unit (1250) as an ordinary one (12.5).

    Raises:
        Unreadable: not a whole number, or no currency.
    """
    clean = text.strip()
    if not clean:
        return ""
    digits = clean.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise Unreadable(
            f"{clean[:40]!r} is not a whole number; expected an amount in the smallest unit of "
            "the currency such as 1250"
        )
    code = currency.strip().upper()
    if len(code) != 3:
        raise Unreadable("an amount in the smallest unit means nothing without its currency")
    power = 0 if code in NO_DECIMALS else 3 if code in THREE_DECIMALS else 2
    return shown(int(clean) * 10 ** (6 - power))


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """An amount in shares as the weights, exactly: the shares always add up to it.

    Shares are whole cents if the amount is one (else whole millionths); what is left over after
    rounding down goes cent by cent to the largest remainders (Hamilton's method).

    Args:
        amount: whole millionths, >= 0.
        weights: one for each line, >= 0, with a positive sum.
    """
    unit = CENT if amount % CENT == 0 else 1
    units, total = amount // unit, sum(weights)
    shares = [units * weight // total for weight in weights]
    left = units - sum(shares)
    order = sorted(range(len(weights)), key=lambda i: (-(units * weights[i] % total), i))
    for index in order[:left]:
        shares[index] += 1
    return [share * unit for share in shares]
