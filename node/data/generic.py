"""The reading of a file that no dialect knows: its columns by their names alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from node.data.batch import Reading, RoleBatch, TextBatch
from node.data.columns import (
    ROLES,
    Column,
    Fate,
    Role,
    is_personal,
    recognise,
    required_roles_missing,
)
from node.data.connectors import special_columns
from node.data.values import day_readings
from protocols.canonical import digest
from protocols.errors import InputError

_GOODS: Final = frozenset(
    {Role.SKU, Role.PRODUCT, Role.CATEGORY, Role.QUANTITY, Role.UNIT_PRICE, Role.TOTAL}
)
_AMOUNT: Final = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]+)?")


def reading(
    header: Sequence[str],
    chosen: Mapping[str, str],
    file_name: str,
    sample: Sequence[Sequence[str]] = (),
) -> Reading:
    """What becomes of each column of a header, and the pass that hands the columns on.

    Args:
        header: the cells of the header line.
        sample: some records, for a look at special-category content.
        chosen: role name -> header text, as the member said with ``--column``.
        file_name: for the error messages.

    Raises:
        InputError: a column stands twice, two could be the same thing, or what a table needs is
            not there.
    """
    columns = recognise(header, chosen, file_name)
    goods = frozenset(column.place for column in columns if column.role in _GOODS)
    special = special_columns(header, sample, goods)
    columns = [_blocked(column) if column.place in special else column for column in columns]
    table = _table(columns)
    if table == "stock":
        columns = [replace(c, role=Role.AS_OF) if c.role is Role.DATE else c for c in columns]
    if table == "sales_line" and (missing := required_roles_missing(columns)):
        raise _missing(header, missing, file_name)
    columns = [_of_table(column, table) for column in columns]
    at = {column.role: column.header for column in columns if column.role is not None}
    return Reading(
        name="columns by their names",
        table=table,
        columns=tuple(columns),
        wanted=tuple(at.values()),
        start=lambda: _Renaming(at),
        confidence=min(column.confidence for column in columns if column.role is not None),
        why="each column is known by its name",
        notes=tuple(special.values()),
        digest=digest(
            "datacoop/reading/generic/v1", table, *(f"{r}={h}" for r, h in sorted(at.items()))
        ).hex(),
    )


def _table(columns: Sequence[Column]) -> str:
    """The table that a header is for: sales lines unless it can be nothing but another."""
    roles = {column.role for column in columns}
    if {Role.SKU, Role.ON_HAND} <= roles and Role.QUANTITY not in roles:
        return "stock"
    sale = {Role.DATE, Role.QUANTITY, Role.TOTAL, Role.UNIT_PRICE}
    if {Role.CUSTOMER, Role.FIRST_SEEN} <= roles and not roles & sale:
        return "customer"
    return "sales_line"


def _blocked(column: Column) -> Column:
    return Column(column.place, column.header, Fate.BLOCKED, None, 0.0)


def _of_table(column: Column, table: str) -> Column:
    """The column, unless its role has no place in the table."""
    if column.role is None or column.role in ROLES[table]:
        return column
    fate = Fate.PERSONAL if is_personal(column.header) else Fate.IGNORED
    if column.role is Role.CUSTOMER:
        fate = Fate.PERSONAL
    return Column(column.place, column.header, fate, None, 0.0)


def _missing(header: Sequence[str], missing: Sequence[str], file_name: str) -> InputError:
    if _looks_like_a_row(header):
        return InputError(
            "the first line looks like a sales line; expected the names of the columns there.",
            where=f"{file_name}:1:1",
            fix="Export the file again with a header line, or write one above the first line, "
            "for example: date,receipt,product,category,quantity,total",
        )
    shown = ", ".join(repr(name.strip()[:40]) for name in header[:30])
    return InputError(
        f"no column was recognised as {'; nor as '.join(missing)}. The header reads: {shown}.",
        where=f"{file_name}:1:1",
        fix="Say which column it is, for example --column total='Net sales'.",
    )


def _looks_like_a_row(header: Sequence[str]) -> bool:
    """Whether cells of a header are a day and a number, which no name is."""
    days = any(day_readings(cell) for cell in header if cell.strip())
    return days and any(_AMOUNT.fullmatch(cell.strip()) for cell in header)


@dataclass(frozen=True, slots=True)
class _Renaming:
    """A pass that only gives each column its role."""

    at: Mapping[Role, str]

    def take(self, batch: TextBatch) -> RoleBatch:
        """The same rows under their roles."""
        columns = {role: batch.columns[name] for role, name in self.at.items()}
        return RoleBatch(columns, batch.lines, batch.broken)

    def finish(self) -> RoleBatch | None:
        """Nothing is held back."""
        return None
