"""What travels in the five exchanges (SPEC.md section 4): frozen values, well formed once made.

Sizes are checked here, policy and signatures in ``member`` and ``aggregator``. Every constructor
raises InputError when a size or a form is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise

from protocols.canonical import digest
from protocols.errors import InputError, RemoteError
from protocols.secagg.masks import POINT_BYTES, TAG_BYTES
from protocols.secagg.params import HASH_BYTES, RoundDescriptor
from protocols.secagg.shamir import SHARE_BYTES
from protocols.signing import verify

SIGNATURE_BYTES = 64
SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES
NONCE_BYTES = 32
ADVERTISEMENT_BYTES = 2 * HASH_BYTES + 2 * POINT_BYTES + NONCE_BYTES + SIGNATURE_BYTES + 1
EARLY_TAG = "SAQ1 AD NEXT"


class Stage(IntEnum):
    """The five exchanges, the audit of the sum, and the publication that follows them."""

    ADVERTISE = 0
    SHARE = 1
    MASK = 2
    AGREE = 3
    UNMASK = 4
    AUDIT = 5
    PUBLISH = 6


def _size(value: bytes, size: int, what: str) -> None:
    if len(value) != size:
        raise InputError(f"{what} has {len(value)} bytes, expected {size}.")


@dataclass(frozen=True, slots=True)
class Advertisement:
    """A member's keys for one attempt of one round.

    ``early`` keys were sent with the unmask reply of the round before and serve attempt 0 only.
    """

    member: bytes
    c_public: bytes
    s_public: bytes
    nonce: bytes
    commitment: bytes
    signature: bytes
    early: bool = False

    def __post_init__(self) -> None:
        _size(self.member, HASH_BYTES, "a member id")
        _size(self.c_public, POINT_BYTES, "a channel key")
        _size(self.s_public, POINT_BYTES, "a mask key")
        _size(self.nonce, NONCE_BYTES, "a nonce")
        _size(self.commitment, HASH_BYTES, "a commitment")
        _size(self.signature, SIGNATURE_BYTES, "a signature")

    def signed_parts(self) -> tuple[bytes, ...]:
        """The keys under the signature, after what they are bound to."""
        return (self.member, self.c_public, self.s_public, self.nonce, self.commitment)

    def encode(self) -> bytes:
        """225 bytes, as hashed into ADS (SPEC.md section 3)."""
        return b"".join((*self.signed_parts(), self.signature, b"\1" if self.early else b"\0"))


@dataclass(frozen=True, slots=True)
class SealedShare:
    """A sealed share; ``peer`` is the recipient on the way up, the sender on the way down."""

    peer: bytes
    sealed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _size(self.peer, HASH_BYTES, "a member id")
        _size(self.sealed, SEALED_BYTES, "a sealed share")


@dataclass(frozen=True, slots=True)
class OpenShare:
    """A share of ``owner``'s secret, opened for the coordinator."""

    owner: bytes
    share: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _size(self.owner, HASH_BYTES, "a member id")
        _size(self.share, SHARE_BYTES, "a share")


@dataclass(frozen=True, slots=True)
class AgreementSignature:
    """One member's signature on A3."""

    member: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _size(self.member, HASH_BYTES, "a member id")
        _size(self.signature, SIGNATURE_BYTES, "a signature")


@dataclass(frozen=True, slots=True)
class AdvertiseRequest:
    """Stage 0 from the coordinator: the descriptor and its signature."""

    descriptor: RoundDescriptor
    signature: bytes

    def __post_init__(self) -> None:
        _size(self.signature, SIGNATURE_BYTES, "a signature")


@dataclass(frozen=True, slots=True)
class ShareRequest:
    """Stage 1 from the coordinator: the advertisements of U1.

    ``opening`` comes to those whose early keys stand among them and who saw no stage 0.
    """

    advertisements: tuple[Advertisement, ...]
    opening: AdvertiseRequest | None = None


@dataclass(frozen=True, slots=True)
class ShareReply:
    """Stage 1 from a member: one sealed share per other member of U1."""

    shares: tuple[SealedShare, ...]
    signature: bytes

    def __post_init__(self) -> None:
        _size(self.signature, SIGNATURE_BYTES, "a signature")


@dataclass(frozen=True, slots=True)
class MaskRequest:
    """Stage 2 from the coordinator: U2 and the shares sealed for the receiver."""

    cohort: bytes
    shares: tuple[SealedShare, ...]


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """Stage 2 from a member: the packed masked vector."""

    vector: bytes = field(repr=False)
    signature: bytes

    def __post_init__(self) -> None:
        _size(self.signature, SIGNATURE_BYTES, "a signature")


@dataclass(frozen=True, slots=True)
class AgreeRequest:
    """Stage 3 from the coordinator: U3, and the hash of what its members sent.

    ``roots``: above 300 members those of the receiver's neighbours in U3, each with its member's
    signature under A2; else none.
    """

    survivors: bytes
    vectors_hash: bytes
    roots: tuple[VectorRoot, ...] = ()

    def __post_init__(self) -> None:
        _size(self.vectors_hash, HASH_BYTES, "a hash of vectors")


@dataclass(frozen=True, slots=True)
class AgreeReply:
    """Stage 3 from a member: its signature on A3."""

    signature: bytes

    def __post_init__(self) -> None:
        _size(self.signature, SIGNATURE_BYTES, "a signature")


@dataclass(frozen=True, slots=True)
class UnmaskRequest:
    """Stage 4 from the coordinator: the quorum certificate.

    ``carry`` asks for keys for the next round in the same reply.
    """

    certificate: tuple[AgreementSignature, ...]
    carry: bool = False


@dataclass(frozen=True, slots=True)
class UnmaskReply:
    """Stage 4 from a member: shares of b for U3, of seeds for U2 without U3."""

    own_shares: tuple[OpenShare, ...]
    seed_shares: tuple[OpenShare, ...]
    next_ad: Advertisement | None = None


@dataclass(frozen=True, slots=True)
class VectorRoot:
    """What a member signed about its masked vector: the root over its chunks."""

    member: bytes
    root: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _size(self.member, HASH_BYTES, "a member id")
        _size(self.root, HASH_BYTES, "a root")
        _size(self.signature, SIGNATURE_BYTES, "a signature")


Request = AdvertiseRequest | ShareRequest | MaskRequest | AgreeRequest | UnmaskRequest
Reply = Advertisement | ShareReply | MaskedInput | AgreeReply | UnmaskReply


def bitmap(members: Iterable[bytes], ids: tuple[bytes, ...]) -> bytes:
    """The set as a bitmap over ``ids`` (SPEC.md section 1.5)."""
    chosen = frozenset(members)
    out = bytearray((len(ids) + 7) // 8)
    for index, one in enumerate(ids):
        if one in chosen:
            out[index // 8] |= 1 << index % 8
    return bytes(out)


def from_bitmap(bits: bytes, ids: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Members of a bitmap, ascending; InputError on a wrong length or a spare bit."""
    if len(bits) != (len(ids) + 7) // 8:
        raise InputError(f"a bitmap over {len(ids)} members has {len(bits)} bytes.")
    if int.from_bytes(bits, "little") >> len(ids):
        raise InputError("a bitmap names members that do not exist.")
    return tuple(one for i, one in enumerate(ids) if bits[i // 8] >> i % 8 & 1)


def check_ascending(members: Iterable[bytes], what: str) -> None:
    """InputError unless the ids are strictly ascending: sorted, and each once."""
    listed = list(members)
    if any(one >= other for one, other in pairwise(listed)):
        raise InputError(f"the members of {what} are not ascending, or one stands twice.")


def check_distinct(advertisements: Iterable[Advertisement]) -> None:
    """RemoteError if two members of U1 share a key, a nonce or a commitment, or one key is both."""
    seen: set[bytes] = set()
    for ad in advertisements:
        seen |= check_new(ad, seen)


def check_new(ad: Advertisement, seen: Set[bytes]) -> frozenset[bytes]:
    """The four values of an advertisement; RemoteError if one is in ``seen`` or stands twice."""
    values = frozenset((ad.c_public, ad.s_public, ad.nonce, ad.commitment))
    if len(values) < len(ad.signed_parts()) - 1 or not values.isdisjoint(seen):
        raise RemoteError(
            "a key, nonce or commitment stands twice in U1.",
            peer=ad.member.hex(),
            where="advertised keys",
        )
    return values


def advertisements_hash(advertisements: tuple[Advertisement, ...]) -> bytes:
    """ADS of SPEC.md section 3."""
    return digest("SAQ1 ADS", *(one.encode() for one in advertisements))


def first_transcript(descriptor_digest: bytes, ads_hash: bytes) -> bytes:
    """A1 of SPEC.md section 3."""
    return digest("SAQ1 A1", descriptor_digest, ads_hash)


def second_transcript(a1: bytes, cohort: bytes) -> bytes:
    """A2 of SPEC.md section 3; ``cohort`` is the bitmap of U2."""
    return digest("SAQ1 A2", a1, cohort)


def vectors_hash(roots: Iterable[VectorRoot]) -> bytes:
    """VH of SPEC.md section 3: what the members of U3, ascending, sent."""
    parts: list[bytes] = []
    for one in roots:
        parts += (one.member, one.root)
    return digest("SAQ1 VH", *parts)


def third_transcript(a2: bytes, survivors: bytes, vectors: bytes) -> bytes:
    """A3 of SPEC.md section 3; ``survivors`` is the bitmap of U3, ``vectors`` is VH."""
    return digest("SAQ1 A3", a2, survivors, vectors)


def check_advertised(
    ad: Advertisement, descriptor: RoundDescriptor, rd: bytes, public: bytes
) -> None:
    """The signature over a member's keys, under this descriptor or, if early, under its past.

    Raises:
        RemoteError: it does not verify, or early keys are shown in a later attempt.
    """
    peer = ad.member.hex()
    if not ad.early:
        verify(public, ad.signature, "SAQ1 AD", rd, *ad.signed_parts(), peer=peer)
        return
    if descriptor.attempt:
        raise RemoteError(
            f"its early keys are for attempt 0, not {descriptor.attempt}.", peer=peer, where=peer
        )
    one = descriptor
    bound = (one.coop, one.run, one.round, one.prev_transcript)
    verify(public, ad.signature, EARLY_TAG, *bound, *ad.signed_parts(), peer=peer)


def ciphertexts_hash(shares: tuple[SealedShare, ...]) -> bytes:
    """CT of SPEC.md section 4.1: what a member signs about the shares that it dealt."""
    parts: list[bytes] = []
    for one in shares:
        parts += (one.peer, one.sealed)
    return digest("SAQ1 CT", *parts)


@contextmanager
def blaming(peer: str, where: str) -> Iterator[None]:
    """Turn InputError about what ``peer`` sent into RemoteError that names it."""
    try:
        yield
    except InputError as error:
        raise RemoteError(error.problem, peer=peer, where=where) from error
