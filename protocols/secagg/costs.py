"""What a stage cost, counted by the machines themselves; shells may log it, benchmarks print it."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.secagg.messages import (
    ADVERTISEMENT_BYTES,
    SEALED_BYTES,
    SIGNATURE_BYTES,
    Advertisement,
    AdvertiseRequest,
    AgreeReply,
    AgreeRequest,
    MaskedInput,
    MaskRequest,
    Reply,
    Request,
    ShareReply,
    ShareRequest,
    Stage,
    UnmaskReply,
    UnmaskRequest,
)
from protocols.secagg.params import HASH_BYTES, RoundDescriptor
from protocols.secagg.shamir import SHARE_BYTES

_DESCRIPTOR_BYTES = 400  # its fields but the ids


@dataclass(frozen=True, slots=True)
class Cost:
    """One stage of one machine. Bytes are payload, without framing; up is to the coordinator."""

    stage: Stage
    bytes_up: int = 0
    bytes_down: int = 0
    masks_expanded: int = 0
    signatures_verified: int = 0


def size_of(message: Request | Reply) -> int:
    """Payload bytes of a message."""
    match message:
        case AdvertiseRequest(descriptor):
            size = _descriptor(descriptor) + SIGNATURE_BYTES
        case Advertisement():
            size = ADVERTISEMENT_BYTES
        case ShareRequest(ads, opening):
            size = len(ads) * ADVERTISEMENT_BYTES + (size_of(opening) if opening else 0)
        case ShareReply(shares):
            size = len(shares) * (HASH_BYTES + SEALED_BYTES) + SIGNATURE_BYTES
        case MaskRequest(cohort, shares):
            size = len(cohort) + len(shares) * (HASH_BYTES + SEALED_BYTES)
        case MaskedInput(vector):
            size = len(vector) + SIGNATURE_BYTES
        case AgreeRequest(survivors, _, roots):
            shown = len(roots) * (2 * HASH_BYTES + SIGNATURE_BYTES)
            size = len(survivors) + HASH_BYTES + shown
        case AgreeReply():
            size = SIGNATURE_BYTES
        case UnmaskRequest(certificate):
            size = len(certificate) * (HASH_BYTES + SIGNATURE_BYTES) + 1
        case UnmaskReply(own, seeds, next_ad):
            opened = (len(own) + len(seeds)) * (HASH_BYTES + SHARE_BYTES)
            size = opened + (ADVERTISEMENT_BYTES if next_ad else 0)
    return size


def _descriptor(descriptor: RoundDescriptor) -> int:
    return descriptor.members * HASH_BYTES + _DESCRIPTOR_BYTES


def of_member(request: Request, reply: Reply | None) -> Cost:
    """What one exchange cost a member; masks are counted when it masks (``masked``)."""
    verified = 0
    match request:
        case AdvertiseRequest():
            stage, verified = Stage.ADVERTISE, 1
        case ShareRequest(ads, opening):
            stage, verified = Stage.SHARE, len(ads) + (opening is not None)
        case MaskRequest():
            stage = Stage.MASK
        case AgreeRequest(roots=roots):
            stage, verified = Stage.AGREE, len(roots)
        case UnmaskRequest(certificate):
            stage, verified = Stage.UNMASK, len(certificate)
    up = size_of(reply) if reply is not None else 0
    return Cost(stage, up, size_of(request), signatures_verified=verified)


def masked(reply: MaskedInput, masks_expanded: int) -> Cost:
    """What masking cost a member, beside the request before it."""
    return Cost(Stage.MASK, size_of(reply), masks_expanded=masks_expanded)
