"""The node's keys and their backup."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from node import backup as backups
from node import keys
from protocols.errors import Code, InputError, LocalError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 4, 1, 12, tzinfo=UTC)
PASSPHRASE = "five plain words in order"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def save(home: Path, target: Path) -> backups.Contents:
    return backups.backup(home, target, PASSPHRASE, NOW, log2_n=14)


def test_keys_read_back_and_are_private(home: Path) -> None:
    made = keys.create(home)
    assert keys.load(home) == made
    assert len({made.identity.seed, made.customer_secret, made.encryption}) == 3
    assert len(made.encryption_public) == 32
    if os.name != "nt":
        for name in (keys.IDENTITY, keys.CUSTOMER, keys.ENCRYPTION, keys.TLS_KEY):
            assert (home / keys.KEYS / name).stat().st_mode & 0o777 == 0o600
    for secret in (
        made.identity.seed.hex(),
        repr(made.customer_secret),
        repr(made.encryption),
        "PRIVATE",
    ):
        assert secret not in repr(made)


def test_the_request_names_the_member_and_is_signed(home: Path) -> None:
    made = keys.create(home)
    request = x509.load_pem_x509_csr(made.csr_pem)
    (name,) = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == made.member
    assert request.is_signature_valid
    assert request.public_key() == keys.tls_public(made)


def test_keys_are_never_overwritten(home: Path) -> None:
    made = keys.create(home)
    with pytest.raises(LocalError, match="never overwritten"):
        keys.create(home)
    assert keys.load(home) == made


def test_no_keys_says_what_to_do(home: Path) -> None:
    assert not keys.exist(home)
    with pytest.raises(LocalError, match="coop-node init") as caught:
        keys.load(home)
    assert caught.value.kind.exit_code == 4


def test_a_crash_while_making_leaves_no_keys(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(path: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        keys.create(home)
    monkeypatch.undo()
    assert not keys.exist(home)
    made = keys.create(home)
    assert keys.load(home) == made
    assert [one.name for one in home.iterdir()] == [keys.KEYS]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_a_secret_that_others_may_read_is_refused(home: Path) -> None:
    keys.create(home)
    (home / keys.KEYS / keys.IDENTITY).chmod(0o640)
    with pytest.raises(LocalError, match="mode 640") as caught:
        keys.load(home)
    assert "chmod 600" in caught.value.fix


@pytest.mark.parametrize("name", [keys.IDENTITY, keys.CUSTOMER, keys.TLS_KEY])
@pytest.mark.parametrize("content", [b"", b"zz", b"ab" * 31, b"\xff\xfe"])
def test_a_damaged_key_says_which(home: Path, name: str, content: bytes) -> None:
    keys.create(home)
    (home / keys.KEYS / name).write_bytes(content)
    with pytest.raises(LocalError, match="damaged") as caught:
        keys.load(home)
    assert caught.value.where.endswith(name)


def _furnish(home: Path) -> keys.NodeKeys:
    made = keys.create(home)
    (home / "coop.json").write_text("{}")
    (home / "house_rules.toml").write_text("min_cohort = 8\n")
    (home / "audit").mkdir()
    (home / "audit" / "entries.log").write_bytes(b"\0entries")
    (home / "vault").mkdir()
    (home / "vault" / "rows.parquet").write_bytes(b"rows" * 1000)
    with closing(sqlite3.connect(home / "node.db")) as raw, raw:
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("CREATE TABLE spent (run TEXT, round INTEGER)")
        raw.execute("INSERT INTO spent VALUES ('r', 1)")
    return made


def test_a_backup_brings_everything_back_but_the_rows(home: Path, tmp_path: Path) -> None:
    made = _furnish(home)
    file = tmp_path / "node.backup"
    # a committed row that is still in the write-ahead log of an open connection
    with closing(sqlite3.connect(home / "node.db", isolation_level=None)) as running:
        running.execute("INSERT INTO spent VALUES ('r', 2)")
        saved = save(home, file)
    assert "coop.json" in saved.paths and "audit/entries.log" in saved.paths
    assert not [name for name in saved.paths if name.startswith("vault")]
    other = tmp_path / "other"
    assert backups.restore(file, other, PASSPHRASE, LATER) == saved
    assert keys.load(other) == made
    assert (other / "audit" / "entries.log").read_bytes() == b"\0entries"
    assert (other / "house_rules.toml").read_text() == "min_cohort = 8\n", "never looser"
    with closing(sqlite3.connect(other / "node.db")) as raw:
        assert raw.execute("SELECT round FROM spent").fetchall() == [(1,), (2,)]
    assert not (other / "vault").exists()


def test_a_restored_node_knows_since_when(home: Path, tmp_path: Path) -> None:
    _furnish(home)
    save(home, tmp_path / "b")
    assert keys.restored_at(home) is None
    backups.restore(tmp_path / "b", tmp_path / "other", PASSPHRASE, LATER)
    assert keys.restored_at(tmp_path / "other") == LATER
    (tmp_path / "other" / keys.KEYS / keys.RESTORED).write_text("{}")
    with pytest.raises(LocalError, match="which rounds are spent"):
        keys.restored_at(tmp_path / "other")


def test_nothing_in_the_file_is_readable(home: Path, tmp_path: Path) -> None:
    made = _furnish(home)
    save(home, tmp_path / "b")
    raw = (tmp_path / "b").read_bytes()
    assert raw.startswith(b"datacoop-backup\n\x01")
    for secret in (b"PRIVATE KEY", made.identity.seed, made.identity.seed.hex().encode()):
        assert secret not in raw
    if os.name != "nt":
        assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    save(home, tmp_path / "c")
    assert (tmp_path / "c").read_bytes()[20:48] != raw[20:48]  # salt and nonce are fresh


def test_a_wrong_passphrase_has_its_sentence_and_changes_nothing(
    home: Path, tmp_path: Path
) -> None:
    _furnish(home)
    save(home, tmp_path / "b")
    with pytest.raises(InputError, match="passphrase does not open"):
        backups.restore(tmp_path / "b", tmp_path / "other", PASSPHRASE + " ", LATER)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("position", "says"),
    [
        (0, "not a backup"),
        (16, "version"),
        (17, "scrypt"),
        (19, "scrypt"),
        (20, "passphrase"),
        (47, "passphrase"),
        (-1, "passphrase"),
    ],
)
def test_every_byte_of_a_backup_counts(
    home: Path, tmp_path: Path, position: int, says: str
) -> None:
    _furnish(home)
    save(home, tmp_path / "b")
    raw = bytearray((tmp_path / "b").read_bytes())
    raw[position] ^= 0x80
    (tmp_path / "b").write_bytes(raw)
    with pytest.raises(InputError, match=says):
        backups.restore(tmp_path / "b", tmp_path / "other", PASSPHRASE, LATER)


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"datacoop-backup\n", b"PK\x03\x04" * 100):
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(InputError, match="not a backup"):
            backups.restore(tmp_path / "b", tmp_path / "other", PASSPHRASE, LATER)
    with pytest.raises(LocalError, match="No such file"):
        backups.restore(tmp_path / "absent", tmp_path / "other", PASSPHRASE, LATER)


@pytest.mark.parametrize("name", ["keys", "coop.json", "node.db"])
def test_a_restore_never_overwrites(home: Path, tmp_path: Path, name: str) -> None:
    _furnish(home)
    save(home, tmp_path / "b")
    other = tmp_path / "other"
    other.mkdir()
    (other / name).write_text("mine")
    with pytest.raises(LocalError, match="never overwrites") as caught:
        backups.restore(tmp_path / "b", other, PASSPHRASE, LATER)
    assert caught.value.code is Code.USAGE
    assert (other / name).read_text() == "mine"


@pytest.mark.parametrize("crash_at", range(1, 18))
def test_an_interrupted_restore_is_tried_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    made = _furnish(home)
    save(home, tmp_path / "b")
    other, calls, real = tmp_path / "other", 0, Path.replace

    def counted(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == crash_at:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "replace", counted)
    crashed = False
    try:
        backups.restore(tmp_path / "b", other, PASSPHRASE, LATER)
    except KeyboardInterrupt:
        crashed = True
    monkeypatch.undo()
    assert crashed == (crash_at <= 16)  # 11 files are written, 5 things are moved
    if crashed:
        assert not keys.exist(other)
        backups.restore(tmp_path / "b", other, PASSPHRASE, LATER)
    assert keys.load(other) == made
    assert (other / "coop.json").read_text() == "{}"
    assert not (other / ".restore.making").exists()


def test_a_backup_needs_a_passphrase_and_a_new_file(home: Path, tmp_path: Path) -> None:
    keys.create(home)
    with pytest.raises(InputError, match="11 characters"):
        backups.backup(home, tmp_path / "b", "x" * 11, NOW, log2_n=14)
    assert not (tmp_path / "b").exists()
    save(home, tmp_path / "b")
    with pytest.raises(InputError, match="exists already"):
        save(home, tmp_path / "b")


def test_a_backup_writes_no_file_outside_the_home(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.create(home)
    monkeypatch.setattr(backups, "_collect", lambda *_: {"../evil": b"x"})
    save(home, tmp_path / "b")
    with pytest.raises(InputError, match="no file of a node") as caught:
        backups.restore(tmp_path / "b", tmp_path / "other", PASSPHRASE, LATER)
    assert caught.value.code is Code.TAMPERED
    assert not (tmp_path / "evil").exists()


def test_the_usual_cost_is_high(home: Path, tmp_path: Path) -> None:
    keys.create(home)
    backups.backup(home, tmp_path / "b", PASSPHRASE, NOW)
    assert tuple((tmp_path / "b").read_bytes()[16:20]) == (1, 17, 8, 1)
    backups.restore(tmp_path / "b", tmp_path / "other", PASSPHRASE, LATER)
    note = json.loads((tmp_path / "other" / keys.KEYS / keys.RESTORED).read_text())
    assert note == {"made_at": NOW.isoformat(), "restored_at": LATER.isoformat()}
