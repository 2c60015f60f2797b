"""What a transparency report needs besides the log: figures of the ledgers within one quarter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import func, select

from node.house import Home
from node.policy.facts import due
from node.policy.journal import Folder
from node.policy.privacy import PrivacyAccount, price_of
from node.store.budgets import Use
from node.store.database import Database
from node.store.quality import QualityHistory
from node.store.requests import CustomerRequests
from node.store.run_snapshots import RunSnapshots
from node.store.schema import consent_events
from protocols.agreement.terms import Privacy, Terms
from protocols.audit.entries import Entry, decode
from protocols.documents.quarter import Quarter
from protocols.documents.transparency import Answered, Asked, Health, Ledgers, Read, Spent


def entries(home: Home) -> Iterator[Entry]:
    """The node's log, line by line; opening it has checked its hashes."""
    place = Folder(home.folder / "audit")
    for number, line in enumerate(place.lines(0), start=1):
        yield decode(line.removesuffix(b"\n"), f"line {number}")


def ledgers(database: Database, terms: Terms | None, quarter: Quarter, now: datetime) -> Ledgers:
    """Figures of one quarter; ``now`` says which open requests are late.

    Raises:
        LocalError: a ledger is damaged.
    """
    return Ledgers(
        spent=tuple(_spent(database, terms, quarter)),
        requests=tuple(_requests(database, terms, quarter, now)),
        reads=tuple(_reads(database)),
        health=tuple(_health(database, quarter)),
        answers=tuple(_answers(database, quarter)),
    )


def _spent(database: Database, terms: Terms | None, quarter: Quarter) -> Iterator[Spent]:
    """Runs with noise, each at the delta of its unit's budget, else at that of its order."""
    privacy = terms.block("c14", Privacy) if terms is not None else None
    with database.read() as db:
        lines = PrivacyAccount(db, None).lines()
    for one in lines:
        limit = privacy.budget(one.unit) if privacy is not None else None
        delta = limit.delta if limit is not None else one.delta
        if one.events and one.state is not Use.RETURNED and quarter.holds(one.reserved_at):
            yield Spent(one.run, one.unit, price_of(one, delta), one.reserved_at)


def _requests(
    database: Database, terms: Terms | None, quarter: Quarter, now: datetime
) -> Iterator[Asked]:
    """As they stood at the end of the quarter, or stand now; later answers change nothing."""
    end = min(now, quarter.ends)
    with database.read() as db:
        found = CustomerRequests(db).list()
    for one in found:
        closed = one.closed_at if one.closed_at is not None and one.closed_at < end else None
        if one.entered_at < quarter.ends and (closed is None or closed >= quarter.begins):
            late = due(one, terms) < (closed or end)
            yield Asked(one.id, one.kind.value, one.received_at, closed, late)


def _reads(database: Database) -> Iterator[Read]:
    """What each run read; the largest reading where a run read more than once."""
    with database.read() as db:
        found = RunSnapshots(db).list()
    largest: dict[str, Read] = {}
    for one in found:
        before = largest.get(one.run)
        if before is None or (before.rows or 0) <= one.lines:
            largest[one.run] = Read(one.run, one.lines, one.customers)
    yield from largest.values()


def _health(database: Database, quarter: Quarter) -> Iterator[Health]:
    with database.read() as db:
        found = QualityHistory(db).list()
    for one in found:
        if quarter.holds(one.at):
            yield Health(one.at, one.dataset, one.score)


def _answers(database: Database, quarter: Quarter) -> Iterator[Answered]:
    """How many answers were recorded, by purpose and kind; counted by the database."""
    table = consent_events
    query = (
        select(table.c.scope, table.c.state, func.count())
        .where(table.c.recorded_at >= quarter.begins, table.c.recorded_at < quarter.ends)
        .group_by(table.c.scope, table.c.state)
        .order_by(table.c.scope, table.c.state)
    )
    with database.read() as db:
        found = [(str(row[0]), str(row[1]), int(row[2])) for row in db.execute(query)]
    yield from (Answered(scope, state, count) for scope, state, count in found)
