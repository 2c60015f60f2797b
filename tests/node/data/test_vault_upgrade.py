"""A vault of layout 1, written by the release before and kept as it was: lifted, or left alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node.data.intake import add, preview
from node.data.lock import Lock
from node.data.vault import Vault
from protocols.errors import Code, LocalError

OLD = Path(__file__).parents[2] / "vectors" / "vault-1"
KEY, SECRET = bytes([5]) * 32, bytes(range(32))
NOW = datetime(2025, 1, 6, 12, tzinfo=UTC)
ASKED = (
    "SELECT business_date::VARCHAR, order_ref, sku, product, category_code, qty::VARCHAR, "
    "net::VARCHAR, customer_key, copy FROM sales_line ORDER BY ALL"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD / "vault", tmp_path / "vault"))


def expected() -> list[tuple[object, ...]]:
    return [tuple(row) for row in json.loads((OLD / "expected.json").read_text("utf-8"))["rows"]]


def content(folder: Path) -> dict[str, bytes]:
    held = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in held}


def test_every_row_is_sealed_and_nothing_plain_is_left(root: Path) -> None:
    vault = Vault(root, KEY)
    assert vault.query(ASKED) == expected()
    assert [(one.file_name, one.rows_added, one.duplicates) for one in vault.imports()] == [
        ("january.csv", 60, 0),
        ("june.csv", 30, 20),
    ]
    headers, (bad,) = vault.quarantined(vault.imports()[0].sha256)
    assert (bad.line, bad.place) == (62, 7) and "'many'" in bad.problem
    assert dict(zip(headers, bad.kept, strict=True))["SKU"] == "=1+1"
    held = content(root)
    assert len(held) == 4 and "manifest.json" not in held
    assert not [name for name, raw in held.items() if b"sku-" in raw or b"many" in raw]
    digest = vault.data_digest()
    assert Vault(root, KEY).data_digest() == digest and vault.verify() == 3


def test_the_same_files_again_are_the_same_lines(root: Path) -> None:
    vault = Vault(root, KEY)
    for name in ("january.csv", "june.csv"):
        done = add(vault, preview(OLD / name), SECRET, NOW)
        assert (done.rows_added, done.named, done.already_known) == (0, 0, True)
    assert vault.query(ASKED) == expected() and len(vault.imports()) == 2


def test_two_old_vaults_become_equal_ones(root: Path, tmp_path: Path) -> None:
    other = shutil.copytree(OLD / "vault", tmp_path / "other")
    assert Vault(root, KEY).data_digest() == Vault(other, bytes(32)).data_digest()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"v": 1', '"v": 4', "layout 4"),
        ('"rows": 60', '"rows": 61', "changed or damaged"),
        ('"files"', '"filez"', "cannot be read"),
        ("{", "", "cannot be read"),
    ],
)
def test_a_damaged_or_newer_vault_is_left_as_it_is(
    root: Path, old: str, new: str, says: str
) -> None:
    path = root / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    before = content(root)
    with pytest.raises(LocalError, match=says):
        Vault(root, KEY)
    assert content(root) == before


def test_a_changed_row_file_stops_the_upgrade(root: Path) -> None:
    path = root / "rows" / "000002-e0cb012d8191.parquet"
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(LocalError, match="missing or changed") as caught:
        Vault(root, KEY)
    assert caught.value.code is Code.TAMPERED and (root / "manifest.json").exists()
    assert not (root / "manifest.sealed").exists()


def test_an_upgrade_waits_for_nobody(root: Path) -> None:
    with Lock(root / "lock"), pytest.raises(LocalError, match="is running"):
        Vault(root, KEY)
    assert (root / "manifest.json").exists()


def test_a_crash_leaves_the_old_vault_or_the_new_one(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    def dying(real: Callable[..., object], left: list[int]) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            out = real(*args, **kwargs)
            left[0] -= 1
            if not left[0]:
                raise Crash
            return out

        return step

    ended = []
    for steps in range(1, 40):
        copy, left = Path(shutil.copytree(root, tmp_path / str(steps))), [steps]
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", dying(os.fsync, left))
            patch.setattr(Path, "replace", dying(Path.replace, left))
            patch.setattr(Path, "unlink", dying(Path.unlink, left))
            try:
                Vault(copy, KEY)
                crashed = False
            except Crash:
                crashed = True
        ended.append((copy / "manifest.sealed").exists())
        assert (copy / "manifest.json").exists() or ended[-1]
        assert Vault(copy, KEY).query(ASKED) == expected()
        assert len(content(copy)) == 4
        if not crashed:
            break
    assert not crashed and ended == sorted(ended) and 5 < ended.count(False) < 38
