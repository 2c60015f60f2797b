"""No sequence of orders, crashes, ends and days spends more than clauses 14 and 19 allow.

The two ledgers are kept as SPEC.md section 6.5 says: a run counts from its reservation, whatever
becomes of it, unless it ended before any round was spent. ``tests/node/policy`` plays the same
with the real ledger of a node.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agreement_world import (
    CHURN,
    DIGEST,
    ENDS,
    NOW,
    OFFICE,
    SPENDING,
    WORKLOAD,
    agreement,
    churn_order,
    facts,
    member,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protocols.agreement.decide import decide
from protocols.agreement.facts import LedgerFacts, Request
from protocols.agreement.template import amend
from protocols.permit import Gate, Permit

MOST_RUNS, RUN_DAYS, EPSILON, BUDGET_DAYS, CAP, COST_DAYS = 4, 10, 4.0, 30, 1000, 20
LIFE = timedelta(hours=2)
PARSED = amend(
    agreement(
        {"max_runs": MOST_RUNS, "period_days": RUN_DAYS, "budget_days": BUDGET_DAYS},
        workloads=[CHURN, WORKLOAD],
    ),
    "c19",
    {"run_cost_cents": 250, "period_cap_cents": CAP, "period_days": COST_DAYS},
)
assert CHURN["digest"] != DIGEST


@dataclass
class Line:
    """One run: when it was let in, until when it can spend, what it costs and what became of it."""

    at: datetime
    epsilon: float
    ended: datetime | None = None
    spent: bool = False
    free: bool = False  # ended before any round: it gives back what it reserved

    def counts(self, now: datetime, days: int) -> bool:
        """Whether it stands in the period that ends now."""
        last = self.ended if self.ended is not None else self.at + LIFE
        return not self.free and now - max(last, self.at) < timedelta(days=days)


class Spending(RuleBasedStateMachine):
    """Whatever is asked in whatever order; what was let in is remembered apart from the gates."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.lines: list[Line] = []
        self.paid: list[datetime] = []

    def _open(self) -> list[Line]:
        return [one for one in self.lines if one.ended is None]

    @rule(epsilon=st.sampled_from([0.5, 1.5, 2.0, 3.9, 4.1]))
    def ask(self, epsilon: float) -> None:
        if self.now + LIFE >= ENDS:
            return
        one = churn_order(agreement=PARSED.id, issued=self.now, deadline=self.now + LIFE).order
        before = sum(line.epsilon for line in self.lines if line.counts(self.now, BUDGET_DAYS))
        costs = replace(
            SPENDING, epsilon_run=epsilon, epsilon_before=before, epsilon_after=before + epsilon
        )
        period = sum(line.counts(self.now, RUN_DAYS) for line in self.lines)
        since = self.now - timedelta(days=COST_DAYS)
        office = replace(OFFICE, runs_paid_in_period=sum(at > since for at in self.paid))
        for gate in (Gate.LAUNCH, Gate.ADMIT):
            told = replace(
                facts(gate, mine=member(basis="consent"), privacy=costs, office=office),
                now=self.now,
                newest_seen=self.now,
                ledger=LedgerFacts(period),
                audit=replace(facts().audit, verified_at=self.now),  # type: ignore[type-var]
            )
            if not isinstance(decide(PARSED.terms, Request(gate, one), told), Permit):
                return
            if gate is Gate.LAUNCH:
                self.paid.append(self.now)
        self.lines.append(Line(self.now, epsilon))

    @precondition(lambda self: self._open())
    @rule(data=st.data(), spends=st.booleans(), crashes=st.booleans())
    def go_on(self, data: st.DataObject, spends: bool, crashes: bool) -> None:
        line = data.draw(st.sampled_from(self._open()))
        line.spent = line.spent or spends
        if crashes:
            return  # nobody hears of its end: it counts until its deadline and on
        line.ended = self.now
        line.free = not line.spent

    @rule(days=st.sampled_from([0.05, 1.0, 9.95, 10.1, 19.0, 30.1]))
    def wait(self, days: float) -> None:
        self.now += timedelta(days=days)

    @invariant()
    def no_window_holds_more_than_the_clauses_allow(self) -> None:
        really = [line for line in self.lines if line.spent or line.ended is None]
        for last in really:
            near = [one for one in really if one.at <= last.at]
            runs = [one for one in near if last.at - one.at < timedelta(days=RUN_DAYS)]
            budget = [one for one in near if last.at - one.at < timedelta(days=BUDGET_DAYS)]
            assert len(runs) <= MOST_RUNS
            assert sum(one.epsilon for one in budget) <= EPSILON
        for end in self.paid:
            since = end - timedelta(days=COST_DAYS)
            assert 250 * sum(since < at <= end for at in self.paid) <= CAP


Spending.TestCase.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
TestSpending = Spending.TestCase
