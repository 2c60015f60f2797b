"""The consent ledger: what each customer said about each purpose, in the order it was learned.

The newest event counts, by the instant at which the customer spoke, not by the order in which
files were imported. Of two events of one instant the one that forbids counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.dialects.sqlite import insert as upsert

from node.store.schema import consent_events, consent_imports, legal_bases

_BATCH = 10_000
_LATEST = """
SELECT customer_key, state FROM (
    SELECT customer_key, state, row_number() OVER (
        PARTITION BY customer_key ORDER BY at DESC, state = 'granted', seq DESC
    ) AS place FROM consent_events WHERE scope = :scope AND seq <= :position
) WHERE place = 1
"""


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


class Consents:
    """Events, imports and legal bases; nothing here changes a row."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, events: Sequence[Event], recorded_at: datetime) -> int:
        """Append what is not in the ledger yet; returns how many events that was."""
        before = self._count()
        statement = upsert(consent_events).on_conflict_do_nothing()
        for first in range(0, len(events), _BATCH):
            self._connection.execute(
                statement,
                [
                    {
                        "customer_key": bytes.fromhex(event.customer_key),
                        "scope": event.scope,
                        "state": event.state.value,
                        "at": event.at,
                        "wording": event.wording,
                        "source": event.source,
                        "recorded_at": recorded_at,
                    }
                    for event in events[first : first + _BATCH]
                ],
            )
        return self._count() - before

    def _count(self) -> int:
        return int(
            self._connection.execute(select(func.count()).select_from(consent_events)).scalar_one()
        )

    def position(self) -> int:
        """Number of the last event; numbers rise, with gaps; 0 in an empty ledger."""
        found = self._connection.execute(select(func.max(consent_events.c.seq))).scalar_one()
        return int(found or 0)

    def latest(self, scope: str, position: int | None = None) -> dict[str, State]:
        """The state that counts of every customer who said something about a purpose.

        Args:
            scope: the purpose.
            position: number of the last event to look at; None for all.
        """
        limit = self.position() if position is None else position
        rows = self._connection.execute(text(_LATEST), {"scope": scope, "position": limit})
        states = {state.value: state for state in State}
        return {key.hex(): states[state] for key, state in rows}

    def last_instant(self, customer_key: str, scope: str) -> datetime | None:
        """When a customer spoke last about a purpose."""
        found = self._connection.execute(
            select(func.max(consent_events.c.at)).where(
                consent_events.c.customer_key == bytes.fromhex(customer_key),
                consent_events.c.scope == scope,
            )
        ).scalar_one()
        return found if isinstance(found, datetime) else None

    def scopes(self) -> tuple[str, ...]:
        """Purposes about which anybody said anything, by name."""
        rows = self._connection.execute(
            select(consent_events.c.scope).distinct().order_by(consent_events.c.scope)
        )
        return tuple(str(row[0]) for row in rows)

    def without_wording(self, scope: str) -> int:
        """How many grants do not say which text the customer saw."""
        return int(
            self._connection.execute(
                select(func.count())
                .select_from(consent_events)
                .where(
                    consent_events.c.scope == scope,
                    consent_events.c.state == State.GRANTED.value,
                    consent_events.c.wording == "",
                )
            ).scalar_one()
        )

    def events(self) -> Iterator[tuple[Event, datetime]]:
        """Every event with the instant at which it was recorded, in the order of the ledger."""
        for row in self._connection.execute(select(consent_events).order_by(consent_events.c.seq)):
            event = Event(
                row.customer_key.hex(), row.scope, State(row.state), row.at, row.wording, row.source
            )
            yield event, row.recorded_at

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
