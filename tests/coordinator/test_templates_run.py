"""Under every packaged template a run can start: nothing in it forbids what it is for."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator.drafts import new_draft, template_document, template_names
from coordinator.plans import Past, Standing, plan_run, read_basis
from protocols.agreement.facts import AuditFacts, OfficeFacts
from protocols.agreement.roster import make_roster
from protocols.signing import SigningKey, identity_of
from small_coop import COOP, COORDINATOR, NOW, OPERATOR, party, signed_by_all
from small_office import SETTINGS, asked

KEYS = sorted(
    (SigningKey(bytes([number]) * 32) for number in range(40, 54)),
    key=lambda key: identity_of(key.public),
)
IDS = tuple(identity_of(key.public) for key in KEYS)
DEMAND = {"train_until": "2025-12-01", "categories": ["bread", "milk"]}
STANDING = Standing(
    OfficeFacts(
        legal_id="HRB 77",
        country="DE",
        sub_processors=frozenset(),
        certificate_days=366,
        software="9.0",
        runs_paid_in_period=0,
        open_incidents=0,
        overdue_notices=0,
        oldest_update_days=0.0,
        oldest_release_days=0.0,
        away=frozenset(),
        overdue_requests=0,
        quality_unknown=frozenset(),
    ),
    AuditFacts(witnesses=frozenset(IDS)),
    newest_seen=NOW - timedelta(minutes=1),
)
CASES = [
    (name, workload)
    for name in template_names()
    for workload in template_document(name)["workloads"]
]


@pytest.mark.parametrize(("template", "workload"), CASES)
def test_a_run_can_start(template: str, workload: str) -> None:
    office: Any = SimpleNamespace(
        public=SimpleNamespace(
            coop=COOP,
            name="Fourteen shops",
            profile="A",
            operator_key=OPERATOR.public,
            coordinator_key=COORDINATOR.public,
        )
    )
    agreement = new_draft(
        office,
        template=template,
        lasts=timedelta(days=300),
        workloads=(),
        settings={},
        max_rounds=200,
        figures={},
        previous=None,
        now=NOW,
        about={"legal_id": "HRB 77", "country": "DE"},
    )
    roster = signed_by_all(make_roster(COOP, [party(key) for key in KEYS], issued=NOW), KEYS)
    settings = SETTINGS if workload == "churn" else DEMAND
    plan = plan_run(
        office,
        read_basis(signed_by_all(agreement.document, KEYS), [roster]),
        asked=asked(workload, settings=settings),
        active=IDS,
        past=Past((), ()),
        standing=STANDING,
        now=NOW,
    )
    assert plan.denial is None, str(plan.denial)


@pytest.mark.parametrize("template", template_names())
def test_under_no_template_do_old_data_take_part(template: str) -> None:
    assert template_document(template)["figures"]["max_age_days"] == 60
