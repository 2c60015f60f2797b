"""What runs cost: shares add up, a period counts what it holds, a table is safe to open."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import costs
from coordinator.cli.app import app
from coordinator.cli.shell import run
from coordinator.costs import Charge
from coordinator.launching import launch, planned
from coordinator.standing import standing_of
from coordinator.store.documents import Document, Documents
from coordinator.store.runs import Progress, Runs, State
from protocols.errors import LocalError
from protocols.ids import MemberId
from small_office import NOW, SmallOffice, quick, signed_office

MANY = [MemberId(f"{at:02x}" * 32) for at in range(7)]


@given(st.integers(0, 10**9), st.integers(1, 7), st.binary(min_size=16, max_size=16))
def test_shares_are_equal_to_a_cent_and_add_up(cents: int, count: int, run_id: bytes) -> None:
    shares = Charge(run_id.hex(), NOW, cents, "EUR", tuple(MANY[:count])).shares()
    assert sum(shares.values()) == cents
    assert max(shares.values()) - min(shares.values()) <= 1


def test_the_odd_cent_does_not_always_hit_the_same_member() -> None:
    hit = {
        member
        for at in range(7)
        for member, cents in Charge(f"{at:02x}" * 16, NOW, 1, "EUR", tuple(MANY)).shares().items()
        if cents
    }
    assert len(hit) > 1


def test_nobody_pays_where_the_method_is_none() -> None:
    charge = Charge("aa", NOW, 500, "EUR", ())
    assert charge.shares() == {}
    assert costs.statement([charge]) == ()


def test_a_statement_keeps_currencies_apart() -> None:
    listed = [
        Charge("aa", NOW, 300, "EUR", tuple(MANY[:3])),
        Charge("bb", NOW, 99, "CHF", (MANY[0],)),
    ]
    found = {(one.currency, one.member): (one.runs, one.cents) for one in costs.statement(listed)}
    assert found[("CHF", MANY[0])] == (1, 99)
    assert found[("EUR", MANY[0])] == (1, 100)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallOffice:
    figures = {"run_cost_cents": 1000, "period_cap_cents": 2500, "cost_days": 30}
    made = signed_office(tmp_path / "office", **figures)
    monkeypatch.setattr("coordinator.wiring.open_house", lambda home: made.house)
    return made


def paid(office: SmallOffice) -> int | None:
    plan = planned(office.house, quick())
    return standing_of(office.house, plan.agreement).office.runs_paid_in_period


def test_runs_count_for_a_period_and_not_if_they_never_began(office: SmallOffice) -> None:
    assert paid(office) == 0
    first = launch(office.house, planned(office.house, quick()))
    office.now += timedelta(days=10)
    second = launch(office.house, planned(office.house, quick()))
    assert paid(office) == 2
    office.house.abort(second, "-", lambda kind, facts: None)
    assert paid(office) == 1
    office.now += timedelta(days=21)
    assert paid(office) == 0
    with office.house.database.read() as db:
        (charge,) = costs.charges(db)
    assert (charge.run, charge.cents, len(charge.members)) == (first.run, 1000, 6)


def test_a_run_that_began_and_failed_is_paid_for(office: SmallOffice) -> None:
    made = launch(office.house, planned(office.house, quick()))
    with office.house.database.write() as db:
        Runs(db).move(made.run, State.GATHERING, NOW)
        Runs(db).move(made.run, State.RUNNING, NOW)
        Runs(db).advance(made.run, Progress(1, 0, "mask", ""))
        Runs(db).move(made.run, State.FAILED, NOW)
    assert paid(office) == 1


def test_the_statement_as_a_table_and_for_a_spreadsheet(
    office: SmallOffice, capsys: pytest.CaptureFixture[str]
) -> None:
    launch(office.house, planned(office.house, quick()))

    def command(*words: str) -> int:
        return run(app, ["--home", str(office.folder), "costs", *words], "coop-coordinator")

    assert command("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert sum(one["cents"] for one in document["members"]) == 1000
    assert command("--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 6
    assert sorted({row["amount"] for row in rows}) == ["1.66", "1.67"]
    assert command("--from", "2026-03-02", "--to", "2026-03-01") == 5
    assert command("--from", "yesterday") == 5
    assert command("--from", "2026-03-02", "--to", "2026-03-09") == 0
    assert "Nobody has to pay." in capsys.readouterr().out


def test_a_name_is_not_a_formula() -> None:
    share = costs.Share(MANY[0], 1, 100, "EUR")
    text = costs.as_csv([("=SUM(A1)", share), ("@x", share)], NOW, NOW)
    assert "\n'=SUM(A1)," in text and "\n'@x," in text


def test_a_cost_that_cannot_be_read_refuses(office: SmallOffice) -> None:
    with office.house.database.write() as db:
        Documents(db).add(Document("ee" * 32, costs.KIND, b'{"run":"aa"}', NOW))
    with (
        pytest.raises(LocalError, match="what an earlier run cost cannot be read"),
        office.house.database.read() as db,
    ):
        costs.charges(db)
