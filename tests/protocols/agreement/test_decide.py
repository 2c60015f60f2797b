from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from agreement_world import (
    AGREEMENT,
    CONFIG,
    EVIDENCE,
    GOOD_FIGURES,
    IDS,
    NOW,
    ROSTER,
    RUN,
    WORKLOAD,
    agreement,
    facts,
    order,
    request,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import protocols
from protocols.agreement.decide import decide
from protocols.agreement.facts import (
    Consent,
    Denial,
    Evidence,
    Facts,
    Figures,
    LedgerFacts,
    MemberFacts,
    PrivacyFacts,
    Request,
    RosterFacts,
)
from protocols.agreement.house import HouseRules
from protocols.agreement.terms import TYPE_OF, Approval, Hours, Terms
from protocols.errors import InputError, Refused
from protocols.permit import Gate, Permit

TERMS = AGREEMENT.terms
CONFIG_OK = CONFIG | {"categories": ["bakery"], "train_until": "2026-01-01"}


def denied(answer: Permit | Denial, clause: str, *words: str) -> Denial:
    assert isinstance(answer, Denial)
    texts = [str(reason) for reason in answer.reasons if reason.clause == clause]
    assert texts, f"{clause} did not say no: {answer}"
    for word in words:
        assert any(word in text for text in texts), f"{word!r} not in {texts}"
    return answer


@pytest.mark.parametrize("gate", list(Gate))
def test_everything_in_order_is_permitted(gate: Gate) -> None:
    answer = decide(TERMS, request(gate), facts(gate))
    assert isinstance(answer, Permit)
    assert (answer.gate, answer.run, answer.agreement) == (gate, RUN, TERMS.id)
    if gate in (Gate.LAUNCH, Gate.ADMIT):
        assert answer.not_after == NOW + timedelta(hours=2)
        assert answer.columns == ("business_date", "category_code", "qty")
    else:
        assert answer.columns == ()


@pytest.mark.parametrize("gate", list(Gate))
@pytest.mark.parametrize("clause", sorted(TYPE_OF))
def test_without_a_clause_nothing_is_permitted(gate: Gate, clause: str) -> None:
    blocks = {name: block for name, block in TERMS.blocks.items() if name != clause}
    answer = decide(replace(TERMS, blocks=blocks), request(gate), facts())
    denied(answer, clause, "missing")


@pytest.mark.parametrize("clause", sorted(TYPE_OF))
def test_a_clause_of_the_wrong_type_denies(clause: str) -> None:
    other = next(name for name in sorted(TYPE_OF) if name != clause)
    blocks = {**TERMS.blocks, clause: TERMS.blocks[other]}
    denied(decide(replace(TERMS, blocks=blocks), request(), facts()), clause, "missing")


ORDER_CASES = [
    ({"agreement": "ee" * 32}, "c05", "eeee"),
    ({"coop": "ee" * 32}, "c05", "cooperative"),
    ({"roster": "ee" * 32}, "c01", "epoch 1 (eeee"),
    ({"roster_epoch": 2}, "c01", "epoch 2"),
    ({"purpose": "benchmark"}, "c07", "not among"),
    ({"purpose": "credit_scoring"}, "c07", "forbidden"),
    ({"purpose": "benchmark"}, "c13", "serves 'train:demand'"),
    ({"workload": WORKLOAD | {"digest": "ee" * 32}}, "c13", "eeeeeeeeeeeeeeee"),
    ({"workload": WORKLOAD | {"id": "churn"}}, "c13", "calls it churn"),
    ({"workload": WORKLOAD | {"version": "2"}}, "c13", "demand 2"),
    ({"columns": ["business_date", "customer_key", "qty"]}, "c08", "customer_key"),
    ({"columns": ["business_date", "customer_key", "qty"]}, "c13", "customer_key"),
    ({"rounds": 41}, "c13", "41 rounds, at most 40"),
    ({"config": CONFIG_OK | {"lr": 0.02}}, "c13", "'lr' is 0.02, agreed is 0.01"),
    ({"config": CONFIG_OK | {"server": {"name": "fedavg", "lr": True}}}, "c13", "'server'"),
    ({"config": {k: v for k, v in CONFIG_OK.items() if k != "lr"}}, "c13", "'lr' is not"),
    ({"config": CONFIG_OK | {"upload_rows": True}}, "c13", "upload_rows"),
    ({"colluders": 1}, "c14", "1 colluding members, at least 2"),
    ({"cohort": IDS[:4], "min_cohort": 4}, "c14", "the cohort has 4 members, at least 5"),
    ({"cohort": IDS[:4], "min_cohort": 4}, "c27", "4 members"),
    ({"min_cohort": 4}, "c14", "4 survivors, at least 5"),
    ({"colluders": 5, "cohort": IDS[:6]}, "c14", "6 members, at least 7"),
    ({"min_cohort": 9}, "c14", "9 survivors from a cohort of 8"),
    ({"config": CONFIG_OK | {"w_max": 2}}, "c17", "(w_max) is 2"),
    ({"config": CONFIG_OK | {"w_max": True}}, "c17", "whole number"),
    ({"config": CONFIG_OK | {"w_max": 2}}, "c27", "33 % of a sum, at most 25 %"),
    ({"cohort": ["00" * 32, *IDS[:7]]}, "c01", "1 of 8"),
    ({"cohort": IDS[1:]}, "c01", "not in the cohort"),
    ({"deadline": NOW - timedelta(seconds=1)}, "c30", "deadline was"),
    ({"deadline": datetime(2027, 3, 2, tzinfo=UTC)}, "c30", "run until 2027-03-02"),
    ({"issued": NOW + timedelta(minutes=6)}, "c30", "clock"),
]


@pytest.mark.parametrize(("change", "clause", "words"), ORDER_CASES)
def test_an_order_that_breaks_a_clause_is_denied_with_its_figure(
    change: dict[str, object], clause: str, words: str
) -> None:
    denied(decide(TERMS, request(**change), facts()), clause, words)


FACT_CASES = [
    ({"evidence": replace(EVIDENCE, signed_by_me=False)}, "c05", "has not signed"),
    ({"evidence": replace(EVIDENCE, operator=False)}, "c05", "operator"),
    ({"evidence": replace(EVIDENCE, run_reused=True)}, "c05", "another order"),
    ({"evidence": replace(EVIDENCE, run_over=True)}, "c05", "has ended"),
    ({"evidence": replace(EVIDENCE, superseded=True)}, "c05", "replaced"),
    ({"evidence": replace(EVIDENCE, signers=frozenset(IDS[:5]))}, "c05", "5 of 8"),
    ({"roster": None}, "c01", "no roster"),
    ({"roster": RosterFacts(ROSTER.id, 1, frozenset(IDS[:4]))}, "c01", "4 members"),
    ({"mine": None}, "c01", "does not know"),
    ({"mine": MemberFacts("00" * 32)}, "c01", "not a member"),
    ({"mine": MemberFacts(IDS[0], 7, 10_000, frozenset({"d1" * 32}))}, "c17", "7 weeks"),
    ({"mine": MemberFacts(IDS[0], 52, 99, frozenset({"d1" * 32}))}, "c17", "99 rows"),
    ({"mine": MemberFacts(IDS[0], 52, 10_000, frozenset())}, "c13", "not installed"),
    ({"ledger": None}, "c14", "ledger"),
    ({"ledger": LedgerFacts(12)}, "c14", "12 runs"),
    ({"consent": Consent.REFUSED}, "c16", "refused"),
    ({"now": datetime(2026, 2, 28, tzinfo=UTC)}, "c30", "starts on 2026-03-01"),
    ({"now": datetime(2027, 3, 1, tzinfo=UTC)}, "c30", "ended on 2027-03-01"),
    ({"house": HouseRules(purposes=frozenset({"benchmark"}))}, "house", "benchmark"),
    ({"house": HouseRules(columns_never=frozenset({"qty"}))}, "house", "qty"),
    ({"house": HouseRules(hours_utc=Hours(from_hour=20, to_hour=6))}, "house", "12:00 UTC"),
    ({"house": HouseRules(min_cohort=9)}, "house", "8 members, your house rules ask for 9"),
    ({"house": HouseRules(min_colluders=3)}, "house", "ask for 3"),
    ({"house": HouseRules(max_rounds=39)}, "house", "40 rounds, your house rules allow 39"),
    ({"house": HouseRules(max_runs=0)}, "house", "allow 0"),
]


@pytest.mark.parametrize(("change", "clause", "words"), FACT_CASES)
def test_a_fact_that_breaks_a_clause_is_denied_with_its_figure(
    change: dict[str, object], clause: str, words: str
) -> None:
    denied(decide(TERMS, request(), facts(**change)), clause, words)


def test_the_coordinator_offers_a_run_without_the_facts_of_one_member() -> None:
    strict = HouseRules(min_cohort=9, max_rounds=1, purposes=frozenset({"x"}))
    office = facts(Gate.LAUNCH, mine=None, consent=Consent.NONE, house=strict)
    assert isinstance(decide(TERMS, request(Gate.LAUNCH), office), Permit)
    poor = facts(Gate.LAUNCH, mine=MemberFacts(IDS[0], 0, 0, frozenset()))
    assert isinstance(decide(TERMS, request(Gate.LAUNCH), poor), Permit)


def test_house_rules_on_runs_do_not_stop_the_use_of_a_result() -> None:
    slow = facts(house=HouseRules(max_rounds=1, min_cohort=9, max_runs=0))
    assert isinstance(decide(TERMS, request(Gate.USE), slow), Permit)
    other = facts(house=HouseRules(purposes=frozenset({"benchmark"})))
    denied(decide(TERMS, request(Gate.USE), other), "house", "benchmark")


def test_all_clauses_that_said_no_are_listed() -> None:
    answer = decide(TERMS, request(rounds=41, colluders=1, min_cohort=4), facts())
    assert isinstance(answer, Denial)
    assert answer.clauses == ("c13", "c14", "c27")
    error = answer.refused()
    assert isinstance(error, Refused)
    assert error.clauses == answer.clauses
    assert error.kind.exit_code == 3


def test_no_approval_is_pending_and_nothing_else_is() -> None:
    waiting = decide(TERMS, request(), facts(consent=Consent.NONE))
    assert denied(waiting, "c16", "waits").pending
    also_wrong = decide(TERMS, request(rounds=41), facts(consent=Consent.NONE))
    assert isinstance(also_wrong, Denial)
    assert not also_wrong.pending
    assert set(also_wrong.clauses) == {"c13", "c16"}
    refused = decide(TERMS, request(), facts(consent=Consent.REFUSED))
    assert isinstance(refused, Denial)
    assert not refused.pending


@pytest.mark.parametrize("consent", [Consent.ONCE, Consent.ALWAYS])
def test_an_approval_opens_the_gate(consent: Consent) -> None:
    assert isinstance(decide(TERMS, request(), facts(consent=consent)), Permit)


def automatic(hours: Hours) -> Terms:
    block = Approval(type="approval", mode="automatic", hours_utc=hours)
    return replace(TERMS, blocks={**TERMS.blocks, "c16": block})


def test_automatic_approval_holds_within_its_hours_and_the_house_may_ask_anyway() -> None:
    day, night = Hours(from_hour=8, to_hour=18), Hours(from_hour=20, to_hour=6)
    nothing_said = facts(consent=Consent.NONE)
    assert isinstance(decide(automatic(day), request(), nothing_said), Permit)
    denied(decide(automatic(night), request(), nothing_said), "c16", "20:00 to 06:00")
    asks = facts(consent=Consent.NONE, house=HouseRules(manual_approval=True))
    assert denied(decide(automatic(day), request(), asks), "c16").pending


def test_a_window_without_length_is_none() -> None:
    with pytest.raises(ValueError, match="could mean always or never"):
        Hours(from_hour=8, to_hour=8)


def test_cohorts_of_earlier_runs_may_differ_by_a_few_only_so_often() -> None:
    full, fewer = frozenset(IDS), frozenset(IDS[:7])
    two = LedgerFacts(3, (full, fewer, full))  # two near changes are behind us
    answer = decide(TERMS, request(cohort=IDS[:7]), facts(ledger=two))
    denied(answer, "c14", "3. time", "earlier runs")
    assert isinstance(decide(TERMS, request(), facts(ledger=two)), Permit)


RELEASE_CASES = [
    ({"figures": None}, "no evaluated figures"),
    ({"figures": replace(GOOD_FIGURES, contributors=4)}, "4 members reported"),
    ({"figures": replace(GOOD_FIGURES, blend_error=0.70)}, "0.7000, it must be below 0.7000"),
    ({"figures": replace(GOOD_FIGURES, blend_error=math.nan)}, "nan"),
    ({"figures": replace(GOOD_FIGURES, baseline_error=math.inf)}, "inf"),
]


@pytest.mark.parametrize("gate", [Gate.RELEASE, Gate.USE])
@pytest.mark.parametrize(("change", "words"), RELEASE_CASES)
def test_a_release_must_beat_the_baseline(
    gate: Gate, change: dict[str, object], words: str
) -> None:
    denied(decide(TERMS, request(gate), facts(**change)), "c15", words)


@pytest.mark.parametrize("kind", ["forecasts", "price", "rows"])
def test_other_results_are_not_released(kind: str) -> None:
    asked = Request(Gate.RELEASE, order().order, outputs=("model", kind))
    word = "not among" if kind == "rows" else "never released"
    denied(decide(TERMS, asked, facts()), "c15", kind, word)
    nothing = Request(Gate.RELEASE, order().order, outputs=())
    denied(decide(TERMS, nothing, facts()), "c15", "nothing to release")


def test_a_use_needs_an_allowed_purpose_and_the_coordinators_signature() -> None:
    asked = Request(Gate.USE, order().order, purpose="price_setting", outputs=("model",))
    denied(decide(TERMS, asked, facts()), "c07", "forbidden")
    unsigned = facts(evidence=replace(EVIDENCE, coordinator=False))
    denied(decide(TERMS, request(Gate.USE), unsigned), "c05", "coordinator")


def test_results_outlive_a_roster_epoch_and_the_order() -> None:
    later = facts(now=NOW + timedelta(days=60), roster=RosterFacts("ff" * 32, 2, frozenset(IDS)))
    assert isinstance(decide(TERMS, request(Gate.USE), later), Permit)
    denied(decide(TERMS, request(Gate.ADMIT), later), "c01")


AMENDMENTS = [
    ({"min_cohort": 9}, "c14"),
    ({"colluders": 3}, "c14"),
    ({"max_runs": 1}, "c14"),
    ({"min_weeks": 53}, "c17"),
    ({"min_rows": 10_001}, "c17"),
    ({"profile": "C"}, "c27"),
    ({"profile_members": 9}, "c27"),
    ({"min_members": 9}, "c01"),
]


@pytest.mark.parametrize(("figure", "clause"), AMENDMENTS)
def test_one_figure_changed_turns_the_yes_into_a_no(figure: dict[str, object], clause: str) -> None:
    terms = agreement(figure).terms
    used = facts(ledger=LedgerFacts(1))
    denied(decide(terms, request(agreement=terms.id), used), clause)


def test_a_clock_without_a_zone_is_refused_before_any_decision() -> None:
    with pytest.raises(InputError, match="UTC"):
        Facts(now=datetime(2026, 3, 10))  # noqa: DTZ001


names = st.sampled_from(["train:demand", "benchmark", "credit_scoring", "x"])
ids = st.sampled_from([*IDS, "00" * 32, "ff" * 32])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
orders = st.builds(
    lambda issued, life, **kw: order(issued=issued, deadline=issued + life, **kw),
    issued=moments,
    life=st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
    agreement=st.sampled_from([AGREEMENT.id, "00" * 32]),
    roster=st.sampled_from([ROSTER.id, "00" * 32]),
    roster_epoch=st.integers(1, 3),
    purpose=names,
    columns=st.lists(
        st.sampled_from(["qty", "business_date", "customer_key"]), min_size=1, unique=True
    ),
    cohort=st.lists(ids, min_size=1, unique=True),
    colluders=st.integers(0, 998),
    min_cohort=st.integers(1, 1000),
    rounds=st.integers(1, 100_000),
    config=st.just(CONFIG_OK) | st.dictionaries(st.text(max_size=12), json_values, max_size=5),
)
maybe_facts = st.builds(
    Facts,
    now=moments,
    evidence=st.builds(
        Evidence,
        signed_by_me=st.booleans(),
        signers=st.frozensets(ids),
        operator=st.booleans(),
        coordinator=st.booleans(),
        run_reused=st.booleans(),
        run_over=st.booleans(),
        superseded=st.booleans(),
    ),
    roster=st.none()
    | st.builds(
        RosterFacts, id=st.just(ROSTER.id), epoch=st.integers(1, 2), members=st.frozensets(ids)
    ),
    mine=st.none()
    | st.builds(
        MemberFacts,
        id=ids,
        weeks_history=st.integers(-5, 100),
        rows=st.integers(-5, 10**6),
        installed=st.frozensets(st.sampled_from(["d1" * 32, "00" * 32])),
    ),
    ledger=st.none()
    | st.builds(
        LedgerFacts,
        runs_in_period=st.integers(0, 20),
        earlier_cohorts=st.lists(st.frozensets(ids), max_size=4).map(tuple),
    ),
    privacy=st.none()
    | st.builds(
        PrivacyFacts,
        unit=st.sampled_from(["none", "customer", "member", ""]),
        delta=st.floats(),
        epsilon_run=st.floats(),
        epsilon_before=st.floats(),
        epsilon_after=st.floats(),
        frees_at=st.none() | moments,
    ),
    consent=st.sampled_from(Consent),
    house=st.builds(
        HouseRules,
        purposes=st.none() | st.frozensets(names),
        manual_approval=st.booleans(),
        min_cohort=st.integers(0, 10),
        max_runs=st.none() | st.integers(0, 5),
        max_epsilon=st.none() | st.floats(),
    ),
    figures=st.none()
    | st.builds(
        Figures,
        contributors=st.integers(-1, 20),
        baseline_error=st.floats(),
        blend_error=st.floats(),
        measure=st.just("WAPE"),
    ),
)


@settings(deadline=None, max_examples=250)
@given(
    asked=orders,
    told=maybe_facts,
    gate=st.sampled_from(Gate),
    purpose=names | st.just(""),
    outputs=st.lists(st.sampled_from(["model", "metrics", "forecasts", ""])).map(tuple),
    gone=st.sets(st.sampled_from(sorted(TYPE_OF))),
)
def test_total_and_default_deny(
    asked: object, told: Facts, gate: Gate, purpose: str, outputs: tuple[str, ...], gone: set[str]
) -> None:
    blocks = {name: block for name, block in TERMS.blocks.items() if name not in gone}
    told_request = Request(gate, asked.order, purpose=purpose, outputs=outputs)  # type: ignore[attr-defined]
    answer = decide(replace(TERMS, blocks=blocks), told_request, told)
    if isinstance(answer, Permit):
        assert not gone
        assert told.evidence.signers
        assert gate is Gate.LAUNCH or told.evidence.operator
    else:
        assert answer.reasons
        assert gone <= set(answer.clauses)
        assert all(reason.sentence and reason.found for reason in answer.reasons)


@settings(deadline=None, max_examples=150)
@given(told=maybe_facts, house=st.builds(HouseRules, min_cohort=st.integers(0, 20)))
def test_house_rules_never_turn_a_no_into_a_yes(told: Facts, house: HouseRules) -> None:
    without = decide(TERMS, request(), replace(told, house=HouseRules()))
    with_rules = decide(TERMS, request(), replace(told, house=house))
    assert not (isinstance(without, Denial) and isinstance(with_rules, Permit))


def test_permits_are_made_in_decide_alone() -> None:
    root = Path(protocols.__file__).parent.parent
    makers = {
        path.relative_to(root).as_posix()
        for room in ("protocols", "node", "coordinator")
        for path in (root / room).rglob("*.py")
        if re.search(r"\bPermit\(", path.read_text("utf-8"))
    }
    makers.discard("protocols/permit.py")  # the class itself
    assert makers == {"protocols/agreement/decide.py"}
