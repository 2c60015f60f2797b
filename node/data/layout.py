"""The vault's folder: where things lie, one writer at a time, all of a change or nothing.

manifest.sealed   the list of contents (``node.data.manifest``)
rows/             sealed Parquet files, named by chance
quarantine/       sealed rows that were set aside
tmp/              what a change has under way; sealed too
lock              held by the process that changes something
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.data import duck, manifest, sealing
from node.data.lock import Lock
from node.data.manifest import Manifest
from node.files import sync_folder
from protocols.errors import Code, LocalError

ROWS: Final = "rows"
QUARANTINE: Final = "quarantine"
TMP: Final = "tmp"
_PAUSE_S: Final = 0.02
PLAIN: Final = "manifest.json"  # of a vault in plain text, layout 1 (``node.data.upgrade``)


@dataclass(frozen=True, slots=True)
class Layout:
    """A vault's folder and the key that opens it."""

    root: Path
    key: bytes = field(repr=False)

    @property
    def manifest(self) -> Path:
        """The list of contents."""
        return self.root / manifest.NAME

    def rows(self, name: str) -> Path:
        """Where a row file lies."""
        return self.root / ROWS / name

    def quarantine(self, name: str) -> Path:
        """Where sealed rows lie that were set aside."""
        return self.root / QUARANTINE / name

    def make(self) -> None:
        """Make the folders, for their owner alone."""
        for folder in (self.root, *(self.root / name for name in (ROWS, QUARANTINE, TMP))):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self) -> Manifest:
        """The list of contents, with every row file in its place.

        Raises:
            LocalError: the list is absent, damaged or sealed with another key; a row file is
                missing or cut short.
        """
        if not self.manifest.is_file():
            raise sealing.damaged("the vault's list of contents is missing.", str(self.manifest))
        found = manifest.load(self.manifest, self.key)
        while (lost := self._lost(found)) is not None:
            again = manifest.load(self.manifest, self.key)
            if again == found:
                raise sealing.damaged(
                    f"the row file {lost.name} is missing or was changed.", str(lost)
                )
            found = again  # a change committed meanwhile and removed what it replaced
        return found

    def _lost(self, found: Manifest) -> Path | None:
        """The first row file that is not there in its whole length."""
        for file in found.files:
            path = self.rows(file.name)
            try:
                if path.stat().st_size != file.size_bytes:
                    return path
            except FileNotFoundError:
                return path
        return None

    def opens(self) -> bool:
        """Whether there is a list of contents, and it names this key."""
        if not self.manifest.exists():
            return False
        with self.manifest.open("rb") as file:
            return sealing.sealed_under(file.read(64)) == sealing.key_id(self.key)

    def start(self) -> None:
        """Begin an empty vault, if there is none; never where row files lie without a list."""
        lock = Lock(self.root / "lock")
        while not self.manifest.exists():
            if not lock.try_take():
                time.sleep(_PAUSE_S)  # another process begins it just now
                continue
            try:
                self._begin()
            finally:
                lock.release()

    def _begin(self) -> None:
        if self.manifest.exists():
            return
        if any((self.root / ROWS).iterdir()) or any((self.root / QUARANTINE).iterdir()):
            raise sealing.damaged("the vault's list of contents is missing.", str(self.manifest))
        self.store(Manifest(erasure_secret=manifest.new_secret()))

    @contextlib.contextmanager
    def changing(self) -> Iterator[Path]:
        """Hold the lock; a folder for what is under way, gone afterwards with all leftovers.

        Raises:
            LocalError: another process is changing something here; the disk is full.
        """
        with duck.plain_disk_errors(self.root), Lock(self.root / "lock"):
            folder = self.root / TMP / f"change-{secrets.token_hex(8)}"
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                self.sweep()

    def clean(self) -> None:
        """Remove what a crash left, unless somebody is changing something just now."""
        self.alone(self.sweep)

    def alone(self, act: Callable[[], object]) -> None:
        """Do something under the lock if this key counts and nobody is changing anything."""
        lock = Lock(self.root / "lock")
        if lock.try_take():
            try:
                if self.opens():
                    act()
            finally:
                lock.release()

    def store(self, after: Manifest) -> None:
        """Let a change happen: everything it names is on the disk already."""
        manifest.store(self.manifest, self.key, after)

    def place(self, made: Path, target: Path) -> None:
        """Move a finished file where it belongs; it counts once a manifest names it."""
        manifest.sync_file(made)
        made.replace(target)
        sync_folder(target.parent)

    def require_gone(self, names: set[str]) -> None:
        """LocalError if files that were removed still lie there.

        Windows keeps a file that another process has open.
        """
        left = [p for name in names for p in (self.rows(name), self.quarantine(name)) if p.exists()]
        if left:
            raise LocalError(
                "the rows are out of the vault, but another program still holds the file that "
                "they were in.",
                code=Code.UNAVAILABLE,
                where=str(left[0]),
                fix="Close other coop-node commands and run: coop-node vault verify",
            )

    def sweep(self) -> None:
        """Remove what the manifest does not name; nothing that another key sealed.

        The lock is held.
        """
        for path in (self.root / TMP).iterdir():
            shutil.rmtree(path, ignore_errors=True)
        for path in self.root.glob("*.part"):
            path.unlink(missing_ok=True)
        if not self.opens():
            return
        (self.root / PLAIN).unlink(missing_ok=True)
        named = manifest.load(self.manifest, self.key).names()
        for folder in (ROWS, QUARANTINE):
            for path in (self.root / folder).iterdir():
                if path.name not in named:
                    with contextlib.suppress(PermissionError):  # open elsewhere, on Windows
                        path.unlink()
