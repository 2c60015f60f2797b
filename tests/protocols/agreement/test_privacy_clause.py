"""Clause 14 beside clause 13: what a workload promises, and what its runs may spend."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from agreement_world import (
    BOTH,
    CHURN,
    IDS,
    NOW,
    RELEASE,
    SPENDING,
    WORKLOAD,
    agreement,
    churn_order,
    facts,
    member,
    order,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.agreement.check import Level, check
from protocols.agreement.decide import decide
from protocols.agreement.facts import Denial, Facts, LedgerFacts, PrivacyFacts, Request
from protocols.agreement.house import HouseRules
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.render import comparison, page
from protocols.agreement.survivors import change_limit, survivor_change
from protocols.agreement.template import amend
from protocols.agreement.terms import TYPE_OF, Privacy, Terms
from protocols.errors import InputError
from protocols.permit import Gate, Permit

MINE = member(basis="consent")
RELEASED = replace(RELEASE, purposes=frozenset({"train:churn", "train:demand"}))
RUNNING = (Gate.LAUNCH, Gate.ADMIT)
ALL = tuple(Gate)


def asked(gate: Gate = Gate.ADMIT, **changes: Any) -> Request:
    wanted = churn_order(**changes).order
    return Request(gate, wanted, purpose="train:churn", outputs=("metrics", "model"))


def told(privacy: PrivacyFacts | None = SPENDING, gate: Gate = Gate.ADMIT, **changes: Any) -> Facts:
    return facts(gate, **({"mine": MINE, "privacy": privacy, "release": RELEASED} | changes))


def said(answer: Permit | Denial, clause: str = "c14") -> str:
    assert isinstance(answer, Denial)
    return " | ".join(str(one) for one in answer.reasons if one.clause == clause)


def terms_with(**figures: Any) -> tuple[ParsedAgreement, Terms]:
    parsed = agreement(figures, workloads=[CHURN, WORKLOAD])
    return parsed, parsed.terms


@pytest.mark.parametrize("gate", ALL)
def test_demand_and_churn_stand_in_one_agreement(gate: Gate) -> None:
    assert isinstance(decide(BOTH.terms, asked(gate), told(gate=gate)), Permit)
    plain = Request(
        gate, order(agreement=BOTH.id).order, purpose="train:demand", outputs=("metrics", "model")
    )
    assert isinstance(decide(BOTH.terms, plain, facts(gate, release=RELEASED)), Permit)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"delta": 2e-5}, "(delta) of 2e-05, at most 1e-05 is allowed"),
    ({"delta": 0.0}, "(delta) of 0"),
    ({"delta": math.nan}, "(delta) of nan"),
    ({"delta": -1e-5}, "at most 1e-05"),
    ({"epsilon_run": 4.0005}, "the run alone would spend 4.001 of epsilon, 4 is allowed"),
    ({"epsilon_run": math.inf}, "the run alone would spend an unknown amount"),
    ({"epsilon_run": math.nan}, "an unknown amount"),
    ({"epsilon_run": 1.8e305}, "the run alone would spend more than a million of epsilon"),
    ({"epsilon_run": -1.8e305}, "the run alone would spend an amount below 0"),
    ({"epsilon_run": -0.1}, "the run alone"),
    ({"unit": "member"}, "would run with noise for each member, agreed is noise for each customer"),
    ({"unit": "none"}, "would run with no noise, agreed is noise for each customer"),
    ({"unit": ""}, "agreed is noise for each customer"),
]


@pytest.mark.parametrize("gate", ALL)
@pytest.mark.parametrize(("change", "words"), BAD)
def test_a_promise_that_is_too_weak_is_denied_at_every_gate(
    gate: Gate, change: dict[str, Any], words: str
) -> None:
    assert words in said(decide(BOTH.terms, asked(gate), told(replace(SPENDING, **change))))


LEDGER: list[tuple[dict[str, Any], str]] = [
    (
        {"epsilon_before": 3.7, "epsilon_after": 4.1, "epsilon_run": 0.6},
        "the run would spend 0.6 of epsilon, 0.3 of 4 is left until 2026-09-01: with it 4.1 would "
        "be spent for each customer in 365 days",
    ),
    ({"epsilon_after": math.nan}, "an unknown amount would be spent"),
    ({"epsilon_after": math.inf, "frees_at": None}, "1.5 of 4 is left: with it"),
    ({"epsilon_before": math.nan}, "0 of 4 is left"),
    ({"epsilon_before": -1.0}, "0 of 4 is left"),
]


@pytest.mark.parametrize(("change", "words"), LEDGER)
def test_a_spent_budget_is_denied_where_runs_start_and_says_when_it_comes_back(
    change: dict[str, Any], words: str
) -> None:
    spent = told(replace(SPENDING, **change))
    for gate in RUNNING:
        assert words in said(decide(BOTH.terms, asked(gate), spent))
    for gate in (Gate.RELEASE, Gate.USE):
        assert isinstance(decide(BOTH.terms, asked(gate), spent), Permit)


@pytest.mark.parametrize("gate", ALL)
def test_an_unknown_cost_is_denied(gate: Gate) -> None:
    assert "costs in privacy is not known" in said(decide(BOTH.terms, asked(gate), told(None)))
    plain = Request(
        gate, order(agreement=BOTH.id).order, purpose="train:demand", outputs=("metrics", "model")
    )
    answer = decide(BOTH.terms, plain, facts(gate, privacy=None, release=RELEASED))
    assert isinstance(answer, Denial) == (gate in RUNNING)


def test_noise_that_no_budget_counts_does_not_run() -> None:
    hidden = agreement(workloads=[CHURN | {"privacy": "none"}])
    answer = decide(hidden.terms, asked(agreement=hidden.id), told())
    assert "would run with noise for each customer, agreed is no noise" in said(answer)
    without = amend(BOTH, "c14", {"budgets": []})
    answer = decide(without.terms, asked(agreement=without.id), told())
    assert "has no budget for it" in said(answer)


@settings(deadline=None)
@given(
    run=st.floats(allow_nan=True),
    before=st.floats(allow_nan=True),
    after=st.floats(allow_nan=True),
    delta=st.floats(allow_nan=True),
    gate=st.sampled_from(RUNNING),
)
def test_whatever_the_figures_a_permit_fits_the_clause(
    run: float, before: float, after: float, delta: float, gate: Gate
) -> None:
    answer = decide(
        BOTH.terms, asked(gate), told(PrivacyFacts("customer", delta, run, before, after), gate)
    )
    fits = 0 <= run <= 4 and 0 <= before < math.inf and 0 <= after <= 4 and 0 < delta <= 1e-5
    assert isinstance(answer, Permit) == fits


def test_noise_frees_a_run_from_the_limit_on_survivors() -> None:
    assert change_limit(BOTH.terms, churn_order().order) is None
    assert change_limit(BOTH.terms, order(agreement=BOTH.id).order) == 2
    assert change_limit(BOTH.terms, order(workload=CHURN | {"digest": "ee" * 32}).order) == 0
    full, fewer = frozenset(IDS), frozenset(IDS[:7])
    sets = [full, fewer, full, fewer]
    assert survivor_change(sets, full, 5, None) is None
    assert survivor_change(sets, full, 5, 2) is not None
    assert survivor_change(sets, frozenset(IDS[:4]), 5, None) is not None  # too few stay too few
    ledger = LedgerFacts(3, (full, fewer, full))
    smaller = decide(BOTH.terms, asked(cohort=IDS[:7]), told(ledger=ledger))
    assert isinstance(smaller, Permit)
    plain = Request(Gate.ADMIT, order(agreement=BOTH.id, cohort=IDS[:7]).order)
    assert "3. time" in said(decide(BOTH.terms, plain, facts(ledger=ledger)))


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (
            2.9,
            "with this run 3 of epsilon would be spent in the period, your house rules allow 2.",
        ),
        (3.0, ""),
        (50.0, ""),
        (math.nan, "your house rules allow an unknown amount"),
    ],
)
def test_a_member_may_spend_less_and_never_more(own: float, words: str) -> None:
    strict = told(house=HouseRules(max_epsilon=own))
    answer = decide(BOTH.terms, asked(), strict)
    if words:
        assert words in said(answer, "house")
    else:
        assert isinstance(answer, Permit)
    over = replace(SPENDING, epsilon_after=4.5)
    assert "4.5 would be spent" in said(
        decide(BOTH.terms, asked(), told(over, house=HouseRules(max_epsilon=own)))
    )
    unknown = decide(BOTH.terms, asked(), told(None, house=HouseRules(max_epsilon=own)))
    assert "an unknown amount" in said(unknown, "house")
    plain = Request(Gate.ADMIT, order(agreement=BOTH.id).order)
    without_noise = decide(BOTH.terms, plain, facts(house=HouseRules(max_epsilon=0.0)))
    assert isinstance(without_noise, Permit)  # there is no epsilon to spend


FINDINGS: list[tuple[ParsedAgreement, str, Level, str]] = [
    (amend(BOTH, "c14", {"budgets": []}), "c14", Level.ERROR, "there is no budget for it"),
    (
        amend(
            agreement(),
            "c14",
            {"budgets": [{"unit": "customer", "epsilon": 4, "delta": 1e-5, "period_days": 365}]},
        ),
        "c14",
        Level.ERROR,
        "no workload that uses it",
    ),
    (terms_with(epsilon=8.5)[0], "c14", Level.ERROR, "next to nothing"),
    (terms_with(epsilon=8)[0], "c14", Level.WARNING, "an epsilon of 8 in 365 days is weak"),
    (terms_with(delta=1.1e-4)[0], "c14", Level.ERROR, "1 in 10 times 1,000 customers"),
    (terms_with(delta=1e-4)[0], "c14", Level.WARNING, "1 in 10 times 10,000 customers"),
    (terms_with(budget_days=30)[0], "c14", Level.WARNING, "comes back after 30 days"),
    (
        agreement(workloads=[CHURN | {"config": {"w_max": 2}}]),
        "c13",
        Level.ERROR,
        "all count the same",
    ),
]


@pytest.mark.parametrize(("parsed", "clause", "level", "words"), FINDINGS)
def test_the_linter_finds_budgets_that_make_no_sense(
    parsed: ParsedAgreement, clause: str, level: Level, words: str
) -> None:
    found = check(parsed.agreement, parsed.terms, NOW)
    assert any(
        (one.clause, one.level) == (clause, level) and words in one.sentence for one in found
    )


def test_the_template_with_churn_has_a_budget_and_no_contradiction() -> None:
    for parsed in (BOTH, agreement()):
        errors = [
            one
            for one in check(parsed.agreement, parsed.terms, NOW)
            if one.level is Level.ERROR or one.clause == "c14"
        ]
        assert errors == []
    block = agreement().terms.block("c14", Privacy)
    assert block is not None
    assert block.budgets == ()


SAID = [
    "at most epsilon 4 (delta 1e-05) of each customer's privacy in any 365 days",
    "54.6 times",
    "Program churn 1, code d2d2 d2d2 d2d2 d2d2",
    "with noise that hides each single customer",
    "In runs of churn every computer adds noise",
    "In runs of demand we add no artificial noise",
    "It knows customers only by a number",
]


def test_the_page_says_it_in_plain_words() -> None:
    text = " ".join(page(BOTH).split())
    assert [words for words in SAID if words not in text] == []
    plain = " ".join(page(agreement()).split())
    assert "No workload that promises privacy to single customers can run." in plain
    assert "It reads no customer, no staff" in plain
    assert "every computer adds noise" not in plain


def test_a_looser_budget_is_named_in_the_comparison() -> None:
    looser = amend(
        BOTH,
        "c14",
        {"budgets": [{"unit": "customer", "epsilon": 6, "delta": 1e-6, "period_days": 30}]},
    )
    text = comparison(BOTH, looser)
    assert "budgets[customer].epsilon: 4.0 -> 6.0 (looser)" in text
    assert "budgets[customer].delta: 1e-05 -> 1e-06 (tighter)" in text
    assert "budgets[customer].period_days: 365 -> 30 (looser)" in text


ONE = {"unit": "customer", "epsilon": 1.0, "delta": 1e-6, "period_days": 365}


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        ([ONE, ONE], "same unit"),
        ([ONE | {"unit": "member"}], "unit"),
        ([ONE | {"epsilon": 0}], "epsilon"),
        ([ONE | {"epsilon": 101}], "epsilon"),
        ([ONE | {"delta": 0.5}], "delta"),
        ([ONE | {"delta": 0}], "delta"),
        ([ONE | {"period_days": 0}], "period_days"),
        ([ONE | {"epsilon": "4"}], "epsilon"),
        ([ONE | {"spent": 0}], "spent"),
    ],
)
def test_a_budget_that_cannot_be_read_is_refused(budgets: list[Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        amend(BOTH, "c14", {"budgets": budgets})


def test_a_workload_says_whether_it_promises_anything() -> None:
    silent = {key: value for key, value in CHURN.items() if key != "privacy"}
    with pytest.raises(InputError, match="privacy"):
        agreement(workloads=[silent])
    with pytest.raises(InputError, match="privacy"):
        agreement(workloads=[CHURN | {"privacy": "member"}])


def test_without_clause_14_nothing_is_promised_and_nothing_runs() -> None:
    blocks = {name: block for name, block in BOTH.terms.blocks.items() if name != "c14"}
    bare = replace(BOTH.terms, blocks=blocks)
    assert set(TYPE_OF) - set(blocks) == {"c14"}
    assert "missing" in said(decide(bare, asked(), told()))
    assert change_limit(bare, churn_order().order) == 0
