"""Requests of customers about their own data (clause 12): entered, extended once, closed.

Only that somebody asked is kept, under the same keyed hash as in the consent ledger, how they
were recognised, and until when an answer is due. While one is overdue this node takes part in no
run. What is asked for is carried out by ``node.rights``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from node.data.values import customer_key
from node.policy.facts import due
from node.store.database import Database
from node.store.requests import (
    CustomerRequest,
    CustomerRequests,
    Outcome,
    RequestKind,
)
from protocols.agreement.terms import Rights, Terms
from protocols.errors import Code, InputError

Journal = Callable[[str, Mapping[str, object]], None]
MAX_TEXT = 200
LEAST_DIGITS = 4
_UNSEEN = frozenset("\u115f\u1160\u3164\uffa0")  # letters that look like a blank
SOON_DAYS = 7
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request with its due date, as of now."""

    request: CustomerRequest
    due: datetime
    late: bool
    days: int = 0  # until it is due, rounded down; since then, if it is late

    @property
    def stands(self) -> str:
        """For people."""
        one = self.request
        if one.closed_at is not None:
            end = "refused" if one.outcome is Outcome.REFUSED else "closed"
            return f"{end} on {one.closed_at:%Y-%m-%d}"
        if self.late:
            by = f"{_days(self.days)} late" if self.days else "late since today"
            return f"OVERDUE, {by}: no run until it is answered"
        left = f"{_days(self.days)} left" if self.days else "due today"
        return f"open, {left}" + (", extended" if one.extended_at is not None else "")

    @property
    def pressing(self) -> bool:
        """Whether it waits and is late, or due within a week."""
        return self.request.closed_at is None and (self.late or self.days < SOON_DAYS)


def reminders(found: Iterable[Waiting]) -> tuple[str, ...]:
    """A sentence for each request that is late or due within a week, the most urgent first."""
    urgent = sorted((one for one in found if one.pressing), key=lambda one: one.due)
    return tuple(
        f"Request {one.request.id} ({one.request.kind.value}) of a customer: {one.stands}."
        for one in urgent
    )


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
        """Enter a request; the times of clause 12 count from the day on which it was made.

        Args:
            kind: what is asked for.
            customer: as the till prints it; only its keyed hash is kept.
            received_at: when the customer asked; now if None.

        Raises:
            InputError: no identifier, or the date lies in the future.
        """
        key, now = self.key(customer), self.clock()
        received = now if received_at is None else received_at
        if received > now + _SKEW:
            raise InputError(
                f"{received:%Y-%m-%d} has not come yet.",
                where="--received",
                fix="Give the day on which the customer asked, as YYYY-MM-DD.",
            )
        with self.database.write() as connection:
            one = CustomerRequest(self.entropy(4).hex(), kind, key, received, now)
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
        text, one = said(reason, "--reason"), self.find(request)
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
        shown = self._shown(self.find(one.id))
        self._write(one, "extended", due=f"{shown.due:%Y-%m-%d}")
        return shown

    def identify(self, request: str, note: str) -> Waiting:
        """Write down how the person was recognised; the text stays on this node.

        Raises:
            InputError: no such open request, or no text.
        """
        text, one = said(note, "--identified"), self.find(request)
        with self.database.write() as connection:
            CustomerRequests(connection).identify(one.id, text, self.clock())
        self._write(one, "identified")
        return self._shown(self.find(one.id))

    def close(
        self,
        request: str,
        how: str,
        *,
        outcome: Outcome = Outcome.DONE,
        evidence: str = "",
    ) -> None:
        """Close a request, with what was done; the text stays on this node.

        Args:
            request: first digits of its id.
            how: what was done, or why it was refused.
            outcome: done or refused.
            evidence: SHA-256 of the signed statement about it, or empty if there is none.

        Raises:
            InputError: no such open request, or no text.
        """
        text, one = said(how, "--how"), self.find(request)
        late = self._shown(one).late
        with self.database.write() as connection:
            CustomerRequests(connection).close(one.id, text, self.clock(), outcome, evidence)
        facts = {"evidence": evidence} if evidence else {}
        what = "refused" if outcome is Outcome.REFUSED else "closed"
        self._write(one, what, late=late, **facts)

    def key(self, customer: str) -> str:
        """The keyed hash of a customer's number; InputError if there is none."""
        found = customer_key(self.secret, customer)
        if found is None:
            raise InputError("the customer is empty.", where="--customer", code=Code.USAGE)
        return found

    def find(self, prefix: str) -> CustomerRequest:
        """The open request whose id begins so; InputError if there is none, or several."""
        with self.database.read() as connection:
            waiting = CustomerRequests(connection).list(only_open=True)
        long = len(prefix) >= LEAST_DIGITS  # one digit too few may be somebody else's request
        found = [one for one in waiting if long and one.id.startswith(prefix)]
        if not long:
            raise InputError(
                f"at least {LEAST_DIGITS} digits of a request are needed.",
                code=Code.USAGE,
                where=prefix,
                fix="`coop-node requests list` shows them.",
            )
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
        now = self.clock()
        late = one.closed_at is None and until < now
        return Waiting(one, until, late, abs(until - now).days)

    def _write(self, one: CustomerRequest, what: str, **facts: object) -> None:
        self.journal("request", {"request": one.id, "what": what, "asks": one.kind.value, **facts})


def _days(count: int) -> str:
    return f"{count} days" if count != 1 else "1 day"


def said(text: str, where: str) -> str:
    """A text that says something, without blanks around it; InputError for any other."""
    stripped = text.strip()
    if len(stripped) > MAX_TEXT or not any(
        sign.isalnum() and sign not in _UNSEEN for sign in stripped
    ):
        raise InputError(
            f"a text of 1 to {MAX_TEXT} characters is expected, with letters or digits.",
            where=where,
        )
    return stripped
