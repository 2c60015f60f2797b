"""Whatever ``decide`` is told: it answers, by default no, and a house only tightens."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agreement_world import AGREEMENT, BOTH, IDS, NOW, agreement, churn_order, facts, order
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.agreement.decide import decide
from protocols.agreement.facts import (
    AuditFacts,
    Consent,
    Denial,
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
from protocols.agreement.house import HouseRules
from protocols.agreement.template import amend
from protocols.agreement.terms import BLOCK_OF, TYPE_OF, Hours, Terms
from protocols.permit import Gate, Permit

moments = st.sampled_from(
    [NOW, NOW - timedelta(days=1), NOW + timedelta(days=1), datetime.max.replace(tzinfo=UTC)]
) | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
members = st.frozensets(st.sampled_from([*IDS, "00" * 32]))
words = st.sampled_from(["", "none", "consent", "train:demand", "owner", "0.1.0", "DE", "HRB 1"])
words |= st.text(max_size=6)
numbers = st.integers(-3, 20) | st.sampled_from([10**6, 10**400, -(10**400)])
reals = st.floats() | st.sampled_from([0.0, 1.0, 4.0, 90.0])
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "int": numbers,
    "int | None": st.none() | numbers,
    "float": reals,
    "float | None": st.none() | reals,
    "str": words,
    "bool": st.booleans(),
    "datetime": moments,
    "datetime | None": st.none() | moments,
    "frozenset[str]": members | st.frozensets(words),
    "frozenset[str] | None": st.none() | members | st.frozensets(words),
    "tuple[frozenset[str], ...]": st.lists(members, max_size=4).map(tuple),
    "Hours | None": st.none() | st.builds(Hours, from_hour=st.integers(0, 23), to_hour=st.just(24)),
}
GROUPS: dict[str, type[Any]] = {
    "evidence": Evidence,
    "roster": RosterFacts,
    "mine": MemberFacts,
    "ledger": LedgerFacts,
    "privacy": PrivacyFacts,
    "house": HouseRules,
    "audit": AuditFacts,
    "office": OfficeFacts,
    "release": ReleaseFacts,
    "figures": Figures,
}
ALONE: dict[str, st.SearchStrategy[Any]] = {
    "now": moments,
    "newest_seen": st.none() | moments,
    "frozen": words,
    "approved_role": words,
    "consent": st.sampled_from(Consent),
    **{name: st.none() for name in GROUPS if name not in ("evidence", "house")},
}


@st.composite
def changed(draw: st.DrawFn, gate: Gate, most: int = 4) -> Facts:
    """Facts of a yes with a few of them replaced by anything of their type."""
    told = facts(gate)
    for _ in range(draw(st.integers(0, most))):
        group = draw(st.sampled_from([*GROUPS, *ALONE]))
        found = getattr(told, group)
        if group in GROUPS and found is not None:
            one = draw(st.sampled_from(fields(GROUPS[group])))
            found = replace(found, **{one.name: draw(BY_TYPE[str(one.type)])})
            told = replace(told, **{group: found})
        elif group in ALONE:
            told = replace(told, **{group: draw(ALONE[group])})
    return told


TERMS = [
    AGREEMENT.terms,
    BOTH.terms,
    agreement({"recipients": "contributors", "past_models": "retrain", "witnesses": 3}).terms,
    amend(AGREEMENT, "c05", {"approver_keys": ["a1" * 32], "two_person": ["launch"]}).terms,
    amend(AGREEMENT, "c19", {"run_cost_cents": 10**9}).terms,
]
BLOCKS = list(AGREEMENT.terms.blocks.values())
broken = st.dictionaries(
    st.sampled_from(sorted(TYPE_OF)),
    st.sampled_from([*BLOCKS, None, "privacy", 5, {}, object()]),
    max_size=3,
)
requests = st.builds(
    lambda gate, one, purpose, outputs: Request(gate, one.order, purpose, tuple(outputs)),
    gate=st.sampled_from(Gate),
    one=st.sampled_from([order(), churn_order(), order(rounds=99), order(cohort=IDS[:4])]),
    purpose=words,
    outputs=st.lists(st.sampled_from(["model", "metrics", "figures", "price", ""]), max_size=3),
)


def test_each_fact_can_be_drawn() -> None:
    unknown = {str(one.type) for group in GROUPS.values() for one in fields(group)} - BY_TYPE.keys()
    assert unknown == set()
    assert {one.name for one in fields(Facts)} - {*GROUPS, *ALONE} == {"privacy_problem"}


EXTREMES: dict[str, list[Any]] = {
    "int": [-(10**400), -1, 0, 10**400],
    "float": [math.nan, math.inf, -math.inf, 1e308, -0.0],
    "str": ["", "x" * 10_000, "\u202e\n\x00"],
    "bool": [True, False],
    "datetime": [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)],
    "frozenset[str]": [frozenset(), frozenset({"", "\ud800", "\u202e"})],
    "tuple[frozenset[str], ...]": [(), (frozenset(),) * 3],
    "Hours": [Hours(from_hour=0, to_hour=1)],
}


@pytest.mark.parametrize("gate", list(Gate))
def test_each_fact_at_its_extremes_has_an_answer(gate: Gate) -> None:
    terms = [AGREEMENT.terms, TERMS[2], TERMS[4]]
    asked = [
        Request(gate, order(agreement=one.id).order, "train:demand", ("metrics", "model"))
        for one in terms
    ]
    alone = [
        replace(facts(gate), **{name: one})
        for name in ("now", "newest_seen")
        for one in EXTREMES["datetime"]
    ]
    within = [
        replace(facts(gate), **{name: replace(getattr(facts(gate), name), **{one.name: value})})
        for name, group in GROUPS.items()
        for one in fields(group)
        for value in EXTREMES[str(one.type).removesuffix(" | None")]
    ]
    for told in alone + within:
        for one, request in zip(terms, asked, strict=True):
            assert isinstance(decide(one, request, told), Permit | Denial)


@settings(deadline=None, max_examples=300)
@given(data=st.data(), asked=requests, terms=st.sampled_from(TERMS), wrong=broken)
def test_there_is_always_an_answer(
    data: st.DataObject, asked: Request, terms: Terms, wrong: dict[str, Any]
) -> None:
    told = data.draw(changed(asked.gate, most=8))
    answer = decide(replace(terms, blocks={**terms.blocks, **wrong}), asked, told)
    lost = {name for name, one in wrong.items() if not isinstance(one, BLOCK_OF[name])}
    if isinstance(answer, Denial):
        assert answer.reasons
        assert lost <= set(answer.clauses)
        assert all(one.sentence and one.found and one.allowed for one in answer.reasons)
    else:
        assert not lost
        assert answer.gate is asked.gate


REMOVABLE = {
    "evidence": ("signed_by_me", "signers", "operator", "coordinator", "approvers"),
    "mine": (
        *("weeks_history", "rows", "installed", "health", "data_age_days", "basis", "notices"),
        *("overdue_requests", "certificate_days", "software", "oldest_result_days"),
    ),
    "audit": ("verified_at", "witnesses"),
    "office": tuple(one.name for one in fields(OfficeFacts)),
    "release": ("uses_today",),
}
"""Facts that can only speak for a yes; without them there is no reason to give one. The others
speak against it: a revocation, a fork, a pause, earlier runs."""


@st.composite
def removal(draw: st.DrawFn, told: Facts) -> Facts:
    """The facts with one of them gone, or a whole group."""
    group = draw(st.sampled_from(["roster", "ledger", "figures", "newest_seen", *REMOVABLE]))
    found = getattr(told, group)
    if found is None:
        return told
    if group in REMOVABLE and (group == "evidence" or draw(st.booleans())):
        name = draw(st.sampled_from(REMOVABLE[group]))
        default = next(one.default for one in fields(GROUPS[group]) if one.name == name)
        return replace(told, **{group: replace(found, **{name: default})})
    return replace(told, **{group: None})


@settings(deadline=None, max_examples=300)
@given(data=st.data(), gate=st.sampled_from(Gate), terms=st.sampled_from(TERMS))
def test_knowing_less_never_turns_a_no_into_a_yes(
    data: st.DataObject, gate: Gate, terms: Terms
) -> None:
    told = data.draw(changed(gate, most=2))
    asked = Request(gate, order(agreement=terms.id).order, "train:demand", ("metrics", "model"))
    less = data.draw(removal(told))
    with_all, without = decide(terms, asked, told), decide(terms, asked, less)
    assert isinstance(with_all, Permit) or isinstance(without, Denial), str(with_all)
    clause = data.draw(st.sampled_from(sorted(TYPE_OF)))
    bare = replace(terms, blocks={k: v for k, v in terms.blocks.items() if k != clause})
    answer = decide(bare, asked, told)
    assert isinstance(answer, Denial)
    assert clause in answer.clauses


rules = st.builds(
    HouseRules,
    purposes=st.none() | st.frozensets(st.sampled_from(["train:demand", "x"])),
    columns_never=st.frozensets(st.sampled_from(["qty", "net"])),
    hours_utc=BY_TYPE["Hours | None"],
    manual_approval=st.booleans(),
    min_cohort=st.integers(0, 9),
    min_colluders=st.integers(0, 3),
    max_rounds=st.none() | st.sampled_from([39, 40]),
    max_runs=st.none() | st.integers(0, 3),
    max_epsilon=st.none() | reals,
    countries=st.none() | st.frozensets(st.sampled_from(["DE", "FR"])),
    max_uses_per_day=st.none() | st.integers(0, 2),
)


@settings(deadline=None, max_examples=300)
@given(
    data=st.data(),
    gate=st.sampled_from(Gate),
    few=rules,
    name=st.sampled_from([one.name for one in fields(HouseRules)]),
)
def test_one_more_house_rule_never_permits_more(
    data: st.DataObject, gate: Gate, few: HouseRules, name: str
) -> None:
    default = getattr(HouseRules(), name)
    fewer = replace(few, **{name: default})  # the same without this one rule
    told = data.draw(changed(gate, most=1))
    asked = Request(gate, order().order, "train:demand", ("metrics", "model"))
    more = decide(AGREEMENT.terms, asked, replace(told, house=few))
    less = decide(AGREEMENT.terms, asked, replace(told, house=fewer))
    none = decide(AGREEMENT.terms, asked, replace(told, house=HouseRules()))
    assert isinstance(more, Denial) or isinstance(less, Permit)
    assert isinstance(less, Denial) or isinstance(none, Permit)
