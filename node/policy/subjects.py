"""Requests of customers about their own data (clause 12): entered, extended once, closed.

Only that somebody asked is kept, under the same keyed hash as in the consent ledger, and until
when an answer is due. While one is overdue this node takes part in no run.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from node.data.values import customer_key
from node.policy.facts import due
from node.store.database import Database
from node.store.requests import CustomerRequest, CustomerRequests, RequestKind
from protocols.agreement.terms import Rights, Terms
from protocols.errors import Code, InputError

Journal = Callable[[str, Mapping[str, object]], None]
MAX_TEXT = 200
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request with its due date, as of now."""

    request: CustomerRequest
    due: datetime
    late: bool


@dataclass(frozen=True, slots=True)
class SubjectDesk:
    """The ledger's one door.

    Args:
        database: the node's.
        secret: this member's own, for customer keys.
        terms: what this member signed last, for the times of clause 12; None before that.
        journal: appends one entry (kind, facts); never who asked.
        clock: aware UTC now.
        entropy: for ids.
    """

    database: Database
    secret: bytes = field(repr=False)
    terms: Terms | None
    journal: Journal
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes] = field(default=secrets.token_bytes, repr=False)

    def open(
        self, kind: RequestKind, customer: str, received_at: datetime | None = None
    ) -> Waiting:
        """Enter a request.

        Args:
            kind: what is asked for.
            customer: as the till prints it; only its keyed hash is kept.
            received_at: when the customer asked; now if None.

        Raises:
            InputError: no identifier, or the date lies in the future.
        """
        key, now = customer_key(self.secret, customer), self.clock()
        if key is None:
            raise InputError("the customer is empty.", where="--customer", code=Code.USAGE)
        received = now if received_at is None else received_at
        if received > now + _SKEW:
            raise InputError(
                f"{received:%Y-%m-%d} has not come yet.",
                where="--received",
                fix="Give the day on which the customer asked, as YYYY-MM-DD.",
            )
        one = CustomerRequest(self.entropy(4).hex(), kind, key, received, now)
        with self.database.write() as connection:
            CustomerRequests(connection).add(one)
        shown = self._shown(one)
        self._write(one, "opened", due=f"{shown.due:%Y-%m-%d}")
        return shown

    def list(self, *, only_open: bool = False) -> tuple[Waiting, ...]:
        """All requests, or those that wait, oldest first."""
        with self.database.read() as connection:
            found = CustomerRequests(connection).list(only_open=only_open)
        return tuple(self._shown(one) for one in found)

    def extend(self, request: str, reason: str) -> Waiting:
        """Take the longer time of clause 12, once, with the reason that the customer is told.

        Raises:
            InputError: no such open request, extended before or overdue already, no reason, or
                the clause gives no more time.
        """
        text, one = _text(reason, "--extend"), self._find(request)
        block = self.terms.block("c12", Rights) if self.terms is not None else None
        if one.extended_at is not None:
            raise InputError(
                "this request was extended before; once is what the law allows.", where=one.id
            )
        if block is not None and not block.extend_days:
            raise InputError("clause c12 gives no more time.", where=one.id)
        if self._shown(one).late:
            raise InputError(
                "the time to answer is over; it can be extended only before.",
                where=one.id,
                fix="Answer the customer now, then: coop-node requests close ID --how TEXT",
            )
        with self.database.write() as connection:
            CustomerRequests(connection).extend(one.id, text, self.clock())
        shown = self._shown(self._find(one.id))
        self._write(one, "extended", due=f"{shown.due:%Y-%m-%d}")
        return shown

    def close(self, request: str, how: str) -> None:
        """Close a request, with what was done; the text stays on this node.

        Raises:
            InputError: no such open request, or no text.
        """
        text, one = _text(how, "--how"), self._find(request)
        late = self._shown(one).late
        with self.database.write() as connection:
            CustomerRequests(connection).close(one.id, text, self.clock())
        self._write(one, "closed", late=late)

    def _find(self, prefix: str) -> CustomerRequest:
        with self.database.read() as connection:
            waiting = CustomerRequests(connection).list(only_open=True)
        found = [one for one in waiting if prefix and one.id.startswith(prefix)]
        if len(found) != 1:
            raise InputError(
                f"{len(found)} open requests begin so." if found else "there is no such request.",
                code=Code.NOT_FOUND,
                where=prefix[:8],
                fix="`coop-node requests list` shows them.",
            )
        return found[0]

    def _shown(self, one: CustomerRequest) -> Waiting:
        until = due(one, self.terms)
        return Waiting(one, until, one.closed_at is None and until < self.clock())

    def _write(self, one: CustomerRequest, what: str, **facts: object) -> None:
        self.journal("request", {"request": one.id, "what": what, "asks": one.kind.value, **facts})


def _text(text: str, where: str) -> str:
    stripped = text.strip()
    if not 1 <= len(stripped) <= MAX_TEXT:
        raise InputError(f"a text of 1 to {MAX_TEXT} characters is expected.", where=where)
    return stripped
