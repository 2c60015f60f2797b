"""Merkle tree hashing, proofs and their verification (RFC 9162 section 2.1).

Everything streams: a log of any length is hashed with a *compact range*, the roots of the at
most ``log2(n)`` complete subtrees on its left edge, so memory does not grow with the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from protocols.errors import Code, InputError

HASH_BYTES = 32
MAX_PROOF = 64  # a tree of 2^63 leaves has a path of 63
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """``HASH(0x00 || d)`` (section 2.1.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """``HASH(0x01 || left || right)`` (section 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class CompactRange:
    """The complete subtrees of the first ``size`` leaves, largest first.

    Their sizes are the binary digits of ``size``, so ``len(hashes) == size.bit_count()``.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise InputError(
                f"a tree of {self.size} leaves has {max(self.size, 0).bit_count()} complete "
                f"subtrees, {len(self.hashes)} are given.",
                code=Code.TAMPERED,
            )
        if any(map(HASH_BYTES.__ne__, map(len, self.hashes))):
            raise InputError("a subtree hash has 32 bytes.", code=Code.TAMPERED)

    def append(self, leaf: bytes) -> CompactRange:
        """The range with one more leaf hash; merges as many pairs as the size has trailing ones."""
        kept = len(self.hashes)
        carry, size = leaf, self.size
        while size & 1:
            kept -= 1
            carry = node_hash(self.hashes[kept], carry)
            size >>= 1
        return CompactRange(self.size + 1, (*self.hashes[:kept], carry))

    def root(self) -> bytes:
        """The tree head ``MTH`` of the leaves so far (section 2.1.1)."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


class Growing:
    """A compact range that grows in place: many leaves at a time, without a value for each."""

    __slots__ = ("_hashes", "size")

    def __init__(self, start: CompactRange | None = None) -> None:
        self.size = start.size if start else 0
        self._hashes = list(start.hashes) if start else []

    def append(self, leaf: bytes) -> list[bytes]:
        """One more leaf hash; it and the roots of the subtrees that it completes, smallest first.

        These are the *stored hashes* of the leaf: those of all leaves in a row are every complete
        subtree of the log, each once.
        """
        hashes, trailing = self._hashes, self.size
        made = [leaf]
        while trailing & 1:
            leaf = sha256(b"\x01" + hashes.pop() + leaf).digest()
            made.append(leaf)
            trailing >>= 1
        hashes.append(leaf)
        self.size += 1
        return made

    def frozen(self) -> CompactRange:
        """The range as a value."""
        return CompactRange(self.size, tuple(self._hashes))

    def root(self) -> bytes:
        """The tree head of the leaves so far."""
        return self.frozen().root()


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (section 2.1.1: ``k < n <= 2k``)."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> tuple[tuple[int, int], ...]:
    """Half-open leaf ranges whose subtree roots are ``PATH(index, D_size)`` (section 2.1.3.1).

    They are disjoint and cover every leaf but ``index``, so one pass over the log hashes them.
    """
    if not 0 <= index < size:
        raise InputError(f"entry {index} is not in a log of {size} entries.", code=Code.NOT_FOUND)
    path: list[tuple[int, int]] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low = middle
    return tuple(reversed(path))


def consistency_ranges(old: int, new: int) -> tuple[tuple[int, int], ...]:
    """Half-open leaf ranges of ``PROOF(old, D_new)`` (section 2.1.4.1); none if the sizes agree."""
    if not 0 < old <= new:
        raise InputError(
            f"no consistency proof from {old} to {new} entries: the log never shrinks and an "
            "empty log needs no proof.",
            code=Code.NOT_FOUND,
        )
    path: list[tuple[int, int]] = []
    low, high, whole = 0, new, True
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low, whole = middle, False
    if not whole:  # SUBPROOF(m, D_m, false) names the subtree itself
        path.append((low, high))
    return tuple(reversed(path))


def _proof_fails(what: str) -> InputError:
    return InputError(
        f"the {what} proof does not verify.",
        code=Code.TAMPERED,
        fix="Ask for the proof again; if it fails again, report it to the cooperative.",
    )


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that ``leaf`` (a leaf hash) is entry ``index`` of the tree ``(size, root)``.

    RFC 9162 section 2.1.3.2. InputError (tampered) if it is not.
    """
    if not 0 <= index < size or len(proof) > MAX_PROOF:
        raise _proof_fails("inclusion")
    fn, sn, value = index, size - 1, leaf
    for step in proof:
        if sn == 0 or len(step) != HASH_BYTES:
            raise _proof_fails("inclusion")
        if fn & 1 or fn == sn:
            value = node_hash(step, value)
            while fn & 1 == 0 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            value = node_hash(value, step)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or value != root:
        raise _proof_fails("inclusion")


def verify_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree ``(old, old_root)`` is a prefix of ``(new, new_root)``.

    RFC 9162 section 2.1.4.2; an empty old tree is a prefix of everything. InputError (tampered)
    if it is not: the log was rewritten or forked.
    """
    if old > new or old < 0 or len(proof) > MAX_PROOF:
        raise _proof_fails("consistency")
    if old in (0, new):
        if proof or old_root != (EMPTY_ROOT if old == 0 else new_root):
            raise _proof_fails("consistency")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path or any(len(step) != HASH_BYTES for step in path):
        raise _proof_fails("consistency")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for step in path[1:]:
        if sn == 0:
            raise _proof_fails("consistency")
        if fn & 1 or fn == sn:
            first, second = node_hash(step, first), node_hash(step, second)
            while fn & 1 == 0 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, step)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or first != old_root or second != new_root:
        raise _proof_fails("consistency")
