"""The canonical tables as facts: what each column means, and which values are possible in it.

One list for three readers: the pandera schemas (``node.data.shapes``), the data contracts
(``node.data.contracts``) and people. The types are those of ``node.data.schema``, which a test
compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from protocols.errors import InputError

EARLIEST: Final = date(1990, 1, 1)  # no till that still exports is older
LATEST: Final = date(2099, 12, 31)
MOST: Final = 100_000_000.0  # of anything on one line
TEXT_CHARS: Final = 500


class Kind(StrEnum):
    """Type of a column."""

    TEXT = "text"
    DAY = "day"
    INSTANT = "instant"
    AMOUNT = "amount"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Field:
    """One column.

    Args:
        name: as in the view of the vault.
        kind: its type.
        words: what it means, for people.
        required: whether a row without it is broken.
        least, most: bounds of an amount, both possible.
        pattern: a regular expression that the whole text fits.
        about_people: whether it tells something about a customer.
    """

    name: str
    kind: Kind
    words: str
    required: bool = False
    least: float = -MOST
    most: float = MOST
    pattern: str = ""
    about_people: bool = False


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table: ``key`` are the columns that name a row (empty: equal rows are possible)."""

    name: str
    title: str
    words: str
    fields: tuple[Field, ...]
    key: tuple[str, ...] = ()
    fresh: str = ""  # the column whose newest value says how recent the table is

    def field(self, name: str) -> Field | None:
        """A column by its name."""
        return next((one for one in self.fields if one.name == name), None)


_CUSTOMER: Final = Field(
    "customer_key",
    Kind.TEXT,
    "The customer as a keyed hash; the secret never leaves the node.",
    pattern="[0-9a-f]{64}",
    about_people=True,
)

SALES_LINE: Final = TableFacts(
    "sales_line",
    "Sales lines",
    "One line of a receipt; a return is a line with a negative quantity.",
    (
        Field("order_ref", Kind.TEXT, "Number of the receipt or order."),
        Field("ts_utc", Kind.INSTANT, "Instant of the sale, UTC.", required=True),
        Field("business_date", Kind.DAY, "Day of the sale, as the shop counts it.", required=True),
        Field("sku", Kind.TEXT, "Number of the article."),
        Field("product", Kind.TEXT, "Name of the article."),
        Field("category", Kind.TEXT, "Category as the till prints it."),
        Field("category_code", Kind.TEXT, "Category in the shared taxonomy."),
        Field("qty", Kind.AMOUNT, "Quantity; negative for a return.", required=True),
        Field("unit_price", Kind.AMOUNT, "Price of one, before discount."),
        Field("discount", Kind.AMOUNT, "Discount on the line.", required=True),
        Field("net", Kind.AMOUNT, "Amount of the line after discount.", required=True),
        Field("currency", Kind.TEXT, "Currency, ISO 4217.", pattern="[A-Z]{3}"),
        Field("channel", Kind.TEXT, "Where it was sold: till, web shop, market."),
        Field("location", Kind.TEXT, "Shop or branch."),
        Field("is_return", Kind.FLAG, "Whether goods came back.", required=True),
        _CUSTOMER,
    ),
    fresh="business_date",
)

CUSTOMER: Final = TableFacts(
    "customer",
    "Customers",
    "One customer, without name or address.",
    (
        Field(
            "customer_key",
            Kind.TEXT,
            _CUSTOMER.words,
            required=True,
            pattern=_CUSTOMER.pattern,
            about_people=True,
        ),
        Field("first_seen", Kind.DAY, "First day as a customer.", about_people=True),
        Field("country", Kind.TEXT, "Country.", about_people=True),
        Field("region", Kind.TEXT, "Region or province.", about_people=True),
        Field("source", Kind.TEXT, "Which system listed the customer.", about_people=True),
    ),
    key=("customer_key",),
)

STOCK: Final = TableFacts(
    "stock",
    "Stock",
    "How much of an article lay where, on a day.",
    (
        Field("sku", Kind.TEXT, "Number of the article.", required=True),
        Field("location", Kind.TEXT, "Shop or store room."),
        Field("on_hand", Kind.AMOUNT, "Pieces that are there."),
        Field("incoming", Kind.AMOUNT, "Pieces that are on their way."),
        Field("as_of", Kind.DAY, "Day of the count.", required=True),
    ),
    key=("sku", "location", "as_of"),
    fresh="as_of",
)

TABLES: Final[Mapping[str, TableFacts]] = {one.name: one for one in (SALES_LINE, CUSTOMER, STOCK)}


def find(name: str) -> TableFacts:
    """A table by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in TABLES:
        raise InputError(
            f"there is no table {name!r}; expected one of {', '.join(TABLES)}.", where="TABLE"
        )
    return TABLES[name]
