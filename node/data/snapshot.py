"""The lines of the customers who stand in a scope, and the root that names exactly these lines.

Root: RFC 9162 tree hash over one leaf per customer, in the order of the keys; a leaf is the
canonical encoding of (customer key, count of lines, SHA-256 over the lines), where a line is its
hash (16 bytes) and its number among equals (4 bytes), in the order of the frame. A line hash
covers everything the till printed (``schema.IDENTITY``), so the root changes exactly when a line
or a customer comes or goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from node.data.stages import CUSTOMER_LINE_COLUMNS, LeftOut, Standing
from node.data.vault import Vault
from protocols import canonical
from protocols.audit.merkle import EMPTY_ROOT, leaf_hash, node_hash

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

LINE_HASH_BYTES: Final = 16
_TAG: Final = "datacoop/customer-lines/v1"
_AMOUNTS: Final = frozenset({"net", "qty"})
_LINES: Final = pa.schema(
    [
        ("code", pa.int32()),
        ("business_date", pa.date32()),
        ("order_ref", pa.string()),
        ("net", pa.float64()),
        ("qty", pa.float64()),
        ("category_code", pa.string()),
        ("line_hash", pa.binary()),
        ("copy", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read: the root, what was left out, and the frame of ``ConsentedLines``."""

    root: str
    left_out: LeftOut
    lines: pd.DataFrame = field(repr=False)

    @property
    def customers(self) -> int:
        """How many customers have a line."""
        return len(self.lines["customer_key"].cat.categories)


def last_readable_day(standing: Standing) -> date:
    """Tomorrow in UTC: the latest day that a till anywhere can print now."""
    return standing.at.date() + timedelta(days=1)


def read(
    vault: Vault,
    standing: Standing,
    columns: Collection[str],
    since: date | None,
    until: date | None,
) -> Snapshot:
    """Lines of customers who stand, from ``since`` to ``until``, never from the future.

    Of ``CUSTOMER_LINE_COLUMNS`` the first two are read and those that stand in ``columns``.
    """
    always, others = CUSTOMER_LINE_COLUMNS[:2], CUSTOMER_LINE_COLUMNS[2:]
    wanted = [*always, *(name for name in others if name in columns)]
    days = {
        "since": since or date.min,
        "until": min(until or date.max, last_readable_day(standing)),
    }
    with vault.reader() as db:
        if db is None:
            return Snapshot(
                EMPTY_ROOT.hex(), LeftOut(0, 0, 0, 0), _frame(_LINES.empty_table(), [], wanted)
            )
        known = db.execute(
            "SELECT DISTINCT customer_key FROM sales_line "
            "WHERE customer_key IS NOT NULL AND business_date BETWEEN $since AND $until",
            days,
        ).fetchall()
        keys = sorted(key for (key,) in known if standing.lets_in(key))
        table = _lines(db, keys, wanted, days)
        left_out = _left_out(db, days, last_readable_day(standing), table.num_rows)
    return Snapshot(_root(table, keys), left_out, _frame(table, keys, wanted))


def _lines(
    db: duckdb.DuckDBPyConnection,
    keys: Sequence[str],
    wanted: Sequence[str],
    days: dict[str, date],
) -> pa.Table:
    """Columns code (place of the key), the wanted ones, line_hash and copy; sorted."""
    codes = pa.array(np.arange(len(keys), dtype=np.int32))
    db.register("standing", pa.table({"customer_key": pa.array(keys, pa.string()), "code": codes}))
    read = [f"{name}::DOUBLE AS {name}" if name in _AMOUNTS else name for name in wanted[1:]]
    return db.sql(
        f"SELECT code, {', '.join(read)}, line_hash, copy "  # noqa: S608
        "FROM sales_line JOIN standing USING (customer_key) "
        "WHERE business_date BETWEEN $since AND $until "
        "ORDER BY code, business_date, line_hash, copy",
        params=days,
    ).to_arrow_table()


def _left_out(
    db: duckdb.DuckDBPyConnection, days: dict[str, date], last: date, kept: int
) -> LeftOut:
    row = db.execute(
        "SELECT count(*) FILTER (business_date BETWEEN $since AND $until), "
        "count(*) FILTER (business_date BETWEEN $since AND $until AND customer_key IS NULL), "
        "count(*) FILTER (business_date > $last) FROM sales_line",
        {**days, "last": last},
    ).fetchone()
    assert row is not None
    lines, without, future = row
    return LeftOut(lines, without, lines - without - kept, future)


# --- the root ----------------------------------------------------------------------------------


def _root(table: pa.Table, keys: Sequence[str]) -> str:
    """Root over the customers of a sorted table, 64 hex digits."""
    lines = _line_digests(table)
    bounds = np.searchsorted(table["code"].to_numpy(), np.arange(len(keys) + 1))
    leaves = []
    for place, key in enumerate(keys):
        mine = lines[bounds[place] : bounds[place + 1]]
        digest = hashlib.sha256(mine.data).digest()
        leaves.append(leaf_hash(canonical.encode(_TAG, key, len(mine), digest)))
    return tree_hash(leaves).hex()


def _line_digests(table: pa.Table) -> npt.NDArray[np.uint8]:
    """uint8 (lines, 20): line hash and copy number of each line."""
    hashes = table["line_hash"].combine_chunks().cast(pa.binary(LINE_HASH_BYTES))
    out = np.empty((table.num_rows, LINE_HASH_BYTES + 4), np.uint8)
    held = np.frombuffer(hashes.buffers()[1], np.uint8, hashes.nbytes)
    out[:, :LINE_HASH_BYTES] = held[: out.shape[0] * LINE_HASH_BYTES].reshape(-1, LINE_HASH_BYTES)
    copies = table["copy"].to_numpy().astype("<u4")
    out[:, LINE_HASH_BYTES:] = copies.view(np.uint8).reshape(-1, 4)
    return out


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162 root of leaf hashes, level by level: an odd one moves up as it is."""
    level = list(leaves)
    while len(level) > 1:
        pairs = [node_hash(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0] if level else EMPTY_ROOT


# --- the frame ---------------------------------------------------------------------------------


def _frame(table: pa.Table, keys: Sequence[str], wanted: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    codes = pd.Categorical.from_codes(
        table["code"].to_numpy(), categories=pd.Index(list(keys), dtype="str")
    )
    columns: dict[str, Any] = {"customer_key": codes}
    for name in wanted[1:]:
        if name == "business_date":
            columns[name] = table[name].to_numpy().astype("datetime64[s]")
        elif name in _AMOUNTS:
            columns[name] = table[name].to_numpy()
        else:
            columns[name] = _category(table[name])
    return pd.DataFrame(columns, columns=list(wanted))


def _category(column: pa.ChunkedArray) -> pd.Categorical:
    """A text column as a category with sorted values; null has the code -1."""
    import pandas as pd

    values = pc.unique(column.drop_null()).sort()
    codes = pc.index_in(column, value_set=values).fill_null(-1)
    return pd.Categorical.from_codes(
        codes.to_numpy(), categories=pd.Index(values.to_pylist(), dtype="str")
    )
