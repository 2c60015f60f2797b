"""A whole round a second time, from its messages alone, in plain integers.

Nothing of the product is used but the messages: hashing, HKDF, X25519, interpolation, masks,
packing, trees and sum are written out again from SPEC.md. AES is the library's plain CTR call.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from secagg_world import World, play

from protocols.secagg import RoundResult, Stage

PRIME = 65537
CURVE = 2**255 - 19


def field(part: bytes | str | int) -> bytes:
    if isinstance(part, int):
        part = struct.pack("<Q", part)
    elif isinstance(part, str):
        part = part.encode()
    return struct.pack("<Q", len(part)) + part


def h(*parts: bytes | str | int) -> bytes:
    return hashlib.sha256(b"".join(map(field, parts))).digest()


def hkdf16(secret: bytes, salt: bytes, info: bytes) -> bytes:
    key = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(key, info + b"\1", hashlib.sha256).digest()[:16]


def x25519(scalar: bytes, point: bytes) -> bytes:
    """RFC 7748 section 5, the ladder."""
    k = bytearray(scalar)
    k[0], k[31] = k[0] & 248, k[31] & 127 | 64
    number = int.from_bytes(k, "little")
    x1 = int.from_bytes(point, "little") % 2**255
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = number >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b = (x2 + z2) % CURVE, (x2 - z2) % CURVE
        c, d = (x3 + z3) % CURVE, (x3 - z3) % CURVE
        da, cb = d * a % CURVE, c * b % CURVE
        x3, z3 = (da + cb) ** 2 % CURVE, x1 * (da - cb) ** 2 % CURVE
        aa, bb = a * a % CURVE, b * b % CURVE
        e = (aa - bb) % CURVE
        x2, z2 = aa * bb % CURVE, e * (aa + 121665 * e) % CURVE
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, CURVE - 2, CURVE) % CURVE).to_bytes(32, "little")


def lanes(key: bytes, count: int) -> list[int]:
    counter = bytes(15) + b"\2"
    raw = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(4 * count))
    return list(struct.unpack(f"<{count}I", raw))


def share_of(data: bytes) -> list[int]:
    low, high = struct.unpack("<16H", data[:32]), struct.unpack("<H", data[32:])[0]
    return [65536 if high >> i & 1 else value for i, value in enumerate(low)]


def secret_at_zero(points: Mapping[int, bytes]) -> bytes:
    words = [0] * 16
    for x, data in points.items():
        weight = 1
        for other in points:
            if other != x:
                weight = weight * other * pow(other - x, -1, PRIME) % PRIME
        words = [(w + weight * v) % PRIME for w, v in zip(words, share_of(data), strict=True)]
    return struct.pack("<16H", *words)


def bitmap(members: set[bytes], ids: list[bytes]) -> bytes:
    number = sum(1 << i for i, one in enumerate(ids) if one in members)
    return number.to_bytes((len(ids) + 7) // 8, "little")


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962 from the bottom up: pair by pair, the odd one goes up as it is."""
    while len(leaves) > 1:
        paired = [
            hashlib.sha256(b"\1" + left + right).digest()
            for left, right in zip(leaves[::2], leaves[1::2], strict=False)
        ]
        leaves = paired + ([leaves[-1]] if len(leaves) % 2 else [])
    return leaves[0]


def root_of(vector: bytes, width: int) -> bytes:
    size = (2_048 if width == 32 else 16_384) * width // 8
    parts = [vector[at : at + size] for at in range(0, len(vector), size)]
    return tree([hashlib.sha256(b"\0" + part).digest() for part in parts])


def round_digest(d: Any) -> bytes:
    b64 = [struct.pack("<d", value) for value in (d.clip, d.sigma_local)]
    return h(
        "SAQ1 RD", "SA-Q1/3", d.coop, d.run, d.round, d.attempt, d.task, d.model_hash,
        d.order_hash, d.agreement, d.log_root, d.log_size, d.task_hash, d.roster_hash,
        b"".join(map(field, d.ids)), d.colluders, d.quorum, d.threshold, d.degree, d.min_cohort,
        d.dim, d.bits, d.scale, b64[0], d.w_max, b64[1], d.prev_transcript, d.max_dropout,
        b"".join(map(field, d.stage_timeouts_s)), d.spot_percent,
    )  # fmt: skip


def sum_again(d: Any, heard: Mapping[Stage, Mapping[bytes, Any]]) -> tuple[list[int], int, bytes]:
    """S, W and A3 from what every member said."""
    ids = list(d.ids)
    ads = heard[Stage.ADVERTISE]
    u2, u3 = set(heard[Stage.SHARE]), sorted(heard[Stage.MASK])
    encoded = [
        a.member + a.c_public + a.s_public + a.nonce + a.commitment + a.signature + bytes([a.early])
        for _, a in sorted(ads.items())
    ]
    a1 = h("SAQ1 A1", round_digest(d), h("SAQ1 ADS", *encoded))
    a2 = h("SAQ1 A2", a1, bitmap(u2, ids))
    vectors = {one: heard[Stage.MASK][one].vector for one in u3}
    parts = [part for one in u3 for part in (one, root_of(vectors[one], d.width))]
    a3 = h("SAQ1 A3", a2, bitmap(set(u3), ids), h("SAQ1 VH", *parts))

    total = [0] * (d.dim + 1)
    for vector in vectors.values():
        number = int.from_bytes(vector, "little")
        for m in range(d.dim + 1):
            total[m] += number >> (m * d.width) & ((1 << d.width) - 1)

    def opened(owner: bytes, kind: str) -> bytes:
        found = {
            ids.index(holder) + 1: one.share
            for holder, reply in heard[Stage.UNMASK].items()
            for one in getattr(reply, kind)
            if one.owner == owner
        }
        return secret_at_zero(dict(sorted(found.items())[-d.threshold :]))

    for one in u3:
        own = opened(one, "own_shares")
        assert h("SAQ1 cb", own) == ads[one].commitment
        stream = lanes(hkdf16(own, a2, b"SAQ1 self" + one), d.dim + 1)
        total = [t - s for t, s in zip(total, stream, strict=True)]
    base = b"\x09" + bytes(31)
    for lost in sorted(u2 - set(u3)):
        secret = h("SAQ1 s-key", opened(lost, "seed_shares"))
        assert x25519(secret, base) == ads[lost].s_public
        for one in u3:
            low, high = sorted((one, lost))
            shared = x25519(secret, ads[one].s_public)
            stream = lanes(hkdf16(shared, a2, b"SAQ1 mask" + low + high), d.dim + 1)
            sign = 1 if one < lost else -1
            total = [t - sign * s for t, s in zip(total, stream, strict=True)]
    half = 1 << (d.bits - 1)
    centred = [(t + half) % (1 << d.bits) - half for t in total]
    return centred[:-1], centred[-1], a3


@pytest.mark.parametrize(
    "given",
    [
        {"n": 5, "dim": 40},
        {"n": 7, "dim": 33, "colluders": 2, "min_cohort": 7, "w_max": 2, "scale": 12_345},
        {"n": 4, "dim": 17_000, "scale": 7},
        {"n": 6, "dim": 25, "sigma_local": 9.5},
    ],
    ids=str,
)
def test_a_round_done_again_in_plain_integers(given: dict[str, Any]) -> None:
    world = World(seed="differential", **given)
    heard: dict[Stage, dict[bytes, Any]] = {stage: {} for stage in Stage}

    def note(stage: Stage, one: bytes, message: Any) -> Any:
        heard[stage][one] = message
        return message

    spare = world.n - world.descriptor().least_survivors
    gone = {Stage.MASK: frozenset(world.ids[:1])} if spare else {}
    weights = {one: 1 + i % world.w_max for i, one in enumerate(world.ids)}
    result = play(world, world.members(), world.aggregator(), gone=gone, up=note, weights=weights)
    assert isinstance(result, RoundResult)
    total, weight_sum, a3 = sum_again(world.descriptor(), heard)
    assert total == result.sum.tolist()
    assert (weight_sum, a3) == (result.weight_sum, result.a3)
    assert round_digest(world.descriptor()) == world.descriptor().digest()


def test_x25519_again() -> None:
    made = x25519(
        bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
    )
    assert made.hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
