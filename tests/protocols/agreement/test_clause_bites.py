"""Each clause that software enforces says no by itself, at the gate that owns it, with figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from agreement_world import (
    AGREEMENT,
    CONFIG,
    ENDS,
    EVIDENCE,
    GOOD_FIGURES,
    IDS,
    NOW,
    OFFICE,
    RELEASE,
    WORKLOAD,
    agreement,
    facts,
    member,
    order,
    request,
)

from protocols.agreement.clauses_use import pull_refused
from protocols.agreement.decide import decide
from protocols.agreement.facts import (
    AuditFacts,
    Consent,
    Denial,
    Facts,
    LedgerFacts,
    Request,
)
from protocols.agreement.house import HouseRules
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.template import amend
from protocols.agreement.terms import MANDATORY, TEXTS, TYPE_OF
from protocols.errors import InputError
from protocols.permit import Gate, Permit

LAUNCH, ADMIT, RELEASED, USE = Gate
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BY_NODE = frozenset(
    [
        "c01",
        "c05",
        "c06",
        "c07",
        "c08",
        "c09",
        "c10",
        "c11",
        "c12",
        "c13",
        "c14",
        "c16",
        "c17",
        "c21",
        "c22",
        "c23",
        "c24",
        "c26",
        "c27",
        "c28",
        "c29",
        "c30",
    ]
)
BY_COORDINATOR = frozenset(
    [
        "c01",
        "c04",
        "c05",
        "c06",
        "c07",
        "c09",
        "c12",
        "c13",
        "c14",
        "c15",
        "c17",
        "c18",
        "c19",
        "c20",
        "c21",
        "c22",
        "c23",
        "c24",
        "c25",
        "c26",
        "c27",
        "c28",
        "c29",
        "c30",
    ]
)
"""The columns N and C of the table of clauses in the design of the agreement."""


@dataclass(frozen=True)
class Case:
    """One permitted case with one thing broken. ``terms`` changes the agreement, if that is it."""

    clause: str
    gate: Gate
    words: tuple[str, ...]
    told: dict[str, Any] = field(default_factory=dict)
    terms: Callable[[], ParsedAgreement] = lambda: AGREEMENT
    order: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.clause}-{self.gate}-{self.words[0][:30]}"


def amended(clause: str, **changes: Any) -> Callable[[], ParsedAgreement]:
    return lambda: amend(AGREEMENT, clause, changes)


def mine(**changes: Any) -> dict[str, Any]:
    return {"mine": member(**changes)}


CATEGORIES = {"id": "retail:1", "sha256": "c9" * 32, "min_mapped_percent": 80}


def sharing(**changes: Any) -> Callable[[], ParsedAgreement]:
    """An agreement under which members share a list of categories."""
    return amended("c09", taxonomy=CATEGORIES | changes)


def mapped(sha256: str = "c9" * 32, share: float | None = 80.0) -> dict[str, Any]:
    return mine(taxonomy=sha256, mapped_percent=share)


def office(**changes: Any) -> dict[str, Any]:
    return {"office": replace(OFFICE, **changes)}


def result(**changes: Any) -> dict[str, Any]:
    return {"release": replace(RELEASE, **changes)}


def evidence(**changes: Any) -> dict[str, Any]:
    return {"evidence": replace(EVIDENCE, **changes)}


def checked(**changes: Any) -> dict[str, Any]:
    values = {"verified_at": NOW - HOUR, "witnesses": frozenset(IDS)}
    return {"audit": AuditFacts(**(values | changes))}


FREE_WEIGHT = WORKLOAD | {
    "config": {key: value for key, value in CONFIG.items() if key != "w_max"},
    "free": ["categories", "train_until", "w_max"],
}
TEXT = {"locale": "en", "text": "We learn together."}
NEIGHBOUR = IDS[1]
SPLIT = {"approver_keys": ["a1" * 32, "a2" * 32], "two_person": ["launch", "release"]}
LEFT = {"left": frozenset({NEIGHBOUR}), "left_at": NOW - 31 * DAY}
OTHERS = {"name": "Cloud Ltd", "country": "US", "service": "hosting"}

CASES = [
    Case("c01", LAUNCH, ("epoch 2",), order={"roster_epoch": 2}),
    Case("c01", ADMIT, ("not in the cohort",), order={"cohort": IDS[1:]}),
    Case("c04", LAUNCH, ("'HRB 2', agreed is 'HRB 1'",), office(legal_id="HRB 2")),
    Case("c05", LAUNCH, ("5 of 8", "6 are needed"), evidence(signers=frozenset(IDS[:5]))),
    Case("c05", LAUNCH, ("have ended agreement version 1",), evidence(terminated=True)),
    Case("c05", ADMIT, ("have ended agreement version 1",), evidence(terminated=True)),
    Case("c05", USE, ("have ended agreement version 1",), evidence(terminated=True)),
    Case("c05", ADMIT, ("has not signed",), evidence(signed_by_me=False)),
    Case(
        "c05",
        LAUNCH,
        ("one of 2 keys", "carries 0"),
        evidence(approvers=frozenset({"ff" * 32})),
        amended("c05", **SPLIT),
    ),
    Case("c05", ADMIT, ("one of 2 keys",), {}, amended("c05", **SPLIT)),
    Case(
        "c05",
        USE,
        ("carries 1 of an approver and 0 of the operator",),
        evidence(release_signers=frozenset({"a1" * 32})),
        amended("c05", **SPLIT),
    ),
    Case(
        "c05",
        USE,
        ("carries 0 of an approver and 1 of the operator",),
        evidence(release_signers=frozenset({"operator", "ff" * 32})),
        amended("c05", **SPLIT),
    ),
    Case("c06", LAUNCH, ("'auditor'", "operator"), {"approved_role": "auditor"}),
    Case("c06", ADMIT, ("'custodian'", "owner, steward"), {"approved_role": "custodian"}),
    Case("c06", ADMIT, ("'nobody'",), {"approved_role": "nobody", "consent": Consent.ONCE}),
    *(
        Case(
            "c07", gate, ("'train:demand'", "benchmark"), {}, amended("c07", allowed=["benchmark"])
        )
        for gate in Gate
    ),
    Case(
        "c08",
        ADMIT,
        ("category_code", "not declared"),
        {},
        amended("c08", tables=[{"table": "sales_line", "columns": ["business_date", "qty"]}]),
    ),
    Case("c09", LAUNCH, ("1 members", "0 may"), office(quality_unknown=frozenset({NEIGHBOUR}))),
    Case("c09", ADMIT, ("49.9 out of 100", "at least 50"), mine(health=49.9)),
    Case("c09", ADMIT, ("health of nan",), mine(health=float("nan"))),
    Case("c09", ADMIT, ("61 days old", "at most 60"), mine(data_age_days=61)),
    Case(
        "c09",
        ADMIT,
        ("the list of categories that this node uses",),
        mapped(sha256=""),
        sharing(),
    ),
    Case("c09", ADMIT, ("to the list " + "7" * 16, "retail:1"), mapped("7" * 64), sharing()),
    Case(
        "c09", ADMIT, ("79.9 % of the sales lines", "at least 80 %"), mapped(share=79.9), sharing()
    ),
    Case("c09", ADMIT, ("nan % of the sales",), mapped(share=float("nan")), sharing()),
    Case("c09", ADMIT, ("how many sales lines",), mapped(share=None), sharing()),
    Case("c10", ADMIT, ("no legal basis on record", "agreed is none"), mine(basis="")),
    Case("c10", ADMIT, ("'consent' on record", "agreed is none"), mine(basis="consent")),
    *(
        Case(
            "c10",
            gate,
            ("no legal basis is agreed for 'train:demand'", "train:churn"),
            {},
            amended(
                "c10",
                purposes=[
                    {"purpose": "train:churn", "basis": "none", "scope": None, "reference": None}
                ],
            ),
        )
        for gate in (LAUNCH, ADMIT)
    ),
    Case(
        "c11",
        ADMIT,
        ("this node shows 1 others",),
        {},
        amended("c11", purposes=["train:demand"], texts=[TEXT]),
    ),
    Case(
        "c11",
        ADMIT,
        ("this node shows none",),
        mine(notices=frozenset()),
        amended("c11", purposes=["train:demand"], texts=[TEXT]),
    ),
    Case("c12", LAUNCH, ("2 requests", "0 may be", "30 days"), office(overdue_requests=2)),
    Case("c12", ADMIT, ("1 requests", "0 may be", "30 days"), mine(overdue_requests=1)),
    *(Case("c13", gate, ("41 rounds", "at most 40"), order={"rounds": 41}) for gate in Gate),
    Case("c13", ADMIT, ("not installed",), mine(installed=frozenset({"ee" * 32}))),
    *(Case("c14", gate, ("against 1", "at least 2"), order={"colluders": 1}) for gate in Gate),
    *(
        Case("c14", gate, ("12 runs", "12 are allowed"), {"ledger": LedgerFacts(12)})
        for gate in (LAUNCH, ADMIT)
    ),
    *(
        Case(
            "c15",
            gate,
            ("cannot make", "figures", "metrics, model"),
            {},
            amended("c15", release=["figures", "metrics", "model"]),
        )
        for gate in (LAUNCH, RELEASED)
    ),
    Case(
        "c15",
        RELEASED,
        ("0.7100", "below 0.7000"),
        {"figures": replace(GOOD_FIGURES, blend_error=0.71)},
    ),
    Case("c16", ADMIT, ("waits for the approval",), {"consent": Consent.NONE}),
    Case("c16", ADMIT, ("has refused",), {"consent": Consent.REFUSED}),
    Case(
        "c16",
        ADMIT,
        ("each order by itself",),
        {"consent": Consent.ALWAYS, "house": HouseRules(manual_approval=True)},
    ),
    *(
        Case(
            "c17",
            gate,
            ("(w_max) is 0", "from 1 to 1"),
            {},
            lambda: agreement(workloads=[FREE_WEIGHT]),
            {"config": CONFIG | {"w_max": 0, "categories": ["x"], "train_until": "2026-01-01"}},
        )
        for gate in (LAUNCH, ADMIT)
    ),
    Case("c17", ADMIT, ("7 weeks", "at least 8"), mine(weeks_history=7)),
    Case("c17", ADMIT, ("99 rows", "at least 100"), mine(rows=99)),
    Case(
        "c18",
        RELEASED,
        ("7 recipients", "1 of 8 members would not get it"),
        result(recipients=frozenset(IDS[1:])),
    ),
    Case(
        "c18",
        RELEASED,
        ("9 recipients", "1 are not members"),
        result(recipients=frozenset([*IDS, "ee" * 32])),
    ),
    Case(
        "c18",
        RELEASED,
        ("8 members", "1 of whom have no update"),
        result(contributors=frozenset(IDS[1:])),
        amended("c18", recipients="contributors"),
    ),
    Case("c18", USE, ("not among the 7",), result(recipients=frozenset(IDS[1:]))),
    Case(
        "c19",
        LAUNCH,
        ("1100.00 EUR", "1000.00 EUR", "10 runs"),
        office(runs_paid_in_period=10),
        amended("c19", run_cost_cents=10_000),
    ),
    *(
        case
        for gate in (RELEASED, USE)
        for case in (
            Case("c20", gate, ("'public'", "agreed is 'members-only'"), result(licence="public")),
            Case(
                "c20",
                gate,
                ("benchmark, train:demand", "agreed is train:demand"),
                result(purposes=frozenset({"train:demand", "benchmark"})),
            ),
            Case(
                "c20",
                gate,
                ("until 2027-03-01 00:01", "until 2027-03-01 00:00"),
                result(expires=ENDS + timedelta(minutes=1)),
            ),
        )
    ),
    Case("c20", USE, ("was revoked: wrong labels",), result(revoked="wrong labels")),
    Case(
        "c20",
        USE,
        ("could be used until 2026-03-10 11:00", "2026-03-10 12:00"),
        result(created=NOW - 10 * DAY, expires=NOW - HOUR),
        amended("c20", use_days=10),
    ),
    Case("c21", USE, ("1000 times today", "1000 times a day"), result(uses_today=1000)),
    Case("c22", LAUNCH, ("runs in FR, agreed is DE",), office(country="FR")),
    Case(
        "c22",
        LAUNCH,
        ("Cloud Ltd works", "agreed: none"),
        office(sub_processors=frozenset({"Cloud Ltd"})),
    ),
    *(
        Case("c22", gate, ("coordinator works in US", "AT, BE"), told, amended("c22", **change))
        for gate, told, change in (
            (LAUNCH, office(country="US"), {"coordinator_country": "US"}),
            (ADMIT, {}, {"coordinator_country": "US"}),
        )
    ),
    Case("c22", ADMIT, ("Cloud Ltd works in US",), {}, amended("c22", sub_processors=[OTHERS])),
    Case("c23", LAUNCH, ("401 days", "at most 400"), office(certificate_days=401)),
    Case("c23", ADMIT, ("401 days", "at most 400"), mine(certificate_days=401)),
    Case("c23", LAUNCH, ("0.0.9", "at least 0.1.0"), office(software="0.0.9")),
    Case("c23", ADMIT, ("0.1.0rc1", "at least 0.1.0"), mine(software="0.1.0rc1")),
    Case("c23", ADMIT, ("newest", "at least 0.1.0"), mine(software="newest")),
    Case(
        "c24",
        LAUNCH,
        ("7 members", "at least 8"),
        checked(witnesses=frozenset(IDS[1:])),
        amended("c24", witnesses=8),
    ),
    Case("c24", LAUNCH, ("two histories", "size 7"), checked(fork="root differs at size 7")),
    Case("c24", ADMIT, ("two histories", "size 7"), checked(fork="root differs at size 7")),
    Case(
        "c24",
        ADMIT,
        ("24.5 hours ago", "at most 24 hours"),
        checked(verified_at=NOW - timedelta(hours=24.5)),
    ),
    Case("c24", ADMIT, ("13:00", "12:00"), checked(verified_at=NOW + HOUR)),
    Case("c24", ADMIT, ("never checked",), checked(verified_at=None)),
    Case("c25", LAUNCH, ("1 incidents are open", "0 may"), office(open_incidents=1)),
    Case("c25", LAUNCH, ("3 incidents", "24 hours", "0 may"), office(overdue_notices=3)),
    *(
        Case("c25", gate, ("frozen: incident ab is open",), {"frozen": "incident ab is open"})
        for gate in (LAUNCH, ADMIT, USE)
    ),
    *(
        Case(
            "c26",
            gate,
            ("equal quality in age_group", "0 measured"),
            {},
            amended("c26", slices=["age_group"]),
        )
        for gate in (LAUNCH, ADMIT, RELEASED)
    ),
    *(
        Case(
            "c27",
            gate,
            ("20 % of a sum", "at most 15 %"),
            {},
            amended("c27", max_weight_percent=15),
        )
        for gate in Gate
    ),
    *(
        Case(
            "c27",
            gate,
            ("12 % of the figures", "at most 11 %"),
            {},
            amended("c27", max_share_percent=11),
        )
        for gate in (RELEASED, USE)
    ),
    *(
        Case(
            "c27",
            gate,
            ("blocks metrics", "11 fields"),
            {},
            amended("c27", blocked_fields=["metrics"]),
        )
        for gate in (RELEASED, USE)
    ),
    Case("c28", LAUNCH, ("169.2 hours old", "at most 168 hours"), office(oldest_update_days=7.05)),
    Case("c28", LAUNCH, ("731.0 days", "at most 730"), office(oldest_release_days=731)),
    Case("c28", LAUNCH, ("nan days",), office(oldest_release_days=float("nan"))),
    Case("c28", ADMIT, ("731.0 days", "at most 730"), mine(oldest_result_days=731)),
    Case("c28", USE, ("731.0 days", "at most 730"), mine(oldest_result_days=731)),
    Case("c29", LAUNCH, ("1 members", "0 may be asked"), office(away=frozenset({NEIGHBOUR}))),
    Case("c29", ADMIT, ("paused at 2026-03-10 11:00",), mine(suspended_since=NOW - HOUR)),
    Case(
        "c29",
        ADMIT,
        ("leaves at 2026-03-10 13:00", "until 2026-03-10 14:00"),
        mine(leaving_at=NOW + HOUR),
    ),
    Case("c29", USE, ("left at 2026-03-10 12:00",), mine(leaving_at=NOW)),
    Case(
        "c29",
        USE,
        ("1 members", "used no longer"),
        result(**LEFT),
        amended("c29", past_models="retire"),
    ),
    Case(
        "c29",
        USE,
        ("31 days ago", "within 30 days"),
        result(**LEFT),
        amended("c29", past_models="retrain", retrain_days=30),
    ),
    Case(
        "c30",
        LAUNCH,
        ("deadline was 2026-03-10 11:59",),
        order={"issued": NOW - DAY, "deadline": NOW - timedelta(minutes=1)},
    ),
    *(
        Case(
            "c30",
            gate,
            ("again by 2026-03-09", "it is 2026-03-10"),
            {},
            amended("c30", review_by="2026-03-09T00:00:00Z"),
        )
        for gate in (LAUNCH, ADMIT)
    ),
    *(
        Case(
            "c30",
            gate,
            ("2026-03-10 12:00", "2026-03-10 12:06"),
            {"newest_seen": NOW + timedelta(minutes=6)},
        )
        for gate in (LAUNCH, ADMIT, USE)
    ),
]


def answer(case: Case) -> Permit | Denial:
    parsed = case.terms()
    asked = request(case.gate, **({"agreement": parsed.id} | case.order))
    return decide(parsed.terms, asked, facts(case.gate, **case.told))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_broken_clause_says_no_by_itself(case: Case) -> None:
    assert isinstance(decide(AGREEMENT.terms, request(case.gate), facts(case.gate)), Permit)
    denial = answer(case)
    assert isinstance(denial, Denial), "nothing said no"
    assert denial.clauses == (case.clause,), str(denial)
    for word in case.words:
        assert word in str(denial), f"{word!r} is not in {denial}"


def sides(clause: str) -> set[str]:
    gates = {case.gate for case in CASES if case.clause == clause}
    here = {"N"} if gates & {ADMIT, USE} else set()
    return here | ({"C"} if gates & {LAUNCH, RELEASED} else set())


def test_no_clause_of_the_table_is_without_a_case() -> None:
    """Clause 21 at the coordinator counts pulls outside ``decide``: it has its own test below."""
    assert set(TYPE_OF) == BY_NODE | BY_COORDINATOR
    assert sorted({*TYPE_OF, *TEXTS}) == list(MANDATORY)
    lacking = [one for one in sorted(BY_NODE) if "N" not in sides(one)]
    lacking += [one for one in sorted(BY_COORDINATOR - {"c21"}) if "C" not in sides(one)]
    assert lacking == []


def test_pulls_of_a_day_are_limited_where_the_coordinator_serves_them() -> None:
    assert pull_refused(AGREEMENT.terms, 99) is None
    refused = pull_refused(AGREEMENT.terms, 100)
    assert refused is not None
    assert "c21 confidentiality: this member fetched results 100 times today, 100 times" in str(
        refused
    )
    assert pull_refused(AGREEMENT.terms, None) is not None
    bare = replace(AGREEMENT.terms, blocks={})
    assert pull_refused(bare, 0) is not None


UNKNOWN = [
    (LAUNCH, "office", "legal_id", "", ("c04",)),
    (LAUNCH, "office", "country", "", ("c22",)),
    (LAUNCH, "office", "sub_processors", None, ("c22",)),
    (LAUNCH, "office", "certificate_days", None, ("c23",)),
    (LAUNCH, "office", "software", "", ("c23",)),
    (LAUNCH, "office", "runs_paid_in_period", None, ("c19",)),
    (LAUNCH, "office", "open_incidents", None, ("c25",)),
    (LAUNCH, "office", "overdue_notices", None, ("c25",)),
    (LAUNCH, "office", "oldest_update_days", None, ("c28",)),
    (LAUNCH, "office", "oldest_release_days", None, ("c28",)),
    (LAUNCH, "office", "away", None, ("c29",)),
    (LAUNCH, "office", "overdue_requests", None, ("c12",)),
    (LAUNCH, "office", "quality_unknown", None, ("c09",)),
    (ADMIT, "mine", "health", None, ("c09",)),
    (ADMIT, "mine", "data_age_days", None, ("c09",)),
    (ADMIT, "mine", "basis", "", ("c10",)),
    (ADMIT, "mine", "overdue_requests", None, ("c12",)),
    (ADMIT, "mine", "certificate_days", None, ("c23",)),
    (ADMIT, "mine", "software", "", ("c23",)),
    (ADMIT, "mine", "oldest_result_days", None, ("c28",)),
    (USE, "mine", "oldest_result_days", None, ("c28",)),
    (ADMIT, "audit", "verified_at", None, ("c24",)),
    (USE, "release", "uses_today", None, ("c21",)),
]


@pytest.mark.parametrize(("gate", "group", "name", "value", "clauses"), UNKNOWN)
def test_what_nobody_looked_at_is_denied(
    gate: Gate, group: str, name: str, value: object, clauses: tuple[str, ...]
) -> None:
    whole = facts(gate)
    blind = replace(whole, **{group: replace(getattr(whole, group), **{name: value})})
    found = decide(AGREEMENT.terms, request(gate), blind)
    assert isinstance(found, Denial)
    assert found.clauses == clauses


GROUPS = [
    (LAUNCH, {"office": None}, "c04 c09 c12 c19 c22 c23 c25 c28 c29"),
    (ADMIT, {"mine": None}, "c01 c09 c10 c12 c13 c17 c23 c28 c29"),
    (LAUNCH, {"audit": None}, "c24"),
    (ADMIT, {"audit": None}, "c24"),
    (ADMIT, {"approved_role": ""}, "c06"),
    (RELEASED, {"release": None}, "c18 c20 c29"),
    (USE, {"release": None}, "c18 c20 c21 c28 c29"),
    (USE, {"mine": None}, "c01 c18 c28"),
    *((gate, {"newest_seen": None}, "c30") for gate in (LAUNCH, ADMIT, USE)),
]


@pytest.mark.parametrize(("gate", "change", "clauses"), GROUPS)
def test_a_whole_group_of_facts_that_nobody_gathered_is_denied(
    gate: Gate, change: dict[str, Any], clauses: str
) -> None:
    found = decide(AGREEMENT.terms, request(gate), facts(gate, **change))
    assert isinstance(found, Denial)
    assert found.clauses == tuple(clauses.split())


PERMITTED: list[tuple[Gate, dict[str, Any], Callable[[], ParsedAgreement]]] = [
    (LAUNCH, checked(witnesses=frozenset()), lambda: AGREEMENT),  # clause 24 asks for 0
    (LAUNCH, evidence(approvers=frozenset({"a2" * 32})), amended("c05", **SPLIT)),
    (ADMIT, evidence(approvers=frozenset({"a2" * 32})), amended("c05", **SPLIT)),
    (USE, evidence(release_signers=frozenset({"a2" * 32, "operator"})), amended("c05", **SPLIT)),
    (RELEASED, {}, amended("c05", **SPLIT)),  # it is held until it carries them
    (
        ADMIT,
        {"consent": Consent.ONCE, "house": HouseRules(manual_approval=True)},
        lambda: AGREEMENT,
    ),
    (ADMIT, mine(notices=frozenset()), lambda: AGREEMENT),  # demand needs no notice
    (RELEASED, {}, amended("c18", recipients="contributors")),
    (LAUNCH, office(runs_paid_in_period=9), amended("c19", run_cost_cents=10_000)),
    (
        LAUNCH,
        office(runs_paid_in_period=10**9),
        amended("c19", method="none", run_cost_cents=10**9),
    ),
    (LAUNCH, office(open_incidents=2), amended("c25", freeze=False)),
    (ADMIT, {"frozen": "incident ab"}, amended("c25", freeze=False)),
    (ADMIT, mine(software="0.10"), lambda: AGREEMENT),
    (ADMIT, mine(software="0.1"), lambda: AGREEMENT),
    (LAUNCH, office(software="0.1.0+local"), lambda: AGREEMENT),
    (LAUNCH, office(away=frozenset({"ee" * 32})), lambda: AGREEMENT),
    (ADMIT, mine(leaving_at=NOW + DAY), lambda: AGREEMENT),
    (USE, mine(suspended_since=NOW - DAY), lambda: AGREEMENT),  # a pause is from runs
    (USE, result(**LEFT), lambda: AGREEMENT),
    (USE, result(**LEFT), amended("c29", past_models="retrain", retrain_days=31)),
    (ADMIT, {"newest_seen": NOW + timedelta(minutes=5)}, lambda: AGREEMENT),
    (USE, result(uses_today=999), lambda: AGREEMENT),
]


@pytest.mark.parametrize(("gate", "told", "terms"), PERMITTED)
def test_what_lies_within_a_clause_is_permitted(
    gate: Gate, told: dict[str, Any], terms: Callable[[], ParsedAgreement]
) -> None:
    found = answer(Case("", gate, ("",), told, terms))
    assert isinstance(found, Permit), str(found)


HOUSE = [
    (ADMIT, HouseRules(countries=frozenset({"FR"})), "runs in DE, your house rules allow: FR"),
    (USE, HouseRules(countries=frozenset()), "runs in DE, your house rules allow: none"),
    (USE, HouseRules(max_uses_per_day=3), "used 3 times today, your house rules allow 3"),
]


@pytest.mark.parametrize(("gate", "rules", "words"), HOUSE)
def test_a_member_may_ask_for_less(gate: Gate, rules: HouseRules, words: str) -> None:
    used = facts(house=rules, **result(uses_today=3))
    denial = decide(AGREEMENT.terms, request(gate), used)
    assert isinstance(denial, Denial)
    assert denial.clauses == ("house",)
    assert words in str(denial)
    roomy = HouseRules(countries=frozenset({"DE"}), max_uses_per_day=4)
    again = decide(AGREEMENT.terms, request(gate), facts(house=roomy, **result(uses_today=3)))
    assert isinstance(again, Permit)


def test_others_are_told_no_figure_of_this_members_rows() -> None:
    poor = facts(mine=member(health=12.0, data_age_days=777, overdue_requests=5))
    denial = decide(AGREEMENT.terms, request(ADMIT), poor)
    assert isinstance(denial, Denial)
    told = " ".join(reason.told for reason in denial.reasons)
    assert denial.clauses == ("c09", "c12")
    assert not [figure for figure in ("12.0", "777", " 5 ") if figure in told]


def test_a_shared_list_of_categories_is_asked_for_only_where_categories_are_read() -> None:
    shared = sharing()()
    asked = request(ADMIT, agreement=shared.id)
    assert isinstance(decide(shared.terms, asked, facts(**mapped())), Permit)
    nobody_looked = decide(shared.terms, asked, facts())
    assert isinstance(nobody_looked, Denial) and nobody_looked.clauses == ("c09",)
    assert len(nobody_looked.reasons) == 2  # the list and the share
    unread = request(ADMIT, agreement=shared.id, columns=["business_date", "qty"])
    denial = decide(shared.terms, unread, facts())
    assert not isinstance(denial, Denial) or "c09" not in denial.clauses


def test_how_many_lines_are_mapped_is_told_to_nobody_else() -> None:
    shared = sharing()()
    asked = request(ADMIT, agreement=shared.id)
    denial = decide(shared.terms, asked, facts(**mapped("7" * 64, 12.3)))
    assert isinstance(denial, Denial)
    told = " ".join(reason.told for reason in denial.reasons)
    assert "12.3" not in told and "7777" not in told and "80 %" in told


def test_a_purpose_of_a_use_has_to_stand_on_the_result() -> None:
    parsed = agreement(workloads=[WORKLOAD])
    both = amend(parsed, "c07", {"allowed": ["benchmark", "train:demand"]})
    asked = Request(
        USE, order(agreement=both.id).order, purpose="benchmark", outputs=("metrics", "model")
    )
    denial = decide(both.terms, asked, facts())
    assert isinstance(denial, Denial)
    assert denial.clauses == ("c20",)
    assert "not be used for 'benchmark', only for train:demand" in str(denial)


@pytest.mark.parametrize(
    "change",
    [
        {"newest_seen": datetime(2026, 1, 1)},  # noqa: DTZ001
        mine(leaving_at=datetime(2026, 1, 1)),  # noqa: DTZ001
        mine(suspended_since=datetime(2026, 1, 1)),  # noqa: DTZ001
        checked(verified_at=datetime(2026, 1, 1)),  # noqa: DTZ001
        result(left_at=datetime(2026, 1, 1)),  # noqa: DTZ001
        result(expires=datetime(2026, 1, 1)),  # noqa: DTZ001
    ],
)
def test_an_instant_without_a_zone_is_no_fact(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="UTC"):
        Facts(**({"now": NOW} | change))
