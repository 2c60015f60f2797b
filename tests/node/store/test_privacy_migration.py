"""From the first schema, with data in it, to the one with an account of spent privacy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command

from node.policy.privacy import PrivacyAccount, accounted
from node.store.budgets import RunBudget, RunLine, Use
from node.store.database import REVISIONS, Database
from node.store.migrations import config
from node.store.spending import Spending, SpendingLedger

NOW = datetime(2026, 3, 10, 12, 0, 0, 123456, tzinfo=UTC)
FIRST = "0001"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of the first version with three runs in its ledger."""
    path = tmp_path / "node.db"

    def only_the_first(connection: object) -> None:
        made = config()
        made.attributes["connection"] = connection
        command.upgrade(made, FIRST)

    with monkeypatch.context() as patch:
        patch.setattr("node.store.migrations.upgrade", only_the_first)
        database = Database.open(path, create=True)
        assert database.revision == FIRST
        with database.write() as connection:
            for at, state in enumerate((Use.RESERVED, Use.USED, Use.RETURNED)):
                name = f"{at}" * 32
                reserved = NOW - timedelta(days=at)
                RunBudget(connection).add(
                    RunLine(name, "demand", frozenset({"a"}), Use.RESERVED, reserved)
                )
                if state is not Use.RESERVED:
                    RunBudget(connection).settle(name, state, NOW)
        database.close()
    return path


def test_runs_of_before_get_a_line_that_spends_nothing(old: Path) -> None:
    database = Database.open(old)
    assert database.revision == REVISIONS[-1]
    with database.read() as connection:
        lines = PrivacyAccount(connection, None).lines()  # every line is whole and none is missing
        runs = RunBudget(connection).list(NOW - timedelta(days=9))
    assert [(one.run[0], one.state) for one in lines] == [
        ("2", Use.RETURNED),
        ("1", Use.USED),
        ("0", Use.RESERVED),
    ]
    assert {one.unit for one in lines} == {"none"}
    assert accounted(lines) == ()
    assert [one.run[0] for one in runs] == ["1", "0"]


def test_what_was_open_is_settled_afterwards(old: Path) -> None:
    database = Database.open(old)
    with database.write() as connection:
        SpendingLedger(connection).settle("0" * 32, Use.USED, NOW + timedelta(hours=1))
    with database.read() as connection:
        line = SpendingLedger(connection).get("0" * 32)
    assert line is not None
    assert line.state is Use.USED


def test_a_line_is_never_replaced_and_settled_once(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "node.db", create=True)
    until = NOW + timedelta(hours=2)
    line = Spending("a" * 32, "customer", "churn", ({"kind": "x"},), 1e-5, Use.RESERVED, NOW, until)
    with database.write() as connection:
        ledger = SpendingLedger(connection)
        ledger.add(line)
        ledger.add(Spending("a" * 32, "none", "churn", (), 0.0, Use.RESERVED, NOW, NOW))
        assert ledger.get("a" * 32) == line
        ledger.settle("a" * 32, Use.USED, until + timedelta(days=3))
        settled = ledger.get("a" * 32)
        assert settled is not None
        assert (settled.state, settled.until) == (Use.USED, until)  # never later than its deadline
        ledger.settle("a" * 32, Use.RETURNED, NOW)
        assert ledger.get("a" * 32) == settled
        ledger.settle("b" * 32, Use.USED, NOW)
        assert ledger.list() == (settled,)
