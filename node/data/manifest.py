"""The one small file that says what the vault holds: replaced atomically, or not at all.

Row files are written and fsynced first; the rename of the manifest is the instant at which an
import has happened. What a manifest does not name is left over from a crash and is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from node.files import sync_folder
from protocols.canonical import digest
from protocols.errors import Code, LocalError

VERSION: Final = 1
_RESTORE: Final = "Restore the vault folder from your backup, or empty it and import again."


@dataclass(frozen=True, slots=True)
class RowFile:
    """One Parquet file of sales lines; ``sha256`` is over its bytes."""

    name: str
    sha256: str
    size_bytes: int
    rows: int
    date_from: date
    date_to: date


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One import as the member sees it in ``data list``."""

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


@dataclass(frozen=True, slots=True)
class Manifest:
    """All row files and all imports, oldest first."""

    files: tuple[RowFile, ...] = ()
    imports: tuple[ImportRecord, ...] = ()

    def digest(self) -> str:
        """Hash of the contents (64 hex digits): changes exactly when lines or customers come."""
        return digest("datacoop/vault/v1", *(file.sha256 for file in self.files)).hex()

    def with_exchanged(self, pairs: Sequence[tuple[RowFile, RowFile]]) -> Manifest:
        """The manifest with some row files in the place of others."""
        exchanged = {old.name: new for old, new in pairs}
        return replace(self, files=tuple(exchanged.get(f.name, f) for f in self.files))

    def with_import(self, file: RowFile | None, record: ImportRecord) -> Manifest:
        """The manifest after one more import."""
        files = self.files if file is None else (*self.files, file)
        return replace(self, files=files, imports=(*self.imports, record))


def load(path: Path) -> Manifest:
    """Read a manifest; an absent one is an empty vault.

    Raises:
        LocalError: it was damaged or written by a newer version.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Manifest()
    try:
        document = json.loads(text)
        if document["v"] != VERSION:
            raise LocalError(
                f"the vault was written by another version ({document['v']}, this one reads "
                f"{VERSION}).",
                where=str(path),
                fix="Use the version of this program that wrote it, or a newer one.",
            )
        if document["check"] != _check(document["files"], document["imports"]):
            raise LocalError(
                "the vault's list of contents was changed or damaged.",
                code=Code.TAMPERED,
                where=str(path),
                fix=_RESTORE,
            )
        return Manifest(
            files=tuple(RowFile(**_days(item)) for item in document["files"]),
            imports=tuple(ImportRecord(**_days(item)) for item in document["imports"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise LocalError(
            "the vault's list of contents cannot be read.",
            code=Code.TAMPERED,
            where=str(path),
            fix=_RESTORE,
        ) from error


def store(path: Path, manifest: Manifest) -> None:
    """Replace the manifest: written beside, fsynced, renamed, folder fsynced."""
    files = [_plain(asdict(item)) for item in manifest.files]
    imports = [_plain(asdict(item)) for item in manifest.imports]
    document = {
        "v": VERSION,
        "files": files,
        "imports": imports,
        "check": _check(files, imports),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False).encode()
    beside = path.with_name(f"{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.write(text)
        sync_file(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def file_digest(path: Path) -> str:
    """SHA-256 over a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(files: list[dict[str, Any]], imports: list[dict[str, Any]]) -> str:
    text = json.dumps([files, imports], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, date) else v for k, v in item.items()}


def _days(item: dict[str, Any]) -> dict[str, Any]:
    out = dict(item)
    for name in ("date_from", "date_to"):
        out[name] = date.fromisoformat(out[name])
    if "when" in out:
        out["when"] = datetime.fromisoformat(out["when"])
    return out
