"""Whether every value in the vault is possible at all, one stretch of rows after another.

The converter lets nothing else in; this finds what a file that was changed by hand, a faulty
upgrade or another program has left. Nearly every stretch is sound, which Arrow tells from lengths,
bounds and bytes (``sound``); only one that is not is looked at by pandera, which says what is wrong
with which row. Memory is bounded by ``BATCH_ROWS``: a stretch becomes a frame with categories for
texts, so that a check looks at each distinct text once.

Source: N. Bantilan, "pandera: Statistical Data Validation of Pandas Dataframes", SciPy 2020.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from node.data.findings import Rows, Seen, some
from node.data.tables import EARLIEST, LATEST, TEXT_CHARS, Field, Kind, TableFacts

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pandera.pandas as pandera

BATCH_ROWS: Final = 131_072
ROWS_KEPT: Final = 10_000
_CONTROL: Final = r"[\x00-\x08\x0b-\x1f\x7f]"  # tabs and line ends are allowed inside
_ALLOWED: Final = (9, 10)


@dataclass(frozen=True, slots=True)
class Misfits:
    """Values that cannot be: rows looked at, rows that fail, (column, check) -> values, rows."""

    rows: int
    failing: int
    checks: dict[tuple[str, str], int]
    kept: tuple[tuple[Any, ...], ...] = field(default=(), repr=False)

    def seen(self) -> Seen:
        """For the rule."""
        return Seen(self.failing, self.rows, some(f"{c}: {what}" for c, what in self.checks))

    def listed(self) -> Rows:
        """For the owner; values of columns about people are not shown."""
        return Rows(("row", "column", "what is wrong", "value"), self.kept)


def look(db: duckdb.DuckDBPyConnection, facts: TableFacts) -> Misfits:
    """All rows of a table, ``BATCH_ROWS`` at a time."""
    columns = ", ".join(one.name for one in facts.fields)
    found = db.sql(f"SELECT {columns} FROM {facts.name}")  # noqa: S608
    rows = failing = 0
    checks: dict[tuple[str, str], int] = {}
    kept: list[tuple[Any, ...]] = []
    for batch in _batches(found):
        bad = [] if sound(batch, facts) else _failures(_schema(facts), _frame(batch, facts))
        failing += len({row for row, *_ in bad})
        for row, column, what, value in bad:
            checks[column, what] = checks.get((column, what), 0) + 1
            if len(kept) < ROWS_KEPT:
                one = facts.field(column)
                hidden = one is None or one.about_people
                kept.append((rows + row + 1, column, what, "" if hidden else value))
        rows += batch.num_rows
    pa.default_memory_pool().release_unused()
    return Misfits(rows, failing, checks, tuple(kept))


def _batches(found: duckdb.DuckDBPyRelation) -> Iterator[pa.Table]:
    """One stretch after another; the next one is read while this one is looked at."""
    reader = found.to_arrow_reader(BATCH_ROWS)
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(next, reader, None)
        while (batch := coming.result()) is not None:
            coming = ahead.submit(next, reader, None)
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


# --- sound stretches ---------------------------------------------------------------------------


def sound(table: pa.Table, facts: TableFacts) -> bool:
    """Whether pandera would find nothing in these rows; False also where that is not sure."""
    return all(_sound(table[one.name].combine_chunks(), one) for one in facts.fields)


def _sound(column: pa.Array, one: Field) -> bool:
    if one.required and column.null_count:
        return False
    if isinstance(column, pa.ChunkedArray):  # more text than fits into one
        return False
    if one.kind is Kind.FLAG:  # a frame has no flag that is absent
        return bool(pa.types.is_boolean(column.type) and not column.null_count)
    if column.null_count == len(column):
        return True
    if one.kind is Kind.TEXT:
        return _sound_text(column, one)
    return _within(column, one)


def _within(column: pa.Array, one: Field) -> bool:
    """Whether amounts, days or instants lie in their bounds, which are possible themselves."""
    if pa.types.is_floating(column.type):
        return False
    span = pc.min_max(column)
    least, most = (span[end].as_py() for end in ("min", "max"))
    if one.kind is Kind.AMOUNT:
        return bool(one.least <= float(least) and float(most) <= one.most)
    if one.kind is Kind.INSTANT:
        least, most = least.date(), most.date()
    # an instant of the very last day may be behind its first moment: pandera looks at it
    return bool(least >= EARLIEST and most < LATEST)


def _sound_text(column: pa.Array, one: Field) -> bool:
    """Whether no text is empty or over long, none has control characters, all fit the pattern.

    Lengths are of bytes, so that a long text in another alphabet is one for pandera.
    """
    if column.type != pa.string():
        return False
    lengths = pc.binary_length(column)
    span = pc.min_max(lengths)
    if span["min"].as_py() < 1 or span["max"].as_py() > TEXT_CHARS:
        return False
    if not one.pattern:
        return _without_control(column)
    distinct = pc.unique(column).drop_null()
    fits = pc.match_substring_regex(distinct, f"^(?:{one.pattern})$")
    return bool(pc.all(fits).as_py()) and _without_control(distinct)


def _without_control(column: pa.Array) -> bool:
    _, offsets, data = column.buffers()
    first, last = np.frombuffer(offsets, np.int32)[[column.offset, column.offset + len(column)]]
    text = data.slice(first, last - first)
    letters = np.frombuffer(text, np.uint8)
    if not len(letters) or (letters.min() >= 32 and b"\x7f" not in text.to_pybytes()):
        return True
    low = letters[(letters < 32) | (letters == 127)]
    return bool(np.isin(low, _ALLOWED).all())


# --- stretches that are not --------------------------------------------------------------------


def _frame(table: pa.Table, facts: TableFacts) -> pd.DataFrame:
    """Texts as categories, amounts as float64, days and instants as datetimes."""
    columns = []
    for one in facts.fields:
        column = table[one.name]
        if one.kind is Kind.TEXT:
            column = pc.dictionary_encode(column)
        elif one.kind is Kind.AMOUNT:
            column = column.cast(pa.float64())
        elif one.kind is Kind.DAY:
            column = column.cast(pa.timestamp("s"))
        elif one.kind is Kind.INSTANT:
            column = column.cast(pa.timestamp("us", "UTC"))  # DuckDB calls the zone Etc/UTC
        columns.append(column)
    made = pa.Table.from_arrays(columns, names=[one.name for one in facts.fields])
    frame: pd.DataFrame = made.to_pandas()
    return frame


def _failures(
    schema: pandera.DataFrameSchema, frame: pd.DataFrame
) -> list[tuple[int, str, str, str]]:
    """(row from 0, column, what is wrong, value) of one stretch."""
    from pandera.errors import SchemaErrors

    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
    else:
        return []
    out = []
    for case in cases.itertuples():
        row = int(case.index) if case.index == case.index and case.index is not None else 0
        column = str(case.column if isinstance(case.column, str) else case.failure_case)
        out.append((row, column, _in_words(str(case.check)), str(case.failure_case)))
    return out


def _in_words(check: str) -> str:
    known = {"not_nullable": "is empty"}
    return known.get(check, "has another type" if check.startswith("dtype") else check)


@lru_cache(maxsize=8)
def _schema(facts: TableFacts) -> pandera.DataFrameSchema:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pandera says about its own optional parts
        import pandera.pandas as pandera
    return pandera.DataFrameSchema(
        {one.name: _column(one) for one in facts.fields}, strict=True, ordered=True
    )


def _column(one: Field) -> pandera.Column:
    import pandas as pd
    import pandera.pandas as pandera

    if one.kind is Kind.TEXT:
        # no type to check: that a frame holds texts as categories is made so in _frame, and
        # pandera would walk through every category of every stretch to compare it
        return pandera.Column(None, _text_checks(one), nullable=not one.required)
    if one.kind is Kind.FLAG:
        return pandera.Column(bool, nullable=not one.required)
    if one.kind is Kind.AMOUNT:
        between = pandera.Check.in_range(one.least, one.most, error="is out of all proportion")
        return pandera.Column("float64", between, nullable=not one.required)
    zone = "UTC" if one.kind is Kind.INSTANT else None
    days = pandera.Check.in_range(
        pd.Timestamp(EARLIEST, tz=zone),
        pd.Timestamp(LATEST, tz=zone),
        error=f"is not between {EARLIEST.year} and {LATEST.year}",
    )
    dtype = pd.DatetimeTZDtype("us", "UTC") if zone else "datetime64[s]"
    return pandera.Column(dtype, days, nullable=not one.required)


def _text_checks(one: Field) -> list[pandera.Check]:
    import pandera.pandas as pandera

    def fits(texts: pd.Series[Any]) -> pd.Series[Any]:
        def good(every: pa.Array) -> Any:
            length = pc.utf8_length(every)
            sized = pc.and_(pc.greater(length, 0), pc.less_equal(length, TEXT_CHARS))
            return pc.and_not(sized, pc.match_substring_regex(every, _CONTROL))

        return _each(texts, good)

    checks = [pandera.Check(fits, error="is empty, too long or has control characters")]
    if one.pattern:

        def shaped(texts: pd.Series[Any]) -> pd.Series[Any]:
            whole = f"^(?:{one.pattern})$"
            return _each(texts, lambda every: pc.match_substring_regex(every, whole))

        checks.append(pandera.Check(shaped, error=f"is not of the form {one.pattern}"))
    return checks


def _each(texts: pd.Series[Any], good: Callable[[pa.Array], Any]) -> pd.Series[Any]:
    """A check of every distinct text once, as one answer a row; an absent text is no misfit."""
    import pandas as pd

    every = pa.array(texts.cat.categories, pa.string(), from_pandas=True)
    answers = np.append(good(every).to_numpy(zero_copy_only=False).astype(bool), True)
    return pd.Series(answers[texts.cat.codes], index=texts.index)
