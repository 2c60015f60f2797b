"""Where the key of the vault lies: a file, the key store of the system, and the way between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from node import backup, keys, vault_key
from node.data.vault import Vault
from node.house import open_home
from protocols.errors import Code, LocalError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PASSPHRASE = "five plain words in order"


class Store(keyring.backend.KeyringBackend):
    """A key store in memory; ``forgets`` what it is given, or is ``locked``."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: dict[tuple[str, str], str] = {}
        self.forgets = self.locked = False

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked("it is locked")
        if not self.forgets:
            self.held[service, username] = password

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked("it is locked")
        return self.held.get((service, username))

    def delete_password(self, service: str, username: str) -> None:
        if self.held.pop((service, username), None) is None:
            raise keyring.errors.PasswordDeleteError("no such entry")


@pytest.fixture
def store() -> Iterator[Store]:
    before, made = keyring.get_keyring(), Store()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keys.create(tmp_path / "home")
    return tmp_path / "home"


def folder(home: Path) -> Path:
    return home / keys.KEYS


def moved(home: Path) -> keys.NodeKeys:
    own = keys.load(home)
    vault_key.to_store(folder(home), own.vault, own.member)
    return keys.load(home)


def test_the_key_is_its_own_and_private(home: Path) -> None:
    own = keys.load(home)
    assert len(own.vault_key) == 32 and own.vault_key != own.customer_secret
    assert own.vault_key.hex() not in repr(own) and repr(own.vault_key) not in repr(own)
    if os.name != "nt":
        assert (folder(home) / "vault.key").stat().st_mode & 0o777 == 0o600


def test_a_node_of_before_gets_its_key(home: Path) -> None:
    (folder(home) / "vault.key").unlink()
    made = keys.load(home).vault_key
    assert len(made) == 32 and keys.load(home).vault_key == made


def test_a_sealed_vault_never_gets_another_key(home: Path) -> None:
    Vault(home / "vault", keys.load(home).vault_key)
    (folder(home) / "vault.key").unlink()
    with pytest.raises(LocalError, match="key of the vault is missing") as caught:
        keys.load(home)
    assert caught.value.code is Code.TAMPERED
    assert not (folder(home) / "vault.key").exists()


@pytest.mark.parametrize("text", ["", "zz" * 32, "ab" * 31, "ä"])
def test_a_damaged_key_is_told(home: Path, text: str) -> None:
    (folder(home) / "vault.key").write_text(text, "utf-8")
    with pytest.raises(LocalError, match="damaged"):
        keys.load(home)


# --- the key store of the system ---------------------------------------------------------------


def test_there_and_back(home: Path, store: Store) -> None:
    before = keys.load(home)
    own = moved(home)
    assert own.vault_key == before.vault_key and own.vault.value is None
    assert not (folder(home) / "vault.key").exists()
    (entry,) = store.held
    assert entry[0] == "datacoop vault" and before.member[:16] in entry[1]
    assert before.vault_key.hex() not in (folder(home) / "vault.store").read_text()
    back = vault_key.to_file(folder(home), own.vault)
    assert back.read() == before.vault_key == keys.load(home).vault_key
    assert not store.held and not (folder(home) / "vault.store").exists()


def test_two_nodes_of_one_member_do_not_share_an_entry(
    home: Path, tmp_path: Path, store: Store
) -> None:
    other = Path(shutil.copytree(home, tmp_path / "other"))
    moved(home)
    moved(other)
    assert len(store.held) == 2


@pytest.mark.parametrize("fault", ["forgets", "locked"])
def test_the_file_stays_until_the_store_gives_the_key_back(
    home: Path, store: Store, fault: str
) -> None:
    before = keys.load(home).vault_key
    setattr(store, fault, True)
    with pytest.raises(LocalError, match=r"did not give back|cannot be used: it is locked"):
        moved(home)
    assert keys.load(home).vault_key == before and (folder(home) / "vault.key").exists()
    with pytest.raises(LocalError):
        vault_key.require_store()


def test_a_computer_without_a_key_store_says_so(home: Path, store: Store) -> None:
    keyring.set_keyring(NoKeyring())  # type: ignore[no-untyped-call]
    with pytest.raises(LocalError, match="cannot be used") as caught:
        vault_key.require_store()
    assert caught.value.code is Code.UNAVAILABLE and "file" in caught.value.fix


def test_an_entry_that_is_gone_is_told_when_rows_are_read(home: Path, store: Store) -> None:
    moved(home)
    store.held.clear()
    opened = keys.load(home)  # other commands go on without it
    with pytest.raises(LocalError, match="no key for this vault") as caught:
        _ = opened.vault_key
    assert "backup" in caught.value.fix


def test_a_backup_brings_the_key_out_of_the_store(home: Path, tmp_path: Path, store: Store) -> None:
    key = moved(home).vault_key
    saved = backup.backup(home, tmp_path / "b", PASSPHRASE, NOW, log2_n=14)
    assert "keys/vault.key" in saved.paths and "keys/vault.store" not in saved.paths
    store.held.clear()
    backup.restore(tmp_path / "b", tmp_path / "other", PASSPHRASE, NOW)
    assert keys.load(tmp_path / "other").vault.value == key


# --- a new key, interrupted at any step --------------------------------------------------------


@pytest.mark.parametrize("where", ["file", "os"])
@pytest.mark.parametrize("crash", ["begun", "sealed", "stored", "never"])
def test_a_change_of_the_key_is_finished_or_never_was(
    home: Path, store: Store, where: str, crash: str
) -> None:
    old = keys.load(home).vault_key
    own = moved(home) if where == "os" else keys.load(home)
    vault = Vault(home / "vault", old)
    new = vault_key.begin(folder(home))
    if crash != "begun":
        vault.rotate(lambda: new, lambda: None, NOW)
    if crash == "stored":  # the key is where it belongs, the note of the coming one still there
        if where == "os":
            store.held = dict.fromkeys(store.held, new.hex())
        else:
            vault_key.store(folder(home), vault_key.VaultKey(new))
    if crash == "never":
        vault_key.finish(folder(home), own.vault)
    opened = open_home(home)
    opened.vault().verify()
    expected = old if crash == "begun" else new
    assert opened.vault_key() == keys.load(home).vault_key == expected
    assert (vault_key.pending(folder(home)) is None) is (crash != "begun")
    assert (folder(home) / "vault.key").exists() is (where == "file")


# --- a renewal of the other keys ---------------------------------------------------------------


def test_keys_that_wait_for_a_renewal_have_the_vaults_key_of_now(home: Path, store: Store) -> None:
    own = keys.load(home)
    keys.create_next(home, own)
    waiting = home / keys.NEXT
    Vault(home / "vault", own.vault_key).rotate(
        lambda: vault_key.begin(folder(home)),
        lambda: vault_key.finish(folder(home), own.vault),
        NOW,
    )
    new = keys.load(home).vault_key
    assert new != own.vault_key
    assert keys.load_from(waiting).vault_key == new
    (waiting / "vault.key").unlink()  # a renewal that a release without the key began
    assert keys.load_from(waiting).vault_key == new
    moved(home)
    assert keys.load_from(waiting).vault_key == new
    assert not (waiting / "vault.key").exists() and (waiting / "vault.store").exists()
