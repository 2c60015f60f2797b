"""A small cooperative as values: keys, roster, agreement, one order, and the facts of a yes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import small_coop
from protocols.agreement.duties import NoticeText
from protocols.agreement.facts import (
    AuditFacts,
    Consent,
    Evidence,
    Facts,
    Figures,
    LedgerFacts,
    MemberFacts,
    OfficeFacts,
    PrivacyFacts,
    ReleaseFacts,
    Request,
    RosterFacts,
)
from protocols.agreement.order import OPERATOR, ParsedOrder, make_order, stage_timeouts
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.roster import Member, ParsedRoster, make_roster, read_roster
from protocols.agreement.template import make_agreement
from protocols.permit import Gate
from protocols.signing import SigningKey, identity_of, jws_merge, jws_sign

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
STARTS = datetime(2026, 3, 1, tzinfo=UTC)
ENDS = datetime(2027, 3, 1, tzinfo=UTC)
COOP = "c0" * 32
DIGEST = "d1" * 32
RUN = "ab" * 16
OPERATOR_KEY = SigningKey(b"\x81" * 32)
COORDINATOR_KEY = SigningKey(b"\x82" * 32)
STRANGER = SigningKey(b"\x99" * 32)
CONFIG = {"lr": 0.01, "local_steps": 10, "w_max": 1, "server": {"name": "fedavg", "lr": 1.0}}
WORKLOAD = {
    "id": "demand",
    "version": "1",
    "digest": DIGEST,
    "purpose": "train:demand",
    "columns": ["business_date", "category_code", "qty"],
    "max_rounds": 40,
    "config": CONFIG,
    "free": ["categories", "train_until"],
    "privacy": "none",
}
CHURN_DIGEST = "d2" * 32
CHURN = {
    "id": "churn",
    "version": "1",
    "digest": CHURN_DIGEST,
    "purpose": "train:churn",
    "columns": ["business_date", "customer_key", "net"],
    "max_rounds": 100,
    "config": {"noise_multiplier": 40.0, "w_max": 1},
    "free": ["train_until"],
    "privacy": "customer",
}
TEMPLATE: dict[str, Any] = json.loads(
    (files("protocols.agreement") / "templates" / "grocers.json").read_bytes()
)


def keys(n: int = 8) -> list[SigningKey]:
    """n identity keys, in order of their member ids."""
    made = [SigningKey(bytes([i + 1]) * 32) for i in range(n)]
    return sorted(made, key=lambda key: identity_of(key.public))


KEYS = keys()
ME = KEYS[0]


def person(key: SigningKey, **changes: Any) -> Member:
    name = identity_of(key.public)
    values: dict[str, Any] = {
        "id": name,
        "name": f"Shop {name[:4]}",
        "legal_id": f"HRB {name[:8]}",
        "trade": "grocer",
        "region": f"Town {name[:4]}",
        "public_key": key.public.hex(),
        "encryption_key": small_coop.sealed_to(key).hex(),
        "replaces": None,
        "not_after": datetime(2028, 1, 1, tzinfo=UTC),
        "roles": ("member",),
    }
    return Member.model_validate(values | changes)


def agreement(figures: dict[str, Any] | None = None, **changes: Any) -> ParsedAgreement:
    values: dict[str, Any] = {
        "name": "Harvest",
        "coop": COOP,
        "operator_key": OPERATOR_KEY.public.hex(),
        "coordinator_key": COORDINATOR_KEY.public.hex(),
        "workloads": [WORKLOAD],
        "starts": STARTS,
        "ends": ENDS,
    }
    complete = {"operator_legal_id": "HRB 1", "amendment_notice_days": 14} | (figures or {})
    return make_agreement(TEMPLATE, figures=complete, **(values | changes))


def roster(people: list[SigningKey] | None = None) -> ParsedRoster:
    members = [person(key) for key in (people or KEYS)]
    return read_roster(make_roster(COOP, members, issued=NOW), "roster")


AGREEMENT = agreement()
ROSTER = roster()
IDS = [identity_of(key.public) for key in KEYS]


def order(**changes: Any) -> ParsedOrder:
    values: dict[str, Any] = {
        "coop": COOP,
        "run": RUN,
        "agreement": AGREEMENT.id,
        "roster": ROSTER.id,
        "roster_epoch": 1,
        "workload": WORKLOAD,
        "purpose": "train:demand",
        "columns": ["business_date", "category_code", "qty"],
        "cohort": IDS,
        "colluders": 2,
        "min_cohort": 5,
        "max_dropout_percent": 20,
        "rounds": 40,
        "config": CONFIG | {"categories": ["bakery"], "train_until": "2026-01-01"},
        "stage_timeouts_s": stage_timeouts(30, 600, 60),
        "rejoin_wait_s": 5,
        "issued": NOW - timedelta(minutes=1),
        "deadline": NOW + timedelta(hours=2),
    }
    return make_order(**(values | changes))


BOTH = agreement(workloads=[CHURN, WORKLOAD])
"""Demand without a promise beside churn with one; epsilon 4 at delta 1e-5 in 365 days."""


def churn_order(**changes: Any) -> ParsedOrder:
    """An order of the churn workload under ``BOTH``."""
    values: dict[str, Any] = {
        "agreement": BOTH.id,
        "workload": CHURN,
        "purpose": "train:churn",
        "columns": ["business_date", "customer_key", "net"],
        "config": {"noise_multiplier": 40.0, "w_max": 1, "train_until": "2026-01-01"},
    }
    return order(**(values | changes))


SPENDING = PrivacyFacts("customer", 1e-5, 1.0, 2.5, 3.0, datetime(2026, 9, 1, tzinfo=UTC))


def signed_by_all(document: Any, people: list[SigningKey] | None = None) -> dict[str, Any]:
    parts = [jws_sign(document, identity_of(key.public), key) for key in (people or KEYS)]
    return jws_merge(parts[0], *parts[1:])


def signed_order(**changes: Any) -> dict[str, Any]:
    return jws_sign(order(**changes).document, OPERATOR, OPERATOR_KEY)


GOOD_FIGURES = Figures(contributors=8, baseline_error=0.70, blend_error=0.65, measure="WAPE")
EVIDENCE = Evidence(signed_by_me=True, signers=frozenset(IDS), operator=True, coordinator=True)


OFFICE = OfficeFacts(
    legal_id="HRB 1",
    country="DE",
    sub_processors=frozenset(),
    certificate_days=90,
    software="0.1.0",
    runs_paid_in_period=0,
    open_incidents=0,
    overdue_notices=0,
    oldest_update_days=0.0,
    oldest_release_days=0.0,
    away=frozenset(),
    overdue_requests=0,
    quality_unknown=frozenset(),
)
NOTICE = NoticeText(locale="en", text=TEMPLATE["figures"]["notice_text"]).digest
RELEASE = ReleaseFacts(
    licence="members-only",
    purposes=frozenset({"train:demand"}),
    created=NOW,
    expires=ENDS,  # the agreement ends before the 365 days of clause 20
    recipients=frozenset(IDS),
    contributors=frozenset(IDS),
    uses_today=0,
)


def member(**changes: Any) -> MemberFacts:
    """This node with everything in order; for churn too."""
    values: dict[str, Any] = {
        "id": IDS[0],
        "weeks_history": 52,
        "rows": 10_000,
        "installed": frozenset({DIGEST, CHURN_DIGEST}),
        "health": 90.0,
        "data_age_days": 1,
        "basis": "none",
        "notices": frozenset({NOTICE}),
        "overdue_requests": 0,
        "certificate_days": 90,
        "software": "0.1.0",
        "oldest_result_days": 0,
    }
    return MemberFacts(**(values | changes))


def facts(gate: Gate = Gate.ADMIT, **changes: Any) -> Facts:
    """What is known where all is in order; only the launch gate hears of a person at the office."""
    values: dict[str, Any] = {
        "now": NOW,
        "evidence": EVIDENCE,
        "roster": RosterFacts(ROSTER.id, 1, frozenset(IDS)),
        "mine": member(),
        "ledger": LedgerFacts(0),
        "privacy": PrivacyFacts("none"),
        "consent": Consent.ALWAYS,
        "approved_role": "operator" if gate is Gate.LAUNCH else "owner",
        "figures": GOOD_FIGURES,
        "audit": AuditFacts(verified_at=NOW - timedelta(hours=1), witnesses=frozenset(IDS)),
        "office": OFFICE,
        "release": RELEASE,
        "newest_seen": NOW - timedelta(minutes=1),
    }
    return Facts(**(values | changes))


def request(gate: Gate = Gate.ADMIT, **changes: Any) -> Request:
    return Request(
        gate, order(**changes).order, purpose="train:demand", outputs=("metrics", "model")
    )
