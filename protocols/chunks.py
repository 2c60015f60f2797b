"""Long bodies in short parts, with the size known and checked before anything is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from protocols.errors import Code, RemoteError

PART_BYTES = 256 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """Part ``seq`` of a body of ``total_bytes``."""

    seq: int
    last: bool
    total_bytes: int
    data: bytes


def split(body: bytes, part_bytes: int = PART_BYTES) -> Iterator[Piece]:
    """The body in parts of at most ``part_bytes``; an empty body is one empty part."""
    total = len(body)
    count = max(1, -(-total // part_bytes))
    for seq in range(count):
        data = body[seq * part_bytes : (seq + 1) * part_bytes]
        yield Piece(seq, seq == count - 1, total, data)


@dataclass(slots=True)
class Assembler:
    """Puts the parts of one body together and refuses what does not fit."""

    peer: str
    max_bytes: int = MAX_BODY_BYTES
    _total: int = -1
    _next: int = 0
    _parts: list[bytes] = field(default_factory=list, repr=False)
    _held: int = 0

    def add(self, piece: Piece) -> bytes | None:
        """Take the next part; the whole body when it was the last.

        Raises:
            RemoteError: too large, out of order, more or fewer bytes than announced.
        """
        if self._total < 0:
            if piece.total_bytes > self.max_bytes:
                raise RemoteError(
                    f"a body of {piece.total_bytes} bytes was announced,"
                    f" at most {self.max_bytes} are taken.",
                    peer=self.peer,
                    code=Code.LIMIT,
                )
            self._total = piece.total_bytes
        if piece.seq != self._next or piece.total_bytes != self._total:
            raise RemoteError(f"part {piece.seq} came out of order.", peer=self.peer)
        if not piece.data and not piece.last:
            raise RemoteError("an empty part in the middle.", peer=self.peer)
        self._next += 1
        self._held += len(piece.data)
        if self._held > self._total:
            raise RemoteError("more bytes came than were announced.", peer=self.peer)
        self._parts.append(piece.data)
        if not piece.last:
            return None
        if self._held != self._total:
            raise RemoteError(
                f"{self._held} of {self._total} announced bytes came.", peer=self.peer
            )
        return b"".join(self._parts)


def check_sha256(body: bytes, expected: bytes, peer: str) -> None:
    """RemoteError if the body is not the one that was announced."""
    if hashlib.sha256(body).digest() != expected:
        raise RemoteError("the body does not match its announced digest.", peer=peer)
