"""The wire of secure aggregation: one form for each message, limits, envelopes, garbage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from secagg_world import STAGES, World, certified, confirm, play

from protocols import codec
from protocols.errors import InputError, RemoteError
from protocols.proto import secagg_pb2 as pb
from protocols.secagg import RoundResult, Stage, SumAudit
from protocols.secagg import messages as m
from protocols.secagg.disclosure import AuditChunk, AuditPart
from protocols.signing import SigningKey

KEY = SigningKey(b"\x05" * 32)
SENDER = b"\x09" * 32
PLACE: dict[str, Any] = {
    "run": b"r" * 16,
    "round": 3,
    "attempt": 1,
    "stage": Stage.AGREE,
    "agreement": b"a" * 32,
}


def record() -> tuple[dict[tuple[str, Stage], bytes], RoundResult]:
    """The bytes of every kind of message of one round, and its result."""
    seen: dict[tuple[str, Stage], bytes] = {}

    def keep(way: str) -> Any:
        def inner(stage: Stage, one: bytes, message: Any) -> Any:
            seen.setdefault((way, stage), codec.encode_message(message))
            return message

        return inner

    world = World(n=5, seed="codec")
    gone = {Stage.MASK: frozenset(world.ids[4:])}
    office = world.aggregator()
    result = play(world, world.members(), office, gone=gone, down=keep("down"), up=keep("up"))
    assert isinstance(result, RoundResult)
    out = SumAudit(result, world.roster, world.vectors.__getitem__).due()
    one, request = next(iter(out.items()))
    seen["audit down", Stage.AUDIT] = codec.encode_message(request)
    seen["audit up", Stage.AUDIT] = codec.encode_message(confirm(world, one, request))
    parts = (AuditPart(b"abc", (bytes(32),)), AuditPart(b"d", ()))
    shown = replace(request, vectors=(), chunks=(AuditChunk(0, parts), AuditChunk(3, parts)))
    seen["audit chunks", Stage.AUDIT] = codec.encode_message(shown)
    return seen, replace(result, published=certified(world, result))


RECORD, RESULT = record()
PUBLISHED = codec.encode_message(RESULT.published)
KINDS = [*RECORD, ("published", Stage.PUBLISH)]
WIRE: Mapping[tuple[str, Stage], type[Message]] = {
    ("down", Stage.ADVERTISE): pb.AdvertiseRequest,
    ("up", Stage.ADVERTISE): pb.Advertisement,
    ("down", Stage.SHARE): pb.ShareRequest,
    ("up", Stage.SHARE): pb.ShareReply,
    ("down", Stage.MASK): pb.MaskRequest,
    ("up", Stage.MASK): pb.MaskedInput,
    ("down", Stage.AGREE): pb.AgreeRequest,
    ("up", Stage.AGREE): pb.AgreeReply,
    ("down", Stage.UNMASK): pb.UnmaskRequest,
    ("up", Stage.UNMASK): pb.UnmaskReply,
    ("published", Stage.PUBLISH): pb.PublishedSum,
    ("audit down", Stage.AUDIT): pb.AuditRequest,
    ("audit chunks", Stage.AUDIT): pb.AuditRequest,
    ("audit up", Stage.AUDIT): pb.AuditReply,
}


def data_of(kind: tuple[str, Stage]) -> bytes:
    return RECORD.get(kind, PUBLISHED)


def decode(kind: tuple[str, Stage], data: bytes) -> Any:
    way, stage = kind
    if way == "published":
        return codec.decode_published(data)
    if way in ("audit down", "audit chunks"):
        return codec.decode_audit_request(data)
    if way == "audit up":
        return codec.decode_audit_reply(data, "peer")
    if way == "down":
        return codec.decode_request(stage, data)
    return codec.decode_reply(stage, data, "peer")


def test_the_record_holds_every_kind() -> None:
    assert set(KINDS) == set(WIRE) and len(RECORD) == 2 * len(STAGES) + 3


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_message_comes_back_as_it_was(kind: tuple[str, Stage]) -> None:
    assert codec.encode_message(decode(kind, data_of(kind))) == data_of(kind)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_truncated_and_extended_messages_are_refused(kind: tuple[str, Stage]) -> None:
    data = data_of(kind)
    for bad in (b"", data[:1], data[:-1], data + b"\x00"):
        with pytest.raises(RemoteError):
            decode(kind, bad)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_unknown_and_repeated_fields_are_refused(kind: tuple[str, Stage]) -> None:
    data = data_of(kind)
    unknown = data + bytes([0xA2, 0x06, 0x01, 0x78])  # field 100, one byte
    with pytest.raises(RemoteError, match="one form"):
        decode(kind, unknown)
    for descriptor in WIRE[kind].DESCRIPTOR.fields:
        part = WIRE[kind]()
        part.ParseFromString(data)
        if descriptor.is_repeated or descriptor not in [one for one, _ in part.ListFields()]:
            continue
        if descriptor.name == "head":
            continue  # it holds lists, which grow: the test of cut and altered messages has it
        single = WIRE[kind]()
        value = getattr(part, descriptor.name)
        if isinstance(value, Message):
            getattr(single, descriptor.name).CopyFrom(value)
        else:
            setattr(single, descriptor.name, value)
        again = single.SerializeToString()
        with pytest.raises(RemoteError, match="one form"):
            decode(kind, data + again)


def test_an_overlong_number_is_refused() -> None:
    wire = pb.PublishedSum.FromString(PUBLISHED)
    wire.weight_sum = 0
    honest = wire.SerializeToString(deterministic=True)
    with pytest.raises(RemoteError, match="one form"):
        codec.decode_published(honest + b"\x60\x84\x00")  # 4 in two bytes


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(KINDS), st.binary(max_size=300))
def test_36_garbage_is_refused_or_is_a_message(kind: tuple[str, Stage], data: bytes) -> None:
    try:
        found = decode(kind, data)
    except RemoteError:
        return
    assert codec.encode_message(found) == data


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(KINDS), st.data())
def test_36_a_flipped_bit_is_refused_or_changes_the_message(
    kind: tuple[str, Stage], data: st.DataObject
) -> None:
    raw = bytearray(data_of(kind))
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    try:
        found = decode(kind, bytes(raw))
    except RemoteError:
        return
    assert codec.encode_message(found) == bytes(raw) != data_of(kind)


def rewritten(kind: tuple[str, Stage], **changes: Any) -> bytes:
    wire = WIRE[kind].FromString(data_of(kind))
    for path, value in changes.items():
        *parents, name = path.split("__")
        target: Any = wire
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, name, value)
    return wire.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("clip", float("nan")),
        ("clip", float("inf")),
        ("clip", -1.0),
        ("sigma_local", float("nan")),
        ("sigma_local", -0.0),
        ("task", "backdoor"),
        ("protocol", "x" * 65),
        ("run", b"short"),
        ("model_hash", b"\0" * 33),
        ("dim", 0),
        ("dim", 10_000_000),
        ("ids", "twice"),
        ("ids", "too many"),
        ("ids", "too few"),
        ("ids", "unsorted"),
    ],
)
def test_36_a_descriptor_out_of_form_is_refused(path: str, value: Any) -> None:
    kind = ("down", Stage.ADVERTISE)
    wire = pb.AdvertiseRequest.FromString(data_of(kind))
    if path == "ids":
        ids = list(wire.descriptor.ids)
        del wire.descriptor.ids[:]
        wire.descriptor.ids.extend(
            {
                "twice": [ids[0], *ids],
                "too many": [i.to_bytes(32, "big") for i in range(1001)],
                "too few": ids[:2],
                "unsorted": ids[::-1],
            }[value]
        )
    else:
        setattr(wire.descriptor, path, value)
    with pytest.raises(RemoteError, match="cannot be used"):
        decode(kind, wire.SerializeToString(deterministic=True))


@pytest.mark.parametrize(
    ("kind", "path", "size"),
    [
        (("up", Stage.ADVERTISE), "c_public", 31),
        (("up", Stage.ADVERTISE), "signature", 65),
        (("up", Stage.SHARE), "signature", 0),
        (("down", Stage.MASK), "cohort", 126),
        (("down", Stage.AGREE), "survivors", 126),
        (("up", Stage.AGREE), "signature", 63),
        (("published", Stage.PUBLISH), "a3", 31),
        (("published", Stage.PUBLISH), "run", 17),
        (("published", Stage.PUBLISH), "survivor_map", 126),
        (("published", Stage.PUBLISH), "total", 0),
        (("published", Stage.PUBLISH), "total", 6),
    ],
)
def test_36_bytes_of_a_wrong_size_are_refused(
    kind: tuple[str, Stage], path: str, size: int
) -> None:
    with pytest.raises(RemoteError, match="cannot be used"):
        decode(kind, rewritten(kind, **{path: bytes(size)}))


def test_36_too_many_entries_are_refused() -> None:
    kind = ("down", Stage.UNMASK)
    wire = pb.UnmaskRequest.FromString(data_of(kind))
    first = wire.certificate[0]
    wire.certificate.extend([first] * 1000)
    with pytest.raises(RemoteError, match="at most 1000"):
        decode(kind, wire.SerializeToString(deterministic=True))


def test_36_an_oversized_body_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(RemoteError, match="at most") as caught:
        codec.decode_request(Stage.AGREE, bytes(codec.MAX_SMALL_BODY_BYTES + 1))
    assert "524289 bytes" in caught.value.problem


def test_the_largest_honest_messages_fit() -> None:
    ids = [i.to_bytes(32, "big") for i in range(1000)]
    ad = m.Advertisement(ids[0], *(bytes(32) for _ in range(4)), signature=bytes(64))
    request = m.ShareRequest(tuple(replace(ad, member=one) for one in ids))
    assert codec.decode_request(Stage.SHARE, codec.encode_message(request)) == request
    shares = tuple(m.SealedShare(one, bytes(84)) for one in ids[1:])
    reply = m.ShareReply(shares, bytes(64))
    assert codec.decode_reply(Stage.SHARE, codec.encode_message(reply), "p") == reply
    opened = m.UnmaskReply(tuple(m.OpenShare(one, bytes(34)) for one in ids), ())
    assert codec.decode_reply(Stage.UNMASK, codec.encode_message(opened), "p") == opened


@pytest.mark.parametrize(("value", "width"), [(2**31 - 1, 4), (-(2**31), 4), (2**31, 8)])
def test_a_sum_takes_four_bytes_where_they_hold_it(value: int, width: int) -> None:
    total = np.array([value, 0, -1], dtype=np.int64)
    data = codec.encode_message(replace(RESULT.published, total=total))
    assert pb.PublishedSum.FromString(data).width == width
    assert codec.decode_published(data).total.tolist() == total.tolist()


def test_a_sum_written_wider_than_needed_is_refused() -> None:
    total = RESULT.published.total.astype("<i8").tobytes()
    with pytest.raises(RemoteError, match="8-byte"):
        codec.decode_published(rewritten(("published", Stage.PUBLISH), width=8, total=total))


def test_no_request_travels_in_the_publication_stage() -> None:
    with pytest.raises(RemoteError, match="nothing of this kind"):
        codec.decode_request(Stage.PUBLISH, b"")


# ------------------------------------------------------------------- envelopes


def sealed(**changes: Any) -> bytes:
    given_ = {"key": KEY, "sender": SENDER, "body": b"body", **PLACE, **changes}
    return codec.seal(**given_)


def opened(data: bytes, **changes: Any) -> codec.Envelope:
    return codec.open_envelope(data, KEY.public, **{"sender": SENDER, **PLACE, **changes})


def test_an_envelope_opens() -> None:
    found = opened(sealed())
    assert (found.body, found.sender, found.stage) == (b"body", SENDER, Stage.AGREE)
    assert opened(sealed(), round=None, attempt=None, stage=None).round == 3
    assert codec.peek_envelope(sealed()).sender == SENDER
    assert opened(sealed(sender=codec.COORDINATOR), sender=codec.COORDINATOR).body == b"body"


@pytest.mark.parametrize(
    "changes",
    [
        {"run": b"s" * 16},
        {"round": 4},
        {"attempt": 2},
        {"stage": Stage.UNMASK},
        {"agreement": b"b" * 32},
        {"sender": b"\x08" * 32},
        {"sender": codec.COORDINATOR},
    ],
    ids=str,
)
def test_an_envelope_of_another_place_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RemoteError, match="another"):
        opened(sealed(**changes))
    with pytest.raises(RemoteError, match="another"):
        opened(sealed(), **changes)


@pytest.mark.parametrize("name", ["run", "round", "attempt", "stage", "agreement", "body"])
def test_every_field_of_an_envelope_is_signed(name: str) -> None:
    wire = pb.Envelope.FromString(sealed())
    value = getattr(wire, name)
    other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    setattr(wire, name, other)
    given_ = {} if name == "body" else {name: Stage(other) if name == "stage" else other}
    with pytest.raises(RemoteError, match="does not verify"):
        opened(wire.SerializeToString(deterministic=True), **given_)


def test_an_envelope_of_another_key_or_version_is_refused() -> None:
    with pytest.raises(RemoteError, match="does not verify"):
        opened(sealed(key=SigningKey(b"\x06" * 32)))
    wire = pb.Envelope.FromString(sealed())
    wire.version = 3
    with pytest.raises(RemoteError, match="version 3"):
        opened(wire.SerializeToString(deterministic=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [("stage", 7), ("signature", bytes(63)), ("sender", b"x"), ("run", b""), ("agreement", b"")],
)
def test_a_malformed_envelope_is_refused(name: str, value: Any) -> None:
    wire = pb.Envelope.FromString(sealed())
    setattr(wire, name, value)
    with pytest.raises(RemoteError, match="cannot be used"):
        codec.peek_envelope(wire.SerializeToString(deterministic=True))


def test_envelopes_are_refused_when_oversized_or_not_in_their_one_form() -> None:
    with pytest.raises(RemoteError, match="one form"):
        codec.peek_envelope(sealed() + b"\xa2\x06\x01x")
    with pytest.raises(RemoteError, match="at most"):
        codec.peek_envelope(bytes(codec.MAX_ENVELOPE_BYTES + 1))
    with pytest.raises(RemoteError):
        codec.peek_envelope(b"\xff" * 40)


def test_messages_check_their_sizes_when_made() -> None:
    for make in (
        lambda: m.AgreeReply(b""),
        lambda: m.SealedShare(bytes(31), bytes(84)),
        lambda: m.OpenShare(bytes(32), bytes(33)),
        lambda: m.AgreementSignature(bytes(32), bytes(65)),
        lambda: m.MaskedInput(b"", bytes(1)),
    ):
        with pytest.raises(InputError, match="expected"):
            make()
    assert "sealed" not in repr(m.SealedShare(bytes(32), b"\xaa" * 84))
    assert "\\xaa" not in repr(m.OpenShare(bytes(32), b"\xaa" * 34))
    assert "\\xaa" not in repr(m.MaskedInput(b"\xaa" * 9, bytes(64)))
