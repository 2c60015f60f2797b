"""One encrypted file with everything a member cannot make again.

    "datacoop-backup\\n" | version u8 | log2(n) u8 | r u8 | p u8 | salt 16 | nonce 12 | AES-256-GCM

The key is scrypt(passphrase, salt; n, r, p); everything before the ciphertext is authenticated
with it. Inside is a JSON object: path -> content. Sales rows (``vault/``) are not in it: they are
large, and the till can export them again. The key that opens them is, also if it lies in the key
store of the operating system; a restore puts it into a file.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from node import files, keys, vault_key
from protocols.errors import Code, InputError, LocalError

MAGIC = b"datacoop-backup\n"
VERSION = 1
COST_LOG2_N, COST_R, COST_P = 17, 8, 1  # 128 MiB, about half a second
MAX_LOG2_N = 20
MIN_PASSPHRASE = 12
MAX_BACKUP_BYTES = 256 * 1024 * 1024
_HEADER_BYTES = len(MAGIC) + 4
# House rules are in it: a restored node must not be looser than the one that was lost.
_PATH = re.compile(
    r"(keys|keys\.next|audit|audit/coordinator(/[a-z][a-z0-9T-]*)?|audit/forks/[0-9a-f-]+T[0-9a-f-]+Z-"
    r"[0-9a-f]{8})/[A-Za-z0-9][A-Za-z0-9._-]*|coop\.json|config\.toml|house_rules\.toml|"
    r"shop\.toml|categories\.toml|taxonomy\.json|node\.db|"
    r"rights/[0-9a-f]{8}-[a-z]+\.json"
)


_SMALL = ("coop.json", "config.toml", "house_rules.toml", "shop.toml")
_SMALL_BYTES, _LIST_BYTES = 1024 * 1024, 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds: paths below the home, and when it was made (UTC)."""

    paths: tuple[str, ...]
    made_at: datetime


def backup(
    home: Path,
    target: Path,
    passphrase: str,
    now: datetime,
    *,
    entropy: Callable[[int], bytes] = secrets.token_bytes,
    log2_n: int = COST_LOG2_N,
) -> Contents:
    """Write one encrypted file; a running node may go on, its database is copied consistently.

    Args:
        home: the node's home; must have keys.
        target: the file to write; must not exist.
        passphrase: 12 characters or more. Without it the file is useless, to its owner too.
        now: aware UTC time.
        entropy: for salt and nonce.
        log2_n: scrypt's cost, 14 to 20.

    Raises:
        InputError: the passphrase is too short, the target exists.
        LocalError: no keys, disk full.
    """
    own = keys.load(home)
    if len(passphrase) < MIN_PASSPHRASE:
        raise InputError(
            f"the passphrase has {len(passphrase)} characters, {MIN_PASSPHRASE} are the least.",
            where="passphrase",
            fix="Take five or six words that you can remember, and write them down elsewhere.",
        )
    if target.exists():
        raise InputError("this file exists already.", where=str(target), fix="Choose another name.")
    content = _collect(home, own)
    text = json.dumps(
        {
            "v": VERSION,
            "made_at": now.astimezone(UTC).isoformat(),
            "files": {name: base64.b64encode(data).decode() for name, data in content.items()},
        }
    ).encode()
    header = MAGIC + bytes((VERSION, log2_n, COST_R, COST_P)) + entropy(16) + entropy(12)
    sealed = AESGCM(_key(passphrase, header)).encrypt(header[-12:], text, header)
    files.write(target, header + sealed)
    return Contents(tuple(sorted(content)), now.astimezone(UTC))


def restore(source: Path, home: Path, passphrase: str, now: datetime) -> Contents:
    """Put a backup back into a home without keys.

    The node remembers the moment (``keys.restored_at``): rounds that were spent since the backup
    are unknown to it, so it takes part only in runs ordered from now on.

    Raises:
        InputError: not a backup, damaged, made by a newer version, wrong passphrase.
        LocalError: there are keys or a membership here already, disk full.
    """
    making = home / ".restore.making"
    # the keys are moved last: what else lies there without them is from an interrupted restore
    interrupted = (making / keys.KEYS).exists()
    for name in (keys.KEYS,) if interrupted else (keys.KEYS, "coop.json", "node.db", "audit"):
        if (home / name).exists():
            raise LocalError(
                f"there is a {name} here already; a restore never overwrites.",
                code=Code.USAGE,
                where=str(home),
                fix="Restore into an empty folder with --home.",
            )
    made_at, content = _open(source, passphrase)
    with files.disk(making):
        shutil.rmtree(making, ignore_errors=True)
    for name, data in content.items():
        files.make_folder((making / name).parent)
        files.write(making / name, data)
    note = {"restored_at": now.astimezone(UTC).isoformat(), "made_at": made_at.isoformat()}
    files.write(making / keys.KEYS / keys.RESTORED, json.dumps(note).encode())
    keys.load(making)
    with files.disk(home):
        for part in sorted(making.iterdir(), key=lambda part: part.name == keys.KEYS):
            if part.is_dir() and part.name != keys.KEYS:
                shutil.rmtree(home / part.name, ignore_errors=True)
            part.replace(home / part.name)
        files.sync_folder(home)
        making.rmdir()
    return Contents(tuple(sorted(content)), made_at)


def _collect(home: Path, own: keys.NodeKeys) -> dict[str, bytes]:
    """Path below the home -> content."""
    found: dict[str, bytes] = {}
    for folder in (keys.KEYS, keys.NEXT, "audit", "rights"):
        for file in sorted((home / folder).rglob("*")):  # audit: also what is kept of the log
            name = file.relative_to(home).as_posix()
            if file.is_file() and _PATH.fullmatch(name) and file.name != vault_key.STORE:
                found[name] = files.read(file, MAX_BACKUP_BYTES)
    # the vault's key from wherever it lies: the key store of a lost computer is lost with it
    found[f"{keys.KEYS}/{vault_key.FILE}"] = own.vault_key.hex().encode() + b"\n"
    for name in (*_SMALL, "categories.toml", "taxonomy.json"):
        if (home / name).is_file():
            most = _SMALL_BYTES if name in _SMALL else _LIST_BYTES
            found[name] = files.read(home / name, most)
    if (home / "node.db").is_file():
        found["node.db"] = _database(home / "node.db")
    total = sum(len(data) for data in found.values())
    if total > MAX_BACKUP_BYTES // 2:
        raise LocalError(
            f"keys, records and audit log have {total} bytes; a backup file takes "
            f"{MAX_BACKUP_BYTES // 2}.",
            where=str(home),
            fix="Copy the whole folder instead, with the node stopped.",
        )
    return found


def _database(file: Path) -> bytes:
    """A consistent copy of a database that may be in use."""
    try:
        with (
            closing(sqlite3.connect(file, timeout=15)) as source,
            closing(sqlite3.connect(":memory:")) as copy,
        ):
            source.backup(copy)
            return copy.serialize()
    except sqlite3.Error as error:
        raise LocalError(
            f"the node's database cannot be copied: {error}.",
            where=str(file),
            fix="Stop the node and try again.",
        ) from error


def _key(passphrase: str, header: bytes) -> bytes:
    log2_n, r, p = header[len(MAGIC) + 1 : _HEADER_BYTES]
    if not 14 <= log2_n <= MAX_LOG2_N or (r, p) != (COST_R, COST_P):
        raise InputError(
            f"scrypt with n = 2^{log2_n}, r = {r}, p = {p} is not used by this software.",
            where="backup",
            fix="The file is damaged; take another copy.",
        )
    salt = header[_HEADER_BYTES : _HEADER_BYTES + 16]
    return Scrypt(salt=salt, length=32, n=1 << log2_n, r=r, p=p).derive(passphrase.encode())


def _open(source: Path, passphrase: str) -> tuple[datetime, dict[str, bytes]]:
    raw = files.read(source, MAX_BACKUP_BYTES)
    header, sealed = raw[: _HEADER_BYTES + 28], raw[_HEADER_BYTES + 28 :]
    if not raw.startswith(MAGIC) or len(sealed) < 16:
        raise InputError(
            "this is not a backup of a node.",
            where=str(source),
            fix="Name the file that 'coop-node backup' wrote.",
        )
    if header[len(MAGIC)] != VERSION:
        raise InputError(
            f"this backup has version {header[len(MAGIC)]}; this software reads {VERSION}.",
            where=str(source),
            fix="Install the newer release that wrote it.",
        )
    try:
        text = AESGCM(_key(passphrase, header)).decrypt(header[-12:], sealed, header)
    except InvalidTag as error:
        raise InputError(
            "the passphrase does not open this backup (or the file was changed).",
            where=str(source),
            fix="Try again; upper and lower case and blanks count.",
        ) from error
    return _parsed(text, source)


def _parsed(text: bytes, source: Path) -> tuple[datetime, dict[str, bytes]]:
    """What is inside; it was authenticated, but paths are still checked."""
    try:
        value = json.loads(text)
        made_at = datetime.fromisoformat(value["made_at"])
        content = {
            str(name): base64.b64decode(data, validate=True)
            for name, data in value["files"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("the content of this backup is damaged.", where=str(source)) from error
    strange = sorted(name for name in content if not _PATH.fullmatch(name))
    if strange:
        raise InputError(
            f"this backup would write {strange[0]!r}, which is no file of a node.",
            where=str(source),
            code=Code.TAMPERED,
        )
    return made_at, content
