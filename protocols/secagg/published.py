"""What a finished round publishes, and how anybody checks and uses it (SPEC.md section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from protocols.errors import Code, InputError, RemoteError
from protocols.secagg import messages
from protocols.secagg._phases import COORDINATOR, check_quorum
from protocols.secagg.fixedpoint import Sums, Update, mean_of_sum
from protocols.secagg.messages import SIGNATURE_BYTES, AgreementSignature, Stage, blaming
from protocols.secagg.params import HASH_BYTES, MAX_COUNT, RUN_BYTES, RoundDescriptor, Task
from protocols.secagg.recovery import Blame, check_range


@dataclass(frozen=True, slots=True)
class VectorHash:
    """What a member signed about its masked vector: evidence for a later audit of the sum."""

    member: bytes
    sha256: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if (len(self.member), len(self.sha256), len(self.signature)) != (
            HASH_BYTES,
            HASH_BYTES,
            SIGNATURE_BYTES,
        ):
            raise InputError("a vector hash is 32 bytes of id, 32 of hash, 64 of signature.")


@dataclass(frozen=True, slots=True, eq=False)
class PublishedSum:
    """The sum of one round with its quorum certificate.

    ``cohort`` and ``survivor_map`` are the bitmaps of U2 and U3 over the descriptor's ids;
    ``total`` is int64 ``(dim,)`` in units of 1 / scale, each input weighted by w / w_max.
    """

    run: bytes
    round: int
    attempt: int
    task: Task
    descriptor_digest: bytes
    ads_hash: bytes
    cohort: bytes
    survivor_map: bytes
    total: Sums = field(repr=False)
    weight_sum: int
    a3: bytes
    certificate: tuple[AgreementSignature, ...]

    def __post_init__(self) -> None:
        sizes = [len(self.descriptor_digest), len(self.ads_hash), len(self.a3)]
        if sizes != [HASH_BYTES] * 3 or len(self.run) != RUN_BYTES:
            raise InputError("a hash or the run id of a published sum has a wrong size.")
        if self.task not in get_args(Task):
            raise InputError("the task of a published sum is 'train' or 'evaluate'.")
        for count in (self.round, self.attempt, self.weight_sum):
            if not 0 <= count < MAX_COUNT:
                raise InputError("a number of a published sum is out of range.")
        if self.total.dtype != np.int64 or self.total.ndim != 1 or not self.total.size:
            raise InputError("a published sum is a vector of int64.")

    def survivors(self, descriptor: RoundDescriptor) -> tuple[bytes, ...]:
        """Ids of U3, ascending."""
        return messages.from_bitmap(self.survivor_map, descriptor.ids)


@dataclass(frozen=True, slots=True, eq=False)
class RoundResult:
    """What the coordinator has after a round: the published part, the sets, who was wrong."""

    published: PublishedSum
    u1: tuple[bytes, ...]
    u2: tuple[bytes, ...]
    u3: tuple[bytes, ...]
    y_hashes: tuple[VectorHash, ...]
    blamed: tuple[Blame, ...]

    @property
    def sum(self) -> Sums:
        """int64 ``(dim,)``."""
        return self.published.total

    @property
    def weight_sum(self) -> int:
        """Sum of the integer weights of U3."""
        return self.published.weight_sum

    @property
    def a3(self) -> bytes:
        """Transcript of the round; ``prev_transcript`` of the next."""
        return self.published.a3

    @property
    def certificate(self) -> tuple[AgreementSignature, ...]:
        """The quorum's signatures on A3."""
        return self.published.certificate


def check_certificate(
    published: PublishedSum, descriptor: RoundDescriptor, roster: Mapping[bytes, bytes]
) -> None:
    """That a quorum of the roster signed this descriptor, these keys and these survivors.

    The descriptor itself is the caller's to check (``check_descriptor``). The certificate says
    who took part in which round; that the figures are the sum of what they sent is what the
    sum certificate of a later version says.

    Raises:
        RemoteError: naming what does not fit.
    """
    for name in ("run", "round", "attempt", "task"):
        if getattr(published, name) != getattr(descriptor, name):
            raise _misfit(f"its {name} is not the descriptor's")
    if published.descriptor_digest != descriptor.digest():
        raise _misfit("it names another descriptor")
    if published.total.shape != (descriptor.dim,):
        raise _misfit(f"it has {published.total.size} coordinates, expected {descriptor.dim}")
    with blaming(COORDINATOR, "published sum"):
        cohort = messages.from_bitmap(published.cohort, descriptor.ids)
        survivors = published.survivors(descriptor)
    if not set(survivors) <= set(cohort) or len(survivors) < descriptor.least_survivors:
        raise _misfit(
            f"its {len(survivors)} survivors are too few (at least {descriptor.least_survivors}) "
            "or not of the cohort"
        )
    a1 = messages.first_transcript(published.descriptor_digest, published.ads_hash)
    a2 = messages.second_transcript(a1, published.cohort)
    if messages.third_transcript(a2, published.survivor_map) != published.a3:
        raise _misfit("its transcript does not follow from its parts")
    check_quorum(descriptor, published.a3, survivors, published.certificate, roster)
    check_range(published.total, published.weight_sum, len(survivors), descriptor)


def mean_update(published: PublishedSum, descriptor: RoundDescriptor) -> Update:
    """The weighted mean of the survivors' updates, float32 ``(dim,)``; the same everywhere."""
    return mean_of_sum(published.total, published.weight_sum, descriptor)


def _misfit(what: str) -> RemoteError:
    return RemoteError(
        f"the published sum does not verify: {what}.",
        peer=COORDINATOR,
        code=Code.TAMPERED,
        where=f"stage {Stage.PUBLISH.name.lower()}",
    )
