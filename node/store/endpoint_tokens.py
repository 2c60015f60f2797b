"""Tokens of the local HTTP door: who may speak there. Of a token only its SHA-256 is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from node.store.schema import endpoint_tokens


@dataclass(frozen=True, slots=True)
class Token:
    """One token: 8 hex digits, a name, and until when it is good; None means for ever."""

    id: str
    name: str
    token_hash: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Neither revoked nor run out."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Tokens:
    """Rows by id; a token is never deleted, so that its id in the journal means one for ever."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, one: Token) -> None:
        """Insert."""
        self._connection.execute(
            insert(endpoint_tokens).values(
                id=one.id,
                name=one.name,
                token_hash=one.token_hash,
                created_at=one.created_at,
                expires_at=one.expires_at,
            )
        )

    def revoke(self, token: str, at: datetime) -> None:
        """Note the end."""
        self._connection.execute(
            update(endpoint_tokens).where(endpoint_tokens.c.id == token).values(revoked_at=at)
        )

    def list(self) -> tuple[Token, ...]:
        """All, oldest first."""
        rows = self._connection.execute(
            select(endpoint_tokens).order_by(endpoint_tokens.c.created_at, endpoint_tokens.c.id)
        )
        return tuple(Token(**row._mapping) for row in rows)
