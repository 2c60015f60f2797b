"""Bearer tokens of the local door: made once, shown once, revoked by name.

A token is 32 random bytes, so that its SHA-256 needs no salt and no slow hash: nobody finds it by
trying. Names are for people; the journal has ids.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from node.store.database import Database
from node.store.endpoint_tokens import Token, Tokens
from protocols.errors import Code, InputError, Refused

Journal = Callable[[str, Mapping[str, object]], None]
PREFIX: Final = "coop_"
TOKEN_BYTES: Final = 32
MAX_DAYS: Final = 3650
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True, slots=True)
class TokenDesk:
    """Makes, lists, revokes and checks tokens.

    Args:
        database: the node's.
        journal: appends one entry (kind, facts).
        clock: aware UTC.
        entropy: the operating system's.
    """

    database: Database
    journal: Journal
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes] = field(default=secrets.token_bytes, repr=False)

    def new(self, name: str, days: int | None = None) -> tuple[Token, str]:
        """A token, and the text that is shown this once.

        Args:
            name: of the shop system, 1 to 40 letters, digits, dots and dashes.
            days: for how long it is good; None for ever.

        Raises:
            InputError: the name cannot be used or is in use, or the days are none.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                "a name has 1 to 40 letters, digits, dots and dashes.",
                where="NAME",
                fix="For example: webshop",
            )
        if days is not None and not 1 <= days <= MAX_DAYS:
            raise InputError(f"from 1 to {MAX_DAYS} days are possible.", where="--expires")
        now, code = self.clock(), self.entropy(TOKEN_BYTES)
        text = PREFIX + urlsafe_b64encode(code).rstrip(b"=").decode()
        until = None if days is None else now + timedelta(days=days)
        one = Token(self.entropy(4).hex(), name, _hash(text), now, until)
        with self.database.write() as connection:
            tokens = Tokens(connection)
            if any(other.name == name and other.is_good(now) for other in tokens.list()):
                raise InputError(
                    f"there is a token called {name} already.",
                    where="NAME",
                    fix=f"coop-node endpoint token revoke {name}, or choose another name.",
                )
            tokens.add(one)
        self.journal("endpoint", {"token": one.id, "what": "made"})
        return one, text

    def list(self) -> tuple[Token, ...]:
        """All tokens that there ever were, oldest first."""
        with self.database.read() as connection:
            return Tokens(connection).list()

    def revoke(self, name: str) -> Token:
        """End a token, by its name or id; counts at once.

        Raises:
            InputError: no token that is good is called so.
        """
        now = self.clock()
        with self.database.write() as connection:
            tokens = Tokens(connection)
            found = [one for one in tokens.list() if name in (one.name, one.id)]
            good = [one for one in found if one.is_good(now)]
            if not good:
                raise InputError(
                    "no token that is good is called so.",
                    where="NAME",
                    code=Code.NOT_FOUND,
                    fix="coop-node endpoint token list",
                )
            tokens.revoke(good[-1].id, now)
        self.journal("endpoint", {"token": good[-1].id, "what": "revoked"})
        return good[-1]

    def check(self, presented: str) -> Token:
        """The token that somebody presents.

        Raises:
            Refused: there is none, or it is revoked or has run out; which of these is not said.
        """
        made, now = _hash(presented), self.clock()
        found: Token | None = None
        for one in self.list():
            if hmac.compare_digest(one.token_hash, made) and one.is_good(now):
                found = one
        if found is None:
            raise Refused(
                "this token is not known, or not good any more.",
                code=Code.UNAUTHENTICATED,
                fix="Make one with: coop-node endpoint token new NAME",
            )
        return found


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
