"""What an auditor of a sum is shown, and which part of it (SPEC.md section 4.5).

The disclosure shows no more than the coordinator has: masked vectors that their members signed,
and the secrets that were opened to take the masks off their sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from protocols.canonical import digest
from protocols.errors import InputError
from protocols.secagg.fixedpoint import packed_size
from protocols.secagg.merkle import HASH_BYTES, chunk_bytes, chunk_coordinates, chunk_count
from protocols.secagg.messages import (
    SIGNATURE_BYTES,
    Advertisement,
    AdvertiseRequest,
    VectorRoot,
)
from protocols.secagg.params import RoundDescriptor
from protocols.secagg.published import PublishedSum

SECRET_BYTES = 32
NONCE_BYTES = 32
BODY_BYTES = 64_000_000  # of one disclosure: what the link carries in one body
SPOT_LEAST = 32
PATH_STEP_BYTES = HASH_BYTES + 2  # on the wire; likewise what stands around a part


@dataclass(frozen=True, slots=True)
class AuditHead:
    """Everything of a disclosure but the vectors; the same for every auditor.

    ``own_secrets`` are b of U3, ``seeds`` those of U2 without U3, ``roots`` those of U3, all in
    the order of ids.
    """

    opening: AdvertiseRequest
    published: PublishedSum
    advertisements: tuple[Advertisement, ...]
    own_secrets: tuple[bytes, ...] = field(repr=False)
    seeds: tuple[bytes, ...] = field(repr=False)
    roots: tuple[VectorRoot, ...]

    def __post_init__(self) -> None:
        if any(len(one) != SECRET_BYTES for one in (*self.own_secrets, *self.seeds)):
            raise InputError(f"an opened secret has not {SECRET_BYTES} bytes.")
        if self.published.sum_certificate:
            raise InputError("a sum that is shown for audit already has a certificate.")


@dataclass(frozen=True, slots=True)
class AuditPart:
    """One member's chunk and the path to its root."""

    data: bytes = field(repr=False)
    path: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.data or any(len(one) != HASH_BYTES for one in self.path):
            raise InputError("a chunk is empty or its path is malformed.")


@dataclass(frozen=True, slots=True)
class AuditChunk:
    """The same chunk of every vector of U3."""

    index: int
    parts: tuple[AuditPart, ...]


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """A disclosure: all vectors of U3; or none, to ask for a nonce; or the chunks that it drew."""

    head: AuditHead
    vectors: tuple[bytes, ...] = field(default=(), repr=False)
    chunks: tuple[AuditChunk, ...] = ()

    def __post_init__(self) -> None:
        if self.vectors and self.chunks:
            raise InputError("a disclosure shows whole vectors or chunks, not both.")


@dataclass(frozen=True, slots=True)
class AuditReply:
    """The nonce that draws chunks, or the signature on the sum."""

    nonce: bytes = b""
    signature: bytes = b""

    def __post_init__(self) -> None:
        if (len(self.nonce), len(self.signature)) not in (
            (NONCE_BYTES, 0),
            (0, SIGNATURE_BYTES),
        ):
            raise InputError("an auditor answers with a nonce or with a signature.")


def budget_bytes(descriptor: RoundDescriptor) -> int:
    """Bytes of vectors that one disclosure may hold beside its head."""
    return BODY_BYTES - 8 * descriptor.dim


def in_full(descriptor: RoundDescriptor, survivors: int) -> bool:
    """Whether every auditor sees every vector whole."""
    size = packed_size(descriptor.coordinates, descriptor.width)
    return survivors * size <= budget_bytes(descriptor)


def spots(descriptor: RoundDescriptor, survivors: int) -> int:
    """How many chunks an auditor of a large sum sees, the last one among them."""
    width = descriptor.width
    count = chunk_count(descriptor.coordinates, width)
    wanted = max(SPOT_LEAST, -(-count * descriptor.spot_percent // 100))
    path = PATH_STEP_BYTES * (1 + (count - 1).bit_length())
    rest = packed_size(descriptor.coordinates - (count - 1) * chunk_coordinates(width), width)
    room = budget_bytes(descriptor) - survivors * (rest + path)
    return min(count, wanted, 1 + max(1, room // (survivors * (chunk_bytes(width) + path))))


def draw(
    a3: bytes, sum_hash: bytes, nonce: bytes, descriptor: RoundDescriptor, survivors: int
) -> tuple[int, ...]:
    """The chunks to show, ascending: the last, which holds the weights, and others at random."""
    count = chunk_count(descriptor.coordinates, descriptor.width)
    last = count - 1
    order = sorted(range(last), key=lambda index: digest("SAQ1 spot", a3, sum_hash, nonce, index))
    return (*sorted(order[: spots(descriptor, survivors) - 1]), last)


def auditor_order(a3: bytes, survivors: Iterable[bytes]) -> tuple[bytes, ...]:
    """Survivors in the order in which they are asked; the first C + 1, then stand-ins."""
    return tuple(sorted(survivors, key=lambda one: digest("SAQ1 auditor", a3, one)))


def check_count(found: Sequence[object], expected: int, what: str) -> None:
    """InputError unless a disclosure holds exactly that many."""
    if len(found) != expected:
        raise InputError(f"a disclosure has {len(found)} {what}, expected {expected}.")
