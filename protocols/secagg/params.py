"""The round descriptor, its formulas, and what a member demands of it (SPEC.md section 2)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple, NoReturn, get_args

from protocols.canonical import digest, encode
from protocols.errors import InputError, Refused
from protocols.secagg.degree import sparse_parameters

PROTOCOL = "SA-Q1/3"
Task = Literal["train", "evaluate"]

MIN_MEMBERS = 3
MAX_MEMBERS = 1000
MAX_COMPLETE = 300  # beyond, a sparse graph is cheaper
MAX_COORDINATES = 10_000_000  # dim + 1; one mask key expands to at most 40 MB
MAX_BITS = 32
WIDE_WIRE_FROM = 300  # members: from here adding whole words beats unpacking odd widths
TIMED_STAGES = 6  # advertise, share, mask, agree, unmask, audit
MAX_STAGE_TIMEOUT_S = 86_400
LEAST_DROPOUT, MOST_DROPOUT = 10, 45  # percent
USUAL_SPOT_PERCENT = 10
NOISE_REACH = 8  # standard deviations that a sum's noise may reach: beyond with 2^-49
MAX_COUNT = 2**32
MAX_LOG_SIZE = 2**53  # entries of the coordinator's log; far beyond any
HASH_BYTES = 32
RUN_BYTES = 16
NO_TRANSCRIPT = bytes(HASH_BYTES)  # prev_transcript of the first round


def quorum_size(members: int, colluders: int) -> int:
    """q: any two sets of q among ``members`` share an honest member (section 2)."""
    return (members + colluders) // 2 + 1


def share_threshold(members: int, colluders: int) -> int:
    """t: shares that reconstruct a secret (section 2)."""
    return max(colluders + 1, (members + 1) // 2)


def graph_figures(members: int, colluders: int, max_dropout: int) -> tuple[int, int]:
    """k and t: neighbours of each member, and shares that reconstruct a secret (section 2).

    Raises:
        InputError: no sparse graph bears that many colluders and dropouts.
    """
    if members <= MAX_COMPLETE:
        return members - 1, share_threshold(members, colluders)
    return sparse_parameters(members, colluders, max_dropout)


def least_cohort(colluders: int, agreed: int = 0) -> int:
    """The smallest n_min that may stand in a descriptor (section 2)."""
    return max(colluders + 2, MIN_MEMBERS, agreed)


def max_weight(min_cohort: int) -> int:
    """Largest integer weight that leaves every member at or under a quarter (section 2)."""
    return max(1, (min_cohort - 1) // 3)


def value_bound(scale: int, clip: float) -> int:
    """Q: no quantised coordinate of one member is larger; exact arithmetic (section 2)."""
    if not math.isfinite(clip):
        raise InputError(f"a clip of {clip} bounds nothing.", where="round parameters")
    return math.ceil(Fraction(clip) * scale) + 1


def noise_reach(members: int, sigma_local: float) -> int:
    """How far the noise of ``members`` shares may carry one coordinate of a sum (section 2)."""
    return math.ceil(NOISE_REACH * sigma_local * math.sqrt(members))


def sum_bits(members: int, scale: int, clip: float, w_max: int, sigma_local: float = 0.0) -> int:
    """b: bits of the modulus, so that the sum of ``members`` inputs cannot wrap (section 2)."""
    values = members * value_bound(scale, clip) + noise_reach(members, sigma_local)
    return (2 * max(values, members * w_max) + 1).bit_length()


def wire_width(members: int, bits: int) -> int:
    """Bits of one masked coordinate on the wire (section 2)."""
    return MAX_BITS if members >= WIDE_WIRE_FROM else bits


class LogHead(NamedTuple):
    """The coordinator's audit log when a round began: entries, and the root over them."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class RoundDescriptor:
    """Everything that the members of a round must agree on. Hashes are 32 bytes, ``run`` 16.

    ``max_dropout`` in percent of the members; ``sigma_local`` in units of 1 / scale, each member's
    share of the noise; ``stage_timeouts_s``: advertise, share, mask, agree, unmask, audit;
    ``spot_percent`` of a large sum's chunks are shown to each auditor.

    Raises:
        InputError: a field has the wrong size, is out of range, or the ids are not strictly
            ascending. Policy is ``check_descriptor``'s.
    """

    protocol: str
    coop: bytes
    run: bytes
    round: int
    attempt: int
    task: Task
    model_hash: bytes
    order_hash: bytes
    agreement: bytes
    log_root: bytes
    log_size: int
    task_hash: bytes
    roster_hash: bytes
    ids: tuple[bytes, ...]
    colluders: int
    quorum: int
    threshold: int
    degree: int
    min_cohort: int
    dim: int
    bits: int
    scale: int
    clip: float
    w_max: int
    sigma_local: float
    prev_transcript: bytes
    max_dropout: int
    stage_timeouts_s: tuple[int, ...]
    spot_percent: int

    def __post_init__(self) -> None:
        for name in _HASHES:
            _need(len(getattr(self, name)) == HASH_BYTES, f"{name} has 32 bytes")
        _need(len(self.run) == RUN_BYTES, "run has 16 bytes")
        _need(self.task in get_args(Task), "task is 'train' or 'evaluate'")
        for name in _COUNTS:
            _need(0 <= getattr(self, name) < MAX_COUNT, f"{name} is a whole number below 2^32")
        for name in ("clip", "sigma_local"):
            value = getattr(self, name)
            _need(
                math.isfinite(value) and math.copysign(1.0, value) > 0,
                f"{name} is a finite number, not negative",
            )
        _need(all(len(one) == HASH_BYTES for one in self.ids), "every member id has 32 bytes")
        _need(list(self.ids) == sorted(set(self.ids)), "member ids are ascending, each once")
        _need(
            MIN_MEMBERS <= len(self.ids) <= MAX_MEMBERS,
            f"a round has {MIN_MEMBERS} to {MAX_MEMBERS} members",
        )
        _need(
            len(self.stage_timeouts_s) == TIMED_STAGES
            and all(0 <= one < MAX_COUNT for one in self.stage_timeouts_s),
            f"{TIMED_STAGES} stages have a time limit",
        )
        _need(0 <= self.log_size <= MAX_LOG_SIZE, f"log_size is 0 to {MAX_LOG_SIZE}")
        _need(1 <= self.dim < MAX_COORDINATES, f"dim is 1 to {MAX_COORDINATES - 1}")

    @property
    def log(self) -> LogHead:
        """The head of the coordinator's log that every certificate of the round witnesses."""
        return LogHead(self.log_size, self.log_root)

    @property
    def members(self) -> int:
        """n."""
        return len(self.ids)

    @property
    def coordinates(self) -> int:
        """Coordinates on the wire: the vector and, last, the weight."""
        return self.dim + 1

    @property
    def least_survivors(self) -> int:
        """No set of members of the round may be smaller (section 2)."""
        least = max(self.quorum, self.min_cohort)
        if self.members <= MAX_COMPLETE:
            return least
        return max(least, -(-self.members * (100 - self.max_dropout) // 100))

    @property
    def width(self) -> int:
        """Bits of one masked coordinate on the wire."""
        return wire_width(self.members, self.bits)

    def index(self, member: bytes) -> int:
        """Position of a member in ``ids``; ValueError if it is not there."""
        return self.ids.index(member)

    def digest(self) -> bytes:
        """RD of SPEC.md section 3, 32 bytes."""
        return digest(
            "SAQ1 RD",
            self.protocol,
            self.coop,
            self.run,
            self.round,
            self.attempt,
            self.task,
            self.model_hash,
            self.order_hash,
            self.agreement,
            self.log_root,
            self.log_size,
            self.task_hash,
            self.roster_hash,
            encode(*self.ids),
            self.colluders,
            self.quorum,
            self.threshold,
            self.degree,
            self.min_cohort,
            self.dim,
            self.bits,
            self.scale,
            struct.pack("<d", self.clip),
            self.w_max,
            struct.pack("<d", self.sigma_local),
            self.prev_transcript,
            self.max_dropout,
            encode(*self.stage_timeouts_s),
            self.spot_percent,
        )


_HASHES = (
    "coop",
    "model_hash",
    "order_hash",
    "agreement",
    "log_root",
    "task_hash",
    "roster_hash",
    "prev_transcript",
)
_COUNTS = (
    "round",
    "attempt",
    "colluders",
    "quorum",
    "threshold",
    "degree",
    "min_cohort",
    "bits",
    "scale",
    "w_max",
    "max_dropout",
    "spot_percent",
)


def _need(condition: bool, rule: str) -> None:
    if not condition:
        raise InputError(f"this round descriptor is malformed: {rule}.", where="round descriptor")


def make_descriptor(
    *,
    coop: bytes,
    run: bytes,
    round: int,
    attempt: int,
    task: Task,
    model_hash: bytes,
    order_hash: bytes,
    agreement: bytes,
    log_root: bytes,
    log_size: int,
    task_hash: bytes,
    roster_hash: bytes,
    ids: tuple[bytes, ...],
    colluders: int,
    min_cohort: int,
    dim: int,
    scale: int,
    clip: float,
    w_max: int,
    max_dropout: int,
    stage_timeouts_s: tuple[int, ...],
    sigma_local: float = 0.0,
    prev_transcript: bytes = NO_TRANSCRIPT,
    spot_percent: int = USUAL_SPOT_PERCENT,
) -> RoundDescriptor:
    """A descriptor with quorum, threshold, degree and bits from the formulas; ids are sorted.

    Raises:
        InputError: the figures cannot make a round, with the figure that is wrong.
    """
    members = len(ids)
    degree, threshold = graph_figures(members, colluders, max_dropout)
    descriptor = RoundDescriptor(
        protocol=PROTOCOL,
        coop=coop,
        run=run,
        round=round,
        attempt=attempt,
        task=task,
        model_hash=model_hash,
        order_hash=order_hash,
        agreement=agreement,
        log_root=log_root,
        log_size=log_size,
        task_hash=task_hash,
        roster_hash=roster_hash,
        ids=tuple(sorted(ids)),
        colluders=colluders,
        quorum=quorum_size(members, colluders),
        threshold=threshold,
        degree=degree,
        min_cohort=least_cohort(colluders, min_cohort),
        dim=dim,
        bits=sum_bits(members, scale, clip, w_max, sigma_local),
        scale=scale,
        clip=float(clip),
        w_max=w_max,
        sigma_local=float(sigma_local),
        prev_transcript=prev_transcript,
        max_dropout=max_dropout,
        stage_timeouts_s=tuple(stage_timeouts_s),
        spot_percent=spot_percent,
    )
    try:
        check_figures(descriptor)
    except Refused as refused:
        raise InputError(
            refused.problem, where="round parameters", fix="Change the order."
        ) from refused
    return descriptor


@dataclass(frozen=True, slots=True)
class Demands:
    """What the member's own signed agreement asks of any round, whatever the coordinator says.

    ``colluders``: members that may help the coordinator, at least 1. ``min_cohort``: clause 14 and
    competition profile. ``w_max``: weight cap of clause 17. ``sigma_local``: the least noise that
    each member must add, in units of 1 / scale. ``spot_percent``: the least part of a large sum
    that each auditor recomputes (clause 24).
    """

    colluders: int
    min_cohort: int
    w_max: int
    max_members: int = MAX_MEMBERS
    sigma_local: float = 0.0
    spot_percent: int = 0

    def __post_init__(self) -> None:
        if self.colluders < 1:
            raise InputError(
                f"{self.colluders} colluders are allowed for; at least 1 is needed.",
                where="c14",
                fix="Every member sees the result and can subtract itself; write 1 or more.",
            )
        if self.min_cohort < MIN_MEMBERS or self.w_max < 1:
            raise InputError(
                f"a cohort of {self.min_cohort} with weights up to {self.w_max} is no demand.",
                where="c14, c17",
                fix="Write a smallest cohort of 3 or more and a weight cap of 1 or more.",
            )


@dataclass(frozen=True, slots=True)
class Expected:
    """What the member knows of this round from its own order, model and earlier rounds.

    ``ids``: the order's whole cohort, raw bytes. ``prev_transcript``: A3 of the round before, or
    ``NO_TRANSCRIPT``. ``min_attempt``: one more than the last attempt of this round that the
    member answered.
    """

    coop: bytes
    run: bytes
    round: int
    task: Task
    model_hash: bytes
    order_hash: bytes
    agreement: bytes
    task_hash: bytes
    roster_hash: bytes
    ids: frozenset[bytes]
    dim: int
    scale: int
    clip: float
    w_max: int
    max_dropout: int
    stage_timeouts_s: tuple[int, ...]
    sigma_local: float = 0.0
    prev_transcript: bytes = NO_TRANSCRIPT
    min_attempt: int = 0


def check_figures(descriptor: RoundDescriptor) -> None:
    """The formulas of SPEC.md section 2: what must hold whatever anybody agreed."""
    n, c, floor = descriptor.members, descriptor.colluders, descriptor.min_cohort
    if not 1 <= c <= n - 2:
        refuse(f"{n} members with {c} colluders leave no honest pair; 1 to {n - 2} fit.", "c14")
    if not least_cohort(c) <= floor <= n:
        refuse(
            f"the smallest cohort is {floor}; with {c} colluders among {n} members "
            f"{least_cohort(c)} to {n} are needed.",
            "c14",
        )
    _same(descriptor.quorum, quorum_size(n, c), "quorum", "c14")
    if not LEAST_DROPOUT <= descriptor.max_dropout <= MOST_DROPOUT:
        refuse(
            f"{descriptor.max_dropout} % of the members may drop out; {LEAST_DROPOUT} to "
            f"{MOST_DROPOUT} % can be set."
        )
    try:
        degree, threshold = graph_figures(n, c, descriptor.max_dropout)
    except InputError as error:
        refuse(error.problem, "c14")
    _same(descriptor.threshold, threshold, "share threshold", "c14")
    _same(descriptor.degree, degree, "degree of the graph", "c14")
    if not 1 <= descriptor.w_max <= max_weight(floor):
        refuse(
            f"the weight cap is {descriptor.w_max}; a smallest cohort of {floor} allows "
            f"at most {max_weight(floor)}.",
            "c17",
        )
    if descriptor.scale < 1 or descriptor.clip <= 0:
        refuse(f"scale {descriptor.scale} and clip {descriptor.clip} must be above 0.")
    if descriptor.spot_percent > 100:
        refuse(f"a spot check of {descriptor.spot_percent} %; at most 100 % can be seen.", "c24")
    _check_noise(descriptor)
    bits = sum_bits(n, descriptor.scale, descriptor.clip, descriptor.w_max, descriptor.sigma_local)
    if bits > MAX_BITS:
        refuse(
            f"the sum needs {bits} bits, at most {MAX_BITS} are used; lower scale, clip or noise."
        )
    _same(descriptor.bits, bits, "modulus in bits")
    for one in descriptor.stage_timeouts_s:
        if not 1 <= one <= MAX_STAGE_TIMEOUT_S:
            refuse(f"a stage lasts {one} s; 1 to {MAX_STAGE_TIMEOUT_S} s are allowed.")


def _check_noise(descriptor: RoundDescriptor) -> None:
    if descriptor.sigma_local and descriptor.w_max != 1:
        refuse(
            f"noise is added and the weight cap is {descriptor.w_max}; with noise every member "
            "weighs the same.",
            "c14",
        )


def _same(offered: int, right: int, what: str, clause: str = "") -> None:
    if offered != right:
        refuse(f"the {what} is {offered}; the figures of the round make it {right}.", clause)


def refuse(problem: str, clause: str = "") -> NoReturn:
    raise Refused(
        problem,
        clauses=(clause,) if clause else (),
        fix="This member stays out of the round; ask the operator.",
    )
