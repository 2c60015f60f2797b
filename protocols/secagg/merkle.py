"""A masked vector as chunks under one root (SPEC.md section 4.2), in the shape of RFC 6962.

A member signs the root; an auditor of a large sum then needs only the chunks that it drew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from protocols.errors import InputError

CHUNK_COORDINATES = 16_384  # whole bytes at every width, whole blocks of the PRG
WIDE_COORDINATES = 2_048  # of whole words: a chunk of 1000 members has to fit into one body
WORD_BITS = 32
HASH_BYTES = 32


def chunk_coordinates(width: int) -> int:
    """Coordinates of a full chunk."""
    return WIDE_COORDINATES if width == WORD_BITS else CHUNK_COORDINATES


def chunk_bytes(width: int) -> int:
    """Bytes of a full chunk of values of ``width`` bits."""
    return chunk_coordinates(width) // 8 * width


def chunk_count(coordinates: int, width: int) -> int:
    """Chunks of a vector of that many coordinates; the last may be shorter."""
    return -(-coordinates // chunk_coordinates(width))


def chunks(vector: bytes | memoryview, width: int) -> list[memoryview]:
    """The packed vector in chunks, not copied."""
    view, size = memoryview(vector), chunk_bytes(width)
    return [view[start : start + size] for start in range(0, len(vector), size)]


def leaf(chunk: bytes | memoryview) -> bytes:
    """Hash of one chunk."""
    hashed = hashlib.sha256(b"\0")
    hashed.update(chunk)
    return hashed.digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf hashes; at least one."""
    if len(leaves) == 1:
        return leaves[0]
    half = _split(len(leaves))
    return _node(root_of(leaves[:half]), root_of(leaves[half:]))


def vector_root(vector: bytes | memoryview, width: int) -> bytes:
    """Root of a packed vector, which is not empty."""
    return root_of([leaf(chunk) for chunk in chunks(vector, width)])


def path_of(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Hashes that lead from leaf ``index`` to the root, from the leaf up."""
    if len(leaves) == 1:
        return ()
    half = _split(len(leaves))
    if index < half:
        return (*path_of(leaves[:half], index), root_of(leaves[half:]))
    return (*path_of(leaves[half:], index - half), root_of(leaves[:half]))


def root_from(chunk: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes:
    """The root that chunk ``index`` of ``count`` has along ``path``.

    Raises:
        InputError: the path has another length than the place of the chunk asks for.
    """
    sides: list[bool] = []  # from the root down: is the chunk in the right half
    while count > 1:
        half = _split(count)
        sides.append(index >= half)
        index, count = (index - half, count - half) if index >= half else (index, half)
    if len(path) != len(sides) or any(len(one) != HASH_BYTES for one in path):
        raise InputError(f"a chunk's path has {len(path)} hashes, expected {len(sides)}.")
    found = leaf(chunk)
    for right, other in zip(reversed(sides), path, strict=True):
        found = _node(other, found) if right else _node(found, other)
    return found
