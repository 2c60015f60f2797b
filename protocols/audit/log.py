"""The whole logic of an append-only log; a shell adds a file, a lock and a clock.

SPEC.md section 4. A state is a value: appending gives the line to write and the next state, and
whoever could not write the line keeps the old one. Reading back (``replay``) takes lines from
anywhere in the log onwards, so that a start costs what was written since the last checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from protocols.audit.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from protocols.audit.entries import MAX_LINE_BYTES, Entry, Fact, Kind, decode, encode, instant
from protocols.audit.merkle import CompactRange, leaf_hash
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, InputError
from protocols.signing import SigningKey

RESTORE = (
    "Nothing was changed. Put the audit folder back from your last backup and start again; "
    "keep the damaged folder, it shows what happened."
)
MAX_READ_BYTES = MAX_LINE_BYTES + 1  # a line with its line feed


@dataclass(frozen=True, slots=True)
class LogState:
    """Where a log stands after ``tree.size`` entries.

    Args:
        origin: name of the log, as in its checkpoints.
        tree: Merkle tree of the entries so far.
        length: bytes of the file that these entries fill.
        at: instant of the last entry, empty at the start.
        covered: entries that a checkpoint has promised; never cut below it.
    """

    origin: str
    tree: CompactRange = field(default_factory=CompactRange)
    length: int = 0
    at: str = ""
    covered: int = 0

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.tree.size

    def root(self) -> bytes:
        """Merkle root, 32 bytes: stands in round descriptors and checkpoints."""
        return self.tree.root()

    def head(self) -> Checkpoint:
        """The unsigned checkpoint of this state."""
        return Checkpoint(self.origin, self.size, self.root())

    def append(
        self, kind: Kind, facts: Mapping[str, Fact | list[str] | list[int]], now: datetime
    ) -> tuple[Entry, bytes, LogState]:
        """The entry, its line (with line feed) and the state after it.

        A clock that was set back does not stop the log: the entry takes the instant of the one
        before it.

        Raises:
            InputError: unknown kind or facts out of bounds (SPEC.md section 2).
        """
        frozen: dict[str, Fact] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in facts.items()
        }
        entry = Entry(self.size, max(self.at, instant(now)), Kind(kind), frozen)
        raw = encode(entry)
        return entry, raw + b"\n", self._after(entry, raw)

    def read(self, line: bytes, where: str) -> tuple[Entry, LogState]:
        """The next entry from its line (with line feed), and the state after it.

        Raises:
            InputError: not canonical, out of sequence or earlier than the line before.
        """
        raw = line[:-1]
        entry = read_entry(raw, self.size, self.at, where)
        return entry, self._after(entry, raw)

    def _after(self, entry: Entry, raw: bytes) -> LogState:
        tree = self.tree.append(leaf_hash(raw))
        return LogState(self.origin, tree, self.length + len(raw) + 1, entry.at, self.covered)

    def stands_at(self, file_bytes: int) -> bool:
        """Whether a file of this size holds these entries and nothing that is promised lacks."""
        return file_bytes == self.length and self.size >= self.covered

    def due(self, every: int) -> bool:
        """Whether a checkpoint should be written now: after the first entry, then regularly."""
        return self.size > 0 and (self.covered == 0 or self.size - self.covered >= every)

    def sign(self, key: SigningKey) -> tuple[LogState, bytes, bytes]:
        """Promise all entries: the state that knows it, the checkpoint and the resume record.

        Write the checkpoint before the resume record: a resume record without its checkpoint
        is not trusted.
        """
        promised = replace(self, covered=self.size)
        return promised, sign_checkpoint(self.head(), key), promised._resume_record()

    def _resume_record(self) -> bytes:
        hashes = [one.hex() for one in self.tree.hashes]
        return json_bytes(
            {"at": self.at, "hashes": hashes, "length": self.length, "size": self.size}
        )


def read_entry(raw: bytes, size: int, at: str, where: str) -> Entry:
    """The entry that follows ``size`` entries, the last of which is dated ``at``.

    Errors as ``check_place``.
    """
    entry = decode(raw, where)
    check_place(entry.seq, entry.at, size, at, where)
    return entry


def check_place(seq: int, dated: str, size: int, at: str, where: str) -> None:
    """Check that an entry follows ``size`` entries, the last of which is dated ``at``.

    Args:
        seq: its number.
        dated: its instant.
        size: entries before it.
        at: instant of the one before it, or empty.
        where: names the line.

    Raises:
        InputError: out of sequence or earlier than the line before.
    """
    if seq != size:
        raise InputError(
            f"the entry has number {seq}, expected {size}: entries were removed, added or moved.",
            code=Code.TAMPERED,
            where=where,
            fix=RESTORE,
        )
    if dated < at:
        raise InputError(
            f"the entry is dated {dated}, the one before it {at}.",
            code=Code.TAMPERED,
            where=where,
            fix=RESTORE,
        )


def resume(origin: str, public: bytes, checkpoint: bytes, record: bytes) -> LogState:
    """The state at the last checkpoint, or at the start of the log if the record does not fit.

    The signed checkpoint vouches for the record's hashes. A state that starts over reads the
    whole log again and meets the checkpoint on its way.

    Raises:
        InputError: a checkpoint that is there but does not verify.
    """
    if not checkpoint:
        return LogState(origin)
    head = parse_checkpoint(checkpoint, public, origin, "checkpoint")
    start = LogState(origin, covered=head.size)
    try:
        found = parse_json(record, "resume record")
        tree = CompactRange(int(found["size"]), tuple(bytes.fromhex(h) for h in found["hashes"]))
        length, at = int(found["length"]), str(found["at"])
    except (InputError, KeyError, TypeError, ValueError):
        return start
    if tree.size != head.size or tree.root() != head.root or length < 0:
        return start
    return LogState(origin, tree, length, at, head.size)


def catch_up(
    state: LogState, lines: Iterable[bytes], file_bytes: int, public: bytes, checkpoint: bytes
) -> tuple[LogState, bytes]:
    """Read what stands in the file behind ``state``: after a start, or another process's entries.

    Args:
        state: what is known and trusted already.
        lines: lines with their line feeds from byte ``state.length`` on.
        file_bytes: size of the file.
        public: the log's key.
        checkpoint: the signed checkpoint beside the log, empty if there is none yet.

    Returns:
        The state after the last complete line, and the torn bytes behind it (empty if none).
        Torn bytes never were acknowledged and no checkpoint covers them: the shell cuts them
        and appends ``torn_facts`` as an incident.

    Raises:
        InputError: any other damage; names the line, and says how to restore.
    """
    if file_bytes < state.length:
        raise _damaged(f"the log has {file_bytes} bytes, {state.length} were written.", state)
    promised = None
    if checkpoint:
        promised = parse_checkpoint(checkpoint, public, state.origin, "checkpoint")
        state = replace(state, covered=max(state.covered, promised.size))
    state, torn = replay(state, lines, promised)
    if state.size < state.covered:
        raise _damaged(
            f"the log has {state.size} whole entries, its checkpoint promises {state.covered}: "
            "entries are missing at the end.",
            state,
        )
    return state, torn


def replay(
    state: LogState, lines: Iterable[bytes], promised: Checkpoint | None = None
) -> tuple[LogState, bytes]:
    """Read every complete line; what follows the last line feed is handed back as torn.

    Raises:
        InputError: a line is damaged, or the entries miss the root of ``promised`` on their way.
    """
    torn = b""
    for line in lines:
        if torn:  # a longer line than any entry has; readers cut lines at the limit
            raise _damaged("the line does not end.", state)
        if not line.endswith(b"\n"):
            torn = line
            continue
        try:
            _, state = state.read(line, f"line {state.size + 1}")
        except InputError as error:
            raise _damaged(error.problem, state) from error
        if promised and state.size == promised.size and state.root() != promised.root:
            raise InputError(
                f"the first {state.size} entries do not give the root of the checkpoint: "
                "an entry was changed.",
                code=Code.TAMPERED,
                where=f"line {state.size}",
                fix=RESTORE,
            )
    return state, torn


def _damaged(problem: str, state: LogState) -> InputError:
    where = f"line {state.size + 1}"
    return InputError(problem, code=Code.TAMPERED, where=where, fix=RESTORE)


def torn_facts(torn: bytes) -> dict[str, Fact]:
    """Facts of the incident entry that stands where a torn line was cut."""
    return {
        "cut_bytes": len(torn),
        "cut_sha256": hashlib.sha256(torn).hexdigest(),
        "note": "the last line was not finished when the machine stopped; it was cut",
    }


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That ``line`` (without line feed) is entry ``index`` of the log of ``size`` entries."""

    index: int
    size: int
    line: bytes
    path: tuple[bytes, ...]
