"""A source is opened and understood: which reading, which date order, which decimal sign.

Nothing is guessed: where two readings are possible, the refusal names the option that settles it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from node.data import connectors, generic
from node.data.batch import Pass, Reading, RoleBatch, TextBatch
from node.data.cells import Headers
from node.data.columns import Role
from node.data.convert import Format
from node.data.database import Database
from node.data.opened import CsvTable, OpenTable
from node.data.plan import DELIMITER_NAMES, Options
from node.data.rawfile import open_regular
from node.data.serial_days import with_days
from node.data.sniff import Evidence, decide_date_order, decide_decimal, open_csv
from node.data.source import Source, sniff_encoding
from node.data.values import ORDERS, DateOrder, DecimalSign, currency, day_readings
from protocols.canonical import digest
from protocols.errors import InputError

_JSON_LIST: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[\s*[\]{]|\{\s*[\"}])")
HEADER_AGAIN: Final = "the header line again"
_DECIMAL_NAMES: Final = {"point": ".", "dot": ".", "comma": ","}
_DAYS: Final = (Role.DATE, Role.FIRST_SEEN, Role.AS_OF)
_NUMBERS: Final = (
    Role.QUANTITY,
    Role.UNIT_PRICE,
    Role.DISCOUNT,
    Role.TOTAL,
    Role.ON_HAND,
    Role.INCOMING,
)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """An open source with the way it is read; ``zone_name`` is the zone that times are meant in."""

    table: OpenTable
    reading: Reading
    form: Format
    zone_name: str

    def digest(self) -> str:
        """Names the way of reading: the same file read so again changes nothing (64 hex digits)."""
        form = self.form
        return digest(
            "datacoop/import-reading/v1",
            self.reading.digest,
            self.table.read_as,
            form.date_order,
            form.decimal,
            self.zone_name,
            form.currency or "",
        ).hex()

    def rows(self) -> Iterator[RoleBatch]:
        """The whole source under roles, read from the beginning."""
        one = self.reading.start()
        for batch in self.table.batches(self.reading.wanted):
            yield with_days(taken(one, batch), self.table.epoch)
        last = one.finish()
        if last is not None:
            yield with_days(last, self.table.epoch)


@contextmanager
def surveyed(spec: Path | Database, options: Options, day: date | None) -> Iterator[Surveyed]:
    """Open a source and decide how it is read.

    Args:
        spec: a file, or a table of a database.
        options: what the member said.
        day: of a stock list that names none.

    Raises:
        InputError: it cannot be used as it is; names file:line:column or the option.
    """
    zone_name = options.timezone
    _zone(zone_name)
    _currency(options.currency)
    with _opened(spec, options) as (table, reading), table:
        if options.timezone == "UTC":
            zone_name = reading.fixed.get("timezone", "UTC")
        order, decimal = _formats(table, reading, options)
        money = _currency(options.currency or reading.fixed.get("currency"))
        form = Format(order, decimal, _zone(zone_name), money, day)
        yield Surveyed(table, reading, form, zone_name)


def taken(one: Pass, batch: TextBatch) -> RoleBatch:
    """A batch through a pass, without lines that repeat the header."""
    again: pa.Array | None = None
    for name, cells in batch.columns.items():
        same = pc.equal(cells, name)
        again = same if again is None else pc.and_(again, same)
        if not pc.any(again).as_py():
            return one.take(batch)
    if again is None or not len(again):
        return one.take(batch)
    keep = pc.invert(again)
    columns = {name: cells.filter(keep) for name, cells in batch.columns.items()}
    lines = batch.lines[keep.to_numpy(zero_copy_only=False)]
    out = one.take(TextBatch(columns, lines, batch.broken))
    left_out = {**out.left_out, HEADER_AGAIN: pc.sum(again).as_py()}
    return replace(out, left_out=left_out)


# --- opening -----------------------------------------------------------------------------------


@contextmanager
def _opened(spec: Path | Database, options: Options) -> Iterator[tuple[OpenTable, Reading]]:
    if isinstance(spec, Database):
        from node.data.database import opened as opened_database

        with opened_database(spec) as table:
            yield table, read_as(table.header, table.sample, options, table.name)
        return
    kind = kind_of(spec)
    if kind == "csv":
        yield _open_csv(spec, options)
    elif kind == "json":
        from node.data.rest_json import opened as opened_json

        with opened_json(spec) as orders:
            yield orders, read_as(orders.header, orders.sample, options, orders.name)
    elif kind == "parquet":
        from node.data.parquet import opened as opened_parquet

        with opened_parquet(spec) as found:
            yield found, read_as(found.header, found.sample, options, found.name)
    else:
        from node.data.workbook import opened as opened_workbook

        def choose(header: Sequence[str], sample: Sequence[Sequence[str]]) -> Reading:
            return read_as(header, sample, options, spec.name)

        with opened_workbook(spec, kind, options.sheet, choose) as pair:
            yield pair


def kind_of(path: Path) -> str:
    """csv, json, parquet, zip (a workbook) or xls: by the first bytes, never by the name."""
    with os.fdopen(open_regular(path), "rb") as file:
        head = file.read(8)
        if _JSON_LIST.match(head + file.read(24)):
            return "json"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return "zip"
    return "xls" if head == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" else "csv"


def _open_csv(path: Path, options: Options) -> tuple[OpenTable, Reading]:
    encoding = sniff_encoding(path, options.encoding)

    def choose(header: Sequence[str], sample: Sequence[Sequence[str]]) -> Reading:
        return read_as(header, sample, options, path.name)

    found = open_csv(path, encoding, options.delimiter, choose)
    header, *sample = (tuple(row) for row in found.head.rows)
    source = Source(path, encoding, found.delimiter)
    read = f"{DELIMITER_NAMES[found.delimiter]}, {encoding}"
    table = CsvTable(
        path, encoding, found.delimiter, header, tuple(sample), path.name, read, source
    )
    return table, found.reading


def read_as(
    header: Sequence[str], sample: Sequence[Sequence[str]], options: Options, name: str
) -> Reading:
    """The reading of a header: the one asked for, a till's own, or the generic one.

    Raises:
        InputError: none fits.
    """
    try:
        return _reading(header, sample, options, name)
    except InputError as error:
        # a dialect knows the header, not the file's name
        where = error.where.replace("header:1", f"{name}:1", 1)
        raise InputError(error.problem, code=error.code, where=where, fix=error.fix) from error


def _reading(
    header: Sequence[str], sample: Sequence[Sequence[str]], options: Options, name: str
) -> Reading:
    said = {"date_order": options.date_order or "", "currency": options.currency or ""}
    if options.mapping is not None:
        from node.data.mapping import read_mapping

        return read_mapping(options.mapping).read(header, sample, said)
    if options.dialect is not None:
        return connectors.find(options.dialect).read(header, sample, said)
    if options.columns:
        return generic.reading(header, options.columns, name, sample)
    found = connectors.detect(header, sample, said)
    reading = connectors.choose(found)
    if reading is not None:
        return reading
    try:
        return generic.reading(header, options.columns, name, sample)
    except InputError as error:
        if not found:
            raise
        raise InputError(
            error.problem,
            where=error.where,
            fix=f"It may be {found[0].reading.name} ({found[0].reason}). If so: --as "
            f"{found[0].name}. Else: {error.fix}",
        ) from error


# --- formats -----------------------------------------------------------------------------------


def _formats(table: OpenTable, reading: Reading, options: Options) -> tuple[DateOrder, DecimalSign]:
    """Date order and decimal sign: said, fixed by the format, or from as few rows as settle it."""
    said_order = _one_of(options.date_order, ORDERS, "--date-order")
    said_order = said_order or _as_fixed(table, reading)
    wanted = _DECIMAL_NAMES.get(options.decimal or "", options.decimal)
    said_decimal = _one_of(wanted, (".", ","), "--decimal") or reading.fixed.get("decimal")
    if not (said_order and said_decimal):
        evidence = Evidence(Headers.of(reading.columns))
        one = reading.start()
        for count, batch in enumerate(table.batches(reading.wanted), start=1):
            evidence.add(with_days(taken(one, batch), table.epoch), _DAYS, _NUMBERS)
            # judged after 1, 2, 4, 8 ... batches: all that was seen is looked at each time
            if count & (count - 1) == 0 and _settled(evidence):
                break
        else:
            last = one.finish()
            if last is not None:
                evidence.add(with_days(last, table.epoch), _DAYS, _NUMBERS)
        said_order = said_order or decide_date_order(evidence, table.name)[0]
        said_decimal = said_decimal or decide_decimal(evidence, table.name)[0]
    return said_order, said_decimal  # type: ignore[return-value]


def _as_fixed(table: OpenTable, reading: Reading) -> str | None:
    """The date order that the format has; None where most of the first rows show another.

    A spreadsheet that saved the export again writes days in the order of its own country.
    """
    order = reading.fixed.get("date_order")
    if order is None:
        return None
    columns = {
        name: pa.array([row[at] if at < len(row) else "" for row in table.sample], pa.string())
        for at, name in enumerate(table.header)
        if name in reading.wanted
    }
    one = reading.start()
    try:
        made = one.take(TextBatch(columns, np.arange(2, len(table.sample) + 2))), one.finish()
    except InputError:
        return order  # the first rows leave a question open that the whole file may answer
    cells = [
        text
        for batch in made
        if batch is not None
        for role in _DAYS
        if role in batch.columns
        for text in batch.columns[role].to_pylist()
    ]
    seen = [readings for readings in map(day_readings, cells) if readings]
    return order if 2 * sum(order in readings for readings in seen) >= len(seen) else None


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
