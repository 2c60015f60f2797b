"""Delimiter, decimal sign and date order of an export file: found, or asked for, never guessed.

Each ``decide_*`` looks at evidence. It returns the one reading that fits, or raises an
``InputError`` that shows the two readings of one cell and names the option that settles it.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from node.data.batch import Reading, RoleBatch
from node.data.cells import Headers
from node.data.columns import Role
from node.data.source import Chunk, Source
from node.data.values import (
    ORDERS,
    DateOrder,
    DecimalSign,
    day_readings,
    decimal_sign_of,
    has_one_reading,
    split_moment,
)
from protocols.errors import InputError

DELIMITERS: Final[Mapping[str, str]] = {
    ",": "comma",
    ";": "semicolon",
    "\t": "tab",
    "|": "pipe",
}
_NAMED: Final = {name: sign for sign, name in DELIMITERS.items()} | {"\\t": "\t"}
NEARLY_ALL: Final = 0.98
MAX_DISTINCT: Final = 100_000
SAMPLE_ROWS: Final = 20

Choose = Callable[[Sequence[str], Sequence[Sequence[str]]], Reading]


@dataclass(frozen=True, slots=True)
class Opened:
    """A CSV file as it is to be read: ``head`` is the header and the first rows."""

    delimiter: str
    head: Chunk
    reading: Reading


def parse_delimiter(text: str) -> str:
    """The delimiter that a person wrote: the sign itself or its name."""
    sign = text if text in DELIMITERS else _NAMED.get(text.strip().lower(), "")
    if not sign:
        raise InputError(
            f"{text!r} is not a delimiter; expected comma, semicolon, tab or pipe.",
            where="--delimiter",
            fix="Leave the option out to have it found.",
        )
    return sign


def open_csv(path: Path, encoding: str, wanted: str | None, choose: Choose) -> Opened:
    """The delimiter, the header and first rows, and how they are read.

    Args:
        path: the file.
        encoding: from ``sniff_encoding``.
        wanted: the delimiter that the member named, if any.
        choose: what reads a header and its first rows, or refuses them.

    Raises:
        InputError: no delimiter (or not the wanted one) gives a header that can be read, or two
            of them do.
    """
    candidates = [parse_delimiter(wanted)] if wanted is not None else list(DELIMITERS)
    heads: dict[str, Chunk] = {}
    problems: dict[str, InputError] = {}
    usable: dict[str, Reading] = {}
    for sign in candidates:
        try:
            heads[sign] = read_head(path, encoding, sign)
            header, *sample = heads[sign].rows
            usable[sign] = choose(header, sample)
        except csv.Error:
            continue
        except InputError as error:
            problems[sign] = error
    if len(usable) == 1:
        sign, reading = next(iter(usable.items()))
        return Opened(sign, heads[sign], reading)
    if len(usable) > 1:
        names = " and ".join(DELIMITERS[sign] for sign in usable)
        raise InputError(
            f"the header can be read with {names} as delimiter.",
            where=f"{path.name}:1:1",
            fix=f"Say which one: --delimiter {DELIMITERS[next(iter(usable))]}",
        )
    raise _no_header(path, heads, problems, wanted)


def read_head(path: Path, encoding: str, delimiter: str) -> Chunk:
    """The first record that is not blank, and the first rows behind it."""
    with Source(path, encoding, delimiter) as source:
        head = source.head(SAMPLE_ROWS)
    if head.rows:
        return head
    raise InputError(
        "the file holds blank lines only; expected a header line and sales lines.",
        where=f"{path.name}:1:1",
        fix="Export it again, and choose a period in which there were sales.",
    )


def _no_header(
    path: Path,
    heads: Mapping[str, Chunk],
    problems: Mapping[str, InputError],
    wanted: str | None,
) -> InputError:
    if not heads:
        if problems:
            return next(iter(problems.values()))
        return InputError(
            "the header line is not proper CSV: a quotation mark stands in the wrong place.",
            where=f"{path.name}:1:1",
            fix="Export the file again as CSV.",
        )
    sign = max(heads, key=lambda s: len(heads[s].rows[0]))
    header = heads[sign].rows[0]
    if len(header) > 1 and sign in problems:
        return problems[sign]
    other = ""
    if wanted is not None:
        text = header[0]
        better = max(DELIMITERS, key=text.count)
        if text.count(better):
            other = f"Leave --delimiter out, or try --delimiter {DELIMITERS[better]}."
    return InputError(
        f"the first line is one single column {header[0][:60]!r}; expected the names of the "
        "columns, separated by comma, semicolon, tab or pipe.",
        where=f"{path.name}:1:1",
        fix=other or "Export the file as CSV with a header line.",
    )


# --- evidence from the cells -------------------------------------------------------------------


@dataclass(slots=True)
class Evidence:
    """Distinct texts of day and number cells: how often each occurs, and (line, place) of one."""

    headers: Headers
    days: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)
    seen_at: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, batch: RoleBatch, days: Sequence[Role], numbers: Sequence[Role]) -> None:
        """Count the cells of a batch under these roles."""
        for role in days:
            for text, times, line in _counted(batch, role):
                self._count(self.days, split_moment(text)[0], times, line, role)
        for role in numbers:
            for text, times, line in _counted(batch, role):
                self._count(self.numbers, text, times, line, role)

    def _count(self, counter: Counter[str], text: str, times: int, line: int, role: Role) -> None:
        if len(counter) < MAX_DISTINCT or text in counter:
            counter[text] += times
            self.seen_at.setdefault(text, (line, self.headers.place(role)))

    def where(self, text: str, file_name: str) -> str:
        """file:line:column of the first cell with this text."""
        line, place = self.seen_at[text]
        return f"{file_name}:{line}:{place}"


def _counted(batch: RoleBatch, role: Role) -> Iterator[tuple[str, int, int]]:
    """Distinct texts of a column, how often each occurs, and the line of the first."""
    if role not in batch.columns or not len(batch.lines):
        return
    encoded = batch.columns[role].dictionary_encode()
    _, first, times = np.unique(encoded.indices.to_numpy(), return_index=True, return_counts=True)
    lines = batch.lines[first].tolist()
    yield from zip(encoded.dictionary.to_pylist(), times.tolist(), lines, strict=True)


def decide_date_order(evidence: Evidence, file_name: str) -> tuple[DateOrder, bool]:
    """The order of day, month and year, and whether more rows could still change it.

    Raises:
        InputError: two orders fit (asks for ``--date-order``), or the file mixes two orders.
    """
    readable = {t: (day_readings(t), n) for t, n in evidence.days.items()}
    readable = {text: pair for text, pair in readable.items() if pair[0]}
    total = sum(times for _, times in readable.values())
    if not total:
        return "ymd", False
    hits = {
        order: sum(times for readings, times in readable.values() if order in readings)
        for order in ORDERS
    }
    fitting = [order for order in ORDERS if hits[order] == total]
    if all(has_one_reading(text) for text in readable):
        return "ymd", True
    if len(fitting) == 1:
        return fitting[0], True
    if len(fitting) > 1:
        for text, (readings, _) in readable.items():
            if len({readings[order] for order in fitting}) > 1:
                raise _two_orders(text, fitting, evidence.where(text, file_name))
        return fitting[0], False
    near = [order for order in ORDERS if hits[order] >= NEARLY_ALL * total]
    if len(near) == 1:
        return near[0], True
    raise _mixed_orders(evidence, list(readable), file_name)


def _two_orders(text: str, fitting: list[DateOrder], where: str) -> InputError:
    readings = day_readings(text)
    both = " or ".join(f"{readings[order]:%d %B %Y} ({order})" for order in fitting)
    return InputError(
        f"the days of this file can be read in two ways: {text!r} is {both}.",
        where=where,
        fix=f"Say which one: {' or '.join(f'--date-order {order}' for order in fitting)}",
    )


def _mixed_orders(evidence: Evidence, texts: list[str], file_name: str) -> InputError:
    only: dict[DateOrder, str] = {}
    for text in texts:
        readings = day_readings(text)
        if len(readings) == 1:
            only.setdefault(next(iter(readings)), text)
    shown = " but ".join(f"{text!r} is {order}" for order, text in only.items())
    last = list(only.values())[-1] if only else texts[0]
    return InputError(
        f"the days of this file stand in two orders: {shown or 'none fits all of them'}.",
        where=evidence.where(last, file_name),
        fix="Export the file with days such as 2017-01-31, or say --date-order for the rows "
        "to keep.",
    )


def decide_decimal(evidence: Evidence, file_name: str) -> tuple[DecimalSign, bool]:
    """The decimal sign, and whether more rows could still change it.

    Raises:
        InputError: a number such as 1,234 fits both readings and nothing settles it (asks for
            ``--decimal``), or the file mixes the two signs.
    """
    votes: Counter[str] = Counter()
    example: dict[str, str] = {}
    for text, times in evidence.numbers.items():
        sign = decimal_sign_of(text)
        votes[sign] += times
        example.setdefault(sign, text)
    dots, commas = votes["."], votes[","]
    if dots + commas:
        if dots >= NEARLY_ALL * (dots + commas):
            return ".", True
        if commas >= NEARLY_ALL * (dots + commas):
            return ",", True
        later = max(example["."], example[","], key=evidence.seen_at.__getitem__)
        raise InputError(
            f"the amounts use two decimal signs: {example['.']!r} and {example[',']!r}.",
            where=evidence.where(later, file_name),
            fix="Say which one is the decimal sign: --decimal . or --decimal ,",
        )
    if votes["?"]:
        text = example["?"]
        raise InputError(
            f"every amount with a sign can be read in two ways: {text!r} may be a thousand and "
            "more, or a number below a thousand with three decimals.",
            where=evidence.where(text, file_name),
            fix="Say which one is the decimal sign: --decimal . or --decimal ,",
        )
    return ".", False
