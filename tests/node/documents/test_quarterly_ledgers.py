"""The figures of a quarter come from the ledgers, and those of a past quarter stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import small_coop
from node.documents.quarterly import ledgers
from node.store.budgets import Use
from node.store.consents import Consents, Event, State
from node.store.database import Database
from node.store.quality import QualityHistory, Scored
from node.store.requests import CustomerRequest, CustomerRequests, RequestKind
from node.store.run_snapshots import RunSnapshot, RunSnapshots
from node.store.spending import Spending, SpendingLedger
from protocols.documents.quarter import Quarter
from protocols.documents.transparency import Answered, Asked, Read
from protocols.privacy.events import NoisedSums

Q = Quarter(2026, 4)
AT = datetime(2026, 11, 2, tzinfo=UTC)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
LATER = datetime(2027, 2, 1, tzinfo=UTC)
RUN = "ab" * 16
KEY = "cd" * 32


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.open(tmp_path / "node.db", create=True)
    yield made
    made.close()


def ask(database: Database, name: str, received: datetime, closed: datetime | None = None) -> None:
    one = CustomerRequest(name * 8, RequestKind.ERASE, KEY, received, received)
    with database.write() as db:
        CustomerRequests(db).add(one)
        if closed is not None:
            CustomerRequests(db).close(one.id, "done", closed)


def asked(database: Database, now: datetime = NOW) -> tuple[Asked, ...]:
    return ledgers(database, None, Q, now).requests


def test_requests_stand_as_they_stood_at_the_end(database: Database) -> None:
    ask(database, "1", AT - timedelta(days=60))  # entered before, open and late
    ask(database, "2", AT, AT + timedelta(days=3))
    ask(database, "3", AT - timedelta(days=200), AT - timedelta(days=180))  # over before
    ask(database, "4", Q.ends + timedelta(days=1))  # after
    found = {one.id[0]: (one.late, one.closed is not None) for one in asked(database)}
    assert found == {"1": (True, False), "2": (False, True)}
    past = asked(database, LATER)
    with database.write() as db:
        CustomerRequests(db).close("1" * 8, "done", LATER)
    assert asked(database, LATER + timedelta(days=9)) == past


def test_answers_of_the_quarter_are_counted(database: Database) -> None:
    with database.write() as db:
        ledger = Consents(db)
        for n, recorded in enumerate((AT, AT, Q.ends)):
            key = f"{n:064x}"
            event = Event(key, "train:churn", State.WITHDRAWN, AT, "", "till")
            ledger.add([event], recorded)
    assert ledgers(database, None, Q, NOW).answers == (Answered("train:churn", "withdrawn", 2),)


def test_health_and_reads_are_taken_over(database: Database) -> None:
    snapshot = RunSnapshot(
        RUN, 1, 0, "train:churn", "consent", "", 1, "", AT, 5, "00" * 32, 4, 90, "00" * 32
    )
    with database.write() as db:
        QualityHistory(db).add(Scored(AT, "sales", 91, (), "00" * 32))
        QualityHistory(db).add(Scored(Q.ends, "sales", 80, (), "11" * 32))
        RunSnapshots(db).add(snapshot)
    found = ledgers(database, None, Q, NOW)
    assert [(one.dataset, one.score) for one in found.health] == [("sales", 91)]
    assert found.reads == (Read(RUN, 90, 4),)


def test_epsilon_of_runs_with_noise(database: Database) -> None:
    terms = small_coop.agreement().terms
    assert ledgers(database, terms, Q, NOW).spent == ()
    event = NoisedSums("customer", 2.0, 0.1, 10, 0.0, 1.0)
    with database.write() as db:
        for n, (unit, events, at) in enumerate(
            (
                ("customer", (event.to_json(),), AT),
                ("none", (), AT),
                ("customer", (event.to_json(),), Q.ends),
            )
        ):
            line = Spending(f"{n:032x}", unit, "churn", events, 1e-5, Use.USED, at, at)
            SpendingLedger(db).add(line)
    (spent,) = ledgers(database, terms, Q, NOW).spent
    assert spent.run == f"{0:032x}" and 0 < spent.epsilon < 4
