"""The stages of the data's way inside one member's node.

Each stage is a type that exactly one module makes, so a step that was skipped does not
type-check (a test reads the sources for that):

    export file -> ``RawRows`` (intake) -> vault -> ``ConsentedRows`` (consent)
                -> ``CheckedRows`` (quality) -> ``TrainingTable`` (features)

Customers' lines go the same way beside it, and only of those who stand in the purpose:

    vault + ``Standing`` (the consent ledger at one instant) -> ``ConsentedLines`` (consent)
                -> ``CheckedLines`` (quality) -> the features of customers
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from protocols.audit.consent import RowBook, leaf, tree_hash
from protocols.permit import Permit

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# The only columns that a weekly demand series is made from; no customer column among them.
WEEKLY_COLUMNS: Final[tuple[str, ...]] = ("business_date", "category_code", "qty")

# Columns that speak of a customer; rows under them need a consent ledger.
CUSTOMER_COLUMNS: Final[frozenset[str]] = frozenset({"customer_key"})


# What a run may read of a customer's line: of these the ones that its permit names, and the first
# two always.
CUSTOMER_LINE_COLUMNS: Final[tuple[str, ...]] = (
    "customer_key",
    "business_date",
    "order_ref",
    "net",
    "qty",
    "category_code",
)


class Basis(StrEnum):
    """Why lines may be read for a purpose (GDPR art. 6(1)(a) and (f))."""

    CONSENT = "consent"
    LEGITIMATE_INTEREST = "legitimate-interest"
    NONE = "no-customers"  # nothing about a customer is read; who objected is left out even so


@dataclass(frozen=True, slots=True)
class Standing:
    """Who stands in one scope at one instant, as the shell read it from the consent ledger.

    Made by ``Standing.of``; customers are known by their leaves (``protocols.audit.consent``).

    Args:
        scope: the purpose, for example ``train:churn``.
        basis: with consent nobody stands but ``named``; with any other everybody stands but
            ``named``, who objected, withdrew or restricted.
        assessment: reference of the legitimate-interest assessment; empty with any other basis.
        at: the instant of reading the ledger, UTC.
        position: number of the last event in the ledger then; with it the same standing can be
            found again.
        named: leaves, 32 bytes each.
        root: of the tree over ``named`` in ascending order, 64 hex digits.
        oldest: with consent, the instant before which a yes does not count; None for none.
    """

    scope: str
    basis: Basis
    assessment: str
    at: datetime
    position: int
    named: frozenset[bytes] = field(repr=False)
    root: str
    oldest: datetime | None = None

    @classmethod
    def of(
        cls,
        scope: str,
        basis: Basis,
        assessment: str,
        at: datetime,
        position: int,
        ordered: Sequence[bytes],
        oldest: datetime | None = None,
    ) -> Standing:
        """With the root over ``ordered``: the leaves of ``named``, ascending."""
        root = tree_hash(ordered).hex()
        return cls(scope, basis, assessment, at, position, frozenset(ordered), root, oldest)

    @property
    def count(self) -> int:
        """How many leaves the tree has."""
        return len(self.named)

    def lets_in(self, customer_key: str) -> bool:
        """Whether this customer's lines may be read; key of 64 hex digits."""
        return self.lets_in_leaf(leaf(self.scope, customer_key))

    def lets_in_leaf(self, leaf: bytes) -> bool:
        """The same of a customer known by its leaf."""
        return (leaf in self.named) is (self.basis is Basis.CONSENT)


@dataclass(frozen=True, slots=True)
class RawRows:
    """Typed lines of one stretch of an export file; personal columns are gone.

    ``table`` has the columns of ``node.data.schema.STAGED``: the canonical sales line, the line
    of the file it came from, and the local time of day that its identity is made from. With
    another ``name`` (``customer`` or ``stock``) it has that canonical table's columns and the line.
    """

    table: pa.Table = field(repr=False)
    name: str = "sales_line"


@dataclass(frozen=True, slots=True)
class ConsentedRows:
    """Weekly series that a run may see, with the permit that opened them.

    ``vault_digest`` (64 hex digits) names all rows of the vault at the instant of reading,
    ``snapshot_root`` those without the customers whom ``standing`` leaves out; both go to the
    journal. ``weekly`` has the columns category_code, week_start, units, lines.
    """

    permit: Permit
    standing: Standing
    vault_digest: str
    snapshot_root: str
    weekly: pd.DataFrame = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """Consented weekly series that passed the quality rules, with the health score (0-100)."""

    permit: Permit
    snapshot_root: str
    health: int
    weekly: pd.DataFrame = field(repr=False)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Counts of what a snapshot leaves out; figures about the till, not about a person.

    Args:
        lines: all lines of the days that were asked for.
        without_customer: lines that name no customer.
        not_standing: lines of customers who do not stand in the scope.
        in_future: lines dated later than tomorrow, of anybody.
    """

    lines: int
    without_customer: int
    not_standing: int
    in_future: int


@dataclass(frozen=True, slots=True)
class ConsentedLines:
    """Lines of the customers who stand in the permit's purpose, and what was left out.

    ``lines`` has those of ``CUSTOMER_LINE_COLUMNS`` that the permit names, in that order, sorted by
    customer and day: customer_key (category: the keys that have lines, sorted), business_date
    (datetime64[s]), order_ref (category; null where the till printed no receipt number), net and
    qty (float64), category_code (category; null where there is none). ``snapshot_root`` (64 hex
    digits) is the root of ``book``, which has hashes of who was read and of which lines; it goes
    to the journal.
    """

    permit: Permit
    standing: Standing
    snapshot_root: str
    left_out: LeftOut
    lines: pd.DataFrame = field(repr=False)
    book: RowBook = field(repr=False)

    @property
    def customers(self) -> int:
        """How many customers have a line in the snapshot."""
        return len(self.lines["customer_key"].cat.categories)


@dataclass(frozen=True, slots=True)
class CheckedLines:
    """Consented lines that passed the rules for customers' lines; ``health`` from 0 to 100."""

    permit: Permit
    standing: Standing
    snapshot_root: str
    health: int
    lines: pd.DataFrame = field(repr=False)
