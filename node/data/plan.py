"""What the member said about a file, what adding it would do, and what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from node.data.batch import BadRow, Reading
from node.data.columns import Column, Fate, Role
from node.data.schema import AMOUNT, DAY
from node.data.values import DateOrder, DecimalSign
from protocols.errors import InputError

if TYPE_CHECKING:
    from node.data.database import Database
    from node.data.stages import RawRows
    from node.data.supersede import Replacing

MAX_BAD_SHARE: Final = 0.02
EXAMPLES: Final = 5
MANY_BAD: Final = 1_000
DELIMITER_NAMES: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}


@dataclass(frozen=True, slots=True)
class Options:
    """What the member said about the file; None means: find it, or ask.

    ``columns`` maps a role name (``node.data.columns.Role``) to a header of the file.
    ``timezone`` is the shop's IANA zone, in which printed times are meant. ``dialect`` names a
    till's format, ``mapping`` a mapping file, ``sheet`` the sheet of a workbook. ``older`` says
    what an export does that is older than what is here of its orders: ``keep`` or ``replace``.
    """

    delimiter: str | None = None
    encoding: str | None = None
    date_order: str | None = None
    decimal: str | None = None
    timezone: str = "UTC"
    currency: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    max_bad_share: float = MAX_BAD_SHARE
    dialect: str | None = None
    mapping: Path | None = None
    sheet: str | None = None
    older: str | None = None


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What adding a file would do. Nothing has been kept.

    ``rows`` counts the rows that would be kept or set aside, ``bad_rows`` those to be set aside,
    ``left_out`` the records left out on purpose, by reason; ``preview`` are the first records as
    they stand in the file, under ``columns``; ``confidence`` (0-1) says how sure the reading is.
    ``digest`` (64 hex digits) names the way in which the file is read.
    """

    path: Path | Database
    options: Options
    file_name: str
    size_bytes: int
    sha256: str
    delimiter: str
    encoding: str
    read_as: str
    table: str
    reading: Reading = field(compare=False, repr=False)
    digest: str
    date_order: DateOrder
    decimal: DecimalSign
    timezone: str
    currency: str | None
    columns: tuple[Column, ...]
    derived: tuple[str, ...]
    notes: tuple[str, ...]
    rows: int
    bad_rows: int
    left_out: Mapping[str, int]
    examples: tuple[BadRow, ...]
    date_from: date | None
    date_to: date | None
    categories: int
    confidence: float
    preview: tuple[tuple[str, ...], ...] = field(repr=False)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Headers of the personal columns that are dropped at the door."""
        return tuple(c.header for c in self.columns if c.fate in (Fate.PERSONAL, Fate.BLOCKED))

    @property
    def ignored(self) -> tuple[str, ...]:
        """Headers of the columns that nothing is done with."""
        return tuple(c.header for c in self.columns if c.fate is Fate.IGNORED)

    @property
    def delimiter_name(self) -> str:
        """The delimiter in words; "" for a file that has none."""
        return DELIMITER_NAMES.get(self.delimiter, "")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What adding a file did.

    ``quarantine`` is the sealed file of the rows set aside, if any; ``named`` of the duplicates
    were here without a customer and got theirs; ``suppressed`` rows are of erased customers.
    ``orders_changed`` orders that were here are not what they were, ``lines_replaced`` lines of
    theirs went, and ``kept_back`` rows were left out because these orders are newer here.
    """

    rows_added: int
    duplicates: int
    named: int
    quarantined: int
    quarantine: Path | None
    date_from: date | None
    date_to: date | None
    categories: int
    already_known: bool
    suppressed: int = 0
    orders_changed: int = 0
    lines_replaced: int = 0
    kept_back: int = 0


@dataclass(slots=True)
class Tally:
    """What went by: good and bad rows, first and last day, categories, currencies.

    ``gone`` counts orders of which nothing is left.
    """

    good: int = 0
    bad: int = 0
    date_from: date | None = None
    date_to: date | None = None
    below_zero: int = 0
    gone: int = 0
    categories: set[str] = field(default_factory=set)
    currencies: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: list[BadRow] = field(default_factory=list)

    def add(self, rows: RawRows, bad: Sequence[BadRow]) -> None:
        """Count some rows."""
        self.bad += len(bad)
        self.examples.extend(bad[: EXAMPLES - len(self.examples)])
        table = rows.table
        if not table.num_rows:
            return
        self.good += table.num_rows
        days = pc.min_max(table[DAY[rows.name]]).as_py()
        self.date_from = min(filter(None, (self.date_from, days["min"])), default=None)
        self.date_to = max(filter(None, (self.date_to, days["max"])), default=None)
        if rows.name == "sales_line":
            names = pc.unique(table["category_code"]).to_pylist()
            self.categories.update(name for name in names if name)
            for pair in pc.value_counts(table["currency"]).to_pylist():
                self.currencies[pair["values"] or ""] += pair["counts"]
        if rows.name == "stock":
            below = pc.sum(pc.less(table["on_hand"], pa.scalar(Decimal(0), AMOUNT)))
            self.below_zero += below.as_py() or 0

    def require_usable(self, name: str, max_bad_share: float) -> None:
        """Refuse a file without rows, or with too many bad ones."""
        total = self.good + self.bad
        if not total and self.gone:
            return  # orders that are here may have been cancelled since
        if not total and self.left_out:
            raise nothing_left(name, self.left_out)
        if not total:
            raise InputError(
                "the file has a header but no sales lines.",
                where=f"{name}:2:1",
                fix="Export it again, and choose a period in which there were sales.",
            )
        if self.good and self.bad <= max_bad_share * total:
            return
        raise self._too_many(name, max_bad_share, f"{total}")

    def require_bearable(self, name: str, max_bad_share: float, most_rows: int) -> None:
        """Refuse a file as soon as its bad rows are too many, however good the rest may be.

        A reading can make up to two rows of one record.
        """
        if most_rows and self.bad > MANY_BAD and self.bad > max_bad_share * 2 * most_rows:
            raise self._too_many(name, max_bad_share, f"the first {self.good + self.bad}")

    def _too_many(self, name: str, max_bad_share: float, of: str) -> InputError:
        total = self.good + self.bad
        first = self.examples[0]
        shown = "\n".join(f"  {name}:{b.line}:{b.place}: {b.problem}" for b in self.examples)
        return InputError(
            f"{self.bad} of {of} rows cannot be read ({self.bad / total:.1%}; at most "
            f"{max_bad_share:.1%} are set aside). Nothing was imported. The first ones:\n{shown}\n",
            where=f"{name}:{first.line}:{first.place}",
            fix="Correct these rows or export the file again; if a whole column is misread, say "
            "which column is what with --column, or set --date-order or --decimal. To set more "
            "rows aside than that: --max-bad-share.",
        )


def nothing_left(name: str, left_out: Mapping[str, int]) -> InputError:
    """The refusal of a file of which every record was left out."""
    reasons = ", ".join(f"{count} ({why})" for why, count in left_out.items())
    return InputError(
        f"no sales line is left; left out were {reasons}.",
        where=f"{name}:2:1",
        fix="Export it again, and choose a period in which there were sales.",
    )


def which_counts(plan: ImportPlan, replacing: Replacing) -> InputError:
    """The question whether an export counts that looks older than what is here."""
    return InputError(
        f"{looks_older(plan, replacing)} Is it the older one?",
        where="--older",
        fix="Say --older keep to leave these orders as they are here and add only others, or "
        "--older replace if this export is the newer one.",
    )


def looks_older(plan: ImportPlan, replacing: Replacing) -> str:
    """Why an export looks older, in one sentence."""
    known = replacing.older
    if known is None:
        return ""
    return (
        f"this export ends on {plan.date_to or 'no day'} and {known.file_name}, which was added on "
        f"{known.when.date()}, on {known.date_to}; {replacing.orders} orders that are here are "
        f"not the same in it, and {replacing.late} of its lines are of orders of those days that "
        "are not here."
    )


def derived(reading: Reading, timezone: str) -> tuple[str, ...]:
    """One sentence for each canonical column that is made from others."""
    if reading.table != "sales_line":
        return reading.derived + _keyed(reading)
    at = {c.role: c.header.strip() for c in reading.columns if c.role is not None}
    day = at.get(Role.DATE, "the day")
    clock = f"{day} and {at[Role.TIME]}" if Role.TIME in at else day
    out = [f"business_date and ts_utc from {clock}, in {timezone}"]
    if reading.derived:
        return (*out, *reading.derived, *_keyed(reading))
    if Role.TOTAL not in at:
        out.append("net from quantity x unit price - discount")
    if Role.UNIT_PRICE not in at:
        out.append("unit_price from (total + discount) / quantity")
    sign = f"{at[Role.KIND]} or " if Role.KIND in at else ""
    out.append(f"is_return from {sign}a negative quantity")
    return (*out, *_keyed(reading))


def _keyed(reading: Reading) -> tuple[str, ...]:
    header = next((c.header.strip() for c in reading.columns if c.fate is Fate.CUSTOMER), None)
    if header is None:
        return ()
    return (f"customer_key from {header}: a keyed hash, the secret stays on this node",)


def notes(reading: Reading, options: Options, tally: Tally) -> tuple[str, ...]:
    """What the member may want to know before saying yes."""
    roles = {c.role for c in reading.columns}
    out = list(reading.notes)
    if reading.replaces:
        out.append(
            "The newest export of an order counts: an order that is here already becomes what "
            "this file says of it."
        )
    if reading.table == "sales_line":
        said = any("category" in note for note in reading.notes)
        if not (tally.categories or said or Role.CATEGORY in roles):
            out.append("There is no category column: forecasts by category need one.")
        if set(tally.currencies) <= {""}:
            out.append("The file names no currency; add --currency EUR (or yours) to record it.")
        if len(tally.currencies) > 1:
            shown = ", ".join(f"{n} {c or 'without'}" for c, n in sorted(tally.currencies.items()))
            out.append(f"The lines are in several currencies ({shown}); no amount is converted.")
        if Role.TIME in roles and options.timezone == "UTC" and "timezone" not in reading.fixed:
            out.append(
                "Times are read as UTC; add --timezone Europe/Paris (or yours) if they are not."
            )
        if Role.ORDER not in roles:
            out.append("There is no receipt number: identical lines are told apart by counting.")
    if tally.below_zero:
        out.append(f"{tally.below_zero} stocks are below zero; they are kept as they were counted.")
    if tally.bad:
        out.append(f"{tally.bad} rows cannot be read and would be set aside.")
    return tuple(out)
