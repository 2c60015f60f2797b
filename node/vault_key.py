"""Where the key of the vault lies: in a file beside the other keys, or in the key store of the
operating system.

    keys/vault.key        the key, 64 hex digits, for its owner alone
    keys/vault.store      instead: the name of the entry in the operating system's key store
    keys/vault.key.next   while everything is sealed again: the key that is to come

A key is never let go of before its successor was read back from where it lies.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from node import files
from protocols.canonical import parse_json
from protocols.errors import Code, LocalError

if TYPE_CHECKING:
    from types import ModuleType

FILE: Final = "vault.key"
STORE: Final = "vault.store"
PENDING: Final = "vault.key.next"
SERVICE: Final = "datacoop vault"
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class VaultKey:
    """The key itself, or the entry of the key store that has it."""

    value: bytes | None = field(default=None, repr=False)
    entry: str = ""

    def read(self) -> bytes:
        """The 32 bytes.

        Raises:
            LocalError: the key store is locked, absent, or has no such entry.
        """
        return self.value if self.value is not None else _from_store(self.entry)


def new(entropy: Callable[[int], bytes] = secrets.token_bytes) -> VaultKey:
    """A fresh key, not kept anywhere yet."""
    return VaultKey(entropy(KEY_BYTES))


def load(folder: Path, *, sealed: bool) -> VaultKey:
    """The key of a folder of keys.

    Args:
        folder: of the keys.
        sealed: whether there is a vault that was sealed with a key; if not, a node made before
            there was one gets its key now.

    Raises:
        LocalError: it is damaged, readable by others, or missing though a vault needs it.
    """
    if (folder / FILE).exists():
        return VaultKey(_secret(folder / FILE))
    if (folder / STORE).exists():
        entry = parse_json(files.read(folder / STORE), str(folder / STORE)).get("entry")
        if not isinstance(entry, str) or not entry:
            raise _damaged(folder / STORE)
        return VaultKey(entry=entry)
    if sealed:
        raise LocalError(
            "the key of the vault is missing, and nothing else opens this node's rows.",
            code=Code.TAMPERED,
            where=str(folder / FILE),
            fix="Put it back from a backup of this node ('coop-node restore').",
        )
    made = new()
    store(folder, made)
    return made


def store(folder: Path, key: VaultKey) -> None:
    """Write a key, or the name of its entry, into a folder of keys."""
    if key.value is not None:
        files.write(folder / FILE, key.value.hex().encode() + b"\n")
    else:
        files.write(folder / STORE, f'{{"entry": "{key.entry}"}}\n'.encode())


def to_store(folder: Path, key: VaultKey, member: str) -> VaultKey:
    """Move a key into the key store of the operating system.

    Args:
        folder: of the keys.
        key: the key of now.
        member: this member's id; with the folder it names the entry.

    Raises:
        LocalError: there is no key store here, it is locked, or does not give back what it got;
            the key stays where it is then.
    """
    home = hashlib.sha256(str(folder.parent.resolve()).encode()).hexdigest()
    entry = f"{member[:16]}/{home[:16]}"
    value = key.read()
    _into_store(entry, value)
    moved = VaultKey(entry=entry)
    store(folder, moved)
    with files.disk(folder):
        (folder / FILE).unlink(missing_ok=True)
        files.sync_folder(folder)
    return moved


def to_file(folder: Path, key: VaultKey) -> VaultKey:
    """Move a key into a file beside the other keys; its entry in the key store goes last."""
    value = key.read()
    moved = VaultKey(value)
    store(folder, moved)
    if _secret(folder / FILE) != value:
        raise _damaged(folder / FILE)
    with files.disk(folder):
        (folder / STORE).unlink(missing_ok=True)
        files.sync_folder(folder)
    if key.entry:
        _forget(key.entry)
    return moved


def carry(source: Path, key: VaultKey, target: Path) -> None:
    """Give another folder of keys the same key of the vault as ``source`` has."""
    kept = {name: source / name for name in (FILE, STORE, PENDING) if (source / name).exists()}
    if key.value is not None:
        kept.pop(STORE, None)
    for name in (FILE, STORE, PENDING):
        if name not in kept:
            (target / name).unlink(missing_ok=True)
        elif not (target / name).exists() or files.read(target / name) != files.read(kept[name]):
            files.write(target / name, files.read(kept[name]))


# --- a new key ---------------------------------------------------------------------------------


def begin(folder: Path, entropy: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """The key that is to come, on the disk before anything is sealed with it."""
    made = entropy(KEY_BYTES)
    files.write(folder / PENDING, made.hex().encode() + b"\n")
    return made


def pending(folder: Path) -> bytes | None:
    """The key that is to come, if a change of the key was begun."""
    return _secret(folder / PENDING) if (folder / PENDING).exists() else None


def finish(folder: Path, key: VaultKey) -> VaultKey:
    """Let the key that was to come take the place of ``key``; the vault is sealed with it."""
    value = pending(folder)
    if value is None:  # another process was quicker
        return load(folder, sealed=True)
    if key.value is None:
        _into_store(key.entry, value)
        following = key
    else:
        following = VaultKey(value)
        store(folder, following)
    with files.disk(folder):
        (folder / PENDING).unlink(missing_ok=True)
        files.sync_folder(folder)
    return following


# --- the key store of the operating system -----------------------------------------------------


def require_store() -> None:
    """LocalError if this machine has no key store that gives back what it got."""
    probe = f"probe-{secrets.token_hex(8)}"
    _into_store(probe, secrets.token_bytes(KEY_BYTES))
    _forget(probe)


def _into_store(entry: str, value: bytes) -> None:
    keyring, errors = _keyring()
    try:
        keyring.set_password(SERVICE, entry, value.hex())
        held = keyring.get_password(SERVICE, entry)
    except errors.KeyringError as error:
        raise _no_store(error) from error
    if held != value.hex():
        raise LocalError(
            "the key store of this computer did not give back the key that it was given; the key "
            "stays where it was.",
            where=SERVICE,
            fix="Keep the key in a file: coop-node vault key --to file",
        )


def _from_store(entry: str) -> bytes:
    keyring, errors = _keyring()
    try:
        held = keyring.get_password(SERVICE, entry)
    except errors.KeyringError as error:
        raise _no_store(error) from error
    if held is None:
        raise LocalError(
            "the key store of this computer has no key for this vault any more.",
            code=Code.TAMPERED,
            where=f"{SERVICE}: {entry}",
            fix="Log in as the user who set the node up, or put the key back from a backup of "
            "this node ('coop-node restore').",
        )
    return _bytes(held, SERVICE)


def _forget(entry: str) -> None:
    keyring, errors = _keyring()
    try:
        keyring.delete_password(SERVICE, entry)
    except errors.PasswordDeleteError:
        return  # it is gone already
    except errors.KeyringError as error:
        raise _no_store(error) from error


def _keyring() -> tuple[ModuleType, ModuleType]:
    import keyring
    import keyring.errors

    return keyring, keyring.errors


def _no_store(error: Exception) -> LocalError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return LocalError(
        f"the key store of this computer cannot be used: {reason}",
        code=Code.UNAVAILABLE,
        where=SERVICE,
        fix="Unlock it or log in to the desktop, or keep the key in a file (--key-store file).",
    )


def _secret(file: Path) -> bytes:
    files.require_private(file)
    return _bytes(files.read(file).decode("ascii", "replace"), str(file))


def _bytes(text: str, where: str) -> bytes:
    try:
        found = bytes.fromhex(text.strip())
    except ValueError as error:
        raise _damaged(Path(where)) from error
    if len(found) != KEY_BYTES:
        raise _damaged(Path(where))
    return found


def _damaged(file: Path) -> LocalError:
    return LocalError(
        "the key of the vault is damaged.",
        code=Code.TAMPERED,
        where=str(file),
        fix="Put it back from a backup of this node ('coop-node restore').",
    )
