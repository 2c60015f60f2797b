"""Customers for lines that are here without one, when the same export comes again with them.

A line keeps its identity; only the empty customer of a line is filled in, never one that is
there. A row file that gains customers is written again under another name, and the manifest's
rename makes the exchange count; the old file goes at the next opening.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from node.data import duck, manifest
from node.data.manifest import RowFile
from node.files import sync_folder

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class Named:
    """Row files that take the place of others, and how many lines got their customer."""

    files: tuple[tuple[RowFile, RowFile], ...] = ()
    lines: int = 0


def fill_in(
    db: duckdb.DuckDBPyConnection,
    staged: Path,
    rows: Path,
    files: Sequence[RowFile],
    days: tuple[date, date],
) -> Named:
    """Write those of ``files`` again whose lines get a customer from the staged ones.

    Args:
        db: with the table ``identified`` (line, line_hash, copy) of the staged lines.
        staged: the Parquet file of the staged lines.
        rows: the folder of the row files.
        files: row files that share a day with the staged lines.
        days: first and last staged day.
    """
    if not files:
        return Named()
    known = duck.files([rows / file.name for file in files])
    db.execute(
        "CREATE TABLE named AS SELECT line_hash, copy, s.customer_key AS named_key "  # noqa: S608
        f"FROM identified JOIN (SELECT line, customer_key FROM {duck.files([staged])} "
        "WHERE customer_key IS NOT NULL) s USING (line) "
        f"JOIN (SELECT line_hash, copy FROM {known} WHERE customer_key IS NULL "
        "AND business_date BETWEEN $1 AND $2) k USING (line_hash, copy)",
        list(days),
    )
    done = [(file, _rewritten(db, rows, file)) for file in files if _gains(db, rows / file.name)]
    if done:
        sync_folder(rows)
    row = db.execute("SELECT count(*) FROM named").fetchone()
    assert row is not None
    return Named(tuple(done), int(row[0]))


def _gains(db: duckdb.DuckDBPyConnection, path: Path) -> bool:
    found = db.execute(
        f"SELECT 1 FROM {duck.files([path])} f JOIN named USING (line_hash, copy) "  # noqa: S608
        "WHERE f.customer_key IS NULL LIMIT 1"
    ).fetchone()
    return found is not None


def _rewritten(db: duckdb.DuckDBPyConnection, rows: Path, file: RowFile) -> RowFile:
    fresh = rows / f"{file.name}.part"
    db.execute(
        "COPY (SELECT f.* REPLACE (coalesce(f.customer_key, n.named_key) AS customer_key) "  # noqa: S608
        f"FROM {duck.files([rows / file.name])} f LEFT JOIN named n USING (line_hash, copy) "
        f"ORDER BY f.ts_utc, f.order_ref) TO {duck.quoted(str(fresh))} "
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    manifest.sync_file(fresh)
    digest = manifest.file_digest(fresh)
    name = f"{file.name[:19]}-{digest[:12]}.parquet"
    size_bytes = fresh.stat().st_size
    fresh.replace(rows / name)
    return replace(file, name=name, sha256=digest, size_bytes=size_bytes)
