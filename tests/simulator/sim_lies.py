"""Wrong bytes of every kind, from members and from a coordinator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, RecordDict

from protocols import codec
from protocols.retrace import read_record, record_bytes
from protocols.secagg.disclosure import AuditRequest
from protocols.secagg.messages import (
    AdvertiseRequest,
    MaskedInput,
    OpenShare,
    Reply,
    Request,
    Stage,
    UnmaskReply,
)
from protocols.signing import SigningKey
from sim_papers import Papers
from small_coop import COORDINATOR, OPERATOR

Corruption = Callable[[bytes, Papers, str], bytes | RecordDict]


def sealed(envelope: bytes, key: SigningKey, **changes: Any) -> bytes:
    """The envelope again with some fields changed, properly signed by ``key``."""
    found = codec.peek_envelope(envelope)
    fields = {
        name: getattr(found, name)
        for name in ("sender", "run", "round", "attempt", "stage", "agreement", "body")
    }
    return codec.seal(key=key, **{**fields, **changes})


def with_request(envelope: bytes, edit: Callable[[Any], Request | AuditRequest]) -> bytes:
    """The coordinator's envelope with another request in it, signed by the coordinator."""
    found = codec.peek_envelope(envelope)
    if found.stage is Stage.AUDIT:
        request = edit(codec.decode_audit_request(found.body))
    else:
        request = edit(codec.decode_request(found.stage, found.body))
    if isinstance(request, AdvertiseRequest):
        signature = COORDINATOR.sign("SAQ1 RD", request.descriptor.digest())
        request = AdvertiseRequest(request.descriptor, signature)
    return sealed(envelope, COORDINATOR, body=codec.encode_message(request))


def with_descriptor(**changes: Any) -> Callable[[Request], Request]:
    """A stage 0 with another descriptor."""

    def edit(request: Request) -> Request:
        assert isinstance(request, AdvertiseRequest)
        return replace(request, descriptor=replace(request.descriptor, **changes))

    return edit


def with_record(edit: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """A published round with another sum; ``edit`` takes and gives the ``PublishedSum``."""

    def change(raw: bytes) -> bytes:
        record = read_record(raw, "record")
        return record_bytes(replace(record, published=edit(record.published)))

    return change


def _own(edit: Callable[[Reply], Reply]) -> Corruption:
    """A member that signs something wrong itself."""

    def change(envelope: bytes, papers: Papers, name: str) -> bytes:
        found = codec.peek_envelope(envelope)
        if found.stage is Stage.AUDIT:  # nothing in it but a signature
            wrong = replace(codec.decode_audit_reply(found.body, name), signature=bytes(64))
            return sealed(envelope, papers.keys[name], body=codec.encode_message(wrong))
        reply = edit(codec.decode_reply(found.stage, found.body, name))
        return sealed(envelope, papers.keys[name], body=codec.encode_message(reply))

    return change


def _field(**changes: Any) -> Corruption:
    return lambda envelope, papers, name: sealed(envelope, papers.keys[name], **changes)


def _other(papers: Papers, name: str) -> str:
    return next(one for one in papers.names if one != name)


def _bit(envelope: bytes, papers: Papers, name: str) -> bytes:
    raw = bytearray(envelope)
    raw[len(raw) // 2] ^= 4
    return bytes(raw)


def _wrong_share(reply: Reply) -> Reply:
    if not isinstance(reply, UnmaskReply):
        return _wrong_signature(reply)
    first, *rest = reply.own_shares
    return replace(reply, own_shares=(OpenShare(first.owner, bytes(len(first.share))), *rest))


def _wrong_signature(reply: Reply) -> Reply:
    if isinstance(reply, UnmaskReply):
        return _wrong_share(reply)
    return replace(reply, signature=bytes(64))


def _short_vector(reply: Reply) -> Reply:
    if isinstance(reply, MaskedInput):
        return replace(reply, vector=reply.vector[:-1])
    return _wrong_signature(reply)


CORRUPTIONS: Mapping[str, Corruption] = {
    "bit": _bit,
    "empty": lambda envelope, papers, name: b"",
    "garbage": lambda envelope, papers, name: b"\xff" * 500,
    "cut": lambda envelope, papers, name: envelope[:-1],
    "longer": lambda envelope, papers, name: envelope + b"\x00",
    "stranger's key": lambda envelope, papers, name: sealed(envelope, OPERATOR),
    "another's name": lambda envelope, papers, name: sealed(
        envelope, papers.keys[name], sender=papers.raw(_other(papers, name))
    ),
    "another's key": lambda envelope, papers, name: sealed(
        envelope, papers.keys[_other(papers, name)]
    ),
    "round": _field(round=40),
    "attempt": _field(attempt=4),
    "stage": lambda envelope, papers, name: sealed(
        envelope,
        papers.keys[name],
        stage=Stage((codec.peek_envelope(envelope).stage + 1) % 5),
    ),
    "run": _field(run=bytes(16)),
    "agreement": _field(agreement=bytes(32)),
    "no body": _field(body=b""),
    "foreign body": _field(body=b"\x0a\x02hi"),
    "no record": lambda envelope, papers, name: RecordDict({}),
    "text": lambda envelope, papers, name: RecordDict(
        {"envelope": ConfigRecord({"bytes": "text"})}
    ),
    "wrong signature": _own(_wrong_signature),
    "wrong share": _own(_wrong_share),
    "short vector": _own(_short_vector),
}


def poisoned(papers: Papers, name: str, envelope: bytes, seed: int = 5) -> bytes:
    """A masked vector of the right size, signed by its member over the wrong thing."""
    found = codec.peek_envelope(envelope)
    reply = codec.decode_reply(found.stage, found.body, name)
    assert isinstance(reply, MaskedInput)
    noise = np.random.default_rng(seed).bytes(len(reply.vector))
    return sealed(
        envelope,
        papers.keys[name],
        body=codec.encode_message(replace(reply, vector=noise)),
    )
