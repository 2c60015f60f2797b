"""A disk in memory that can stop in the middle of any write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Crash(Exception):
    """The machine stops here."""


class Memory:
    """A disk that can stop in the middle of any write."""

    def __init__(self) -> None:
        self.log = b""
        self.files: dict[str, bytes] = {}
        self.budget: int | None = None  # bytes until the crash
        self.reads = 0
        self.index = b""
        self.index_reads = 0

    def spend(self, content: bytes) -> bytes:
        if self.budget is None:
            return content
        kept = content[: self.budget]
        self.budget -= len(kept)
        return kept

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        yield

    def size(self) -> int:
        return len(self.log)

    def lines(self, start: int) -> Iterator[bytes]:
        for line in self.log[start:].splitlines(keepends=True):
            self.reads += 1
            yield line

    def append(self, line: bytes) -> None:
        kept = self.spend(line)
        self.log += kept
        if kept != line:
            raise Crash

    def cut(self, length: int) -> None:
        self.log = self.log[:length]

    def read(self, name: str) -> bytes:
        return self.files.get(name, b"")

    def replace(self, name: str, content: bytes) -> None:
        if self.spend(content) != content:
            raise Crash  # atomic: the old content stays
        self.files[name] = content

    def index_size(self) -> int:
        return len(self.index)

    def index_read(self, at: int, count: int) -> bytes:
        self.index_reads += 1
        return self.index[at : at + count]

    def index_write(self, at: int, content: bytes) -> None:
        kept = self.spend(content)
        self.index = self.index[:at] + kept
        if kept != content:
            raise Crash
