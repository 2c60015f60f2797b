"""One private step: sensitivity, sampling, gradients, and that it learns."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_customers import config, entropy, lines
from node.data import customers
from node.data.customers import CustomerTable
from node.training import churn_evaluate, churn_fit
from protocols.errors import InputError, LocalError
from protocols.privacy.rounding import norm_bound
from protocols.workloads import churn, server

FRAME = lines(80, seed=3)


def made(cfg: churn.ChurnConfig) -> CustomerTable:
    return customers.own_table(FRAME, cfg.snapshot_days, cfg)


def without(table: CustomerTable, who: int) -> CustomerTable:
    keep = table.customer != who
    return replace(
        table,
        inputs=table.inputs[keep],
        customer=table.customer[keep],
        snapshot=table.snapshot[keep],
        left=table.left[keep],
    )


def numbers(cfg: churn.ChurnConfig, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=churn.dimension(cfg)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    many=st.integers(1, 12),
    size=st.floats(0.01, 1e6),
    clip=st.floats(0.05, 20),
    clamp=st.floats(0.02, 40),
    scale=st.sampled_from([256, 4096, 2**14]),
)
def test_one_customer_moves_the_sum_by_at_most_the_bound(
    seed: int, many: int, size: float, clip: float, clamp: float, scale: int
) -> None:
    """Whatever its gradient, and also where the sum is clamped; exactly, in whole units."""
    cfg = config(customer_clip=clip, clamp=clamp, scale=scale)
    dim = churn.dimension(cfg)
    rows = np.random.default_rng(seed).normal(size=(many, dim)) * size
    rounded = np.concatenate(
        [
            churn_fit.customer_sum(row[None], _wide(cfg), entropy(f"{at}"))[None]
            for at, row in enumerate(rows)
        ]
    )
    limit = int(cfg.clamp * cfg.scale)
    bound = norm_bound(scale, clip, dim)
    everybody = np.clip(rounded.sum(axis=0), -limit, limit)
    for gone in range(many):
        rest = np.clip(np.delete(rounded, gone, axis=0).sum(axis=0), -limit, limit)
        change = [int(value) for value in everybody - rest]
        assert sum(value * value for value in change) <= bound * bound
    assert np.abs(everybody).max() <= limit


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_what_is_rounded_of_a_customer_is_the_same_to_the_bit_whoever_else_is_there(
    model: str, rotate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A last digit that follows others moves their rounding, and no bound covers that."""
    cfg, signs = config(model=model, rotate=rotate), bytes(range(32))
    table, params = made(cfg), numbers(cfg)
    seen: list[np.ndarray] = []

    def keep(values: np.ndarray, *others: object) -> np.ndarray:
        seen.append(values)
        return np.zeros(values.shape, dtype=np.int64)

    monkeypatch.setattr(churn_fit, "round_bounded", keep)
    churn_fit.step(params, table, cfg, entropy("all"), signs)
    (everybody,) = seen
    for place, who in list(enumerate(np.unique(table.customer)))[:12]:
        seen.clear()
        churn_fit.step(params, without(table, who), cfg, entropy("all"), signs)
        assert seen[0].tobytes() == np.delete(everybody, place, axis=0).tobytes()
    alone = replace(
        table,
        **{
            name: getattr(table, name)[table.customer == table.customer[0]]
            for name in ("inputs", "customer", "snapshot", "left")
        },
    )
    seen.clear()
    churn_fit.step(params, alone, cfg, entropy("all"), signs)
    assert seen[0].tobytes() == everybody[:1].tobytes()


def _wide(cfg: churn.ChurnConfig) -> churn.ChurnConfig:
    return cfg.model_copy(update={"clamp": 65_536.0})


def test_the_step_is_the_clamped_sum_of_its_customers_alone() -> None:
    """Nobody else changes what one customer asks for; only the lots of rounding differ."""
    cfg = config()
    table, params = made(cfg), numbers(cfg)
    asked = churn_fit.customer_gradients(params, table, cfg)
    for at, who in enumerate(np.unique(table.customer)[:20]):
        fewer = churn_fit.customer_gradients(params, without(table, int(who)), cfg)
        np.testing.assert_array_equal(fewer, np.delete(asked, at, axis=0))


def test_the_sum_is_clamped() -> None:
    cfg = config(clamp=0.5)
    vector = churn_fit.step(numbers(cfg), made(cfg), cfg, entropy())
    limit = int(0.5 * cfg.scale)
    assert vector.dtype == np.int64
    assert np.abs(vector).max() == limit
    free = churn_fit.step(numbers(cfg), made(_wide(cfg)), _wide(cfg), entropy())
    np.testing.assert_array_equal(vector, np.clip(free, -limit, limit))


def test_rounding_is_unbiased_to_a_unit() -> None:
    cfg = config()
    asked = churn_fit.customer_gradients(numbers(cfg), made(cfg), cfg)[:3] * 0.01
    mean = np.mean(
        [churn_fit.customer_sum(asked, cfg, entropy(str(at))) for at in range(400)], axis=0
    )
    np.testing.assert_allclose(mean, asked.sum(axis=0) * cfg.scale, atol=0.2)


def test_the_sample_is_secret() -> None:
    """It comes from the entropy that is handed in, and from nothing that others know."""
    cfg = config(sample_rate=0.5)
    table, params = made(cfg), numbers(cfg)
    one = churn_fit.step(params, table, cfg, entropy("one"))
    assert np.array_equal(one, churn_fit.step(params, table, cfg, entropy("one")))
    assert not np.array_equal(one, churn_fit.step(params, table, cfg, entropy("two")))
    assert list(inspect.signature(churn_fit.step).parameters) == [
        "params",
        "table",
        "config",
        "entropy",
        "signs",  # of the rotation: public, and not used without one
    ]
    assert np.array_equal(one, churn_fit.step(params, table, cfg, entropy("one"), b"x" * 32))


def test_the_sample_has_the_rate() -> None:
    chosen = churn_fit.sampled(200_000, 0.1, entropy())
    assert chosen.mean() == pytest.approx(0.1, abs=0.004)
    assert churn_fit.sampled(50, 1.0, entropy()).all()
    edge = iter([np.array([2**63 - 1, 2**63, 0, 2**64 - 1], dtype="<u8").tobytes()])
    assert churn_fit.sampled(4, 0.5, lambda _: next(edge)).tolist() == [True, False, True, False]


def test_everybody_is_in_every_step_at_rate_one() -> None:
    cfg = config()
    table = made(cfg)
    asked: list[int] = []

    def counting(many: int) -> bytes:
        asked.append(many)
        return hashlib.shake_256(b"x").digest(many)

    churn_fit.step(numbers(cfg), table, cfg, counting)
    assert 8 * table.customers not in asked


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_gradients_are_those_of_finite_differences(model: str) -> None:
    cfg = config(model=model, hidden=3)
    table = made(cfg)
    x, left = table.inputs[:9], table.left[:9]
    params = (numbers(cfg) * 0.3).astype(np.float32)
    found = churn_fit.row_gradients(params, x, left, cfg)

    def loss(vector: np.ndarray) -> np.ndarray:
        p = churn_fit.scores(vector, x, cfg)
        return -np.where(left, np.log(p), np.log1p(-p))

    for at in range(churn.dimension(cfg)):
        up, down = params.copy(), params.copy()
        up[at] += 2e-3
        down[at] -= 2e-3
        numeric = (loss(up) - loss(down)) / (float(up[at]) - float(down[at]))
        np.testing.assert_allclose(-found[:, at], numeric, rtol=2e-3, atol=2e-4)


def test_a_customer_counts_once_however_often_it_was_seen() -> None:
    cfg = config()
    table, params = made(cfg), numbers(cfg)
    rows = churn_fit.row_gradients(params, table.inputs, table.left, cfg)
    means = churn_fit.customer_gradients(params, table, cfg)
    assert len(means) == table.customers
    for at, who in enumerate(np.unique(table.customer)):
        np.testing.assert_allclose(means[at], rows[table.customer == who].mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_a_federation_of_two_learns(model: str) -> None:
    cfg = config(model=model)
    recipe = churn.Churn(cfg)
    tables = [customers.own_table(lines(120, seed=seed), cfg.snapshot_days, cfg) for seed in (5, 6)]
    held_out = customers.own_table(lines(150, seed=7), (cfg.train_until,), cfg)
    state = server.start(recipe.init(b"s" * 32))
    before = churn_evaluate.figures_of(
        churn_fit.scores(state.params, held_out.inputs, cfg), held_out.left
    )
    for number in range(20):
        total = sum(
            churn_fit.step(state.params, one, cfg, entropy(f"{number} {at}"))
            for at, one in enumerate(tables)
        )
        state = recipe.step(state, np.asarray(total, dtype=np.float64), 2)
    after = churn_evaluate.figures_of(
        churn_fit.scores(state.params, held_out.inputs, cfg), held_out.left
    )
    assert after.auroc > 0.7
    assert after.log_loss < 0.9 * before.log_loss


def test_a_member_without_customers_adds_nothing() -> None:
    cfg = config()
    nobody = customers.own_table(FRAME.iloc[:0], cfg.snapshot_days, cfg)
    vector = churn_fit.step(numbers(cfg), nobody, cfg, entropy())
    assert vector.tolist() == [0] * churn.dimension(cfg)


def test_what_cannot_be_learnt_from() -> None:
    cfg = config()
    table = made(cfg)
    with pytest.raises(InputError, match="not known"):
        churn_fit.step(numbers(cfg), replace(table, known=False), cfg, entropy())
    with pytest.raises(InputError, match="shape"):
        churn_fit.step(numbers(cfg)[:-1], table, cfg, entropy())
    with pytest.raises(LocalError, match="not finite"):
        churn_fit.step(numbers(cfg), replace(table, inputs=table.inputs * np.nan), cfg, entropy())
