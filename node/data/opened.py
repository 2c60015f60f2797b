"""An open source of rows, whatever it is: a CSV file, a sheet, a Parquet file, a database table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from node.data.batch import TextBatch
from node.data.source import Source
from protocols.errors import InputError

Header = tuple[str, ...]
Rows = tuple[tuple[str, ...], ...]


class OpenTable(Protocol):
    """A context manager; ``batches`` may be read again from the beginning.

    ``name`` is for the places of errors (name:line:column); ``header`` are the columns in their
    order, ``sample`` the first rows with all their cells, ``read_as`` says in words how it is read,
    ``epoch`` is the year from which a workbook counts its days (0 elsewhere).
    """

    name: str
    header: Header
    sample: Rows
    read_as: str
    epoch: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def batches(self, wanted: Sequence[str]) -> Iterator[TextBatch]:
        """All rows; only the wanted columns become cells."""

    def progress(self) -> tuple[int, int]:
        """How much was read, and of how much (in bytes or rows)."""

    def most_rows(self) -> int:
        """How many rows there can be at most; 0 if nobody knows."""

    def size_bytes(self) -> int:
        """Size of the source."""

    def finish(self) -> str:
        """SHA-256 (hex) of what was read; the source must not have changed meanwhile."""


@dataclass(slots=True)
class CsvTable:
    """A CSV file whose delimiter and encoding are known."""

    path: Path
    encoding: str
    delimiter: str
    header: Header
    sample: Rows
    name: str
    read_as: str
    _source: Source
    epoch: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.__exit__(kind, value, trace)

    def batches(self, wanted: Sequence[str]) -> Iterator[TextBatch]:
        """All rows; only the wanted columns become cells.

        Raises:
            InputError: as ``Source.chunks``; the header is not the one that was looked at.
        """
        now = self._source.head(0).rows
        if not now or tuple(now[0]) != self.header:
            raise InputError(
                "the file changed while it was being read; a finished file is expected.",
                where=self.name,
                fix="Wait until the program that writes it is done, then add it again.",
            )
        yield from self._source.batches(places(self.header, wanted))

    def progress(self) -> tuple[int, int]:
        """Bytes read, and in all."""
        return self._source.read_bytes, self._source.size_bytes

    def most_rows(self) -> int:
        """A row has a line break, and a delimiter before every column but the first."""
        return self._source.size_bytes // len(self.header)

    def size_bytes(self) -> int:
        """Size of the file."""
        return self._source.size_bytes

    def finish(self) -> str:
        """SHA-256 of the file."""
        return self._source.finish()


def places(header: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Places (from 0) of the wanted columns."""
    return [header.index(name) for name in wanted]
