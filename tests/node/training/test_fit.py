"""The network and one round of local training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shop_series import NAMES, NOW, checked, config, last_day, weekly

from node.data import features
from node.training import clip, fit, models
from protocols.errors import InputError, LocalError
from protocols.workloads import demand, server

SEED = b"order round member"


def table(weeks: int = 28, seed: int = 1) -> features.TrainingTable:
    return features.training_table(checked(weekly(40, seed)), NOW, config(weeks))


def mean_loss(params: np.ndarray, made: features.TrainingTable, cfg: demand.DemandConfig) -> float:
    with torch.no_grad():
        out = models.forward(models.blocks(models.flat(params, cfg), cfg), models.batch(made.rows))
        return float(fit.loss(out, torch.tensor(made.target), torch.tensor(made.observed).float()))


def test_a_federation_of_two_learns() -> None:
    cfg = config(local_steps=10)
    tables = [table(seed=1), table(seed=2)]
    state = server.start(demand.init(b"s" * 32, cfg))
    before = [mean_loss(state.params, made, cfg) for made in tables]
    for number in range(12):
        total = np.zeros(demand.dimension(cfg))
        for at, made in enumerate(tables):
            delta = fit.train(
                state.params, made, cfg, SEED + bytes([number, at]), round_no=number, rounds=12
            )
            total += clip.bounded(delta, cfg.clip_l2).values
        state = server.server_step(state, server.mean_update(total, 2), cfg.server)
    after = [mean_loss(state.params, made, cfg) for made in tables]
    assert all(a < 0.93 * b for a, b in zip(after, before, strict=True))


def test_same_seed_same_update_other_seed_another() -> None:
    cfg, made = config(), table()
    params = demand.init(b"s" * 32, cfg)
    kept = params.copy()

    def once(seed: bytes, round_no: int = 0) -> np.ndarray:
        return fit.train(params, made, cfg, seed, round_no=round_no, rounds=5)

    first = once(SEED)
    assert first.dtype == np.float32
    assert first.shape == params.shape
    assert first.tobytes() == once(SEED).tobytes()
    assert not np.array_equal(first, once(SEED + b"x"))
    assert np.linalg.norm(once(SEED, 4)) < 0.5 * np.linalg.norm(first)  # the rate falls
    np.testing.assert_array_equal(params, kept)


def test_training_does_not_touch_the_worlds_randomness() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit.train(demand.init(b"s" * 32, config()), table(), config(), SEED, round_no=0, rounds=1)
    assert torch.equal(torch.rand(3), expected)


def test_unlisted_categories_share_one_embedding() -> None:
    cfg = config()
    params = demand.init(b"s" * 32, cfg)
    delta = fit.train(params, table(), cfg, SEED, round_no=0, rounds=1)
    first_row = delta[: demand.EMBEDDING]
    assert np.abs(first_row).max() > 0  # hidden rows trained it


def test_months_that_nobody_saw_stay_silent() -> None:
    cfg, made = config(28), table(28)
    delta = fit.train(demand.init(b"s" * 32, cfg), made, cfg, SEED, round_no=0, rounds=1)
    months = models.blocks(torch.tensor(delta), cfg)["month"].abs().sum(1) > 0
    seen = {int(m) for m in made.rows.month[made.observed]}
    assert {at for at, moved in enumerate(months.tolist()) if moved} == seen
    assert seen < set(range(12))


def test_gradients_are_those_of_finite_differences() -> None:
    cfg, made = config(), table()
    start = models.flat(demand.init(b"s" * 32, cfg), cfg).double()
    rows = models.batch(made.rows)
    rows = models.Batch(
        rows.inputs.double()[:40],
        rows.vocabulary[:40],
        rows.month[:40],
        rows.month_week[:40],
        rows.last_year.double()[:40],
    )
    target = torch.tensor(made.target[:40]).double()
    observed = torch.tensor(made.observed[:40]).double()

    def value(vector: torch.Tensor) -> torch.Tensor:
        return fit.loss(models.forward(models.blocks(vector, cfg), rows), target, observed)

    vector = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(vector), vector)
    for at in np.argsort(-gradient.abs().numpy())[:200:20]:
        step = torch.zeros_like(start)
        step[at] = 1e-6
        numeric = (value(start + step) - value(start - step)) / 2e-6
        assert float(gradient[at]) == pytest.approx(float(numeric), rel=1e-2, abs=1e-5)


def test_loss_against_a_figure_worked_out_by_hand() -> None:
    out = torch.tensor([[[1.0, 2.0, 3.0, 2.0]]])
    # target 4: 2 * (.1*3 + .5*2 + .9*1) = 4.4; deviance 2 - 4 ln 2, half of it
    expected = 4.4 + 0.5 * (2 - 4 * np.log(2))
    found = fit.loss(out, torch.tensor([[4.0]]), torch.tensor([[1.0]]))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    unseen = fit.loss(out, torch.tensor([[4.0]]), torch.tensor([[0.0]]))
    assert float(unseen) == 0


def test_forecasts_are_ordered_and_not_negative() -> None:
    cfg = config()
    wild = np.random.default_rng(0).normal(0, 2, demand.dimension(cfg)).astype(np.float32)
    seen = features.panel(weekly(30), "monday", last_day(30))
    units = models.predict(wild, features.origin_rows(seen, NAMES, 4, 29), cfg)
    assert units.shape == (len(NAMES), 4, 4)
    assert (np.diff(units[..., :3], axis=-1) >= 0).all()
    assert (units >= 0).all()


def test_wrong_calls_are_refused() -> None:
    cfg, made = config(), table()
    params = demand.init(b"s" * 32, cfg)
    with pytest.raises(InputError, match="shape"):
        fit.train(params[:-1], made, cfg, SEED, round_no=0, rounds=1)
    with pytest.raises(InputError, match="float64"):
        fit.train(params.astype(np.float64), made, cfg, SEED, round_no=0, rounds=1)
    with pytest.raises(InputError, match="at least 16"):
        fit.train(params, made, cfg, b"short", round_no=0, rounds=1)
    with pytest.raises(InputError, match="round 3"):
        fit.train(params, made, cfg, SEED, round_no=3, rounds=3)
    short = features.panel(weekly(4), "monday", last_day(4))
    with pytest.raises(InputError, match="no rows"):
        fit.train(params, features.own_table(short, (), 4), cfg, SEED, round_no=0, rounds=1)
    with pytest.raises(LocalError, match="not finite"):
        fit.train(np.full_like(params, np.inf), made, cfg, SEED, round_no=0, rounds=1)
