"""The account of spent privacy behind the gate: consult, reserve, settle; damage refuses."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from agreement_world import (
    BOTH,
    COORDINATOR_KEY,
    GOOD_FIGURES,
    NOW,
    OPERATOR_KEY,
    RELEASE,
    STRANGER,
    churn_order,
    order,
)
from privacy_world import BUDGET, DELTA, HISTORY, Shop, plan_with, run_name

from node.policy.gate import Gate
from node.policy.privacy import accounted, price_of, standing
from node.store.budgets import RunBudget, Use
from node.store.spending import SpendingLedger
from protocols.agreement.facts import Denial
from protocols.agreement.house import HouseRules
from protocols.agreement.order import OPERATOR
from protocols.agreement.terms import Privacy
from protocols.errors import LocalError, Refused
from protocols.permit import Permit
from protocols.privacy.accountant import epsilon
from protocols.privacy.plan import Plan
from protocols.signing import jws_sign

ONE, TWO, THREE = run_name(1), run_name(2), run_name(3)
YEAR = timedelta(days=365)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "node.db").sign()


def refused(answer: Permit | Denial, words: str, clause: str = "c14") -> None:
    assert isinstance(answer, Denial)
    texts = " | ".join(str(one) for one in answer.reasons if one.clause == clause)
    assert words in texts, str(answer)


def test_an_admitted_run_is_reserved_with_its_events_in_the_same_transaction(shop: Shop) -> None:
    assert shop.admits(ONE, 10)
    (line,) = shop.lines()
    assert (line.run, line.unit, line.workload, line.delta) == (ONE, "customer", "churn", DELTA)
    assert (line.state, line.reserved_at) == (Use.RESERVED, NOW)
    assert line.until == NOW + timedelta(hours=2)  # the order's deadline
    (counted,) = accounted([line])
    assert counted.events == plan_with(10).events_colluders
    assert shop.admits(ONE, 10)  # asked again after a restart: once
    assert len(shop.lines()) == 1


def test_runs_compose_and_the_one_that_is_too_many_is_refused_with_its_figures(
    shop: Shop,
) -> None:
    assert shop.admits(ONE, 20)
    assert shop.admits(TWO, 30)
    answer = shop.ask(THREE, 50)
    assert epsilon(plan_with(50).events_colluders * 2, DELTA) > BUDGET
    refused(answer, "the run would spend 2.944 of epsilon, 1.056 of 4 is left until 2027-03-10")
    assert [line.run for line in shop.lines()] == [ONE, TWO]  # a no reserves nothing
    assert shop.admits(run_name(4), 30)


def test_demand_is_written_down_and_spends_nothing(shop: Shop) -> None:
    assert shop.admits(ONE, 80)
    plain = order(agreement=BOTH.id, run=TWO)
    answer = shop.gate.admit(jws_sign(plain.document, OPERATOR, OPERATOR_KEY), HISTORY)
    assert isinstance(answer, Permit)
    line = shop.lines()[1]
    assert (line.unit, line.events, line.delta) == ("none", (), 0.0)
    assert price_of(line, DELTA) == 0.0
    refused(shop.ask(THREE, 10), "0.151 of 4 is left")


def test_a_run_that_spent_no_round_is_given_back_and_cannot_spend_later(shop: Shop) -> None:
    assert shop.admits(ONE, 80)
    refused(shop.ask(TWO, 80), "would be spent")
    shop.settle(ONE)
    assert shop.lines()[0].state is Use.RETURNED
    assert shop.admits(TWO, 80)
    with pytest.raises(Refused, match="is over") as caught:
        shop.spend(ONE)  # a message of the run that comes late
    assert caught.value.clauses == ("c14",)
    assert shop.lines()[0].state is Use.RETURNED


def test_a_run_that_spent_a_round_stays_spent(shop: Shop) -> None:
    assert shop.admits(ONE, 80)
    shop.spend(ONE)
    shop.now += timedelta(hours=1)
    shop.settle(ONE)
    (line,) = shop.lines()
    assert (line.state, line.until) == (Use.USED, shop.now)
    shop.settle(ONE)
    assert shop.lines() == (line,)
    refused(shop.ask(TWO, 80), "would be spent")
    with pytest.raises(Refused, match="is over"):
        shop.spend(ONE, 2)


def test_a_run_that_sent_a_vector_stays_spent_though_it_signed_no_round(shop: Shop) -> None:
    assert shop.admits(ONE, 80)
    shop.send(ONE)
    shop.send(ONE)  # another attempt
    shop.reopened()
    shop.settle(ONE)  # "the run has failed", says the office, and never asked for a signature
    assert shop.lines()[0].state is Use.USED
    refused(shop.ask(TWO, 80), "would be spent")


def test_no_vector_leaves_for_a_run_that_is_over(shop: Shop) -> None:
    assert shop.admits(ONE, 80)
    shop.settle(ONE)
    with pytest.raises(Refused, match="is over"):
        shop.send(ONE)
    assert shop.admits(TWO, 80)
    shop.now += timedelta(hours=2, seconds=1)
    with pytest.raises(Refused, match="is over"):
        shop.send(TWO)
    shop.settle(TWO)
    assert [line.state for line in shop.lines()] == [Use.RETURNED, Use.RETURNED]


def test_no_vector_of_a_run_without_noise_leaves_after_its_end_either(shop: Shop) -> None:
    plain = order(run=ONE, agreement=BOTH.id)
    answer = shop.gate.admit(jws_sign(plain.document, OPERATOR, OPERATOR_KEY), HISTORY)
    assert isinstance(answer, Permit)
    shop.settle(ONE)
    with pytest.raises(Refused, match="is over"):
        shop.send(ONE)


def test_after_the_deadline_nothing_that_was_reserved_can_be_spent(shop: Shop) -> None:
    assert shop.admits(ONE, 10)
    shop.now += timedelta(hours=2)
    shop.spend(ONE, 1)
    shop.now += timedelta(seconds=1)
    with pytest.raises(Refused, match="is over"):
        shop.spend(ONE, 2)


def test_a_reservation_that_never_ended_counts_from_its_deadline(shop: Shop) -> None:
    assert shop.admits(ONE, 80)
    fresh = {"issued": NOW + YEAR, "deadline": NOW + YEAR + timedelta(hours=9)}
    other = Shop(shop.path, now=NOW + YEAR + timedelta(hours=2))
    refused(other.ask(TWO, 80, **fresh), "is left until 2027-03-10")
    other.now += timedelta(seconds=1)
    answer = other.ask(TWO, 80, **fresh)
    assert "c14" not in (answer.clauses if isinstance(answer, Denial) else ())  # the term is over


def test_a_house_rule_is_smaller_than_the_budget(shop: Shop) -> None:
    shop.rules = HouseRules(max_epsilon=1.5)
    assert shop.admits(ONE, 10)
    refused(shop.ask(TWO, 10), "with this run 1.761 of epsilon would be spent", "house")


def test_the_order_that_promises_too_little_is_refused(shop: Shop) -> None:
    def loose(found: object, terms: object, roster: object) -> Plan:
        return plan_with(10, delta=1e-3)

    gate = shop.gate
    gate._price = loose
    signed = jws_sign(churn_order(run=ONE).document, OPERATOR, OPERATOR_KEY)
    refused(gate.admit(signed, HISTORY), "(delta) of 0.001, at most 1e-05")
    assert shop.lines() == ()


def test_a_recipe_whose_price_cannot_be_found_is_refused(shop: Shop) -> None:
    def broken(found: object, terms: object, roster: object) -> Plan:
        raise LocalError("the workload is not installed.")

    gate = shop.gate
    gate._price = broken
    signed = jws_sign(churn_order(run=ONE).document, OPERATOR, OPERATOR_KEY)
    refused(gate.admit(signed, HISTORY), "is not known: the workload is not installed")


def test_a_restored_node_counts_everything_as_spent_for_a_whole_period(shop: Shop) -> None:
    shop.restored_at = NOW - timedelta(days=1)
    refused(shop.ask(ONE, 1), "0 of 4 is left until 2027-03-09")
    with shop.database.read():
        block = BOTH.terms.block("c14", Privacy)
    assert block is not None
    found = standing(block.budgets[0], shop.lines(), NOW, shop.restored_at)
    assert (found.spent, found.left, found.restored) == (4.0, 0.0, True)
    shop.restored_at = NOW - YEAR - timedelta(seconds=1)
    assert shop.admits(TWO, 10)


DAMAGE = {
    "a line that is gone": "DELETE FROM privacy_spending",
    "a cheaper event": "UPDATE privacy_spending SET events = replace(events, '10.0', '99.0')",
    "no event": "UPDATE privacy_spending SET events = '[]'",
    "no JSON": "UPDATE privacy_spending SET events = '[{'",
    "an older line": "UPDATE privacy_spending SET until = '2016-03-10T12:00:00.000000Z'",
    "a moment that is none": "UPDATE privacy_spending SET until = 'soon'",
    "given back": "UPDATE privacy_spending SET state = 'returned'",
    "of nobody": "UPDATE privacy_spending SET unit = 'none'",
    "a delta that is none": "UPDATE privacy_spending SET delta = 'x'",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_account_refuses_and_never_starts_from_zero(shop: Shop, damage: str) -> None:
    assert shop.admits(ONE, 10)
    shop.database.close()
    with sqlite3.connect(shop.path) as raw:
        raw.execute(DAMAGE[damage])
    raw.close()
    shop.reopened()
    refused(shop.ask(TWO, 1), "costs in privacy is not known")
    with pytest.raises(LocalError):
        shop.lines()
    shop.settle(ONE)  # the run's end is told all the same, and gives nothing back
    with pytest.raises(LocalError):
        shop.lines()
    with shop.database.read() as connection:
        found = RunBudget(connection).get(ONE)
    assert found is not None
    assert found.state is Use.RETURNED


def test_an_account_that_is_gone_keeps_the_node_from_starting(shop: Shop) -> None:
    assert shop.admits(ONE, 10)
    shop.database.close()
    with sqlite3.connect(shop.path) as raw:
        raw.execute("DROP TABLE privacy_spending")
    raw.close()
    with pytest.raises(LocalError, match="restore your newest backup"):
        shop.reopened()


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"kind": "laplace", "v": 1}, Refused),
        ({"kind": "noised-sums", "v": 2}, Refused),
        ({"kind": "noised-sums", "v": 1, "unit": "customer"}, LocalError),
        ({**plan_with(1).events_colluders[0].to_json(), "unit": "member"}, LocalError),
        (5, LocalError),
    ],
)
def test_an_event_that_this_version_does_not_know_refuses(
    shop: Shop, event: object, error: type[Exception]
) -> None:
    assert shop.admits(ONE, 10)
    (line,) = shop.lines()
    with shop.database.write() as connection:  # written by a newer version, so sealed
        strange = replace(line, events=(event,))  # type: ignore[arg-type]
        connection.exec_driver_sql("DELETE FROM privacy_spending")
        if isinstance(event, dict):
            SpendingLedger(connection).add(strange)
    if isinstance(event, dict):
        with pytest.raises(error):
            accounted(shop.lines())
    refused(shop.ask(TWO, 1), "costs in privacy is not known")


TEST_FOLDERS = ("protocols/agreement", "support")
KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from privacy_world import Shop
shop = Shop(Path(sys.argv[1]))
print(shop.admits("{run}", 80), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_reservation_survives_kill_9(shop: Shop) -> None:
    shop.database.close()
    tests = Path(__file__).parents[2]
    folders = [str(Path(__file__).parent), *(str(tests / one) for one in TEST_FOLDERS)]
    code = KILLED.format(run=ONE)
    words = [sys.executable, "-c", code, str(shop.path), *folders]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answer = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    assert answer == "True"
    shop.reopened()
    assert [line.state for line in shop.lines()] == [Use.RESERVED]
    refused(shop.ask(TWO, 80), "0.151 of 4 is left")
    shop.spend(ONE)
    shop.settle(ONE)
    refused(shop.ask(TWO, 80), "0.151 of 4 is left")


def test_a_crash_before_the_journal_reserves_nothing(shop: Shop) -> None:
    shop.broken = True
    with pytest.raises(OSError, match="died"):
        shop.ask(ONE, 80)
    shop.broken = False
    shop.reopened()
    assert shop.lines() == ()
    assert shop.admits(TWO, 80)


def test_the_standing_says_what_is_left_and_when_it_comes_back(shop: Shop) -> None:
    assert shop.admits(ONE, 10)
    assert shop.admits(TWO, 10)
    shop.settle(TWO)
    block = BOTH.terms.block("c14", Privacy)
    assert block is not None
    found = standing(block.budgets[0], shop.lines(), NOW, None)
    alone = epsilon(plan_with(10).events_colluders, DELTA)
    assert found.spent == found.lifetime == pytest.approx(alone)
    assert found.left == pytest.approx(BUDGET - alone)
    assert found.frees_at == NOW + timedelta(hours=2) + YEAR
    assert [price_of(one, DELTA) for one in found.lines] == [pytest.approx(alone), 0.0]
    later = standing(block.budgets[0], shop.lines(), NOW + YEAR + YEAR, None)
    assert (later.spent, later.frees_at) == (0.0, None)
    assert later.lifetime == pytest.approx(alone)
    assert json.dumps([dict(e) for e in found.lines[0].events])


def test_an_order_that_the_operator_did_not_sign_costs_no_computation(shop: Shop) -> None:
    def asked(found: object, terms: object, roster: object) -> Plan:
        raise AssertionError("the accountant was asked")

    gate = shop.gate
    gate._price = asked
    forged = jws_sign(churn_order(run=ONE).document, OPERATOR, STRANGER)
    refused(gate.admit(forged, HISTORY), "the operator has not signed the order")
    assert gate.price({}) is None
    assert gate.price(forged) is None


def test_the_price_of_an_order_is_known_before_it_is_approved(shop: Shop) -> None:
    assert shop.admits(ONE, 20)
    signed = jws_sign(churn_order(run=TWO, rounds=10).document, OPERATOR, OPERATOR_KEY)
    found = shop.gate.price(signed)
    assert found is not None
    assert found.epsilon_run == plan_with(10).epsilon_colluders
    assert found.epsilon_before == plan_with(20).epsilon_colluders
    assert found.epsilon_after == epsilon(
        plan_with(20).events_colluders + plan_with(10).events_colluders, DELTA
    )
    assert [line.run for line in shop.lines()] == [ONE]


def test_a_result_may_be_used_when_the_budget_is_spent(shop: Shop) -> None:
    parsed = churn_order(run=ONE, rounds=80)
    signed = jws_sign(parsed.document, OPERATOR, OPERATOR_KEY)
    assert isinstance(shop.gate.admit(signed, HISTORY), Permit)
    shop.spend(ONE)
    shop.settle(ONE)
    shop.restored_at = NOW  # nothing is left at all
    card = {"kind": "datacoop/release", "run": ONE, "agreement": BOTH.id, "order": parsed.id}

    def used(gate: Gate) -> Permit | Denial:
        return gate.use(
            jws_sign(card, "coordinator", COORDINATOR_KEY),
            signed,
            GOOD_FIGURES,
            purpose="train:churn",
            outputs=("metrics", "model"),
            release=replace(RELEASE, purposes=frozenset({"train:churn", "train:demand"})),
        )

    assert isinstance(used(shop.gate), Permit)
    gate = shop.gate
    gate._price = lambda *_: plan_with(200)  # the installed recipe says it cost more than agreed
    refused(used(gate), "the run alone would spend 6.574")
