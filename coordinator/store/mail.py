"""The durable mailbox: numbered letters per member, kept until the member has them.

A member asks for everything after number n, and by asking acknowledges all up to n. Numbers of one
member start at 1 and have no gaps, so a node can tell that nothing was held back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from coordinator.store.schema import mail, mail_cursors
from protocols.errors import Code, RemoteError
from protocols.ids import MemberId

MAX_SEQ = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter to one member."""

    member: MemberId
    seq: int
    kind: str
    document: str
    body: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Cursor:
    """Numbers of the last letter written and of the last one acknowledged."""

    last: int
    acked: int


class Mail:
    """The mailboxes of all members."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def post(
        self, member: MemberId, *, kind: str, document: str, body: bytes, now: datetime
    ) -> int:
        """Append one letter; its number. Call inside a write transaction."""
        opened = upsert(mail_cursors).values(member=member, last=1, acked=0)
        self._connection.execute(
            opened.on_conflict_do_update(
                index_elements=[mail_cursors.c.member], set_={"last": mail_cursors.c.last + 1}
            )
        )
        seq = self.cursor(member).last
        self._connection.execute(
            insert(mail).values(
                member=member, seq=seq, kind=kind, document=document, body=body, created_at=now
            )
        )
        return seq

    def post_all(
        self, members: Iterable[MemberId], *, kind: str, document: str, body: bytes, now: datetime
    ) -> None:
        """Append the same letter to many mailboxes, in three statements however many they are."""
        names = sorted(set(members))
        if not names:
            return
        opened = upsert(mail_cursors).on_conflict_do_update(
            index_elements=[mail_cursors.c.member], set_={"last": mail_cursors.c.last + 1}
        )
        self._connection.execute(opened, [{"member": one, "last": 1, "acked": 0} for one in names])
        last = select(mail_cursors.c.member, mail_cursors.c.last)
        seqs = {row.member: row.last for row in self._connection.execute(last)}
        letter = {"kind": kind, "document": document, "body": body, "created_at": now}
        self._connection.execute(
            insert(mail), [{"member": one, "seq": seqs[one], **letter} for one in names]
        )

    def had(self, document: str, *kinds: str) -> frozenset[MemberId]:
        """Members with a letter of one of these kinds about a document."""
        query = select(mail.c.member).where(mail.c.document == document, mail.c.kind.in_(kinds))
        return frozenset(MemberId(one) for one in self._connection.execute(query).scalars())

    def documents(self, member: MemberId) -> frozenset[tuple[str, str]]:
        """Kind and document of every letter of a member."""
        query = select(mail.c.kind, mail.c.document).where(mail.c.member == member)
        return frozenset((row.kind, row.document) for row in self._connection.execute(query))

    def cursor(self, member: MemberId) -> Cursor:
        """Where this mailbox stands; (0, 0) before its first letter."""
        query = select(mail_cursors).where(mail_cursors.c.member == member)
        row = self._connection.execute(query).first()
        return Cursor(0, 0) if row is None else Cursor(row.last, row.acked)

    def after(self, member: MemberId, seq: int, limit: int = 100) -> tuple[Letter, ...]:
        """The next letters after number ``seq``, in order."""
        query = (
            select(mail)
            .where(mail.c.member == member, mail.c.seq > seq)
            .order_by(mail.c.seq)
            .limit(limit)
        )
        return tuple(_letter(row) for row in self._connection.execute(query))

    def holders(self, kind: str, document: str) -> frozenset[MemberId]:
        """Members that were sent this document in a letter of this kind."""
        query = select(mail.c.member).where(mail.c.kind == kind, mail.c.document == document)
        return frozenset(MemberId(row.member) for row in self._connection.execute(query))

    def _skip_to(self, member: MemberId, seq: int) -> None:
        """This office was restored from a backup and has forgotten letters that the member has:
        the next one gets a number that the member has not seen."""
        values = {"last": seq, "acked": seq}
        opened = upsert(mail_cursors).values(member=member, **values)
        self._connection.execute(
            opened.on_conflict_do_update(index_elements=[mail_cursors.c.member], set_=values)
        )

    def acknowledge(self, member: MemberId, seq: int) -> None:
        """The member has everything up to ``seq``. Going back is a no-op (a restored node asks
        again from an older number, and gets it: letters are kept).

        A number beyond the last letter means that the office has forgotten letters; it goes on
        behind it.

        Raises:
            RemoteError: not a number of a letter.
        """
        cursor = self.cursor(member)
        if not 0 <= seq <= MAX_SEQ:
            raise RemoteError(f"there is no letter {seq}.", peer=member, code=Code.PROTOCOL)
        if seq > cursor.last:
            self._skip_to(member, seq)
        if seq > cursor.acked:
            self._connection.execute(
                update(mail_cursors).where(mail_cursors.c.member == member).values(acked=seq)
            )


def _letter(row: Row[tuple[object, ...]]) -> Letter:
    return Letter(MemberId(row.member), row.seq, row.kind, row.document, row.body, row.created_at)
