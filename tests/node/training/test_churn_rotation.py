"""``rotate: true``: the same steps through vectors that are turned before they are rounded."""

from __future__ import annotations

import numpy as np
import pytest

import sim_customers
import sim_shops
from node import round as way
from node.federation.participant import Ticket
from node.training import churn_fit
from protocols.course import Course
from protocols.errors import LocalError
from protocols.permit import Permit
from protocols.privacy.rounding import norm_bound
from protocols.workloads.server import ServerState
from sim_customers import churn_config, churn_papers
from sim_nodes import Entropy
from small_coop import LOG, NOW

SHOPS = 3
FINE = {"scale": 2**16, "clamp": 64.0}  # rounding says nothing at this scale


def course_of(**settings: object) -> Course:
    return churn_papers(7, **settings).course


def permit_of(course: Course) -> Permit:
    return sim_shops.permit_of(course.order.order.run, course.order.order.agreement)


def prepared(course: Course) -> list[way.Prepared]:
    ticket = Ticket(course, permit_of(course), b"")
    return [sim_customers.prepare(shop, ticket) for shop in range(SHOPS)]


def after_a_step(course: Course) -> ServerState:
    state = course.first_model()
    descriptor = course.descriptor(1, 0, state, LOG)
    total = sum(
        way.update(
            permit_of(course), one, state, 1, course.cohort[0], Entropy(f"shop {at}"), NOW
        ).values
        for at, one in enumerate(prepared(course))
    )
    return course.next_model(state, descriptor, np.asarray(total, dtype=np.int64), SHOPS)


def test_a_turned_step_is_the_same_step() -> None:
    plain, turned = (after_a_step(course_of(**FINE, rotate=on)) for on in (False, True))
    moved = np.abs(plain.params).max()
    assert moved > 0.05
    assert np.abs(plain.params - turned.params).max() < 1e-3 * moved


def test_the_vector_is_longer_and_the_noise_knows_it() -> None:
    plain, turned = course_of(), course_of(rotate=True)
    size = sum(block.size for block in turned.recipe.layout())
    assert plain.shape("train").dim == size
    assert turned.shape("train").dim == 32 > size
    shape, clip = turned.shape("train"), churn_config(turned).customer_clip
    assert turned.norm_bound("train") == norm_bound(shape.scale, clip, 32)
    assert turned.sigma_local("train") > plain.sigma_local("train")
    assert turned.first_model().params.shape == plain.first_model().params.shape == (size,)


def test_narrow_vectors_still_learn() -> None:
    course = course_of(rotate=True, scale=256, clamp=8.0)
    assert course.descriptor(1, 0, course.first_model(), LOG).bits <= 17
    wide = course_of(rotate=False)
    assert wide.descriptor(1, 0, wide.first_model(), LOG).bits > 20
    fine = after_a_step(course_of(**FINE)).params
    narrow = after_a_step(course).params
    assert np.dot(fine, narrow) > 0.95 * np.linalg.norm(fine) * np.linalg.norm(narrow)


def test_signs_differ_from_round_to_round_and_all_members_share_them() -> None:
    course, other = course_of(rotate=True), course_of(rotate=True, scale=2**14)
    seeds = [course.rotation_seed(1), course.rotation_seed(2), other.rotation_seed(1)]
    assert len(set(seeds)) == 3 and course.rotation_seed(1) == seeds[0]


def test_no_customer_is_longer_than_the_bound_after_turning() -> None:
    course = course_of(rotate=True)
    config, signs = churn_config(course), course.rotation_seed(1)
    size = sum(block.size for block in course.recipe.layout())
    for seed in range(40):
        row = np.random.default_rng(seed).normal(size=(1, size)) * 100
        whole = churn_fit.customer_sum(row, config, Entropy(f"row {seed}"), signs)
        assert whole.shape == (32,)
        assert int((whole**2).sum()) <= course.norm_bound("train") ** 2


def test_turning_needs_its_signs() -> None:
    config = churn_config(course_of(rotate=True))
    rows = np.ones((1, sum(block.size for block in course_of().recipe.layout())))
    with pytest.raises(LocalError, match="seed"):
        churn_fit.customer_sum(rows, config, Entropy("none"))
