"""``coop-node data add`` as a shopkeeper uses it: shown first, kept on a yes, nobody's name out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node import keys
from node.cli import data as data_cli
from node.cli.app import app
from node.cli.shell import run

VECTORS = Path(__file__).parents[1] / "vectors" / "imports"
Node = Callable[..., tuple[int, str, str]]
HEADER = "Date,Receipt no,Product,Category,Quantity,Total,Card id,Customer name,E-mail"
ROW = "2017-01-02,R{k},Milk,Dairy,1,1.50,CARD-77,Zebulon Quux,zeb@quux.example"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keys.create(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def node(home: Path, capsys: pytest.CaptureFixture[str]) -> Node:
    def call(*words: str) -> tuple[int, str, str]:
        code = run(app, ["--home", str(home), "data", "add", *words], "coop-node")
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    rows = [ROW.format(k=k) for k in range(150)] + ["2017-01-02,R,Milk,Dairy,many,1,,,"]
    path.write_text("\n".join([HEADER, *rows, HEADER, ""]), encoding="utf-8")
    return path


def contents(home: Path) -> dict[str, bytes]:
    return {str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file()}


def test_a_dry_run_says_everything_and_keeps_nothing(node: Node, home: Path, sales: Path) -> None:
    node(str(sales), "--dry-run", "--json")
    before = {name: data for name, data in contents(home).items() if "vault" in name}
    code, out, _ = node(str(sales), "--dry-run", "--json")
    said: dict[str, Any] = json.loads(out)
    assert code == 0 and {n: d for n, d in contents(home).items() if "vault" in n} == before
    assert (said["rows"], said["new"], said["here_already"], said["set_aside"]) == (151, 150, 0, 1)
    assert said["left_out"] == {"the header line again": 1}
    assert said["dropped"] == ["Customer name", "E-mail"]
    assert said["examples"] == [
        {
            "line": 152,
            "column": 5,
            "problem": "'Quantity': 'many' is not a number; expected one such as 12.50",
        }
    ]
    assert len(said["preview"]) == 20 and said["preview"][0]["Product"] == "Milk"
    for word in ("Zebulon", "quux", "CARD-77"):
        assert word not in out


def test_the_preview_in_text_names_nobody(node: Node, sales: Path) -> None:
    code, out, _ = node(str(sales), "--dry-run")
    assert code == 0 and "Of these 150 are new and 0 are here already." in out
    assert "Left out: 1 row (the header line again)." in out
    assert "Personal columns dropped at the door: Customer name, E-mail." in out
    assert "The first 20 rows:" in out and out.count("(dropped)") == 40
    assert out.count("(keyed)") == 20
    for word in ("Zebulon", "quux", "CARD-77"):
        assert word not in out


def test_on_a_terminal_what_is_dropped_is_struck_through(
    node: Node, sales: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "200", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    sales.write_text(sales.read_text().replace("Milk", "Mi\x9b31mlk", 1))
    out = node(str(sales), "--dry-run")[1]
    assert "\x1b[2;9mzeb@quux.example" in out.replace("\x1b[9;2m", "\x1b[2;9m")
    assert "\x9b" not in out


def test_a_file_is_kept_and_known_again(node: Node, home: Path, sales: Path) -> None:
    code, out, _ = node(str(sales), "--yes")
    assert code == 0 and "150 rows added, 0 were here already." in out
    assert "1 rows were set aside" in out
    before = contents(home)
    code, out, _ = node(str(sales), "--yes", "--json")
    said = json.loads(out)
    assert (code, said["rows_added"], said["duplicates"], said["already_known"]) == (
        0, 0, 150, True)  # fmt: skip
    assert contents(home).keys() == before.keys()
    for name, data in contents(home).items():
        for word in (b"Zebulon", b"quux", b"CARD-77"):
            assert word not in data, name


def test_no_is_no(node: Node, home: Path, sales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = node(str(sales))
    assert code == 2 and "asks for a yes" in err and "150 are new" in out
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda _: False)
    assert node(str(sales))[0] == 2
    assert json.loads(node(str(sales), "--dry-run", "--json")[1])["here_already"] == 0


def test_a_table_of_a_database(node: Node, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE sales (date TEXT, product TEXT, qty INT, total REAL)")
        db.execute("INSERT INTO sales VALUES ('2017-01-02', 'Milk', 1, 1.5)")
    db.close()
    url = f"sqlite:///{path}"
    code, out, _ = node("--sql", url, "--table", "sales", "--yes")
    assert code == 0 and "1 rows added" in out
    assert all(str(path).encode() not in data for data in contents(home).values())


def test_on_a_terminal_the_sheet_is_asked_for(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    book = str(VECTORS / "bad-two-sheets.xlsx")
    assert "--sheet 'January'" in node(book, "--dry-run")[2]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: 2)
    code, out, _ = node(book, "--dry-run")
    assert code == 0 and "2. February (2 rows)" in out and "sheet February" in out
    assert node(str(VECTORS / "good-till.csv"), "--dry-run")[0] == 0


def test_what_is_to_be_added_is_named_once(node: Node, sales: Path) -> None:
    for words in ((), ("--sql", "sqlite:///x"), ("--table", "x"), (str(sales), "--sql", "x")):
        code, _, err = node(*words, "--yes")
        assert code == 2 and "coop-node data add" in err, words


def test_the_password_comes_from_the_environment_or_the_keyboard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "postgresql://reader@localhost/shop"
    monkeypatch.setenv("COOP_SQL_PASSWORD", "geheim")
    assert data_cli._sql_password(url) == "geheim"
    monkeypatch.delenv("COOP_SQL_PASSWORD")
    assert data_cli._sql_password(url) == ""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda *_, **how: "typed" if how["hide_input"] else "")
    assert data_cli._sql_password(url) == "typed"
    assert data_cli._sql_password("sqlite:///x") == ""


def test_a_small_file_with_a_bad_row_is_kept_if_the_shopkeeper_says_so(
    node: Node, tmp_path: Path
) -> None:
    path = tmp_path / "small.csv"
    bad = "2017-01-02,R,Milk,Dairy,many,1,,,"
    path.write_text("\n".join([HEADER, ROW.format(k=1), ROW.format(k=2), bad, ""]))
    code, _, err = node(str(path), "--yes")
    assert code == 5 and "--max-bad-share" in err
    code, out, _ = node(str(path), "--yes", "--json", "--max-bad-share", "0.4")
    assert code == 0 and json.loads(out)["rows_added"] == 2
