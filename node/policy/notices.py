"""Texts for customers (clause 11): which ones this member shows, by the SHA-256 of their bytes.

The text is the one of the agreement, to the letter: a text that somebody changed has another
name, and does not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from node.store.database import Database
from node.store.notices import Notice, Notices
from protocols.agreement.terms import Notice as NoticeTerms
from protocols.agreement.terms import Terms
from protocols.errors import Code, InputError

Journal = Callable[[str, Mapping[str, object]], None]


@dataclass(frozen=True, slots=True)
class Shown:
    """One text of clause 11, and since when it is in use here."""

    sha256: str
    locale: str
    text: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class NoticeDesk:
    """What this member shows to its customers.

    Args:
        database: the node's.
        terms: what this member signed last; None before that.
        journal: appends one entry (kind, facts).
        clock: aware UTC now.
    """

    database: Database
    terms: Terms | None
    journal: Journal
    clock: Callable[[], datetime]

    def texts(self) -> tuple[Shown, ...]:
        """The texts of the agreement, and whether each is in use here."""
        with self.database.read() as connection:
            used = Notices(connection).in_use()
        block = self._block()
        return tuple(
            Shown(
                one.digest,
                one.locale,
                one.text,
                used[one.digest].at if one.digest in used else None,
            )
            for one in (block.texts if block is not None else ())
        )

    def purposes(self) -> tuple[str, ...]:
        """Purposes whose runs need a notice in use."""
        block = self._block()
        return block.purposes if block is not None else ()

    def history(self) -> tuple[Notice, ...]:
        """Everything that was ever taken into use or out of it, oldest first."""
        with self.database.read() as connection:
            return Notices(connection).list()

    def adopt(self, prefix: str) -> Shown:
        """Say that a text of the agreement is shown to customers from now on.

        Args:
            prefix: first digits of its SHA-256, or its locale.

        Raises:
            InputError: no text of the agreement is called so.
        """
        one = self._find(prefix)
        if one.since is None:
            self._add(one, in_use=True)
        return self._find(one.sha256)

    def drop(self, prefix: str) -> Shown:
        """Say that a text is not shown any more; errors as ``adopt``."""
        one = self._find(prefix)
        if one.since is not None:
            self._add(one, in_use=False)
        return self._find(one.sha256)

    def _add(self, one: Shown, *, in_use: bool) -> None:
        if hashlib.sha256(one.text.encode()).hexdigest() != one.sha256:
            raise InputError("the text is not the one of this name.", where=one.sha256[:16])
        with self.database.write() as connection:
            Notices(connection).add(Notice(one.sha256, one.locale, one.text, in_use, self.clock()))
        what = "adopted" if in_use else "dropped"
        self.journal("notice", {"text": one.sha256, "locale": one.locale, "what": what})

    def _find(self, prefix: str) -> Shown:
        found = [
            one
            for one in self.texts()
            if prefix and (one.locale == prefix or one.sha256.startswith(prefix))
        ]
        if len(found) != 1:
            raise InputError(
                f"{len(found)} texts of clause c11 are called so."
                if found
                else "no text of clause c11 is called so.",
                code=Code.NOT_FOUND,
                where=prefix[:16],
                fix="`coop-node notice list` names them.",
            )
        return found[0]

    def _block(self) -> NoticeTerms | None:
        return self.terms.block("c11", NoticeTerms) if self.terms is not None else None
