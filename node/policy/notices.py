"""Texts for customers (clause 11): which ones this member shows, by the SHA-256 of their bytes.

The text is the one of the agreement, to the letter: a text that somebody changed has another
name, and does not count. A notice that this node made (``node.documents``) has the agreement's
text in it to the letter; who shows that notice shows both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from node.store.database import Database
from node.store.made import MadeDocuments
from node.store.notices import Notice, Notices
from protocols.agreement.terms import Notice as NoticeTerms
from protocols.agreement.terms import Terms
from protocols.errors import Code, InputError, Refused

Journal = Callable[[str, Mapping[str, object]], None]


MADE = "notice"  # the kind of document


@dataclass(frozen=True, slots=True)
class Shown:
    """One text for customers, and since when it is in use here.

    ``made`` is the name of the notice that this node made of it, empty for a text of clause 11.
    """

    sha256: str
    locale: str
    text: str
    since: datetime | None
    made: str = ""


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

    def made(self) -> tuple[Shown, ...]:
        """Notices that this node made: the newest of each language, and those in use."""
        with self.database.read() as connection:
            found = MadeDocuments(connection).list(MADE)
            used = Notices(connection).in_use()
        newest = {one.name: one.text for one in found}
        kept = {one.text: one for one in found if one.text in {*newest.values(), *used}}
        return tuple(
            Shown(
                one.text,
                one.locale,
                one.body,
                used[one.text].at if one.text in used else None,
                one.name,
            )
            for one in kept.values()
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
        """Say that a text is shown to customers from now on.

        A notice that this node made takes the agreement's text that stands in it along.

        Args:
            prefix: first digits of its SHA-256, the locale of a text of the agreement, or the
                name of a notice that was made (``notice.de``).

        Raises:
            InputError: no text is called so.
            Refused: the notice does not have a text of the present agreement in it.
        """
        one = self.find(prefix)
        if one.made:
            agreed = [text for text in self.texts() if text.text in one.text]
            if not agreed:
                raise Refused(
                    "this notice was made before the agreement had its present text.",
                    clauses=("c11",),
                    fix="Make it anew: coop-node documents make notice",
                )
            for text in agreed:
                if text.since is None:
                    self._add(text, in_use=True)
        if one.since is None:
            self._add(one, in_use=True)
        return self.find(one.sha256)

    def drop(self, prefix: str) -> Shown:
        """Say that a text is not shown any more; errors as ``adopt``.

        With a notice that was made goes the agreement's text that stands in it, unless another
        notice in use has it too: what is not shown is not in use.
        """
        one = self.find(prefix)
        if one.since is not None:
            self._add(one, in_use=False)
        if one.made:
            others = [other.text for other in self.made() if other.since is not None]
            for text in self.texts():
                inside = text.text in one.text
                if text.since and inside and not any(text.text in other for other in others):
                    self._add(text, in_use=False)
        return replace(one, since=None)

    def _add(self, one: Shown, *, in_use: bool) -> None:
        if hashlib.sha256(one.text.encode()).hexdigest() != one.sha256:
            raise InputError("the text is not the one of this name.", where=one.sha256[:16])
        with self.database.write() as connection:
            Notices(connection).add(Notice(one.sha256, one.locale, one.text, in_use, self.clock()))
        what = "adopted" if in_use else "dropped"
        self.journal("notice", {"text": one.sha256, "locale": one.locale, "what": what})

    def find(self, prefix: str) -> Shown:
        """A text by its name, as ``adopt`` takes it; InputError if there is not exactly one."""
        texts = self.texts()
        found = [one for one in texts if prefix and prefix == one.locale]
        found = found or [
            one
            for one in (*texts, *self.made())
            if prefix and (one.made == prefix or one.sha256.startswith(prefix))
        ]
        if len({one.sha256 for one in found}) > 1:  # of one name: the newest that was made
            named = [one for one in found if one.made == prefix]
            found = named[-1:] or found
        if len(found) != 1:
            raise InputError(
                f"{len(found)} texts for customers are called so."
                if found
                else "no text for customers is called so.",
                code=Code.NOT_FOUND,
                where=prefix[:16],
                fix="`coop-node notice list` names them.",
            )
        return found[0]

    def _block(self) -> NoticeTerms | None:
        return self.terms.block("c11", NoticeTerms) if self.terms is not None else None
