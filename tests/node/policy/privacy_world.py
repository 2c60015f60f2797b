"""One member's gate over a real store, with a private workload whose price is its rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agreement_world import (
    BOTH,
    CHURN_DIGEST,
    COOP,
    DIGEST,
    ME,
    NOW,
    OPERATOR_KEY,
    ROSTER,
    churn_order,
    signed_by_all,
)

from known_house import healthy, in_order
from node.policy.agreements import Agreements
from node.policy.approvals import ApprovalDesk
from node.policy.budget import settle
from node.policy.gate import Gate
from node.policy.notices import NoticeDesk
from node.policy.privacy import PrivacyAccount
from node.store.database import Database
from node.store.rounds import SpentRounds
from node.store.spending import Spending
from protocols.agreement.house import HouseRules
from protocols.agreement.order import OPERATOR, ParsedOrder
from protocols.agreement.parse import ParsedAgreement
from protocols.canonical import json_bytes
from protocols.permit import Permit
from protocols.privacy.plan import Phase, Plan, make_plan
from protocols.signing import jws_sign

HISTORY = healthy(weeks=52, rows=10_000)
BUDGET = 4.0
DELTA = 1e-5
ONE_DAY = timedelta(days=1)


def plan_with(steps: int, delta: float = DELTA) -> Plan:
    """10 steps cost 1.20 of epsilon, 20 steps 1.76, 50 steps 2.94, 80 steps 3.85."""
    phase = Phase("train", 10.0, 1.0, steps, 100_000.0, 10)
    return make_plan(unit="customer", delta=delta, least_survivors=6, colluders=2, phases=(phase,))


def by_rounds(order: ParsedOrder, terms: object, roster: object) -> Plan | None:
    """Churn costs its rounds; demand promises nothing."""
    return plan_with(order.order.rounds) if order.order.workload.id == "churn" else None


@dataclass
class Shop:
    """One member's node without its network and rows."""

    path: Path
    now: datetime = NOW
    restored_at: datetime | None = None
    rules: HouseRules = field(default_factory=HouseRules)
    broken: bool = False
    parsed: ParsedAgreement = BOTH
    entries: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = Database.open(self.path, create=True)

    def reopened(self) -> None:
        """What a new process of the node finds."""
        self.database.close()
        self.database = Database.open(self.path)

    def journal(self, kind: str, facts: Mapping[str, object]) -> None:
        if self.broken:
            raise OSError("the process died here")
        self.entries.append(kind)

    def sign(self) -> Shop:
        desk = Agreements(self.database, COOP, ME, self.journal, lambda: self.now)
        desk.receive("agreement", json_bytes(self.parsed.document))
        desk.receive("roster", json_bytes(ROSTER.document))
        desk.sign(self.parsed.id, ROSTER.id)
        desk.receive("roster-signed", json_bytes(signed_by_all(ROSTER.document)))
        desk.receive("agreement-signed", json_bytes(signed_by_all(self.parsed.document)))
        approvals = ApprovalDesk(self.database, self.journal, lambda: self.now)
        approvals.approve_workload(CHURN_DIGEST)
        approvals.approve_workload(DIGEST)
        notices = NoticeDesk(self.database, self.parsed.terms, self.journal, lambda: self.now)
        for one in notices.texts():
            notices.adopt(one.sha256)
        return self

    @property
    def gate(self) -> Gate:
        return Gate(
            self.database,
            public=ME.public,
            installed=frozenset({DIGEST, CHURN_DIGEST}),
            journal=self.journal,
            clock=lambda: self.now,
            house=self.rules,
            restored_at=self.restored_at,
            price=by_rounds,
            around=in_order(lambda: self.now),
        )

    def ask(self, run: str, rounds: int = 10, **changes: Any) -> Any:
        """The gate's answer to an order of the churn workload."""
        wanted = {"run": run, "rounds": rounds, "agreement": self.parsed.id, **changes}
        parsed = churn_order(**wanted)
        return self.gate.admit(jws_sign(parsed.document, OPERATOR, OPERATOR_KEY), HISTORY)

    def admits(self, run: str, rounds: int = 10, **changes: Any) -> bool:
        return isinstance(self.ask(run, rounds, **changes), Permit)

    def spend(self, run: str, round_number: int = 1) -> None:
        SpentRounds(self.database, lambda: self.now).mark_spent(bytes.fromhex(run), round_number)

    def send(self, run: str) -> None:
        """What the node does before a masked vector goes out."""
        SpentRounds(self.database, lambda: self.now).mark_sent(bytes.fromhex(run))

    def settle(self, run: str) -> None:
        """What the mailroom does at a run's end."""
        spent = SpentRounds(self.database, lambda: self.now).last(bytes.fromhex(run)) is not None
        with self.database.write() as connection:
            settle(connection, run, self.now, spent_rounds=spent)

    def lines(self) -> tuple[Spending, ...]:
        with self.database.read() as connection:
            return PrivacyAccount(connection, self.restored_at).lines()


def run_name(number: int) -> str:
    return f"{number:032x}"
