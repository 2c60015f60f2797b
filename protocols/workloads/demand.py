"""The demand workload: weekly units per category, 1 to 8 weeks ahead, quantiles and mean.

Both sides install this recipe; an order names it by id, version and digest and fills in the
config. What leaves a node is one masked, clipped update of the parameters below a round, and one
masked vector of metrics after the last (``protocols.workloads.metrics``). The network itself
runs in ``node.training.models``; inputs are made by ``node.data.features``.

Parameters: trunk of two layers over the inputs of one series at one origin and the embedding of
its category; horizon, month, week of the month and last year's level enter at the second layer,
one head gives low, median, high and mean for each horizon. Vocabulary index 0 is any category
that is not in the order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from protocols.errors import InputError
from protocols.workloads import metrics
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

ID: Final = "demand"
VERSION: Final = "1"
PURPOSE: Final = "train:demand"
COLUMNS: Final[tuple[str, ...]] = ("business_date", "category_code", "qty")

QUANTILES: Final[tuple[float, float, float]] = (0.1, 0.5, 0.9)
OUTPUTS: Final[tuple[str, ...]] = ("p10", "p50", "p90", "mean")
INPUTS: Final = 26  # columns that node.data.features makes; a test compares
LAST_YEAR: Final = 2  # level one year before the target, and whether it is known
METRIC_SCALE: Final = 2**20
HIDDEN: Final = 64
EMBEDDING: Final = 8
MONTHS: Final = 12
MONTH_WEEKS: Final = 4
UNKNOWN: Final = 0  # vocabulary index of a category that the order does not list

Category = Annotated[str, Field(min_length=1, max_length=100)]


class DemandConfig(BaseModel):
    """What an order may choose; whatever is not named here is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    categories: Annotated[tuple[Category, ...], Field(min_length=1, max_length=400)]
    quantiles: tuple[float, float, float] = QUANTILES
    horizons: Annotated[int, Field(ge=1, le=8)] = 4
    week_start: Literal["monday", "sunday"] = "monday"
    train_until: date
    holdout_weeks: Annotated[int, Field(ge=1, le=52)] = 12
    local_steps: Annotated[int, Field(ge=1, le=1000)] = 10
    batch: Annotated[int, Field(ge=8, le=4096)] = 128
    lr: Annotated[float, Field(gt=0, le=0.1, allow_inf_nan=False)] = 1e-3
    clip_l2: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 1.0
    scale: Annotated[int, Field(ge=256, le=2**24)] = 2**16
    w_max: Literal[1] = 1
    server: ServerRule = FedAvg(name="fedavg")

    @field_validator("categories")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a category stands twice in the list; keep one")
        if list(value) != sorted(value):
            raise ValueError("the categories must be in sorted order")
        return value

    @field_validator("quantiles")
    @classmethod
    def _these_quantiles(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value != QUANTILES:
            raise ValueError(f"version {VERSION} gives the quantiles {list(QUANTILES)} only")
        return value


# What the agreement template and `run plan` start from; categories and train_until are the
# cooperative's own. The figures behind them: tests/benchmarks/bench_accuracy.py.
DEFAULTS: Final[Mapping[str, Any]] = {
    "quantiles": list(QUANTILES),
    "horizons": 4,
    "week_start": "monday",
    "holdout_weeks": 12,
    "local_steps": 10,
    "batch": 128,
    "lr": 1e-3,
    "clip_l2": 1.0,
    "scale": 2**16,
    "w_max": 1,
    "server": {"name": "fedavg", "lr": 1.0},
}
DEFAULT_ROUNDS: Final = 40


def parse_config(config: Mapping[str, Any], where: str = "config") -> DemandConfig:
    """The config of an order.

    Raises:
        InputError: names the key, what is wrong with it and what is expected.
    """
    return configured(DemandConfig, config, f"{ID} {VERSION}", where)


def layout(config: DemandConfig) -> tuple[Block, ...]:
    """Every block of the parameter vector, in the order in which they are stored.

    Calendar blocks start at zero, so a month that nobody has trained on says nothing.
    """
    fan_in = INPUTS + EMBEDDING
    return (
        Block("category", (len(config.categories) + 1, EMBEDDING), 0.3),
        Block("trunk.weight", (fan_in, HIDDEN), math.sqrt(3 / fan_in)),
        Block("trunk.bias", (HIDDEN,), 0.0),
        Block("join.weight", (HIDDEN, HIDDEN), math.sqrt(3 / HIDDEN)),
        Block("join.bias", (HIDDEN,), 0.0),
        Block("horizon", (config.horizons, HIDDEN), 0.1),
        Block("month", (MONTHS, HIDDEN), 0.0),
        Block("month_week", (MONTH_WEEKS, HIDDEN), 0.0),
        Block("last_year", (LAST_YEAR, HIDDEN), 0.0),
        Block("head.weight", (HIDDEN, len(OUTPUTS)), 0.3 * math.sqrt(3 / HIDDEN)),
        Block("head.bias", (len(OUTPUTS),), 0.0),
    )


def dimension(config: DemandConfig) -> int:
    """The length d of the parameter vector."""
    return sum(block.size for block in layout(config))


def init(seed: bytes, config: DemandConfig) -> NDArray[np.float32]:
    """model_0 from the order's seed; see ``recipe.drawn``."""
    if len(seed) < 16:
        raise InputError(f"the seed has {len(seed)} bytes; at least 16 are expected.")
    return drawn("datacoop/demand/init/1", seed, layout(config))


@dataclass(frozen=True, slots=True)
class Demand:
    """The recipe of one order: one clipped update a member and round, weighted means, no noise."""

    config: DemandConfig

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
        """Never."""
        return False

    @property
    def delta(self) -> float | None:
        """No promise, no delta."""
        return None

    def layout(self) -> tuple[Block, ...]:
        """See ``layout``."""
        return layout(self.config)

    def init(self, seed: bytes) -> NDArray[np.float32]:
        """See ``init``."""
        return init(seed, self.config)

    def shape(self, task: Task) -> Shape:
        """An update with L2 norm <= clip has no larger coordinate."""
        config = self.config
        if task == "evaluate":
            return Shape(len(metrics.METRICS), METRIC_SCALE, metrics.CLIP, 1)
        return Shape(dimension(config), config.scale, config.clip_l2, config.w_max)

    def noise(self, task: Task) -> RecordNoise | None:
        """None: the sum is hidden in, not noised."""
        return None

    def step(self, state: ServerState, total: NDArray[np.float64], weight_sum: int) -> ServerState:
        """The weighted mean update, then the server rule.

        |sum| < 2^31 and w_max < 2^22 keep the product exact in binary64; so does the divisor.
        """
        divisor = self.config.scale * weight_sum
        if weight_sum < 1 or divisor >= 2**53:
            raise InputError(f"a sum of weights of {weight_sum} makes no mean.", where="sum")
        mean = (total * np.float64(self.config.w_max) / np.float64(divisor)).astype(np.float32)
        return server_step(state, mean, self.config.server)

    def metrics(self, total: NDArray[np.float64], members: int) -> dict[str, float]:
        """See ``metrics.metrics_from_sum``."""
        return metrics.metrics_from_sum(total / METRIC_SCALE, members)


def configure(config: Mapping[str, Any], where: str = "config") -> Demand:
    """The recipe of an order's config; raises as ``parse_config``."""
    return Demand(parse_config(config, where))


WORKLOAD: Final = Workload(
    id=ID,
    version=VERSION,
    purpose=PURPOSE,
    columns=COLUMNS,
    sources=(
        "node/data/features.py",
        "node/training/__init__.py",
        "node/training/baseline.py",
        "node/training/baseline_child.py",
        "node/training/child.py",
        "node/training/clip.py",
        "node/training/evaluate.py",
        "node/training/fit.py",
        "node/training/models.py",
        "node/training/personalise.py",
        "protocols/workloads/__init__.py",
        "protocols/workloads/demand.py",
        "protocols/workloads/metrics.py",
        "protocols/workloads/recipe.py",
        "protocols/workloads/server.py",
    ),
    defaults=DEFAULTS,
    default_rounds=DEFAULT_ROUNDS,
    free=("categories", "holdout_weeks", "train_until"),
    claim="none",
    measure="WAPE",
    own_error="wape_own",
    blend_error="wape_blend",
    configure=configure,
)
