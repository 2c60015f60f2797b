"""The consent ledger: what each customer said about each purpose, in the order it was learned.

The newest event counts, by the instant at which the customer spoke, not by the order in which
files were imported. Of two events of one instant the one that forbids counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select

from node.store.consent_sql import (
    ADD,
    BATCH,
    KEEP_NEWEST,
    LATEST,
    NEWEST,
    NOW,
    ONE,
    Row,
    instant,
    leaves_of,
    stored,
)
from node.store.schema import consent_events, consent_imports, legal_bases
from protocols.audit.consent import leaf as leaf_of
from protocols.errors import Code, InputError, LocalError


class State(StrEnum):
    """What a customer said, or had written down, about one purpose."""

    GRANTED = "granted"
    WITHDRAWN = "withdrawn"
    OBJECTED = "objected"  # GDPR art. 21
    RESTRICTED = "restricted"  # GDPR art. 18


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the ledger.

    Args:
        customer_key: keyed hash, 64 hex digits.
        scope: the purpose.
        state: what was said.
        at: when, UTC.
        wording: SHA-256 of the text that the customer saw (64 hex digits), or empty if unknown.
        source: where it was said, a short name such as ``till``.
    """

    customer_key: str = field(repr=False)
    scope: str
    state: State
    at: datetime
    wording: str
    source: str


@dataclass(frozen=True, slots=True)
class LegalBasis:
    """Why lines may be read for a purpose; ``at`` is None where nothing was decided."""

    basis: str
    assessment: str
    at: datetime | None


NOTHING_DECIDED = LegalBasis("consent", "", None)


@dataclass(frozen=True, slots=True)
class Newest:
    """The answer of one customer about one scope that counts."""

    state: State
    at: datetime


class Consents:
    """Events, imports and legal bases; nothing here changes a row, but ``forget``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # --- adding -----------------------------------------------------------------------------

    def add(self, events: Iterable[Event], recorded_at: datetime) -> int:
        """Append what is not in the ledger yet; returns how many events that was."""
        rows = [
            (
                bytes.fromhex(event.customer_key),
                event.scope,
                event.state.value,
                stored(event.at),
                event.wording,
                event.source,
            )
            for event in events
        ]
        return self.add_rows(rows, recorded_at)

    def add_rows(self, rows: Sequence[Row], recorded_at: datetime) -> int:
        """``add`` for many: the events as they are stored, without an object for each.

        What is said of an erased person from before the erasure stays out, and so does a later
        no, unless the person said yes anew: it changes nothing, and would name the person again.
        """
        raw, before, at = self._raw(), self.position(), stored(recorded_at)
        gone = self._forgotten()
        if gone:
            self._hold_back(rows, gone)
        added = 0
        if len(rows) > BATCH:  # the index over keys in no order wants to be in memory
            raw.execute("PRAGMA cache_size = -131072")
        for first in range(0, len(rows), BATCH):
            batch = rows[first : first + BATCH]
            full = [
                (*row, at, leaf)
                for row, leaf in zip(batch, leaves_of(batch), strict=True)
                if not gone or row[3] > gone.get((row[1], leaf), "")
            ]
            added += raw.executemany(ADD, full).rowcount if full else 0
        raw.execute(KEEP_NEWEST, (before,))
        raw.execute("UPDATE consent_head SET position = ?", (self.position(),))
        if len(rows) > BATCH:
            raw.execute("PRAGMA cache_size = -2000")
        return added

    def _hold_back(self, rows: Sequence[Row], gone: dict[tuple[str, bytes], str]) -> None:
        """Move the end of what stays out to the last no of each erased person; in ``gone`` too.

        Not of those who have said yes since, or do so in ``rows``: their no is an answer.
        """
        known = zip(rows, leaves_of(rows), strict=True)
        mine = [((row[1], leaf), row) for row, leaf in known if (row[1], leaf) in gone]
        anew = {
            one
            for one, row in mine
            if (row[2] == State.GRANTED and row[3] > gone[one])
            or ((newest := self.newest(*one)) is not None and newest.state is State.GRANTED)
        }
        for one, row in mine:
            if one not in anew and row[3] > gone[one]:
                self._raw().execute(
                    "INSERT INTO consent_forgotten (scope, leaf, at, tombstone) "
                    "SELECT scope, leaf, ?, tombstone FROM consent_forgotten "
                    "WHERE scope = ? AND leaf = ? LIMIT 1 ON CONFLICT DO NOTHING",
                    (row[3], *one),
                )
                gone[one] = row[3]

    def forget(
        self, customer_key: str, tombstone: bytes, scopes: Iterable[str], at: datetime
    ) -> int:
        """Put a tombstone where a person's key stood; the only change that the ledger allows.

        In every scope in which no "no" stands a withdrawal is added: it reaches a run that goes
        on, also one that asks for no yes. What is said of the person in older files stays out
        from now on. The leaves stay, so that what runs have read can still be verified.

        Args:
            customer_key: 64 hex digits.
            tombstone: 32 bytes, random, never used before.
            scopes: purposes of this node; those that the person spoke about count in any case.
            at: the instant of the erasure.

        Returns:
            How many events there were.
        """
        raw, key = self._raw(), bytes.fromhex(customer_key)
        if len(tombstone) != 32 or tombstone == key:
            raise InputError("a tombstone is 32 bytes of its own.")
        spoken = raw.execute(
            "SELECT DISTINCT scope FROM consent_events WHERE customer_key = ?", (key,)
        ).fetchall()
        wanted = sorted({*scopes, *(scope for (scope,) in spoken)})
        ended = []
        for scope in wanted:
            newest = self.newest(scope, leaf_of(scope, customer_key))
            if newest is None or newest.state is State.GRANTED:
                moment = at if newest is None else max(at, newest.at)
                ended.append(Event(customer_key, scope, State.WITHDRAWN, moment, "", "erasure"))
        self.add(ended, at)
        raw.executemany(
            "INSERT INTO consent_forgotten (scope, leaf, at, tombstone) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            [(one, leaf_of(one, customer_key), stored(at), tombstone) for one in wanted],
        )
        raw.execute("INSERT INTO consent_forgetting VALUES (?, ?)", (key, tombstone))
        changed = raw.execute(
            "UPDATE consent_events SET customer_key = ? WHERE customer_key = ?", (tombstone, key)
        ).rowcount
        raw.execute("DELETE FROM consent_forgetting")
        return changed

    # --- reading ----------------------------------------------------------------------------

    def position(self) -> int:
        """Number of the last event; numbers rise, with gaps; 0 in an empty ledger."""
        (found,) = self._raw().execute("SELECT max(seq) FROM consent_events").fetchone()
        return int(found or 0)

    def standing(self, scope: str, *, granted: bool, oldest: str = "") -> list[bytes]:
        """Leaves of those who stand, or of those who do not, ascending; from the newest answers.

        Args:
            scope: the purpose.
            granted: those who said yes, or those who said no.
            oldest: stored instant; a yes from before does not count.

        Raises:
            LocalError: the newest answers are not those of the ledger.
        """
        self.require_current()
        sign = "=" if granted else "!="
        rows = self._raw().execute(
            f"SELECT leaf FROM consent_now WHERE scope = ? AND state {sign} 'granted' "  # noqa: S608
            "AND at >= ? ORDER BY leaf",
            (scope, oldest if granted else ""),
        )
        return [leaf for (leaf,) in rows.fetchall()]

    def standing_at(
        self, scope: str, position: int, *, granted: bool, oldest: str = ""
    ) -> list[bytes]:
        """``standing`` as it was at a position of the ledger, from the events themselves."""
        rows = self._raw().execute(LATEST, (scope, position))
        yes, limit = State.GRANTED.value, oldest if granted else ""
        found = [leaf for leaf, state, at in rows if (state == yes) is granted and at >= limit]
        return sorted(found)

    def require_current(self) -> None:
        """LocalError unless the newest answers were made up to the last event."""
        made = self._raw().execute("SELECT position FROM consent_head").fetchall()
        if made != [(self.position(),)]:
            raise LocalError(
                "what customers said last does not agree with the ledger.",
                code=Code.TAMPERED,
                fix="coop-node consent verify says what differs; restore a backup.",
            )

    def verify(self) -> int:
        """Hold every leaf and every newest answer against the events; how many events there are.

        Raises:
            LocalError: something differs; says how much.
        """
        self.require_current()
        raw = self._raw()
        gone = {bytes(row[0]) for row in raw.execute("SELECT tombstone FROM consent_forgotten")}
        events = wrong = 0
        rows = raw.execute("SELECT customer_key, scope, leaf FROM consent_events")
        while batch := rows.fetchmany(BATCH):
            events += len(batch)
            made = leaves_of(batch)
            wrong += sum(
                leaf != row[2] and row[0] not in gone for leaf, row in zip(made, batch, strict=True)
            )
        differ = sum(
            raw.execute(f"SELECT count(*) FROM ({one} EXCEPT {two})").fetchone()[0]  # noqa: S608
            for one, two in ((NEWEST, NOW), (NOW, NEWEST))
        )
        if wrong or differ:
            raise LocalError(
                f"{wrong} of {events} events have another leaf than their customer, and {differ} "
                "newest answers are not those of the events.",
                code=Code.TAMPERED,
                fix="Restore your newest backup: coop-node --home NEW restore FILE",
            )
        return events

    def counts(self, scope: str) -> dict[State, int]:
        """Customers by the answer that counts."""
        self.require_current()
        rows = self._raw().execute(
            "SELECT state, count(*) FROM consent_now WHERE scope = ? GROUP BY state", (scope,)
        )
        return {State(state): count for state, count in rows}

    def newest(self, scope: str, leaf: bytes) -> Newest | None:
        """The answer of one customer (by leaf) that counts."""
        row = (
            self._raw()
            .execute(
                "SELECT state, at FROM consent_now WHERE scope = ? AND leaf = ?", (scope, leaf)
            )
            .fetchone()
        )
        return None if row is None else Newest(State(row[0]), instant(row[1]))

    def newest_at(self, scope: str, customer_key: str, position: int) -> Newest | None:
        """The answer of one customer that counted at a position of the ledger."""
        values = (scope, bytes.fromhex(customer_key), position)
        row = self._raw().execute(ONE, values).fetchone()
        return None if row is None else Newest(State(row[0]), instant(row[1]))

    def scopes(self) -> tuple[str, ...]:
        """Purposes about which anybody said anything, by name."""
        rows = self._raw().execute("SELECT DISTINCT scope FROM consent_now ORDER BY scope")
        return tuple(str(row[0]) for row in rows)

    def wordings(self, scope: str) -> dict[str, int]:
        """Grants by the text that the customer saw (SHA-256, 64 hex digits; empty if unknown)."""
        rows = self._raw().execute(
            "SELECT wording, count(*) FROM consent_events WHERE scope = ? AND state = 'granted' "
            "GROUP BY wording ORDER BY wording",
            (scope,),
        )
        return dict(rows.fetchall())

    def events(self, customer_key: str | None = None) -> Iterator[tuple[Event, datetime]]:
        """Every event, or those of one customer, with the instant at which it was recorded.

        In the order of the ledger. An erased person stands under a tombstone.
        """
        query = select(consent_events).order_by(consent_events.c.seq)
        if customer_key is not None:
            query = query.where(consent_events.c.customer_key == bytes.fromhex(customer_key))
        return self._events(query)

    def by_customer(self) -> Iterator[tuple[Event, datetime]]:
        """The same, in the order of customers and scopes."""
        order = (consent_events.c.customer_key, consent_events.c.scope, consent_events.c.seq)
        return self._events(select(consent_events).order_by(*order))

    def _events(self, query: Select[Any]) -> Iterator[tuple[Event, datetime]]:
        for row in self._connection.execute(query):
            event = Event(
                row.customer_key.hex(), row.scope, State(row.state), row.at, row.wording, row.source
            )
            yield event, row.recorded_at

    def rows(self) -> Iterator[tuple[bytes, str, str, str, str, str, str]]:
        """Every event as it is stored, with the instant of recording; quick."""
        found = self._raw().execute(
            "SELECT customer_key, scope, state, at, source, wording, recorded_at "
            "FROM consent_events ORDER BY seq"
        )
        while batch := found.fetchmany(BATCH):
            yield from batch

    def _forgotten(self) -> dict[tuple[str, bytes], str]:
        rows = self._raw().execute(
            "SELECT scope, leaf, max(at) FROM consent_forgotten GROUP BY 1, 2"
        )
        return {(scope, leaf): at for scope, leaf, at in rows}

    def _raw(self) -> sqlite3.Connection:
        """SQLite's own connection, inside the transaction: rows without an object for each."""
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        return driver

    def note_import(self, file: str, lines: int, added: int, at: datetime) -> None:
        """Remember that a file (SHA-256, 64 hex digits) was taken in."""
        self._connection.execute(
            insert(consent_imports).values(file=file, lines=lines, added=added, at=at)
        )

    def last_import(self) -> datetime | None:
        """When a file was taken in last."""
        found = self._connection.execute(select(func.max(consent_imports.c.at))).scalar_one()
        return found if isinstance(found, datetime) else None

    def set_basis(self, scope: str, basis: str, assessment: str, at: datetime) -> None:
        """Append the legal basis of a purpose; it counts from now on."""
        self._connection.execute(
            insert(legal_bases).values(scope=scope, basis=basis, assessment=assessment, at=at)
        )

    def basis(self, scope: str) -> LegalBasis:
        """The legal basis that counts: the last one written, by default consent."""
        row = self._connection.execute(
            select(legal_bases)
            .where(legal_bases.c.scope == scope)
            .order_by(legal_bases.c.seq.desc())
            .limit(1)
        ).first()
        return NOTHING_DECIDED if row is None else LegalBasis(row.basis, row.assessment, row.at)

    def bases(self, scope: str) -> tuple[LegalBasis, ...]:
        """Every legal basis that a purpose ever had, oldest first."""
        rows = self._connection.execute(
            select(legal_bases).where(legal_bases.c.scope == scope).order_by(legal_bases.c.seq)
        )
        return tuple(LegalBasis(row.basis, row.assessment, row.at) for row in rows)
