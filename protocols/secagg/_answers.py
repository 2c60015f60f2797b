"""How the coordinator checks one answer of one member (SPEC.md sections 4.1 to 4.4).

Each function raises RemoteError naming the member; nothing is changed by a check.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from protocols.errors import RemoteError
from protocols.secagg import masks, messages, shamir
from protocols.secagg.fixedpoint import packed_size
from protocols.secagg.merkle import vector_root
from protocols.secagg.messages import (
    EARLY_TAG,
    Advertisement,
    AgreeReply,
    MaskedInput,
    ShareReply,
    UnmaskReply,
    VectorRoot,
    blaming,
)
from protocols.secagg.params import RoundDescriptor
from protocols.signing import verify

_PROBE = masks.loaded(bytes(32))  # any scalar shows a low-order point; this one is nobody's key


def check_advertisement(
    ad: Advertisement,
    member: bytes,
    public: bytes,
    descriptor: RoundDescriptor,
    rd: bytes,
    taken: Set[bytes],
) -> frozenset[bytes]:
    """Own id, signature, usable points, nothing of what others advertised; the four values."""
    _check_own(ad, member)
    messages.check_advertised(ad, descriptor, rd, public)
    _check_points(ad)
    return messages.check_new(ad, taken)


def _check_own(ad: Advertisement, member: bytes) -> None:
    if ad.member != member:
        raise RemoteError(
            "it advertised keys under another member's id.", peer=member.hex(), where=member.hex()
        )


def _check_points(ad: Advertisement) -> None:
    with blaming(ad.member.hex(), "advertised keys"):
        for point in (ad.c_public, ad.s_public):
            masks.check_point(point)
            masks.exchange(_PROBE, point)


def check_shares(
    reply: ShareReply, member: bytes, public: bytes, a1: bytes, holders: Sequence[bytes]
) -> None:
    """One sealed share for every neighbour in U1, signed."""
    peer = member.hex()
    if tuple(one.peer for one in reply.shares) != tuple(holders):
        raise RemoteError(
            "its shares are not for exactly its neighbours in U1.", peer=peer, where=peer
        )
    hashed = messages.ciphertexts_hash(reply.shares)
    verify(public, reply.signature, "SAQ1 SHARES", a1, hashed, peer=peer)


def check_vector(
    reply: MaskedInput, member: bytes, public: bytes, a2: bytes, descriptor: RoundDescriptor
) -> VectorRoot:
    """Right size, signed; returns the evidence to keep."""
    peer = member.hex()
    size = packed_size(descriptor.coordinates, descriptor.width)
    if len(reply.vector) != size:
        raise RemoteError(
            f"its masked vector has {len(reply.vector)} bytes, expected {size}.",
            peer=peer,
            where=peer,
        )
    root = vector_root(reply.vector, descriptor.width)
    verify(public, reply.signature, "SAQ1 Y", a2, root, peer=peer)
    return VectorRoot(member, root, reply.signature)


def check_agreement(reply: AgreeReply, member: bytes, public: bytes, a3: bytes) -> None:
    """Its signature on A3."""
    verify(public, reply.signature, "SAQ1 A3", a3, peer=member.hex())


def check_opened(
    reply: UnmaskReply, member: bytes, survivors: Sequence[bytes], gone: Sequence[bytes]
) -> None:
    """b shares of exactly these survivors and seed shares of exactly these others, well formed."""
    peer = member.hex()
    for opened, owners in ((reply.own_shares, survivors), (reply.seed_shares, gone)):
        if tuple(one.owner for one in opened) != tuple(owners):
            raise RemoteError(
                "its opened shares are not those that the stage asks for.", peer=peer, where=peer
            )
        with blaming(peer, "opened share"):
            shamir.share_rows([one.share for one in opened])


def check_next(
    ad: Advertisement, member: bytes, public: bytes, descriptor: RoundDescriptor, a3: bytes
) -> None:
    """Early keys for the round after ``descriptor``'s, bound to this round's transcript."""
    _check_own(ad, member)
    if not ad.early:
        raise RemoteError("its keys are not for the next round.", peer=member.hex())
    bound = (descriptor.coop, descriptor.run, descriptor.round + 1, a3)
    verify(public, ad.signature, EARLY_TAG, *bound, *ad.signed_parts(), peer=member.hex())
    _check_points(ad)
