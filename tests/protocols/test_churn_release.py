"""A release that promises privacy to each customer: what the card says, and that it must be so."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest

import small_coop
from coordinator.release.models import make_release
from protocols import bundle
from protocols.agreement.facts import Denial
from protocols.canonical import json_bytes
from protocols.errors import InputError, Refused
from protocols.evidence import Findings, verify_release
from protocols.permit import Permit
from protocols.privacy.accountant import epsilon
from protocols.privacy.rounding import norm_bound
from protocols.release import Documents, decision, privacy_section
from protocols.retrace import follow, record_bytes
from protocols.secagg.checks import check_descriptor
from protocols.signing import jws_sign
from protocols.spending import cost
from protocols.workloads import churn
from small_coop import COORDINATOR, LOG, MEMBERS, NOW, Coop, churn_order, office_log


def churn_coop(config: Mapping[str, Any] | None = None, **figures: Any) -> Coop:
    terms = small_coop.agreement(**figures)
    signed, roster = small_coop.rosters()
    whole = {
        **churn.DEFAULTS,
        "train_until": "2025-12-01",
        "expected_customers": 1000,
        "customer_clip": 1.0,
        "noise_multiplier": 40.0,
        "evaluation_noise_multiplier": 8.0,
        "delta": 1e-5,
    }
    order = churn_order(terms, roster, config={**whole, **(config or {})})
    return Coop(terms, signed, roster, order)


@cache
def released() -> tuple[Coop, Mapping[str, bytes]]:
    found, run = small_coop.finished(found=churn_coop())
    release = make_release(found.source(run.records), COORDINATOR, office_log(), NOW)
    return found, dict(release.files)


@cache
def verified() -> Findings:
    found, files = released()
    return verify_release(files, found.pins)


def decided(found: Coop) -> Permit | Denial:
    _, run = small_coop.finished(found=found)
    voters = frozenset(map(str, found.roster.voters()))
    documents = Documents(found.agreement, found.roster, found.order, voters)
    return decision(documents, run.trace.survivors, run.trace.metrics(), NOW)


def test_the_card_says_what_was_promised_to_each_customer() -> None:
    found, _ = released()
    told = verified().card["privacy"]
    plan = found.run().course.privacy()
    assert plan is not None
    assert told["claim"] == "customer" and "customer" in told["unit"]
    assert told["delta"] == 1e-5 and told["colluders"] == 2 and told["least_survivors"] == 5
    assert told["sums"] == {
        "train": {"noise_multiplier": 40.0, "sample_rate": 1.0, "steps": 2},
        "evaluate": {"noise_multiplier": 8.0, "sample_rate": 1.0, "steps": 1},
    }
    both = [epsilon(plan.events_alone, 1e-5), epsilon(plan.events_colluders, 1e-5)]
    shown = [told["epsilon"]["coordinator"], told["epsilon"]["colluders"]]
    assert all(0 <= up - exact <= 1e-3 for up, exact in zip(shown, both, strict=True))
    assert 0 < shown[0] < shown[1]  # helped by two members it sees more
    assert "factor" in told["statement"] and "customer" in told["statement"]


def test_training_and_evaluation_are_both_paid_for() -> None:
    cheap = churn_coop({"evaluation_noise_multiplier": 400.0}).run().course
    usual = churn_coop().run().course
    rough = churn_coop({"noise_multiplier": 10.0}).run().course
    spent = [privacy_section(one)["epsilon"]["colluders"] for one in (cheap, usual, rough)]
    assert spent[0] < spent[1] < spent[2]


def test_each_descriptor_carries_the_share_that_the_plan_asks_for() -> None:
    run = churn_coop().run()
    honest = math.sqrt(5 - 2)  # fewest survivors less colluders
    shape = run.course.shape("train")
    whole = norm_bound(shape.scale, 1.0, shape.dim)
    assert run.course.norm_bound("train") == whole
    assert run.descriptor().sigma_local == 40.0 * whole / honest
    run.play()
    run.play()
    assert run.descriptor().sigma_local == 8.0 * run.course.shape("evaluate").scale / honest
    assert run.course.norm_bound("evaluate") == run.course.shape("evaluate").scale
    plain = small_coop.coop().run()
    assert plain.descriptor().sigma_local == 0.0 and plain.course.privacy() is None


@pytest.mark.parametrize("factor", [0.0, 0.999, 1.001])
def test_a_member_expects_this_very_share(factor: float) -> None:
    course = churn_coop().run().course
    state = course.first_model()
    right = course.descriptor(1, 0, state, LOG)
    wrong = dataclasses.replace(right, sigma_local=right.sigma_local * factor)
    expected = course.expected(1, 0, state, right.prev_transcript)
    me = right.ids[0]
    check_descriptor(right, course.demands(), expected, course.roster_keys, me)
    with pytest.raises(Refused) as caught:
        check_descriptor(wrong, course.demands(), expected, course.roster_keys, me)
    assert "c14" in caught.value.clauses


def test_an_auditor_refuses_a_round_with_less_noise() -> None:
    run = churn_coop().run()
    right = run.descriptor()
    weak = record_bytes(run.record(dataclasses.replace(right, sigma_local=right.sigma_local / 2)))
    with pytest.raises(InputError, match="sigma_local"):
        follow(run.trace, weak, COORDINATOR.public, "record")


EDITS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "smaller epsilon": lambda told: told["epsilon"].update(colluders=0.1),
    "more noise than there was": lambda told: told["sums"]["train"].update(noise_multiplier=80.0),
    "no evaluation": lambda told: told["sums"].pop("evaluate"),
    "other delta": lambda told: told.update(delta=1e-9),
    "other claim": lambda told: told.update(claim="member"),
    "nicer words": lambda told: told.update(statement="nobody can learn anything"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_card_that_promises_more_is_tampered_with(name: str) -> None:
    found, files = released()
    card = json.loads(files[bundle.CARD])
    EDITS[name](card["privacy"])
    signed = json_bytes(jws_sign(card, "coordinator", COORDINATOR))
    changed = {**files, bundle.CARD: json_bytes(card), bundle.CARD_SIGNED: signed}
    with pytest.raises(InputError, match="'privacy'"):
        verify_release(changed, found.pins)


def test_the_findings_say_the_promise_in_words() -> None:
    told = next(one.sentence for one in verified().passed if one.check == "privacy")
    assert told == verified().card["privacy"]["statement"]
    metrics = next(one.sentence for one in verified().passed if one.check == "metrics")
    assert "Brier" in metrics and "WAPE" not in metrics


def test_the_gate_knows_what_the_run_spends() -> None:
    assert isinstance(decided(churn_coop()), Permit)
    spent = cost(churn_coop().run().course.privacy()).epsilon_run
    small = decided(churn_coop(epsilon=round(spent / 2, 3)))
    assert isinstance(small, Denial) and "c14" in small.clauses
    strict = decided(churn_coop(delta=1e-7))
    assert isinstance(strict, Denial) and "c14" in strict.clauses


def test_with_noise_the_survivors_may_change() -> None:
    found = churn_coop(survivor_changes=0)
    run = found.run()
    for present in (MEMBERS, MEMBERS[:5], MEMBERS[1:]):
        run.present = present
        run.play()
    release = make_release(found.source(run.records), COORDINATOR, office_log(), NOW)
    assert verify_release(release.files, found.pins).card["cohort"]["survivors_min"] == 5


def test_a_run_that_promises_nothing_says_so() -> None:
    course = small_coop.coop().run().course
    assert privacy_section(course)["claim"] == "none"
    assert cost(course.privacy()).unit == "none" and cost(course.privacy()).epsilon_run == 0.0
    assert course.norm_bound("train") == 0.0


def test_noise_that_no_modulus_holds_is_no_order() -> None:
    course = churn_coop({"noise_multiplier": 10_000.0, "scale": 2**20}).run().course
    with pytest.raises(InputError):
        course.descriptor(1, 0, course.first_model(), LOG)
