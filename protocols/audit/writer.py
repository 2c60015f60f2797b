"""The writing side of a log, over any place that can hold bytes.

Node and coordinator give it a folder on disk, tests give it memory that fails on command. The
order of effects is fixed here, once: the line is durable before ``append`` returns, the
checkpoint is written before the resume record, a torn line is cut before the next is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from protocols.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocols.audit.entries import Entry, Fact, Kind, decode
from protocols.audit.index import Index, Shelf
from protocols.audit.log import InclusionProof, catch_up, resume, torn_facts
from protocols.signing import SigningKey

CHECKPOINT, RESUME = "checkpoint", "resume.json"
Facts = Mapping[str, Fact | list[str] | list[int]]


class Place(Shelf, Protocol):
    """Where a log lives. Every method but ``exclusive`` is called while holding it."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep every other thread and process out."""

    def size(self) -> int:
        """Bytes of the log, 0 if there is none."""

    def lines(self, start: int) -> Iterable[bytes]:
        """Lines with their line feeds from byte ``start``; pieces of at most 128 KiB + 1."""

    def append(self, line: bytes) -> None:
        """Write at the end, durably; an OSError may leave a part behind."""

    def cut(self, length: int) -> None:
        """Drop everything behind byte ``length``, durably."""

    def read(self, name: str) -> bytes:
        """A small file beside the log; empty if there is none."""

    def replace(self, name: str, content: bytes) -> None:
        """Write a small file beside the log, atomically and durably."""


class LogWriter:
    """An append-only log that never says "written" too early.

    Several processes may append (a running node and a command beside it): each reads the
    other's lines before it writes its own.

    Args:
        place: where it lives.
        role: "node" or "coordinator"; part of the log's name.
        key: signs the checkpoints, and names the log.
        clock: the present instant, with time zone.
        every: entries between two checkpoints.

    Raises:
        InputError: the log is damaged; names the line and says how to restore.
    """

    def __init__(
        self,
        place: Place,
        role: str,
        key: SigningKey,
        clock: Callable[[], datetime],
        every: int = 64,
    ) -> None:
        self._place, self._key, self._clock, self._every = place, key, clock, every
        with place.exclusive():
            self._state = resume(
                origin_of(role, key.public), key.public, place.read(CHECKPOINT), place.read(RESUME)
            )
            self._catch_up()

    @property
    def origin(self) -> str:
        """The log's name, first line of its checkpoints."""
        return self._state.origin

    @property
    def public(self) -> bytes:
        """The key that signs its checkpoints, 32 bytes."""
        return self._key.public

    def append(self, kind: Kind, facts: Facts | None = None) -> Entry:
        """Write one entry through to the disk, then return it. Checkpoint, then act."""
        with self._place.exclusive():
            self._catch_up()
            return self._write(kind, facts or {})

    def head(self) -> Checkpoint:
        """Size and root of everything appended so far, by any process."""
        with self._place.exclusive():
            self._catch_up()
            return self._state.head()

    def newest_at(self) -> datetime | None:
        """The instant of the last entry of any process, or nothing in an empty log."""
        with self._place.exclusive():
            self._catch_up()
            at = self._state.at
        return datetime.fromisoformat(at) if at else None

    def root(self) -> bytes:
        """The Merkle root, 32 bytes, for round descriptors."""
        return self.head().root

    def checkpoint(self) -> bytes:
        """Sign everything up to now; the signed note, also written beside the log."""
        with self._place.exclusive():
            self._catch_up()
            return self._promise()

    def prove(self, index: int) -> tuple[bytes, InclusionProof]:
        """A signed checkpoint and the proof that entry ``index`` is under it."""
        with self._place.exclusive():
            note, known = self._known()
            return note, known.inclusion(index)

    def growth(self, old: int) -> tuple[bytes, tuple[bytes, ...]]:
        """A signed checkpoint and the proof that it continues the log of ``old`` entries.

        Of more entries than there are the proof is empty: whoever holds a signed head of that
        size sees from the checkpoint that the log was cut.
        """
        note, (proof,) = self.growths((old,))
        return note, proof

    def growths(self, olds: Sequence[int]) -> tuple[bytes, list[tuple[bytes, ...]]]:
        """One signed checkpoint and, for each older size, the proof that it continues it."""
        with self._place.exclusive():
            note, known = self._known()
            return note, [known.growth(old) for old in olds]

    def root_at(self, size: int) -> bytes | None:
        """The root when the log had ``size`` entries; None if it never had as many."""
        with self._place.exclusive():
            _, known = self._known()
            return known.root_at(size) if size <= known.size else None

    def between(self, old: int, new: int) -> tuple[bytes, ...]:
        """Proof that the log of ``new`` entries, at most those there are, continues ``old``."""
        with self._place.exclusive():
            _, known = self._known()
            return Index(self._place, new, known.root_at(new)).growth(old)

    def entries(self, kind: Kind) -> tuple[Entry, ...]:
        """All entries of a kind, oldest first. Reads the whole log."""
        mark = f'"kind":"{kind.value}"'.encode()
        with self._place.exclusive():
            self._catch_up()
            lines = [line for line in self._place.lines(0) if mark in line]
        found = (decode(line.rstrip(b"\n"), "log") for line in lines)
        return tuple(entry for entry in found if entry.kind is kind)

    def close(self) -> None:
        """Sign what is not signed yet."""
        with self._place.exclusive():
            self._catch_up()
            if self._state.size > self._state.covered:
                self._promise()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, kind: Kind, facts: Facts) -> Entry:
        entry, line, state = self._state.append(kind, facts, self._clock())
        self._place.append(line)
        self._state = state
        if state.due(self._every):
            self._promise()
        return entry

    def _known(self) -> tuple[bytes, Index]:
        """The checkpoint over everything there is, and the index to prove things about it."""
        self._catch_up()
        if self._state.size > self._state.covered:
            self._promise()
        state = self._state
        note = sign_checkpoint(state.head(), self._key)  # the same bytes as on the disk
        return note, Index(self._place, state.size, state.root())

    def _promise(self) -> bytes:
        state, note, record = self._state.sign(self._key)
        self._place.replace(CHECKPOINT, note)
        self._place.replace(RESUME, record)
        self._state = state
        return note

    def _catch_up(self) -> None:
        size = self._place.size()
        if self._state.stands_at(size):
            return
        lines, note = self._place.lines(self._state.length), self._place.read(CHECKPOINT)
        self._state, torn = catch_up(self._state, lines, size, self._key.public, note)
        if torn:
            self._place.cut(self._state.length)
            self._write(Kind.INCIDENT, torn_facts(torn))
