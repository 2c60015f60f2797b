"""The demand recipe: config, layout, first weights."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import canonical
from protocols.errors import InputError
from protocols.workloads import demand

OWN: dict[str, Any] = {"categories": ["bread", "milk"], "train_until": "2017-10-07"}


def config(**changes: Any) -> demand.DemandConfig:
    return demand.parse_config({**demand.DEFAULTS, **OWN, **changes})


def test_defaults_parse_and_survive_canonical_json() -> None:
    first = config()
    text = canonical.json_bytes({**demand.DEFAULTS, **OWN})
    again = demand.parse_config(canonical.parse_json(text, "order"))
    assert again == first
    assert first.server.name == "fedavg"
    assert set(demand.DEFAULTS) | set(OWN) == set(demand.DemandConfig.model_fields)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"surprise": 1}, "'surprise' is unknown"),
        ({"categories": []}, "categories"),
        ({"categories": ["milk", "milk"]}, "stands twice"),
        ({"categories": ["milk", "bread"]}, "sorted"),
        ({"categories": ["x" * 101]}, "categories"),
        ({"lr": 1.0}, "lr"),
        ({"lr": "0.001"}, "lr"),
        ({"lr": 0.0}, "lr"),
        ({"local_steps": 0}, "local_steps"),
        ({"local_steps": True}, "local_steps"),
        ({"batch": 7}, "batch"),
        ({"clip_l2": 0.0}, "clip_l2"),
        ({"scale": 1.5}, "scale"),
        ({"quantiles": [0.1, 0.5, 0.95]}, "quantiles"),
        ({"horizons": 9}, "horizons"),
        ({"week_start": "friday"}, "week_start"),
        ({"train_until": "7 October"}, "train_until"),
        ({"holdout_weeks": 0}, "holdout_weeks"),
        ({"w_max": 2}, "w_max"),
        ({"server": {"name": "sgd"}}, "server"),
        ({"server": {"name": "fedavg", "momentum": 0.9}}, "momentum"),
        ({"server": {"name": "fedavgm", "momentum": 1.0}}, "momentum"),
    ],
)
def test_every_wrong_key_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        config(**changes)
    assert caught.value.where == "config"
    assert caught.value.fix


@pytest.mark.parametrize("key", sorted(OWN))
def test_a_missing_key_is_named(key: str) -> None:
    rest = {k: v for k, v in {**demand.DEFAULTS, **OWN}.items() if k != key}
    with pytest.raises(InputError, match=f"'{key}' is missing"):
        demand.parse_config(rest, "order 12")


def test_the_issues_size() -> None:
    names = [f"C{at:02}" for at in range(30)]
    assert 7000 <= demand.dimension(config(categories=names)) <= 10000


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 8))
def test_layout_covers_the_vector_once(categories: int, horizons: int) -> None:
    made = config(categories=[f"C{at:03}" for at in range(categories)], horizons=horizons)
    blocks = demand.layout(made)
    assert len({block.name for block in blocks}) == len(blocks)
    assert sum(int(np.prod(block.shape)) for block in blocks) == demand.dimension(made)
    assert len(demand.init(b"s" * 16, made)) == demand.dimension(made)


def test_first_weights_are_pinned() -> None:
    """The same bytes on every machine: members derive model_0, they do not receive it."""
    params = demand.init(bytes(range(32)), config())
    assert params.dtype == np.float32
    assert (
        hashlib.sha256(params.astype("<f4").tobytes()).hexdigest()
        == "523b01556e05739801c7bf07ea286abfa82d56daded5558548ade18b50b6d563"
    )


@settings(deadline=None, max_examples=20)
@given(st.binary(min_size=16, max_size=64))
def test_first_weights_keep_their_bounds(seed: bytes) -> None:
    made = config()
    params, at = demand.init(seed, made), 0
    for block in demand.layout(made):
        part = params[at : at + block.size]
        assert np.abs(part).max() <= block.bound + 1e-7
        if block.bound:
            assert abs(float(part.mean())) < 5 * block.bound / np.sqrt(3 * block.size)
        else:
            assert part.tobytes() == bytes(part.nbytes)  # +0.0, not -0.0
        at += block.size
    assert params.tobytes() == demand.init(seed, made).tobytes()


def test_another_seed_is_another_model() -> None:
    assert not np.array_equal(demand.init(b"a" * 32, config()), demand.init(b"b" * 32, config()))
    with pytest.raises(InputError, match="at least 16"):
        demand.init(b"short", config())
