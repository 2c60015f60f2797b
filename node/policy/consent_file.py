"""A CSV of what customers said, read to the last line before anything of it counts.

Columns, in any order: ``customer`` (as the till writes it; or ``customer_key`` from an export of
this node), ``scope``, ``state``, ``at``, ``source``, and if it is known ``wording`` (SHA-256 of
the text that the customer saw). A customer's identifier becomes a keyed hash here and is
forgotten. One line that cannot be read refuses the file: it could be a withdrawal.

Besides the four states of the ledger a file may say ``gpc`` (Global Privacy Control) or
``opt-out``, which count as an objection, and a no may name ``*`` for every purpose of this node. A
yes names its one purpose: purposes are never bundled.
"""

from __future__ import annotations

import csv
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import chain
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from node.data.values import customer_key
from node.store.consent_sql import Row, stored
from node.store.consents import Event, State
from protocols.errors import InputError

COLUMNS: Final = ("customer", "scope", "state", "at", "source")
KEYED: Final = "customer_key"
WORDING: Final = "wording"
SHOWN: Final = 5
FIRST_YEAR: Final = 1990
EXAMPLE: Final = "customer,scope,state,at,source"
EVERY: Final = "*"
OPT_OUTS: Final = frozenset({"gpc", "opt-out", "optout", "opted-out", "do-not-sell"})
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
    rows: tuple[Row, ...] = field(repr=False)

    def counts(self) -> Mapping[tuple[str, str], int]:
        """How many answers by (scope, state)."""
        return Counter((row[1], row[2]) for row in self.rows)


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
    from node.data.source import Source, sniff_encoding

    encoding = sniff_encoding(path, None)
    delimiter, header, places = _header(path, encoding)
    rows: list[Row] = []
    bad: list[tuple[int, str]] = []
    said = _Said(reading)
    with Source(path, encoding, delimiter) as source:
        for batch in source.batches(list(places.values())):
            bad += ((row.line, row.problem) for row in batch.broken)
            columns = {
                name: batch.columns[header[place]].to_pylist() for name, place in places.items()
            }
            rows += said.rows(columns, batch.lines.tolist(), bad)
        sha256 = source.finish()
    if bad:
        raise _refused(path.name, sorted(bad), len(rows) + len(bad))
    if not rows:
        raise InputError("the file has a header and no lines.", where=f"{path.name}:2:1")
    return Answers(path.name, sha256, tuple(rows))


class _Said:
    """Reads lines; what they say besides the customer is the same in most and read once."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._seen: dict[tuple[str, ...], tuple[tuple[str, ...], ...] | str] = {}

    def rows(
        self,
        columns: Mapping[str, list[str]],
        lines: Iterable[int],
        bad: list[tuple[int, str]],
    ) -> list[Row]:
        """The events of a stretch; lines that cannot be used go to ``bad``."""
        names = [name for name in columns if name not in (KEYED, COLUMNS[0])]
        keyed = KEYED in columns
        out: list[Row] = []
        rest = zip(*(columns[name] for name in names), strict=True)
        who = columns[KEYED if keyed else COLUMNS[0]]
        secret = self._reading.secret
        for line, customer, cells in zip(lines, who, rest, strict=True):
            answers = self._seen.get(cells)
            if answers is None:
                answers = self._seen[cells] = self._read(names, cells)
            key = _known_key(customer) if keyed else key_of(secret, customer)
            if isinstance(answers, str):
                bad.append((line, answers))
            elif key is None:
                bad.append((line, _NO_KEY if keyed else "the customer is empty"))
            else:
                out.extend((key, *answer) for answer in answers)  # type: ignore[misc]
        return out

    def _read(
        self, names: Sequence[str], cells: tuple[str, ...]
    ) -> tuple[tuple[str, ...], ...] | str:
        """(scope, state, at, wording, source) of each scope, or what is wrong with the cells."""
        stripped = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
        try:
            return tuple(
                (one.scope, one.state.value, stored(one.at), one.wording, one.source)
                for one in answers(stripped, self._reading)
            )
        except Bad as error:
            return str(error)


def key_of(secret: bytes, customer: str) -> bytes | None:
    """``node.data.values.customer_key`` as 32 bytes, quicker for plain letters and digits."""
    if not customer.isascii():
        key = customer_key(secret, customer)
        return bytes.fromhex(key) if key is not None else None
    normal = "".join(customer.split()).casefold()
    return hmac.digest(secret, normal.encode(), "sha256") if normal else None


_NO_KEY = "the customer key has 64 hex digits, as 'consent export' writes it"


def _known_key(text: str) -> bytes | None:
    stripped = text.strip()
    return bytes.fromhex(stripped) if _KEY.fullmatch(stripped) else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said about one purpose; of whom is not here."""

    scope: str
    state: State
    at: datetime
    wording: str
    source: str

    def of(self, customer_key: str) -> Event:
        """As an event of one customer (64 hex digits)."""
        return Event(customer_key, self.scope, self.state, self.at, self.wording, self.source)


def answers(cells: Mapping[str, str], reading: Reading) -> tuple[Answer, ...]:
    """The answers of one line, one for each purpose it names; ``Bad`` says what was expected.

    Args:
        cells: scope, state, at, source and perhaps wording, without blanks around them.
        reading: what reading a line needs to know.
    """
    word = cells["state"].lower()
    try:
        state = State.OBJECTED if word in OPT_OUTS else State(word)
    except ValueError as error:
        known = ", ".join((*State, "gpc", "opt-out"))
        raise Bad(
            f"the state {cells['state'][:20]!r} is not known; expected one of: {known}"
        ) from error
    if not _SOURCE.fullmatch(cells["source"]):
        raise Bad("the source is a short name of 1 to 64 letters and digits, such as till")
    wording = cells.get(WORDING, "")
    if wording and not _KEY.fullmatch(wording):
        raise Bad("the wording is the SHA-256 of the text that was shown, 64 hex digits")
    if state is State.GRANTED:
        wording = wording or reading.wording
    at = instant(cells["at"], state, reading)
    scopes = _scopes(cells["scope"], state, reading.scopes)
    return tuple(Answer(scope, state, at, wording, cells["source"]) for scope in scopes)


def _scopes(scope: str, state: State, known: frozenset[str]) -> tuple[str, ...]:
    if scope == EVERY and state is not State.GRANTED:
        return tuple(sorted(known))
    if scope == EVERY:
        raise Bad("a yes names its one purpose; * is for those who say no to everything")
    if scope not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise Bad(f"the scope {scope[:40]!r} is not a purpose here; expected one of: {listed}")
    return (scope,)


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
            early = moment = moment if moment.tzinfo else _local(moment, state, reading.zone)
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


def _local(moment: datetime, state: State, zone: ZoneInfo) -> datetime:
    """A time of the shop's clock; of an hour that the clock shows twice a yes is in the first."""
    both = [moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    return min(both) if state is State.GRANTED else max(both)


def _header(path: Path, encoding: str) -> tuple[str, list[str], dict[str, int]]:
    """The delimiter, the header as written, and where each column that is read stands."""
    from node.data.sniff import DELIMITERS, read_head

    best: list[str] = []
    for sign in DELIMITERS:
        try:
            written = read_head(path, encoding, sign).rows[0]
        except csv.Error:
            continue
        header = [cell.strip().lower() for cell in written]
        first = KEYED if KEYED in header else COLUMNS[0]
        wanted = (first, *COLUMNS[1:])
        if set(wanted) <= set(header):
            twice = [name for name in (*wanted, WORDING) if header.count(name) > 1]
            if twice:
                raise InputError(f"the column {twice[0]!r} stands twice.", where=f"{path.name}:1:1")
            names = chain(wanted, (WORDING,) if WORDING in header else ())
            return sign, written, {name: header.index(name) for name in names}
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
