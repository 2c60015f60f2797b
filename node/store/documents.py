"""Documents as received, who signed them, what this member signed, rosters it accepted.

Nothing here is trusted when it is read: the gate verifies every signature again from the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, delete, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from node.store.schema import accepted_rosters, documents, signatures, signed
from protocols.errors import Code, LocalError


@dataclass(frozen=True, slots=True)
class Document:
    """One document by the hash of its content; ``body`` is its canonical form."""

    id: str
    kind: str
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Signed:
    """This member's own signature over an agreement version."""

    agreement: str
    version: int
    jws: bytes
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class AcceptedRoster:
    """An epoch that this member verified and accepted, with all its signatures."""

    epoch: int
    roster: str
    jws: bytes
    accepted_at: datetime


class Documents:
    """Agreements and rosters by id. A document is never changed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, document: Document) -> bool:
        """Insert; False if it was there already. LocalError if another body has the same id."""
        known = self.get(document.id)
        if known is not None:
            if (known.kind, known.body) != (document.kind, document.body):
                raise LocalError(
                    "another document is stored under this id; documents are never changed.",
                    code=Code.TAMPERED,
                    where=document.id[:16],
                )
            return False
        self._connection.execute(
            insert(documents).values(
                id=document.id,
                kind=document.kind,
                body=document.body,
                received_at=document.received_at,
            )
        )
        return True

    def get(self, document: str) -> Document | None:
        """By id, or nothing."""
        query = select(documents).where(documents.c.id == document)
        row = self._connection.execute(query).first()
        return None if row is None else _document(row)

    def list(self, kind: str) -> tuple[Document, ...]:
        """All of one kind, oldest first."""
        query = (
            select(documents)
            .where(documents.c.kind == kind)
            .order_by(documents.c.received_at, documents.c.id)
        )
        return tuple(_document(row) for row in self._connection.execute(query))

    def starting(self, prefix: str) -> tuple[Document, ...]:
        """Documents whose id begins so, for people who type 8 digits."""
        query = select(documents).where(documents.c.id.startswith(prefix, autoescape=True))
        return tuple(_document(row) for row in self._connection.execute(query))


class Signatures:
    """One JWS with one signature per document and party; the last one received stands.

    The last and not the first, so that a bad signature cannot block a good one for ever.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, document: str, party: str, jws: bytes, received_at: datetime) -> None:
        """Insert or replace."""
        values = {"jws": jws, "received_at": received_at}
        self._connection.execute(
            upsert(signatures)
            .values(document=document, party=party, **values)
            .on_conflict_do_update(
                index_elements=[signatures.c.document, signatures.c.party], set_=values
            )
        )

    def of(self, document: str) -> dict[str, bytes]:
        """Party -> JWS, in order of the parties."""
        query = (
            select(signatures).where(signatures.c.document == document).order_by(signatures.c.party)
        )
        return {row.party: row.jws for row in self._connection.execute(query)}


class SignedAgreements:
    """The versions that this member signed: the only ones that it obeys."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, mine: Signed) -> bool:
        """Insert; False if this version was signed before (the first signature is kept)."""
        if self.get(mine.agreement) is not None:
            return False
        self._connection.execute(
            insert(signed).values(
                agreement=mine.agreement,
                version=mine.version,
                jws=mine.jws,
                signed_at=mine.signed_at,
            )
        )
        return True

    def get(self, agreement: str) -> Signed | None:
        """By agreement id, or nothing."""
        query = select(signed).where(signed.c.agreement == agreement)
        row = self._connection.execute(query).first()
        return None if row is None else _signed(row)

    def list(self) -> tuple[Signed, ...]:
        """All, by version."""
        query = select(signed).order_by(signed.c.version, signed.c.signed_at)
        return tuple(_signed(row) for row in self._connection.execute(query))

    def withdraw(self, agreement: str) -> None:
        """Stop obeying a version at once (suspend or leave)."""
        self._connection.execute(delete(signed).where(signed.c.agreement == agreement))


class AcceptedRosters:
    """The chain of epochs, from 1 to the newest accepted."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, roster: AcceptedRoster) -> None:
        """Append the next epoch. LocalError if it does not follow the newest."""
        newest = self.newest()
        expected = 1 if newest is None else newest.epoch + 1
        if roster.epoch != expected:
            raise LocalError(
                f"roster epoch {roster.epoch} cannot be kept, epoch {expected} is next.",
                code=Code.INTERNAL,
            )
        self._connection.execute(
            insert(accepted_rosters).values(
                epoch=roster.epoch,
                roster=roster.roster,
                jws=roster.jws,
                accepted_at=roster.accepted_at,
            )
        )

    def newest(self) -> AcceptedRoster | None:
        """The epoch that counts now, or nothing."""
        chain = self.chain()
        return chain[-1] if chain else None

    def chain(self) -> tuple[AcceptedRoster, ...]:
        """All epochs, oldest first."""
        query = select(accepted_rosters).order_by(accepted_rosters.c.epoch)
        return tuple(
            AcceptedRoster(row.epoch, row.roster, row.jws, row.accepted_at)
            for row in self._connection.execute(query)
        )


def _document(row: Row[tuple[object, ...]]) -> Document:
    return Document(row.id, row.kind, row.body, row.received_at)


def _signed(row: Row[tuple[object, ...]]) -> Signed:
    return Signed(row.agreement, row.version, row.jws, row.signed_at)
