"""One running node per home: two would answer the same round with different keys."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocols.errors import Code, LocalError


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold the home's running lock; LocalError if another process holds it.

    The lock is the operating system's, so a killed process leaves nothing behind.
    """
    file = home / "running.lock"
    with file.open("a+b") as held:
        if not _lock(held.fileno()):
            raise LocalError(
                "this node is running already.",
                code=Code.UNAVAILABLE,
                where=str(home),
                fix="Stop the other one first, or use another --home for another member.",
            )
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
