"""The stages of the data's way inside one member's node.

Each stage is a type that exactly one module makes, so a step that was skipped does not
type-check (a test reads the sources for that):

    export file -> ``RawRows`` (intake) -> vault -> ``ConsentedRows`` (consent)
                -> ``CheckedRows`` (quality) -> ``TrainingTable`` (features)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocols.permit import Permit

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# The only columns that a weekly demand series is made from; no customer column among them.
WEEKLY_COLUMNS: Final[tuple[str, ...]] = ("business_date", "category_code", "qty")

# Columns that speak of a customer; rows under them need a consent ledger.
CUSTOMER_COLUMNS: Final[frozenset[str]] = frozenset({"customer_key"})


@dataclass(frozen=True, slots=True)
class RawRows:
    """Typed lines of one stretch of an export file; personal columns are gone.

    ``table`` has the columns of ``node.data.schema.STAGED``: the canonical sales line, the line
    of the file it came from, and the local time of day that its identity is made from.
    """

    table: pa.Table = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConsentedRows:
    """Weekly series that a run may see, with the permit that opened them.

    ``snapshot_root`` is the vault's digest (64 hex digits) at the instant of reading; it goes to
    the journal. ``weekly`` has the columns category_code, week_start, units, lines.
    """

    permit: Permit
    snapshot_root: str
    weekly: pd.DataFrame = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """Consented weekly series that passed the quality rules, with the health score (0-100)."""

    permit: Permit
    snapshot_root: str
    health: int
    weekly: pd.DataFrame = field(repr=False)
