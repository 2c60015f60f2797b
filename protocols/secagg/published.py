"""What a finished round publishes, and how anybody checks and uses it (SPEC.md section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from protocols.canonical import digest
from protocols.errors import Code, InputError, RemoteError
from protocols.secagg import messages
from protocols.secagg._phases import COORDINATOR, check_quorum
from protocols.secagg.fixedpoint import Sums, Update, mean_of_sum
from protocols.secagg.messages import (
    Advertisement,
    AdvertiseRequest,
    AgreementSignature,
    Stage,
    VectorRoot,
    blaming,
)
from protocols.secagg.params import HASH_BYTES, MAX_COUNT, RUN_BYTES, RoundDescriptor, Task
from protocols.secagg.recovery import Blame, Secrets, check_range
from protocols.signing import verify

SUM_TAG = "SAQ1 SUM"


@dataclass(frozen=True, slots=True, eq=False)
class PublishedSum:
    """The sum of one round with its certificates.

    ``cohort`` and ``survivor_map`` are the bitmaps of U2 and U3 over the descriptor's ids;
    ``total`` is int64 ``(dim,)`` in units of 1 / scale, each input weighted by w / w_max.
    ``certificate`` is the quorum's on who took part with what; ``sum_certificate`` that of the
    survivors that recomputed the sum, empty before the audit.
    """

    run: bytes
    round: int
    attempt: int
    task: Task
    descriptor_digest: bytes
    ads_hash: bytes
    cohort: bytes
    survivor_map: bytes
    vectors_hash: bytes
    total: Sums = field(repr=False)
    weight_sum: int
    a3: bytes
    certificate: tuple[AgreementSignature, ...]
    sum_certificate: tuple[AgreementSignature, ...] = ()

    def __post_init__(self) -> None:
        hashes = (self.descriptor_digest, self.ads_hash, self.vectors_hash, self.a3)
        if any(len(one) != HASH_BYTES for one in hashes) or len(self.run) != RUN_BYTES:
            raise InputError("a hash or the run id of a published sum has a wrong size.")
        if self.task not in get_args(Task):
            raise InputError("the task of a published sum is 'train' or 'evaluate'.")
        for count in (self.round, self.attempt, self.weight_sum):
            if not 0 <= count < MAX_COUNT:
                raise InputError("a number of a published sum is out of range.")
        if self.total.dtype != np.int64 or self.total.ndim != 1 or not self.total.size:
            raise InputError("a published sum is a vector of int64.")

    def sum_hash(self) -> bytes:
        """What the auditors sign about the figures, 32 bytes."""
        return digest("SAQ1 TOTAL", self.total.astype("<i8").tobytes(), self.weight_sum)

    def survivors(self, descriptor: RoundDescriptor) -> tuple[bytes, ...]:
        """Ids of U3, ascending."""
        return messages.from_bitmap(self.survivor_map, descriptor.ids)


@dataclass(frozen=True, slots=True, eq=False)
class RoundResult:
    """What the coordinator has after a round.

    ``published`` has no sum certificate yet (``SumAudit`` gets it); ``roots`` are those of U3,
    ``secrets`` what was opened; ``carried`` the early keys for the next round's attempt 0.
    """

    opening: AdvertiseRequest
    published: PublishedSum
    advertisements: tuple[Advertisement, ...]
    u2: tuple[bytes, ...]
    u3: tuple[bytes, ...]
    roots: tuple[VectorRoot, ...]
    secrets: Secrets = field(repr=False)
    blamed: tuple[Blame, ...]
    carried: Mapping[bytes, Advertisement]

    @property
    def u1(self) -> tuple[bytes, ...]:
        """Ids of those who sent keys, ascending."""
        return tuple(one.member for one in self.advertisements)

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
    """That a quorum signed who took part with what, and that C + 1 of them found this sum in it.

    The descriptor itself is the caller's to check (``check_descriptor``).

    Raises:
        RemoteError: naming what does not fit.
    """
    survivors = check_transcript(published, descriptor, roster)
    needed, found = auditors_needed(descriptor), published.sum_certificate
    if len(found) < needed:
        raise _misfit(f"{len(found)} survivors confirmed the sum, {needed} are needed")
    with blaming(COORDINATOR, "sum certificate"):
        messages.check_ascending((one.member for one in found), "the sum certificate")
    allowed, hashed = frozenset(survivors), published.sum_hash()
    for one in found:
        if one.member not in allowed or one.member not in roster:
            raise _misfit("its sum certificate holds a signature from outside U3")
        check_confirmation(one, published.a3, hashed, roster[one.member])


def auditors_needed(descriptor: RoundDescriptor) -> int:
    """Confirmations of a sum: among C + 1 survivors one is honest."""
    return descriptor.colluders + 1


def check_confirmation(one: AgreementSignature, a3: bytes, hashed: bytes, public: bytes) -> None:
    """One auditor's signature on a sum; RemoteError naming it if it does not verify."""
    verify(public, one.signature, SUM_TAG, a3, hashed, peer=one.member.hex())


def check_transcript(
    published: PublishedSum, descriptor: RoundDescriptor, roster: Mapping[bytes, bytes]
) -> tuple[bytes, ...]:
    """Everything of a published sum but its sum certificate.

    Returns:
        The survivors, ascending.

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
    a3 = messages.third_transcript(a2, published.survivor_map, published.vectors_hash)
    if a3 != published.a3:
        raise _misfit("its transcript does not follow from its parts")
    check_quorum(descriptor, published.a3, survivors, published.certificate, roster)
    check_range(published.total, published.weight_sum, len(survivors), descriptor)
    return survivors


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
