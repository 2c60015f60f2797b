"""Customers and stock on their way in: one row a key, the newest says what it is.

Of a customer the earliest day counts and the newest country, region and source that are not
empty; what was corrected here stays. Of a stock the newest row counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa

from node.data import duck, identity, rowfiles
from node.data.layout import Layout
from node.data.manifest import Manifest, RowFile
from node.data.schema import STORED

_CUSTOMER: Final = """
WITH came AS (
    SELECT customer_key, min(first_seen) AS first_seen,
        arg_max(country, n) FILTER (country IS NOT NULL) AS country,
        arg_max(region, n) FILTER (region IS NOT NULL) AS region,
        arg_max(source, n) FILTER (source IS NOT NULL) AS source
    FROM staged GROUP BY customer_key
), made AS (
    SELECT c.customer_key,
        least(coalesce(c.first_seen, o.first_seen), coalesce(o.first_seen, c.first_seen))
            AS first_seen,
        CASE WHEN o.corrected THEN o.country ELSE coalesce(c.country, o.country) END AS country,
        CASE WHEN o.corrected THEN o.region ELSE coalesce(c.region, o.region) END AS region,
        CASE WHEN o.corrected THEN o.source ELSE coalesce(c.source, o.source) END AS source,
        coalesce(o.corrected, false) AS corrected
    FROM came c LEFT JOIN known o USING (customer_key)
)
SELECT customer_key, first_seen, country, region, source, corrected FROM made ANTI JOIN known k
    ON made.customer_key = k.customer_key AND made.first_seen IS NOT DISTINCT FROM k.first_seen
    AND made.country IS NOT DISTINCT FROM k.country AND made.region IS NOT DISTINCT FROM k.region
    AND made.source IS NOT DISTINCT FROM k.source
ORDER BY customer_key
"""
_STOCK: Final = """
WITH came AS (
    SELECT sku, location, as_of, arg_max_null(on_hand, n) AS on_hand,
        arg_max_null(incoming, n) AS incoming
    FROM staged GROUP BY sku, location, as_of
)
SELECT sku, location, on_hand, incoming, as_of FROM came ANTI JOIN known k
    ON came.sku = k.sku AND came.location IS NOT DISTINCT FROM k.location
    AND came.as_of = k.as_of AND came.on_hand IS NOT DISTINCT FROM k.on_hand
    AND came.incoming IS NOT DISTINCT FROM k.incoming
ORDER BY as_of, sku, location
"""
_SQL: Final = {"customer": _CUSTOMER, "stock": _STOCK}
_SAME: Final = {
    "customer": "rows.customer_key = fresh.customer_key",
    "stock": "rows.sku = fresh.sku AND rows.location IS NOT DISTINCT FROM fresh.location "
    "AND rows.as_of = fresh.as_of",
}


@dataclass(frozen=True, slots=True)
class Upserted:
    """New files, files that they replace, how many rows are new or different, and a digest."""

    new: tuple[RowFile, ...]
    gone: tuple[RowFile, ...]
    added: int
    digest: bytes = field(repr=False)


def upsert(
    layout: Layout, folder: Path, before: Manifest, table: str, staged: pa.Table
) -> Upserted:
    """Put staged rows of ``customer`` or ``stock`` into the vault's files.

    Args:
        staged: the table's columns and ``n``, the place in the import: the later one counts.
    """
    rows = fresh(layout, before, table, staged)
    if not rows.num_rows:
        return Upserted((), (), 0, b"")
    new: list[RowFile] = []
    with duck.connection() as db:
        db.register("fresh", rows)
        gone = [file for file in before.of(table) if _without(layout, folder, db, file, new)]
    with rowfiles.sink(layout, folder, table, rows.num_rows) as out:
        out.write(rows)
        new += out.close()
    return Upserted(tuple(new), tuple(gone), rows.num_rows, identity.row_digest(rows))


def fresh(layout: Layout, before: Manifest, table: str, staged: pa.Table) -> pa.Table:
    """Rows as they are to be kept, of those keys that are new or say something else now."""
    with duck.connection() as db:
        db.register("staged", staged)
        db.register("known", rowfiles.dataset(layout, table, before.of(table)))
        return db.sql(_SQL[table]).to_arrow_table().cast(STORED[table])


def _without(
    layout: Layout,
    folder: Path,
    db: duck.Connection,
    file: RowFile,
    new: list[RowFile],
) -> bool:
    """Write a file again without the rows that the fresh ones replace; False if it has none."""
    db.register("rows", rowfiles.dataset(layout, file.table, (file,)))
    kept = db.sql(
        f"SELECT rows.* FROM rows ANTI JOIN fresh ON {_SAME[file.table]}"  # noqa: S608
    ).to_arrow_table()
    db.unregister("rows")
    if kept.num_rows == file.rows:
        return False
    with rowfiles.sink(layout, folder, file.table, kept.num_rows) as out:
        out.write(kept.cast(STORED[file.table]))
        new += out.close()
    return True
