"""The bytes of one regular file, hashed as they are read, never past the size it had.

Nothing of a file is trusted: it may be a folder, a pipe, a device, larger than any export, or
still being written. Each of these is one sentence and a refusal.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Final

from protocols.errors import InputError, LocalError

READ_BYTES: Final = 1 << 20
MAX_FILE_BYTES: Final = 4_000_000_000


class RawFile(io.RawIOBase):
    """The bytes of one regular file, hashed as they are read, never past the first size."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._name = path.name
        self._fd = open_regular(path)
        self._before = os.fstat(self._fd)
        self.size_bytes = self._before.st_size
        self.read_bytes = 0
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self.size_bytes - self.read_bytes)
        try:
            block = os.read(self._fd, wanted) if wanted else b""
        except OSError as error:
            raise LocalError(
                f"the file could not be read: {error.strerror}.",
                where=self._name,
                fix="Copy it to this computer's own disk and try again.",
            ) from error
        buffer[: len(block)] = block
        self.digest.update(block)
        self.read_bytes += len(block)
        return len(block)

    def rewind(self) -> None:
        """Read from the beginning again, with a new hash."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.read_bytes = 0
        self.digest = hashlib.sha256()

    def read_to_end(self) -> None:
        """Hash the whole file."""
        self.rewind()
        block = bytearray(READ_BYTES)
        while self.readinto(memoryview(block)):
            pass

    def as_file(self) -> io.BufferedReader:
        """The same open file for a reader that seeks; to be closed. Its reads are not hashed."""
        return os.fdopen(os.dup(self.start_again()), "rb")

    def start_again(self) -> int:
        """The descriptor at the beginning of the file, for another process to read from."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        return self._fd

    def finish(self) -> str:
        """SHA-256 (hex) of the whole file, once it was read; it must not have changed."""
        self.require_unchanged()
        return self.digest.hexdigest()

    def require_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened, or not read to its end."""
        after = os.fstat(self._fd)
        same = (after.st_size, after.st_mtime_ns) == (
            self._before.st_size,
            self._before.st_mtime_ns,
        )
        if not same or self.read_bytes != self.size_bytes:
            raise InputError(
                "the file changed while it was being read; a finished file is expected.",
                where=self._name,
                fix="Wait until the program that writes it is done, then add it again.",
            )

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


def open_regular(path: Path) -> int:
    """A file descriptor for reading, for a regular and non-empty file only."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    choose = "Give the path of a CSV file that your till or shop exported."
    try:
        if path.is_dir():
            raise InputError("this is a folder; expected a file.", where=str(path), fix=choose)
        fd = os.open(path, flags)
    except FileNotFoundError as error:
        raise InputError("there is no such file.", where=str(path), fix=choose) from error
    except PermissionError as error:
        raise InputError(
            "this file may not be read by you.",
            where=str(path),
            fix="Change its permissions, or copy it to a folder of yours.",
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"this file cannot be opened: {getattr(error, 'strerror', None) or error}.",
            where=str(path),
            fix=choose,
        ) from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise InputError(
            "this is a pipe or a device; expected a regular file.", where=str(path), fix=choose
        )
    if status.st_size == 0:
        os.close(fd)
        raise InputError(
            "the file is empty; expected a header line and sales lines.",
            where=f"{path.name}:1:1",
            fix="Export it again, and choose a period in which there were sales.",
        )
    if status.st_size > MAX_FILE_BYTES:
        os.close(fd)
        raise InputError(
            f"the file has {status.st_size / 1e9:.1f} GB; at most {MAX_FILE_BYTES / 1e9:.0f} GB "
            "are taken at once.",
            where=path.name,
            fix="Export one year at a time and add the files one after the other.",
        )
    return fd


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) over a file's bytes, in bounded memory; refuses what ``open_regular`` does."""
    with RawFile(path) as raw:
        raw.read_to_end()
        return raw.finish()
