"""What adding a file would do, shown to the member before anything is kept.

- Personal cells are shown struck through on a terminal, where the member sees what is dropped;
  anywhere else (a log, a pipe) they are not written at all.
- The customer's cells become a keyed hash; outside a terminal they are not written either.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from node.cli.shell import say, table
from node.data.plan import looks_older
from protocols.plain import shown

if TYPE_CHECKING:
    from node.data.columns import Column
    from node.data.plan import ImportPlan
    from node.data.supersede import Replacing

CELL_CHARS: Final = 22
MAX_DROPPED: Final = 4
_USED: Final = ("kept", "customer", "used")
_DROPPED: Final = ("personal", "blocked")
_RANK: Final = {"kept": 0, "customer": 0, "personal": 1, "blocked": 1, "used": 2}
TEXT_WIDTH: Final = 200
WIDE: Final = 100


def show(plan: ImportPlan, new: int, here: int, replacing: Replacing) -> None:
    """Everything about a plan; ``new`` of its rows are not in the vault yet, ``here`` are."""
    for line in _summary(plan, new, here, replacing):
        say(line)
    if sys.stdout.isatty():
        _preview_on_terminal(plan)
    else:
        for line in _preview_in_text(plan):
            say(line)


def document(plan: ImportPlan, new: int, here: int, replacing: Replacing) -> dict[str, Any]:
    """The same for ``--json``, without any personal cell."""
    kept = [c for c in plan.columns if c.fate in ("kept", "used")]
    return {
        "dry_run": True,
        "rows": plan.rows,
        "new": new,
        "here_already": here,
        "orders_changed": replacing.orders,
        "lines_replaced": replacing.lines,
        "older_than": replacing.older.file_name if replacing.older else None,
        "set_aside": plan.bad_rows,
        "left_out": dict(plan.left_out),
        "table": plan.table,
        "reading": plan.reading.name,
        "why": plan.reading.why,
        "confidence": plan.confidence,
        "read_as": plan.read_as,
        "date_order": plan.date_order,
        "decimal": plan.decimal,
        "timezone": plan.timezone,
        "from": plan.date_from,
        "to": plan.date_to,
        "dropped": list(plan.dropped),
        "columns": [
            {"header": c.header, "fate": c.fate.value, "role": c.role} for c in plan.columns
        ],
        "derived": list(plan.derived),
        "notes": list(plan.notes),
        "examples": [
            {"line": bad.line, "column": bad.place, "problem": bad.problem} for bad in plan.examples
        ],
        "preview": [{c.header: _cell(row, c) for c in kept} for row in plan.preview],
    }


def _summary(plan: ImportPlan, new: int, here: int, replacing: Replacing) -> Iterator[str]:
    reading = plan.reading
    days = f" from {plan.date_from} to {plan.date_to}" if plan.date_from else ""
    groups = f", {plan.categories} {'category' if plan.categories == 1 else 'categories'}"
    groups = groups if plan.table == "sales_line" else ""
    yield f"{plan.file_name}: {_rows(plan.rows)}{days}{groups}."
    yield f"Format: {reading.name} ({plan.confidence:.2f}: {reading.why})."
    yield (
        f"Read as: {plan.read_as}, dates {plan.date_order}, decimal {plan.decimal}, "
        f"time zone {plan.timezone}."
    )
    yield f"Of these {new} are new and {here} are here already."
    if replacing.orders:
        yield (
            f"{replacing.orders} orders changed since they were added: {replacing.lines} of their "
            f"lines go and {replacing.coming} come."
        )
    if replacing.older is not None:
        yield f"Careful: {looks_older(plan, replacing)}"
    yield from table(
        [
            [c.header, c.fate.value, c.role.value if c.role else "", f"{c.confidence:.2f}"]
            for c in plan.columns
            if c.fate in _USED
        ],
        ["column in the file", "what happens", "read as", "confidence"],
        "",
    )
    if plan.dropped:
        yield f"Personal columns dropped at the door: {', '.join(plan.dropped)}."
    if plan.ignored:
        yield f"Columns that nothing is done with: {', '.join(plan.ignored)}."
    yield from (f"Worked out: {one}" for one in plan.derived)
    yield from (f"Left out: {_rows(count)} ({why})." for why, count in plan.left_out.items())
    yield from (f"Note: {one}" for one in plan.notes)
    if plan.bad_rows:
        yield f"{_rows(plan.bad_rows)} cannot be read and will be set aside:"
        yield from (f"  line {bad.line}: {bad.problem}" for bad in plan.examples)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _shown_columns(plan: ImportPlan, width: int) -> tuple[list[Column], str]:
    """The columns of the preview that fit into a width, and how many others there are.

    First one or two that are dropped, for the member to see that; then those that are kept, more
    that are dropped, and those that are only used. Columns without a cell in the first rows say
    nothing and come last.
    """
    filled = {c.place for c in plan.columns if any(_cell(row, c) for row in plan.preview)}
    shown_first = [c.place for c in plan.columns if c.fate in _DROPPED and c.place in filled]
    shown_first = shown_first[: 1 if width < WIDE else 2]

    def rank(column: Column) -> tuple[bool, int]:
        at = -1 if column.place in shown_first else _RANK[column.fate.value]
        return column.place not in filled, at

    chosen: list[Column] = []
    dropped = 0
    for column in sorted((c for c in plan.columns if c.fate in _USED + _DROPPED), key=rank):
        cells = [_cell(row, column) for row in plan.preview]
        needs = max(map(len, (column.header.strip(), *cells))) + 3
        dropped += column.fate in _DROPPED
        if needs <= width and (column.fate not in _DROPPED or dropped <= MAX_DROPPED):
            width -= needs
            chosen.append(column)
    rest = [c for c in plan.columns if c not in chosen and c.fate in _USED + _DROPPED]
    gone = sum(c.fate in _DROPPED for c in rest)
    left = f"Not shown: {len(rest) - gone} more columns that are used, {gone} that are dropped."
    return sorted(chosen, key=lambda c: c.place), left if rest else ""


def _cell(row: Sequence[str], column: Column) -> str:
    text = row[column.place - 1] if column.place <= len(row) else ""
    clean = " ".join(text.split())
    return clean if len(clean) <= CELL_CHARS else clean[: CELL_CHARS - 3] + "..."


def _preview_in_text(plan: ImportPlan) -> Iterator[str]:
    columns, more = _shown_columns(plan, TEXT_WIDTH)
    marks = {"customer": "(keyed)", "personal": "(dropped)", "blocked": "(dropped)"}
    yield f"The first {len(plan.preview)} rows:"
    rows = [[marks.get(c.fate.value) or _cell(row, c) for c in columns] for row in plan.preview]
    yield from table(rows, [c.header.strip() for c in columns], "")
    if more:
        yield more


def _preview_on_terminal(plan: ImportPlan) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    columns, more = _shown_columns(plan, console.width - 2)
    styles = {"personal": "strike dim", "blocked": "strike red", "customer": "italic"}
    view = Table(title=f"The first {len(plan.preview)} rows; what is struck through is dropped")
    for column in columns:
        style = styles.get(column.fate.value, "")
        view.add_column(Text(shown(column.header.strip()), style=style), no_wrap=True)
    for row in islice(plan.preview, 20):
        view.add_row(
            *(Text(shown(_cell(row, c)), style=styles.get(c.fate.value, "")) for c in columns)
        )
    console.print(view)
    if more:
        say(more)
