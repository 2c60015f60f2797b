"""Check a whole log from bytes alone: every line, every promise, the signer.

Streams: a million entries need the memory of one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocols.audit.checkpoint import Checkpoint, parse_checkpoint
from protocols.audit.entries import Entry, Kind, decode, skim
from protocols.audit.log import RESTORE, InclusionProof, check_place
from protocols.audit.merkle import HASH_BYTES, MAX_PROOF, Growing, leaf_hash, verify_inclusion
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, InputError


@dataclass(frozen=True, slots=True)
class LogReport:
    """What a verified log holds."""

    origin: str
    size: int
    root: bytes
    first_at: str
    last_at: str
    kinds: tuple[tuple[Kind, int], ...]
    checkpoints: tuple[int, ...]

    def lines(self) -> tuple[str, ...]:
        """For people."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds)
        span = f"from {self.first_at} to {self.last_at}" if self.size else "no entries yet"
        promised = max(self.checkpoints, default=0)
        return (
            f"log {self.origin}: {self.size} entries, {span}",
            f"root {self.root.hex()}",
            f"kinds: {kinds or 'none'}",
            f"signed checkpoints checked: {len(self.checkpoints)}, the last over {promised} "
            f"entries; {self.size - promised} newer entries are not signed yet",
        )


def verify_log(
    lines: Iterable[bytes], checkpoints: Sequence[bytes], public: bytes, origin: str
) -> LogReport:
    """Verify all lines (with line feeds) of a log against its signed checkpoints.

    Args:
        lines: the log as a binary file gives it.
        checkpoints: signed notes, in any order; at least one unless the log is empty.
        public: the key that must have signed them, from the agreement or the roster.
        origin: the name that the log must have.

    Raises:
        InputError: names the line or the checkpoint, and what is wrong with it.
    """
    heads = [
        parse_checkpoint(note, public, origin, f"checkpoint {number + 1}")
        for number, note in enumerate(checkpoints)
    ]
    waiting = sorted(heads, key=lambda head: head.size, reverse=True)
    tree, last_at, first_at = Growing(), "", ""
    kinds: Counter[Kind] = Counter()
    due = _meet(tree, waiting)
    for line in lines:
        where = f"line {tree.size + 1}"
        if not line.endswith(b"\n"):
            raise InputError(
                "the last line is not finished.",
                code=Code.TAMPERED,
                where=where,
                fix="Start the program once: it cuts what a crash left, and records that.",
            )
        raw = line[:-1]
        seq, at, kind = skim(raw, where)
        check_place(seq, at, tree.size, last_at, where)
        tree.append(leaf_hash(raw))
        kinds[kind] += 1
        last_at = at
        first_at = first_at or last_at
        if tree.size == due:
            due = _meet(tree, waiting)
    if waiting:
        raise InputError(
            f"the log has {tree.size} entries, a checkpoint promises {waiting[0].size}: "
            "entries are missing at the end.",
            code=Code.TAMPERED,
            where=f"line {tree.size + 1}",
            fix=RESTORE,
        )
    if tree.size and not heads:
        raise InputError(
            f"the log has {tree.size} entries and no signed checkpoint.",
            code=Code.TAMPERED,
            where="checkpoint",
            fix="A log that was closed properly has one; put it back from the backup.",
        )
    return LogReport(
        origin,
        tree.size,
        tree.root(),
        first_at,
        last_at,
        tuple(sorted(kinds.items())),
        tuple(sorted(head.size for head in heads)),
    )


def _meet(tree: Growing, waiting: list[Checkpoint]) -> int:
    """Compare with every checkpoint of this size; the size of the next one, -1 if none is left."""
    while waiting and waiting[-1].size == tree.size:
        head = waiting.pop()
        if tree.root() != head.root:
            raise InputError(
                f"the first {head.size} entries do not give the root of the checkpoint over "
                "them: an entry was changed, or this is another log.",
                code=Code.TAMPERED,
                where=f"line {head.size}",
                fix=RESTORE,
            )
    return waiting[-1].size if waiting else -1


def proof_bytes(proof: InclusionProof) -> bytes:
    """An inclusion proof as a file (canonical JSON)."""
    return json_bytes(
        {
            "entry": proof.line.decode(),
            "index": proof.index,
            "path": [step.hex() for step in proof.path],
            "size": proof.size,
        }
    )


def check_inclusion(proof: bytes, checkpoint: Checkpoint, where: str) -> Entry:
    """The entry that a proof file shows to be in the log of a verified checkpoint.

    Raises:
        InputError: malformed, for another size, or the path does not lead to the root.
    """
    found = parse_json(proof, where)
    try:
        index, size, line = found["index"], found["size"], found["entry"].encode()
        path = [bytes.fromhex(step) for step in found["path"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            "an inclusion proof has the keys entry, index, path and size.",
            code=Code.TAMPERED,
            where=where,
        ) from error
    if type(index) is not int or type(size) is not int or size != checkpoint.size:
        raise InputError(
            f"the proof is for a log of {json.dumps(size)[:20]} entries, "
            f"the checkpoint has {checkpoint.size}.",
            code=Code.TAMPERED,
            where=where,
        )
    one_form = [step.hex() for step in path] == found["path"]
    if not one_form or len(path) > MAX_PROOF or any(len(step) != HASH_BYTES for step in path):
        raise InputError("the path of the proof is malformed.", code=Code.TAMPERED, where=where)
    try:
        verify_inclusion(leaf_hash(line), index, size, path, checkpoint.root)
    except InputError as error:
        raise InputError(error.problem, code=Code.TAMPERED, where=where) from error
    entry = decode(line, where)
    if entry.seq != index:
        raise InputError(
            f"the entry has number {entry.seq} and stands at {index}.",
            code=Code.TAMPERED,
            where=where,
        )
    return entry
