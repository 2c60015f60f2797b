"""Looks for a person's key in every byte below a node's folder: proof that nothing is left.

Reads files as they lie on the disk, so free pages of databases and logs beside them are looked at
as well; what lies in a zip file is looked at unpacked. What it cannot look into it names: sealed
files (the vault opens its own and is asked separately), links out of the folder, backups.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from node.backup import MAGIC
from protocols.errors import LocalError

CHUNK_BYTES: Final = 4 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 8 * 1024 * 1024 * 1024  # of one zip file; more is named, not read
SHORT_DIGITS: Final = 12  # node.insights.churn_list.SHOWN_DIGITS, without loading pandas
_ZIP: Final = b"PK\x03\x04"
Read = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Hit:
    """A file in which a key was found; the path is below the folder."""

    path: str
    form: str  # "hex" or "bytes"


@dataclass(frozen=True, slots=True)
class Scan:
    """What was read, found, and not looked into (path, why)."""

    files: int
    bytes_read: int
    hits: tuple[Hit, ...]
    closed: tuple[tuple[str, str], ...]


def scan(folder: Path, keys: Sequence[str]) -> Scan:
    """Look for keys (64 hex digits each) as text in either case and as bytes.

    Of the text the first digits are enough: lists for people show no more of a customer.

    Raises:
        LocalError: a file cannot be read; absence is not proven then.
    """
    forms = [(key[:SHORT_DIGITS].lower().encode(), "hex") for key in keys]
    forms += [(key[:SHORT_DIGITS].upper().encode(), "hex") for key in keys]
    forms += [(bytes.fromhex(key), "bytes") for key in keys]
    count = total = 0
    hits: list[Hit] = []
    closed: list[tuple[str, str]] = []
    for path, shown in _walk(folder, closed):
        try:
            with path.open("rb") as stream:
                length, found = _search(stream.read, forms)
                hits += [Hit(shown, form) for form in sorted(found)]
                hits += [Hit(shown, form) for form in _zipped(stream, shown, forms, closed)]
                stream.seek(0)
                if stream.read(len(MAGIC)) == MAGIC:
                    closed.append((shown, "a backup, sealed with its passphrase"))
        except FileNotFoundError:
            continue  # a part or log that another process took away in between
        except OSError as error:
            raise LocalError(
                f"a file cannot be read, so absence cannot be shown: {error.strerror or error}.",
                where=str(path),
                fix="Make it readable for your account, then repeat the command.",
            ) from error
        count, total = count + 1, total + length
    return Scan(count, total, tuple(dict.fromkeys(hits)), tuple(closed))


def _walk(folder: Path, closed: list[tuple[str, str]]) -> Iterator[tuple[Path, str]]:
    """Regular files with their paths below the folder, in order; links are not followed."""

    def unreadable(error: OSError) -> None:
        raise LocalError(
            f"a folder cannot be read, so absence cannot be shown: {error.strerror or error}.",
            where=str(error.filename),
            fix="Make it readable for your account, then repeat the command.",
        ) from error

    for where, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted((*names, *folders)):
            path = Path(where) / name
            shown = path.relative_to(folder).as_posix()
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(mode):
                closed.append((shown, "a link to another place"))
            elif stat.S_ISREG(mode):
                yield path, shown


def _search(read: Read, forms: Sequence[tuple[bytes, str]]) -> tuple[int, set[str]]:
    """Length of a stream, and in which forms a key stands in it; memory of two chunks."""
    longest = max((len(one) for one, _ in forms), default=1)
    found: set[str] = set()
    before, length = b"", 0
    while chunk := read(CHUNK_BYTES):
        length += len(chunk)
        window = before + chunk
        found |= {form for needle, form in forms if needle in window}
        before = window[-(longest - 1) :]
    return length, found


def _zipped(
    stream: IO[bytes],
    shown: str,
    forms: Sequence[tuple[bytes, str]],
    closed: list[tuple[str, str]],
) -> set[str]:
    """The same inside a zip file."""
    stream.seek(0)
    if stream.read(len(_ZIP)) != _ZIP:
        return set()
    found: set[str] = set()
    left = MAX_UNPACKED_BYTES
    try:
        with zipfile.ZipFile(stream) as pack:
            for one in pack.infolist():
                if one.flag_bits & 1 or one.file_size > left:
                    closed.append((f"{shown}/{one.filename}"[:200], "sealed, or too large"))
                    continue
                with pack.open(one) as inside:
                    length, here = _search(_at_most(inside.read, left), forms)
                left -= length
                found |= here
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, zlib.error) as error:
        closed.append((shown, f"a zip file that cannot be opened ({type(error).__name__})"))
    return found


def _at_most(read: Read, left: int) -> Read:
    """Reads no more than so much, whatever a zip file says of itself."""
    room = left

    def bounded(size: int) -> bytes:
        nonlocal room
        data = read(min(size, room))
        room -= len(data)
        return data

    return bounded
