"""What the newer clauses ask of this node, gathered from its ledgers, its keys and its clock.

Whatever nobody could find out stays unknown, and unknown denies (``protocols.agreement.facts``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from node.data.stages import CUSTOMER_COLUMNS
from node.policy import clock
from node.store import schema
from node.store.consents import Consents
from node.store.notices import Notices
from node.store.releases import Releases, ReleaseState
from node.store.requests import CustomerRequest, CustomerRequests
from protocols.agreement.facts import AuditFacts
from protocols.agreement.order import Order
from protocols.agreement.terms import LegalBasis, Rights, Terms

USUAL_ANSWER_DAYS, USUAL_EXTENSION_DAYS = 30, 60  # where no agreement says how long


def _unknown() -> int | None:
    return None


def _never() -> datetime | None:
    return None


def _not_looked() -> AuditFacts | None:
    return None


def _unknown_age(connection: Connection, now: datetime) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a gate asks besides its database; each answer may be that nobody knows.

    Args:
        software: version of datacoop that runs here.
        certificate_days: lifetime of this node's TLS certificate.
        newest_entry: instant of the last entry in this node's journal.
        audit: what is known of the coordinator's log.
        oldest_result_days: age of the oldest result kept here, 0 if there is none.
    """

    software: str = ""
    certificate_days: Callable[[], int | None] = _unknown
    newest_entry: Callable[[], datetime | None] = _never
    audit: Callable[[], AuditFacts | None] = _not_looked
    oldest_result_days: Callable[[Connection, datetime], int | None] = _unknown_age


NOTHING_KNOWN = Surroundings()


def basis_of(connection: Connection, terms: Terms, order: Order) -> str:
    """The legal basis on record here for an order's purpose; empty if there is none (c10).

    A run reads the lines of customers who stand in the scope that is called as its purpose. A
    clause that names another scope is about other customers, so there is no basis then. Neither
    is there one if the clause says that none is needed and the order asks for customers' columns.
    """
    block = terms.block("c10", LegalBasis)
    entry = block.of(order.purpose) if block is not None else None
    if entry is None:
        return ""
    asks = CUSTOMER_COLUMNS & {column.rpartition(".")[2] for column in order.columns}
    if entry.basis == "none":
        return "" if asks else "none"
    if entry.scope is not None and entry.scope != order.purpose:
        return ""
    found = Consents(connection).basis(order.purpose)
    # sums leave out only who said no, unless this member decided otherwise (ConsentDesk)
    return "" if found.at is None and not asks else found.basis


def notices_in_use(connection: Connection) -> frozenset[str]:
    """SHA-256 of every text that this member shows to its customers (c11)."""
    return frozenset(Notices(connection).in_use())


def due(request: CustomerRequest, terms: Terms | None) -> datetime:
    """Until when a customer's request has to be answered, by clause 12 where there is one."""
    block = terms.block("c12", Rights) if terms is not None else None
    days = block.answer_days if block is not None else USUAL_ANSWER_DAYS
    if request.extended_at is not None:
        days += block.extend_days if block is not None else USUAL_EXTENSION_DAYS
    return request.received_at + timedelta(days=days)


def overdue(connection: Connection, terms: Terms | None, now: datetime) -> int:
    """Customers' requests that are past their due date (c12)."""
    waiting = CustomerRequests(connection).list(only_open=True)
    return sum(due(one, terms) < now for one in waiting)


def oldest_release_days(connection: Connection, now: datetime) -> int:
    """Whole days since the oldest result that was taken over here came; 0 without one (c28)."""
    kept = Releases(connection).list(ReleaseState.PULLED, ReleaseState.USED)
    ages = [(now - one.received_at).days for one in kept]
    return max([0, *ages])


_OWN_INSTANTS = (  # instants that this node's own clock gave; never one that somebody sent
    schema.orders.c.received_at,
    schema.orders.c.changed_at,
    schema.run_budget.c.reserved_at,
    schema.run_budget.c.settled_at,
    schema.approvals.c.at,
    schema.documents.c.received_at,
    schema.signed.c.signed_at,
    schema.accepted_rosters.c.accepted_at,
    schema.releases.c.received_at,
    schema.customer_requests.c.entered_at,
    schema.notices.c.at,
    schema.incidents.c.received_at,
)


def newest_seen(connection: Connection, around: Surroundings) -> datetime | None:
    """The latest instant that this node ever wrote down; its clock must not be before it (c30)."""
    found = [
        connection.execute(select(column).order_by(column.desc()).limit(1)).scalar()
        for column in _OWN_INSTANTS
    ]
    last = schema.consent_events.c
    found.append(  # the newest event is the last row: no need to look at all
        connection.execute(select(last.recorded_at).order_by(last.seq.desc()).limit(1)).scalar()
    )
    found.append(around.newest_entry())
    return clock.newest(connection, found)
