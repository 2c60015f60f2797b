"""Rectification (GDPR art. 16): a wrong value put right, a purchase of somebody else taken off.

The next run reads the new values, and the same export does not bring the old ones back: a line
keeps the identity that the till gave it. What it said before is not kept anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import pyarrow as pa

from node.data.removal import LineCorrection
from node.data.schema import CUSTOMER, SALES_LINE
from node.data.vault import Vault
from node.rights.case import Case, Finished
from node.rights.held import cell
from node.rights.trained import runs_of
from node.store.requests import RequestKind
from protocols.errors import Code, InputError

LEAST_DIGITS: Final = 4
SHOWN_DIGITS: Final = 10
_SHOWN: Final = ("business_date", "order_ref", "product", "category_code", "qty", "net")
_WORDS: Final = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Line:
    """One purchase as the owner names it: ``id`` are the first digits of its hash and, where the
    till printed it twice, its number."""

    id: str
    cells: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be put right, as it was typed in.

    Args:
        lines: id of a line -> column -> text.
        not_mine: ids of lines that are somebody else's.
        record: column of the customer record -> text.
    """

    lines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    not_mine: Sequence[str] = ()
    record: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rectified:
    """Lines and records that were corrected, and how the request ended."""

    lines: int
    records: int
    told: int
    finished: Finished


def headers() -> tuple[str, ...]:
    """Of the cells of ``Line``."""
    return _SHOWN


def lines_of(case: Case, vault: Vault, prefix: str) -> tuple[Line, ...]:
    """The purchases of the person behind an open request, with the ids to name them by."""
    one = case.take(prefix, RequestKind.RECTIFY)
    rows = vault.lines_of(one.customer_key).select([*_SHOWN, "line_hash", "copy"]).to_pylist()
    return tuple(Line(_name(row), tuple(cell(row[name]) for name in _SHOWN)) for row in rows)


def rectify(case: Case, vault: Vault, prefix: str, wanted: Wanted) -> Rectified:
    """Put it right, all of it or nothing.

    Raises:
        InputError: no such open request, line or column, a value that does not fit, or nothing
            to do.
        Refused: nobody wrote down how the person was recognised.
    """
    one = case.take(prefix, RequestKind.RECTIFY)
    known = vault.lines_of(one.customer_key).select(["line_hash", "copy"]).to_pylist()
    corrections = [
        _correction(known, name, {column: _value(SALES_LINE, column, text) for column, text in v})
        for name, v in ((name, values.items()) for name, values in wanted.lines.items())
    ]
    corrections += [_correction(known, name, {"customer_key": None}) for name in wanted.not_mine]
    record = {name: _value(CUSTOMER, name, text) for name, text in wanted.record.items()}
    runs = runs_of(case, one.customer_key)
    done = vault.correct(one.customer_key, corrections, case.home.clock(), record=record)
    told = case.tell_office(one, "rectified", [run.run for run in runs])
    columns = {name for values in wanted.lines.values() for name in values} | set(record)
    facts = {
        "lines": done.lines,
        "records": done.customers,
        "columns": sorted(columns),
        "taken_off": len(wanted.not_mine),
        "runs_told": told,
    }
    how = f"corrected: {done.lines} lines, {done.customers} records"
    finished = case.finish(one, how, facts, subject=case.mark(one.customer_key))
    return Rectified(done.lines, done.customers, told, finished)


def _name(row: Mapping[str, Any]) -> str:
    name: str = row["line_hash"].hex()[:SHOWN_DIGITS]
    return f"{name}.{row['copy']}" if row["copy"] else name


def _correction(
    known: Sequence[Mapping[str, Any]], name: str, values: Mapping[str, object]
) -> LineCorrection:
    """The one line whose id begins so."""
    digits, _, copy = name.partition(".")
    found = [
        row
        for row in known
        if len(digits) >= LEAST_DIGITS
        and row["line_hash"].hex().startswith(digits.lower())
        and str(row["copy"]) == (copy or "0")
    ]
    if len(found) != 1:
        raise InputError(
            f"{len(found)} purchases of this customer begin with {name[:20]!r}.",
            where="--line",
            code=Code.NOT_FOUND,
            fix="coop-node requests rectify REQUEST shows them.",
        )
    return LineCorrection(found[0]["line_hash"], found[0]["copy"], values)


def _value(schema: pa.Schema, column: str, text: str) -> object:
    """Text as the value of a column; empty text means that there is none."""
    if column not in schema.names or column == "customer_key":
        raise InputError(
            f"there is no column {column[:40]!r}.",
            where="--set",
            fix=f"There are: {', '.join(name for name in schema.names if name != 'customer_key')}.",
        )
    kind, text = schema.field(column).type, text.strip()
    if not text:
        return None
    try:
        if pa.types.is_decimal(kind):
            return Decimal(text)
        if pa.types.is_date(kind):
            return date.fromisoformat(text)
        return _WORDS[text.lower()] if pa.types.is_boolean(kind) else text
    except (InvalidOperation, ValueError, KeyError) as error:
        raise InputError(
            f"{text[:40]!r} is no value for {column}.",
            where="--set",
            fix="Numbers as 12.50, days as 2026-01-31, yes or no.",
        ) from error
