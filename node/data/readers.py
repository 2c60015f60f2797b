"""Reading the vault: three views over its sealed files, and weekly series."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa

from node.data import duck, rowfiles
from node.data.layout import Layout
from node.data.schema import STORED
from node.data.stages import WEEKLY_COLUMNS
from protocols.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

WeekStart = Literal["monday", "sunday"]

TABLES: Final = tuple(STORED)
_ATTEMPTS: Final = 5


@contextlib.contextmanager
def views(
    layout: Layout,
    categories: Mapping[str, str],
    tables: Sequence[str] = TABLES,
    columns: Sequence[str] | None = None,
) -> Iterator[duck.Connection]:
    """A closed-in database with the views of one manifest, also while a change commits.

    ``sales_line`` has the category as it was printed under ``category``, and under
    ``category_code`` its code of the shared taxonomy where ``categories`` has one.
    """
    with duck.plain_disk_errors(layout.root), duck.connection() as db:
        codes = pa.table(
            {
                "printed": pa.array(list(categories), pa.string()),
                "code": pa.array(list(categories.values()), pa.string()),
            }
        )
        db.register("taxonomy", codes)
        for name, found in _datasets(layout, tables, columns).items():
            db.register(f"{name}_rows", found)
            db.execute(f"CREATE TEMP VIEW {name} AS {_view(name, found, categories)}")
        yield db


def _datasets(
    layout: Layout, tables: Sequence[str], columns: Sequence[str] | None
) -> dict[str, pa.dataset.Dataset]:
    """The row files of each table, opened together: all of one manifest."""
    for attempt in range(_ATTEMPTS):
        found = layout.load()
        try:
            return {
                name: rowfiles.dataset(layout, name, found.of(name), columns) for name in tables
            }
        except FileNotFoundError:  # a change committed in between and removed what it replaced
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


def _view(name: str, found: pa.dataset.Dataset, categories: Mapping[str, str]) -> str:
    names = [column for column in found.schema.names if column != "corrected"]
    if "category_code" not in names:
        return f"SELECT {', '.join(names)} FROM {name}_rows"  # noqa: S608
    rest = [f"r.{column}" for column in names if column != "category_code"]
    if not categories:
        code, source = "r.category_code", f"{name}_rows r"
    else:
        code = "coalesce(t.code, r.category_code)"
        source = f"{name}_rows r LEFT JOIN taxonomy t ON r.category_code = t.printed"
    return (
        f"SELECT {', '.join(rest)}, {code} AS category_code, "  # noqa: S608
        f"r.category_code AS category FROM {source}"
    )


def rows(
    db: duck.Connection, sql: str, params: Sequence[object] | Mapping[str, object]
) -> list[tuple[Any, ...]]:
    """The rows of a question; instants are aware and in UTC."""
    found = db.sql(sql, params=params or None)
    if not any(kind.id == "timestamp with time zone" for kind in found.types):
        return found.fetchall()
    # DuckDB wants another package to make an instant of Python; Arrow makes it alone
    columns = [column.to_pylist() for column in found.to_arrow_table().columns]
    return [tuple(map(_utc, row)) for row in zip(*columns, strict=True)]


def _utc(cell: Any) -> Any:
    aware = isinstance(cell, datetime) and cell.tzinfo is not None
    return cell.astimezone(UTC) if aware else cell


def weekly(
    layout: Layout,
    categories: Mapping[str, str],
    week_start: WeekStart,
    since: date | None,
    until: date | None,
    without: Collection[str] = frozenset(),
) -> pd.DataFrame:
    """Weekly units per category; of the columns ``WEEKLY_COLUMNS`` are read.

    The customer is read as well if ``without`` names some, to leave out what they bought.
    """
    if week_start not in ("monday", "sunday"):
        raise InputError(f"a week starts on monday or sunday, not on {week_start!r}.")
    shift = 1 if week_start == "sunday" else 0
    columns = [*WEEKLY_COLUMNS, *(["customer_key"] if without else [])]
    with views(layout, categories, ("sales_line",), columns) as db:
        source = "sales_line"
        if without:
            keys = pa.table({"customer_key": pa.array(sorted(without), pa.string())})
            db.register("left_out", keys)
            source = "sales_line ANTI JOIN left_out USING (customer_key)"
        table = db.sql(
            f"SELECT category_code, "  # noqa: S608
            f"(date_trunc('week', business_date + {shift}) - INTERVAL {shift} DAY)::DATE "
            "AS week_start, sum(qty)::DOUBLE AS units, count(*)::BIGINT AS lines "
            f"FROM {source} "
            "WHERE category_code IS NOT NULL AND business_date BETWEEN $since AND $until "
            "GROUP BY ALL ORDER BY category_code, week_start",
            params={"since": since or date.min, "until": until or date.max},
        ).to_arrow_table()
    return _frame(table)


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
