"""No sequence of orders, crashes, ends and days spends more than the clause allows."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from agreement_world import CHURN, NOW, STARTS, WORKLOAD, agreement
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from privacy_world import BUDGET, DELTA, Shop, plan_with, run_name

from protocols.errors import Refused
from protocols.privacy.accountant import epsilon

PERIOD = timedelta(days=30)
SHORT = agreement(
    {"budget_days": 30, "max_runs": 1000},
    workloads=[CHURN, WORKLOAD],
    ends=STARTS + timedelta(days=600),
)
runs = st.integers(0, 4)
steps = st.one_of(
    st.tuples(st.just("order"), runs, st.sampled_from([5, 20, 50, 80])),
    st.tuples(st.just("spend"), runs, st.integers(1, 4)),
    st.tuples(st.just("send"), runs, st.just(0)),
    st.tuples(st.just("settle"), runs, st.just(0)),
    st.tuples(st.just("die while deciding"), runs, st.sampled_from([20, 80])),
    st.tuples(st.just("new process"), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.just(0), st.sampled_from([0.04, 1.0, 14.0, 29.95, 31.0])),
)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node that has signed, closed; each example starts from a copy."""
    path = tmp_path_factory.mktemp("signed") / "node.db"
    Shop(path, parsed=SHORT).sign().database.close()
    return path


class History:
    """What really happened, kept apart from what the node believes."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.rounds: dict[str, int] = {}
        self.spent: list[tuple[datetime, str]] = []
        self.admitted = 0

    def play(self, what: str, number: int, figure: float) -> None:
        shop, run = self.shop, run_name(number)
        if what == "wait":
            shop.now += timedelta(days=figure)
        elif what == "new process":
            shop.reopened()
        elif what == "settle":
            shop.settle(run)
        elif what in ("spend", "send"):
            self._spend(run, int(figure))
        else:
            self._order(run, int(figure), dies=what != "order")

    def _order(self, run: str, rounds: int, *, dies: bool) -> None:
        rounds = self.rounds.setdefault(run, rounds)  # a run has one order
        now = self.shop.now.replace(microsecond=0)
        self.shop.broken = dies
        try:
            times = {"issued": now, "deadline": now + timedelta(hours=2)}
            self.admitted += self.shop.admits(run, rounds, **times)
        except OSError:
            assert dies
            self.shop.reopened()
        self.shop.broken = False

    def _spend(self, run: str, round_number: int) -> None:
        known = {line.run for line in self.shop.lines()}
        if run not in known:
            return  # without a permit there is no participant to spend anything
        try:
            if round_number:
                self.shop.spend(run, round_number)
            else:  # a vector leaves, and the others open the sum without this member
                self.shop.send(run)
        except Refused:
            return
        self.spent.append((self.shop.now, run))

    def worst(self) -> float:
        """The most that any window of one period has seen, at the agreed delta."""
        found = 0.0
        for end, _ in self.spent:
            inside = {run for at, run in self.spent if end - PERIOD < at <= end}
            events = [e for run in inside for e in plan_with(self.rounds[run]).events_colluders]
            found = max(found, epsilon(events, DELTA))
        return found


@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(played=st.lists(steps, min_size=6, max_size=30))
@example(  # given back, given to another, then spent all the same
    [("order", 0, 80), ("settle", 0, 0), ("order", 1, 80), ("spend", 1, 1), ("spend", 0, 1)]
)
@example(  # a vector left, no round was signed, and the office says that the run is over
    [("order", 0, 80), ("send", 0, 0), ("settle", 0, 0), ("order", 1, 80), ("send", 1, 0)]
)
@example(  # never ended, out of the period, then spent all the same
    [("order", 0, 80), ("wait", 0, 31.0), ("order", 1, 80), ("spend", 1, 1), ("spend", 0, 1)]
)
@example(  # asked again after its end
    [
        *[("order", 0, 80), ("spend", 0, 1), ("settle", 0, 0), ("wait", 0, 31.0)],
        *[("order", 1, 80), ("spend", 1, 1), ("order", 0, 80), ("spend", 0, 2)],
    ]
)
def test_no_history_spends_more_than_the_clause_allows(
    signed: Path, tmp_path: Path, played: list[tuple[str, int, float]]
) -> None:
    shutil.copy(signed, tmp_path / "node.db")
    shop = Shop(tmp_path / "node.db", parsed=SHORT)
    history = History(shop)
    for what, number, figure in played:
        history.play(what, number, figure)
    assert history.worst() <= BUDGET
    shop.database.close()
    for old in tmp_path.iterdir():
        old.unlink()


def test_the_histories_do_spend_and_the_budget_does_bind(signed: Path, tmp_path: Path) -> None:
    shutil.copy(signed, tmp_path / "node.db")
    history = History(Shop(tmp_path / "node.db", parsed=SHORT))
    for number in range(3):
        history.play("order", number, 20)
        history.play("spend", number, 1)
        history.play("settle", number, 0)
    assert history.admitted == 3
    assert 3.0 < history.worst() <= BUDGET
    history.play("order", 3, 80)
    assert history.admitted == 3
    history.play("wait", 0, 31.0)
    history.play("order", 4, 80)
    history.play("spend", 4, 1)
    assert history.admitted == 4
    assert 3.8 < history.worst() <= BUDGET
    assert history.shop.now > NOW + PERIOD
