"""One table or view of a database, read only."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Database:
    """Where a table is: a SQLAlchemy URL without password, the table, and the password."""

    url: str
    table: str
    password: str = field(default="", repr=False)
