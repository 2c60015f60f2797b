"""The server step: equal to Flower's strategies, the same bytes each time, no surprises."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from protocols.errors import InputError
from protocols.workloads import server
from protocols.workloads.server import FedAdam, FedAvg, FedAvgM, mean_update, server_step, start

MEMBERS, ROUNDS, D = 5, 6, 300


def updates() -> list[list[np.ndarray]]:
    made = np.random.default_rng(7)
    return [
        [made.normal(0, 0.02, D).astype(np.float32) for _ in range(MEMBERS)] for _ in range(ROUNDS)
    ]


def model() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.3, D).astype(np.float32)


def run_ours(rule: Any) -> list[np.ndarray]:
    state, out = start(model()), []
    for deltas in updates():
        total = np.sum([d.astype(np.float64) for d in deltas], axis=0)
        state = server_step(state, mean_update(total, MEMBERS), rule)
        out.append(state.params)
    return out


def run_flower(strategy: Any) -> list[np.ndarray]:
    from flwr.app import Array, ArrayRecord, Message, Metadata, MetricRecord, RecordDict

    current, out = model(), []
    for number, deltas in enumerate(updates(), start=1):
        record = ArrayRecord({"x": Array(current)})
        if hasattr(strategy, "eta"):
            strategy.current_arrays = {"x": current}  # what its configure_train keeps
        elif getattr(strategy, "current_arrays", 0) is None:
            strategy.current_arrays = record
        replies = [
            Message(
                content=RecordDict(
                    {
                        "arrays": ArrayRecord({"x": Array(current + delta)}),
                        "metrics": MetricRecord({"num-examples": 1}),
                    }
                ),
                metadata=Metadata(1, f"m{at}", at + 1, 0, "", "", 0.0, 60.0, "train"),
            )
            for at, delta in enumerate(deltas)
        ]
        arrays_out, _ = strategy.aggregate_train(number, replies)
        current = arrays_out["x"].numpy().astype(np.float32)
        out.append(current)
    return out


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["fedavg", "fedavgm", "fedadam"])
def test_equals_flowers_strategy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "FLWR_TELEMETRY_ENABLED", "0")
    from flwr.serverapp import strategy

    ours, theirs = {
        "fedavg": (FedAvg(name="fedavg"), strategy.FedAvg()),
        "fedavgm": (
            FedAvgM(name="fedavgm", lr=0.7, momentum=0.8),
            strategy.FedAvgM(server_learning_rate=0.7, server_momentum=0.8),
        ),
        "fedadam": (
            FedAdam(name="fedadam", lr=0.05, beta_1=0.9, beta_2=0.99, tau=1e-3),
            strategy.FedAdam(eta=0.05, beta_1=0.9, beta_2=0.99, tau=1e-3),
        ),
    }[name]
    for mine, other in zip(run_ours(ours), run_flower(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-6)
    assert not np.allclose(run_ours(ours)[-1], model(), atol=1e-3)


PINNED = {
    "fedavg": "1198c688538e38bd7f3f2799c8630f7bda046b678242866613757ad33890576b",
    "fedavgm": "76e110f090efb49ab09d83ba9de56d969db85f1bdf902503ac4cf90833f44cc8",
    "fedadam": "ccf85ff8574a0a3e6380f38ebbf1ec7cfb528daa701e3eabd31d90e29a3bc28a",
}


def exact_numbers(seed: bytes, size: int, scale: float) -> np.ndarray:
    """float32 from SHA-256, so the vector does not hang on a library's random numbers."""
    stream = b"".join(hashlib.sha256(seed + bytes([at])).digest() for at in range(size // 8))
    whole = np.frombuffer(stream, dtype="<i4") >> 8
    return (whole.astype(np.float32) / np.float32(2**23)) * np.float32(scale)


@pytest.mark.parametrize("name", sorted(PINNED))
def test_gives_the_pinned_bytes(name: str) -> None:
    """A change here means that members on two versions would derive two models."""
    rules = {
        "fedavg": FedAvg(name="fedavg", lr=0.9),
        "fedavgm": FedAvgM(name="fedavgm", lr=0.5, momentum=0.9),
        "fedadam": FedAdam(name="fedadam"),
    }
    state = start(exact_numbers(b"model", 64, 0.5))
    for number in range(5):
        state = server_step(state, exact_numbers(bytes([number]), 64, 0.01), rules[name])
    assert hashlib.sha256(state.params.astype("<f4").tobytes()).hexdigest() == PINNED[name]
    assert state.rounds_done == 5


finite = st.floats(-1, 1, width=32)


@settings(deadline=None)
@given(arrays(np.float32, 12, elements=finite), arrays(np.float32, 12, elements=finite))
def test_steps_are_elementwise(params: np.ndarray, update: np.ndarray) -> None:
    """Order of coordinates never matters, so a vector may be cut and joined at will."""
    turn = np.arange(12)[::-1]
    for rule in (FedAvg(name="fedavg"), FedAvgM(name="fedavgm"), FedAdam(name="fedadam")):
        straight = server_step(server_step(start(params), update, rule), update, rule)
        turned = start(params[turn])
        for _ in range(2):
            turned = server_step(turned, update[turn], rule)
        assert straight.params[turn].tobytes() == turned.params.tobytes()


def test_fedavg_adds_the_mean() -> None:
    total = np.array([1.0, -2.0, 0.5])
    state = server_step(
        start(np.zeros(3, np.float32)), mean_update(total, 4), FedAvg(name="fedavg")
    )
    assert state.params.tolist() == [0.25, -0.5, 0.125]


def test_the_state_cannot_be_written() -> None:
    given = np.zeros(3, np.float32)
    state = start(given)
    with pytest.raises(ValueError, match="read-only"):
        state.params[0] = 1
    given[0] = 5
    assert state.params[0] == 0


@pytest.mark.parametrize(
    "update",
    [
        np.zeros(2, np.float32),
        np.zeros(3, np.float64),
        np.array([0, np.nan, 0], np.float32),
        np.array([0, np.inf, 0], np.float32),
    ],
)
def test_refuses_other_shapes_types_and_numbers(update: np.ndarray) -> None:
    with pytest.raises(InputError):
        server_step(start(np.zeros(3, np.float32)), update, FedAvg(name="fedavg"))


def test_refuses_a_step_out_of_range_and_a_mean_over_nobody() -> None:
    huge = np.full(3, 3e38, np.float32)
    with pytest.raises(InputError, match="range of float32"), np.errstate(over="ignore"):
        server_step(start(huge), huge, FedAvg(name="fedavg"))
    with pytest.raises(InputError, match="0 members"):
        mean_update(np.zeros(3), 0)
    with pytest.raises(InputError, match="finite"):
        mean_update(np.array([np.nan]), 1)


def test_powers_are_multiplied_out() -> None:
    assert server._power(0.5, 3) == 0.125
    assert server._power(0.9, 40) == pytest.approx(0.9**40, rel=1e-14)
