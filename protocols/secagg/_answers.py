"""How the coordinator checks one answer of one member (SPEC.md sections 4.1 to 4.4).

Each function raises RemoteError naming the member; nothing is changed by a check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from protocols.errors import RemoteError
from protocols.secagg import masks, messages, shamir
from protocols.secagg.fixedpoint import packed_size
from protocols.secagg.messages import (
    Advertisement,
    AgreeReply,
    MaskedInput,
    OpenShare,
    ShareReply,
    UnmaskReply,
    blaming,
)
from protocols.secagg.params import RoundDescriptor
from protocols.secagg.published import VectorHash
from protocols.signing import verify

_PROBE = bytes(32)  # any scalar shows a low-order point; this one is nobody's key


def check_advertisement(
    ad: Advertisement,
    member: bytes,
    public: bytes,
    rd: bytes,
    others: Iterable[Advertisement],
) -> None:
    """Own id, signature, usable points, nothing that another member already advertised."""
    peer = member.hex()
    if ad.member != member:
        raise RemoteError("it advertised keys under another member's id.", peer=peer, where=peer)
    verify(public, ad.signature, "SAQ1 AD", rd, *ad.signed_parts(), peer=peer)
    with blaming(peer, "advertised keys"):
        for point in (ad.c_public, ad.s_public):
            masks.check_point(point)
            masks.exchange(_PROBE, point)
    messages.check_distinct((*others, ad))


def check_shares(
    reply: ShareReply, member: bytes, public: bytes, a1: bytes, u1: Sequence[bytes]
) -> None:
    """One sealed share for every other member of U1, signed."""
    peer = member.hex()
    if tuple(one.peer for one in reply.shares) != tuple(one for one in u1 if one != member):
        raise RemoteError("its shares are not for exactly the others of U1.", peer=peer, where=peer)
    hashed = messages.ciphertexts_hash(reply.shares)
    verify(public, reply.signature, "SAQ1 SHARES", a1, hashed, peer=peer)


def check_vector(
    reply: MaskedInput, member: bytes, public: bytes, a2: bytes, descriptor: RoundDescriptor
) -> VectorHash:
    """Right size, signed; returns the evidence to keep."""
    peer = member.hex()
    size = packed_size(descriptor.coordinates, descriptor.width)
    if len(reply.vector) != size:
        raise RemoteError(
            f"its masked vector has {len(reply.vector)} bytes, expected {size}.",
            peer=peer,
            where=peer,
        )
    hashed = hashlib.sha256(reply.vector).digest()
    verify(public, reply.signature, "SAQ1 Y", a2, hashed, peer=peer)
    return VectorHash(member, hashed, reply.signature)


def check_agreement(reply: AgreeReply, member: bytes, public: bytes, a3: bytes) -> None:
    """Its signature on A3."""
    verify(public, reply.signature, "SAQ1 A3", a3, peer=member.hex())


def check_opened(
    reply: UnmaskReply, member: bytes, survivors: Sequence[bytes], gone: Sequence[bytes]
) -> None:
    """b shares of exactly U3 and seed shares of exactly U2 without U3, well formed."""
    peer = member.hex()
    for opened, owners in ((reply.own_shares, survivors), (reply.seed_shares, gone)):
        if tuple(one.owner for one in opened) != tuple(owners):
            raise RemoteError(
                "its opened shares are not those that the stage asks for.", peer=peer, where=peer
            )
        _check_form(opened, peer)


def _check_form(opened: Iterable[OpenShare], peer: str) -> None:
    with blaming(peer, "opened share"):
        for one in opened:
            shamir.share_values(one.share)
