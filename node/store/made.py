"""Documents that were made: which, from what, with which files. Rows are added, never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from node.store.schema import made_documents


@dataclass(frozen=True, slots=True)
class Made:
    """One document as it was made.

    Args:
        name: of its files without the ending, for example ``notice.de``.
        kind, locale: of the document.
        document: id of what it says, 64 hex digits.
        text: SHA-256 of ``body``, the plain text; it names a notice.
        files: file name -> SHA-256.
        made_from: part (agreement, shop, ...) -> digest of it then.
        missing: how many items of the law it lacked.
        at: when.
    """

    name: str
    kind: str
    locale: str
    document: str
    text: str
    body: str = field(repr=False)
    files: Mapping[str, str]
    made_from: Mapping[str, str]
    missing: int
    at: datetime


class MadeDocuments:
    """In the order in which they were made."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, one: Made) -> None:
        """Append."""
        self._connection.execute(
            insert(made_documents).values(
                name=one.name,
                kind=one.kind,
                locale=one.locale,
                document=one.document,
                text=one.text,
                body=one.body,
                files=json.dumps(dict(one.files), sort_keys=True),
                made_from=json.dumps(dict(one.made_from), sort_keys=True),
                missing=one.missing,
                at=one.at,
            )
        )

    def list(self, kind: str = "") -> tuple[Made, ...]:
        """All, or those of a kind; oldest first."""
        query = select(made_documents).order_by(made_documents.c.seq)
        if kind:
            query = query.where(made_documents.c.kind == kind)
        return tuple(map(_made, self._connection.execute(query)))

    def newest(self) -> dict[str, Made]:
        """Name -> the last one that was made under it."""
        return {one.name: one for one in self.list()}


def _made(row: Row[Any]) -> Made:
    return Made(
        row.name,
        row.kind,
        row.locale,
        row.document,
        row.text,
        row.body,
        json.loads(row.files),
        json.loads(row.made_from),
        row.missing,
        row.at,
    )
