"""Files of the node that must be whole or absent, and that only their owner reads."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from protocols.errors import Code, LocalError

SCORES = "scores.json"  # in a run's folder: this member's own figures


@contextlib.contextmanager
def disk(path: Path) -> Iterator[None]:
    """Failures of the disk as sentences that name the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LocalError(
                "the disk is full; nothing was changed.",
                code=Code.UNAVAILABLE,
                where=str(path),
                fix="Free some space and repeat the command.",
            ) from error
        raise LocalError(
            f"this cannot be read or written: {error.strerror or error}.",
            where=str(error.filename or path),
            fix="Check that the path exists and who owns it.",
        ) from error


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write the whole file or leave the old one; on disk when this returns."""
    with disk(path):
        part = path.with_name(f".{path.name}.part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)  # gone already unless something failed
        sync_folder(path.parent)


def read(path: Path, max_bytes: int = 1024 * 1024) -> bytes:
    """Read a small file; LocalError if it is absent or too long."""
    with disk(path), path.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise LocalError(f"the file is longer than {max_bytes} bytes.", where=str(path))
    return data


def make_folder(path: Path) -> None:
    """A folder for its owner alone."""
    with disk(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def sync_folder(path: Path) -> None:
    """Make a rename in this folder last; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_private(path: Path) -> None:
    """LocalError if others on this machine may read a secret (not told on Windows)."""
    if os.name == "nt":
        return
    with disk(path):
        mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise LocalError(
            f"this secret may be read by others on this machine (mode {mode:o}).",
            where=str(path),
            fix=f"Run: chmod 600 '{path}'. If others use this machine, make new keys.",
        )
