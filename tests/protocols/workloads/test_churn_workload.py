"""The churn recipe: settings, shapes, noise, and a model that everybody derives alike."""

from __future__ import annotations

import hashlib
from datetime import date

import numpy as np
import pytest

from protocols.errors import InputError
from protocols.privacy.plan import Phase, make_plan
from protocols.privacy.rounding import norm_bound
from protocols.secagg.params import MAX_BITS, least_cohort, quorum_size, sum_bits
from protocols.workloads import catalogue, churn, churn_metrics, server

PINNED = "0761848d3272045cc51cef3ea38b7c685ec2c56ba65d21b75d8283c26d52180a"
FREE = {"train_until": "2024-10-27", "expected_customers": 3000}


def recipe(**changes: object) -> churn.Churn:
    return churn.configure({**churn.DEFAULTS, **FREE, **changes})


def test_it_is_installed_and_reads_four_columns() -> None:
    assert catalogue.find("churn", "1") is churn.WORKLOAD
    assert churn.WORKLOAD.claim == "customer"
    assert sorted(churn.WORKLOAD.columns) == [
        "business_date",
        "category_code",
        "customer_key",
        "net",
    ]
    missing = set(churn.ChurnConfig.model_fields) - set(churn.DEFAULTS) - set(churn.WORKLOAD.free)
    assert missing <= {"rotate"}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"noise_multiplier": 0}, "noise_multiplier"),
        ({"noise_multiplier": None}, "noise_multiplier"),
        ({"evaluation_noise_multiplier": 0.0}, "evaluation_noise_multiplier"),
        ({"noise": "none"}, "unknown"),
        ({"scale": 3000}, "power of two"),
        ({"customer_clip": 0}, "customer_clip"),
        ({"sample_rate": 1.5}, "sample_rate"),
        ({"delta": 0.5}, "delta"),
        ({"model": "tree"}, "model"),
        ({"w_max": 2}, "w_max"),
        ({"train_until": "yesterday"}, "train_until"),
        ({"expected_customers": 3}, "expected_customers"),
    ],
)
def test_what_an_order_may_not_say(changes: dict[str, object], word: str) -> None:
    """Above all: no order can ask for churn without noise."""
    with pytest.raises(InputError) as caught:
        recipe(**changes)
    assert word in str(caught.value)


@pytest.mark.parametrize("name", ["train_until", "expected_customers", "noise_multiplier"])
def test_what_an_order_must_say(name: str) -> None:
    settings = {**churn.DEFAULTS, **FREE}
    del settings[name]
    with pytest.raises(InputError, match=f"'{name}' is missing"):
        churn.configure(settings)


def test_snapshots_leave_the_horizon_for_labels() -> None:
    days = recipe(snapshots=3, snapshot_every_weeks=2).config.snapshot_days
    assert days == (date(2024, 8, 4), date(2024, 8, 18), date(2024, 9, 1))
    assert recipe().known_until == date(2024, 10, 27)


@pytest.mark.parametrize(("model", "size"), [("logistic", 23), ("mlp", 23 + 22 * 8 + 8 + 8)])
def test_layout_and_first_model(model: str, size: int) -> None:
    made = recipe(model=model)
    assert sum(block.size for block in made.layout()) == size
    assert made.shape("train").dim == size
    first = made.init(b"s" * 32)
    assert first.dtype == np.float32
    assert first.shape == (size,)
    assert not first[:23].any()
    if model == "mlp":
        assert np.abs(first[23 : 23 + 22 * 8]).min() > 0
        assert not first[-8:].any()  # starts as the logistic model
        assert first.tobytes() != made.init(b"t" * 32).tobytes()
    with pytest.raises(InputError, match="seed"):
        made.init(b"short")


def test_pinned_model_bytes() -> None:
    """Everybody derives the same bytes from the same sums; these were computed once."""
    made = recipe(model="mlp", hidden=2)
    state = server.start(made.init(b"pinned seed of a test"))
    size = made.shape("train").dim
    for number in range(3):
        total = (np.arange(size, dtype=np.float64) - size / 3) * 10_007 * (number + 1)
        state = made.step(state, total, 5)
    assert hashlib.sha256(state.params.astype("<f4").tobytes()).hexdigest() == PINNED


def test_the_step_divides_by_the_public_count() -> None:
    made = recipe(weight_decay=0.0)
    state = server.start(made.init(b"s" * 32))
    total = np.full(23, 3000.0 * made.config.scale)
    moved = made.step(state, total, 58).params
    np.testing.assert_allclose(moved, made.config.server.lr)
    np.testing.assert_array_equal(moved, made.step(state, total, 3).params)  # not by who came
    half = recipe(weight_decay=0.0, sample_rate=0.5)
    np.testing.assert_allclose(half.step(state, total, 58).params, 2 * moved)


def test_the_decay_draws_to_zero() -> None:
    made = recipe(weight_decay=0.5)
    state = server.start(np.ones(23, dtype=np.float32))
    moved = made.step(state, np.zeros(23), 5).params
    np.testing.assert_allclose(moved, 1 - 0.5 * made.config.server.lr)
    with pytest.raises(InputError, match="no step"):
        made.step(state, np.zeros(23), 0)
    with pytest.raises(InputError, match="finite"):
        made.step(state, np.full(23, np.nan), 5)


@pytest.mark.parametrize("members", [3, 58, 1000])
@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_sums_of_the_defaults_fit_the_modulus(members: int, model: str) -> None:
    made = recipe(model=model)
    colluders = max(1, members // 10)
    least = max(quorum_size(members, colluders), least_cohort(colluders))
    for task in ("train", "evaluate"):
        shape, noise = made.shape(task), made.noise(task)
        assert noise is not None
        assert noise.unit == "customer"
        bound = noise.clip_l2 * shape.scale
        sigma = noise.multiplier * bound / (least - colluders) ** 0.5
        assert sum_bits(members, shape.scale, shape.clip, shape.w_max, sigma) <= MAX_BITS


def test_the_defaults_cost_epsilon_one() -> None:
    made = recipe()
    phases = []
    for task, steps in (("train", churn.DEFAULT_ROUNDS), ("evaluate", 1)):
        shape, noise = made.shape(task), made.noise(task)
        assert noise is not None
        bound = noise.clip_l2 * shape.scale
        if noise.rounded:
            bound = norm_bound(shape.scale, noise.clip_l2, shape.dim)
        phases.append(Phase(task, noise.multiplier, noise.sample_rate, steps, bound, shape.dim))
    assert made.delta is not None
    plan = make_plan(
        unit="customer",
        delta=made.delta,
        least_survivors=32,
        colluders=5,
        phases=tuple(phases),
    )
    assert 0.95 < plan.epsilon_colluders <= 1.0
    assert plan.epsilon_alone < plan.epsilon_colluders


def test_metrics_are_those_of_the_sum() -> None:
    made = recipe(evaluation_noise_multiplier=0.1)
    rng = np.random.default_rng(2)
    score = rng.uniform(size=800)
    left = rng.uniform(size=800) < score
    total = churn_metrics.customer_rows(score, left).sum(axis=0).astype(np.float64)
    found = made.metrics(total, 6)
    assert made.workload.compared(found).contributors == 6
    assert found["brier_own"] == found["brier_blend"]
    assert found == churn_metrics.metrics_from_sum(total, 6, 0.1)
