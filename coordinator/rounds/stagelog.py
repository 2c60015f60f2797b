"""What came in during one attempt of one round, durable before the next stage is announced.

After a crash the aggregator is made anew and fed with these records (secure-aggregation
SPEC.md, "Restart"). The records are what members sent: masked vectors, ciphertexts, signatures.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from protocols.errors import LocalError
from protocols.ids import MemberId

_HEAD = struct.Struct("<B32sII")  # stage, member, length, CRC-32 of stage, member and body
_CLOSED = 255  # in place of the stage: the stage before it was closed here
_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class Record:
    """One accepted message of a member."""

    stage: int
    member: MemberId
    body: bytes = field(repr=False)


class StageLog:
    """Append-only file of one attempt; ``close_stage`` makes it durable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            # what a crash tore off would hide every record that is written behind it
            self._file.truncate(_whole(path))
        except OSError as error:
            raise _disk(path, error) from error

    def append(self, stage: int, member: MemberId, body: bytes) -> None:
        """Write one record; durable only after ``close_stage``."""
        self._write(stage, bytes.fromhex(member), body)

    def _write(self, stage: int, member: bytes, body: bytes) -> None:
        head = _HEAD.pack(stage, member, len(body), _check(stage, member, body))
        try:
            self._file.write(head + body)
        except OSError as error:
            raise _disk(self.path, error) from error

    def close_stage(self) -> None:
        """Write that the stage ends here and force everything to the disk."""
        self._write(_CLOSED, _NOBODY, b"")
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _disk(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _check(stage: int, member: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(bytes([stage]) + member))


def replay(path: Path) -> Iterator[Record | None]:
    """The records of a file, None where a stage was closed; what a crash tore off is left out.

    One record is held at a time: a file may be larger than the memory.
    """
    with path.open("rb") as file:
        for stage, member, body, _ in _records(file):
            yield None if stage == _CLOSED else Record(stage, MemberId(member.hex()), body)


class Bodies:
    """The bodies of one stage, read from the file when asked for.

    Args:
        path: a stage log.
        stage: whose bodies.
    """

    def __init__(self, path: Path, stage: int) -> None:
        self._path = path
        self._places: dict[bytes, tuple[int, int]] = {}
        with path.open("rb") as file:
            for found, member, body, end in _records(file):
                if found == stage:
                    self._places[member] = (end - len(body), len(body))

    def __call__(self, member: bytes) -> bytes:
        """The body that a member sent; LocalError if it sent none."""
        place = self._places.get(member)
        if place is None:
            raise LocalError(f"{member.hex()[:16]} sent nothing here.", where=str(self._path))
        with self._path.open("rb") as file:
            file.seek(place[0])
            return file.read(place[1])


def _whole(path: Path) -> int:
    """How many bytes of a file are whole records."""
    with path.open("rb") as file:
        return max((end for *_, end in _records(file)), default=0)


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes, bytes, int]]:
    """(stage, member, body, end) of each record up to the first that is not whole."""
    at = 0
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        stage, member, length, crc = _HEAD.unpack(head)
        body = file.read(length)
        if len(body) != length or _check(stage, member, body) != crc:
            return
        at += _HEAD.size + length
        yield stage, member, body, at


def _disk(path: Path, error: OSError) -> LocalError:
    return LocalError(
        f"a round could not be written: {error.strerror}.",
        where=str(path),
        fix="Free some space on this disk; the round is given up, no member is harmed.",
    )
