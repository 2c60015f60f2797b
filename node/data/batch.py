"""Records of a source on their way to the vault: text columns first, then columns with a role.

    source (CSV, Excel, Parquet, SQL) -> ``TextBatch`` -> ``Reading`` -> ``RoleBatch`` -> converter

A source knows nothing of tills, a reading knows nothing of files, and the converter knows neither:
it reads the text of each role's cells exactly, or refuses the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from node.data.columns import Column, Role

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BadRow:
    """One record that cannot be used.

    ``line`` and ``place`` count from 1 (place 0: the whole record); ``problem`` says what was
    expected; ``kept`` are the cells that may be shown to the member again. ``customer_key`` (64
    hex digits, "" if there is none to be read) lets an erasure find the record.
    """

    line: int
    place: int
    problem: str
    kept: tuple[str, ...] = field(default=(), repr=False)
    customer_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class TextBatch:
    """A stretch of records as text columns, all of one length N.

    ``columns``: header as written in the file -> string array (N,), only those that the reading
    wants, never null (an empty cell is ""); ``lines``: int64 (N,), where each record starts,
    counted from 1; ``broken``: records that are no records, with their reasons.
    """

    columns: Mapping[str, pa.StringArray] = field(repr=False)
    lines: Int64s = field(repr=False)
    broken: tuple[BadRow, ...] = ()


@dataclass(frozen=True, slots=True)
class RoleBatch:
    """The same stretch under canonical roles; rows may have been left out or added (M of them).

    ``columns``: role -> string array (M,), "" where a cell is empty; ``lines`` int64 (M,): the
    record that each row comes from; ``bad``: rows that cannot be used; ``left_out``: a reason in
    words -> how many records were left out on purpose (cancelled, test, not paid). ``gone`` has a
    row for each order of which nothing is left, for that reason: its number and its moment.
    """

    columns: Mapping[Role, pa.StringArray] = field(repr=False)
    lines: Int64s = field(repr=False)
    bad: tuple[BadRow, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    gone: RoleBatch | None = None


class Pass(Protocol):
    """One pass over one source, with its memory (the order that a row belongs to, for example)."""

    def take(self, batch: TextBatch) -> RoleBatch:
        """The next stretch, in file order."""

    def finish(self) -> RoleBatch | None:
        """What was held back until the end; None if nothing was."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the columns of one source become roles: the generic way, a dialect, or a mapping file.

    Args:
        name: for people, for example "Shopify orders".
        table: the canonical table: ``sales_line``, ``customer`` or ``stock``.
        columns: the fate of every column of the header, in its order.
        wanted: headers that a pass needs to see; the others are never made into cells.
        start: a new pass.
        derived: one sentence for each canonical column that is made from others.
        confidence: 0 to 1, that this is the right reading; ``why`` in words.
        fixed: what the format itself says and nobody needs to sniff or ask, of ``date_order``,
            ``decimal``, ``currency``, ``timezone``.
        notes: what the member should know of this format before saying yes.
        digest: names this reading (64 hex digits): the same file read in the same way again
            changes nothing.
        replaces: the source whose orders an export replaces: it has each of its orders whole, and
            the newest export is the truth about them. "" where lines are only ever added.
    """

    name: str
    table: str
    columns: tuple[Column, ...]
    wanted: tuple[str, ...]
    start: Callable[[], Pass]
    derived: tuple[str, ...] = ()
    confidence: float = 1.0
    why: str = ""
    fixed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    digest: str = ""
    replaces: str = ""
