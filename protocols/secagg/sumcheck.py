"""A survivor recomputes the sum of its round before anybody builds on it (SPEC.md section 4.5).

Nothing is kept between two requests: the nonce of a spot check follows from the member's key and
from the sum that is claimed, so nobody can foresee it and the coordinator has to claim first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from protocols.canonical import digest
from protocols.errors import Code, InputError, RemoteError
from protocols.secagg import masks, messages, recovery
from protocols.secagg._phases import COORDINATOR
from protocols.secagg.disclosure import (
    AuditHead,
    AuditReply,
    AuditRequest,
    check_count,
    draw,
    in_full,
)
from protocols.secagg.fixedpoint import Lanes, centre, packed_size, unpack_into
from protocols.secagg.masks import check_primitives
from protocols.secagg.merkle import chunk_coordinates, chunk_count, root_from, vector_root
from protocols.secagg.messages import Advertisement, blaming
from protocols.secagg.params import RoundDescriptor, check_figures
from protocols.secagg.published import SUM_TAG, check_transcript
from protocols.secagg.recovery import Secrets
from protocols.secagg.topology import Topology
from protocols.signing import SigningKey, identity_of, verify


def check_sum(
    request: AuditRequest,
    *,
    identity: SigningKey,
    roster: Mapping[bytes, bytes],
    coordinator_key: bytes,
    transcript: bytes | None = None,
    own_root: bytes | None = None,
    answered: bytes | None = None,
) -> AuditReply:
    """Recompute a disclosed sum, whole or in the chunks that this member draws.

    Args:
        request: what the coordinator shows.
        identity: this member's Ed25519 key; it must have survived in the round.
        roster: member id -> Ed25519 public key.
        coordinator_key: Ed25519 public key that signs descriptors.
        transcript: the A3 that this member signed in that round; None if it has been restarted.
        own_root: root of the vector that it sent (``Member.vector_root``); None likewise.
        answered: ``PublishedSum.sum_hash()`` of a sum of that round that it answered for before.

    Returns:
        The signature on the sum; for a large sum first the nonce that draws the chunks.

    Raises:
        RemoteError: the first thing that does not fit.
        Refused: the descriptor's figures break SPEC.md section 2.
    """
    check_primitives()
    head = request.head
    case = _check_head(head, roster, coordinator_key)
    published = head.published
    me = bytes.fromhex(identity_of(identity.public))
    if me not in case.survivors:
        raise _wrong("this member is not among the survivors.")
    if transcript not in (None, published.a3):
        raise _wrong("its transcript is not the one that this member signed.")
    mine = head.roots[case.survivors.index(me)].root
    if own_root not in (None, mine):
        raise _wrong("it holds another vector than this member sent.")
    if answered not in (None, published.sum_hash()):
        raise _wrong("this member has been shown another sum of the same round.")
    descriptor = case.descriptor
    if in_full(descriptor, len(case.survivors)):
        _check_whole(request, case)
    else:
        nonce = _nonce(identity, published.a3, published.sum_hash())
        if not request.chunks:
            with blaming(COORDINATOR, "audit"):
                check_count(request.vectors, 0, "whole vectors")
            return AuditReply(nonce=nonce)
        _check_spots(request, case, nonce)
    return AuditReply(signature=identity.sign(SUM_TAG, published.a3, published.sum_hash()))


def _nonce(identity: SigningKey, a3: bytes, sum_hash: bytes) -> bytes:
    return digest("SAQ1 nonce", identity.sign("SAQ1 AUDIT", a3, sum_hash))


@dataclass(frozen=True, slots=True)
class _Case:
    """A head whose parts fit together: what is left is arithmetic."""

    descriptor: RoundDescriptor
    head: AuditHead
    survivors: tuple[bytes, ...]
    plus: list[bytes] = field(repr=False)
    minus: list[bytes] = field(repr=False)

    def claimed(self) -> Lanes:
        """The published figures as lanes ``(dim + 1,)`` modulo 2^32."""
        published = self.head.published
        out = np.empty(self.descriptor.coordinates, dtype=np.uint32)
        out[:-1] = published.total.astype(np.uint32)
        out[-1] = published.weight_sum
        return out


def _wrong(problem: str) -> RemoteError:
    return RemoteError(
        f"the sum cannot be confirmed: {problem}",
        peer=COORDINATOR,
        code=Code.TAMPERED,
        where="audit",
        fix="This member takes no step on it; tell the others.",
    )


def _check_head(head: AuditHead, roster: Mapping[bytes, bytes], coordinator_key: bytes) -> _Case:
    descriptor, published = head.opening.descriptor, head.published
    rd = descriptor.digest()
    verify(coordinator_key, head.opening.signature, "SAQ1 RD", rd, peer=COORDINATOR)
    check_figures(descriptor)
    survivors = check_transcript(published, descriptor, roster)
    ads = _check_ads(head)
    with blaming(COORDINATOR, "audit"):
        cohort = messages.from_bitmap(published.cohort, descriptor.ids)
    if not set(cohort) <= ads.keys():
        raise _wrong("its cohort holds a member without keys.")
    a1 = messages.first_transcript(rd, published.ads_hash)
    a2 = messages.second_transcript(a1, published.cohort)
    _check_roots(head, survivors, a2, roster)
    there = frozenset(survivors)
    gone = tuple(one for one in cohort if one not in there)
    secrets = _check_secrets(head, survivors, gone, ads)
    plus, minus = recovery.mask_keys(Topology(descriptor, a1), a2, ads, secrets)
    return _Case(descriptor, head, survivors, plus, minus)


def _check_ads(head: AuditHead) -> dict[bytes, Advertisement]:
    """The keys that the transcript binds; a quorum verified who signed them."""
    ads = head.advertisements
    if messages.advertisements_hash(ads) != head.published.ads_hash:
        raise _wrong("its advertisements are not those of the transcript.")
    return {one.member: one for one in ads}


def _check_roots(
    head: AuditHead, survivors: tuple[bytes, ...], a2: bytes, roster: Mapping[bytes, bytes]
) -> None:
    if tuple(one.member for one in head.roots) != survivors:
        raise _wrong("its roots are not those of the survivors.")
    if messages.vectors_hash(head.roots) != head.published.vectors_hash:
        raise _wrong("its roots are not those that the transcript binds.")
    for one in head.roots:
        verify(roster[one.member], one.signature, "SAQ1 Y", a2, one.root, peer=one.member.hex())


def _check_secrets(
    head: AuditHead,
    survivors: tuple[bytes, ...],
    gone: tuple[bytes, ...],
    ads: Mapping[bytes, Advertisement],
) -> Secrets:
    with blaming(COORDINATOR, "audit"):
        check_count(head.own_secrets, len(survivors), "secrets of survivors")
        check_count(head.seeds, len(gone), "seeds")
    secrets = Secrets(
        dict(zip(survivors, head.own_secrets, strict=True)),
        dict(zip(gone, head.seeds, strict=True)),
        (),
    )
    for member, secret in secrets.own.items():
        if masks.commitment(secret) != ads[member].commitment:
            raise _wrong(f"the secret of {member.hex()[:16]} is not the one it committed to.")
    for member, seed in secrets.seeds.items():
        if masks.public_of(masks.mask_secret(seed)) != ads[member].s_public:
            raise _wrong(f"the seed of {member.hex()[:16]} does not give its key.")
    return secrets


def _check_whole(request: AuditRequest, case: _Case) -> None:
    descriptor, width = case.descriptor, case.descriptor.width
    with blaming(COORDINATOR, "audit"):
        check_count(request.vectors, len(case.survivors), "vectors")
    found = np.zeros(descriptor.coordinates, dtype=np.uint32)
    for vector, root in zip(request.vectors, case.head.roots, strict=True):
        if not vector or vector_root(vector, width) != root.root:
            raise _wrong(f"the vector of {root.member.hex()[:16]} is not the one it signed.")
        with blaming(root.member.hex(), "masked vector"):
            unpack_into(vector, width, found)
    recovery.take_off(found, case.plus, case.minus)
    _compare(found, case.claimed(), descriptor.bits)


def _check_spots(request: AuditRequest, case: _Case, nonce: bytes) -> None:
    descriptor, published = case.descriptor, case.head.published
    drawn = draw(published.a3, published.sum_hash(), nonce, descriptor, len(case.survivors))
    if tuple(one.index for one in request.chunks) != drawn:
        raise _wrong("the chunks are not those that this member drew.")
    width = descriptor.width
    count, size = chunk_count(descriptor.coordinates, width), chunk_coordinates(width)
    claimed = case.claimed()
    for chunk in request.chunks:
        first = chunk.index * size
        part = claimed[first : first + size]
        found = np.zeros(part.size, dtype=np.uint32)
        with blaming(COORDINATOR, "audit"):
            check_count(chunk.parts, len(case.survivors), "parts")
        for one, root in zip(chunk.parts, case.head.roots, strict=True):
            with blaming(COORDINATOR, "audit"):
                fits = root_from(one.data, chunk.index, count, one.path) == root.root
                if not fits or len(one.data) != packed_size(part.size, width):
                    raise InputError(f"a chunk of {root.member.hex()[:16]} is not what it signed.")
                unpack_into(one.data, width, found)
        recovery.take_off(found, case.plus, case.minus, first)
        _compare(found, part, descriptor.bits)


def _compare(found: Lanes, claimed: Lanes, bits: int) -> None:
    """Equal modulo 2^bits; what is claimed lies within the modulus (``check_range``)."""
    low = masks.low_bits(bits)
    differing = int(np.count_nonzero((found ^ claimed) & low))
    if differing:
        at = int(np.argmax((found ^ claimed) & low != 0))
        right = int(centre(found[at : at + 1] & low, bits)[0])
        raise _wrong(
            f"{differing} of {found.size} figures differ, the first is {right} here and "
            f"{int(centre(claimed[at : at + 1] & low, bits)[0])} there."
        )
