"""Each rule has a document that it finds, and a neighbour that it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from agreement_drafts import (
    FILES,
    FRANCHISE,
    GROCERS,
    NOW,
    SALONS,
    Change,
    changed,
    clause,
    figures,
    made,
)

from protocols.agreement.check import RULES, Level, check
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.terms import NEVER_RELEASED, Terms

TEXT_RULES = {"text-figure"}
"""A figure that is changed alone no longer fits its text; only the rule about that looks at it."""


def rules(parsed: ParsedAgreement, now: datetime = NOW) -> set[str]:
    return {one.rule for one in check(parsed.agreement, parsed.terms, now)} - TEXT_RULES


def recipe(number: int, **values: Any) -> Change:
    return lambda whole: clause(whole, "c13")["machine"]["workloads"][number].update(values)


def setting(number: int, **values: Any) -> Change:
    return lambda whole: clause(whole, "c13")["machine"]["workloads"][number]["config"].update(
        values
    )


def budget(**values: Any) -> Change:
    return lambda whole: clause(whole, "c14")["machine"]["budgets"][0].update(values)


def basis(number: int, **values: Any) -> Change:
    return lambda whole: clause(whole, "c10")["machine"]["purposes"][number].update(values)


def says(name: str, more: str) -> Change:
    def change(whole: dict[str, Any]) -> None:
        clause(whole, name)["plain_text"] += " " + more

    return change


def purposes(*allowed: str) -> Change:
    return figures("c07", allowed=list(allowed))


CHURN, DEMAND = "train:churn", "train:demand"
BOTH = [CHURN, DEMAND]
QUORUM = {"numerator": 3, "denominator": 4}
FORBIDDEN = ["credit_scoring", "employment", "essential_services", "insurance_pricing"]
CHURN_COLUMNS = ["business_date", "category_code", "customer_key", "net", "qty"]


CATEGORIES = {"id": "retail:1", "sha256": "c9" * 32, "min_mapped_percent": 80}


def table(*columns: str) -> Change:
    return figures("c08", tables=[{"table": "sales_line", "columns": list(columns)}])


def entry(purpose: str, **values: Any) -> dict[str, Any]:
    return {"purpose": purpose, "basis": "none", "scope": None, "reference": None} | values


UNREAD = (
    table("business_date", "customer_key", "net", "qty"),
    recipe(0, columns=["business_date", "customer_key", "net", "qty"]),
    recipe(1, columns=["business_date", "qty"]),
)
CONSENT = entry(CHURN, basis="consent", scope=CHURN)
NOTHING = entry(DEMAND)
HELPER = {"name": "Rack", "country": "DE", "service": "houses the server"}


def same_key(whole: dict[str, Any]) -> None:
    block = clause(whole, "c05")["machine"]
    block["coordinator_key"] = block["operator_key"]


def free_noise(whole: dict[str, Any]) -> None:
    clause(whole, "c13")["machine"]["workloads"][0]["config"].pop("noise_multiplier")


FIGURES_WORK = figures("c15", release=["metrics", "model"])

CASES: list[tuple[str, tuple[Change, ...], tuple[Change, ...]]] = [
    # rule, what breaks it, the nearest that does not; both over the franchise
    (
        "operator-unnamed",
        (figures("c04", operator_legal_id="To be filled in"),),
        (figures("c04", operator_legal_id="FN 1"),),
    ),
    ("same-key", (same_key,), (figures("c05", coordinator_key="ab" * 32),)),
    (
        "two-halves",
        (figures("c05", quorum_agreement={"members": 3}),),
        (figures("c05", quorum_agreement={"members": 4}),),
    ),
    (
        "two-halves",
        (figures("c05", quorum_roster={"numerator": 1, "denominator": 2}),),
        (figures("c05", quorum_roster={"numerator": 4, "denominator": 7}),),
    ),
    (
        "quorum-too-high",
        (figures("c05", quorum_roster={"members": 7}),),
        (figures("c05", quorum_roster={"members": 6}),),
    ),
    (
        "ended-by-one",
        (figures("c05", quorum_terminate={"members": 1}),),
        (figures("c05", quorum_terminate={"members": 4}),),
    ),
    (
        "ended-by-few",
        (figures("c05", quorum_terminate={"members": 3}),),
        (figures("c05", quorum_terminate={"members": 4}),),
    ),
    (
        "change-without-notice",
        (figures("c05", notice_days=13),),
        (figures("c05", notice_days=14),),
    ),
    ("approvers-idle", (figures("c05", two_person=[]),), (figures("c05", two_person=["release"]),)),
    (
        "start-below-floor",
        (
            figures("c01", min_members=5),
            figures("c14", min_cohort=6),
            figures("c15", min_contributors=6),
        ),
        (
            figures("c01", min_members=6),
            figures("c14", min_cohort=6),
            figures("c15", min_contributors=6),
        ),
    ),
    (
        "viewer-exports",
        (figures("c06", export_results=["owner", "viewer"]),),
        (figures("c06", export_results=["owner", "custodian"]),),
    ),
    (
        "custodian-signs",
        (figures("c06", sign_agreement=["owner", "custodian"]),),
        (figures("c06", sign_agreement=["owner", "steward"]),),
    ),
    (
        "basis-missing",
        (figures("c10", purposes=[CONSENT]),),
        (figures("c10", purposes=[CONSENT, NOTHING]),),
    ),
    (
        "basis-unused",
        (figures("c10", purposes=[CONSENT, NOTHING, entry("benchmark")]),),
        (figures("c10", purposes=[NOTHING, CONSENT]),),
    ),
    (
        "basis-none",
        (basis(0, basis="none", scope=None),),
        (basis(0, basis="legitimate-interest", scope=None, reference="assessment of 2026"),),
    ),
    (
        "scope-bundled",
        (
            basis(1, basis="consent", scope=CHURN),
            figures("c11", purposes=BOTH),
        ),
        (
            basis(1, basis="consent", scope=DEMAND),
            figures("c11", purposes=BOTH),
        ),
    ),
    ("notice-missing", (figures("c11", purposes=[]),), (figures("c11", purposes=[CHURN]),)),
    (
        "notice-unused",
        (figures("c11", purposes=[CHURN, "benchmark"]),),
        (figures("c11", purposes=BOTH),),
    ),
    (
        "answer-late",
        (figures("c12", answer_days=31, extend_days=60),),
        (figures("c12", answer_days=30, extend_days=60),),
    ),
    (
        "automatic",
        (figures("c16", mode="automatic", hours_utc={"from_hour": 0, "to_hour": 24}),),
        (figures("c16", hours_utc={"from_hour": 0, "to_hour": 24}),),
    ),
    (
        "no-way-out",
        (figures("c29", leave_notice_days=366),),
        (figures("c29", leave_notice_days=90),),
    ),
    (
        "long-way-out",
        (figures("c29", leave_notice_days=91),),
        (figures("c29", leave_notice_days=90),),
    ),
    (
        "retrain-at-once",
        (figures("c29", past_models="retrain"),),
        (figures("c29", past_models="retrain", retrain_days=1),),
    ),
    (
        "retrain-without-effect",
        (figures("c29", past_models="keep", retrain_days=30),),
        (figures("c29", past_models="retrain", retrain_days=30),),
    ),
    (
        "retrain-beyond-use",
        (figures("c29", past_models="retrain", retrain_days=366),),
        (figures("c29", past_models="retrain", retrain_days=365),),
    ),
    (
        "review-late",
        (
            figures("c30", ends="2029-01-01T00:00:00Z", review_by="2028-01-03T00:00:00Z"),
            figures("c28", logs_days=2000),
        ),
        (
            figures("c30", ends="2029-01-01T00:00:00Z", review_by="2028-01-02T00:00:00Z"),
            figures("c28", logs_days=2000),
        ),
    ),
    (
        "long-term",
        (figures("c30", ends="2032-01-07T00:00:00Z"),),
        (figures("c30", ends="2032-01-01T00:00:00Z"),),
    ),
    (
        "purpose-both",
        (figures("c07", forbidden=[*FORBIDDEN, CHURN]),),
        (figures("c07", forbidden=FORBIDDEN),),
    ),
    (
        "purpose-not-forbidden",
        (figures("c07", forbidden=FORBIDDEN[1:]),),
        (figures("c07", forbidden=FORBIDDEN),),
    ),
    (
        "names-a-person",
        (table(*CHURN_COLUMNS, "email"), recipe(0, columns=[*CHURN_COLUMNS[:4], "email"])),
        (table(*CHURN_COLUMNS, "store"), recipe(0, columns=[*CHURN_COLUMNS[:4], "store"])),
    ),
    ("column-unread", (table(*CHURN_COLUMNS, "store"),), (table(*CHURN_COLUMNS),)),
    ("data-unchecked", (figures("c09", min_health=0),), (figures("c09", min_health=1),)),
    ("data-old", (figures("c09", max_age_days=801),), (figures("c09", max_age_days=800),)),
    (
        "categories-few",
        (figures("c09", taxonomy=CATEGORIES | {"min_mapped_percent": 49}),),
        (figures("c09", taxonomy=CATEGORIES | {"min_mapped_percent": 50}),),
    ),
    (
        "categories-unread",
        (figures("c09", taxonomy=CATEGORIES), *UNREAD),
        UNREAD,
    ),
    (
        "workload-columns",
        (recipe(1, columns=["business_date", "category_code", "qty", "store"]),),
        (recipe(1, columns=["category_code", "qty"]),),
    ),
    (
        "workload-both",
        (setting(1, train_until="2027-01-01"),),
        (setting(1, train_from="2027-01-01"),),
    ),
    ("workload-weight", (setting(1, w_max=2),), (setting(1, w_max=1),)),
    (
        "workload-free-noise",
        (recipe(0, free=["noise_multiplier", "train_until"]), free_noise),
        (recipe(0, free=["learning", "train_until"]),),
    ),
    (
        "cohort-below-floor",
        (figures("c14", min_cohort=4),),
        (figures("c14", min_cohort=5),),
    ),
    (
        "cohort-changes",
        (figures("c14", survivor_changes=3),),
        (figures("c14", survivor_changes=2),),
    ),
    (
        "profile-contributors",
        (figures("c27", min_contributors=4),),
        (figures("c27", min_contributors=5),),
    ),
    (
        "profile-weight",
        (figures("c27", max_weight_percent=26),),
        (figures("c27", max_weight_percent=25),),
    ),
    (
        "profile-share",
        (figures("c27", max_share_percent=26),),
        (figures("c27", max_share_percent=25),),
    ),
    ("profile-age", (figures("c27", min_age_days=89),), (figures("c27", min_age_days=90),)),
    (
        "profile-fields",
        (figures("c27", blocked_fields=list(NEVER_RELEASED[1:])),),
        (figures("c27", blocked_fields=[*NEVER_RELEASED, "rent"]),),
    ),
    ("budget-missing", (figures("c14", budgets=[]),), (budget(epsilon=3.9),)),
    (
        "budget-weights",
        (
            setting(0, w_max=2),
            figures("c17", w_max=1),
            recipe(1, columns=["category_code", "qty", "business_date"]),
        ),
        (setting(0, w_max=1),),
    ),
    ("delta-denied", (budget(delta=9e-6),), (budget(delta=1e-5),)),
    ("epsilon-void", (budget(epsilon=8.01),), (budget(epsilon=4.0),)),
    ("epsilon-weak", (budget(epsilon=4.01),), (budget(epsilon=4.0),)),
    ("delta-void", (budget(delta=1.1e-4),), (budget(delta=1e-5),)),
    ("delta-weak", (budget(delta=1.1e-5),), (budget(delta=1e-5),)),
    ("budget-short", (budget(period_days=364),), (budget(period_days=365),)),
    (
        "output-never",
        (figures("c15", release=["metrics", "wages"]),),
        (FIGURES_WORK,),
    ),
    ("output-unknown", (figures("c15", release=["model", "figures"]),), (FIGURES_WORK,)),
    (
        "output-contributors",
        (figures("c15", min_contributors=4),),
        (figures("c15", min_contributors=5),),
    ),
    ("weight-cap", (figures("c17", w_max=2),), (figures("c17", w_max=1),)),
    ("free-rider", (figures("c17", min_rows=0),), (figures("c17", min_rows=1),)),
    (
        "nobody-contributes",
        (figures("c18", recipients="contributors", min_rounds_percent=0),),
        (figures("c18", recipients="contributors", min_rounds_percent=1),),
    ),
    (
        "cost-cap",
        (figures("c19", run_cost_cents=1001, period_cap_cents=1000),),
        (figures("c19", run_cost_cents=1000, period_cap_cents=1000),),
    ),
    (
        "cost-unpaid",
        (figures("c19", method="none", run_cost_cents=1),),
        (figures("c19", method="none", run_cost_cents=0),),
    ),
    (
        "use-not-allowed",
        (figures("c20", uses=[*BOTH, "benchmark"]),),
        (figures("c20", uses=BOTH),),
    ),
    ("use-missing", (figures("c20", uses=[CHURN]),), (figures("c20", uses=BOTH),)),
    (
        "use-beyond-retention",
        (figures("c20", use_days=731),),
        (figures("c20", use_days=730),),
    ),
    (
        "results-of-one",
        (figures("c20", foreground="cooperative"),),
        (figures("c20", foreground="members"),),
    ),
    (
        "uses-unbounded",
        (figures("c21", max_uses_per_day=10_001),),
        (figures("c21", max_uses_per_day=10_000),),
    ),
    (
        "pulls-unbounded",
        (figures("c21", max_pulls_per_day=1001),),
        (figures("c21", max_pulls_per_day=1000),),
    ),
    (
        "country-unknown",
        (figures("c22", countries=["AT", "UK"]),),
        (figures("c22", countries=["AT", "GB"]),),
    ),
    (
        "country-not-listed",
        (figures("c22", countries=["DE", "FR"]),),
        (figures("c22", countries=["AT", "FR"]),),
    ),
    (
        "helper-country",
        (figures("c22", sub_processors=[HELPER | {"country": "US"}]),),
        (figures("c22", sub_processors=[HELPER]),),
    ),
    ("helper-notice", (figures("c22", notice_days=29),), (figures("c22", notice_days=30),)),
    (
        "certificates-long",
        (figures("c23", max_certificate_days=401),),
        (figures("c23", max_certificate_days=400),),
    ),
    (
        "witnesses-unreachable",
        (figures("c24", witnesses=6),),
        (figures("c24", witnesses=5),),
    ),
    (
        "no-way-to-check",
        (figures("c24", max_checkpoint_age_hours=721),),
        (figures("c24", max_checkpoint_age_hours=168),),
    ),
    (
        "checked-rarely",
        (figures("c24", max_checkpoint_age_hours=169),),
        (figures("c24", max_checkpoint_age_hours=168),),
    ),
    ("logs-too-short", (figures("c24", keep_days=89),), (figures("c24", keep_days=365),)),
    ("logs-short", (figures("c24", keep_days=364),), (figures("c24", keep_days=365),)),
    (
        "never-spot-checked",
        (figures("c24", spot_check_percent=0),),
        (figures("c24", spot_check_percent=1),),
    ),
    ("told-late", (figures("c25", notify_hours=49),), (figures("c25", notify_hours=48),)),
    ("no-freeze", (figures("c25", freeze=False),), (figures("c25", freeze=True),)),
    ("slices", (figures("c26", slices=["region"]),), (figures("c26", slices=[]),)),
    (
        "no-reasons",
        (figures("c26", reasons_required=False),),
        (figures("c26", reasons_required=True),),
    ),
    (
        "logs-before-audit",
        (figures("c28", logs_days=1094),),
        (figures("c28", logs_days=1095),),
    ),
    (
        "logs-before-review",
        (
            figures("c24", keep_days=365),
            figures("c28", logs_days=365),
            figures("c30", ends="2028-06-01T00:00:00Z", review_by="2028-01-02T00:00:00Z"),
        ),
        (
            figures("c24", keep_days=365),
            figures("c28", logs_days=365),
            figures("c30", ends="2028-06-01T00:00:00Z", review_by="2028-01-01T00:00:00Z"),
        ),
    ),
    ("updates-long", (figures("c28", updates_hours=721),), (figures("c28", updates_hours=720),)),
    (
        "text-one-sided",
        (says("c30", "The franchisor is not liable for anything."),),
        (says("c30", "Nobody is liable for what others did."),),
    ),
    (
        "text-one-sided",
        (says("c02", "The operator may change this agreement at any time."),),
        (says("c02", "The members may change this agreement at any time."),),
    ),
    (
        "text-one-sided",
        (says("c19", "It is set at the sole discretion of the association."),),
        (says("c19", "It is set by the members."),),
    ),
    ("text-lookalike", (says("c02", "pаypal"),), (says("c02", "paypal"),)),  # a Cyrillic letter
]
TOGETHER = {"budget-weights": {"workload-weight"}}
"""What a change breaks besides, because two rules look at the same figure."""


@pytest.mark.parametrize(("rule", "broken", "neighbour"), CASES, ids=[one[0] for one in CASES])
def test_a_rule_finds_its_document_and_not_the_neighbour(
    rule: str, broken: tuple[Change, ...], neighbour: tuple[Change, ...]
) -> None:
    assert rules(changed(*broken)) == {rule} | TOGETHER.get(rule, set())
    assert rules(changed(*neighbour)) == set()


OTHERS: list[tuple[str, tuple[Change, ...], str, set[str]]] = [
    # rules that need several clauses changed, or break others by nature
    (
        "purpose-high-risk",
        (
            figures(
                "c07",
                allowed=[*BOTH, "employment"],
                forbidden=["credit_scoring", "essential_services", "insurance_pricing"],
            ),
        ),
        FRANCHISE,
        {"purpose-unserved", "basis-missing"},
    ),
    (
        "purpose-prices",
        (figures("c07", allowed=[*BOTH, "price_advice"]),),
        FRANCHISE,
        {"purpose-unserved", "basis-missing"},
    ),
    (
        "purpose-unserved",
        (
            figures("c07", allowed=[*BOTH, "benchmark"]),
            figures("c10", purposes=[CONSENT, NOTHING, entry("benchmark")]),
        ),
        FRANCHISE,
        set(),
    ),
    (
        "workload-purpose",
        (figures("c07", allowed=[CHURN]),),
        FRANCHISE,
        {"basis-unused", "use-not-allowed"},
    ),
    ("budget-idle", (recipe(0, privacy="none"),), FRANCHISE, set()),
    ("profile-contributors", (figures("c27", min_contributors=9),), GROCERS, set()),
    ("profile-age", (figures("c27", min_age_days=364),), GROCERS, set()),
    ("cohort-below-floor", (figures("c14", min_cohort=9),), GROCERS, set()),
    ("output-contributors", (figures("c15", min_contributors=9),), GROCERS, set()),
    ("epsilon-weak", (budget(epsilon=5.0),), SALONS, set()),
]


@pytest.mark.parametrize(("rule", "broken", "file", "also"), OTHERS)
def test_rules_that_meet(rule: str, broken: tuple[Change, ...], file: str, also: set[str]) -> None:
    assert rules(changed(*broken, file=file)) == {rule} | also
    assert rules(made(file)) == set()


def test_a_figure_that_the_text_does_not_say() -> None:
    parsed = changed(figures("c17", min_weeks=9))
    found = [one for one in check(parsed.agreement, parsed.terms, NOW) if one.rule == "text-figure"]
    assert [(one.clause, one.level) for one in found] == [("c17", Level.WARNING)]
    assert "says 8," in found[0].sentence
    quiet = changed(says("c17", "See clause 14 and art. 6(1); 9th street; version 1.2.3."))
    assert check(quiet.agreement, quiet.terms, NOW) == ()


def test_the_clock() -> None:
    parsed = made()
    later = {
        datetime(2027, 12, 31, tzinfo=UTC): set(),
        datetime(2028, 1, 1, tzinfo=UTC): {"ended"},
    }
    for now, expected in later.items():
        assert rules(parsed, now) == expected
    early = changed(figures("c30", review_by="2027-02-01T00:00:00Z"))
    assert rules(early, datetime(2027, 1, 31, tzinfo=UTC)) == set()
    assert rules(early, datetime(2027, 2, 1, tzinfo=UTC)) == {"review-past"}


def test_a_new_version_starts_after_its_notice() -> None:
    def next_version(whole: dict[str, Any]) -> None:
        whole.update(version=2, prev="ab" * 32)

    soon = changed(next_version, figures("c30", starts="2027-01-20T00:00:00Z"))
    assert rules(soon) == {"starts-without-notice"}
    late = changed(next_version, figures("c30", starts="2027-02-04T00:00:00Z"))
    assert rules(late) == set()


@pytest.mark.parametrize("gone", ["c05", "c14", "c27", "c30"])
def test_a_missing_clause_is_found_and_breaks_no_other_rule(gone: str) -> None:
    parsed = made()
    blocks = {name: one for name, one in parsed.terms.blocks.items() if name != gone}
    terms = Terms(parsed.terms.id, parsed.terms.coop, parsed.terms.version, blocks)
    found = [one for one in check(parsed.agreement, terms, NOW) if one.level is Level.ERROR]
    assert [(one.rule, one.clause) for one in found] == [("clause-missing", gone)]


@pytest.mark.parametrize("file", FILES)
def test_the_examples_have_no_findings(file: str) -> None:
    parsed = made(file)
    assert check(parsed.agreement, parsed.terms, NOW) == ()


def test_every_rule_is_broken_here() -> None:
    clock = {"ended", "review-past", "starts-without-notice", "clause-missing", "text-figure"}
    broken = {one[0] for one in CASES} | {one[0] for one in OTHERS} | clock
    assert broken == set(RULES)


def test_findings_point_at_figures() -> None:
    parsed = changed(
        figures("c14", min_cohort=4), figures("c22", sub_processors=[HELPER | {"country": "US"}])
    )
    found = {one.rule: one for one in check(parsed.agreement, parsed.terms, NOW)}
    assert found["cohort-below-floor"].field == "min_cohort"
    assert found["helper-country"].field == "sub_processors.0.country"
    assert str(found["helper-country"]).startswith(
        "c22 error: Rack works for the coordinator in US"
    )
