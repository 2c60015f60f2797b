"""A first look at a file: its header and first rows, before anybody knows what it is.

For ``data detect`` and for the mapping wizard. Nothing is decided here but the delimiter, and
nothing is read beyond the first rows.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from node.data import connectors
from node.data.batch import Reading
from node.data.plan import Options
from node.data.sniff import DELIMITERS, open_csv, parse_delimiter, read_head
from node.data.source import sniff_encoding
from node.data.survey import kind_of
from protocols.errors import InputError

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Glance:
    """Header and first rows of a file; ``read_as`` says in words how it was opened."""

    name: str
    header: tuple[str, ...]
    sample: Rows = field(repr=False)
    read_as: str


def glance(path: Path, options: Options | None = None) -> Glance:
    """Look at a file.

    Args:
        path: CSV, Excel or Parquet, by its first bytes.
        options: ``delimiter``, ``encoding`` and ``sheet`` count.

    Raises:
        InputError: it is no such file, or has no header with at least two columns.
    """
    options = options if options is not None else Options()
    kind = kind_of(path)
    if kind == "csv":
        return _csv(path, options)
    if kind == "json":
        from node.data.rest_json import opened as opened_json

        with opened_json(path) as orders:
            return Glance(orders.name, orders.header, orders.sample, orders.read_as)
    if kind == "parquet":
        from node.data.parquet import opened

        with opened(path) as table:
            return Glance(table.name, tuple(table.header), tuple(table.sample), table.read_as)
    from node.data.workbook import opened as opened_workbook

    with opened_workbook(path, kind, options.sheet, _anything) as (sheet, _):
        return Glance(sheet.name, tuple(sheet.header), tuple(sheet.sample), sheet.read_as)


def _anything(header: Sequence[str], _: Sequence[Sequence[str]]) -> Reading:
    if sum(bool(name.strip()) for name in header) < 2:
        raise InputError(
            "the first line is no header: it names fewer than two columns.",
            where="header:1:1",
            fix="Export the file with a header line.",
        )
    return Reading("a first look", "sales_line", (), (), _never)


def _never() -> NoReturn:
    raise AssertionError("a first look reads no rows")


def _csv(path: Path, options: Options) -> Glance:
    encoding = sniff_encoding(path, options.encoding)
    signs = list(DELIMITERS) if options.delimiter is None else [parse_delimiter(options.delimiter)]
    best: tuple[tuple[float, int], str] | None = None
    for sign in signs:
        try:
            header, *sample = read_head(path, encoding, sign).rows
        except csv.Error:
            continue
        found = connectors.detect(header, sample)
        rank = (found[0].confidence if found else 0.0, len(header))
        if best is None or rank > best[0]:
            best = rank, sign
    sign = best[1] if best is not None else signs[0]
    head = open_csv(path, encoding, sign, _anything).head
    first, *rows = (tuple(row) for row in head.rows)
    return Glance(path.name, first, tuple(rows), f"{DELIMITERS[sign]}, {encoding}")
