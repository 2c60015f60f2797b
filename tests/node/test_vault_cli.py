"""``coop-node vault``, ``data retention`` and ``data quarantine`` as a shopkeeper uses them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from node import keys
from node.cli.app import app
from node.cli.shell import run
from node.policy.journal import Folder
from protocols.audit.entries import Kind, decode

Node = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node with 200 lines of 2015, and two that cannot be used."""
    folder = tmp_path_factory.mktemp("made")
    keys.create(folder / "home")
    rows = [f"2015-{1 + k % 12:02d}-{1 + k % 28:02d},R{k},A,1,2.00,C{k % 9}" for k in range(200)]
    rows += ['2015-02-30,R1,"=HYPERLINK(""x"")",1,2.00,C1', "2015-02-01,R2,A,many,2.00,C2"]
    sales = folder / "sales.csv"
    sales.write_text("\n".join(["date,receipt,category,qty,total,customer", *rows, ""]), "utf-8")
    words = ("--home", str(folder / "home"), "--quiet", "data", "add", str(sales), "--yes")
    assert run(app, words, "coop-node") == 0
    return folder / "home"


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


@pytest.fixture
def shop(home: Path, capsys: pytest.CaptureFixture[str]) -> Node:
    def call(*words: str) -> tuple[int, str, str]:
        code = run(app, ["--home", str(home), *words], "coop-node")
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def journal(home: Path) -> list[tuple[str, dict[str, object]]]:
    lines = Folder(home / "audit").lines(0)
    found = [decode(line.removesuffix(b"\n"), "journal") for line in lines]
    return [(one.kind, dict(one.facts)) for one in found if one.kind in (Kind.PURGE, Kind.KEY)]


def test_status_and_verify(shop: Node) -> None:
    code, out, _ = shop("vault", "status")
    assert code == 0 and "a file (keys/vault.key)" in out and "Rows set aside: 2" in out
    document = json.loads(shop("vault", "status", "--json")[1])
    assert document["tables"]["sales_line"]["rows"] == 200 and document["removals"] == []
    assert shop("vault", "verify")[1] == "All 2 files are as they were written.\n"


def test_retention_then_purge(shop: Node, home: Path) -> None:
    code, out, _ = shop("data", "retention")
    assert code == 0 and "retention_days_sales_line" in out and "1826" in out
    (home / "config.toml").write_text("retention_days_sales_line = 36500\n")
    assert shop("vault", "purge", "--by-retention")[1].endswith("Nothing is too old.\n")
    code, out, _ = shop("vault", "purge", "--before", "2015-03-01", "--dry-run", "--json")
    dry = json.loads(out)
    assert dry["dry_run"] and dry["rows_sales_line"] == 34 and not journal(home)
    (home / "config.toml").write_text("")
    assert shop("vault", "purge", "--by-retention", "--yes")[0] == 0
    ((kind, facts),) = journal(home)
    assert kind == "purge" and facts["rows_sales_line"] == 200
    assert json.loads(shop("vault", "status", "--json")[1])["tables"]["sales_line"]["rows"] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say which rows"),
        (("--before", "2015-01-01", "--by-retention"), "say which rows"),
        (("--before", "1 May"), "is not a day"),
        (("--before", "2999-01-01"), "in the future"),
        (("--before", "2015-03-01"), "asks for a yes"),
    ],
)
def test_a_purge_is_asked_for_exactly(shop: Node, words: tuple[str, ...], says: str) -> None:
    code, _, err = shop("vault", "purge", *words)
    assert code in (2, 5) and says in err
    assert json.loads(shop("vault", "status", "--json")[1])["tables"]["sales_line"]["rows"] == 200


def test_a_new_key(shop: Node, home: Path) -> None:
    before = keys.load(home).vault_key
    code, out, _ = shop("vault", "rotate-key", "--yes")
    assert code == 0 and "2 files were sealed again" in out and "backup" in out
    assert keys.load(home).vault_key != before and shop("vault", "verify")[0] == 0
    ((kind, facts),) = journal(home)
    assert kind == "key" and (facts["what"], facts["files"]) == ("changed", 2)
    assert sorted(path.name for path in (home / "keys").glob("vault*")) == ["vault.key"]
    keys.create_next(home, keys.load(home))
    code, _, err = shop("vault", "rotate-key", "--yes")
    assert code == 2 and "renewal" in err


def test_without_a_key_store_the_key_stays_in_its_file(
    shop: Node, home: Path, tmp_path: Path
) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())  # type: ignore[no-untyped-call]
    try:
        code, _, err = shop("vault", "key", "--to", "os")
        assert code == 75 and "cannot be used" in err and (home / "keys" / "vault.key").exists()
        other = tmp_path / "other"
        code = run(app, ["--home", str(other), "init", "--key-store", "os"], "coop-node")
        assert code == 75 and not (other / "keys").exists()
    finally:
        keyring.set_keyring(before)
    assert "a file" in shop("vault", "key")[1]
    assert shop("vault", "key", "--to", "cloud")[0] == 2


def test_rows_set_aside_are_shown_and_exported(shop: Node, tmp_path: Path) -> None:
    code, out, _ = shop("data", "quarantine", "list")
    assert code == 0 and "sales.csv: 2 rows" in out and "line 203" in out
    listed = json.loads(shop("data", "quarantine", "list", "--json")[1])
    assert [row["line"] for row in listed["files"][0]["rows"]] == [202, 203]
    target = tmp_path / "bad.csv"
    assert shop("data", "quarantine", "export", "sales.csv", str(target))[0] == 0
    with target.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header[:3] == ["line", "column", "problem"] and len(rows) == 2
    assert rows[0][header.index("category")] == '\'=HYPERLINK("x")'
    assert "customer" not in header and "C1" not in target.read_text("utf-8-sig")
    assert shop("data", "quarantine", "export", "sales.csv", str(target))[0] == 5
    assert shop("data", "quarantine", "export", "other.csv", str(tmp_path / "x"))[0] != 0
