"""One writer at a time, on any file system and operating system, released when a process dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

from protocols.errors import Code, LocalError


class Lock:
    """An exclusive lock on a file, taken at once or not at all. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def try_take(self) -> bool:
        """Take the lock if nobody holds it."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock(fd):
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        """Give the lock back; closing the file is what releases it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Lock:
        if not self.try_take():
            raise LocalError(
                "another import into this node's data is running.",
                code=Code.UNAVAILABLE,
                where=self._path.parent.name,
                fix="Wait until it is done, then try again.",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
