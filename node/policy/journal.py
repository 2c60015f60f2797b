"""The node's audit log on disk: what this node did, in order, provably.

``append`` returns only once the line is on disk. All logic is in ``protocols.audit``.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from protocols.audit.checkpoint import origin_of
from protocols.audit.log import MAX_READ_BYTES
from protocols.audit.verify import verify_log as verify_lines
from protocols.audit.writer import CHECKPOINT, LogWriter
from protocols.errors import InputError, LocalError
from protocols.signing import SigningKey

ROLE = "node"


class Journal(LogWriter):
    """The node's log in its ``audit`` folder, signed with the member's identity key."""

    def __init__(
        self, folder: Path, key: SigningKey, clock: Callable[[], datetime], every: int = 64
    ) -> None:
        super().__init__(Folder(folder), ROLE, key, clock, every)


def verify_log(folder: Path, public: bytes) -> tuple[str, ...]:
    """Check the log in ``folder`` against the key; lines for display, or InputError."""
    place = Folder(folder)
    if not place.size():
        raise InputError("there is no audit log here.", where=str(folder), fix="Check the path.")
    notes = [note] if (note := place.read(CHECKPOINT)) else []
    return verify_lines(place.lines(0), notes, public, origin_of(ROLE, public)).lines()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep every other process out of a folder that exists; not for one's own threads."""
    with (folder / "lock").open("ab") as handle:
        _lock(handle.fileno())  # closing the file unlocks it
        yield


class Folder:
    """A folder that holds a log: ``protocols.audit.writer.Place`` on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._log, self._threads = folder, folder / "log.jsonl", threading.Lock()
        self._index = folder / ".hashes"  # hidden: made again from the log, no backup needs it

    def size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def lines(self, start: int) -> Iterator[bytes]:
        if self._log.exists():
            with self._log.open("rb") as log:
                log.seek(start)
                while line := log.readline(MAX_READ_BYTES):
                    yield line

    def append(self, line: bytes) -> None:
        with self._log.open("ab", buffering=0) as log:
            if log.write(line) != len(line):
                raise OSError("the disk took only a part of the line")
            os.fsync(log.fileno())
            created = log.tell() == len(line)
        if created:
            _sync(self._folder)

    def cut(self, length: int) -> None:
        with self._log.open("r+b") as log:
            log.truncate(length)
            os.fsync(log.fileno())

    def read(self, name: str) -> bytes:
        path = self._folder / name
        return path.read_bytes() if path.exists() else b""

    def replace(self, name: str, content: bytes) -> None:
        part = self._folder / f"{name}.part"
        with part.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        part.replace(self._folder / name)
        _sync(self._folder)

    def index_size(self) -> int:
        return self._index.stat().st_size if self._index.exists() else 0

    def index_read(self, at: int, count: int) -> bytes:
        with self._index.open("rb") as index:
            index.seek(at)
            return index.read(count)

    def index_write(self, at: int, content: bytes) -> None:
        with self._index.open("r+b" if self._index.exists() else "w+b") as index:
            index.truncate(at)
            index.seek(at)
            index.write(content)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._threads, exclusive(self._folder):
                yield
        except OSError as error:
            raise LocalError(
                f"the audit log cannot be written: {error.strerror or error}.",
                where=str(self._folder),
                fix="Check the free space and the rights of this folder, then start again.",
            ) from error


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_LOCK, 1)

    def _sync(folder: Path) -> None:
        """Windows writes names through by itself."""

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)

    def _sync(folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)  # a new name survives a power cut
        finally:
            os.close(handle)
