"""The member's own rows: ``sales_line`` in Parquet files, read with DuckDB.

An import is one transaction: rows are staged, told apart from what is already there, written,
fsynced, and then one rename of the manifest makes them count. A crash before that rename leaves
the vault as it was; what it left lying about is removed at the next opening.

A line is the same line if everything the till printed about it is the same
(``schema.IDENTITY``); identical lines are numbered, so a receipt with two equal lines keeps both
and an overlapping export adds neither again.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from node.data import duck, manifest, naming
from node.data.lock import Lock
from node.data.manifest import ImportRecord, Manifest, RowFile
from node.data.naming import Named
from node.data.schema import IDENTITY, SALES_LINE, STAGED
from node.data.stages import WEEKLY_COLUMNS, RawRows
from node.files import sync_folder
from protocols.errors import Code, InputError, LocalError
from protocols.permit import Gate, Permit

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

WeekStart = Literal["monday", "sunday"]

MANIFEST: Final = "manifest.json"
ROWS: Final = "rows"
QUARANTINE: Final = "quarantine"
TMP: Final = "tmp"
SPILL_MAX_AGE_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class ImportNote:
    """What an import says about itself when it commits; ``when`` is UTC."""

    file_name: str
    sha256: str
    rows_read: int
    quarantined: int
    when: datetime


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did."""

    rows_added: int
    duplicates: int
    named: int  # of the duplicates: lines that had no customer and got theirs
    quarantine: Path | None
    already_known: bool


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

    ``key`` are the 32 bytes of ``keys/vault.key``; ``categories`` maps a category as the till
    prints it to a code of the shared taxonomy.
    """

    def __init__(
        self, root: Path, key: bytes, categories: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        if len(key) != 32:
            raise LocalError(
                f"the vault's key has {len(key)} bytes; 32 are expected.",
                fix="Restore the keys from your backup ('coop-node restore').",
            )
        self.root = root.resolve()
        self._key = key
        self.categories = categories
        with duck.plain_disk_errors(self.root):
            for folder in (self.root, *(self.root / n for n in (ROWS, QUARANTINE, TMP))):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._clean()

    # --- what is there ----------------------------------------------------------------------

    def imports(self) -> tuple[ImportRecord, ...]:
        """All imports, oldest first; the same file again is not listed again."""
        return self.manifest().imports

    def data_digest(self) -> str:
        """Hash of the contents (64 hex digits); changes exactly when lines or customers come."""
        return self.manifest().digest()

    def manifest(self) -> Manifest:
        """The list of contents, with every row file in its place.

        Raises:
            LocalError: the list is damaged or a row file is missing or cut short.
        """
        with duck.plain_disk_errors(self.root):
            found = manifest.load(self.root / MANIFEST)
        for file in found.files:
            path = self.root / ROWS / file.name
            if not path.is_file() or path.stat().st_size != file.size_bytes:
                raise LocalError(
                    f"the row file {file.name} is missing or was changed.",
                    code=Code.TAMPERED,
                    where=str(path),
                    fix="Restore the vault folder from your backup.",
                )
        return found

    def verify(self) -> int:
        """Re-hash every row file; returns how many there are.

        Raises:
            LocalError: a file does not have the bytes that were written.
        """
        found = self.manifest()
        for file in found.files:
            path = self.root / ROWS / file.name
            if manifest.file_digest(path) != file.sha256:
                raise LocalError(
                    f"the row file {file.name} was changed after it was written.",
                    code=Code.TAMPERED,
                    where=str(path),
                    fix="Restore the vault folder from your backup.",
                )
        return len(found.files)

    def first_day(self) -> date | None:
        """The first business day in the vault; None if it is empty."""
        return min((file.date_from for file in self.manifest().files), default=None)

    def last_day(self) -> date | None:
        """The last business day in the vault; None if it is empty."""
        return max((file.date_to for file in self.manifest().files), default=None)

    def weeks_of_history(self, until: date | None = None) -> int:
        """Whole weeks from the first day in the vault up to ``until`` (or the last day)."""
        first, last = self.first_day(), until or self.last_day()
        if first is None or last is None or last < first:
            return 0
        return ((last - first).days + 1) // 7

    def summary(self) -> Summary:
        """Counts of what the vault holds."""
        row = self.query(
            "SELECT count(*), count(*) FILTER (is_return), count(DISTINCT order_ref), "
            "count(DISTINCT category_code), count(DISTINCT sku), count(DISTINCT customer_key), "
            "min(business_date), max(business_date) FROM sales_line"
        )
        return Summary(*row[0]) if row else Summary(0, 0, 0, 0, 0, 0, None, None)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of an own-use question over the view ``sales_line``; nothing from an empty vault.

        For the owner's own figures only: a run reads through ``node.data.consent``.
        """
        with self.reader() as db:
            return db.execute(sql).fetchall() if db is not None else []

    @contextlib.contextmanager
    def reader(self) -> Iterator[duckdb.DuckDBPyConnection | None]:
        """A closed-in database whose only table is the view ``sales_line``; None if it is empty.

        The view shows the lines of one manifest, also while an import commits.
        """
        paths = self._paths(self.manifest())
        if not paths:
            yield None
            return
        with duck.plain_disk_errors(self.root), duck.connection(self.root, self._spill()) as db:
            db.execute(f"CREATE VIEW sales_line AS SELECT * FROM {duck.files(paths)}")  # noqa: S608
            yield db

    # --- weekly series ----------------------------------------------------------------------

    def weekly_for_owner(
        self, week_start: WeekStart, *, since: date | None = None, until: date | None = None
    ) -> pd.DataFrame:
        """Weekly units per category for the member's own forecasts; needs no permit.

        Returns:
            category_code (str), week_start (datetime64[s]), units (float64, returns taken off),
            lines (int64), sorted; only weeks with lines, only lines with a category.
        """
        return self._weekly(week_start, since, until)

    def weekly_for_run(
        self,
        permit: Permit,
        now: datetime,
        week_start: WeekStart,
        *,
        since: date | None = None,
        until: date | None = None,
    ) -> pd.DataFrame:
        """The same series for a run: reads the columns of ``WEEKLY_COLUMNS`` and no other.

        Raises:
            Refused: the permit is for another gate, has run out, or lacks a column; no row has
                been read then.
        """
        permit.require(Gate.ADMIT, now, columns=WEEKLY_COLUMNS)
        return self._weekly(week_start, since, until)

    def _weekly(
        self, week_start: WeekStart, since: date | None, until: date | None
    ) -> pd.DataFrame:
        if week_start not in ("monday", "sunday"):
            raise InputError(f"a week starts on monday or sunday, not on {week_start!r}.")
        paths = self._paths(self.manifest())
        shift = 1 if week_start == "sunday" else 0
        with duck.plain_disk_errors(self.root), duck.connection(self.root, self._spill()) as db:
            source = duck.files(paths) if paths else _EMPTY
            table = db.sql(
                f"SELECT category_code, "  # noqa: S608
                f"(date_trunc('week', business_date + {shift}) - INTERVAL {shift} DAY)::DATE "
                "AS week_start, sum(qty)::DOUBLE AS units, count(*)::BIGINT AS lines "
                f"FROM (SELECT {', '.join(WEEKLY_COLUMNS)} FROM {source}) "
                "WHERE category_code IS NOT NULL AND business_date BETWEEN $since AND $until "
                "GROUP BY ALL ORDER BY category_code, week_start",
                params={"since": since or date.min, "until": until or date.max},
            ).to_arrow_table()
        return _frame(table)

    # --- writing ----------------------------------------------------------------------------

    def begin(self) -> Change:
        """A transaction; use as a context manager. One at a time.

        Raises:
            LocalError: another import is running (on entering).
        """
        return Change(self)

    def _paths(self, found: Manifest) -> list[Path]:
        return [self.root / ROWS / file.name for file in found.files]

    def _spill(self) -> Path:
        return self.root / TMP / f"spill-{secrets.token_hex(4)}"

    def _clean(self) -> None:
        """Remove what a crash left: only while nobody writes, only what the manifest lacks."""
        lock = Lock(self.root / "lock")
        if not lock.try_take():
            return
        try:
            found = self.manifest()
            rows = {file.name for file in found.files}
            kept = {record.quarantine for record in found.imports}
            for path in (self.root / ROWS).iterdir():
                if path.name not in rows:
                    path.unlink()
            for path in (self.root / QUARANTINE).iterdir():
                if path.name not in kept:
                    path.unlink()
            for path in (self.root / TMP).iterdir():
                # another process may be reading with a spill folder of its own: leave young ones
                old = time.time() - path.stat().st_mtime > SPILL_MAX_AGE_S
                if path.name.startswith("import-") or old:
                    shutil.rmtree(path, ignore_errors=True)
            (self.root / f"{MANIFEST}.part").unlink(missing_ok=True)
        finally:
            lock.release()


class Change:
    """One import under way. Leaving it without ``commit`` leaves the vault as it was."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._root = vault.root
        self._lock = Lock(vault.root / "lock")
        self._folder = vault.root / TMP / f"import-{secrets.token_hex(8)}"
        self._staged = self._folder / "staged.parquet"
        self._writer: pq.ParquetWriter | None = None
        self.quarantine_path = self._folder / "quarantine.csv"

    def __enter__(self) -> Change:
        with duck.plain_disk_errors(self._root):
            self._lock.__enter__()
            try:
                self._folder.mkdir(mode=0o700)
                self._writer = pq.ParquetWriter(self._staged, STAGED, compression="zstd")
            except BaseException:
                self._lock.release()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._writer is not None and self._writer.is_open:
                self._writer.close()
        except OSError:
            # the disk that failed the writer fails its closing too; the folder goes anyway
            self._writer = None
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.release()
        if isinstance(value, OSError):
            with duck.plain_disk_errors(self._root):
                raise value

    def write(self, rows: RawRows) -> None:
        """Stage some lines."""
        assert self._writer is not None
        with duck.plain_disk_errors(self._root):
            self._writer.write_table(rows.table)

    def commit(self, note: ImportNote) -> Committed:
        """Make the staged lines count, once and for all.

        Raises:
            LocalError: the disk is full; nothing was changed.
        """
        assert self._writer is not None
        with duck.plain_disk_errors(self._root):
            self._writer.close()
            before = self._vault.manifest()
            file, staged_rows, named = self._write_new_rows(before, note)
            already_known = any(record.sha256 == note.sha256 for record in before.imports)
            added = file.rows if file is not None else 0
            done = Committed(
                added, staged_rows - added, named.lines, self._quarantined(note), already_known
            )
            after = before.with_exchanged(named.files)
            if file is None and already_known:
                if named.files:
                    manifest.store(self._root / MANIFEST, after)
                return done
            first, last = self._days()
            record = ImportRecord(
                file_name=note.file_name,
                sha256=note.sha256,
                rows_read=note.rows_read,
                rows_added=added,
                duplicates=done.duplicates,
                quarantined=note.quarantined,
                quarantine=done.quarantine.name if done.quarantine else "",
                date_from=first,
                date_to=last,
                when=note.when,
            )
            manifest.store(self._root / MANIFEST, after.with_import(file, record))
        return done

    def _write_new_rows(
        self, before: Manifest, note: ImportNote
    ) -> tuple[RowFile | None, int, Named]:
        """The lines that are not in the vault yet, as a row file in its final place.

        With it the number of staged lines, and the files whose lines get their customers.
        """
        fresh = self._folder / "rows.parquet"
        first, last = self._days()
        shared = [f for f in before.files if f.date_from <= last and first <= f.date_to]
        overlapping = [self._root / ROWS / file.name for file in shared]
        with duck.connection(self._root, self._folder / "spill") as db:
            db.execute(_identify(self._staged))
            staged = _count(db.execute("SELECT count(*) FROM identified").fetchone())
            named = naming.fill_in(db, self._staged, self._root / ROWS, shared, (first, last))
            if overlapping:
                db.execute(
                    "DELETE FROM identified USING (SELECT line_hash, copy FROM "  # noqa: S608
                    f"{duck.files(overlapping)} WHERE business_date BETWEEN $1 AND $2) known "
                    "WHERE identified.line_hash = known.line_hash AND identified.copy = known.copy",
                    [first, last],
                )
            added = _count(db.execute("SELECT count(*) FROM identified").fetchone())
            if not added:
                return None, staged, named
            columns = ", ".join(f"s.{name}" for name in SALES_LINE.names)
            db.execute(
                f"COPY (SELECT {columns}, i.line_hash, i.copy "  # noqa: S608
                f"FROM {duck.files([self._staged])} s JOIN identified i USING (line) "
                f"ORDER BY s.line) TO {duck.quoted(str(fresh))} "
                "(FORMAT parquet, COMPRESSION zstd)"
            )
            span = db.execute(
                f"SELECT min(business_date), max(business_date) FROM {duck.files([fresh])}"  # noqa: S608
            ).fetchone()
        assert span is not None
        name = f"{len(before.files) + 1:06d}-{note.sha256[:12]}.parquet"
        manifest.sync_file(fresh)
        placed = RowFile(
            name, manifest.file_digest(fresh), fresh.stat().st_size, added, span[0], span[1]
        )
        fresh.replace(self._root / ROWS / name)
        sync_folder(self._root / ROWS)
        return placed, staged, named

    def _quarantined(self, note: ImportNote) -> Path | None:
        """Put the CSV of rows set aside in its place; an identical import overwrites its own."""
        if not note.quarantined:
            return None
        place = self._root / QUARANTINE / f"{note.sha256[:12]}.csv"
        manifest.sync_file(self.quarantine_path)
        self.quarantine_path.replace(place)
        sync_folder(place.parent)
        return place

    def _days(self) -> tuple[date, date]:
        with duck.connection(self._root, self._folder / "spill") as db:
            row = db.execute(
                "SELECT min(business_date), max(business_date) "  # noqa: S608
                f"FROM {duck.files([self._staged])}"
            ).fetchone()
        if row is None or row[0] is None:
            raise LocalError("an import without a single line cannot be committed.")
        return row[0], row[1]


def _identify(staged: Path) -> str:
    """SQL that gives every staged line its identity: a hash, and a number among its equals."""
    parts = " || ".join(
        f"coalesce(length({name}::VARCHAR) || ':' || {name}::VARCHAR, '-')" for name in IDENTITY
    )
    return (
        "CREATE TABLE identified AS SELECT line, line_hash, "  # noqa: S608
        "(row_number() OVER (PARTITION BY line_hash ORDER BY line) - 1)::INTEGER AS copy "
        f"FROM (SELECT line, unhex(substr(sha256({parts}), 1, 32)) AS line_hash "
        f"FROM {duck.files([staged])})"
    )


def _count(row: tuple[Any, ...] | None) -> int:
    assert row is not None
    return int(row[0])


_EMPTY: Final = (
    "(SELECT NULL::DATE AS business_date, NULL::VARCHAR AS category_code, "
    "NULL::DECIMAL(18, 6) AS qty WHERE false)"
)


def _frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "category_code": pd.Series(table["category_code"].to_pylist(), dtype="str"),
            "week_start": table["week_start"].to_numpy().astype("datetime64[s]"),
            "units": table["units"].to_numpy(),
            "lines": table["lines"].to_numpy(),
        }
    )
