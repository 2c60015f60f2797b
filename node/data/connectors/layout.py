"""What a till's export looks like, as values: which column is what, and its habits.

A layout comes from a TOML table (``layout_file``): one of the built-in dialects, or a mapping file
that a member made. It knows names and rules only; ``reading`` lays it over one header, and
``passes`` reads rows with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.data.columns import Role


def key(header: str) -> str:
    """A header for comparison: no byte order mark, no case, single blanks."""
    return " ".join(header.lstrip("\ufeff").casefold().split())


@dataclass(frozen=True, slots=True)
class Version:
    """One header that the till is known to export; names as the vendor writes them."""

    name: str
    header: tuple[str, ...]
    shapes: Mapping[str, str] = field(default_factory=dict)  # column -> regular expression


@dataclass(frozen=True, slots=True)
class Signature:
    """How to know the format: by names, never by place.

    Args:
        required: columns that must be there; ``A|B`` means one of the two.
        absent: columns that a rival has and this one never.
        versions: the known headers, newest first.
        personal: columns that speak of a person although their names alone may not say so.
    """

    required: tuple[str, ...]
    absent: tuple[str, ...] = ()
    versions: tuple[Version, ...] = ()
    personal: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Formats:
    """What the format says about its own cells; "" means: not said, find out or ask.

    ``unit`` is ``major`` (12.50) or ``minor`` (1250, by the currency's own number of decimals).
    """

    date_order: str = ""
    decimal: str = ""
    timezone: str = ""
    currency: str = ""
    unit: str = "major"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which rows count, by the value of one column (compared without case).

    Args:
        column: whose value decides.
        keep: values of rows that count.
        leave_out: value -> why such a row does not count.
        filled: if not "", any value that is not blank leaves the row out, for this reason.
        zero: if not "", a cell without any amount but zero leaves the row out, for this reason.
        other: what happens with other values: ``keep``, ``bad`` (set aside), or else the reason
            for leaving them out.
    """

    column: str
    keep: frozenset[str] = frozenset()
    leave_out: Mapping[str, str] = field(default_factory=dict)
    filled: str = ""
    zero: str = ""
    other: str = "keep"


@dataclass(frozen=True, slots=True)
class Returns:
    """Rows that take a sale back: one of ``values`` in ``column``."""

    column: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Orders:
    """How rows of one order hang together; the rows of an order stand one after another.

    Args:
        by: the column that names the order.
        fill: columns whose cell stands on the first row only and holds for the others.
        discount: an amount off the whole order, spread over its lines; "" if there is none.
        subtotal: what the goods came to after discounts; settles what the discount was for.
        total: what was paid in all, shipping and taxes included.
        refund: an amount given back for the whole order.
    """

    by: str
    fill: tuple[str, ...] = ()
    discount: str = ""
    subtotal: str = ""
    total: str = ""
    refund: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """What people are told: a title, what the member needs, what is derived, what to know."""

    title: str
    needs: str = ""
    derived: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """One format of one kind of file.

    Args:
        name: for ``--as``; lower case and hyphens.
        table: ``sales_line``, ``customer`` or ``stock``.
        columns: role -> the names it may have, the first one filled counts.
        constants: role -> the text that holds for every row.
        by_product: no column is the category, so the product without its variant stands for it.
        quirk: a function of ``quirks`` for what a table cannot say; "" for none.
        digest: SHA-256 (hex) of the text that it was read from.
        replaces: an export has each of its orders whole, so that the newest one is the truth
            about them; else lines are only ever added.
    """

    name: str
    table: str
    words: Words
    signature: Signature
    columns: Mapping[Role, tuple[str, ...]]
    constants: Mapping[Role, str]
    formats: Formats
    rules: tuple[Rule, ...]
    returns: Returns | None
    orders: Orders | None
    quirk: str
    also: tuple[str, ...]
    by_product: bool
    digest: str
    replaces: bool = False

    def used(self) -> frozenset[str]:
        """Keys of every column that a pass may look at."""
        names = [name for several in self.columns.values() for name in several]
        names += [rule.column for rule in self.rules] + list(self.also)
        if self.returns is not None:
            names.append(self.returns.column)
        if self.orders is not None:
            held = self.orders
            names += [held.by, *held.fill, held.discount, held.subtotal, held.total, held.refund]
        return frozenset(key(name) for name in names if name)
