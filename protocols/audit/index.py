"""Stored subtree hashes beside a log, so that a proof reads a few of them and not the log.

For each entry, in order: the end of its line in the log (8 bytes, big-endian), its leaf hash, and
the roots of the subtrees that it completes, smallest first (``Growing.append``). Entry n begins at
byte ``8 n + 32 (2 n - bits set in n)``; so every complete subtree has a computable place, as in the
stored-hash indexes of RFC 6962 logs.

**The index is never believed.** It is brought up to the log when a proof is asked for; what it
holds must give the root that the log's own lines gave, and every proof is verified before it is
handed out. Otherwise it is made again from the lines; if that does not help, the log is damaged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from protocols.audit.log import RESTORE, InclusionProof
from protocols.audit.merkle import (
    HASH_BYTES,
    CompactRange,
    Growing,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from protocols.errors import Code, InputError

END_BYTES = 8
BATCH = 4096  # entries between two writes


class Shelf(Protocol):
    """Where the index and the lines lie."""

    def lines(self, start: int) -> Iterable[bytes]:
        """Lines of the log with their line feeds from byte ``start``."""

    def index_size(self) -> int:
        """Bytes of the index, 0 if there is none."""

    def index_read(self, at: int, count: int) -> bytes:
        """``count`` bytes of the index from byte ``at``; fewer at its end."""

    def index_write(self, at: int, content: bytes) -> None:
        """Cut the index at byte ``at`` and write there; need not last, it can be made again."""


@dataclass(frozen=True, slots=True)
class Index:
    """The index of the first ``size`` entries of a log, whose root is known from its lines."""

    shelf: Shelf
    size: int
    root: bytes

    def inclusion(self, index: int) -> InclusionProof:
        """Proof for one entry.

        Raises:
            InputError: there is no such entry; or the log is damaged.
        """
        ranges = inclusion_ranges(index, self.size)
        for attempt in (False, True):
            self._bring_up(anew=attempt)
            line = next(iter(self.shelf.lines(self._end(index))), b"").removesuffix(b"\n")
            try:
                path = tuple(self._range(low, high) for low, high in ranges)
                verify_inclusion(leaf_hash(line), index, self.size, path, self.root)
                return InclusionProof(index, self.size, line, path)
            except InputError:
                continue  # the index is not this log's: make it again
        raise _damaged(f"entry {index} does not lead to the root of the log.")

    def growth(self, old: int) -> tuple[bytes, ...]:
        """Consistency proof from ``old`` entries; empty from nothing, and from more than there are.

        Raises:
            InputError: the log is damaged.
        """
        if old <= 0 or old > self.size:
            return ()
        ranges = consistency_ranges(old, self.size)
        for attempt in (False, True):
            self._bring_up(anew=attempt)
            try:
                path = tuple(self._range(low, high) for low, high in ranges)
                verify_consistency(old, self._tree(old).root(), self.size, self.root, path)
                return path
            except InputError:
                continue
        raise _damaged(f"its first {old} entries do not lead to its root.")

    def root_at(self, size: int) -> bytes:
        """The root when the log had ``size`` entries (at most those it has)."""
        if size == self.size:
            return self.root
        self.growth(size)  # verifies the subtrees that are read next
        return self._tree(size).root()

    def _bring_up(self, anew: bool) -> None:
        """Extend the index to all entries, from its end or ``anew``; its root is the log's then."""
        have = 0 if anew else min(whole_entries(self.shelf.index_size()), self.size)
        for start in dict.fromkeys((have, 0)):
            try:
                if self._extended(start).root() == self.root:
                    return
            except InputError:
                continue  # torn inside
        raise _damaged("its lines do not give its root.")

    def _extended(self, start: int) -> Growing:
        tree, end = Growing(self._tree(start)), self._end(start)
        if start == self.size:
            return tree
        at, out = place_of(start), bytearray()
        for line in islice(self.shelf.lines(end), self.size - start):
            end += len(line)
            out += end.to_bytes(END_BYTES, "big")
            out += b"".join(tree.append(leaf_hash(line.removesuffix(b"\n"))))
            if tree.size % BATCH == 0:
                self.shelf.index_write(at, bytes(out))
                at, out = at + len(out), bytearray()
        self.shelf.index_write(at, bytes(out))
        return tree

    def _end(self, entries: int) -> int:
        """Bytes of the log that the first ``entries`` fill, as the index says."""
        if entries == 0:
            return 0
        return int.from_bytes(self.shelf.index_read(place_of(entries - 1), END_BYTES), "big")

    def _tree(self, size: int) -> CompactRange:
        parts, low = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                parts.append(self._subtree(level, low >> level))
                low += 1 << level
        return CompactRange(size, tuple(parts))

    def _range(self, low: int, high: int) -> bytes:
        """Root of the entries from ``low`` to before ``high``, a node of the tree of RFC 9162."""
        root, size = b"", high - low
        for level in range(size.bit_length()):
            if size >> level & 1:
                high -= 1 << level
                left = self._subtree(level, high >> level)
                root = node_hash(left, root) if root else left
        return root

    def _subtree(self, level: int, number: int) -> bytes:
        """Root of the ``number``-th complete subtree of ``2^level`` entries."""
        last = ((number + 1) << level) - 1  # the entry that completes it
        at = place_of(last) + END_BYTES + HASH_BYTES * level
        found = self.shelf.index_read(at, HASH_BYTES)
        if len(found) != HASH_BYTES:
            raise _damaged("its index is cut.")
        return found


def place_of(entry: int) -> int:
    """Where in the index an entry begins."""
    return END_BYTES * entry + HASH_BYTES * (2 * entry - entry.bit_count())


def whole_entries(length: int) -> int:
    """How many entries an index of that many bytes holds whole."""
    entries = length // (END_BYTES + 2 * HASH_BYTES)  # never too many: an entry has 72 on average
    while place_of(entries + 1) <= length:
        entries += 1
    return entries


def _damaged(problem: str) -> InputError:
    return InputError(f"the log is damaged: {problem}", code=Code.TAMPERED, fix=RESTORE)
