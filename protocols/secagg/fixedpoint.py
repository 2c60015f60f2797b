"""Floating-point updates to integers modulo 2^b and back (SPEC.md sections 4.2, 4.6 and 5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protocols.errors import InputError, LocalError
from protocols.secagg.params import RoundDescriptor, value_bound

Lanes = npt.NDArray[np.uint32]
Update = npt.NDArray[np.float32]
Sums = npt.NDArray[np.int64]

_CHUNK = 1 << 15  # coordinates handled at a time: the working set stays in cache
_GROUP = 8  # eight values of b bits are exactly b bytes
_WORD = 4  # bytes
_PACKED = 1 << 18  # coordinates packed at a time: fewer, and numpy's own calls would cost more


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
    if width < _WORD:  # words of a place would overlap
        bits = lanes[:, np.newaxis] >> np.arange(width, dtype=np.uint32) & np.uint32(1)
        return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()
    low, groups = np.uint32((1 << width) - 1), -(-lanes.size // _GROUP)
    out = np.zeros(groups * width + _WORD + 1, dtype=np.uint8)  # the last words reach further
    for first in range(0, lanes.size, _PACKED):
        given = lanes[first : first + _PACKED]
        at = first // _GROUP * width
        for place in range(_GROUP):
            values = given[place::_GROUP] & low
            (byte, shift), rows = divmod(place * width, 8), values.size
            # these words are not aligned; they share bytes with other places, not with each other
            words = np.ndarray((rows,), "<u4", out, at + byte, (width,))
            words |= values << np.uint32(shift)
            if shift + width > 32:
                last = np.ndarray((rows,), np.uint8, out, at + byte + _WORD, (width,))
                last |= (values >> np.uint32(32 - shift)).astype(np.uint8)
    return out.tobytes()[: packed_size(lanes.size, width)]


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
    raw = np.frombuffer(data, dtype=np.uint8)
    inside = len(data) - _WORD - width  # a group that begins here reads nothing after the end
    whole = max(0, inside // width) * _GROUP
    for first in range(0, whole, _PACKED):
        part = total[first : min(first + _PACKED, whole)]
        _add_groups(raw[first // _GROUP * width :], width, part)
    rest = total[whole:]
    groups = -(-rest.size // _GROUP)
    padded = np.zeros(groups * width + _WORD + 1, dtype=np.uint8)
    tail = raw[whole // _GROUP * width :]
    padded[: tail.size] = tail
    values = np.zeros(groups * _GROUP, dtype=np.uint32)
    _add_groups(padded, width, values)
    np.add(rest, values[: rest.size], out=rest)


def _add_groups(raw: npt.NDArray[np.uint8], width: int, total: Lanes) -> None:
    """Add values that stand in whole groups of eight, which take ``width`` bytes each."""
    low, rows = np.uint32((1 << width) - 1), total.size // _GROUP
    for place in range(_GROUP):
        byte, shift = divmod(place * width, 8)
        values = np.ndarray((rows,), "<u4", raw, byte, (width,)) >> np.uint32(shift)
        if shift + width > 32:
            last = np.ndarray((rows,), np.uint8, raw, byte + _WORD, (width,)).astype(np.uint32)
            values |= last << np.uint32(32 - shift)
        values &= low
        total[place::_GROUP] += values
