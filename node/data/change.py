"""One import under way: read once, written once, and it counts whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from node.data import duck, rowfiles, upsert
from node.data.batch import BadRow
from node.data.manifest import ImportRecord, Manifest
from node.data.schema import DAY, STORED
from node.data.setaside import SetAside
from node.data.stages import RawRows
from node.data.staging import Filed, Forgotten, StagedLines
from node.data.supersede import Replacing
from protocols.errors import LocalError

if TYPE_CHECKING:
    from node.data.layout import Layout


@dataclass(frozen=True, slots=True)
class ImportNote:
    """What an import says about itself when it commits; ``when`` is UTC.

    ``reading`` (64 hex digits, or "") names the way in which the file was read: the same file
    read in the same way again changes nothing.
    """

    file_name: str
    sha256: str
    rows_read: int
    quarantined: int
    when: datetime
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did.

    ``named`` of the duplicates were lines without a customer that got theirs; ``suppressed`` are
    rows of customers who were erased, left out; ``quarantine`` is the sealed file of rows set
    aside (``Vault.quarantined`` reads it). ``orders_changed`` orders are not what they were, and
    ``lines_replaced`` lines of theirs went; ``kept_back`` rows are of orders that stay as they
    are.
    """

    rows_added: int
    duplicates: int
    named: int
    quarantine: Path | None
    already_known: bool
    suppressed: int = 0
    orders_changed: int = 0
    lines_replaced: int = 0
    kept_back: int = 0


class Change:
    """One import under way. Leaving it without ``commit`` leaves the vault as it was.

    Nothing is written in plain text: lines are staged under a key that ends with this object.
    With a ``source`` its orders replace those that are here from the same source.
    """

    def __init__(self, layout: Layout, source: str = "") -> None:
        self._layout = layout
        self._source = source
        self._stack = contextlib.ExitStack()
        self._lines: StagedLines | None = None
        self._others: dict[str, list[pa.Table]] = {}
        self._rows_of: dict[str, int] = {}
        self._forgotten = Forgotten(b"", frozenset())
        self._suppressed = 0
        self._aside = SetAside()

    def __enter__(self) -> Change:
        with contextlib.ExitStack() as stack:
            self._folder = stack.enter_context(self._layout.changing())
            self._before = self._layout.load()
            self._forgotten = Forgotten(
                bytes.fromhex(self._before.erasure_secret), self._before.erased
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # the disk that failed the writer fails its closing too; the folder goes anyway
        with contextlib.suppress(OSError):
            if self._lines is not None:
                self._lines.close()
        self._stack.__exit__(kind, value, trace)

    def write(self, rows: RawRows) -> None:
        """Stage some rows of a canonical table.

        Raises:
            LocalError: the disk is full.
        """
        self._rows_of[rows.name] = self._rows_of.get(rows.name, 0) + rows.table.num_rows
        with duck.plain_disk_errors(self._layout.root):
            if rows.name == "sales_line":
                self._staging().write(rows.table)
                return
        wanted = [name for name in STORED[rows.name].names if name != "corrected"]
        table = rows.table.select(wanted)
        if "customer_key" in wanted:
            lost = self._forgotten.among(table["customer_key"])
            self._suppressed += int(lost.sum())
            table = table.filter(pa.array(~lost))
        self._others.setdefault(rows.name, []).append(table)

    def leave_out(self, orders: pa.Table) -> None:
        """Note orders of which the export leaves out every line: ``schema.ORDER``."""
        with duck.plain_disk_errors(self._layout.root):
            self._staging().seen(orders)

    def _staging(self) -> StagedLines:
        if self._lines is None:
            self._lines = StagedLines(self._layout, self._folder, self._forgotten, self._source)
        return self._lines

    def quarantine(self, headers: Sequence[str], rows: Iterable[BadRow]) -> None:
        """Set rows aside; ``headers`` are those of their kept cells."""
        self._aside.add(headers, rows)

    def compare(self) -> tuple[int, int]:
        """How many of the staged rows are new, and how many are here already.

        Rows of erased customers are neither. No row can be staged any more.
        """
        new = suppressed = 0
        with duck.plain_disk_errors(self._layout.root):
            if self._lines is not None:
                told = self._lines.told(self._before)
                new, suppressed = told.new, told.suppressed
            for table in self._others:
                fresh = upsert.fresh(self._layout, self._before, table, self._staged(table))
                new += fresh.num_rows
        return new, sum(self._rows_of.values()) - new - suppressed - self._suppressed

    def replacing(self) -> Replacing:
        """What becomes of orders that are here already. No row can be staged any more."""
        if self._lines is None:
            return Replacing()
        with duck.plain_disk_errors(self._layout.root):
            orders = self._lines.told(self._before).orders
        late, later = int(orders.late.sum()), self._lines.later(self._before)
        older = later[-1] if later and (orders.orders or late) else None
        return Replacing(orders.orders, orders.lines, int(orders.held.sum()), late, older)

    def commit(self, note: ImportNote, *, keep: bool = False) -> Committed:
        """Make what was staged count, once and for all.

        Args:
            note: what the import says about itself.
            keep: orders that are here stay as they are; only others are added.

        Raises:
            LocalError: nothing was staged; the disk is full. Nothing was changed.
        """
        if not sum(self._rows_of.values()) and not self.replacing().lines:
            raise LocalError("an import without a single line cannot be committed.")
        with duck.plain_disk_errors(self._layout.root):
            return self._commit(note, keep)

    def _commit(self, note: ImportNote, keep: bool) -> Committed:
        after, days = self._before, list[date]()
        filed = Filed()
        if self._lines is not None and self._lines.span is not None:
            filed = self._lines.file(self._before, keep=keep)
            after = _with_lines(after, filed)
            days += self._lines.span
        added, suppressed = filed.added, filed.suppressed
        for table in self._others:
            staged = self._staged(table)
            done = upsert.upsert(self._layout, self._folder, after, table, staged)
            if done.added:
                after = after.with_files(done.gone, done.new).changed(table, done.digest)
            added += done.added
            days += [day for day in staged[DAY[table]].to_pylist() if day is not None]
        suppressed += self._suppressed
        after = rowfiles.merged(self._layout, self._folder, after)
        known = next((r for r in after.imports if r.sha256 == note.sha256), None)
        record = ImportRecord(
            file_name=note.file_name,
            sha256=note.sha256,
            rows_read=note.rows_read,
            rows_added=added,
            duplicates=sum(self._rows_of.values()) - added - suppressed - filed.kept_back,
            quarantined=note.quarantined,
            quarantine=self._aside.seal(self._layout) if self._aside.count else "",
            date_from=min(days, default=note.when.date()),
            date_to=max(days, default=note.when.date()),
            when=note.when,
            table=next(iter(self._rows_of), "sales_line"),
            reading=note.reading,
            epoch=after.epoch,
            suppressed=suppressed,
            source=self._source,
            orders_changed=filed.orders,
            lines_replaced=filed.removed,
            as_of=self._as_of(note.when) if self._source else None,
        )
        self._layout.store(_recorded(after, known, record))
        aside = self._layout.quarantine(record.quarantine) if record.quarantine else None
        return Committed(
            rows_added=added,
            duplicates=record.duplicates,
            named=filed.named,
            quarantine=aside,
            already_known=known is not None,
            suppressed=suppressed,
            orders_changed=filed.orders,
            lines_replaced=filed.removed,
            kept_back=filed.kept_back,
        )

    def _as_of(self, when: datetime) -> datetime | None:
        """The export's newest moment; one in the future would make all later exports old."""
        newest = self._lines.newest if self._lines is not None else None
        return None if newest is None else min(newest, when)

    def _staged(self, table: str) -> pa.Table:
        """Staged rows of one table with their place, which says what is newer."""
        staged = pa.concat_tables(self._others[table])
        return staged.append_column("n", pa.array(np.arange(staged.num_rows)))


def _with_lines(after: Manifest, filed: Filed) -> Manifest:
    after = after.with_files(filed.gone, filed.new)
    if filed.added or filed.named:
        after = after.changed("sales_line", filed.digest)
    return after.changed("replaced", filed.removed_digest) if filed.removed else after


def _recorded(after: Manifest, known: ImportRecord | None, record: ImportRecord) -> Manifest:
    """The list of imports: a file that is there already and added nothing is not listed again."""
    if known is None or record.rows_added or record.lines_replaced:
        return after.with_import(record)
    again = replace(known, reading=record.reading, epoch=record.epoch, quarantine=record.quarantine)
    return replace(after, imports=tuple(again if r is known else r for r in after.imports))
