"""The churn workload: how likely a customer is not to come back within the next weeks.

A logistic model (or a small network) over features of one customer's own purchases at one member.
What leaves a node is, a step, the sum over its sampled customers of each one's clipped gradient,
in whole units, with a share of the noise, under masks; after the last step one more such vector
of score counts (``protocols.workloads.churn_metrics``). Scores, lists and reasons stay at home.

Customer-level private by construction: there is no setting without noise. Features are fixed
functions (``node.data.customers``), so nothing about the data is needed to scale them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from protocols.errors import InputError
from protocols.workloads import churn_metrics
from protocols.workloads.recipe import (
    Block,
    RecordNoise,
    Shape,
    Task,
    Workload,
    configured,
    drawn,
)
from protocols.workloads.server import FedAvg, ServerRule, ServerState, server_step

ID: Final = "churn"
VERSION: Final = "1"
PURPOSE: Final = "train:churn"
COLUMNS: Final[tuple[str, ...]] = ("business_date", "category_code", "customer_key", "net")

# Columns that node.data.customers makes, in order; a test compares.
FEATURES: Final[tuple[str, ...]] = (
    "recency",
    "recency_to_gap",
    "recency_to_longest",
    "gap_spread",
    "usual_gap",
    "visits_0_2",
    "visits_2_4",
    "visits_4_8",
    "visits_8_12",
    "visits_12_26",
    "fading_4",
    "fading_8",
    "faded_16",
    "trend",
    "weeks_active",
    "basket",
    "spend",
    "variety",
    "recency_to_gap_squared",
    "usual_gap_squared",
    "faded_16_squared",
    "weeks_active_squared",
)
INPUTS: Final = len(FEATURES)
# What the bias is multiplied with. Clipping shortens all of a gradient alike; a larger share of it
# for the bias lets the mean of the scores settle in few steps (a quarter less calibration error).
INTERCEPT: Final = 1.6

Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Noise = Annotated[float, Field(ge=0.1, le=10_000, allow_inf_nan=False)]


class ChurnConfig(BaseModel):
    """What an order may choose; whatever is not named here is refused.

    Args:
        train_until: last day that training may look at; labels of training end on it.
        horizon_weeks: a customer without a purchase in so many weeks has left.
        active_weeks, min_visits: who is scored: days with a purchase, the last not longer ago.
        history_weeks: purchases longer before a snapshot are not read.
        snapshots, snapshot_every_weeks: training looks back from so many days, so far apart; the
            newest is ``horizon_weeks`` before ``train_until``.
        model, hidden: "logistic", or "mlp" with so many hidden units beside it.
        sample_rate: each step takes each customer with this probability, drawn in secret.
        customer_clip: L2 norm of one customer's gradient in one step.
        noise_multiplier: z of every training step, as promised against the agreed colluders.
        evaluation_noise_multiplier: z of the evaluation.
        delta: of the privacy promise.
        expected_customers: over all members; a public divisor, not a count.
        scale: whole units for 1.0; a power of two.
        clamp: no coordinate of what one member sends is larger.
        weight_decay: how strongly each step draws the parameters towards 0.
        rotate: turn each customer's gradient at random before it is rounded, so that no coordinate
            is much larger than the others and ``clamp`` may be small; for many parameters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    train_until: date
    horizon_weeks: Annotated[int, Field(ge=1, le=26)] = 8
    active_weeks: Annotated[int, Field(ge=1, le=520)] = 12
    min_visits: Annotated[int, Field(ge=1, le=50)] = 2
    history_weeks: Annotated[int, Field(ge=4, le=520)] = 104
    snapshots: Annotated[int, Field(ge=1, le=52)] = 13
    snapshot_every_weeks: Annotated[int, Field(ge=1, le=26)] = 2
    model: Literal["logistic", "mlp"] = "logistic"
    hidden: Annotated[int, Field(ge=1, le=64)] = 8
    sample_rate: Rate = 1.0
    customer_clip: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 2.3
    noise_multiplier: Noise
    evaluation_noise_multiplier: Noise
    delta: Annotated[float, Field(gt=0, le=1e-3, allow_inf_nan=False)] = 1e-5
    expected_customers: Annotated[int, Field(ge=10, le=2**31)]
    scale: Annotated[int, Field(ge=256, le=2**20)] = 2**12
    clamp: Annotated[float, Field(gt=0, le=2**16, allow_inf_nan=False)] = 512.0
    weight_decay: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1e-3
    rotate: bool = False
    w_max: Literal[1] = 1
    server: ServerRule = FedAvg(name="fedavg", lr=0.5)

    @field_validator("scale")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("the scale must be a power of two")
        return value

    @property
    def snapshot_days(self) -> tuple[date, ...]:
        """The last days that features of training look at, oldest first."""
        newest = self.train_until - timedelta(weeks=self.horizon_weeks)
        step = timedelta(weeks=self.snapshot_every_weeks)
        return tuple(newest - at * step for at in reversed(range(self.snapshots)))


# What the agreement template and `run plan` start from; train_until and expected_customers are the
# cooperative's own. DEFAULT_ROUNDS steps and the evaluation cost epsilon 1.0 at this delta, twelve
# such runs about 4. Figures: tests/benchmarks/bench_privacy.py.
DEFAULTS: Final[Mapping[str, Any]] = {
    "horizon_weeks": 8,
    "active_weeks": 12,
    "min_visits": 2,
    "history_weeks": 104,
    "snapshots": 13,
    "snapshot_every_weeks": 2,
    "model": "logistic",
    "hidden": 8,
    "sample_rate": 1.0,
    "customer_clip": 2.3,
    "noise_multiplier": 29.1,
    "evaluation_noise_multiplier": 5.3,
    "delta": 1e-5,
    "scale": 2**12,
    "clamp": 512.0,
    "weight_decay": 1e-3,
    "w_max": 1,
    "server": {"name": "fedavg", "lr": 0.5},
}
DEFAULT_ROUNDS: Final = 30


def parse_config(config: Mapping[str, Any], where: str = "config") -> ChurnConfig:
    """The config of an order.

    Raises:
        InputError: names the key, what is wrong with it and what is expected.
    """
    return configured(ChurnConfig, config, f"{ID} {VERSION}", where)


def layout(config: ChurnConfig) -> tuple[Block, ...]:
    """Every block of the parameter vector, in the order in which they are stored."""
    direct = (Block("weight", (INPUTS,), 0.0), Block("bias", (1,), 0.0))
    if config.model == "logistic":
        return direct
    return (
        *direct,
        Block("hidden.weight", (INPUTS, config.hidden), math.sqrt(3 / INPUTS)),
        Block("hidden.bias", (config.hidden,), 0.5),
        Block("out.weight", (config.hidden,), 0.0),
    )


def dimension(config: ChurnConfig) -> int:
    """The length d of the parameter vector."""
    return sum(block.size for block in layout(config))


def coordinates(config: ChurnConfig) -> int:
    """The length of a training vector: d, or the next power of two if it is rotated."""
    size = dimension(config)
    return 1 << (size - 1).bit_length() if config.rotate else size


def init(seed: bytes, config: ChurnConfig) -> NDArray[np.float32]:
    """model_0 from the order's seed; see ``recipe.drawn``. The logistic part starts at 0."""
    if len(seed) < 16:
        raise InputError(f"the seed has {len(seed)} bytes; at least 16 are expected.")
    return drawn("datacoop/churn/init/1", seed, layout(config))


@dataclass(frozen=True, slots=True)
class Churn:
    """The recipe of one order: one noised sum of customers' gradients a step."""

    config: ChurnConfig

    @property
    def workload(self) -> Workload:
        """``WORKLOAD``."""
        return WORKLOAD

    @property
    def known_until(self) -> date:
        """``train_until``."""
        return self.config.train_until

    @property
    def rotate(self) -> bool:
        """Of the config; off by default, because few coordinates round well as they are."""
        return self.config.rotate

    @property
    def delta(self) -> float | None:
        """Of the config."""
        return self.config.delta

    def layout(self) -> tuple[Block, ...]:
        """See ``layout``."""
        return layout(self.config)

    def init(self, seed: bytes) -> NDArray[np.float32]:
        """See ``init``."""
        return init(seed, self.config)

    def shape(self, task: Task) -> Shape:
        """A member clamps each coordinate of its sum; that never makes one customer count more."""
        if task == "evaluate":
            return Shape(churn_metrics.SIZE, churn_metrics.SCALE, churn_metrics.CLAMP, 1)
        config = self.config
        return Shape(coordinates(config), config.scale, config.clamp, config.w_max)

    def noise(self, task: Task) -> RecordNoise | None:
        """Of both tasks; a recipe without noise does not exist."""
        config = self.config
        if task == "evaluate":
            return RecordNoise(
                unit="customer",
                multiplier=config.evaluation_noise_multiplier,
                sample_rate=1.0,
                clip_l2=churn_metrics.CUSTOMER_L2,
                rounded=False,
            )
        return RecordNoise(
            unit="customer",
            multiplier=config.noise_multiplier,
            sample_rate=config.sample_rate,
            clip_l2=config.customer_clip,
            rounded=True,
        )

    def step(self, state: ServerState, total: NDArray[np.float64], weight_sum: int) -> ServerState:
        """Mean descent direction over the expected customers, less the decay; the server rule.

        The divisor is public and fixed: a count of customers would have to be noised as well.
        """
        if weight_sum < 1:
            raise InputError(f"a sum of weights of {weight_sum} makes no step.", where="sum")
        config = self.config
        divisor = np.float64(config.scale) * np.float64(config.expected_customers)
        divisor = divisor * np.float64(config.sample_rate)
        mean = (np.asarray(total, dtype=np.float64) / divisor).astype(np.float32)
        mean = mean - np.float32(config.weight_decay) * state.params
        return server_step(state, mean, config.server)

    def metrics(self, total: NDArray[np.float64], members: int) -> dict[str, float]:
        """See ``churn_metrics.metrics_from_sum``."""
        return churn_metrics.metrics_from_sum(
            total, members, self.config.evaluation_noise_multiplier
        )


def configure(config: Mapping[str, Any], where: str = "config") -> Churn:
    """The recipe of an order's config; raises as ``parse_config``."""
    return Churn(parse_config(config, where))


WORKLOAD: Final = Workload(
    id=ID,
    version=VERSION,
    purpose=PURPOSE,
    columns=COLUMNS,
    sources=(
        "node/data/customers.py",
        "node/training/__init__.py",
        "node/training/child.py",
        "node/training/churn_baseline.py",
        "node/training/churn_child.py",
        "node/training/churn_evaluate.py",
        "node/training/churn_fit.py",
        "protocols/privacy/__init__.py",
        "protocols/privacy/_stream.py",
        "protocols/privacy/clip.py",
        "protocols/privacy/rotation.py",
        "protocols/privacy/rounding.py",
        "protocols/workloads/__init__.py",
        "protocols/workloads/churn.py",
        "protocols/workloads/churn_metrics.py",
        "protocols/workloads/recipe.py",
        "protocols/workloads/server.py",
    ),
    defaults=DEFAULTS,
    default_rounds=DEFAULT_ROUNDS,
    free=("expected_customers", "train_until"),
    claim="customer",
    measure="Brier score",
    own_error="brier_own",
    blend_error="brier_blend",
    configure=configure,
)
