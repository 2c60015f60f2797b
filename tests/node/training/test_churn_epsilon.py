"""What a sum really shows of one customer, measured, against the epsilon that a card would say.

Two neighbouring sets of customers go many times through the real way: gradient, clip, rounding,
secret sample, shares of noise, sum modulo 2^b. The best test that anybody could make between the
two (a threshold on the part of the sum along the customer's gradient) must not do better than
(epsilon, delta) allows. Each case is also tried with one thing wrong, and must be found then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

import sim_customers
import sim_shops
from node.data.customers import CustomerTable
from node.federation.participant import Ticket
from node.training import churn_fit
from protocols.course import Course
from protocols.privacy import accountant
from protocols.privacy.noise import discrete_gaussian
from protocols.privacy.plan import local_sigma
from protocols.secagg.fixedpoint import add_noise
from protocols.secagg.params import RoundDescriptor
from protocols.secagg.recovery import read_sum
from sim_customers import churn_config, churn_papers
from sim_nodes import Entropy
from small_coop import LOG

TRIALS = 1500
SURE = 3.0  # standard deviations of what is counted

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """``multiplier`` and ``rate`` of the order, and where on the curve it is looked at."""

    multiplier: float
    rate: float
    delta: float


CASES = (Case(1.0, 1.0, 0.3), Case(0.5, 0.5, 0.2))


@dataclass(frozen=True)
class Bench:
    """One training step of an order, for the fewest honest members that a sum may have."""

    course: Course
    descriptor: RoundDescriptor
    alone: CustomerTable  # one customer
    nobody: CustomerTable
    way: Floats  # unit vector along the customer's gradient

    @property
    def shares(self) -> int:
        return self.course.least_survivors - self.course.colluders

    def sums(self, table: CustomerTable, name: str, sigma: float) -> Floats:
        """The sum along the customer's gradient, over the norm bound, ``TRIALS`` times."""
        config, params = churn_config(self.course), np.array(self.course.first_model().params)
        entropy = Entropy(name)
        found = np.empty(TRIALS)
        for trial in range(TRIALS):
            total = np.zeros(self.descriptor.coordinates, dtype=np.uint32)
            for member in range(self.shares):
                rows = table if member == 0 else self.nobody
                units = churn_fit.step(params, rows, config, entropy)
                noise = discrete_gaussian(sigma, self.descriptor.dim, entropy)
                total += add_noise(units, noise, self.descriptor)
            values, _ = read_sum(total, self.shares, self.descriptor)
            found[trial] = values @ self.way / self.course.norm_bound("train")
        return found


def without(table: CustomerTable, keep: NDArray[np.bool_]) -> CustomerTable:
    return replace(
        table,
        inputs=table.inputs[keep],
        customer=table.customer[keep],
        snapshot=table.snapshot[keep],
        left=table.left[keep],
    )


def bench(case: Case, rate: float) -> Bench:
    papers = churn_papers(
        noise_multiplier=case.multiplier, sample_rate=rate, customer_clip=0.5, scale=2**12
    )
    course = papers.course
    permit = sim_shops.permit_of(course.order.order.run, course.order.order.agreement)
    prepared = sim_customers.prepare(0, Ticket(course, permit, b""))
    assert isinstance(prepared, sim_customers.way.PreparedChurn)
    table, config, state = prepared.table, churn_config(course), course.first_model()
    alone = without(table, table.customer == table.customer[0])
    (asked,) = churn_fit.customer_gradients(np.array(state.params), alone, config)
    assert np.linalg.norm(asked) > config.customer_clip  # it moves the sum as far as one can
    return Bench(
        course,
        course.descriptor(1, 0, state, LOG),
        alone,
        without(table, np.zeros(len(table), dtype=np.bool_)),
        asked / np.linalg.norm(asked),
    )


def claimed(course: Course, case: Case) -> float:
    """Epsilon of one step at ``case.delta`` against the colluders, as budgets count it."""
    plan = course.privacy()
    assert plan is not None
    train = replace(plan.events_colluders[0], steps=1, sample_rate=case.rate)
    return accountant.epsilon([train], case.delta)


def measured(case: Case, epsilon: float, with_it: Floats, without_it: Floats) -> tuple[float, ...]:
    """Delta at ``epsilon``, for adding and for removing, less ``SURE`` standard deviations.

    The sets are where the likelihood ratio of the promised mechanism is above e^epsilon or below
    its inverse; any set gives a lower bound of delta.
    """
    shift, rate = 1 / case.multiplier, case.rate
    x = np.stack([with_it, without_it]) * shift  # the noise has standard deviation 1 now
    ratio = 1 - rate + rate * np.exp(shift * x - shift * shift / 2)
    found = []
    for chosen, first in ((ratio > math.exp(epsilon), 0), (ratio < math.exp(-epsilon), 1)):
        more, less = chosen[first].mean(), chosen[1 - first].mean()
        spread = more * (1 - more) + math.exp(2 * epsilon) * less * (1 - less)
        found.append(more - math.exp(epsilon) * less - SURE * math.sqrt(spread / TRIALS))
    return tuple(found)


@pytest.mark.parametrize("case", CASES)
def test_no_test_tells_one_customer_better_than_the_card_allows(case: Case) -> None:
    made = bench(case, case.rate)
    sigma = made.course.sigma_local("train")
    assert made.descriptor.sigma_local == sigma
    both = [
        made.sums(table, f"{name} {case}", sigma)
        for name, table in (("with", made.alone), ("without", made.nobody))
    ]
    epsilon = claimed(made.course, case)
    assert epsilon > 0.1
    assert max(measured(case, epsilon, both[0], both[1])) <= case.delta


def test_noise_that_was_sized_for_all_members_is_found() -> None:
    case = CASES[0]
    made = bench(case, case.rate)
    members = len(made.course.cohort)
    sigma = local_sigma(case.multiplier, made.course.norm_bound("train"), members)
    both = [made.sums(table, f"thin {len(table)}", sigma) for table in (made.alone, made.nobody)]
    assert max(measured(case, claimed(made.course, case), both[0], both[1])) > case.delta


def test_a_sample_that_is_no_secret_is_found() -> None:
    """Who knows that the customer is in the step sees the sum of a step with everybody."""
    case = CASES[1]
    made = bench(case, 1.0)
    sigma = made.course.sigma_local("train")
    both = [made.sums(table, f"known {len(table)}", sigma) for table in (made.alone, made.nobody)]
    assert max(measured(case, claimed(made.course, case), both[0], both[1])) > case.delta
