"""Row files: written sealed, split by customer, merged when they pile up, read as one table.

Many rows are split over 17 files, by the first hex digit of the customer's key and one for rows
without a customer, so that erasing one customer writes a sixteenth again and not everything.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from node.data import manifest, sealing
from node.data.layout import Layout
from node.data.manifest import Manifest, RowFile
from node.data.schema import DAY, STORED
from node.files import sync_folder

SPLIT_ROWS: Final = 100_000  # above this a change is split by customer
GROUP_ROWS: Final = 16_384  # rows of one part that are written together
BATCH_ROWS: Final = 65_536
MERGE_FILES: Final = 8  # files of one part and size that are merged into one
SMALLEST: Final = 1_000  # rows up to which files have the same size

PARTS: Final = (*"0123456789abcdef", "-")


class Sink:
    """Takes the rows of one table and makes sealed files of them.

    Args:
        layout: of the vault; the lock is held.
        folder: for what is under way.
        table: whose rows these are.
        rows: about how many will come; it decides whether they are split.
        source: where they came from, if later exports of it replace them.
    """

    def __init__(
        self, layout: Layout, folder: Path, table: str, rows: int, source: str = ""
    ) -> None:
        self._layout, self._folder, self._table = layout, folder, table
        self._source = source
        self._split = rows > SPLIT_ROWS and "customer_key" in STORED[table].names
        self._open: dict[str, _Part] = {}

    def write(self, rows: pa.Table, part: str = "") -> None:
        """Take some rows, with the columns of ``schema.STORED``; all of one part if it is named."""
        if not rows.num_rows:
            return
        if part or not self._split:
            self._part(part).write(rows)
            return
        digits = pc.utf8_slice_codeunits(rows["customer_key"], 0, 1)
        codes = pc.index_in(digits, value_set=pa.array(PARTS)).fill_null(len(PARTS) - 1)
        codes = codes.to_numpy()
        order = np.argsort(codes, kind="stable")
        rows, bounds = rows.take(order), np.searchsorted(codes[order], np.arange(len(PARTS) + 1))
        for place, name in enumerate(PARTS):
            start, end = bounds[place], bounds[place + 1]
            if end > start:
                self._part(name).write(rows.slice(start, end - start))

    def close(self) -> tuple[RowFile, ...]:
        """The files, durable and in their place; they count once a manifest names them."""
        done = tuple(part.close() for part in self._open.values())
        if done:
            sync_folder(self._layout.rows("x").parent)
        return done

    def abandon(self) -> None:
        """Let go of what is open; the folder goes with the change."""
        for part in self._open.values():
            part.abandon()

    def _part(self, name: str) -> _Part:
        if name not in self._open:
            self._open[name] = _Part(self._layout, self._folder, self._table, name, self._source)
        return self._open[name]


@contextlib.contextmanager
def sink(layout: Layout, folder: Path, table: str, rows: int, source: str = "") -> Iterator[Sink]:
    """A sink whose files are let go of when something fails; the caller closes it."""
    made = Sink(layout, folder, table, rows, source)
    try:
        yield made
    except BaseException:
        made.abandon()
        raise


class _Part:
    """One file under way."""

    def __init__(self, layout: Layout, folder: Path, table: str, part: str, source: str) -> None:
        self._source = source
        self._layout, self._table, self._name = layout, table, f"{secrets.token_hex(12)}.parquet"
        self._made, self._part = folder / self._name, part
        self._salt = secrets.token_bytes(sealing.SALT_BYTES)
        self._schema, self._day = STORED[table], DAY[table]
        self._waiting: list[pa.Table] = []
        self._rows, self._held = 0, 0
        self._span: tuple[date | None, date | None] = (None, None)
        self._writer = pq.ParquetWriter(
            self._made,
            self._schema,
            compression="zstd",
            encryption_properties=sealing.writing(layout.key, self._salt, self._name),
        )

    def write(self, rows: pa.Table) -> None:
        rows = rows.select(self._schema.names).cast(self._schema)
        days = pc.min_max(rows[self._day])
        first = [d for d in (self._span[0], days["min"].as_py()) if d is not None]
        last = [d for d in (self._span[1], days["max"].as_py()) if d is not None]
        self._span = (min(first, default=None), max(last, default=None))
        self._waiting.append(rows)
        self._held += rows.num_rows
        if self._held >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
            self._rows += self._held
            self._waiting, self._held = [], 0

    def close(self) -> RowFile:
        self._flush()
        self._writer.close()
        manifest.sync_file(self._made)
        file = RowFile(
            name=self._name,
            table=self._table,
            part=self._part,
            salt=self._salt.hex(),
            sha256=manifest.file_digest(self._made),
            size_bytes=self._made.stat().st_size,
            rows=self._rows,
            date_from=self._span[0],
            date_to=self._span[1],
            source=self._source,
        )
        self._made.chmod(0o600)
        self._made.replace(self._layout.rows(self._name))
        return file

    def abandon(self) -> None:
        # the disk that failed the writer fails its closing too; the folder goes anyway
        with contextlib.suppress(OSError):
            self._writer.close()


# --- reading -----------------------------------------------------------------------------------


def dataset(
    layout: Layout,
    table: str,
    files: Sequence[RowFile],
    columns: Sequence[str] | None = None,
) -> ds.Dataset:
    """Row files as one table to be scanned; none of them makes an empty one.

    The files are opened here and stay readable when a change removes them meanwhile (on Windows
    they stay in their place until they are closed).

    Args:
        columns: the table has these and no other; None for all.

    Raises:
        FileNotFoundError: a file is gone; the manifest is an old one.
    """
    schema = STORED[table]
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    if not files:
        return ds.dataset(schema.empty_table())
    parts = []
    for file in files:
        form = sealing.reading(layout.key, bytes.fromhex(file.salt), file.name)
        fragment = form.make_fragment(pa.OSFile(str(layout.rows(file.name))))
        parts.append(ds.FileSystemDataset([fragment], schema, form))
    return ds.dataset(parts)


def batches(
    layout: Layout, file: RowFile, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of one file in stretches, in their order."""
    opening = sealing.opening(layout.key, bytes.fromhex(file.salt), file.name)
    yield from stretches(layout.rows(file.name), opening, columns)


def stretches(
    path: Path, opening: object, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of a sealed Parquet file, some at a time, so that no more are in memory."""
    wanted = list(columns) if columns is not None else None
    with pq.ParquetFile(path, decryption_properties=opening, pre_buffer=False) as held:
        for batch in held.iter_batches(BATCH_ROWS, columns=wanted, use_threads=False):
            yield pa.Table.from_batches([batch])


def again(
    layout: Layout, folder: Path, file: RowFile, change: Callable[[pa.Table], pa.Table]
) -> tuple[RowFile, ...]:
    """A file written again with its rows changed or left out; nothing if no row is left."""
    with sink(layout, folder, file.table, file.rows, file.source) as out:
        for rows in batches(layout, file):
            out.write(change(rows), file.part)
        return out.close()


# --- merging -----------------------------------------------------------------------------------


def merged(layout: Layout, folder: Path, found: Manifest) -> Manifest:
    """The same rows in fewer files, where eight files of a part have about the same size.

    Files of a size are merged into one that is eight times as large, so every row is written
    again a few times in its life and reading never opens more than some dozen files a part.
    """
    while True:
        alike: defaultdict[tuple[str, str, str, int], list[RowFile]] = defaultdict(list)
        for file in found.files:
            alike[file.table, file.source, file.part, _size(file.rows)].append(file)
        crowd = next((group for group in alike.values() if len(group) >= MERGE_FILES), None)
        if crowd is None:
            return found
        found = found.with_files(crowd, rewritten(layout, folder, crowd))


def rewritten(layout: Layout, folder: Path, old: Sequence[RowFile]) -> tuple[RowFile, ...]:
    """The rows of some files of one source and part, sealed again under new keys."""
    table, part = old[0].table, old[0].part
    total = sum(file.rows for file in old)
    with sink(layout, folder, table, total, old[0].source) as out:
        for file in old:
            for rows in batches(layout, file):
                out.write(rows, part)
        return out.close()


def _size(rows: int) -> int:
    """0 up to a thousand rows, then one more for every factor of eight."""
    size, limit = 0, SMALLEST
    while rows > limit:
        size, limit = size + 1, limit * MERGE_FILES
    return size
