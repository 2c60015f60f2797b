"""A CSV of what customers said, read to the last line before anything of it counts.

Columns, in any order: ``customer`` (as the till writes it; or ``customer_key`` from an export of
this node), ``scope``, ``state``, ``at``, ``source``, and if it is known ``wording`` (SHA-256 of
the text that the customer saw). A customer's identifier becomes a keyed hash here and is
forgotten. One line that cannot be read refuses the file: it could be a withdrawal.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from node.data.sniff import DELIMITERS, read_header
from node.data.source import Source, sniff_encoding
from node.data.values import customer_key
from node.store.consents import Event, State
from protocols.errors import InputError

COLUMNS: Final = ("customer", "scope", "state", "at", "source")
KEYED: Final = "customer_key"
WORDING: Final = "wording"
SHOWN: Final = 5
FIRST_YEAR: Final = 1990
EXAMPLE: Final = "customer,scope,state,at,source"
_KEY = re.compile(r"[0-9a-f]{64}")
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,63}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,15}(Z|[+-][0-9]{2}:?[0-9]{2})?")


class Bad(ValueError):
    """A line that cannot be used; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a file says. Nothing has been written."""

    name: str
    sha256: str
    events: tuple[Event, ...] = field(repr=False)

    def counts(self) -> Mapping[tuple[str, str], int]:
        """How many lines by (scope, state)."""
        return Counter((event.scope, event.state.value) for event in self.events)


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading a line needs to know.

    Args:
        secret: this member's own, for customer keys.
        scopes: the purposes that customers can be asked about.
        zone: the shop's, in which times without an offset are meant.
        now: the instant of reading; nobody has said anything later.
        wording: SHA-256 of the text behind grants that name none; empty if unknown.
    """

    secret: bytes = field(repr=False)
    scopes: frozenset[str]
    zone: ZoneInfo
    now: datetime
    wording: str = ""


def read(path: Path, reading: Reading) -> Answers:
    """Read a file from end to end.

    Raises:
        InputError: the header lacks a column, or lines cannot be used (the first ones are shown
            with their numbers).
    """
    encoding = sniff_encoding(path, None)
    delimiter, places = _header(path, encoding)
    events: list[Event] = []
    bad: list[tuple[int, str]] = []
    with Source(path, encoding, delimiter) as source:
        for chunk in islice(source.chunks(), 1, None):
            bad += ((row.line, row.problem) for row in chunk.broken)
            for line, row in zip(chunk.lines, chunk.rows, strict=True):
                cells = {name: row[place].strip() for name, place in places.items()}
                try:
                    events.append(event(cells, reading))
                except Bad as error:
                    bad.append((line, str(error)))
        sha256 = source.finish()
    if bad:
        raise _refused(path.name, sorted(bad), len(events) + len(bad))
    if not events:
        raise InputError("the file has a header and no lines.", where=f"{path.name}:2:1")
    return Answers(path.name, sha256, tuple(events))


def event(cells: Mapping[str, str], reading: Reading) -> Event:
    """One line as an event; ``Bad`` says what was expected."""
    scope = cells["scope"]
    if scope not in reading.scopes:
        known = ", ".join(sorted(reading.scopes)) or "none"
        raise Bad(f"the scope {scope[:40]!r} is not a purpose here; expected one of: {known}")
    try:
        state = State(cells["state"].lower())
    except ValueError as error:
        raise Bad(
            f"the state {cells['state'][:20]!r} is not known; expected one of: {', '.join(State)}"
        ) from error
    if not _SOURCE.fullmatch(cells["source"]):
        raise Bad("the source is a short name of 1 to 64 letters and digits, such as till")
    wording = cells.get(WORDING, "")
    if wording and not _KEY.fullmatch(wording):
        raise Bad("the wording is the SHA-256 of the text that was shown, 64 hex digits")
    if state is State.GRANTED:
        wording = wording or reading.wording
    return Event(
        customer_key=_key(cells, reading),
        scope=scope,
        state=state,
        at=instant(cells["at"], state, reading),
        wording=wording,
        source=cells["source"],
    )


def instant(text: str, state: State, reading: Reading) -> datetime:
    """When it was said, UTC.

    A day without a time counts from its first instant for a grant and until its last for
    anything that forbids, so that of two answers of one day the careful one counts.
    """
    try:
        if _DAY.fullmatch(text):
            moment = datetime.combine(datetime.fromisoformat(text), time(), reading.zone)
            early = moment
            if state is not State.GRANTED:
                moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
        elif _INSTANT.fullmatch(text):
            moment = datetime.fromisoformat(text)
            early = moment = moment if moment.tzinfo else moment.replace(tzinfo=reading.zone)
        else:
            raise ValueError(text)
    except ValueError as error:
        raise Bad(
            f"{text[:30]!r} is not a moment; expected one such as 2026-03-01 or "
            "2026-03-01T10:30:00+01:00"
        ) from error
    if moment.year < FIRST_YEAR:
        raise Bad(f"{text[:30]!r} lies before {FIRST_YEAR}")
    # until the end of a day that has begun: what was exported above is read again
    if early > reading.now + (timedelta() if state is State.GRANTED else timedelta(days=1)):
        raise Bad(f"{text[:30]!r} lies in the future (--timezone says where the shop is)")
    return moment.astimezone(UTC)


def _key(cells: Mapping[str, str], reading: Reading) -> str:
    if KEYED in cells:
        if not _KEY.fullmatch(cells[KEYED]):
            raise Bad("the customer key has 64 hex digits, as 'consent export' writes it")
        return cells[KEYED]
    key = customer_key(reading.secret, cells["customer"])
    if key is None:
        raise Bad("the customer is empty")
    return key


def _header(path: Path, encoding: str) -> tuple[str, dict[str, int]]:
    """The delimiter, and where each column stands."""
    best: list[str] = []
    for sign in DELIMITERS:
        try:
            header = [cell.strip().lower() for cell in read_header(path, encoding, sign)]
        except csv.Error:
            continue
        first = KEYED if KEYED in header else COLUMNS[0]
        wanted = (first, *COLUMNS[1:])
        if set(wanted) <= set(header):
            twice = [name for name in (*wanted, WORDING) if header.count(name) > 1]
            if twice:
                raise InputError(f"the column {twice[0]!r} stands twice.", where=f"{path.name}:1:1")
            names = chain(wanted, (WORDING,) if WORDING in header else ())
            return sign, {name: header.index(name) for name in names}
        best = max(best, header, key=len)
    missing = [name for name in COLUMNS if name not in best]
    raise InputError(
        f"the header has no column {', '.join(missing)}; it has {', '.join(best[:20])!r}.",
        where=f"{path.name}:1:1",
        fix=f"Write this as the first line of the file: {EXAMPLE}",
    )


def _refused(name: str, bad: list[tuple[int, str]], total: int) -> InputError:
    shown = "\n".join(f"  {name}:{line}: {problem}" for line, problem in bad[:SHOWN])
    return InputError(
        f"{len(bad)} of {total} lines cannot be used. Nothing was imported, because a line that "
        f"is left out could be a withdrawal. The first ones:\n{shown}\n",
        where=f"{name}:{bad[0][0]}:1",
        fix="Correct these lines and import the file again.",
    )
