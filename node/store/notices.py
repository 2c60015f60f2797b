"""Texts for customers, by their SHA-256; what was in use when can be told later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from node.store.schema import notices


@dataclass(frozen=True, slots=True)
class Notice:
    """One text that was taken into use, or out of it; ``sha256`` is over its UTF-8 bytes."""

    sha256: str
    locale: str
    text: str
    in_use: bool
    at: datetime


class Notices:
    """Rows in the order in which they were added."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, one: Notice) -> None:
        """Append."""
        self._connection.execute(
            insert(notices).values(
                sha256=one.sha256,
                locale=one.locale,
                text=one.text,
                in_use=int(one.in_use),
                at=one.at,
            )
        )

    def list(self) -> tuple[Notice, ...]:
        """Everything, oldest first."""
        rows = self._connection.execute(select(notices).order_by(notices.c.seq))
        return tuple(
            Notice(row.sha256, row.locale, row.text, bool(row.in_use), row.at) for row in rows
        )

    def in_use(self) -> dict[str, Notice]:
        """SHA-256 -> text, of those whose last row says that they are in use."""
        last = {one.sha256: one for one in self.list()}
        return {name: one for name, one in last.items() if one.in_use}
