"""What a member does in each stage: one type per phase, one function per step (SPEC.md section 4).

A step takes the phase before and returns the phase after; secrets that a later phase does not need
are not in it. Every function raises Refused or RemoteError when a check fails, and the machine in
``member`` then drops the phase that it held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from protocols.errors import Code, LocalError, RemoteError
from protocols.secagg import masks, messages, shamir
from protocols.secagg.checks import check_descriptor
from protocols.secagg.fixedpoint import Lanes, Sums, Update, add_noise, pack, quantise
from protocols.secagg.merkle import vector_root
from protocols.secagg.messages import (
    EARLY_TAG,
    Advertisement,
    AdvertiseRequest,
    AgreeReply,
    AgreeRequest,
    MaskedInput,
    MaskRequest,
    OpenShare,
    SealedShare,
    ShareReply,
    ShareRequest,
    UnmaskReply,
    UnmaskRequest,
    VectorRoot,
    blaming,
)
from protocols.secagg.params import MAX_COMPLETE, Demands, Expected, RoundDescriptor
from protocols.secagg.topology import Topology
from protocols.signing import SigningKey, verify

COORDINATOR = "coordinator"
Noise = Callable[[float, int], Sums]  # (sigma, count) -> whole units of one member's share
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Party:
    """What a member brings to a round: keys, its agreement's demands, what it knows, its tools."""

    identity: SigningKey = field(repr=False)
    me: bytes
    demands: Demands
    roster: Mapping[bytes, bytes]
    coordinator_key: bytes
    expected: Expected
    entropy: Callable[[int], bytes] = field(repr=False)
    mark_spent: Callable[[bytes, int], None] = field(repr=False)
    noise: Noise | None = field(repr=False)

    def draw(self, count: int) -> bytes:
        """``count`` bytes of entropy; LocalError if the source returns another number."""
        drawn = self.entropy(count)
        if len(drawn) != count:
            raise LocalError("the entropy source returned fewer bytes than asked for.")
        return drawn


@dataclass(frozen=True, slots=True)
class Keys:
    """What a member drew for one attempt."""

    own: Advertisement
    channel_secret: bytes = field(repr=False)
    seed: bytes = field(repr=False)
    own_secret: bytes = field(repr=False)


class Carried:
    """Early keys for attempt 0 of one round, sent with the unmask reply of the round before.

    They open once: keys that served two attempts would seal two shares under one nonce.
    """

    __slots__ = ("_keys", "round", "run")

    def __init__(self, run: bytes, round_number: int, keys: Keys) -> None:
        self.run = run
        self.round = round_number
        self._keys: Keys | None = keys

    def take(self) -> Keys:
        """The keys, which are gone from here afterwards; LocalError the second time."""
        keys, self._keys = self._keys, None
        if keys is None:
            raise LocalError("keys that were made for one attempt were asked for twice.")
        return keys


@dataclass(frozen=True, slots=True)
class Advertised:
    """After stage 0."""

    descriptor: RoundDescriptor
    own: Advertisement
    channel_secret: bytes = field(repr=False)
    seed: bytes = field(repr=False)
    own_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Shared:
    """After stage 1: ``peers`` are the advertisements of U1, ``channels`` the keys of shares."""

    descriptor: RoundDescriptor
    a1: bytes
    topology: Topology
    peers: Mapping[bytes, Advertisement]
    channels: Mapping[bytes, bytes] = field(repr=False)
    own_share: bytes = field(repr=False)
    seed: bytes = field(repr=False)
    own_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Training:
    """After the checks of stage 2: ``points`` are the mask keys of U2, ``shares`` what I hold."""

    descriptor: RoundDescriptor
    a2: bytes
    topology: Topology
    cohort: tuple[bytes, ...]
    points: Mapping[bytes, bytes]
    shares: Mapping[bytes, bytes] = field(repr=False)
    seed: bytes = field(repr=False)
    own_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Masked:
    """After the masked vector went out: only the shares of the others are left."""

    descriptor: RoundDescriptor
    a2: bytes
    topology: Topology
    cohort: tuple[bytes, ...]
    shares: Mapping[bytes, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Agreed:
    """After the signature on A3."""

    descriptor: RoundDescriptor
    a3: bytes
    topology: Topology
    cohort: tuple[bytes, ...]
    survivors: tuple[bytes, ...]
    shares: Mapping[bytes, bytes] = field(repr=False)


def _broken(problem: str, peer: str = COORDINATOR, code: Code = Code.PROTOCOL) -> RemoteError:
    return RemoteError(problem, peer=peer, code=code, where=peer)


def _check_size(count: int, descriptor: RoundDescriptor, what: str) -> None:
    if count < descriptor.least_survivors:
        raise _broken(
            f"{what} has {count} members, at least {descriptor.least_survivors} are needed."
        )


def _check_neighbours(
    topology: Topology, present: tuple[bytes, ...], descriptor: RoundDescriptor, what: str
) -> None:
    """In a sparse graph nobody may be cut off by dropouts that somebody chose (section 4.2)."""
    if descriptor.members <= MAX_COMPLETE:
        return  # the size of the set says it all
    least = topology.least_degree(present)
    if least < descriptor.threshold:
        raise _broken(
            f"a member of {what} has {least} neighbours in it, {descriptor.threshold} are needed."
        )


def advertise(party: Party, request: AdvertiseRequest) -> tuple[Advertised, Advertisement]:
    """Stage 0 (SPEC.md sections 2.2 and 4.0)."""
    rd = _check_opening(party, request)
    keys = _fresh_keys(party, "SAQ1 AD", rd)
    return _advertised(request.descriptor, keys), keys.own


def reopen(party: Party, carried: Carried, request: AdvertiseRequest) -> Advertised:
    """Stage 0 of a member whose early keys serve this attempt: the same checks, no answer."""
    descriptor = request.descriptor
    keys = carried.take()
    _check_opening(party, request)
    if (carried.run, carried.round, 0) != (descriptor.run, descriptor.round, descriptor.attempt):
        raise _broken("this member's early keys are for another attempt.")
    return _advertised(descriptor, keys)


def _advertised(descriptor: RoundDescriptor, keys: Keys) -> Advertised:
    return Advertised(descriptor, keys.own, keys.channel_secret, keys.seed, keys.own_secret)


def _check_opening(party: Party, request: AdvertiseRequest) -> bytes:
    descriptor = request.descriptor
    rd = descriptor.digest()
    verify(party.coordinator_key, request.signature, "SAQ1 RD", rd, peer=COORDINATOR)
    check_descriptor(descriptor, party.demands, party.expected, party.roster, party.me)
    if descriptor.sigma_local and party.noise is None:
        raise LocalError("the round asks for noise and this node has no source of it.")
    return rd


def _fresh_keys(party: Party, tag: str, *bound: bytes | int) -> Keys:
    channel_secret, seed, own_secret, nonce = (party.draw(SECRET_BYTES) for _ in range(4))
    parts = (
        party.me,
        masks.public_of(channel_secret),
        masks.public_of(masks.mask_secret(seed)),
        nonce,
        masks.commitment(own_secret),
    )
    signature = party.identity.sign(tag, *bound, *parts)
    own = Advertisement(*parts, signature=signature, early=tag == EARLY_TAG)
    return Keys(own, channel_secret, seed, own_secret)


def share(party: Party, phase: Advertised, request: ShareRequest) -> tuple[Shared, ShareReply]:
    """Stage 1 (SPEC.md section 4.1)."""
    descriptor, ads = phase.descriptor, request.advertisements
    _check_advertisements(party, phase, ads)
    a1 = messages.first_transcript(descriptor.digest(), messages.advertisements_hash(ads))
    topology = Topology(descriptor, a1)
    peers = {ad.member: ad for ad in ads}
    _check_neighbours(topology, tuple(peers), descriptor, "U1")
    holders = topology.among(party.me, tuple(peers))
    points = [topology.index(one) + 1 for one in (party.me, *holders)]
    secret = phase.seed + phase.own_secret
    own_share, *dealt = shamir.deal(secret, points, descriptor.threshold, party.draw)
    channels: dict[bytes, bytes] = {}
    channel_secret = masks.loaded(phase.channel_secret)
    sealed: list[SealedShare] = []
    for holder, values in zip(holders, dealt, strict=True):
        with blaming(holder.hex(), "channel key"):
            shared = masks.exchange(channel_secret, peers[holder].c_public)
        key = masks.channel_key(shared, a1, party.me, holder)
        channels[holder] = key
        sealed.append(SealedShare(holder, masks.seal(key, a1, party.me, holder, _both(values))))
    shares = tuple(sealed)
    signature = party.identity.sign("SAQ1 SHARES", a1, messages.ciphertexts_hash(shares))
    after = Shared(
        descriptor,
        a1,
        topology,
        peers,
        channels,
        _both(own_share),
        phase.seed,
        phase.own_secret,
    )
    return after, ShareReply(shares, signature)


def _both(values: shamir.Words) -> bytes:
    """Seed share, then b share: 68 bytes."""
    half = shamir.SECRET_WORDS
    return shamir.share_bytes(values[:half]) + shamir.share_bytes(values[half:])


def _check_advertisements(party: Party, phase: Advertised, ads: tuple[Advertisement, ...]) -> None:
    descriptor = phase.descriptor
    with blaming(COORDINATOR, "advertisements"):
        messages.check_ascending((ad.member for ad in ads), "U1")
    if not {ad.member for ad in ads} <= set(descriptor.ids):
        raise _broken("U1 names somebody who is not in the round.")
    if phase.own not in ads:
        raise _broken("U1 does not hold this member's own keys as it sent them.")
    _check_size(len(ads), descriptor, "U1")
    messages.check_distinct(ads)
    rd = descriptor.digest()
    for ad in ads:
        peer = ad.member.hex()
        with blaming(peer, "advertised keys"):
            masks.check_point(ad.c_public)
            masks.check_point(ad.s_public)
        messages.check_advertised(ad, descriptor, rd, party.roster[ad.member])


def accept(party: Party, phase: Shared, request: MaskRequest) -> Training:
    """Checks of stage 2, before any training (SPEC.md section 4.2)."""
    descriptor = phase.descriptor
    with blaming(COORDINATOR, "U2"):
        cohort = messages.from_bitmap(request.cohort, descriptor.ids)
    if not set(cohort) <= phase.peers.keys():
        raise _broken("U2 names somebody who is not in U1.")
    if party.me not in cohort:
        raise _broken("U2 does not hold this member.")
    _check_size(len(cohort), descriptor, "U2")
    others = phase.topology.among(party.me, cohort)
    _check_neighbours(phase.topology, cohort, descriptor, "U2")
    if tuple(one.peer for one in request.shares) != others:  # ascending, as others is
        raise _broken("the shares are not exactly those of this member's neighbours in U2.")
    shares = {party.me: phase.own_share}
    for one in request.shares:
        with blaming(one.peer.hex(), "sealed share"):
            plain = masks.unseal(phase.channels[one.peer], phase.a1, one.peer, party.me, one.sealed)
            shamir.share_values(plain[: shamir.SHARE_BYTES])
            shamir.share_values(plain[shamir.SHARE_BYTES :])
        shares[one.peer] = plain
    return Training(
        descriptor,
        messages.second_transcript(phase.a1, request.cohort),
        phase.topology,
        cohort,
        {one: phase.peers[one].s_public for one in others},
        shares,
        phase.seed,
        phase.own_secret,
    )


def mask(
    party: Party, phase: Training, update: Update | Sums, weight: int
) -> tuple[Masked, MaskedInput, bytes]:
    """The masked vector of stage 2 (SPEC.md section 4.2) and its root. ``check_input`` passed."""
    descriptor = phase.descriptor
    lanes = _lanes(party, descriptor, update, weight)
    plus = [masks.self_key(phase.own_secret, phase.a2, party.me)]
    minus: list[bytes] = []
    secret = masks.loaded(masks.mask_secret(phase.seed))
    for other, point in phase.points.items():
        with blaming(other.hex(), "mask key"):
            shared = masks.exchange(secret, point)
        key = masks.mask_key(shared, phase.a2, party.me, other)
        (plus if party.me < other else minus).append(key)
    masks.add_masks(lanes, plus, minus)
    lanes &= masks.low_bits(descriptor.bits)
    vector = pack(lanes, descriptor.width)
    root = vector_root(vector, descriptor.width)
    signature = party.identity.sign("SAQ1 Y", phase.a2, root)
    after = Masked(descriptor, phase.a2, phase.topology, phase.cohort, phase.shares)
    return after, MaskedInput(vector, signature), root


def _lanes(party: Party, descriptor: RoundDescriptor, update: Update | Sums, weight: int) -> Lanes:
    if not descriptor.sigma_local:
        rounding = masks.prg(party.draw(masks.KEY_BYTES), descriptor.dim)
        return quantise(update.astype(np.float32, copy=False), weight, rounding, descriptor)
    if party.noise is None:
        raise LocalError("the round asks for noise and this node has no source of it.")
    noise = party.noise(descriptor.sigma_local, descriptor.dim)
    return add_noise(update.astype(np.int64, copy=False), noise, descriptor)


def _check_vectors(
    party: Party, phase: Masked, survivors: tuple[bytes, ...], roots: tuple[VectorRoot, ...]
) -> None:
    """In a sparse graph b is opened only of neighbours that masked under this A2 (section 4.3)."""
    near: tuple[bytes, ...] = ()
    if phase.descriptor.members > MAX_COMPLETE:
        near = phase.topology.among(party.me, survivors)
    if tuple(one.member for one in roots) != near:
        raise _broken("the vectors shown are not exactly those of this member's neighbours in U3.")
    for one in roots:
        public = party.roster[one.member]
        verify(public, one.signature, "SAQ1 Y", phase.a2, one.root, peer=one.member.hex())


def agree(party: Party, phase: Masked, request: AgreeRequest) -> tuple[Agreed, AgreeReply]:
    """Stage 3: marks the round spent before it signs (SPEC.md section 4.3)."""
    descriptor = phase.descriptor
    with blaming(COORDINATOR, "U3"):
        survivors = messages.from_bitmap(request.survivors, descriptor.ids)
    if not set(survivors) <= set(phase.cohort):
        raise _broken("U3 names somebody who is not in U2.")
    if party.me not in survivors:
        raise _broken("U3 does not hold this member, who sent its vector.")
    _check_size(len(survivors), descriptor, "U3")
    _check_neighbours(phase.topology, survivors, descriptor, "U3")
    _check_vectors(party, phase, survivors, request.roots)
    a3 = messages.third_transcript(phase.a2, request.survivors, request.vectors_hash)
    party.mark_spent(descriptor.run, descriptor.round)
    reply = AgreeReply(party.identity.sign("SAQ1 A3", a3))
    return Agreed(descriptor, a3, phase.topology, phase.cohort, survivors, phase.shares), reply


def unmask(
    party: Party, phase: Agreed, request: UnmaskRequest
) -> tuple[UnmaskReply, Carried | None]:
    """Stage 4: verifies the quorum on its own A3, then opens shares (SPEC.md section 4.4)."""
    descriptor = phase.descriptor
    check_quorum(descriptor, phase.a3, phase.survivors, request.certificate, party.roster)
    there = frozenset(phase.survivors)
    mine = phase.topology.owners(party.me, phase.cohort)
    half = shamir.SHARE_BYTES
    own = tuple(OpenShare(one, phase.shares[one][half:]) for one in mine if one in there)
    seeds = tuple(OpenShare(one, phase.shares[one][:half]) for one in mine if one not in there)
    if not request.carry:
        return UnmaskReply(own, seeds), None
    after = descriptor.round + 1
    bound = (descriptor.coop, descriptor.run, after, phase.a3)
    keys = _fresh_keys(party, EARLY_TAG, *bound)
    return UnmaskReply(own, seeds, keys.own), Carried(descriptor.run, after, keys)


def check_quorum(
    descriptor: RoundDescriptor,
    a3: bytes,
    survivors: tuple[bytes, ...],
    certificate: tuple[messages.AgreementSignature, ...],
    roster: Mapping[bytes, bytes],
) -> None:
    """q distinct members of U3, each with a signature on A3 by its key in the roster.

    Raises:
        RemoteError: naming the figure or the member.
    """
    if len(certificate) < descriptor.quorum:
        raise _broken(
            f"the certificate has {len(certificate)} signatures, {descriptor.quorum} are needed."
        )
    with blaming(COORDINATOR, "certificate"):
        messages.check_ascending((one.member for one in certificate), "the certificate")
    allowed = frozenset(survivors)
    for one in certificate:
        if one.member not in allowed or one.member not in roster:
            raise _broken("the certificate holds a signature from outside U3.", code=Code.TAMPERED)
        verify(roster[one.member], one.signature, "SAQ1 A3", a3, peer=one.member.hex())
