"""Was a customer in a run, and did it stand? A proof that anybody checks with SHA-256 alone.

SPEC.md section 9. Inclusion is shown by a path, absence by the two neighbours of the gap.
"""

from __future__ import annotations

from base64 import b64decode
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from protocols import canonical
from protocols.audit.consent import (
    CONSENT,
    RowBook,
    leaf,
    path,
    row_leaf,
    tree_hash,
    weekly_root,
)
from protocols.audit.entries import Kind, decode
from protocols.audit.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, verify_inclusion
from protocols.errors import Code, InputError

PROOF: Final = "datacoop/consent-proof/v1"
_MALFORMED: Final = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,  # a number of JSON may be infinite
)


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
    except _MALFORMED as error:
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
    entry, standing, rows = decode(line, "entry"), document["standing"], document["rows"]
    facts = entry.facts
    said: dict[str, object] = {
        # without the counts a tree could be cut short: nodes above its leaves given out as leaves
        "standing": int(standing["count"]),
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
    if rows is None:  # of nobody only if it is a weekly series, which the root shows
        roots = _bytes(facts["vault"]), _bytes(proven.standing_root)
        said["root"] = weekly_root(*roots).hex()
    else:
        said["customers"] = int(rows["count"])
    told = (entry.kind, int(proof["size"]), str(document["root"]))
    if told != (Kind.SNAPSHOT, size, proven.root) or any(
        facts.get(name) != value for name, value in said.items()
    ):
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
