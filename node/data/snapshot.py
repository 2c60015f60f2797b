"""The lines of the customers who stand in a scope, and the root that names exactly these lines.

Root: that of a ``protocols.audit.consent.RowBook``: one leaf per customer, in the order of the
customers' own leaves; over the count of lines and the SHA-256 of the lines, where a line is its
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

from node.data.stages import CUSTOMER_LINE_COLUMNS, Basis, LeftOut, Standing
from node.data.vault import Vault
from protocols.audit.consent import RowBook, leaves

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

LINE_HASH_BYTES: Final = 16
_AMOUNTS: Final = frozenset({"net", "qty"})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read: who and which lines as hashes, what was left out, and the frame."""

    book: RowBook = field(repr=False)
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
        found = db.execute(
            "SELECT DISTINCT customer_key FROM sales_line "
            "WHERE customer_key IS NOT NULL AND business_date BETWEEN $since AND $until",
            days,
        ).fetchall()
        every = sorted(key for (key,) in found)
        known = zip(every, leaves(standing.scope, map(bytes.fromhex, every)), strict=True)
        stand = [(key, leaf) for key, leaf in known if standing.lets_in_leaf(leaf)]
        keys = [key for key, _ in stand]
        table = _lines(db, keys, wanted, days)
        left_out = _left_out(db, days, last_readable_day(standing), table.num_rows)
    book = _book(table, [leaf for _, leaf in stand])
    return Snapshot(book, left_out, _frame(table, keys, wanted))


def who_is_left_out(vault: Vault, standing: Standing) -> frozenset[str]:
    """Keys of the customers in the vault who do not stand."""
    if standing.basis is not Basis.CONSENT and not standing.named:
        return frozenset()
    rows = vault.query(
        "SELECT DISTINCT customer_key FROM sales_line WHERE customer_key IS NOT NULL"
    )
    keys = [key for (key,) in rows]
    known = zip(keys, leaves(standing.scope, map(bytes.fromhex, keys)), strict=True)
    return frozenset(key for key, leaf in known if not standing.lets_in_leaf(leaf))


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


# --- the book ----------------------------------------------------------------------------------


def _book(table: pa.Table, known: Sequence[bytes]) -> RowBook:
    """One record for each customer of a sorted table; ``known``: leaf by code."""
    lines = _line_digests(table)
    bounds = np.searchsorted(table["code"].to_numpy(), np.arange(len(known) + 1))
    order = sorted(range(len(known)), key=known.__getitem__)
    mine = [lines[bounds[code] : bounds[code + 1]] for code in order]
    return RowBook(
        tuple(known[code] for code in order),
        tuple(map(len, mine)),
        tuple(hashlib.sha256(one.data).digest() for one in mine),
    )


def _line_digests(table: pa.Table) -> npt.NDArray[np.uint8]:
    """uint8 (lines, 20): line hash and copy number of each line."""
    hashes = table["line_hash"].combine_chunks().cast(pa.binary(LINE_HASH_BYTES))
    out = np.empty((table.num_rows, LINE_HASH_BYTES + 4), np.uint8)
    held = np.frombuffer(hashes.buffers()[1], np.uint8, hashes.nbytes)
    out[:, :LINE_HASH_BYTES] = held[: out.shape[0] * LINE_HASH_BYTES].reshape(-1, LINE_HASH_BYTES)
    copies = table["copy"].to_numpy().astype("<u4")
    out[:, LINE_HASH_BYTES:] = copies.view(np.uint8).reshape(-1, 4)
    return out


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
