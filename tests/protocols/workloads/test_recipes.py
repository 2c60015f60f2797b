"""The contract that every registered recipe keeps, whatever it learns."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import workload_samples
from workload_samples import MEMBERS, SAMPLES, Sample

from protocols.errors import InputError
from protocols.privacy.rounding import norm_bound
from protocols.secagg.params import MAX_BITS, sum_bits
from protocols.workloads import catalogue
from protocols.workloads.recipe import UNIT_WORDS, Recipe, Task, Workload
from protocols.workloads.server import ServerState, start

TASKS: tuple[Task, ...] = get_args(Task)
SEED = bytes(range(32))

each = pytest.mark.parametrize("workload", catalogue.CATALOGUE.values(), ids=lambda one: one.id)


def sample_of(workload: Workload) -> Sample:
    return SAMPLES[workload.id]


def config_of(workload: Workload, **changes: Any) -> dict[str, Any]:
    return {**workload.defaults, **sample_of(workload).free, **changes}


def recipe_of(workload: Workload, **changes: Any) -> Recipe:
    return workload.configure(config_of(workload, **changes), "test config")


def begun(recipe: Recipe) -> ServerState:
    return start(recipe.init(SEED))


def test_every_registered_workload_has_a_sample() -> None:
    assert {one.id for one in catalogue.CATALOGUE.values()} == set(workload_samples.SAMPLES)
    assert len(catalogue.CATALOGUE) >= 2


@each
def test_the_defaults_and_the_free_settings_make_a_recipe(workload: Workload) -> None:
    recipe = recipe_of(workload)
    assert recipe.workload is workload
    assert set(sample_of(workload).free) <= set(workload.free)
    assert recipe == recipe_of(workload)
    assert hash(recipe) == hash(recipe_of(workload))  # a value, nothing in it changes
    assert recipe.known_until.isoformat() == "2025-12-01"
    assert workload.purpose == f"train:{workload.id}" and workload.default_rounds >= 1


@each
def test_what_an_order_may_not_say_is_refused_by_name(workload: Workload) -> None:
    name, value = sample_of(workload).wrong
    with pytest.raises(InputError, match=name):
        recipe_of(workload, **{name: value})
    with pytest.raises(InputError, match=r"surprise.*unknown"):
        recipe_of(workload, surprise=1)
    for missing in sample_of(workload).free:
        left = {key: value for key, value in config_of(workload).items() if key != missing}
        with pytest.raises(InputError, match=rf"{missing}.*missing"):
            workload.configure(left, "test config")


@each
def test_the_first_model_fills_the_layout_and_follows_from_the_seed(workload: Workload) -> None:
    recipe = recipe_of(workload)
    blocks = recipe.layout()
    assert len({block.name for block in blocks}) == len(blocks)
    first = recipe.init(SEED)
    assert first.dtype == np.float32 and first.shape == (sum(block.size for block in blocks),)
    assert first.tobytes() == recipe_of(workload).init(SEED).tobytes()
    bounds = np.concatenate([np.full(block.size, block.bound) for block in blocks])
    assert (np.abs(first) <= bounds + 1e-6).all()
    assert not np.signbit(first[first == 0]).any()
    with pytest.raises(InputError, match="seed"):
        recipe.init(b"short")


@each
@pytest.mark.parametrize("task", TASKS)
def test_vectors_fit_a_round_of_hundreds(workload: Workload, task: Task) -> None:
    shape = recipe_of(workload).shape(task)
    assert shape.dim >= 1 and shape.scale >= 1 and shape.clip > 0 and shape.w_max >= 1
    noise = recipe_of(workload).noise(task)
    sigma = 0.0
    if noise is not None:  # five honest members of thirty, the rest left or lies
        bound = norm_bound(shape.scale, noise.clip_l2, shape.dim) if noise.rounded else shape.scale
        sigma = noise.multiplier * bound / math.sqrt(5)
    assert sum_bits(30, shape.scale, shape.clip, shape.w_max, sigma) <= MAX_BITS


@each
def test_the_vector_of_training_holds_the_model(workload: Workload) -> None:
    recipe = recipe_of(workload)
    size = sum(block.size for block in recipe.layout())
    dim = recipe.shape("train").dim
    if recipe.rotate:
        assert dim >= size and dim & (dim - 1) == 0
    else:
        assert dim == size


@each
def test_a_step_moves_the_model_by_the_sum_and_by_nothing_else(workload: Workload) -> None:
    recipe = recipe_of(workload)
    state, shape = begun(recipe), recipe.shape("train")
    total = np.random.default_rng(7).integers(-shape.scale, shape.scale, shape.dim).astype(float)
    after = recipe.step(state, total, MEMBERS)
    assert after.rounds_done == state.rounds_done + 1
    assert after.params.dtype == np.float32 and not np.array_equal(after.params, state.params)
    assert after.params.tobytes() == recipe.step(state, total.copy(), MEMBERS).params.tobytes()
    assert begun(recipe).params.tobytes() == state.params.tobytes()
    back = recipe.step(state, -total, MEMBERS)
    up, down = after.params - state.params, back.params - state.params
    clear = np.abs(total) > shape.scale / 2  # there the sum decides, not the decay
    assert (np.sign(up[clear]) == np.sign(total[clear])).all()
    assert (np.sign(down[clear]) == -np.sign(total[clear])).all()


@each
def test_a_sum_over_nobody_leads_nowhere(workload: Workload) -> None:
    recipe = recipe_of(workload)
    with pytest.raises(InputError, match="sum of weights of 0"):
        recipe.step(begun(recipe), np.zeros(recipe.shape("train").dim), 0)


@each
def test_an_evaluation_names_who_reported_and_the_two_errors(workload: Workload) -> None:
    recipe = recipe_of(workload)
    total = sample_of(workload).evaluated()
    shape = recipe.shape("evaluate")
    assert total.shape == (shape.dim,)
    assert np.abs(total).max() <= MEMBERS * shape.clip * shape.scale
    figures = recipe.metrics(total.astype(np.float64), MEMBERS)
    assert all(math.isfinite(value) for value in figures.values())
    found = workload.compared(figures)
    assert found.contributors == MEMBERS and found.measure
    assert 0 < found.blend_error < found.baseline_error


@each
def test_a_sum_of_another_length_gives_no_figures(workload: Workload) -> None:
    recipe = recipe_of(workload)
    with pytest.raises(InputError):
        recipe.metrics(np.zeros(recipe.shape("evaluate").dim + 1), MEMBERS)


@each
def test_noise_is_promised_for_every_task_or_for_none(workload: Workload) -> None:
    recipe = recipe_of(workload)
    noises = [recipe.noise(task) for task in TASKS]
    assert [one is not None for one in noises] == [sample_of(workload).noised] * len(TASKS)
    assert (workload.claim != "none") is (recipe.delta is not None) is sample_of(workload).noised


@each
@pytest.mark.parametrize("task", TASKS)
def test_noised_vectors_weigh_the_same_and_hold_any_record(workload: Workload, task: Task) -> None:
    recipe = recipe_of(workload)
    noise, shape = recipe.noise(task), recipe.shape(task)
    if noise is None:
        assert workload.claim == "none"
        return
    assert noise.unit == workload.claim and noise.unit in UNIT_WORDS
    assert noise.multiplier > 0 and 0 < noise.sample_rate <= 1 and noise.clip_l2 > 0
    assert shape.w_max == 1  # secagg refuses noise beside weights
    assert shape.clip >= noise.clip_l2  # or one record alone would be cut
    assert recipe.delta is not None and 0 < recipe.delta <= 1e-3
