"""Machine blocks of the duties: what cannot be read is refused, naming clause and field."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from agreement_world import AGREEMENT, BOTH, TEMPLATE, agreement

from protocols.agreement.blocks import NEVER_RELEASED, PROFILES
from protocols.agreement.duties import DUTIES
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.phrases import USUAL_DUTIES
from protocols.agreement.template import amend
from protocols.agreement.terms import (
    MANDATORY,
    Costs,
    LegalBasis,
    Notice,
    Oversight,
    Roles,
)
from protocols.errors import InputError

PIN = {"id": "retail:1", "sha256": "d1" * 32, "min_mapped_percent": 80}
BASIS = {"purpose": "train:demand", "basis": "none", "scope": None, "reference": None}
CLOUD = {"name": "Cloud", "country": "DE", "service": "hosting"}
TEXT = {"locale": "en", "text": "Hello"}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("c04", {"duties": [{"duty": "breach", "by": "member"}]}, "each duty stands exactly once"),
    ("c04", {"controller": "nobody"}, "c04 roles controller"),
    ("c04", {"operator_legal_id": ""}, "c04 roles operator_legal_id"),
    ("c05", {"two_person": ["launch"]}, "approver_keys names none"),
    ("c05", {"two_person": ["sing"], "approver_keys": ["ab" * 32]}, "c05 governance two_person"),
    ("c05", {"approver_keys": ["ab" * 32, "ab" * 32]}, "stands twice"),
    (
        "c05",
        {"approver_keys": [AGREEMENT.document["clauses"][4]["machine"]["operator_key"]]},
        "own key",
    ),
    ("c05", {"quorum_terminate": {"numerator": 3, "denominator": 2}}, "more than all members"),
    ("c05", {"notice_days": -1}, "c05 governance notice_days"),
    ("c06", {"sign_agreement": []}, "c06 data_roles sign_agreement: .*empty"),
    ("c09", {"min_health": 101}, "c09 quality min_health"),
    ("c09", {"max_age_days": 0}, "c09 quality max_age_days"),
    ("c09", {"taxonomy": PIN | {"sha256": "d1"}}, "c09 quality taxonomy"),
    ("c09", {"taxonomy": PIN | {"id": "Retail 1"}}, "c09 quality taxonomy"),
    ("c09", {"taxonomy": PIN | {"min_mapped_percent": 101}}, "c09 quality taxonomy"),
    ("c09", {"taxonomy": "retail:1"}, "c09 quality taxonomy"),
    ("c10", {"purposes": []}, "c10 legal_basis purposes: .*empty"),
    ("c10", {"purposes": [BASIS, BASIS]}, "a purpose stands twice"),
    ("c10", {"purposes": [BASIS | {"basis": "consent"}]}, "name the scope"),
    ("c10", {"purposes": [BASIS | {"basis": "legitimate-interest"}]}, "name the assessment"),
    ("c10", {"purposes": [BASIS | {"basis": "because"}]}, "c10 legal_basis"),
    ("c11", {"purposes": ["train:demand"]}, "texts holds none"),
    ("c11", {"texts": [TEXT, TEXT]}, "same locale"),
    ("c11", {"texts": [TEXT | {"locale": "English"}]}, "c11 notice"),
    ("c12", {"answer_days": 32}, "c12 rights answer_days"),
    ("c18", {"recipients": "friends"}, "c18 benefit recipients"),
    ("c18", {"min_rounds_percent": 101}, "c18 benefit min_rounds_percent"),
    ("c19", {"run_cost_cents": -1}, "c19 costs run_cost_cents"),
    ("c19", {"run_cost_cents": 1.5}, "c19 costs run_cost_cents"),
    ("c19", {"currency": "euro"}, "c19 costs currency"),
    ("c20", {"uses": []}, "c20 ip uses: .*empty"),
    ("c20", {"licence": "Free for all"}, "c20 ip licence"),
    ("c21", {"no_inversion": False}, "c21 confidentiality no_inversion"),
    ("c21", {"max_uses_per_day": 0}, "c21 confidentiality max_uses_per_day"),
    ("c22", {"onward": True}, "c22 sharing onward"),
    ("c22", {"countries": []}, "c22 sharing countries: .*empty"),
    ("c22", {"countries": ["Germany"]}, "c22 sharing countries"),
    ("c22", {"sub_processors": [CLOUD, CLOUD]}, "a sub-processor stands twice"),
    ("c23", {"min_software": "new one"}, "c23 security min_software"),
    ("c23", {"measures": []}, "c23 security measures: .*empty"),
    ("c24", {"max_checkpoint_age_hours": 0}, "c24 audit max_checkpoint_age_hours"),
    ("c24", {"witnesses": -1}, "c24 audit witnesses"),
    ("c25", {"notify_hours": 73}, "c25 incidents notify_hours"),
    ("c25", {"freeze": "yes"}, "c25 incidents freeze"),
    ("c26", {"human_decision": False}, "c26 oversight human_decision"),
    ("c27", {"blocked_fields": []}, "c27 competition blocked_fields: .*empty"),
    ("c27", {"min_age_days": -1}, "c27 competition min_age_days"),
    ("c28", {"models_days": 0}, "c28 retention models_days"),
    ("c29", {"suspend_at_once": False}, "c29 membership suspend_at_once"),
    ("c29", {"past_models": "forget"}, "c29 membership past_models"),
    ("c30", {"review_by": "2027-03-02T00:00:00Z"}, "the review lies outside the term"),
    ("c30", {"insolvency": "sell"}, "c30 term insolvency"),
]


@pytest.mark.parametrize(("clause", "change", "words"), BAD)
def test_a_duty_that_cannot_be_read_is_refused(
    clause: str, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        amend(AGREEMENT, clause, change)
    assert clause in str(caught.value)


def test_competition_profiles_are_those_of_the_design() -> None:
    figures = {
        name: (
            one.min_contributors,
            one.max_share_percent,
            one.max_weight_percent,
            one.min_age_days,
        )
        for name, one in PROFILES.items()
    }
    assert figures == {"A": (5, 25, 25, 90), "B": (5, 25, 25, 90), "C": (10, 25, 25, 365)}
    fields = {"price", "margin", "cost", "discount", "capacity", "wages", "supplier_terms"}
    fields |= {"forecasts", "named_customers"}
    assert fields < set(NEVER_RELEASED)
    assert all(one.blocked_fields == NEVER_RELEASED for one in PROFILES.values())


def test_the_template_says_all_thirty_clauses() -> None:
    assert tuple(one.id for one in AGREEMENT.agreement.clauses) == MANDATORY
    assert len(MANDATORY) == 30
    assert tuple(duty for duty, _ in USUAL_DUTIES) == DUTIES
    texts = " ".join(one.plain_text for one in AGREEMENT.agreement.clauses)
    assert "$" not in texts
    assert "None" not in texts


def blocks(parsed: ParsedAgreement) -> tuple[LegalBasis, Notice]:
    basis, notice = parsed.terms.block("c10", LegalBasis), parsed.terms.block("c11", Notice)
    assert basis is not None
    assert notice is not None
    return basis, notice


def test_only_workloads_that_learn_from_customers_need_consent_and_a_notice() -> None:
    basis, notice = blocks(BOTH)
    churn, demand = basis.of("train:churn"), basis.of("train:demand")
    assert churn is not None
    assert demand is not None
    assert (churn.basis, churn.scope, demand.basis) == ("consent", "train:churn", "none")
    assert basis.of("other") is None
    assert notice.purposes == ("train:churn",)
    text = TEMPLATE["figures"]["notice_text"]
    assert notice.texts[0].digest == hashlib.sha256(text.encode()).hexdigest()
    assert blocks(AGREEMENT)[1].texts == ()


SAID = [
    ({"recipients": "contributors"}, "c18", "at least 50 percent of the sums"),
    ({"past_models": "retrain", "retrain_days": 30}, "c29", "for 30 more days"),
    ({"cost_method": "none"}, "c19", "Nobody pays"),
    ({"run_cost_cents": 1234}, "c19", "A run costs 12.34 EUR"),
    ({"controller": "each"}, "c04", "each member for itself"),
    ({"sub_processors": [CLOUD]}, "c22", "Cloud (DE, hosting)"),
    ({"freeze": False}, "c25", "Runs go on"),
    ({"slices": ["age"]}, "c26", "equally good for: age"),
    ({"insolvency": "hand-over"}, "c30", "another operator"),
    ({"approver_keys": ["ab" * 32], "two_person": ["revoke"]}, "c05", "sign: for revoke"),
]


@pytest.mark.parametrize(("figures", "clause", "words"), SAID)
def test_text_follows_the_figure(figures: dict[str, Any], clause: str, words: str) -> None:
    parsed = agreement(figures)
    said = next(one.plain_text for one in parsed.agreement.clauses if one.id == clause)
    assert words in said


def test_blocks_are_found_by_type() -> None:
    assert AGREEMENT.terms.block("c04", Roles) is not None
    assert AGREEMENT.terms.block("c04", Costs) is None
    oversight = AGREEMENT.terms.block("c26", Oversight)
    assert oversight is not None
    assert oversight.slices == ()
