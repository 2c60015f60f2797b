"""Everything that this node holds about one person, as rows of text.

The columns are the canonical ones; what the shop's till knows besides (names, addresses) never
came here. Rows of other people are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from node.data.vault import Vault
from node.policy.subjects import Waiting
from node.rights.case import Case
from node.store.consents import Consents
from protocols.documents.document import Table

SALES: Final = (
    "order_ref",
    "ts_utc",
    "business_date",
    "sku",
    "product",
    "category",
    "category_code",
    "qty",
    "unit_price",
    "discount",
    "net",
    "currency",
    "channel",
    "location",
    "is_return",
)
# the instant as text, in UTC whatever the session's zone is
_READ: Final = tuple(
    f"strftime(make_timestamp(epoch_us({one})), '%Y-%m-%dT%H:%M:%SZ')" if one == "ts_utc" else one
    for one in SALES
)
CUSTOMER: Final = ("first_seen", "country", "region", "source")


@dataclass(frozen=True, slots=True)
class Held:
    """What is here of one person.

    Args:
        key: the keyed hash under which the person stands here.
        sales, customer, quarantine, said, asked: one table each; cells are text.
        sources: files that the rows came from, (name, first day, last day).
    """

    key: str = field(repr=False)
    sales: Table = field(repr=False)
    customer: Table = field(repr=False)
    quarantine: Table = field(repr=False)
    said: Table = field(repr=False)
    asked: Table = field(repr=False)
    sources: tuple[tuple[str, str, str], ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """All of them."""
        return (self.sales, self.customer, self.quarantine, self.said, self.asked)

    def counts(self) -> dict[str, int]:
        """Rows of each."""
        return {one.name: len(one.rows) for one in self.tables}


def held(case: Case, vault: Vault, customer_key: str) -> Held:
    """Read it all.

    Args:
        case: of the node.
        vault: the member's rows.
        customer_key: 64 hex digits.
    """
    mark = case.mark(customer_key)
    asked = [
        one for one in case.subjects.list() if one.request.customer_key in (customer_key, mark)
    ]
    days = f"SELECT {', '.join(_READ)} FROM sales_line WHERE customer_key = ? "  # noqa: S608
    about = f"SELECT {', '.join(CUSTOMER)} FROM customer WHERE customer_key = ?"  # noqa: S608
    return Held(
        customer_key,
        Table(
            "sales_line",
            "Purchases",
            SALES,
            _rows(vault.query(days + "ORDER BY ts_utc, order_ref, sku", [customer_key])),
            ("vault",),
            "No purchase is on record here.",
        ),
        Table(
            "customer",
            "Customer record",
            CUSTOMER,
            _rows(vault.query(about, [customer_key])),
            ("vault",),
            "No customer record is here.",
        ),
        _quarantine(vault, customer_key),
        _said(case, customer_key),
        _asked(asked),
        tuple((one.file_name, cell(one.date_from), cell(one.date_to)) for one in vault.imports()),
    )


def _quarantine(vault: Vault, key: str) -> Table:
    """Rows that could not be used: what is kept of them, from every import."""
    rows = []
    for one in vault.imports():
        if not one.quarantine:
            continue
        headers, bad = vault.quarantined(one.sha256)
        for found in bad:
            if found.customer_key == key:
                kept = zip(headers, found.kept, strict=False)
                cells = "; ".join(f"{name}: {text}" for name, text in kept if text)
                rows.append((one.file_name, str(found.line), found.problem, cells))
    return Table(
        "quarantine",
        "Rows that could not be used",
        ("file", "line", "problem", "cells"),
        tuple(rows),
        ("vault",),
        "No row of yours was set aside.",
    )


def _said(case: Case, key: str) -> Table:
    with case.database.read() as db:
        events = list(Consents(db).events(key))
    return Table(
        "consent",
        "What you said",
        ("purpose", "answer", "when", "where", "text that you saw (SHA-256)", "entered here"),
        tuple(
            (e.scope, e.state.value, cell(e.at), e.source, e.wording, cell(at)) for e, at in events
        ),
        ("ledger: consent",),
        "You have not said anything about any purpose.",
    )


def _asked(found: Sequence[Waiting]) -> Table:
    return Table(
        "requests",
        "What you asked for",
        ("request", "for", "received", "due", "how it stands"),
        tuple(
            (
                one.request.id,
                one.request.kind.value,
                cell(one.request.received_at),
                cell(one.due),
                one.stands,
            )
            for one in found
        ),
        ("ledger: requests",),
        "You have not asked for anything before.",
    )


def _rows(found: Iterable[Sequence[Any]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(cell, row)) for row in found)


def cell(value: Any) -> str:
    """As text that spreadsheets and people read; empty for nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S") + ("Z" if value.tzinfo is not None else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return str(value)
