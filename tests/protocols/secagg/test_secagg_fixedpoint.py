"""Quantisation, packing, sharing: inverse, exact, unbiased, uniform."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secagg_world import Entropy, World

from protocols.errors import InputError, LocalError
from protocols.secagg import fixedpoint, masks, shamir

FAST = settings(deadline=None, max_examples=60)


@FAST
@given(st.integers(1, 32), st.integers(1, 200), st.integers(0, 2**32))
def test_unpack_undoes_pack(width: int, count: int, seed: int) -> None:
    lanes = np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)
    data = fixedpoint.pack(lanes, width)
    low = [int(lane) & ((1 << width) - 1) for lane in lanes]
    slow = sum(value << (width * i) for i, value in enumerate(low))
    assert data == slow.to_bytes((count * width + 7) // 8, "little")
    back = np.full(count, 5, dtype=np.uint32)
    fixedpoint.unpack_into(data, width, back)
    assert (back - np.uint32(5)).tolist() == low


def test_packing_goes_over_chunks() -> None:
    lanes = np.arange(2**19 + 3, dtype=np.uint32) * np.uint32(2654435761)
    back = np.zeros_like(lanes)
    fixedpoint.unpack_into(fixedpoint.pack(lanes, 21), 21, back)
    assert (back == lanes & np.uint32(2**21 - 1)).all()


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"\0"])
def test_a_vector_of_another_length_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    data = fixedpoint.pack(np.ones(9, dtype=np.uint32), 5)
    with pytest.raises(InputError, match="bytes"):
        fixedpoint.unpack_into(change(data), 5, np.zeros(9, dtype=np.uint32))


def test_spare_bits_must_be_zero() -> None:
    data = fixedpoint.pack(np.ones(9, dtype=np.uint32), 5)  # 45 of 48 bits
    with pytest.raises(InputError, match="after its end"):
        fixedpoint.unpack_into(data[:-1] + bytes([data[-1] | 0x20]), 5, np.zeros(9, np.uint32))


@FAST
@given(st.integers(2, 32), st.data())
def test_centre_is_twos_complement(bits: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    lane = np.array([value % 2**bits], dtype=np.uint32)
    assert fixedpoint.centre(lane, bits).tolist() == [value]


def test_rounding_is_unbiased_and_stays_between_neighbours() -> None:
    world = World(dim=40_000, scale=10)
    d = world.descriptor()
    x = np.full(world.dim, 0.237, dtype=np.float32)
    v = fixedpoint.centre(fixedpoint.quantise(x, 1, masks.prg(b"r" * 16, world.dim), d), 32)
    assert set(v[:-1].tolist()) == {2, 3}
    assert abs(v[:-1].mean() - 2.37) < 5 * 0.49 / math.sqrt(world.dim)


def test_weight_stands_last_and_scales() -> None:
    d = World(n=13, dim=3, scale=100, w_max=4, min_cohort=13).descriptor()
    x = np.array([1.0, -1.0, 0.5], dtype=np.float32)
    zero = np.zeros(3, dtype=np.uint32)
    v = fixedpoint.centre(fixedpoint.quantise(x, 3, zero, d), 32)
    assert v.tolist() == [75, -75, 37, 3]


@pytest.mark.parametrize(
    ("update", "weight", "problem"),
    [
        (np.zeros(7), 1, "float32"),
        (np.zeros(6, dtype=np.float32), 1, "shape"),
        (np.full(7, np.nan, dtype=np.float32), 1, "largest"),
        (np.full(7, np.inf, dtype=np.float32), 1, "largest"),
        (np.full(7, 1.0001, dtype=np.float32), 1, "clip"),
        (np.zeros(7, dtype=np.float32), 0, "weight"),
        (np.zeros(7, dtype=np.float32), 2, "weight"),
        (np.zeros(7, dtype=np.float32), True, "weight"),
    ],
)
def test_own_input_is_checked(update: np.ndarray, weight: int, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        fixedpoint.check_input(update, weight, World(dim=7).descriptor())


def test_mean_is_one_division() -> None:
    d = World(dim=2, scale=3).descriptor()
    mean = fixedpoint.mean_of_sum(np.array([1, -7], dtype=np.int64), 5, d)
    assert mean.dtype == np.float32
    assert mean.tolist() == [np.float32(1 / 15), np.float32(-7 / 15)]
    with pytest.raises(InputError):
        fixedpoint.mean_of_sum(np.array([1, 2], dtype=np.int64), 0, d)


# ---------------------------------------------------------------------- sharing


@FAST
@given(st.integers(1, 12), st.data())
def test_any_threshold_shares_reconstruct(points: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, points))
    secret = data.draw(st.binary(min_size=64, max_size=64))
    chosen = data.draw(st.permutations(range(points)))[:threshold]
    shares = shamir.deal(secret, range(1, points + 1), threshold, Entropy("deal"))
    weights = shamir.zero_weights(np.array([[m + 1 for m in chosen]] * 2))
    halves = np.stack([shares[chosen, :16], shares[chosen, 16:]])
    assert b"".join(shamir.combine(weights, halves)) == secret


def test_fewer_shares_say_nothing() -> None:
    """One share short, every value of a word is as likely: shares of two secrets look alike."""
    buckets = []
    for secret in (bytes(64), b"\xff" * 64):
        seen = Counter[int]()
        source = Entropy("uniform")
        for _ in range(300):
            shares = shamir.deal(secret, (1, 2, 3), 2, source)
            seen.update((shares[1] * 16 // shamir.PRIME).tolist())
        buckets.append([seen[i] for i in range(16)])
    for counts in buckets:
        expected = 300 * 32 / 16
        assert sum((c - expected) ** 2 / expected for c in counts) < 44.3  # chi2, 15 df, 1e-4


def test_uniform_draws_the_one_biased_word_again() -> None:
    feed = [b"\xff\xff\xff\xff" + (65537 * 3 + 9).to_bytes(4, "little"), (8).to_bytes(4, "little")]
    asked = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return feed.pop(0)

    assert shamir.uniform(2, entropy).tolist() == [9, 8]
    assert asked == [8, 4]


def test_short_entropy_is_an_error() -> None:
    with pytest.raises(LocalError, match="entropy"):
        shamir.uniform(3, lambda count: bytes(count - 4))


def test_share_bytes_have_one_form() -> None:
    values = np.array([0, 65535, 65536, *range(13)], dtype=np.int64)
    data = shamir.share_bytes(values)
    assert shamir.share_values(data).tolist() == values.tolist()
    wrong = bytearray(data)
    wrong[4] = 1  # low part of the value 65536
    with pytest.raises(InputError, match="65536"):
        shamir.share_values(bytes(wrong))
    with pytest.raises(InputError, match="bytes"):
        shamir.share_values(data[:-1])
