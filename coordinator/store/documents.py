"""Signed documents: agreements, rosters, orders, releases; and who signed them, when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select

from coordinator.store.schema import documents, signatures
from protocols.errors import Code, LocalError


@dataclass(frozen=True, slots=True)
class Document:
    """One document by the hash of its content; ``body`` is as it was first stored."""

    id: str  # 64 hex digits
    kind: str
    body: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Signature:
    """One party's JWS over a document."""

    document: str
    party: str  # member id, "operator" or "coordinator"
    jws: bytes
    at: datetime


class Documents:
    """Everything that has an id and may be signed. Nothing here is ever changed or deleted."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, document: Document) -> bool:
        """Insert; False if it was there already. LocalError if another body has the same id."""
        known = self.get(document.id)
        if known is None:
            self._connection.execute(
                insert(documents).values(
                    id=document.id,
                    kind=document.kind,
                    body=document.body,
                    created_at=document.created_at,
                )
            )
            return True
        if (known.kind, known.body) != (document.kind, document.body):
            raise LocalError(
                "another document is stored under this id; documents are never changed.",
                code=Code.TAMPERED,
                where=document.id[:16],
            )
        return False

    def get(self, document: str) -> Document | None:
        """By id, or None."""
        query = select(documents).where(documents.c.id == document)
        row = self._connection.execute(query).first()
        return None if row is None else _document(row)

    def list(self, kind: str) -> tuple[Document, ...]:
        """All of one kind, oldest first."""
        query = (
            select(documents)
            .where(documents.c.kind == kind)
            .order_by(documents.c.created_at, documents.c.id)
        )
        return tuple(_document(row) for row in self._connection.execute(query))

    def starting(self, prefix: str, kind: str = "") -> tuple[Document, ...]:
        """Documents whose id begins so, for people who type 8 digits."""
        query = select(documents).where(documents.c.id.startswith(prefix, autoescape=True))
        if kind:
            query = query.where(documents.c.kind == kind)
        return tuple(_document(row) for row in self._connection.execute(query))


class Signatures:
    """Who signed what. The first signature of a party stands."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, signature: Signature) -> bool:
        """Insert; False if this party had signed already (its first signature is kept)."""
        key = (signatures.c.document == signature.document) & (
            signatures.c.party == signature.party
        )
        if self._connection.execute(select(signatures.c.at).where(key)).first() is not None:
            return False
        self._connection.execute(
            insert(signatures).values(
                document=signature.document,
                party=signature.party,
                jws=signature.jws,
                at=signature.at,
            )
        )
        return True

    def parties(self, document: str) -> frozenset[str]:
        """Who has signed a document; without the signatures, which carry it whole."""
        query = select(signatures.c.party).where(signatures.c.document == document)
        return frozenset(self._connection.execute(query).scalars())

    def times(self, document: str) -> dict[str, datetime]:
        """Party -> when its signature came."""
        query = select(signatures.c.party, signatures.c.at).where(signatures.c.document == document)
        return {row.party: row.at for row in self._connection.execute(query)}

    def of(self, document: str) -> tuple[Signature, ...]:
        """All over one document, sorted by party."""
        query = (
            select(signatures).where(signatures.c.document == document).order_by(signatures.c.party)
        )
        return tuple(
            Signature(row.document, row.party, row.jws, row.at)
            for row in self._connection.execute(query)
        )


def _document(row: Row[tuple[object, ...]]) -> Document:
    return Document(row.id, row.kind, row.body, row.created_at)
