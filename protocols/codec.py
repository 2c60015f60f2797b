"""Bytes from the wire to values and back (secagg/SPEC.md section 7).

Nothing is believed: a body must be the one deterministic serialisation of what it says, every bytes
and repeated field has a limit, and the values check their own sizes when they are made. Whatever
fails is RemoteError that names the peer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

import numpy as np
from google.protobuf.message import DecodeError, Message

from protocols import PROTOCOL_VERSION
from protocols.errors import Code, InputError, RemoteError
from protocols.proto import secagg_pb2 as pb
from protocols.secagg import messages as m
from protocols.secagg.disclosure import (
    AuditChunk,
    AuditHead,
    AuditPart,
    AuditReply,
    AuditRequest,
)
from protocols.secagg.merkle import chunk_count
from protocols.secagg.messages import Stage
from protocols.secagg.params import (
    HASH_BYTES,
    MAX_BITS,
    MAX_COORDINATES,
    MAX_MEMBERS,
    RUN_BYTES,
    TIMED_STAGES,
    RoundDescriptor,
    Task,
)
from protocols.secagg.published import PublishedSum
from protocols.signing import SigningKey, verify

MAX_ITEMS = MAX_MEMBERS  # of any repeated field: one for each member
MAX_BITMAP_BYTES = (MAX_MEMBERS + 7) // 8
MAX_VECTOR_BYTES = 4 * MAX_COORDINATES
MAX_TOTAL_BYTES = 8 * MAX_COORDINATES
MAX_BODY_BYTES = MAX_TOTAL_BYTES + 64 * 1024
MAX_SMALL_BODY_BYTES = 512 * 1024  # every body except vectors, sums and disclosures
MAX_PATH = 16  # hashes from a chunk to its root
MAX_ENVELOPE_BYTES = MAX_BODY_BYTES + 1024
MAX_TEXT = 64
MAX_CHUNKS = chunk_count(MAX_COORDINATES, MAX_BITS)
COORDINATOR = b"coordinator"  # the sender that is no member
INT32_BYTES, INT64_BYTES = 4, 8

Body = m.Request | m.Reply | PublishedSum | AuditRequest | AuditReply
_P = TypeVar("_P", bound=Message)


def encode_message(message: Body) -> bytes:
    """The one serialisation of a message."""
    out = _TO_WIRE[type(message)](message)
    return out.SerializeToString(deterministic=True)


def decode_request(stage: Stage, data: bytes, peer: str = "coordinator") -> m.Request:
    """A request of the coordinator; RemoteError if the bytes are not exactly one."""
    return cast(m.Request, _decode(_REQUESTS, stage, data, peer))


def decode_reply(stage: Stage, data: bytes, peer: str) -> m.Reply:
    """A member's reply; RemoteError naming ``peer`` if the bytes are not exactly one."""
    return cast(m.Reply, _decode(_REPLIES, stage, data, peer))


def decode_published(data: bytes, peer: str = "coordinator") -> PublishedSum:
    """A published sum, not yet verified (``check_certificate`` does that)."""
    return cast(PublishedSum, _decode({Stage.PUBLISH: PublishedSum}, Stage.PUBLISH, data, peer))


def decode_audit_request(data: bytes, peer: str = "coordinator") -> AuditRequest:
    """A disclosure for an auditor, not yet verified (``check_sum`` does that)."""
    return cast(AuditRequest, _decode({Stage.AUDIT: AuditRequest}, Stage.AUDIT, data, peer))


def decode_audit_reply(data: bytes, peer: str) -> AuditReply:
    """An auditor's answer, not yet verified (``SumAudit`` does that)."""
    return cast(AuditReply, _decode({Stage.AUDIT: AuditReply}, Stage.AUDIT, data, peer))


# ------------------------------------------------------------------- envelopes


@dataclass(frozen=True, slots=True)
class Envelope:
    """One signed message of a round; ``sender`` is a raw member id or ``COORDINATOR``."""

    version: int
    run: bytes
    round: int
    attempt: int
    stage: Stage
    agreement: bytes
    sender: bytes
    body: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def signed_parts(self) -> tuple[bytes | int, ...]:
        """Fields under the signature; the body as its hash."""
        return (
            self.version,
            self.run,
            self.round,
            self.attempt,
            int(self.stage),
            self.agreement,
            self.sender,
            hashlib.sha256(self.body).digest(),
        )


def seal(
    *,
    key: SigningKey,
    sender: bytes,
    run: bytes,
    round: int,
    attempt: int,
    stage: Stage,
    agreement: bytes,
    body: bytes,
) -> bytes:
    """A signed envelope around ``body``, as bytes."""
    bare = Envelope(
        PROTOCOL_VERSION, run, round, attempt, stage, agreement, sender, body, signature=b""
    )
    out = pb.Envelope(
        version=bare.version,
        run=run,
        round=round,
        attempt=attempt,
        stage=int(stage),
        agreement=agreement,
        sender=sender,
        body=body,
        signature=key.sign("SAQ1 envelope", *bare.signed_parts()),
    )
    return out.SerializeToString(deterministic=True)


def open_envelope(
    data: bytes,
    sender_key: bytes,
    *,
    run: bytes,
    agreement: bytes,
    sender: bytes = COORDINATOR,
    round: int | None = None,
    attempt: int | None = None,
    stage: Stage | None = None,
) -> Envelope:
    """Verify an envelope before its body is looked at.

    Args:
        data: the bytes as they came.
        sender_key: Ed25519 public key of ``sender``.
        run: 16 bytes, must be named.
        agreement: 32 bytes, must be named.
        sender: who must have sent it: a raw member id, or ``COORDINATOR``.
        round: must be named; None only where a round begins, whose descriptor says it.
        attempt: likewise.
        stage: likewise; None where any will do.

    Raises:
        RemoteError: malformed, of another version, place or sender, or not signed by the
            sender's key.
    """
    peer = name_of(sender)
    demanded = {
        "run": run,
        "agreement": agreement,
        "sender": sender,
        "round": round,
        "attempt": attempt,
        "stage": stage,
    }
    with _from(peer):
        envelope = _envelope(_exact(pb.Envelope(), data, MAX_ENVELOPE_BYTES))
        if envelope.version != PROTOCOL_VERSION:
            raise InputError(
                f"it speaks version {envelope.version}, this side {PROTOCOL_VERSION}.",
                fix="Install the same version of datacoop on both sides.",
            )
        for name, value in demanded.items():
            if value is not None and getattr(envelope, name) != value:
                raise InputError(f"it is of another {name} than the one that is open here.")
    verify(sender_key, envelope.signature, "SAQ1 envelope", *envelope.signed_parts(), peer=peer)
    return envelope


def peek_envelope(data: bytes) -> Envelope:
    """An envelope as it stands, NOT verified: to find whose key and which round to verify with."""
    with _from("unknown sender"):
        return _envelope(_exact(pb.Envelope(), data, MAX_ENVELOPE_BYTES))


def name_of(sender: bytes) -> str:
    """How errors name a sender: "coordinator" or the member id in hex."""
    return "coordinator" if sender == COORDINATOR else sender.hex()


def _envelope(found: pb.Envelope) -> Envelope:
    sizes = (
        (len(found.run), RUN_BYTES, "run"),
        (len(found.agreement), HASH_BYTES, "agreement"),
        (len(found.signature), m.SIGNATURE_BYTES, "signature"),
    )
    for size, expected, what in sizes:
        if size != expected:
            raise InputError(f"the {what} has {size} bytes, expected {expected}.")
    if found.sender != COORDINATOR and len(found.sender) != HASH_BYTES:
        raise InputError("the sender is neither a member nor the coordinator.")
    try:
        stage = Stage(found.stage)
    except ValueError as error:
        raise InputError(f"there is no stage {found.stage}.") from error
    return Envelope(
        found.version,
        found.run,
        found.round,
        found.attempt,
        stage,
        found.agreement,
        found.sender,
        found.body,
        found.signature,
    )


# ------------------------------------------------------------------- strictness


@contextmanager
def _from(peer: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise RemoteError(
            f"its message cannot be used: {error.problem}", peer=peer, where=peer, fix=error.fix
        ) from error


def _exact(into: _P, data: bytes, max_bytes: int) -> _P:
    """Parse, and insist that ``data`` is the deterministic serialisation of what it says."""
    if len(data) > max_bytes:
        raise InputError(
            f"it has {len(data)} bytes, at most {max_bytes} are read.", code=Code.LIMIT
        )
    try:
        into.ParseFromString(data)
    except DecodeError as error:
        raise InputError("the bytes are not a message of this protocol.") from error
    cast(Any, into).DiscardUnknownFields()  # the stubs lack it
    if into.SerializeToString(deterministic=True) != data:
        raise InputError("it holds unknown or repeated fields, or is not in its one form.")
    return into


def _limit(value: Sized, most: int, what: str, least: int = 1) -> None:
    if not least <= len(value) <= most:
        raise InputError(
            f"{what} has {len(value)} entries or bytes, {least} to at most {most} are read."
        )


def _decode(kinds: Mapping[Stage, type[Body]], stage: Stage, data: bytes, peer: str) -> Body:
    with _from(peer):
        kind = kinds.get(stage)
        if kind is None:
            raise InputError(f"nothing of this kind travels in stage {stage.name.lower()}.")
        wire, read = _FROM_WIRE[kind]
        large = kind in (m.MaskedInput, PublishedSum, AuditRequest)
        return read(_exact(wire(), data, MAX_BODY_BYTES if large else MAX_SMALL_BODY_BYTES))


# --------------------------------------------------------------- one pair per message

_DESCRIPTOR = tuple(one.name for one in fields(RoundDescriptor))


def _write_descriptor(value: RoundDescriptor) -> pb.Descriptor:
    return pb.Descriptor(**{name: getattr(value, name) for name in _DESCRIPTOR})


def _read_descriptor(found: pb.Descriptor) -> RoundDescriptor:
    _limit(found.protocol, MAX_TEXT, "protocol")
    _limit(found.ids, MAX_ITEMS, "the list of members")
    _limit(found.stage_timeouts_s, TIMED_STAGES, "the list of time limits", TIMED_STAGES)
    given = {name: getattr(found, name) for name in _DESCRIPTOR}
    lists = {"ids": tuple(found.ids), "stage_timeouts_s": tuple(found.stage_timeouts_s)}
    return RoundDescriptor(**{**given, **lists})


def _write_ad(value: m.Advertisement) -> pb.Advertisement:
    return pb.Advertisement(
        member=value.member,
        c_public=value.c_public,
        s_public=value.s_public,
        nonce=value.nonce,
        commitment=value.commitment,
        signature=value.signature,
        early=value.early,
    )


def _read_ad(found: pb.Advertisement) -> m.Advertisement:
    return m.Advertisement(
        found.member,
        found.c_public,
        found.s_public,
        found.nonce,
        found.commitment,
        found.signature,
        found.early,
    )


def _write_opening(value: m.AdvertiseRequest) -> pb.AdvertiseRequest:
    return pb.AdvertiseRequest(
        descriptor=_write_descriptor(value.descriptor), signature=value.signature
    )


def _read_ads(found: Sequence[pb.Advertisement]) -> tuple[m.Advertisement, ...]:
    _limit(found, MAX_ITEMS, "the list of advertisements")
    return tuple(_read_ad(one) for one in found)


def _write_sealed(values: Sequence[m.SealedShare]) -> list[pb.SealedShare]:
    return [pb.SealedShare(peer=one.peer, sealed=one.sealed) for one in values]


def _read_sealed(found: Sequence[pb.SealedShare]) -> tuple[m.SealedShare, ...]:
    _limit(found, MAX_ITEMS, "the list of shares")
    return tuple(m.SealedShare(one.peer, one.sealed) for one in found)


def _write_opened(values: Sequence[m.OpenShare]) -> list[pb.OpenShare]:
    return [pb.OpenShare(owner=one.owner, share=one.share) for one in values]


def _read_opened(found: Sequence[pb.OpenShare], least: int) -> tuple[m.OpenShare, ...]:
    _limit(found, MAX_ITEMS, "the list of opened shares", least)
    return tuple(m.OpenShare(one.owner, one.share) for one in found)


def _write_signed(values: Sequence[m.AgreementSignature]) -> list[pb.AgreementSignature]:
    return [pb.AgreementSignature(member=one.member, signature=one.signature) for one in values]


def _read_signed(
    found: Sequence[pb.AgreementSignature], least: int = 1
) -> tuple[m.AgreementSignature, ...]:
    _limit(found, MAX_ITEMS, "the certificate", least)
    return tuple(m.AgreementSignature(one.member, one.signature) for one in found)


def _read_advertise(found: pb.AdvertiseRequest) -> m.AdvertiseRequest:
    return m.AdvertiseRequest(_read_descriptor(found.descriptor), found.signature)


def _read_share_request(found: pb.ShareRequest) -> m.ShareRequest:
    opening = _read_advertise(found.opening) if found.HasField("opening") else None
    return m.ShareRequest(_read_ads(found.advertisements), opening)


def _write_share_request(value: m.ShareRequest) -> pb.ShareRequest:
    opening = None if value.opening is None else _write_opening(value.opening)
    return pb.ShareRequest(
        advertisements=[_write_ad(one) for one in value.advertisements], opening=opening
    )


def _read_mask_request(found: pb.MaskRequest) -> m.MaskRequest:
    _limit(found.cohort, MAX_BITMAP_BYTES, "the bitmap")
    return m.MaskRequest(found.cohort, _read_sealed(found.shares))


def _read_masked(found: pb.MaskedInput) -> m.MaskedInput:
    _limit(found.vector, MAX_VECTOR_BYTES, "the masked vector")
    return m.MaskedInput(found.vector, found.signature)


def _write_roots(values: Sequence[m.VectorRoot]) -> list[pb.VectorRoot]:
    return [
        pb.VectorRoot(member=one.member, root=one.root, signature=one.signature) for one in values
    ]


def _read_roots(found: Sequence[pb.VectorRoot]) -> tuple[m.VectorRoot, ...]:
    return tuple(m.VectorRoot(one.member, one.root, one.signature) for one in found)


def _read_agree(found: pb.AgreeRequest) -> m.AgreeRequest:
    _limit(found.survivors, MAX_BITMAP_BYTES, "the bitmap")
    _limit(found.roots, MAX_ITEMS, "the list of roots", 0)
    return m.AgreeRequest(found.survivors, found.vectors_hash, _read_roots(found.roots))


def _write_unmasked(value: m.UnmaskReply) -> pb.UnmaskReply:
    return pb.UnmaskReply(
        own_shares=_write_opened(value.own_shares),
        seed_shares=_write_opened(value.seed_shares),
        next_ad=None if value.next_ad is None else _write_ad(value.next_ad),
    )


def _read_unmasked(found: pb.UnmaskReply) -> m.UnmaskReply:
    next_ad = _read_ad(found.next_ad) if found.HasField("next_ad") else None
    return m.UnmaskReply(
        _read_opened(found.own_shares, 1), _read_opened(found.seed_shares, 0), next_ad
    )


def _write_published(value: PublishedSum) -> pb.PublishedSum:
    small = np.iinfo(np.int32)
    fits = small.min <= int(value.total.min()) and int(value.total.max()) <= small.max
    return pb.PublishedSum(
        run=value.run,
        round=value.round,
        attempt=value.attempt,
        task=value.task,
        descriptor_digest=value.descriptor_digest,
        ads_hash=value.ads_hash,
        cohort=value.cohort,
        survivor_map=value.survivor_map,
        vectors_hash=value.vectors_hash,
        width=INT32_BYTES if fits else INT64_BYTES,
        total=value.total.astype("<i4" if fits else "<i8").tobytes(),
        weight_sum=value.weight_sum,
        a3=value.a3,
        certificate=_write_signed(value.certificate),
        sum_certificate=_write_signed(value.sum_certificate),
    )


def _read_published(found: pb.PublishedSum) -> PublishedSum:
    _limit(found.cohort, MAX_BITMAP_BYTES, "the bitmap")
    _limit(found.survivor_map, MAX_BITMAP_BYTES, "the bitmap")
    if found.width not in (INT32_BYTES, INT64_BYTES) or len(found.total) % found.width:
        raise InputError(f"{len(found.total)} bytes are no sum of {found.width}-byte numbers.")
    _limit(found.total, found.width * MAX_COORDINATES, "the sum")
    value = PublishedSum(
        run=found.run,
        round=found.round,
        attempt=found.attempt,
        task=cast(Task, found.task),
        descriptor_digest=found.descriptor_digest,
        ads_hash=found.ads_hash,
        cohort=found.cohort,
        survivor_map=found.survivor_map,
        vectors_hash=found.vectors_hash,
        total=np.frombuffer(found.total, dtype=f"<i{found.width}").astype(np.int64),
        weight_sum=found.weight_sum,
        a3=found.a3,
        certificate=_read_signed(found.certificate),
        sum_certificate=_read_signed(found.sum_certificate, 0),
    )
    if _write_published(value).width != found.width:
        raise InputError("the sum is written in 8-byte numbers though 4 bytes hold it.")
    return value


def _write_disclosure(value: AuditRequest) -> pb.AuditRequest:
    head = value.head
    return pb.AuditRequest(
        head=pb.AuditHead(
            opening=_write_opening(head.opening),
            published=_write_published(head.published),
            advertisements=[_write_ad(one) for one in head.advertisements],
            own_secrets=head.own_secrets,
            seeds=head.seeds,
            roots=_write_roots(head.roots),
        ),
        vectors=value.vectors,
        chunks=[
            pb.AuditChunk(
                index=one.index,
                parts=[pb.AuditPart(data=part.data, path=part.path) for part in one.parts],
            )
            for one in value.chunks
        ],
    )


def _read_head(found: pb.AuditHead) -> AuditHead:
    _limit(found.own_secrets, MAX_ITEMS, "the list of opened secrets")
    _limit(found.seeds, MAX_ITEMS, "the list of seeds", 0)
    _limit(found.roots, MAX_ITEMS, "the list of roots")
    return AuditHead(
        _read_advertise(found.opening),
        _read_published(found.published),
        _read_ads(found.advertisements),
        tuple(found.own_secrets),
        tuple(found.seeds),
        _read_roots(found.roots),
    )


def _read_chunk(found: pb.AuditChunk) -> AuditChunk:
    _limit(found.parts, MAX_ITEMS, "the list of parts")
    for one in found.parts:
        _limit(one.path, MAX_PATH, "the path of a chunk", 0)
    parts = tuple(AuditPart(one.data, tuple(one.path)) for one in found.parts)
    return AuditChunk(found.index, parts)


def _read_disclosure(found: pb.AuditRequest) -> AuditRequest:
    _limit(found.vectors, MAX_ITEMS, "the list of vectors", 0)
    _limit(found.chunks, MAX_CHUNKS, "the list of chunks", 0)
    chunks = tuple(_read_chunk(one) for one in found.chunks)
    return AuditRequest(_read_head(found.head), tuple(found.vectors), chunks)


_TO_WIRE: Mapping[type[Body], Callable[..., Message]] = {
    m.AdvertiseRequest: _write_opening,
    m.Advertisement: _write_ad,
    m.ShareRequest: _write_share_request,
    m.ShareReply: lambda v: pb.ShareReply(shares=_write_sealed(v.shares), signature=v.signature),
    m.MaskRequest: lambda v: pb.MaskRequest(cohort=v.cohort, shares=_write_sealed(v.shares)),
    m.MaskedInput: lambda v: pb.MaskedInput(vector=v.vector, signature=v.signature),
    m.AgreeRequest: lambda v: pb.AgreeRequest(
        survivors=v.survivors, vectors_hash=v.vectors_hash, roots=_write_roots(v.roots)
    ),
    m.AgreeReply: lambda v: pb.AgreeReply(signature=v.signature),
    m.UnmaskRequest: lambda v: pb.UnmaskRequest(
        certificate=_write_signed(v.certificate), carry=v.carry
    ),
    m.UnmaskReply: _write_unmasked,
    AuditRequest: _write_disclosure,
    AuditReply: lambda v: pb.AuditReply(nonce=v.nonce, signature=v.signature),
    PublishedSum: _write_published,
}

_FROM_WIRE: Mapping[type[Body], tuple[Callable[[], Message], Callable[..., Body]]] = {
    m.AdvertiseRequest: (pb.AdvertiseRequest, _read_advertise),
    m.Advertisement: (pb.Advertisement, _read_ad),
    m.ShareRequest: (pb.ShareRequest, _read_share_request),
    m.ShareReply: (
        pb.ShareReply,
        lambda f: m.ShareReply(_read_sealed(f.shares), f.signature),
    ),
    m.MaskRequest: (pb.MaskRequest, _read_mask_request),
    m.MaskedInput: (pb.MaskedInput, _read_masked),
    m.AgreeRequest: (pb.AgreeRequest, _read_agree),
    m.AgreeReply: (pb.AgreeReply, lambda f: m.AgreeReply(f.signature)),
    m.UnmaskRequest: (
        pb.UnmaskRequest,
        lambda f: m.UnmaskRequest(_read_signed(f.certificate), f.carry),
    ),
    m.UnmaskReply: (pb.UnmaskReply, _read_unmasked),
    AuditRequest: (pb.AuditRequest, _read_disclosure),
    AuditReply: (pb.AuditReply, lambda f: AuditReply(f.nonce, f.signature)),
    PublishedSum: (pb.PublishedSum, _read_published),
}

_REQUESTS: Mapping[Stage, type[Body]] = {
    Stage.ADVERTISE: m.AdvertiseRequest,
    Stage.SHARE: m.ShareRequest,
    Stage.MASK: m.MaskRequest,
    Stage.AGREE: m.AgreeRequest,
    Stage.UNMASK: m.UnmaskRequest,
}
_REPLIES: Mapping[Stage, type[Body]] = {
    Stage.ADVERTISE: m.Advertisement,
    Stage.SHARE: m.ShareReply,
    Stage.MASK: m.MaskedInput,
    Stage.AGREE: m.AgreeReply,
    Stage.UNMASK: m.UnmaskReply,
}
