"""Consent records in the shape of ISO/IEC TS 27560, and receipts for one customer.

A record is one customer, one purpose: who the principal is (a keyed hash), which text was shown,
and every event from the first to the last. The field names follow the standard's structure
(header, processing, events); a record is made from the ledger each time and kept nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection

from node.data.stages import Basis
from node.store.consent_sql import stored
from node.store.consents import Consents, Event, Newest, State
from node.store.database import Database
from node.store.notices import Notice, Notices
from protocols.audit.consent import leaf
from protocols.canonical import json_id

SCHEMA: Final = "ISO-27560-2023"
UNKNOWN: Final = "unknown"
_TYPES: Final[Mapping[State, str]] = {
    State.GRANTED: "consent-given",
    State.WITHDRAWN: "consent-withdrawn",
    State.OBJECTED: "objection",
    State.RESTRICTED: "restriction",
}
_STATES: Final[Mapping[State, str]] = {
    State.GRANTED: "active",
    State.WITHDRAWN: "withdrawn",
    State.OBJECTED: "objected",
    State.RESTRICTED: "suspended",
}


@dataclass(frozen=True, slots=True)
class Controller:
    """Who is answerable: this member; and its cooperative, jointly, where it has joined one."""

    name: str
    id: str
    cooperative: str = ""

    def document(self) -> dict[str, Any]:
        """As ``pii_controllers`` of a record."""
        mine = {"party_id": self.id, "party_name": self.name or UNKNOWN, "role": "pii-controller"}
        others = (
            [{"party_name": self.cooperative, "role": "joint-pii-controller"}]
            if self.cooperative
            else []
        )
        return {"pii_controllers": [mine, *others]}


@dataclass(frozen=True, slots=True)
class Records:
    """Makes records and receipts.

    Args:
        database: the node's.
        controller: who is answerable.
        bases: purpose -> the basis that counts now (``ConsentDesk.status``).
        oldest: a yes from before does not count; None for none.
    """

    database: Database
    controller: Controller
    bases: Mapping[str, str]
    oldest: datetime | None = None

    def export(self, now: datetime) -> Iterator[str]:
        """All records as lines of one JSON document, one record a line, without line ends."""
        head = {"schema": SCHEMA, "made_at": stored(now), **self.controller.document()}
        yield json.dumps(head, sort_keys=True)[:-1] + ', "records": ['
        before = ""
        with self.database.read() as connection:
            notices = _notices(connection)
            everything = Consents(connection).by_customer()
            for (key, scope), events in groupby(everything, lambda one: _whose(one[0])):
                record = self._record(key, scope, list(events), notices)
                yield before + json.dumps(record, sort_keys=True)
                before = ","
        yield "]}"

    def receipt(self, customer_key: str, now: datetime) -> dict[str, Any]:
        """What one customer (64 hex digits) has said, for that customer."""
        with self.database.read() as connection:
            notices = _notices(connection)
            said = sorted(Consents(connection).events(customer_key), key=lambda one: one[0].scope)
            records = [
                self._record(customer_key, scope, list(events), notices)
                for scope, events in groupby(said, lambda one: one[0].scope)
            ]
        document = {
            "schema": SCHEMA,
            "receipt": True,
            "made_at": stored(now),
            **self.controller.document(),
            "pii_principal_id": customer_key,
            "records": records,
        }
        return {**document, "receipt_id": json_id(document)}

    def _record(
        self,
        key: str,
        scope: str,
        said: Iterable[tuple[Event, datetime]],
        notices: Mapping[str, Notice],
    ) -> dict[str, Any]:
        events = list(said)
        newest = max(events, key=lambda one: (one[0].at, one[0].state is not State.GRANTED))[0]
        granted = [event for event, _ in events if event.state is State.GRANTED]
        wording = max(granted, key=lambda event: event.at).wording if granted else ""
        shown = notices.get(wording)
        return {
            "record_id": leaf(scope, key).hex(),
            "schema_version": SCHEMA,
            "pii_principal_id": key,
            "privacy_notice": {
                "notice_hash": wording or UNKNOWN,
                "language": shown.locale if shown is not None else UNKNOWN,
                "known_here": shown is not None,
            },
            "purposes": [
                {
                    "purpose": scope,
                    "lawful_basis": self.bases.get(scope, Basis.CONSENT.value),
                    "pii_categories": ["purchase lines under a keyed hash"],
                    "recipients": ["none: no line and no key leaves the controller's machine"],
                }
            ],
            "state": self._state(Newest(newest.state, newest.at)),
            "events": [
                {
                    "event_type": _TYPES[event.state],
                    "event_time": stored(event.at),
                    "recorded_at": stored(recorded),
                    "source": event.source,
                    "notice_hash": event.wording or UNKNOWN,
                }
                for event, recorded in events
            ],
        }

    def _state(self, newest: Newest) -> str:
        granted = newest.state is State.GRANTED
        if granted and self.oldest is not None and newest.at < self.oldest:
            return "expired"
        return _STATES[newest.state]


def _whose(event: Event) -> tuple[str, str]:
    return event.customer_key, event.scope


def _notices(connection: Connection) -> dict[str, Notice]:
    return {one.sha256: one for one in Notices(connection).list()}
