"""Rows that may not be kept any longer: counted, then removed, with figures to show for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from node.data import duck, readers, rowfiles, setaside
from node.data.layout import Layout
from node.data.manifest import Manifest, Removed
from node.data.schema import DAY
from protocols.canonical import digest
from protocols.errors import InputError

QUARANTINE: Final = "quarantine"
TABLES: Final = (*DAY, QUARANTINE)

_IDLE = """
SELECT c.customer_key FROM customer c LEFT JOIN (
    SELECT customer_key, max(business_date) AS last FROM sales_line
    WHERE customer_key IS NOT NULL GROUP BY customer_key
) s USING (customer_key)
WHERE greatest(coalesce(s.last, c.first_seen), coalesce(c.first_seen, s.last)) < $before
"""


@dataclass(frozen=True, slots=True)
class Purge:
    """What a purge removed, or with ``dry_run`` would remove.

    Args:
        before: table -> the first day that is kept.
        rows: table -> how many rows go.
        files: how many files are removed or written again.
        digest_before, digest_after: of the vault's contents, 64 hex digits.
    """

    before: Mapping[str, date]
    rows: Mapping[str, int]
    files: int
    dry_run: bool
    digest_before: str
    digest_after: str

    def facts(self) -> dict[str, Any]:
        """The figures for the journal; they name nobody."""
        return {
            **{f"before_{table}": day.isoformat() for table, day in sorted(self.before.items())},
            **{f"rows_{table}": count for table, count in sorted(self.rows.items())},
            "files": self.files,
            "contents_before": self.digest_before,
            "contents_after": self.digest_after,
        }


def limits(days: Mapping[str, int], today: date) -> dict[str, date]:
    """The first day that each table keeps, from how many days it keeps."""
    return {table: today - timedelta(days=count) for table, count in days.items()}


def purge(
    layout: Layout, before: date | Mapping[str, date], now: datetime, *, dry_run: bool
) -> Purge:
    """Remove rows of days before ``before``, for all tables or for each its own.

    A sales line goes by its business day and a stock by the day it was counted. A customer goes
    who has neither bought nor been first seen since; one with no day at all stays. Rows set aside
    go by the day of their import.

    Raises:
        InputError: a table that does not exist; a day in the future.
        LocalError: a change is under way; the disk is full; nothing was changed then.
    """
    days = dict(before) if isinstance(before, Mapping) else dict.fromkeys(TABLES, before)
    for table, day in days.items():
        if table not in TABLES:
            raise InputError(f"{table!r} is no table; expected one of {', '.join(TABLES)}.")
        if day > now.astimezone(UTC).date():
            raise InputError(
                f"{day.isoformat()} is in the future; rows of days to come are not purged.",
                where="--before",
            )
    with duck.plain_disk_errors(layout.root):
        with layout.changing() as folder:
            found = layout.load()
            after, rows = found, dict.fromkeys(days, 0)
            for table in (table for table in DAY if table in days):
                after, rows[table] = _purged(layout, folder, after, table, days[table])
            if QUARANTINE in days:
                after, rows[QUARANTINE] = _set_aside(layout, after, days[QUARANTINE])
            if any(rows.values()):
                after = _noted(after, days, rows, now)
                if not dry_run:
                    layout.store(after)
        old = found.names() - after.names()
        if not dry_run:
            layout.require_gone(old)
    return Purge(days, rows, len(old), dry_run, found.contents, after.contents)


def _noted(
    after: Manifest, days: Mapping[str, date], rows: Mapping[str, int], now: datetime
) -> Manifest:
    what = (f"{table} {day.isoformat()} {rows[table]}" for table, day in sorted(days.items()))
    after = after.removed(Removed("purge", "retention", sum(rows.values()), now))
    if any(count for table, count in rows.items() if table != QUARANTINE):
        after = after.changed("purge", digest("datacoop/vault/purge", *what))
    return after


def _purged(
    layout: Layout, folder: Path, found: Manifest, table: str, before: date
) -> tuple[Manifest, int]:
    """The manifest without the old rows of one table, and how many those are."""
    idle = _idle(layout, before) if table == "customer" else None
    count = 0
    for file in found.of(table):
        if idle is None and (file.date_from is None or file.date_from >= before):
            continue
        if idle is None and file.date_to is not None and file.date_to < before:
            count += file.rows
            found = found.with_files((file,), ())
            continue

        def kept(rows: pa.Table) -> pa.Table:
            if idle is not None:
                return rows.filter(pc.invert(pc.is_in(rows["customer_key"], value_set=idle)))
            return rows.filter(pc.greater_equal(rows[DAY[table]], pa.scalar(before)))

        new = rowfiles.again(layout, folder, file, kept)
        left = sum(one.rows for one in new)
        if left < file.rows:  # else the file stays; the copy is removed with the change
            count += file.rows - left
            found = found.with_files((file,), new)
    return found, count


def _idle(layout: Layout, before: date) -> pa.Array:
    """Keys of customers who have neither bought nor been first seen since."""
    with readers.views(layout, {}) as db:
        found = db.sql(_IDLE, params={"before": before}).to_arrow_table()
    return found["customer_key"].combine_chunks()


def _set_aside(layout: Layout, found: Manifest, before: date) -> tuple[Manifest, int]:
    records, count = [], 0
    for record in found.imports:
        old = bool(record.quarantine) and record.when.date() < before
        if old:
            count += len(setaside.load(layout, record.quarantine)[1])
        records.append(replace(record, quarantine="") if old else record)
    return replace(found, imports=tuple(records)), count
