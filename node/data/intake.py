"""``coop-node data add FILE.csv``: look at a file first, then take it in as one transaction.

``preview`` reads the whole file, decides how it is written, and says what would happen; it
writes nothing. ``add`` does exactly what the plan says, or nothing: the same file with the same
bytes, one transaction in the vault, bad rows set aside in a CSV that the member can open.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow.compute as pc

from node.data.batch import BadRow
from node.data.columns import Column, Fate, Role
from node.data.convert import Converter, Format
from node.data.sniff import (
    DELIMITERS,
    Evidence,
    decide_date_order,
    decide_decimal,
    sniff_header,
)
from node.data.source import Progress, Source, sniff_encoding
from node.data.stages import RawRows
from node.data.values import ORDERS, DateOrder, DecimalSign, currency
from node.data.vault import ImportNote, Vault
from protocols.errors import InputError, LocalError

MAX_BAD_SHARE: Final = 0.02
PREVIEW_ROWS: Final = 20
EXAMPLES: Final = 5
_DECIMAL_NAMES: Final = {"point": ".", "dot": ".", "comma": ","}
MIN_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Options:
    """What the member said about the file; None means: find it, or ask.

    ``columns`` maps a role name (``node.data.columns.Role``) to a header of the file.
    ``timezone`` is the shop's IANA zone, in which printed times are meant.
    """

    delimiter: str | None = None
    encoding: str | None = None
    date_order: str | None = None
    decimal: str | None = None
    timezone: str = "UTC"
    currency: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    max_bad_share: float = MAX_BAD_SHARE


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What adding a file would do. Nothing has been written.

    ``rows`` counts all records, ``bad_rows`` those to be set aside; ``preview`` are the first
    records as they stand in the file, under ``columns``; ``confidence`` (0-1) is the lowest of
    the columns that are used.
    """

    path: Path
    size_bytes: int
    sha256: str
    delimiter: str
    encoding: str
    date_order: DateOrder
    decimal: DecimalSign
    timezone: str
    currency: str | None
    columns: tuple[Column, ...]
    derived: tuple[str, ...]
    notes: tuple[str, ...]
    rows: int
    bad_rows: int
    examples: tuple[BadRow, ...]
    date_from: date
    date_to: date
    categories: int
    confidence: float
    preview: tuple[tuple[str, ...], ...] = field(repr=False)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Headers of the personal columns that are dropped at the door."""
        return tuple(c.header for c in self.columns if c.fate is Fate.PERSONAL)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Headers of the columns that nothing is done with."""
        return tuple(c.header for c in self.columns if c.fate is Fate.IGNORED)

    @property
    def delimiter_name(self) -> str:
        """The delimiter in words."""
        return DELIMITERS[self.delimiter]


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What adding a file did. ``quarantine`` is the CSV of the rows set aside, if any.

    ``named`` of the duplicates were here without a customer and got theirs.
    """

    rows_added: int
    duplicates: int
    named: int
    quarantined: int
    quarantine: Path | None
    date_from: date
    date_to: date
    categories: int
    already_known: bool


def preview(
    path: Path, options: Options | None = None, progress: Progress | None = None
) -> ImportPlan:
    """Read a file from end to end and say what adding it would do; writes nothing.

    Args:
        path: the CSV file.
        options: what the member said about it.
        progress: called with (bytes read, bytes in all).

    Raises:
        InputError: the file cannot be used as it is; names file:line:column or the option.
    """
    options = options if options is not None else Options()
    zone = _zone(options.timezone)
    money = _currency(options.currency)
    if not 0 <= options.max_bad_share < 1:
        raise InputError(
            f"{options.max_bad_share} is not a share of bad rows; expected 0 to 0.99.",
            where="--max-bad-share",
        )
    encoding = sniff_encoding(path, options.encoding)
    delimiter, columns = sniff_header(path, encoding, options.delimiter, options.columns)
    date_order, decimal = _formats(path, encoding, delimiter, columns, options)
    converter = Converter(columns, Format(date_order, decimal, zone, money), secret=None)
    tally = _Tally()
    with Source(path, encoding, delimiter) as source:
        head: list[tuple[str, ...]] = []
        for chunk in islice(source.chunks(), 1, None):
            head.extend(tuple(row) for row in chunk.rows[: PREVIEW_ROWS - len(head)])
            tally.add(*converter.convert(chunk))
            if progress is not None:
                progress(source.read_bytes, source.size_bytes)
        sha256 = source.finish()
        size_bytes = source.size_bytes
    tally.require_usable(path.name, options.max_bad_share)
    assert tally.date_from is not None and tally.date_to is not None
    used = [c.confidence for c in columns if c.role is not None]
    return ImportPlan(
        path=path,
        size_bytes=size_bytes,
        sha256=sha256,
        delimiter=delimiter,
        encoding=encoding,
        date_order=date_order,
        decimal=decimal,
        timezone=options.timezone,
        currency=money,
        columns=tuple(columns),
        derived=_derived(columns, options.timezone),
        notes=_notes(columns, options, tally),
        rows=tally.good + tally.bad,
        bad_rows=tally.bad,
        examples=tuple(tally.examples),
        date_from=tally.date_from,
        date_to=tally.date_to,
        categories=len(tally.categories),
        confidence=min(used),
        preview=tuple(head),
    )


def add(
    vault: Vault,
    plan: ImportPlan,
    customer_secret: bytes,
    now: datetime,
    progress: Progress | None = None,
) -> ImportResult:
    """Take the file of a plan into the vault: all of it or nothing.

    Args:
        vault: where the lines go.
        plan: from ``preview``; the file must still have the same bytes.
        customer_secret: this member's own secret for customer keys, at least 32 bytes.
        now: the instant of the import, with a time zone.
        progress: called with (bytes read, bytes in all).

    Raises:
        InputError: the file changed since the preview.
        LocalError: the disk is full, or another import is running; nothing was changed.
    """
    if len(customer_secret) < MIN_SECRET_BYTES:
        raise LocalError(
            f"the customer secret has {len(customer_secret)} bytes; at least "
            f"{MIN_SECRET_BYTES} are expected.",
            fix="Restore keys/customer.key from your backup, or create the node again.",
        )
    if now.tzinfo is None:
        raise LocalError("the instant of an import needs a time zone.")
    form = Format(plan.date_order, plan.decimal, _zone(plan.timezone), plan.currency)
    converter = Converter(plan.columns, form, customer_secret)
    tally = _Tally()
    kept = [c.header for c in plan.columns if c.fate is Fate.KEPT]
    with vault.begin() as change, Source(plan.path, plan.encoding, plan.delimiter) as source:
        with _Quarantine(change.quarantine_path, kept) as quarantine:
            for chunk in islice(source.chunks(), 1, None):
                rows, bad = converter.convert(chunk)
                change.write(rows)
                quarantine.write(bad)
                tally.add(rows, bad)
                if progress is not None:
                    progress(source.read_bytes, source.size_bytes)
        if source.finish() != plan.sha256:
            raise InputError(
                "the file is not the one that was previewed; its contents changed.",
                where=plan.path.name,
                fix="Look at it again with: coop-node data add FILE.csv --dry-run",
            )
        note = ImportNote(
            file_name=plan.path.name,
            sha256=plan.sha256,
            rows_read=tally.good + tally.bad,
            quarantined=tally.bad,
            when=now.astimezone(UTC),
        )
        done = change.commit(note)
    return ImportResult(
        rows_added=done.rows_added,
        duplicates=done.duplicates,
        named=done.named,
        quarantined=tally.bad,
        quarantine=done.quarantine,
        date_from=plan.date_from,
        date_to=plan.date_to,
        categories=len(tally.categories),
        already_known=done.already_known,
    )


# --- decisions ---------------------------------------------------------------------------------


def _formats(
    path: Path, encoding: str, delimiter: str, columns: Sequence[Column], options: Options
) -> tuple[DateOrder, DecimalSign]:
    """Date order and decimal sign: from the options, else from the rows, as few as settle it."""
    said_order = _one_of(options.date_order, ORDERS, "--date-order")
    wanted = _DECIMAL_NAMES.get(options.decimal or "", options.decimal)
    said_decimal = _one_of(wanted, (".", ","), "--decimal")
    if said_order and said_decimal:
        return said_order, said_decimal  # type: ignore[return-value]
    place = {c.role: c.place - 1 for c in columns}
    amounts = [
        place[role]
        for role in (Role.QUANTITY, Role.UNIT_PRICE, Role.DISCOUNT, Role.TOTAL)
        if role in place
    ]
    evidence = Evidence()
    with Source(path, encoding, delimiter) as source:
        chunks = islice(source.chunks(), 1, None)
        for chunk in chunks:
            evidence.add(chunk, place[Role.DATE], amounts)
            if _settled(evidence):
                break
    order = said_order or decide_date_order(evidence, path.name)[0]
    decimal = said_decimal or decide_decimal(evidence, path.name)[0]
    return order, decimal  # type: ignore[return-value]


def _settled(evidence: Evidence) -> bool:
    """Whether further rows cannot change the answer any more."""
    try:
        return decide_date_order(evidence, "")[1] and decide_decimal(evidence, "")[1]
    except InputError:
        return False  # an open question: later rows may still answer it


def _one_of(said: str | None, allowed: Sequence[str], option: str) -> str | None:
    if said is None:
        return None
    if said not in allowed:
        raise InputError(
            f"{said!r} is not possible here; expected one of {' '.join(allowed)}.", where=option
        )
    return said


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"{name!r} is not a time zone; expected a name such as Europe/Paris.",
            where="--timezone",
        ) from error


def _currency(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return currency(text)
    except ValueError as error:
        raise InputError(f"{error}.", where="--currency") from error


def _derived(columns: Sequence[Column], timezone: str) -> tuple[str, ...]:
    """One sentence for each canonical column that is made from others."""
    at = {c.role: c.header.strip() for c in columns if c.role is not None}
    clock = f"{at[Role.DATE]} and {at[Role.TIME]}" if Role.TIME in at else at[Role.DATE]
    out = [f"business_date and ts_utc from {clock}, in {timezone}"]
    if Role.TOTAL not in at:
        out.append("net from quantity x unit price - discount")
    if Role.UNIT_PRICE not in at:
        out.append("unit_price from (total + discount) / quantity")
    sign = f"{at[Role.KIND]} or " if Role.KIND in at else ""
    out.append(f"is_return from {sign}a negative quantity")
    if Role.CUSTOMER in at:
        out.append(
            f"customer_key from {at[Role.CUSTOMER]}: a keyed hash, the secret stays on this node"
        )
    return tuple(out)


def _notes(columns: Sequence[Column], options: Options, tally: _Tally) -> tuple[str, ...]:
    """What the member may want to know before saying yes."""
    roles = {c.role for c in columns}
    out = []
    if Role.CATEGORY not in roles:
        out.append("There is no category column: forecasts by category need one.")
    if Role.CURRENCY not in roles and options.currency is None:
        out.append("The file names no currency; add --currency EUR (or yours) to record it.")
    if Role.TIME in roles and options.timezone == "UTC":
        out.append("Times are read as UTC; add --timezone Europe/Paris (or yours) if they are not.")
    if Role.ORDER not in roles:
        out.append("There is no receipt number: identical lines are told apart by counting.")
    if tally.bad:
        out.append(f"{tally.bad} rows cannot be read and would be set aside.")
    return tuple(out)


@dataclass(slots=True)
class _Tally:
    """What went by: good and bad rows, first and last day, categories."""

    good: int = 0
    bad: int = 0
    date_from: date | None = None
    date_to: date | None = None
    categories: set[str] = field(default_factory=set)
    examples: list[BadRow] = field(default_factory=list)

    def add(self, rows: RawRows, bad: Sequence[BadRow]) -> None:
        self.bad += len(bad)
        self.examples.extend(bad[: EXAMPLES - len(self.examples)])
        if not rows.table.num_rows:
            return
        self.good += rows.table.num_rows
        first_last = pc.min_max(rows.table["business_date"]).as_py()
        self.date_from = min(filter(None, (self.date_from, first_last["min"])))
        self.date_to = max(filter(None, (self.date_to, first_last["max"])))
        names = pc.unique(rows.table["category_code"]).to_pylist()
        self.categories.update(name for name in names if name)

    def require_usable(self, file_name: str, max_bad_share: float) -> None:
        """Refuse a file without sales lines, or with too many bad ones."""
        total = self.good + self.bad
        if not total:
            raise InputError(
                "the file has a header but no sales lines.",
                where=f"{file_name}:2:1",
                fix="Export it again, and choose a period in which there were sales.",
            )
        if self.good and self.bad <= max_bad_share * total:
            return
        first = self.examples[0]
        shown = "\n".join(f"  {file_name}:{b.line}:{b.place}: {b.problem}" for b in self.examples)
        raise InputError(
            f"{self.bad} of {total} rows cannot be read ({self.bad / total:.1%}; at most "
            f"{max_bad_share:.1%} are set aside). Nothing was imported. The first ones:\n{shown}\n",
            where=f"{file_name}:{first.line}:{first.place}",
            fix="Correct these rows or export the file again; if a whole column is misread, say "
            "which column is what with --column, or set --date-order or --decimal.",
        )


# --- quarantine --------------------------------------------------------------------------------

_FORMULA = re.compile(r"^[=+\-@\t\r]")
_PLAIN_NUMBER = re.compile(r"^[-+]?[0-9.,\s]+$")


def escape_formula(text: str) -> str:
    """A cell that a spreadsheet shows as text and never runs."""
    if _FORMULA.match(text) and not _PLAIN_NUMBER.match(text):
        return "'" + text
    return text


class _Quarantine:
    """The CSV of rows set aside: where, why, and the cells that are not personal."""

    def __init__(self, path: Path, kept: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8-sig", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(map(escape_formula, ("line", "column", "problem", *kept)))

    def __enter__(self) -> _Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, rows: Iterable[BadRow]) -> None:
        for row in rows:
            cells = chain((str(row.line), str(row.place), row.problem), row.kept)
            self._csv.writerow(map(escape_formula, cells))
