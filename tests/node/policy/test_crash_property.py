"""Killed at any write: the ledgers never count less than what was handed out or spent.

Not a simulation of the disk: the process dies between two statements or just before the commit,
which is where SQLite's promise ends and ours begins.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from agreement_world import BOTH, NOW
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from privacy_world import Shop, run_name
from sqlalchemy import event

from node.policy.ledgers import require_whole
from node.store.budgets import RunBudget, Use
from node.store.rounds import SpentRounds
from protocols.agreement.terms import Privacy
from protocols.errors import LocalError, Refused
from protocols.permit import Permit

RUNS = [run_name(number) for number in range(1, 5)]
WRITES = ("INSERT", "UPDATE", "DELETE")


class Killed(BaseException):
    """The process is gone; nothing in it runs any more."""


@contextmanager
def killed_at(shop: Shop, write: int) -> Iterator[None]:
    """The process dies before its ``write``-th writing statement, or at the commit after it."""
    left = [write]
    engine = shop.database._engine

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(WRITES):
            left[0] -= 1
            if left[0] == 0:
                raise Killed

    def commit(_c: Any) -> None:
        if left[0] == 1 and write:
            raise Killed

    event.listen(engine, "before_cursor_execute", count)
    event.listen(engine, "commit", commit)
    try:
        yield
    except Killed:
        engine.dispose()
        shop.reopened()
    finally:
        for name, told in (("before_cursor_execute", count), ("commit", commit)):
            if event.contains(engine, name, told):
                event.remove(engine, name, told)


class Truth:
    """What certainly left this node: permits that were handed out, rounds that were signed."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.permits: set[str] = set()
        self.left: set[str] = set()
        self.over: set[str] = set()

    def order(self, run: str) -> None:
        if isinstance(self.shop.ask(run, 4, issued=NOW, deadline=NOW + timedelta(hours=9)), Permit):
            self.permits.add(run)

    def sign(self, run: str) -> None:
        if run in self.permits - self.over:
            self.shop.send(run)
            self.left.add(run)
            self.shop.spend(run, 1 if run not in self.signed() else 2)

    def end(self, run: str) -> None:
        self.shop.settle(run)
        self.over.add(run)

    def signed(self) -> set[str]:
        spent = SpentRounds(self.shop.database, lambda: NOW)
        return {run for run in RUNS if spent.last(bytes.fromhex(run))}

    def check(self) -> None:
        """Every permit has both its lines, and what left is never given back."""
        with self.shop.database.read() as connection:
            budget = {run: RunBudget(connection).get(run) for run in RUNS}
        lines = {line.run: line for line in self.shop.lines()}
        for run in self.permits:
            one, line = budget[run], lines.get(run)
            assert one is not None and line is not None, run
            assert one.state == line.state, run
            if run in self.left:
                assert one.state is not Use.RETURNED, run
            if run not in self.over:
                assert one.state is Use.RESERVED, run
        block = BOTH.terms.block("c14", Privacy)
        assert block is not None
        assert len(self.permits - self.over) <= block.max_runs
        require_whole(self.shop.database, self.shop.path.parent)


STEPS: dict[str, Callable[[Truth, str], None]] = {
    "order": Truth.order,
    "sign": Truth.sign,
    "end": Truth.end,
}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["order", "order", "sign", "sign", "end"]),
            st.sampled_from(RUNS[:3]),
            st.integers(0, 6),
        ),
        min_size=4,
        max_size=9,
    )
)
def test_whatever_write_the_process_dies_at_the_sums_hold(
    steps: list[tuple[str, str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder) / "node.db").sign()
        journal(shop)
        truth = Truth(shop)
        try:
            for name, run, write in steps:
                with killed_at(shop, write), suppress(Refused, LocalError):
                    STEPS[name](truth, run)
                truth.check()
        finally:
            shop.database.close()


def journal(shop: Shop) -> None:
    """A file with one line, as a node has: the ledgers are held against it."""
    from agreement_world import ME

    from node.policy.journal import Journal
    from protocols.audit.entries import Kind

    Journal(shop.path.parent / "audit", ME, lambda: NOW).append(Kind.START, {})


def test_each_write_of_an_admission_one_after_the_other(tmp_path: Path) -> None:
    """Every place once, so that no seed decides whether one was looked at."""
    shop = Shop(tmp_path / "node.db").sign()
    journal(shop)
    truth, died = Truth(shop), 0
    for write in range(1, 9):
        before = len(truth.permits)
        with killed_at(shop, write):
            truth.order(RUNS[0])
        died += len(truth.permits) == before
        truth.check()
        if truth.permits:
            break
    assert died >= 3  # the run's line, the account's line, the order, the commit
    assert truth.permits == {RUNS[0]}
    shop.database.close()
