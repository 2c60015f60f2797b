"""A Parquet file as columns of exact text."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from node.data.batch import TextBatch
from node.data.exact_text import number_text
from node.data.opened import Header, Rows
from node.data.rawfile import RawFile
from node.data.sniff import SAMPLE_ROWS
from protocols.errors import InputError

MAX_ROWS: Final = 50_000_000
MAX_GROUP_BYTES: Final = 1_000_000_000
MAX_COLUMNS: Final = 2_000
BATCH_ROWS: Final = 32_768
MAX_CHARS: Final = 2_000  # of a cell; more than any reader of text takes
MAX_DIGITS: Final = 76
_FLOAT_DIGITS: Final = {pa.float16(): 3, pa.float32(): 7, pa.float64(): 15}


@dataclass(slots=True)
class ParquetTable:
    """An open Parquet file; its rows count from 1."""

    name: str
    header: Header
    sample: Rows
    read_as: str
    _raw: RawFile
    _file: pq.ParquetFile
    _done: int = 0
    epoch: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def batches(self, wanted: Sequence[str]) -> Iterator[TextBatch]:
        """All rows, the wanted columns as text.

        Raises:
            InputError: a page is damaged.
        """
        self._done = 0
        try:
            for batch in self._file.iter_batches(BATCH_ROWS, columns=list(wanted)):
                columns = {name: as_text(batch.column(name)) for name in wanted}
                yield TextBatch(columns, np.arange(batch.num_rows) + self._done + 1)
                self._done += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise _damaged(self.name) from error

    def progress(self) -> tuple[int, int]:
        """Rows read, and in all."""
        return self._done, self._file.metadata.num_rows

    def most_rows(self) -> int:
        """How many rows there are."""
        return int(self._file.metadata.num_rows)

    def size_bytes(self) -> int:
        """Size of the file."""
        return self._raw.size_bytes

    def finish(self) -> str:
        """SHA-256 of the file."""
        return self._raw.finish()


@contextmanager
def opened(path: Path) -> Iterator[ParquetTable]:
    """A Parquet file whose columns all hold one value in each row.

    Raises:
        InputError: damaged, too large, or a column is nested or binary.
    """
    with contextlib.ExitStack() as stack:
        raw = RawFile(path)
        stack.callback(raw.close)
        raw.read_to_end()
        try:
            held = stack.enter_context(raw.as_file())
            about = stack.enter_context(pq.ParquetFile(held))
            _require_flat(about, path.name)
            # a long text that stands once in a file of some kilobytes may be the value of a
            # million rows, so texts are read as a dictionary and cut before they are copied
            texts = [one.name for one in about.schema_arrow if _is_text(one.type)]
            file = stack.enter_context(pq.ParquetFile(held, read_dictionary=texts))
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path.name) from error
        header = tuple(file.schema_arrow.names)
        yield ParquetTable(path.name, header, _sample(file, path.name), "Parquet", raw, file)


def _sample(file: pq.ParquetFile, name: str) -> Rows:
    """The first rows, all cells."""
    if not file.metadata.num_rows:
        return ()
    try:
        head = next(file.iter_batches(SAMPLE_ROWS))
        cells = [as_text(column).to_pylist() for column in head.columns]
    except (OSError, pa.ArrowException) as error:
        raise _damaged(name) from error
    return tuple(zip(*cells, strict=True))


def _require_flat(file: pq.ParquetFile, name: str) -> None:
    facts = file.metadata
    groups = [facts.row_group(k).total_byte_size for k in range(facts.num_row_groups)]
    if facts.num_rows > MAX_ROWS or max(groups, default=0) > MAX_GROUP_BYTES:
        raise InputError(
            f"the file has {facts.num_rows} rows and groups of up to "
            f"{max(groups, default=0) / 1e6:.0f} MB; at most {MAX_ROWS} rows and groups of "
            f"{MAX_GROUP_BYTES / 1e6:.0f} MB are taken.",
            where=name,
            fix="Write it in smaller row groups, or one file a year.",
        )
    names = file.schema_arrow.names
    if len(names) > MAX_COLUMNS or len(set(names)) != len(names):
        raise InputError(
            "the file has too many columns, or two of the same name.",
            where=name,
            fix="Write only the columns that are needed, each under its own name.",
        )
    for place, column in enumerate(file.schema_arrow, start=1):
        if pa.types.is_nested(column.type) or _is_binary(column.type):
            raise InputError(
                f"the column {column.name!r} holds {column.type}; expected one text, number, day "
                "or time in each row.",
                where=f"{name}:1:{place}",
                fix="Write the file with plain columns, one row for each sales line.",
            )


def _is_binary(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_binary(inner)
        or pa.types.is_large_binary(inner)
        or pa.types.is_fixed_size_binary(inner)
        or pa.types.is_nested(inner)
    )


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner))


def as_text(column: pa.Array) -> pa.StringArray:
    """A column as the text of its values; "" where there is none. Over-long texts are cut."""
    if pa.types.is_dictionary(column.type):
        distinct = column.dictionary
        if _is_text(distinct.type):
            distinct = pc.utf8_slice_codeunits(distinct.cast(pa.string()), 0, MAX_CHARS)
        column = distinct.take(column.indices)
    digits = _FLOAT_DIGITS.get(column.type)
    if digits is not None:
        encoded = column.dictionary_encode()
        values = encoded.dictionary.cast(pa.float64()).to_pylist()
        texts = pa.array([number_text(value, digits) for value in values], pa.string())
        return texts.take(encoded.indices).fill_null("")
    if pa.types.is_decimal(column.type) and column.type.scale == 3:
        # a fourth decimal, so that nobody takes the point for one between thousands
        column = column.cast(pa.decimal256(min(column.type.precision + 1, MAX_DIGITS), 4))
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    return pc.cast(column, pa.string()).fill_null("")


def _damaged(name: str) -> InputError:
    return InputError(
        "the Parquet file is damaged or locked with a key.",
        where=name,
        fix="Write it again, without encryption, and check that the download was complete.",
    )
