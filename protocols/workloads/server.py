"""The server step: how a published sum becomes the next model. Pure, elementwise, float32.

Every member and the coordinator compute this step for themselves from the same published sum
(secure-aggregation, section 2.4a), so it must give the same bytes on every machine. It uses only
operations that IEEE 754 rounds correctly (+ - * / sqrt, one at a time, no sums over coordinates,
no library powers), and multiplies powers out one factor at a time.

Rules, with ``a`` the mean clipped update of the round:

- ``fedavg``   x' = x + lr a
- ``fedavgm``  m' = momentum m + a; x' = x + lr m'             (Hsu et al. 2019)
- ``fedadam``  m' = b1 m + (1-b1) a; v' = b2 v + (1-b2) a^2;
  x' = x + lr sqrt(1-b2^(t+1)) / (1-b1^(t+1)) m' / (sqrt(v') + tau), t from 1
  (Reddi et al. 2020; the exponent is the one that Flower's strategy uses)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from protocols.errors import InputError

Vector = NDArray[np.float32]

_Rate = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
_Decay = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FedAvg(_Rule):
    """Plain averaging of the updates."""

    name: Literal["fedavg"]
    lr: _Rate = 1.0


class FedAvgM(_Rule):
    """Averaging with server momentum."""

    name: Literal["fedavgm"]
    lr: _Rate = 1.0
    momentum: _Decay = 0.9


class FedAdam(_Rule):
    """Adam over the mean updates."""

    name: Literal["fedadam"]
    lr: _Rate = 0.01
    beta_1: _Decay = 0.9
    beta_2: _Decay = 0.99
    tau: _Rate = 1e-3


ServerRule = Annotated[FedAvg | FedAvgM | FedAdam, Field(discriminator="name")]


@dataclass(frozen=True, slots=True)
class ServerState:
    """The model and the memory of the optimiser after ``rounds_done`` rounds; arrays (d,)."""

    params: Vector = field(repr=False)
    first: Vector = field(repr=False)
    second: Vector = field(repr=False)
    rounds_done: int = 0


def start(params: Vector) -> ServerState:
    """The state before the first round; ``params`` is model_0, float32 (d,)."""
    params = _frozen(params)
    zeros = _frozen(np.zeros_like(params))
    return ServerState(params, zeros, zeros, 0)


def mean_update(total: NDArray[np.float64], members: int) -> Vector:
    """The mean update of a round from the published sum.

    Args:
        total: (d,) sum of the members' updates, decoded from fixed point, float64.
        members: how many updates are in it (equal weights) or the sum of the weights.

    Returns:
        float32 (d,); one division and one rounding a coordinate.
    """
    if members < 1:
        raise InputError(f"a sum over {members} members has no mean; at least 1 is expected.")
    total = np.asarray(total, dtype=np.float64)
    if total.ndim != 1 or not np.isfinite(total).all():
        raise InputError("the published sum must be one vector of finite numbers.")
    return (total / np.float64(members)).astype(np.float32)


def server_step(
    state: ServerState, update: Vector, rule: FedAvg | FedAvgM | FedAdam
) -> ServerState:
    """The next state from the mean update of the round, float32 (d,).

    Raises:
        InputError: the update has another length, or is not finite.
    """
    update = np.asarray(update)
    if update.dtype != np.float32 or update.shape != state.params.shape:
        raise InputError(
            f"the update has shape {update.shape} and type {update.dtype}; expected "
            f"{state.params.shape} and float32."
        )
    if not np.isfinite(update).all():
        raise InputError("the update holds numbers that are not finite.")
    if isinstance(rule, FedAdam):
        first, second, step = _adam(state, update, rule)
    elif isinstance(rule, FedAvgM):
        first = np.float32(rule.momentum) * state.first + update
        second, step = state.second, np.float32(rule.lr) * first
    else:
        first, second, step = state.first, state.second, np.float32(rule.lr) * update
    params = state.params + step
    if not np.isfinite(params).all():
        raise InputError("the step leaves the range of float32; the server rate is too high.")
    return ServerState(_frozen(params), _frozen(first), _frozen(second), state.rounds_done + 1)


def _adam(state: ServerState, update: Vector, rule: FedAdam) -> tuple[Vector, Vector, Vector]:
    b1, b2 = np.float32(rule.beta_1), np.float32(rule.beta_2)
    first = b1 * state.first + np.float32(1 - rule.beta_1) * update
    second = b2 * state.second + np.float32(1 - rule.beta_2) * (update * update)
    exponent = state.rounds_done + 2
    rate = np.float32(
        rule.lr * math.sqrt(1 - _power(rule.beta_2, exponent)) / (1 - _power(rule.beta_1, exponent))
    )
    step: Vector = (rate * first / (np.sqrt(second) + np.float32(rule.tau))).astype(np.float32)
    return first, second, step


def _power(base: float, exponent: int) -> float:
    """``base ** exponent`` by repeated multiplication: libm's pow may differ in the last bit."""
    product = 1.0
    for _ in range(exponent):
        product *= base
    return product


def _frozen(array: Vector) -> Vector:
    out = np.array(array, dtype=np.float32, copy=True)
    out.setflags(write=False)
    return out
