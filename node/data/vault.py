"""The member's own rows: sealed Parquet files, read with DuckDB. See SPEC.md beside this.

An import is one transaction: rows are staged, told apart from what is already there, written,
fsynced, and then one rename of the manifest makes them count. A crash before that rename leaves
the vault as it was; what it left lying about is removed at the next opening.

A line is the same line if everything the till printed about it is the same
(``schema.IDENTITY``); identical lines are numbered, so a receipt with two equal lines keeps both
and an overlapping export adds neither again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from node.data import (
    duck,
    manifest,
    readers,
    removal,
    retention,
    rotation,
    sealing,
    setaside,
    upgrade,
)
from node.data.change import Change, Committed, ImportNote
from node.data.layout import Layout
from node.data.manifest import ImportRecord, Manifest
from node.data.readers import WeekStart
from node.data.removal import Correction, LineCorrection, Removal, Trace
from node.data.retention import Purge
from node.data.stages import WEEKLY_COLUMNS
from protocols.canonical import digest
from protocols.permit import Gate, Permit

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from node.data.batch import BadRow

__all__ = [
    "Change",
    "Committed",
    "Correction",
    "ImportNote",
    "ImportRecord",
    "LineCorrection",
    "Purge",
    "Removal",
    "Summary",
    "Trace",
    "Vault",
    "WeekStart",
]

_CATEGORIES: Final = "datacoop/vault-categories/v1"


@dataclass(frozen=True, slots=True)
class Summary:
    """What lies in the vault, in figures; the days are None in an empty vault."""

    lines: int
    returns: int
    orders: int
    categories: int
    skus: int
    customers: int
    first_day: date | None
    last_day: date | None


class Vault:
    """One member's rows under ``root``. Opening it cleans up after a crash.

    Args:
        root: the folder; made if there is none.
        key: the 32 bytes of ``keys/vault.key``.
        categories: a category as the till prints it -> code of the shared taxonomy. Lines keep
            what was printed; the view shows the code.

    Raises:
        LocalError: the vault is damaged, sealed with another key, or of a newer version.
    """

    def __init__(
        self, root: Path, key: bytes, categories: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.root = root.resolve()
        self.layout = Layout(self.root, sealing.require_key(key))
        self.categories = categories
        with duck.plain_disk_errors(self.root):
            self.layout.make()
            upgrade.upgrade(self.layout)
            self.layout.start()
            self.layout.clean()
            self.layout.load()

    # --- what is there ----------------------------------------------------------------------

    def imports(self) -> tuple[ImportRecord, ...]:
        """All imports, oldest first; the same file again is not listed again."""
        return self.manifest().imports

    def known(self, sha256: str, reading: str) -> ImportRecord | None:
        """The import of this file, read in this way, if adding it again would change nothing.

        None after an erasure, a purge or a correction, and after an older export was said to count
        (``Change.commit``): then the file has to be read again.
        """
        found = self.manifest()
        for at, one in enumerate(found.imports):
            same = (one.sha256, one.reading, one.epoch) == (sha256, reading, found.epoch)
            if same and reading and not any(later.undoes(one) for later in found.imports[at + 1 :]):
                return one
        return None

    def data_digest(self) -> str:
        """Hash of the contents (64 hex digits).

        Changes when rows or customers come or go, or categories are mapped in another way, and
        not when files are merged or sealed under another key.
        """
        contents = self.manifest().contents
        if not self.categories:
            return contents
        pairs = (text for pair in sorted(self.categories.items()) for text in pair)
        return digest(_CATEGORIES, contents, *pairs).hex()

    def manifest(self) -> Manifest:
        """The list of contents, with every row file in its place.

        Raises:
            LocalError: the list is damaged or a row file is missing or cut short.
        """
        with duck.plain_disk_errors(self.root):
            return self.layout.load()

    def verify(self) -> int:
        """Re-hash every row file, open all rows set aside; returns how many files there are.

        Raises:
            LocalError: a file does not have the bytes that were written.
        """
        found = self.manifest()
        for file in found.files:
            path = self.layout.rows(file.name)
            if manifest.file_digest(path) != file.sha256:
                raise sealing.damaged(
                    f"the row file {file.name} was changed after it was written.", str(path)
                )
        for record in found.imports:
            path = self.layout.quarantine(record.quarantine)
            if record.quarantine and not path.is_file():
                raise sealing.damaged("the file of rows set aside is missing.", str(path))
            if record.quarantine:
                setaside.load(self.layout, record.quarantine)
        return len(found.names())

    def quarantined(self, sha256: str) -> tuple[tuple[str, ...], tuple[BadRow, ...]]:
        """Rows of one imported file that were set aside: headers of the kept cells, the rows."""
        headers: tuple[str, ...] = ()
        rows: list[BadRow] = []
        for record in self.imports():
            if record.sha256 == sha256 and record.quarantine:
                headers, more = setaside.load(self.layout, record.quarantine)
                rows += more
        return headers, tuple(rows)

    def first_day(self) -> date | None:
        """The first business day in the vault; None if it is empty."""
        files = self.manifest().of("sales_line")
        return min((file.date_from for file in files if file.date_from), default=None)

    def last_day(self) -> date | None:
        """The last business day in the vault; None if it is empty."""
        files = self.manifest().of("sales_line")
        return max((file.date_to for file in files if file.date_to), default=None)

    def weeks_of_history(self, until: date | None = None) -> int:
        """Whole weeks from the first day in the vault up to ``until`` (or the last day)."""
        first, last = self.first_day(), until or self.last_day()
        if first is None or last is None or last < first:
            return 0
        return ((last - first).days + 1) // 7

    def summary(self) -> Summary:
        """Counts of the sales lines."""
        row = self.query(
            "SELECT count(*), count(*) FILTER (is_return), count(DISTINCT order_ref), "
            "count(DISTINCT category_code), count(DISTINCT sku), count(DISTINCT customer_key), "
            "min(business_date), max(business_date) FROM sales_line"
        )
        return Summary(*row[0])

    def query(
        self, sql: str, params: Sequence[object] | Mapping[str, object] = ()
    ) -> list[tuple[Any, ...]]:
        """Rows of an own-use question over the views ``sales_line``, ``customer`` and ``stock``.

        For the owner's own figures only: a run reads through ``node.data.consent``.
        """
        with self.reader() as db:
            return readers.rows(db, sql, params)

    @contextlib.contextmanager
    def reader(self) -> Iterator[duck.Connection]:
        """A closed-in database with the views ``sales_line``, ``customer`` and ``stock``.

        The views show the rows of one manifest, also while an import commits; those of an empty
        table have no rows.
        """
        with readers.views(self.layout, self.categories) as db:
            yield db

    # --- one person -------------------------------------------------------------------------

    def trace(self, customer_key: str) -> Trace:
        """What the vault holds of one person, in figures."""
        with duck.plain_disk_errors(self.root):
            return removal.trace(self.layout, customer_key)

    def lines_of(self, customer_key: str) -> pa.Table:
        """One person's sales lines, for the owner's eyes and that person's; by time.

        The canonical columns as they are kept (the category as it was printed), ``line_hash``
        (16 bytes) and ``copy``, by which ``correct`` names a line.
        """
        with duck.plain_disk_errors(self.root):
            return removal.lines_of(self.layout, customer_key)

    def erase(self, keys: Iterable[str], now: datetime, reason: str) -> Removal:
        """Take people out of all tables and of the rows set aside, and keep them out.

        A later import drops their lines. Takes about as long as writing a sixteenth of the rows.

        Args:
            keys: customer keys, 64 hex digits each; also of people who are not here.
            now: UTC.
            reason: a word for the vault's own list of removals; nobody's name.

        Raises:
            InputError: nobody is named, or not by a key.
            LocalError: another change is under way; the disk is full; nothing was changed then.
        """
        return removal.erase(self.layout, keys, now, reason)

    def correct(
        self,
        customer_key: str,
        lines: Sequence[LineCorrection],
        now: datetime,
        *,
        record: Mapping[str, object] = MappingProxyType({}),
    ) -> Correction:
        """Put right what is wrong about one person; the values before are not kept.

        Args:
            customer_key: whose lines these are.
            lines: new values for named lines, or lines to be taken off this person.
            now: UTC.
            record: new values of the customer record: first_seen, country, region, source.

        Raises:
            InputError: a line is not this person's, a column cannot be corrected, a value does
                not fit; nothing was changed.
        """
        return removal.correct(self.layout, customer_key, lines, now, record)

    def purge(
        self, before: date | Mapping[str, date], now: datetime, *, dry_run: bool = False
    ) -> Purge:
        """Remove rows that may not be kept any longer: see ``retention.purge``."""
        return retention.purge(self.layout, before, now, dry_run=dry_run)

    def rotate(
        self, begin: Callable[[], bytes], finish: Callable[[], object], now: datetime
    ) -> int:
        """Seal everything again under another key; how many files: see ``rotation.rotate``."""
        self.layout, sealed = rotation.rotate(self.layout, begin, finish, now)
        return sealed

    # --- weekly series ----------------------------------------------------------------------

    def weekly_for_owner(
        self, week_start: WeekStart, *, since: date | None = None, until: date | None = None
    ) -> pd.DataFrame:
        """Weekly units per category for the member's own forecasts; needs no permit.

        Returns:
            category_code (str), week_start (datetime64[s]), units (float64, returns taken off),
            lines (int64), sorted; only weeks with lines, only lines with a category.
        """
        return self._weekly(week_start, since, until, frozenset())

    def weekly_for_run(
        self,
        permit: Permit,
        now: datetime,
        week_start: WeekStart,
        *,
        since: date | None = None,
        until: date | None = None,
        without: Collection[str] = frozenset(),
    ) -> pd.DataFrame:
        """The same series for a run: reads the columns of ``WEEKLY_COLUMNS`` and no other.

        Args:
            without: keys of customers who objected or are restricted; what they bought is left
                out, and only for that their column is read.

        Raises:
            Refused: the permit is for another gate, has run out, or lacks a column; no row has
                been read then.
        """
        permit.require(Gate.ADMIT, now, columns=WEEKLY_COLUMNS)
        return self._weekly(week_start, since, until, without)

    def _weekly(
        self,
        week_start: WeekStart,
        since: date | None,
        until: date | None,
        without: Collection[str],
    ) -> pd.DataFrame:
        return readers.weekly(self.layout, self.categories, week_start, since, until, without)

    # --- writing ----------------------------------------------------------------------------

    def begin(self, source: str = "") -> Change:
        """A transaction; use as a context manager. One at a time.

        Args:
            source: of exports that have their orders whole (``batch.Reading.replaces``): the
                lines replace what is here of the same orders from the same source.

        Raises:
            LocalError: another import is running (on entering).
        """
        return Change(self.layout, source)
