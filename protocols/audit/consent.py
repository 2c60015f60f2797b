"""Who stood in a purpose and whose lines a run read: two Merkle trees over hashes (SPEC.md
section 9).

A customer is known here by a *leaf*, the hash of scope and customer key. Both trees are in the
order of the leaves, so that two neighbours prove that nothing stands between them, and so that a
person who was erased keeps a place without a key.
"""

from __future__ import annotations

from base64 import b64decode
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from protocols import canonical
from protocols.audit.entries import decode
from protocols.audit.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, verify_inclusion
from protocols.errors import Code, InputError

LEAF_TAG: Final = "datacoop/consent-leaf/v1"
LINES_TAG: Final = "datacoop/consented-lines/v1"
CUSTOMER_TAG: Final = "datacoop/consented-customer/v1"
WEEKLY_TAG: Final = "datacoop/weekly-rows/v1"
PROOF: Final = "datacoop/consent-proof/v1"
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

    def redacted(self, gone: Collection[bytes]) -> RowBook:
        """The book without what it says of some customers; its root stays as it is."""
        hit = [leaf in gone and self.lines[k] != REDACTED for k, leaf in enumerate(self.leaves)]
        if not any(hit):
            return self
        return RowBook(
            self.leaves,
            tuple(REDACTED if h else one for h, one in zip(hit, self.lines, strict=True)),
            tuple(self.inner(k) if h else self.digests[k] for k, h in enumerate(hit)),
        )

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


# --- one customer ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CustomerProven:
    """What a proof about one customer and one reading of a run shows, all of it verified.

    Args:
        run, scope, basis, at, position: of the reading; as the proof states them.
        leaf: of the customer.
        named: whether the leaf stands in the tree of the scope: with consent those who stand,
            with any other basis those who do not.
        read: whether lines of the customer were read; None of a weekly series, which is of nobody.
        standing_root, root: of the two trees, 64 hex digits; as the member's log has them.
    """

    run: str
    scope: str
    basis: str
    at: str
    position: int
    leaf: bytes
    named: bool
    read: bool | None
    standing_root: str
    root: str

    @property
    def stood(self) -> bool:
        """Whether the customer's lines might be read."""
        return self.named is (self.basis == CONSENT)


def neighbours(ordered: Sequence[bytes], wanted: bytes) -> list[int]:
    """Places that prove where a leaf stands: its own, or those to either side of the gap."""
    place = bisect_left(ordered, wanted)
    if place < len(ordered) and ordered[place] == wanted:
        return [place]
    return [k for k in (place - 1, place) if 0 <= k < len(ordered)]


def prove_customer(
    about: Mapping[str, Any], standing: Sequence[bytes], book: RowBook | None, wanted: bytes
) -> dict[str, Any]:
    """The document of a proof; ``check_customer`` verifies it with SHA-256 alone.

    Args:
        about: run, reading, scope, basis, at, position, and what else should stand in it.
        standing: leaves of the tree of the scope, ascending.
        book: of the lines that were read; None of a weekly series.
        wanted: the customer's leaf.
    """
    return {
        "schema": PROOF,
        **about,
        "leaf": wanted.hex(),
        "standing": {
            "count": len(standing),
            "root": tree_hash(standing).hex(),
            "found": [
                {"index": k, "leaf": standing[k].hex(), "path": _hex(path(standing, k))}
                for k in neighbours(standing, wanted)
            ],
        },
        "rows": None if book is None else _rows(book, wanted),
    }


def _rows(book: RowBook, wanted: bytes) -> dict[str, Any]:
    hashes = book.hashes()
    return {
        "count": len(hashes),
        "root": tree_hash(hashes).hex(),
        "found": [
            {
                "index": k,
                "leaf": book.leaves[k].hex(),
                "inner": book.inner(k).hex(),
                "path": _hex(path(hashes, k)),
            }
            for k in neighbours(book.leaves, wanted)
        ],
    }


def check_customer(document: canonical.Json, where: str) -> CustomerProven:
    """Verify a proof about one customer, believing nothing but SHA-256.

    That the head of the log is the member's is a signature, which ``audit.checkpoint`` verifies.

    Raises:
        InputError: it does not verify, or it shows that lines were read of somebody who did not
            stand.
    """
    try:
        if document["schema"] != PROOF:
            raise ValueError("schema")
        wanted = _bytes(document["leaf"])
        scope, basis = str(document["scope"]), str(document["basis"])
        key = document.get("customer_key")
        if key is not None and leaf(scope, key) != wanted:
            raise ValueError("leaf")
        named = _side(document["standing"], wanted, rows=False)
        rows = document["rows"]
        read = None if rows is None else _side(rows, wanted, rows=True)
        proven = CustomerProven(
            run=str(document["run"]),
            scope=scope,
            basis=basis,
            at=str(document["at"]),
            position=int(document["position"]),
            leaf=wanted,
            named=named,
            read=read,
            standing_root=str(document["standing"]["root"]),
            root=str(document["root"] if rows is None else rows["root"]),
        )
        _entry(document["journal"], document, proven)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"this is not a proof about one customer: {type(error).__name__} {error}.",
            where=where,
            code=Code.TAMPERED,
        ) from error
    if read and not proven.stood:
        raise InputError(
            "lines of this customer were read though the customer did not stand.",
            where=where,
            code=Code.TAMPERED,
        )
    return proven


def _entry(journal: canonical.Json, document: canonical.Json, proven: CustomerProven) -> None:
    """The entry of the member's log says the same, and stands under the head that is given."""
    head, proof = str(journal["head"]), journal["proof"]
    size, root = int(head.split("\n")[1]), b64decode(head.split("\n")[2], validate=True)
    line = str(proof["entry"]).encode()
    steps = [_bytes(step) for step in proof["path"]]
    verify_inclusion(leaf_hash(line), int(proof["index"]), size, steps, root)
    facts = decode(line, "entry").facts
    said = {
        "reading": document["reading"],
        "round": document["from_round"],
        "read_at": proven.at,
        "run": proven.run,
        "scope": proven.scope,
        "basis": proven.basis,
        "position": proven.position,
        "standing_root": proven.standing_root,
        "root": proven.root,
    }
    told = (int(proof["size"]), str(document["root"])) == (size, proven.root)
    if not told or any(facts.get(name) != value for name, value in said.items()):
        raise ValueError("the entry of the log says something else")


def _side(tree: canonical.Json, wanted: bytes, *, rows: bool) -> bool:
    """Whether the leaf is in a tree; verifies its path, or those of its two neighbours."""
    count, root, found = int(tree["count"]), _bytes(tree["root"]), list(tree["found"])
    seen: list[tuple[int, bytes]] = []
    for one in found:
        index, held = int(one["index"]), _bytes(one["leaf"])
        hashed = row_leaf(held, _bytes(one["inner"])) if rows else held
        steps = [_bytes(step) for step in one["path"]]
        verify_inclusion(hashed, index, count, steps, root)
        seen.append((index, held))
    if count == 0:
        if seen or root != EMPTY_ROOT:
            raise ValueError("an empty tree has one root and no leaf")
        return False
    if len(seen) == 1 and seen[0][1] == wanted:
        return True
    inside = dict(seen)
    below = [index for index, held in seen if held < wanted]
    above = [index for index, held in seen if held > wanted]
    if len(inside) != len(below) + len(above) or len(below) > 1 or len(above) > 1:
        raise ValueError("one leaf on either side is expected")
    gap_from = below[0] if below else -1
    gap_to = above[0] if above else count
    if gap_to != gap_from + 1:
        raise ValueError("the two leaves are not neighbours")
    return False


def _hex(steps: Iterable[bytes]) -> list[str]:
    return [step.hex() for step in steps]


def _bytes(text: Any) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != HASH_BYTES or text != value.hex():
        raise ValueError("a hash has 64 hex digits")
    return value
