"""Quarters of a year, and figures with the entries of a log that they were counted from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from protocols.audit.entries import Entry, Kind, instant
from protocols.documents.document import Table
from protocols.errors import InputError

_QUARTER: Final = re.compile(r"(20[0-9]{2})Q([1-4])")
_SHOWN_RANGES: Final = 12


@dataclass(frozen=True, slots=True)
class Quarter:
    """Three months, UTC."""

    year: int
    number: int

    def __str__(self) -> str:
        return f"{self.year}Q{self.number}"

    @property
    def begins(self) -> datetime:
        """The first instant."""
        return datetime(self.year, 3 * self.number - 2, 1, tzinfo=UTC)

    @property
    def ends(self) -> datetime:
        """The first instant after it."""
        if self.number == 4:
            return datetime(self.year + 1, 1, 1, tzinfo=UTC)
        return datetime(self.year, 3 * self.number + 1, 1, tzinfo=UTC)

    def holds(self, at: datetime) -> bool:
        """Whether an instant lies in it."""
        return self.begins <= at < self.ends

    def of(self, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        """The entries of a log that lie in it, in order."""
        first, last = instant(self.begins), instant(self.ends)
        return tuple(one for one in entries if first <= one.at < last)


def parse_quarter(text: str) -> Quarter:
    """``2026Q4``; InputError for anything else."""
    found = _QUARTER.fullmatch(text.strip().upper())
    if found is None:
        raise InputError(
            f"{text[:20]!r} is not a quarter.", where="--quarter", fix="Write it as 2026Q4."
        )
    return Quarter(int(found[1]), int(found[2]))


def chosen_quarter(text: str, now: datetime) -> Quarter:
    """The quarter that was named, or that of now; InputError for one that has not begun."""
    found = parse_quarter(text) if text else quarter_of(now)
    if found.begins > now:
        raise InputError(
            f"{found} has not begun; there is nothing to report.",
            where="--quarter",
            fix=f"The present one is {quarter_of(now)}.",
        )
    return found


def quarter_of(at: datetime) -> Quarter:
    """The quarter of an instant."""
    moment = at.astimezone(UTC)
    return Quarter(moment.year, (moment.month + 2) // 3)


@dataclass(frozen=True, slots=True)
class Figure:
    """A name, a value, and the numbers of the entries that it was counted from.

    ``also`` says where the rest of it comes from if the log alone does not give it.
    """

    name: str
    value: str
    entries: tuple[int, ...] = ()
    also: str = ""

    def row(self) -> tuple[str, str, str]:
        """As a row of a table."""
        said = "; ".join(one for one in (ranges(self.entries), self.also) if one)
        return self.name, self.value, said


def ranges(numbers: Sequence[int]) -> str:
    """``3, 5-9`` from numbers in order; at most twelve ranges, then how many more there are."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    said = [str(a) if a == b else f"{a}-{b}" for a, b in spans]
    rest = len(said) - _SHOWN_RANGES
    return ", ".join(said[:_SHOWN_RANGES]) + (f" and {rest} more ranges" if rest > 0 else "")


def counted(name: str, entries: Iterable[Entry], also: str = "") -> Figure:
    """How many entries there are."""
    numbers = tuple(one.seq for one in entries)
    return Figure(name, str(len(numbers)), numbers, also)


def total(name: str, entries: Iterable[Entry], fact: str, *, parts: bool = False) -> Figure:
    """The sum of a whole number over entries that have it.

    With ``parts`` also of facts that begin with its name and an underscore: ``rows_stock``.
    """
    found = [
        (one.seq, value)
        for one in entries
        for key, value in one.facts.items()
        if (key == fact or (parts and key.startswith(f"{fact}_")))
        and isinstance(value, int)
        and not isinstance(value, bool)
    ]
    numbers = dict.fromkeys(seq for seq, _ in found)
    return Figure(name, str(sum(value for _, value in found)), tuple(numbers))


def of_kind(entries: Iterable[Entry], kind: Kind, **facts: object) -> tuple[Entry, ...]:
    """Entries of a kind in which some facts have these values."""
    return tuple(
        one
        for one in entries
        if one.kind is kind and all(one.facts.get(key) == value for key, value in facts.items())
    )


def by_fact(
    entries: Iterable[Entry], fact: str, name: Callable[[str], str] = str
) -> tuple[Figure, ...]:
    """A count for each value of a fact, by name; a list counts for each of its values."""
    found: dict[str, list[int]] = {}
    for one in entries:
        value = one.facts.get(fact)
        for part in value if isinstance(value, tuple) else (value,):
            if part is not None:
                found.setdefault(str(part), []).append(one.seq)
    return tuple(
        Figure(name(key), str(len(numbers)), tuple(numbers))
        for key, numbers in sorted(found.items())
    )


def figures(name: str, caption: str, found: Iterable[Figure], empty: str, source: str) -> Table:
    """Figures as a table whose last column names the entries."""
    rows = tuple(one.row() for one in found)
    return Table(name, caption, ("figure", "value", "entries of the log"), rows, (source,), empty)
