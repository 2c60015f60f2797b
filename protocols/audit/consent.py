"""Who stood in a purpose and whose lines a run read: two Merkle trees over hashes (SPEC.md
section 9).

A customer is known here by a *leaf*, the hash of scope and customer key. Both trees are in the
order of the leaves, so that two neighbours prove that nothing stands between them, and so that a
person who was erased keeps a place without a key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from protocols import canonical
from protocols.audit.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash
from protocols.errors import Code, InputError

LEAF_TAG: Final = "datacoop/consent-leaf/v1"
LINES_TAG: Final = "datacoop/consented-lines/v1"
CUSTOMER_TAG: Final = "datacoop/consented-customer/v1"
WEEKLY_TAG: Final = "datacoop/weekly-rows/v1"
CONSENT: Final = "consent"
BOOK_MAGIC: Final = b"datacoop/rows/v1\n"
RECORD_BYTES: Final = HASH_BYTES + 8 + HASH_BYTES
REDACTED: Final = 2**64 - 1  # instead of a count of lines: the person was erased


def leaf(scope: str, customer_key: str) -> bytes:
    """What a customer (key of 64 hex digits) is called in the trees of one scope, 32 bytes."""
    return leaf_hash(canonical.encode(LEAF_TAG, scope, bytes.fromhex(customer_key)))


def leaves(scope: str, keys: Iterable[bytes]) -> list[bytes]:
    """``leaf`` of many keys of 32 bytes, in their order."""
    empty = bytes(HASH_BYTES)
    before = b"\x00" + canonical.encode(LEAF_TAG, scope, empty)[:-HASH_BYTES]
    return [sha256(before + key).digest() for key in keys]


def tree_hash(hashes: Sequence[bytes]) -> bytes:
    """RFC 9162 root of leaf hashes, level by level: an odd one moves up as it is."""
    level = list(hashes)
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else EMPTY_ROOT


def _above(level: list[bytes]) -> list[bytes]:
    pairs = [
        sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)
    ]
    return pairs + level[len(pairs) * 2 :]


def path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion proof (RFC 9162 section 2.1.3) of one of the leaf hashes."""
    if not 0 <= index < len(hashes):
        raise InputError(f"there is no leaf {index} in a tree of {len(hashes)}.")
    level, steps = list(hashes), []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            steps.append(level[sibling])
        level, index = _above(level), index >> 1
    return steps


def inner_hash(lines: int, digest: bytes) -> bytes:
    """How many lines of one customer were read, and which, as one hash."""
    return canonical.digest(LINES_TAG, lines, digest)


def row_leaf(leaf: bytes, inner: bytes) -> bytes:
    """Leaf hash of one customer in the tree over the rows that a run read."""
    return leaf_hash(canonical.encode(CUSTOMER_TAG, leaf, inner))


def weekly_root(vault: bytes, standing: bytes) -> bytes:
    """Root of a weekly series: all rows of a vault (its digest) without those who do not stand."""
    return canonical.digest(WEEKLY_TAG, vault, standing)


# --- which lines were read ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RowBook:
    """One record for each customer whose lines a run read, ascending by leaf; hashes only.

    Args:
        leaves: of the customers.
        lines: how many lines of each, or ``REDACTED``.
        digests: SHA-256 over the lines of each, or ``inner_hash`` where it is redacted.
    """

    leaves: tuple[bytes, ...] = field(repr=False)
    lines: tuple[int, ...] = field(repr=False)
    digests: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not len(self.leaves) == len(self.lines) == len(self.digests):
            raise InputError("a book of rows has one record for each customer.")
        if any(a >= b for a, b in zip(self.leaves, self.leaves[1:], strict=False)):
            raise InputError("the records of rows are not in order.", code=Code.TAMPERED)

    def inner(self, place: int) -> bytes:
        """``inner_hash`` of one record."""
        lines, digest = self.lines[place], self.digests[place]
        return digest if lines == REDACTED else inner_hash(lines, digest)

    def hashes(self) -> list[bytes]:
        """Leaf hashes of the tree over the rows."""
        return [row_leaf(leaf, self.inner(place)) for place, leaf in enumerate(self.leaves)]

    def root(self) -> bytes:
        """Root of the tree over the rows."""
        return tree_hash(self.hashes())

    def known_lines(self) -> int:
        """Lines of those who were not redacted."""
        return sum(one for one in self.lines if one != REDACTED)

    def require_inside(self, standing: Collection[bytes], basis: str) -> None:
        """Every customer of the book stood: in the tree with consent, outside it otherwise.

        Raises:
            InputError: somebody did not; says how many.
        """
        named = standing if isinstance(standing, frozenset | set) else frozenset(standing)
        outside = sum((one in named) is not (basis == CONSENT) for one in self.leaves)
        if outside:
            raise InputError(
                f"lines of {outside} customers were read who did not stand in the purpose.",
                code=Code.TAMPERED,
            )

    def encode(self) -> bytes:
        """The file: the magic line, then 72 bytes a customer."""
        return BOOK_MAGIC + b"".join(
            leaf + lines.to_bytes(8, "little") + digest
            for leaf, lines, digest in zip(self.leaves, self.lines, self.digests, strict=True)
        )

    @classmethod
    def decode(cls, raw: bytes, where: str) -> RowBook:
        """A book from its file; InputError (tampered) if it is not one."""
        body = raw[len(BOOK_MAGIC) :]
        if not raw.startswith(BOOK_MAGIC) or len(body) % RECORD_BYTES:
            raise InputError("this is not a book of rows.", where=where, code=Code.TAMPERED)
        starts = range(0, len(body), RECORD_BYTES)
        return cls(
            tuple(body[k : k + 32] for k in starts),
            tuple(int.from_bytes(body[k + 32 : k + 40], "little") for k in starts),
            tuple(body[k + 40 : k + 72] for k in starts),
        )
