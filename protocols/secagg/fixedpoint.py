"""Floating-point updates to integers modulo 2^b and back (SPEC.md sections 4.2, 4.6 and 5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protocols.errors import InputError, LocalError
from protocols.secagg.params import RoundDescriptor, value_bound

Lanes = npt.NDArray[np.uint32]
Update = npt.NDArray[np.float32]
Sums = npt.NDArray[np.int64]

_BLOCK = 32  # 32 values of b bits are exactly b words of 32 bits
_CHUNK = 1 << 15  # coordinates handled at a time: the working set stays in cache


def check_input(update: Update | Sums, weight: int, descriptor: RoundDescriptor) -> None:
    """The member's own vector and weight, before anything is computed from them.

    Without noise a float32 vector within the clip, with noise an int64 vector of whole units
    within ``value_bound``: rounding that a privacy figure rests on is not done here.

    Raises:
        InputError: wrong shape or type, not finite, above the bound, or a weight out of range.
    """
    where, noised = "update", descriptor.sigma_local > 0
    kind = np.int64 if noised else np.float32
    if not isinstance(update, np.ndarray) or update.dtype != kind:
        raise InputError(f"the update is not an array of {kind.__name__}.", where=where)
    if update.shape != (descriptor.dim,):
        raise InputError(
            f"the update has shape {update.shape}, expected ({descriptor.dim},).", where=where
        )
    bound = value_bound(descriptor.scale, descriptor.clip) if noised else descriptor.clip
    largest = max(float(update.max()), -float(update.min()))
    if not largest <= bound:  # also where a coordinate is NaN
        raise InputError(
            f"the largest coordinate of the update is {largest}, the clip is {bound}.",
            where=where,
            fix="Clip the update before it is masked.",
        )
    if isinstance(weight, bool) or not 1 <= weight <= descriptor.w_max:
        raise InputError(
            f"the weight is {weight}, whole numbers from 1 to {descriptor.w_max} are allowed.",
            where=where,
        )


def add_noise(units: Sums, noise: Sums, descriptor: RoundDescriptor) -> Lanes:
    """``v`` of a round with noise: whole units and this member's share of noise, modulo 2^32.

    Args:
        units: int64 ``(dim,)``, checked by ``check_input``.
        noise: int64 ``(dim,)``, fresh.
        descriptor: gives dim.

    Returns:
        uint32 ``(dim + 1,)``; the weight, 1 and without noise, stands last.
    """
    if noise.dtype != np.int64 or noise.shape != units.shape:
        raise LocalError("the noise is not one whole number for each coordinate.")
    out = np.empty(descriptor.coordinates, dtype=np.uint32)
    out[: descriptor.dim] = (units + noise).astype(np.uint32)
    out[descriptor.dim] = 1
    return out


def quantise(update: Update, weight: int, rounding: Lanes, descriptor: RoundDescriptor) -> Lanes:
    """``v`` of SPEC.md section 4.2: stochastic rounding, then two's complement modulo 2^32.

    Args:
        update: float32 ``(dim,)``, checked by ``check_input``.
        weight: 1 to w_max.
        rounding: uniform uint32 ``(dim,)`` from a CSPRNG; one per coordinate, used once.
        descriptor: gives scale, clip and w_max.

    Returns:
        uint32 ``(dim + 1,)``; the weight stands last.
    """
    if rounding.shape != update.shape:
        raise LocalError("one rounding word per coordinate is needed.")
    factor = descriptor.scale * weight / descriptor.w_max
    bound = value_bound(descriptor.scale, descriptor.clip)
    out = np.empty(descriptor.coordinates, dtype=np.uint32)
    for start in range(0, descriptor.dim, _CHUNK):
        part = slice(start, min(start + _CHUNK, descriptor.dim))
        value = update[part].astype(np.float64)
        value *= factor
        noise = rounding[part] * 2.0**-32
        value += noise
        np.floor(value, out=value)
        if value.max() > bound or value.min() < -bound:
            raise LocalError(f"a quantised coordinate is beyond {bound}.")
        out[part] = value.astype(np.int64).astype(np.uint32)
    out[descriptor.dim] = weight
    return out


def centre(lanes: Lanes, bits: int) -> Sums:
    """Signed values of ``lanes`` modulo 2^bits, in [-2^(bits-1), 2^(bits-1)); int64."""
    shift = np.uint32(32 - bits)
    signed = (lanes << shift).view(np.int32) >> np.int32(shift)
    return signed.astype(np.int64)


def mean_of_sum(total: Sums, weight_sum: int, descriptor: RoundDescriptor) -> Update:
    """The weighted mean update, float32 ``(dim,)``, bit for bit the same everywhere (section 5).

    |S| < 2^31 and w_max < 2^22 keep the product exact in binary64; scale * W < 2^53 likewise.
    """
    divisor = descriptor.scale * weight_sum
    if weight_sum < 1 or divisor >= 2**53 or descriptor.w_max >= 2**22:
        raise InputError(f"a sum of weights of {weight_sum} makes no mean.", where="published sum")
    product = (total * np.int64(descriptor.w_max)).astype(np.float64)
    return (product / np.float64(divisor)).astype(np.float32)


def packed_size(count: int, width: int) -> int:
    """Bytes that ``count`` values of ``width`` bits take on the wire."""
    return (count * width + 7) // 8


def pack(lanes: Lanes, width: int) -> bytes:
    """The low ``width`` bits of every lane, little-endian, least significant bit first."""
    if width == 32:
        return lanes.astype("<u4").tobytes()
    blocks = -(-lanes.size // _BLOCK)
    words = np.zeros((blocks, width), dtype="<u4")
    step = _CHUNK // _BLOCK
    for first in range(0, blocks, step):
        rows = min(step, blocks - first)
        part = np.zeros(rows * _BLOCK, dtype=np.uint32)
        given = lanes[first * _BLOCK : (first + rows) * _BLOCK]
        part[: given.size] = given
        part &= np.uint32((1 << width) - 1)
        columns = np.ascontiguousarray(part.reshape(rows, _BLOCK).T)
        packed = np.zeros((width, rows), dtype=np.uint32)
        for value in range(_BLOCK):
            word, shift = divmod(value * width, 32)
            packed[word] |= columns[value] << np.uint32(shift)
            if shift + width > 32:
                packed[word + 1] |= columns[value] >> np.uint32(32 - shift)
        words[first : first + rows] = packed.T
    return words.tobytes()[: packed_size(lanes.size, width)]


def unpack_into(data: bytes, width: int, total: Lanes) -> None:
    """Add the values packed in ``data`` to ``total``, modulo 2^32, in place.

    Raises:
        InputError: wrong length, or a spare bit that is not zero.
    """
    count = total.size
    if len(data) != packed_size(count, width):
        raise InputError(
            f"a masked vector has {len(data)} bytes, expected {packed_size(count, width)}."
        )
    spare = 8 * len(data) - count * width
    if spare and data[-1] >> (8 - spare):
        raise InputError("a masked vector has bits set after its end.")
    if width == 32:
        np.add(total, np.frombuffer(data, dtype="<u4"), out=total)
        return
    whole = count // _BLOCK
    words = np.frombuffer(data, dtype="<u4", count=whole * width).reshape(whole, width)
    step = _CHUNK // _BLOCK
    for first in range(0, whole, step):
        rows = min(step, whole - first)
        values = _unpack_block(words[first : first + rows], width)
        part = total[first * _BLOCK : (first + rows) * _BLOCK]
        np.add(part, values, out=part)
    rest = count - whole * _BLOCK
    if rest:
        last = np.zeros(4 * width, dtype=np.uint8)
        last[: len(data) - whole * 4 * width] = np.frombuffer(data, np.uint8)[whole * 4 * width :]
        tail = total[whole * _BLOCK :]
        np.add(tail, _unpack_block(last.view("<u4").reshape(1, width), width)[:rest], out=tail)


def _unpack_block(words: npt.NDArray[np.uint32], width: int) -> Lanes:
    """uint32 ``(rows, width)`` words -> uint32 ``(rows * 32,)`` values."""
    columns = np.ascontiguousarray(words.T)
    values = np.empty((_BLOCK, words.shape[0]), dtype=np.uint32)
    for value in range(_BLOCK):
        word, shift = divmod(value * width, 32)
        np.right_shift(columns[word], np.uint32(shift), out=values[value])
        if shift + width > 32:
            values[value] |= columns[word + 1] << np.uint32(32 - shift)
    values &= np.uint32((1 << width) - 1)
    return np.ascontiguousarray(values.T).reshape(-1)
