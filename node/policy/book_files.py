"""Books of rows as they lie on the disk: one record is found or replaced without reading all.

The records ascend by leaf and are all of one length (``protocols.audit.consent.RowBook``), so a
binary search asks some twenty of a million. Whether a whole book still has its root is worked out
where a run is proven.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node import files
from protocols.audit.consent import BOOK_MAGIC, RECORD_BYTES, REDACTED, inner_hash
from protocols.audit.merkle import HASH_BYTES
from protocols.errors import Code, InputError

MAX_BOOK_BYTES: Final = 1024 * 1024 * 1024
_DIGEST: Final = HASH_BYTES + 8  # where it stands in a record


def has(path: Path, leaf: bytes) -> bool:
    """Whether a customer (by leaf) is in a book; errors as ``redact``."""
    with _records(path) as held:
        return held is not None and _place(held, leaf) is not None


def redact(path: Path, gone: Collection[bytes]) -> int:
    """Take customers (by leaf) out of a book, down to bare hashes; its root stays as it is.

    Returns:
        How many records were replaced; the file is written anew only if there are any.

    Raises:
        InputError: this is not a book.
        LocalError: it cannot be read or written.
    """
    found: dict[int, bytes] = {}
    with _records(path) as held:
        if held is None:
            return 0
        for leaf in gone:
            at = _place(held, leaf)
            if at is None:
                continue
            lines = int.from_bytes(held[at + HASH_BYTES : at + _DIGEST], "little")
            if lines != REDACTED:
                digest = held[at + _DIGEST : at + RECORD_BYTES]
                found[at] = REDACTED.to_bytes(8, "little") + inner_hash(lines, digest)
    if found:
        raw = bytearray(files.read(path, MAX_BOOK_BYTES))
        for at, record in found.items():
            raw[at + HASH_BYTES : at + RECORD_BYTES] = record
        files.write(path, bytes(raw))
    return len(found)


@contextmanager
def _records(path: Path) -> Iterator[mmap.mmap | None]:
    """The bytes of a book, not in memory; None if it has no record."""
    with files.disk(path), path.open("rb") as stream:
        size = stream.seek(0, 2) - len(BOOK_MAGIC)
        stream.seek(0)
        if stream.read(len(BOOK_MAGIC)) != BOOK_MAGIC or size % RECORD_BYTES:
            raise InputError("this is not a book of rows.", where=str(path), code=Code.TAMPERED)
        if not size:
            yield None
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as held:
            yield held


def _place(held: mmap.mmap, leaf: bytes) -> int | None:
    """Where the record of a leaf begins."""
    low, high = 0, (len(held) - len(BOOK_MAGIC)) // RECORD_BYTES
    while low < high:
        middle = (low + high) // 2
        at = len(BOOK_MAGIC) + middle * RECORD_BYTES
        here = held[at : at + HASH_BYTES]
        if here == leaf:
            return at
        low, high = (middle + 1, high) if here < leaf else (low, middle)
    return None
