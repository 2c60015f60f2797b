"""Proofs in one pass over all leaves: slow, and simple enough to check the index against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from protocols.audit.merkle import CompactRange
from protocols.errors import Code, InputError


def hash_ranges(leaves: Iterable[bytes], ranges: Sequence[tuple[int, int]]) -> tuple[bytes, ...]:
    """Roots of disjoint leaf ranges, in the order asked for, in one pass over the leaf hashes.

    Raises:
        InputError: the leaves end before the last range does.
    """
    roots: dict[tuple[int, int], bytes] = {}
    stream: Iterator[tuple[int, bytes]] = enumerate(leaves)
    for low, high in sorted(ranges):
        part = CompactRange()
        for index, leaf in stream:
            if index >= low:
                part = part.append(leaf)
            if index == high - 1:
                break
        if part.size != high - low:
            raise InputError(
                f"the log ends before entry {high - 1}, which the proof needs.",
                code=Code.TAMPERED,
                fix="Check the log with `verify`.",
            )
        roots[(low, high)] = part.root()
    return tuple(roots[one] for one in ranges)
