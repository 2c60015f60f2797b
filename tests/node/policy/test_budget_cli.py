"""``coop-node budget``: the account as a person reads it, and as one JSON document."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from agreement_world import BOTH, COOP, ME, NOW, OPERATOR_KEY, order
from privacy_world import HISTORY, Shop, run_name

from node.checkup import privacy_account
from node.cli.app import app
from node.cli.shell import run
from node.policy.agreements import Agreements
from protocols.agreement.order import OPERATOR
from protocols.agreement.template import amend
from protocols.canonical import json_bytes
from protocols.signing import jws_sign

ONE, TWO = run_name(0xAAAAAAAA << 96), run_name(0xBBBBBBBB << 96)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path / "node.db").sign()

    def member(home: Path | None) -> object:
        desk = Agreements(made.database, COOP, ME, made.journal, lambda: made.now)
        house = SimpleNamespace(clock=lambda: made.now, folder=tmp_path)
        return SimpleNamespace(home=house, database=made.database, agreements=desk)

    monkeypatch.setattr("node.house.open_member", member)
    monkeypatch.setattr("node.checkup.open_member", member)
    return made


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert run(app, ["budget", *words], "coop-node") == code
    return capsys.readouterr().out


def test_an_empty_account_says_so(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys)
    assert "Privacy of each customer: 0 of 4 epsilon spent in the last 365 days, 4 left" in text
    assert "No run has spent any yet." in text


def test_the_account_of_two_runs(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.admits(ONE, 20)
    assert shop.admits(TWO, 10)
    plain = order(agreement=BOTH.id, run=run_name(7))
    shop.gate.admit(jws_sign(plain.document, OPERATOR, OPERATOR_KEY), HISTORY)
    shop.spend(ONE)
    shop.settle(ONE)
    text = printed(capsys)
    assert "2.208 of 4 epsilon spent in the last 365 days, 1.792 left (delta 1e-05)" in text
    assert "The first of it comes back on 2027-03-10." in text
    one = next(line for line in text.splitlines() if line.startswith("aaaaaaaa"))
    assert one.split() == ["aaaaaaaa", "churn", "1.761", "spent", "2026-03-10", "2027-03-10"]
    assert "counts until the run ends" in text
    assert "Together they cost less than the sum of the column. Over all time: 2.208." in text
    assert "1 runs of workloads that add no noise" in text
    shop.settle(TWO)
    assert "not spent" in printed(capsys)


def test_the_same_as_json(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.admits(ONE, 20)
    document = json.loads(printed(capsys, "--json"))
    (found,) = document["budgets"]
    assert (found["unit"], found["epsilon"], found["restored"]) == ("customer", 4.0, False)
    assert found["spent"] + found["left"] == pytest.approx(4.0)
    assert found["runs"][0]["run"] == ONE
    assert found["runs"][0]["state"] == "reserved"
    assert found["runs"][0]["events"][0]["kind"] == "noised-sums"
    assert found["frees_at"] == found["runs"][0]["frees_at"]


def test_a_restored_node_says_why_nothing_is_left(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.keys.restored_at", lambda home: NOW - timedelta(days=3))
    text = printed(capsys)
    assert "4 of 4 epsilon spent" in text
    assert "0 left" in text
    assert "restored from a backup" in text
    assert "comes back on 2027-03-07" in text


def test_an_agreement_without_a_budget(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    without = amend(BOTH, "c14", {"budgets": []})
    desk = Agreements(shop.database, COOP, ME, shop.journal, lambda: NOW)
    desk.receive("agreement", json_bytes(without.document))
    desk.sign(without.id, short_notice=True)
    assert "has no privacy budget" in printed(capsys)


def test_a_damaged_account_is_an_error_and_not_a_zero(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shop.admits(ONE, 20)
    with shop.database.write() as connection:
        connection.exec_driver_sql("UPDATE privacy_spending SET events = '[]'")
    text = printed(capsys, "--json", code=5)
    assert "damaged" in text
    assert 'spent":' not in text


def test_the_doctor_looks_at_the_account(shop: Shop) -> None:
    assert shop.admits(ONE, 20)
    found = privacy_account(None)
    assert found.ok
    assert found.found.startswith("1 runs with noise")
    with shop.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM privacy_spending")
    found = privacy_account(None)
    assert not found.ok
    assert "has no line for run aaaaaaaa" in found.found
    assert "backup" in found.fix
