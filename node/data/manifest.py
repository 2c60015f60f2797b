"""The list of what a vault holds: sealed, and replaced whole or not at all.

Row files are written and fsynced first; the rename of the manifest is the instant at which a
change has happened. What a manifest does not name is left over from a crash and is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import typing
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from node import files
from node.data import sealing
from protocols.canonical import digest

NAME: Final = "manifest.sealed"
MAX_BYTES: Final = 256 * 1024 * 1024
_PURPOSE: Final = "manifest"
_TAG: Final = "datacoop/vault/v2"
EMPTY: Final = digest(_TAG).hex()
T = TypeVar("T", "RowFile", "ImportRecord", "Removed")


@dataclass(frozen=True, slots=True)
class RowFile:
    """One sealed Parquet file.

    Args:
        name: of the file; what is sealed in it is bound to this name.
        table: ``sales_line``, ``customer`` or ``stock``.
        part: first hex digit of the customers' keys in it, "-" if its rows name no customer, ""
            if it was not split.
        salt: 64 hex digits; the file's key comes from the vault's key and this.
        sha256: over the file's bytes.
        date_from, date_to: first and last day of its rows; None if they have none.
        source: of exports that replace orders (``batch.Reading.replaces``), all its lines came
            from one; "" for all others.
    """

    name: str
    table: str
    part: str
    salt: str = field(repr=False)
    sha256: str
    size_bytes: int
    rows: int
    date_from: date | None
    date_to: date | None
    source: str = ""

    def may_hold(self, keys: Iterable[str]) -> bool:
        """Whether rows of one of these customers can be in it."""
        return self.part != "-" and (not self.part or any(k.startswith(self.part) for k in keys))

    def meets(self, first: date, last: date) -> bool:
        """Whether it may have rows of these days."""
        return (
            self.date_from is not None
            and self.date_to is not None
            and self.date_from <= last
            and first <= self.date_to
        )


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One import as the member sees it in ``data list``.

    ``reading`` is the digest of the way the file was read; ``epoch`` the count of removals and
    corrections in the vault when it was last imported. ``quarantine`` is the name of the sealed
    file of rows set aside, "" without one. With a ``source`` the export replaced orders: so many
    of them changed, so many of their lines went; ``as_of`` is its newest moment, and the days are
    those of all its orders, also the ones that it leaves out.
    """

    file_name: str
    sha256: str
    rows_read: int
    rows_added: int
    duplicates: int
    quarantined: int
    quarantine: str
    date_from: date
    date_to: date
    when: datetime
    table: str = "sales_line"
    reading: str = ""
    epoch: int = 0
    suppressed: int = 0
    source: str = ""
    orders_changed: int = 0
    lines_replaced: int = 0
    as_of: datetime | None = None

    def undoes(self, other: ImportRecord) -> bool:
        """Whether orders were changed back to what an export older than the other says."""
        if self.as_of is None or other.as_of is None or self.source != other.source:
            return False
        return self.orders_changed > 0 and self.as_of < other.as_of


@dataclass(frozen=True, slots=True)
class Removed:
    """A removal, a correction or a change of the key: ``what``, why, of how many rows, when."""

    what: str
    reason: str
    rows: int
    when: datetime


@dataclass(frozen=True, slots=True)
class Manifest:
    """All row files and all imports, oldest first.

    Args:
        contents: a chain of hashes (64 hex digits) that every change of rows extends.
        epoch: how many removals and corrections there were.
        erasure_secret: under which erased customers are remembered, 64 hex digits; it stays when
            the vault's key changes.
        erased: HMAC-SHA256 (hex) of the keys of erased customers.
        removals: erasures, purges, corrections and changes of the key, oldest first.
    """

    files: tuple[RowFile, ...] = ()
    imports: tuple[ImportRecord, ...] = ()
    contents: str = EMPTY
    epoch: int = 0
    erasure_secret: str = field(default="", repr=False)
    erased: frozenset[str] = field(default=frozenset(), repr=False)
    removals: tuple[Removed, ...] = ()

    def of(self, table: str) -> tuple[RowFile, ...]:
        """The row files of one table."""
        return tuple(file for file in self.files if file.table == table)

    def changed(self, what: str, content: bytes) -> Self:
        """The manifest after rows changed: ``content`` is a digest of how."""
        chain = digest(_TAG, bytes.fromhex(self.contents), what, content).hex()
        return replace(self, contents=chain)

    def with_files(self, gone: Iterable[RowFile], new: Sequence[RowFile]) -> Self:
        """The manifest with some row files in the place of others."""
        names = {file.name for file in gone}
        kept = tuple(file for file in self.files if file.name not in names)
        return replace(self, files=(*kept, *new))

    def with_import(self, record: ImportRecord) -> Self:
        """The manifest after one more import."""
        return replace(self, imports=(*self.imports, record))

    def removed(self, note: Removed) -> Self:
        """The manifest after rows were taken out or corrected."""
        return replace(self, epoch=self.epoch + 1, removals=(*self.removals, note))

    def names(self) -> set[str]:
        """The names of all files that belong to the vault."""
        quarantined = {record.quarantine for record in self.imports if record.quarantine}
        return {file.name for file in self.files} | quarantined


def new_secret() -> str:
    """A new vault's secret under which erased customers are remembered, 64 hex digits."""
    return secrets.token_hex(sealing.KEY_BYTES)


def load(path: Path, key: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        LocalError: it is absent, damaged, sealed with another key or by a newer version.
    """
    plain = sealing.unseal(key, _PURPOSE, files.read(path, MAX_BYTES), str(path))
    try:
        document = json.loads(plain)
        return Manifest(
            files=tuple(_read(RowFile, item) for item in document["files"]),
            imports=tuple(_read(ImportRecord, item) for item in document["imports"]),
            contents=document["contents"],
            epoch=document["epoch"],
            erasure_secret=document["erasure_secret"],
            erased=frozenset(document["erased"]),
            removals=tuple(_read(Removed, item) for item in document["removals"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise sealing.damaged("the vault's list of contents cannot be read.", str(path)) from error


def store(path: Path, key: bytes, manifest: Manifest) -> None:
    """Replace the manifest: written beside, fsynced, renamed, folder fsynced."""
    document = {
        "files": [_plain(item) for item in manifest.files],
        "imports": [_plain(item) for item in manifest.imports],
        "contents": manifest.contents,
        "epoch": manifest.epoch,
        "erasure_secret": manifest.erasure_secret,
        "erased": sorted(manifest.erased),
        "removals": [_plain(item) for item in manifest.removals],
    }
    replace_file(path, sealing.seal(key, _PURPOSE, json.dumps(document).encode()))


def replace_file(path: Path, content: bytes) -> None:
    """Write a whole file or leave the old one; durable when this returns."""
    beside = path.with_name(f"{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(0o600)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    files.sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def file_digest(path: Path) -> str:
    """SHA-256 over a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(item: RowFile | ImportRecord | Removed) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, date) else v for k, v in asdict(item).items()}


def _read(kind: type[T], item: dict[str, Any]) -> T:
    out: dict[str, Any] = {}
    kinds = typing.get_type_hints(kind)
    for one in fields(kind):
        if one.name not in item and one.default is not MISSING:
            continue  # written before there was such a field
        value = item[one.name]
        if one.name == "when":
            value = datetime.fromisoformat(value)
        elif one.name == "as_of":
            value = None if value is None else datetime.fromisoformat(value)
        elif one.name in ("date_from", "date_to"):
            value = None if value is None else date.fromisoformat(value)
        elif not isinstance(value, kinds[one.name]):
            raise TypeError(f"{one.name} is {value!r}")
        out[one.name] = value
    return kind(**out)
