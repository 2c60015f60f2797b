"""Small words: numbers with their nouns, lists, short names of keys."""

from __future__ import annotations

from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """``1 member``, ``5 members``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def days(number: int) -> str:
    """``1 day``, ``30 days``."""
    return counted(number, "day")


def hours(number: int) -> str:
    """``1 hour``, ``24 hours``."""
    return counted(number, "hour")


def listed(words: Iterable[object]) -> str:
    """``a, b, c``."""
    return ", ".join(map(str, words))


def name_of(digits: str) -> str:
    """The first 128 bits of a key or hash in groups of four, to compare by eye."""
    return " ".join(digits[at : at + 4] for at in range(0, 32, 4))


def money(cents: int, currency: str) -> str:
    """``12.50 EUR``."""
    return f"{cents // 100:,}.{cents % 100:02d} {currency}"
