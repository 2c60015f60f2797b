"""What this node has seen of the coordinator's log: kept, countersigned, and never forgotten.

``audit/coordinator/`` holds the newest checkpoint that was verified (``newest.note``), every
checkpoint that this member countersigned (``cosigned/``, bounded) and when it was last verified
(``status.json``). ``newest.note`` guards what this member signs: it is on the disk before its
countersignature exists, and a head that does not continue it is never signed. Forks are in
``node/policy/forks.py``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from node import files
from node.policy.forks import Forks
from node.policy.journal import exclusive
from protocols.agreement.facts import AuditFacts
from protocols.audit.checkpoint import (
    Checkpoint,
    bare_note,
    check_growth,
    origin_of,
    parse_checkpoint,
)
from protocols.audit.cosign import cosign, cosignature_of, merge
from protocols.audit.entries import instant
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, CoopError, InputError, LocalError
from protocols.signing import SigningKey

FOLDER, NEWEST, STATUS, COSIGNED, RETIRED = (
    "coordinator",
    "newest.note",
    "status.json",
    "cosigned",
    "retired.json",
)
MAX_COSIGNED = 256
MAX_KEPT_BYTES = 64 * 1024
AGAIN_AFTER = timedelta(hours=1)  # an unchanged head is countersigned anew, so that it is fresh
_COSIGNED_NAME = re.compile(r"[0-9]{16}\.note")
Journal = Callable[[str, Mapping[str, object]], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """The newest verified head and its note; ``cosigned_at`` is POSIX seconds, None if not yet."""

    head: Checkpoint
    note: bytes = field(repr=False)
    cosigned_at: int | None = None

    @property
    def mark(self) -> str:
        """Which countersignature this is: size and time."""
        return f"{self.head.size}-{self.cosigned_at}"


@dataclass(frozen=True, slots=True)
class Status:
    """When the newest head was verified, handed over and compared with those of other members.

    Says nothing that is trusted: a lost file costs one contact.
    """

    size: int = -1
    root: str = ""
    verified_at: str = ""  # instant
    submitted: str = ""  # size and time of the countersignature that the coordinator has
    compared_at: str = ""  # instant


class Witnessed:
    """One node's memory of the coordinator's log.

    Args:
        audit: the node's audit folder.
        key: this member's identity key; signs countersignatures.
        coordinator: the coordinator's Ed25519 key, pinned at enrolment.
        journal: appends one entry (kind, facts) and returns once it is on the disk.
        clock: aware UTC now.
    """

    def __init__(
        self,
        audit: Path,
        key: SigningKey,
        coordinator: bytes,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._folder, self._key, self.coordinator = audit / FOLDER, key, coordinator
        self._journal, self.clock = journal, clock
        self._threads = threading.Lock()
        self.origin = origin_of("coordinator", coordinator)
        self.forks = Forks(audit / "forks", journal, clock)

    @property
    def public(self) -> bytes:
        """This member's public key, which countersigns."""
        return self._key.public

    def facts(self) -> AuditFacts:
        """What the gate is told (c24); no ``witnesses``: those are the coordinator's to count.

        Whatever is damaged is told as a fork's sentence, so that it denies and says why.
        """
        try:
            fork, kept, status = self.forks.sentence(), self.newest(), self.status()
        except CoopError as error:
            return AuditFacts(fork=str(error)[:600])
        known = kept is not None and (kept.head.size, kept.head.root.hex()) == (
            status.size,
            status.root,
        )
        at = datetime.fromisoformat(status.verified_at) if known and status.verified_at else None
        return AuditFacts(verified_at=at, fork=fork)

    def newest(self) -> Kept | None:
        """The newest verified head; None before the first contact.

        Raises:
            InputError: the file is damaged, or gone while others show that there was one.
        """
        path = self._folder / NEWEST
        if not path.exists():
            if self.cosigned_sizes():
                raise _damaged("it is gone, although this member has countersigned before.", path)
            return None
        try:
            note = files.read(path, MAX_KEPT_BYTES)
            head = parse_checkpoint(note, self.coordinator, self.origin, str(path))
            mine = cosignature_of(note, self.public, str(path))
        except (InputError, LocalError) as error:
            raise _damaged(error.problem, path) from error
        return Kept(head, note, mine[1] if mine else None)

    def advance(
        self, before: Kept | None, note: bytes, proof: tuple[bytes, ...], peer: str
    ) -> Kept | None:
        """Verify that ``note`` continues what is kept, and keep it; None if ``before`` is stale.

        Only the log's own signature is kept: a line below it that is not verified here would be
        read back as ours, or make the file longer than is ever read.

        Raises:
            RemoteError: the log does not continue (``check_growth``); nothing was changed.
            InputError: the note is not the coordinator's.
        """
        with self._exclusive():
            kept = self.newest()
            if (kept and kept.head) != (before and before.head):
                return None  # another process was faster: ask again from its head
            head = parse_checkpoint(note, self.coordinator, self.origin, peer)
            note = bare_note(note, self.coordinator, self.origin, peer)
            if kept is not None:
                check_growth(kept.head, head, proof, peer)
            if kept is None or kept.head != head:
                kept = Kept(head, note)
                files.write(self._folder / NEWEST, note)
            self._put(
                replace(
                    self.status(),
                    size=head.size,
                    root=head.root.hex(),
                    verified_at=instant(self.clock()),
                )
            )
            return kept

    def countersign(self) -> Kept | None:
        """Sign the kept head if that is due; what the coordinator has not got yet, or None.

        The head is on the disk already. Nothing is signed while a fork is open, at a size at
        which another history was signed before, or twice within ``AGAIN_AFTER``.
        """
        with self._exclusive():
            kept, status = self.newest(), self.status()
            if kept is None or kept.head.size <= self._retired() or self.forks.open():
                return None
            now = int(self.clock().timestamp())
            last = kept.cosigned_at
            if last is None or now - last >= AGAIN_AFTER.total_seconds():
                kept = self._sign(kept, max(now, self._last_time()))
            return kept if kept.mark != status.submitted else None

    def submitted(self, signed: Kept) -> None:
        """The coordinator has this countersignature."""
        with self._exclusive():
            self._put(replace(self.status(), submitted=signed.mark))

    def compared(self) -> None:
        """The heads that other members countersigned have been compared now."""
        with self._exclusive():
            self._put(replace(self.status(), compared_at=instant(self.clock())))

    def cosigned_sizes(self) -> tuple[int, ...]:
        """Sizes of the heads that are kept with this member's countersignature, ascending."""
        folder = self._folder / COSIGNED
        if not folder.is_dir():
            return ()
        names = (one.name for one in folder.iterdir() if _COSIGNED_NAME.fullmatch(one.name))
        return tuple(sorted(int(name[:16]) for name in names))

    def cosigned(self, size: int) -> Kept | None:
        """The head of that size that this member countersigned, or None; InputError if damaged."""
        path = self._folder / COSIGNED / f"{size:016d}.note"
        if not path.is_file():
            return None
        note = files.read(path, MAX_KEPT_BYTES)
        head = parse_checkpoint(note, self.coordinator, self.origin, str(path))
        if head.size != size:
            raise _damaged("its name says another size.", path)
        mine = cosignature_of(note, self.public, str(path))  # None: with an earlier key of ours
        return Kept(head, note, mine[1] if mine else None)

    def start_anew(self) -> None:
        """Accept the log as it is shown at the next contact; the old heads stay as evidence.

        Only for an owner who has talked with the other members. This member never countersigns
        at a size at which it has signed before.
        """
        with self._exclusive():
            last = max((*self.cosigned_sizes(), self._retired()))
            files.write(self._folder / RETIRED, json_bytes({"cosigned": last}))
            old = self._folder / f"retired-{instant(self.clock()).replace(':', '').split('.')[0]}"
            with files.disk(old):
                old.mkdir(mode=0o700)
                for name in (COSIGNED, NEWEST, STATUS):  # newest after what would miss it
                    path = self._folder / name
                    if path.exists():
                        path.replace(old / name)
                files.sync_folder(self._folder)

    def status(self) -> Status:
        """Never raises for a damaged file: what it says is asked again at the next contact."""
        path = self._folder / STATUS
        if not path.exists():
            return Status()
        try:
            found: dict[str, Any] = parse_json(files.read(path, MAX_KEPT_BYTES), str(path))
            status = Status(**found)
            for text in (status.verified_at, status.compared_at):
                if text and datetime.fromisoformat(text).tzinfo is None:
                    return Status()
        except (CoopError, TypeError, ValueError):
            return Status()
        return status

    def _sign(self, kept: Kept, at: int) -> Kept:
        line = cosign(kept.head, self._key, at)
        plain = _unsigned(kept.note, self.public)
        signed = Kept(kept.head, merge(plain, [line], NEWEST), at)
        files.make_folder(self._folder / COSIGNED)
        # the history first: a newest without it would be signed again at most once
        files.write(self._folder / COSIGNED / f"{kept.head.size:016d}.note", signed.note)
        files.write(self._folder / NEWEST, signed.note)
        if kept.cosigned_at is None:  # renewals of the same head are not news
            self._journal("witness", {"log_size": kept.head.size, "log_root": kept.head.root.hex()})
        for size in self.cosigned_sizes()[:-MAX_COSIGNED]:
            (self._folder / COSIGNED / f"{size:016d}.note").unlink()
        return signed

    def _last_time(self) -> int:
        """Time of the last countersignature: a clock that was set back does not go into one."""
        sizes = self.cosigned_sizes()
        last = self.cosigned(sizes[-1]) if sizes else None
        return last.cosigned_at or 0 if last is not None else 0

    def _retired(self) -> int:
        path = self._folder / RETIRED
        if not path.exists():
            return -1
        found = parse_json(files.read(path), str(path)).get("cosigned")
        if type(found) is not int:
            raise _damaged("it names no size.", path)
        return found

    def _put(self, status: Status) -> None:
        files.write(self._folder / STATUS, json_bytes(asdict(status)))

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        files.make_folder(self._folder)
        with self._threads, exclusive(self._folder):
            yield


def _unsigned(note: bytes, public: bytes) -> bytes:
    """The note without this member's older countersignature."""
    mine = cosignature_of(note, public, NEWEST)
    return note if mine is None else note.replace(mine[0], b"", 1)


def _damaged(problem: str, path: Path) -> InputError:
    return InputError(
        f"what this node keeps of the coordinator's log is damaged: {problem}",
        code=Code.TAMPERED,
        where=str(path),
        fix="Nothing was changed. Put audit/coordinator back from your backup, or copy the last "
        "file of audit/coordinator/cosigned over newest.note; then connect again.",
    )
