"""Rotation: keeps the norm, comes back exactly, and lets a narrow modulus carry a sum."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from protocols.errors import LocalError
from protocols.privacy import rotation

SEED = bytes(range(32))
SIGNS = "6b2ff29596b7a6b47937974e48b74f85e986d3a856bd08f5edd4e0680fc06c86"  # of 2^16 signs


def test_the_transform_is_the_hadamard_matrix() -> None:
    for power in (0, 1, 4, 5, 6, 10, 11):
        size = 1 << power
        values = np.random.default_rng(power).integers(-1000, 1000, size)
        expected = hadamard(size) @ values
        assert (rotation._transform(values.astype(float)) == expected).all()
        assert (rotation._butterfly(values) == expected).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**32))
def test_norms_stay_and_the_way_back_is_exact(dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = rotation.padded(dim)
    assert dim <= size < 2 * dim
    values = rng.normal(size=dim)
    turned = rotation.rotate(values, SEED)
    assert turned.shape == (size,)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(values))
    whole = rng.integers(-(2**20), 2**20, dim)
    forth = np.rint(rotation.rotate(whole, SEED) * math.sqrt(size)).astype(np.int64)
    back, divisor = rotation.unrotate(forth, SEED, dim)
    assert (back == whole * size).all()
    assert divisor * divisor == pytest.approx(size, rel=1e-15)


def test_large_sums_come_back_exactly_on_the_second_path() -> None:
    rng = np.random.default_rng(1)
    sums = rng.integers(-(2**50), 2**50, 256)
    back, _ = rotation.unrotate(sums, SEED, 256)
    signs = rotation._signs(SEED, 256).astype(int)
    exact = hadamard(256).astype(object) @ sums.astype(object) * signs
    assert back.tolist() == exact.tolist()
    small = sums >> 20  # the same answer where both paths can go
    assert (rotation._transform(small.astype(float)) == rotation._butterfly(small)).all()
    with pytest.raises(LocalError, match="too large"):
        rotation.unrotate(np.full(256, 2**56), SEED, 256)


def test_signs_are_a_known_answer_and_even() -> None:
    signs = rotation._signs(SEED, 1 << 16)
    assert set(signs.tolist()) == {-1, 1}
    assert abs(int(signs.sum())) < 5 * 256
    assert hashlib.sha256(signs.tobytes()).hexdigest() == SIGNS
    assert (signs != rotation._signs(bytes(32), 1 << 16)).mean() == pytest.approx(0.5, abs=0.02)
    assert (rotation._signs(SEED, 3) == signs[:3]).all()


def test_a_spike_is_spread_within_the_bound() -> None:
    dim, members, clip = 1000, 10, 1.0
    bound = rotation.coordinate_bound(clip, dim, members)
    assert bound < members * clip / 3
    for place in range(50):
        one = np.zeros(dim)
        one[place] = members * clip  # all members the same spike: the worst sum
        seed = hashlib.sha256(bytes([place])).digest()
        assert np.abs(rotation.rotate(one, seed)).max() <= bound
        dense = np.random.default_rng(place).normal(size=dim)
        dense *= members * clip / np.linalg.norm(dense)
        assert np.abs(rotation.rotate(dense, seed)).max() <= bound


def test_the_bound_is_the_formula_and_holds_for_odd_failures() -> None:
    found = rotation.coordinate_bound(2.0, 1024, 3)
    assert found == pytest.approx(6 * math.sqrt(2 * math.log(2 * 1024 * 2**40) / 1024))
    for failure in (0.3, 1e-9, 3e-50):
        least = 6 * math.sqrt(2 * math.log(2 * 1024 / failure) / 1024)
        assert least <= rotation.coordinate_bound(2.0, 1024, 3, failure) < 1.1 * least
    for failure in (0.0, 1.0, math.nan, 1e-70):
        with pytest.raises(LocalError):
            rotation.coordinate_bound(2.0, 1024, 3, failure)


def bits_for(bound: int) -> int:
    """Of a modulus that holds -bound to bound."""
    return (2 * bound + 1).bit_length()


def test_sixteen_bits_carry_with_rotation_what_needs_more_without() -> None:
    """Ten members with the same spike, scale 2^10, dimension 4096: the sum in a narrow modulus."""
    dim, members, scale, clip = 4096, 10, 1 << 10, 8.0
    plain = members * (math.ceil(clip * scale) + 1)
    assert bits_for(plain) > 16
    bound = math.ceil(rotation.coordinate_bound(clip, dim, members) * scale) + members
    bits = bits_for(bound)
    assert bits <= 16
    update = np.zeros(dim)
    update[7], update[100] = clip * 0.8, -clip * 0.6  # norm 8: everything in two coordinates
    modulus = 1 << bits
    total = np.zeros(rotation.padded(dim), dtype=np.int64)
    for _ in range(members):
        total = (total + np.rint(rotation.rotate(update, SEED) * scale).astype(np.int64)) % modulus
    centred = (total + modulus // 2) % modulus - modulus // 2
    back, divisor = rotation.unrotate(centred, SEED, dim)
    mean = back / divisor / scale / members
    assert np.abs(mean - update).max() <= 0.5 * math.sqrt(dim) / scale  # of rounding
    # the same modulus without rotation loses the sum
    flat = (members * np.rint(update * scale).astype(np.int64)) % modulus
    flat = (flat + modulus // 2) % modulus - modulus // 2
    assert np.abs(flat / scale / members - update).max() > 1


@pytest.mark.parametrize("dim", [0, -1, (1 << 24) + 1])
def test_a_dimension_out_of_range_is_an_error(dim: int) -> None:
    with pytest.raises(LocalError, match="coordinates"):
        rotation.padded(dim)


def test_wrong_lengths_are_errors() -> None:
    with pytest.raises(LocalError, match="8 are needed"):
        rotation.unrotate(np.zeros(7, dtype=np.int64), SEED, 7)
    with pytest.raises(LocalError, match="32 bytes"):
        rotation.rotate(np.zeros(4), bytes(31))
