"""The golden files of dialects: read a CSV in stretches, and say plainly what came of it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from node.data.batch import Reading, RoleBatch, TextBatch
from node.data.columns import Fate
from node.data.convert import Converter, Format
from node.data.values import customer_key

SECRET = bytes(range(32))
DIALECTS = Path(__file__).parents[1] / "vectors" / "imports" / "dialects"
Row = Sequence[str]


def records(path: Path) -> list[list[str]]:
    """Header and rows of a CSV."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def stretches(
    header: Row, rows: Sequence[Row], wanted: Sequence[str], cuts: Sequence[int]
) -> Iterator[TextBatch]:
    """The rows cut before each of ``cuts``; line 2 is the first row's."""
    edges = [0, *sorted(cuts), len(rows)]
    for first, last in pairwise(edges):
        part = rows[first:last]
        columns = {
            name: pa.array([row[list(header).index(name)] for row in part], pa.string())
            for name in wanted
        }
        yield TextBatch(columns, np.arange(first + 2, last + 2, dtype=np.int64))


def role_batches(reading: Reading, batches: Iterator[TextBatch]) -> list[RoleBatch]:
    """A whole pass."""
    one = reading.start()
    out = [one.take(batch) for batch in batches]
    last = one.finish()
    return [*out, last] if last is not None else out


def outcome(
    reading: Reading,
    header: Row,
    rows: Sequence[Row],
    said: Mapping[str, str],
    cuts: Row | Any = (),
) -> dict[str, Any]:
    """What reading these rows gives, as a JSON value."""
    form = Format(
        said.get("date_order", reading.fixed.get("date_order", "ymd")),  # type: ignore[arg-type]
        reading.fixed.get("decimal", "."),  # type: ignore[arg-type]
        ZoneInfo(said.get("timezone", reading.fixed.get("timezone", "UTC"))),
        said.get("currency", reading.fixed.get("currency")),
        date.fromisoformat(said.get("as_of", "2026-01-31")),
    )
    converter = Converter(reading.table, reading.columns, form, SECRET)
    lines: list[str] = []
    names: list[str] = []
    bad: list[list[Any]] = []
    left_out: Counter[str] = Counter()
    for batch in role_batches(reading, stretches(header, rows, reading.wanted, cuts)):
        made, refused = converter.convert(batch)
        bad += [[one.line, one.problem] for one in refused]
        left_out.update(batch.left_out)
        names = [n for n in made.table.column_names if n != "local_us"]
        table = made.table.select(names)
        lines += [" | ".join(map(_shown, row.values())) for row in table.to_pylist()]
    return {
        "table": reading.table,
        "columns": " | ".join(names),
        "rows": lines,
        "bad": sorted(bad),
        "left_out": dict(sorted(left_out.items())),
        "customer": [c.header for c in reading.columns if c.fate is Fate.CUSTOMER],
        "dropped": [c.header for c in reading.columns if c.fate is Fate.PERSONAL],
        "blocked": [c.header for c in reading.columns if c.fate is Fate.BLOCKED],
        "used": [c.header for c in reading.columns if c.fate is Fate.USED],
        "fixed": dict(reading.fixed),
        "derived": list(reading.derived),
        "notes": list(reading.notes),
    }


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "tzinfo"):
        return str(value.strftime("%Y-%m-%dT%H:%M:%SZ"))
    text = str(value)
    return people().get(text, text)


@cache
def people() -> dict[str, str]:
    """Customer key -> the invented identifier it stands for, in its normal form."""
    known = {}
    for path in DIALECTS.glob("*/*.csv"):
        for row in records(path):
            for cell in row:
                if 2 < len(cell) < 40:
                    for text in (cell, cell.removeprefix("'")):
                        key = customer_key(SECRET, text)
                        if key is not None:
                            known.setdefault(key, f"<{text.strip().casefold()}>")
    return known
