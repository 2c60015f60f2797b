"""Known answers: the primitives in use, and the protocol's own figures (SPEC.md section 8)."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from secagg_world import aes_ctr

from protocols.errors import InputError, LocalError
from protocols.secagg import fixedpoint, masks, params, shamir
from protocols.signing import SigningKey

H = bytes.fromhex


def test_nist_sp800_38a_f_5_1() -> None:
    ctr = Cipher(
        algorithms.AES(H("2b7e151628aed2a6abf7158809cf4f3c")),
        modes.CTR(H("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")),
    ).encryptor()
    assert ctr.update(H("6bc1bee22e409f96e93d7e117393172a")).hex() == (
        "874d6191b620e3261bef6864990db6ce"
    )


def test_rfc_5869_case_1() -> None:
    made = masks.hkdf(b"\x0b" * 22, H("000102030405060708090a0b0c"), H("f0f1f2f3f4f5f6f7f8f9"), 42)
    assert made.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_rfc_7748_section_5_2() -> None:
    made = masks.exchange(
        H("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        H("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
    )
    assert made.hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


def test_rfc_7748_iterated_1000() -> None:
    k = u = b"\x09" + bytes(31)
    for _ in range(1000):
        k, u = masks.exchange(k, u), k
    assert k.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


LOW_ORDER = [  # RFC 7748 section 6.1 and the points of order 2, 4 and 8
    bytes(32),
    b"\1" + bytes(31),
    H("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    H("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    H("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda p: p.hex()[:8])
def test_low_order_points_are_refused(point: bytes) -> None:
    with pytest.raises(InputError, match="low order"):
        masks.exchange(b"\x07" * 32, point)


@pytest.mark.parametrize("value", [2**255 - 19, 2**255 - 18, 2**255 + 9, 2**256 - 1])
def test_points_have_one_form(value: int) -> None:
    with pytest.raises(InputError, match="canonical"):
        masks.check_point(value.to_bytes(32, "little"))


def test_rfc_8032_test_1() -> None:
    seed = H("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert SigningKey(seed).public.hex() == (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )
    assert Ed25519PrivateKey.from_private_bytes(seed).sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b4"
        "6bd25bf5f0595bbe24655141438e7a100b"
    )


def test_prg() -> None:
    lanes = masks.prg(bytes(range(16)), 1_000_000)
    assert lanes[:8].tolist() == [
        1401411145,
        2359729049,
        1752861155,
        2645590368,
        774614457,
        952265268,
        1580621136,
        1459402652,
    ]
    assert hashlib.sha256(lanes.astype("<u4").tobytes()).hexdigest() == (
        "107aa010c135a68c2f46741f6ffddda83e07f7c30a5803503615626c4d3bf2b8"
    )


@pytest.mark.parametrize("blocks", range(1, 65))
def test_prg_over_block_counts(blocks: int) -> None:
    key = bytes([blocks]) * 16
    assert masks.prg(key, 4 * blocks).astype("<u4").tobytes() == aes_ctr(key, 16 * blocks)


def test_prg_over_chunk_and_counter_carries() -> None:
    count = masks.CHUNK_BYTES // 4 + 262_144 + 3  # block counter passes 2^8 and 2^16
    key = b"k" * 16
    assert masks.prg(key, count).astype("<u4").tobytes() == aes_ctr(key, 4 * count)


def test_mask_keys() -> None:
    pair = masks.mask_key(b"\x33" * 32, b"\x44" * 32, b"\1" * 32, b"\2" * 32)
    assert pair.hex() == "1a0a73fae3818d669aa41ad83c11c535"
    assert masks.mask_key(b"\x33" * 32, b"\x44" * 32, b"\2" * 32, b"\1" * 32) == pair
    own = masks.self_key(b"\x55" * 32, b"\x44" * 32, b"\1" * 32)
    assert own.hex() == "8b7141bc98f095824c86167f3ab87e5e"


def test_gf65537() -> None:
    coefficients = np.array([[7], [11], [13]], dtype=np.int64)
    points = np.array([[x**0, x, x * x] for x in (1, 2, 3, 4, 65536)], dtype=np.int64) % 65537
    assert shamir.evaluate(points, coefficients).ravel().tolist() == [31, 81, 157, 259, 9]
    at = shamir.weights_at([1, 2, 3], [4, 65536, 0])
    shares = np.array([[31], [81], [157]], dtype=np.int64)
    assert shamir.evaluate(at, shares).ravel().tolist() == [259, 9, 7]


def test_pack() -> None:
    packed = fixedpoint.pack(np.arange(32, dtype=np.uint32) * np.uint32(32749), 20)
    assert hashlib.sha256(packed).hexdigest() == (
        "1c3da2b5ee5e0836c4d5bb0d35f462414a1619942d1a95abc840d944eef840ba"
    )


@pytest.mark.parametrize(
    ("n", "c", "q", "t", "n_min"),
    [
        (3, 1, 3, 2, 3),
        (5, 1, 4, 3, 3),
        (10, 3, 7, 5, 5),
        (30, 10, 21, 15, 12),
        (100, 20, 61, 50, 22),
        (1000, 200, 601, 500, 202),
    ],
)
def test_parameters(n: int, c: int, q: int, t: int, n_min: int) -> None:
    assert params.quorum_size(n, c) == q
    assert params.share_threshold(n, c) == t
    assert params.least_cohort(c) == n_min


@pytest.mark.parametrize(
    ("log_scale", "expected"),
    [(15, {3: 18, 10: 20, 30: 21, 100: 23, 1000: 26}), (12, {3: 15, 10: 17, 30: 18, 100: 20})],
)
def test_bits(log_scale: int, expected: dict[int, int]) -> None:
    assert {n: params.sum_bits(n, 2**log_scale, 1.0, 1) for n in expected} == expected


def test_start_up_check_passes_and_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    masks.check_primitives.cache_clear()
    masks.check_primitives()
    masks.check_primitives.cache_clear()
    monkeypatch.setattr(masks, "self_key", lambda *_: b"\0" * 16)
    with pytest.raises(LocalError, match="wrong answers"):
        masks.check_primitives()
    masks.check_primitives.cache_clear()


def test_38_pairwise_seeds_have_full_entropy() -> None:
    """Flower 1.41 leaves 28 bits of a seed; ours must show all 128, and no collision."""
    made = {
        masks.mask_key(hashlib.sha256(bytes([i % 256, i // 256])).digest(), b"A" * 32, b"1", b"2")
        for i in range(10_000)
    }
    assert len(made) == 10_000
    bits = np.unpackbits(np.frombuffer(b"".join(made), dtype=np.uint8).reshape(-1, 16), axis=1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.025  # 5 sigma
