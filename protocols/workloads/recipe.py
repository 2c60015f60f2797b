"""What course, rounds, release, gates and nodes need of any workload.

A ``Workload`` is what is installed: name, purpose, columns, sources, defaults. With an order's
config it becomes a ``Recipe``: the layout of its model, the size of its vectors, the step that a
published sum takes, the figures that an evaluation gives, and the noise that it promises.
``protocols.workloads.catalogue`` lists the workloads; nobody else names one, except the node's
own rooms, which hold the code that reads rows.

A recipe may promise privacy to each record (``noise`` is not None). Then members add noise to
whole units inside the aggregation, the weight of each is 1, and who is in a sample is drawn from
the operating system, never from the order's seed, which everybody knows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from protocols import canonical
from protocols.errors import InputError
from protocols.workloads.server import ServerState

Config = TypeVar("Config", bound=BaseModel)
Task = Literal["train", "evaluate"]
Unit = Literal["customer"]
Claim = Literal["none", "customer"]
Read = Callable[[str], bytes]  # repo-relative path with forward slashes -> the file's bytes

UNIT_WORDS: Final[Mapping[str, str]] = {
    "customer": "one customer of one member: everything that the run reads about them",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One named array of the parameter vector; drawn uniformly from [-bound, bound]."""

    name: str
    shape: tuple[int, ...]
    bound: float

    @property
    def size(self) -> int:
        """How many coordinates it takes."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Shape:
    """Size and fixed point of the vectors of one task: |x| <= clip, steps of 1/scale.

    ``clip`` bounds a coordinate of what one member sends, in the units before scaling.
    """

    dim: int
    scale: int
    clip: float
    w_max: int


@dataclass(frozen=True, slots=True)
class RecordNoise:
    """The noise that every sum of one task carries, and what one record may add to it.

    Args:
        unit: whose presence is hidden.
        multiplier: z; the sum's noise has z times the standard deviation of what one record can
            change, with the fewest survivors and the agreed number of colluders.
        sample_rate: probability that a record is in a member's Poisson sample; 1 if all are.
        clip_l2: L2 norm of one record's contribution before it is scaled to whole units.
        rounded: True if contributions are rounded at random to whole units, within the norm
            bound that ``protocols.privacy`` gives; False if they are whole anyway, as counts are.
    """

    unit: Unit
    multiplier: float
    sample_rate: float
    clip_l2: float
    rounded: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """What the release gate looks at: members that reported, and two errors in one measure."""

    measure: str
    contributors: int
    baseline_error: float
    blend_error: float


class Recipe(Protocol):
    """A workload with the config of one order; frozen, and the same for every party."""

    @property
    def workload(self) -> Workload:
        """What it is a recipe of."""

    @property
    def known_until(self) -> date:
        """The last day that training may look at."""

    @property
    def rotate(self) -> bool:
        """Whether vectors of training are rotated before they are rounded (noised ones only).

        Then ``shape("train").dim`` is a power of two, at least the size of the layout.
        """

    @property
    def delta(self) -> float | None:
        """Delta of the privacy promise; None without one."""

    def layout(self) -> tuple[Block, ...]:
        """Every block of the parameter vector, in the order in which they are stored."""

    def init(self, seed: bytes) -> NDArray[np.float32]:
        """model_0 from the order's seed: float32 (d,), the same bytes on every machine."""

    def shape(self, task: Task) -> Shape:
        """Vectors of a task."""

    def noise(self, task: Task) -> RecordNoise | None:
        """Noise of a task; for all tasks or for none."""

    def step(self, state: ServerState, total: NDArray[np.float64], weight_sum: int) -> ServerState:
        """The next state from a training round's sum.

        Args:
            state: model and optimiser before the round.
            total: sum over the members in whole units, float64 (dim,); turned back if rotated.
            weight_sum: sum of the members' weights.

        Raises:
            InputError: the sum leads nowhere.
        """

    def metrics(self, total: NDArray[np.float64], members: int) -> dict[str, float]:
        """Figures over the members from the evaluation's sum, whole units, float64 (dim,).

        Always in it: ``evaluated``, how many members reported, and the two errors that the
        workload names.

        Raises:
            InputError: the sum is impossible.
            Refused: too few members could evaluate.
        """


@dataclass(frozen=True, slots=True)
class Workload:
    """One installed workload.

    Args:
        id, version: its name in agreements and orders.
        purpose: what rows are read for, in the words of clause 13 and of consent.
        columns: what is read of each row.
        sources: packaged files that decide what a run computes.
        defaults: what the agreement and ``run plan`` start from.
        default_rounds: training rounds (steps) that suit the defaults.
        free: settings that an order has to fill in itself.
        claim: the unit whose presence noise hides, whatever an order sets; none: no noise.
        measure: name of the error that decides about release, for people.
        own_error, blend_error: its two metrics: members' own baseline, and the blend.
        configure: the recipe of an order's config; InputError naming the key that is wrong.
    """

    id: str
    version: str
    purpose: str
    columns: tuple[str, ...]
    sources: tuple[str, ...]
    defaults: Mapping[str, Any]
    default_rounds: int
    free: tuple[str, ...]
    claim: Claim
    measure: str
    own_error: str
    blend_error: str
    configure: Callable[[Mapping[str, Any], str], Recipe]

    def digest(self, read: Read) -> str:
        """SHA-256 over id, version and the sources (line ends as LF), 64 hex digits.

        ``read`` returns the bytes of an installed source file; whatever it raises goes through.
        """
        parts: list[bytes | str] = [self.id, self.version]
        for path in self.sources:
            text = read(path).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            parts += [path, hashlib.sha256(text).digest()]
        return canonical.digest("datacoop/workload/1", *parts).hex()

    def compared(self, metrics: Mapping[str, float]) -> Compared:
        """The figures of the release gate among a run's metrics."""
        return Compared(
            self.measure,
            round(metrics["evaluated"]),
            metrics[self.own_error],
            metrics[self.blend_error],
        )


def configured(model: type[Config], config: Mapping[str, Any], name: str, where: str) -> Config:
    """The settings of an order as a workload's own model.

    Args:
        model: pydantic, frozen and strict, with every other key forbidden.
        config: as it stands in the order.
        name: id and version of the workload, for the sentence.
        where: what is read, for the error.

    Raises:
        InputError: names the key, what is wrong with it and what is expected.
    """
    try:
        return model.model_validate_json(canonical.json_bytes(config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"the key {path!r} is unknown to the workload {name}.",
                where=where,
                fix=f"Remove it; known keys: {', '.join(model.model_fields)}.",
            ) from error
        if first["type"] == "missing":
            raise InputError(
                f"the key {path!r} is missing.", where=where, fix=f"Add {path!r} to the config."
            ) from error
        said = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{path}: {said}.", where=where, fix=f"Correct {path!r} in the config."
        ) from error


def drawn(tag: str, seed: bytes, blocks: tuple[Block, ...]) -> NDArray[np.float32]:
    """A parameter vector drawn from a seed, float32 (d,): the same bytes on every machine.

    Coordinate k takes bytes 4k..4k+3 of SHA-256(seed, 0) || SHA-256(seed, 1) || ... as a whole
    number u (little-endian, top 24 bits) and becomes bound * (u / 2^23 - 1): exact but for one
    rounding of the product.

    Args:
        tag: separates the draws of different workloads.
        seed: 16 bytes or more.
        blocks: the layout.
    """
    count = sum(block.size for block in blocks)
    stream = b"".join(
        hashlib.sha256(canonical.encode(tag, seed, at)).digest() for at in range(-(-count // 8))
    )
    whole = np.frombuffer(stream, dtype="<u4", count=count) >> np.uint32(8)
    unit = whole.astype(np.float32) / np.float32(2**23) - np.float32(1)
    bounds = np.concatenate(
        [np.full(block.size, block.bound, dtype=np.float32) for block in blocks]
    )
    params: NDArray[np.float32] = unit * bounds
    # -0.0 and 0.0 are equal but have different bytes, and a model is named by its bytes
    params[bounds == 0] = 0.0
    return params
