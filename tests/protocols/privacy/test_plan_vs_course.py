"""The plan of a real order: what the descriptor asks of each member is what the card promises."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any, get_args

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld

import small_coop
from node.training.churn_fit import customer_sum
from protocols.course import Course, chart
from protocols.privacy import noise
from protocols.privacy.plan import Plan
from protocols.secagg.params import MAX_BITS, RoundDescriptor, Task, sum_bits
from protocols.workloads import churn, churn_metrics
from small_coop import LOG, churn_order

TASKS: tuple[Task, ...] = get_args(Task)
CONFIG = {
    **churn.DEFAULTS,
    "train_until": "2025-12-01",
    "expected_customers": 1000,
    "noise_multiplier": 9.5,
    "evaluation_noise_multiplier": 6.0,
    "sample_rate": 0.25,
    "customer_clip": 1.5,
    "delta": 2e-6,
}


@cache
def course(rounds: int = 40, colluders: int = 2, min_cohort: int = 5) -> Course:
    terms = small_coop.agreement()
    _, roster = small_coop.rosters()
    order = churn_order(
        terms, roster, config=CONFIG, rounds=rounds, colluders=colluders, min_cohort=min_cohort
    )
    return chart(order, terms.terms, roster)


def plan() -> Plan:
    found = course().privacy()
    assert found is not None
    return found


def descriptor(task: Task) -> RoundDescriptor:
    here = course()
    number = 1 if task == "train" else here.last_round
    return here.descriptor(number, 0, here.first_model(), LOG, bytes(32))


def norm_by_hand(task: Task) -> float:
    if task == "evaluate":
        return float(churn_metrics.SCALE)
    config = churn.parse_config(CONFIG)
    length, dim = 1.5 * config.scale, churn.dimension(config)
    return math.sqrt(length**2 + dim / 4 + length + math.sqrt(dim) / 2)


Z: Mapping[Task, float] = {"train": 9.5, "evaluate": 6.0}


@pytest.mark.parametrize("task", TASKS)
def test_the_descriptor_holds_the_noise_that_the_formula_gives(task: Task) -> None:
    made = descriptor(task)
    shares = made.least_survivors - made.colluders
    assert shares == plan().shares > 0
    by_hand = Z[task] * norm_by_hand(task) / math.sqrt(shares)
    assert made.sigma_local == pytest.approx(by_hand, rel=1e-14)
    # the member derives the very same bytes from the order, and the sum has room for the noise
    here = course()
    expected = here.expected(made.round, 0, here.first_model(), bytes(32))
    assert struct.pack("<d", expected.sigma_local) == struct.pack("<d", made.sigma_local)
    assert struct.pack("<d", plan().sigma_local(task)) == struct.pack("<d", made.sigma_local)
    room = sum_bits(made.members, made.scale, made.clip, made.w_max, made.sigma_local)
    assert made.bits == room <= MAX_BITS


def test_every_sum_that_leaves_is_in_the_plan() -> None:
    here = course()
    tasks = [here.task(number) for number in range(1, here.last_round + 1)]
    steps = {phase.name: phase.steps for phase in plan().phases}
    assert steps == {task: tasks.count(task) for task in TASKS}
    assert sum(steps.values()) == here.last_round
    for phase in plan().phases:
        made = descriptor("train" if phase.name == "train" else "evaluate")
        assert phase.dim == made.dim
        assert made.w_max == 1  # a weight has no noise and must say nothing
    assert plan().unit == "customer"


def test_the_promise_is_what_the_library_says_of_the_order() -> None:
    """Written out from the config, not through the plan."""
    account = pld.PLDAccountant()
    step = dp_accounting.PoissonSampledDpEvent(0.25, dp_accounting.GaussianDpEvent(9.5))
    account.compose(dp_accounting.SelfComposedDpEvent(step, 40))
    account.compose(dp_accounting.GaussianDpEvent(6.0))
    ideal = account.get_epsilon(2e-6)
    assert ideal <= plan().epsilon_colluders < ideal * 1.01  # the distances cost a little
    assert plan().delta == 2e-6


def test_a_coordinator_alone_learns_less_than_with_its_helpers() -> None:
    made = descriptor("train")
    assert plan().epsilon_alone < plan().epsilon_colluders
    for event, z in zip(plan().events_alone, (9.5, 6.0), strict=True):
        gain = math.sqrt(made.least_survivors / plan().shares)
        assert event.noise_multiplier == pytest.approx(z * gain)


@pytest.mark.parametrize("colluders", [1, 2, 3, 4])
@pytest.mark.parametrize("min_cohort", [3, 5, 6])
def test_the_plan_counts_on_the_survivors_that_the_descriptor_demands(
    colluders: int, min_cohort: int
) -> None:
    here = course(3, colluders, min_cohort)
    made = here.descriptor(1, 0, here.first_model(), LOG, bytes(32))
    found = here.privacy()
    assert found is not None
    assert found.least_survivors == made.least_survivors
    assert found.colluders == made.colluders >= colluders
    # with the fewest survivors and all colluders silent the promised noise is there
    held = Fraction(made.sigma_local) ** 2 * (made.least_survivors - made.colluders)
    assert held >= Fraction(9.5 * here.norm_bound("train")) ** 2 * (1 - Fraction(1, 10**14))


def entropy(label: int) -> Any:
    """A source for tests only: the noise module's own stream under a small key."""
    words = noise.fresh(lambda count: label.to_bytes(count, "little"))
    return words.bytes


def test_one_customer_moves_the_members_sum_by_no_more_than_the_bound() -> None:
    config = churn.parse_config({**CONFIG, "sample_rate": 1.0})
    dim = churn.dimension(config)
    bound = norm_by_hand("train")
    for label in range(40):
        gradient = np.full((1, dim), 10.0 ** (label % 8 - 4)) * (-1) ** label
        alone = customer_sum(gradient, config, entropy(label))
        nobody = customer_sum(gradient[:0], config, entropy(label))
        moved = sum(int(one) ** 2 for one in alone - nobody)
        assert moved <= bound * bound
        assert (label % 8 < 5) or moved > (bound * 0.99) ** 2  # a long one is at the bound


def test_one_customer_moves_the_evaluation_by_no_more_than_its_bound() -> None:
    """All corners of what a customer may change: its own score, and every score of the baseline."""
    bound = norm_by_hand("evaluate")
    scores = np.array([0.0, 0.04, 0.05, 0.1, 0.333, 0.5, 0.95, 1.0])
    nobody = churn_metrics.customer_rows(np.zeros(0), np.zeros(0, dtype=bool))
    rows = [
        churn_metrics.customer_rows(np.array([score]), np.array([left]))
        for score in scores
        for left in (False, True)
    ]
    left = np.array([True, False, False])
    flat = [np.full(3, score) for score in (0.0, 0.2, 0.201, 0.5, 1.0)]
    gains = {
        churn_metrics.member_gain(own[:size], blend[:size], left[:size])
        for size in (3, 0)
        for own in flat
        for blend in flat
    }
    assert len(gains) >= 3
    worst = max(
        math.sqrt(sum(int(one) ** 2 for one in with_one - without))
        for without in (churn_metrics.member_vector(nobody, gain) for gain in gains)
        for with_one in (churn_metrics.member_vector(row, gain) for row in rows for gain in gains)
    )
    assert 0.9 * bound < worst <= bound


def test_a_workload_without_a_promise_has_no_plan_and_no_noise() -> None:
    found = small_coop.coop()
    here = chart(found.order, found.agreement.terms, found.roster)
    assert here.privacy() is None
    made = here.descriptor(1, 0, here.first_model(), LOG, bytes(32))
    assert made.sigma_local == 0.0
