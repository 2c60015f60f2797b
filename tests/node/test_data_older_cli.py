"""``coop-node data add`` with an export of orders that are here already."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node import keys
from node.cli import data as data_cli
from node.cli.app import app
from node.cli.shell import run

Node = Callable[..., tuple[int, str, str]]
HEADER = "id,Created (UTC),Amount,Currency,Status,Amount Refunded"


@pytest.fixture
def node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Node:
    keys.create(tmp_path / "home")

    def call(*words: str) -> tuple[int, str, str]:
        code = run(app, ["--home", str(tmp_path / "home"), "data", *words], "coop-node")
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture
def payments(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, *refunded: int) -> str:
        rows = [
            f"ch_{n},2025-03-0{n + 1} 10:00,20.00,eur,Paid,{amount}.00"
            for n, amount in enumerate(refunded)
        ]
        (tmp_path / name).write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_a_newer_export_is_announced_counted_and_written_down(
    node: Node, payments: Callable[..., str], tmp_path: Path
) -> None:
    assert node("add", payments("a.csv", 0, 5), "--yes")[0] == 0
    newer = payments("b.csv", 0, 9, 0)
    said: dict[str, Any] = json.loads(node("add", newer, "--dry-run", "--json")[1])
    assert (said["orders_changed"], said["lines_replaced"], said["older_than"]) == (1, 1, None)
    code, out, _ = node("add", newer, "--yes")
    assert code == 0
    assert "1 orders changed since they were added: 1 of their lines go and 1 come." in out
    assert "1 orders are not what they were: 1 of their lines went." in out
    listed = json.loads(node("list", "--json")[1])
    assert listed["imports"][-1]["lines_replaced"] == 1


def test_an_older_export_is_refused_without_an_answer(
    node: Node, payments: Callable[..., str]
) -> None:
    older = payments("old.csv", 0, 5)
    node("add", payments("new.csv", 0, 9, 0), "--yes")
    said = json.loads(node("add", older, "--dry-run", "--json")[1])
    assert said["older_than"] == "new.csv"
    code, out, error = node("add", older, "--yes")
    assert code == 5 and "--older keep" in error and "2025-03-02" in error
    assert "Careful: this export ends on 2025-03-02" in out
    assert node("add", older, "--yes", "--older", "perhaps")[0] == 5
    code, out, _ = node("add", older, "--yes", "--older", "keep")
    assert code == 0 and "1 rows of orders that are newer here were left out." in out
    code, out, _ = node("add", older, "--yes", "--older", "replace", "--json")
    assert code == 0 and json.loads(out)["lines_replaced"] == 1


def test_on_a_terminal_it_is_a_question(
    node: Node, payments: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    older = payments("old.csv", 0, 5)
    node("add", payments("new.csv", 0, 9, 0), "--yes")
    asked: list[str] = []

    def prompt(text: str, **_: Any) -> str:
        asked.append(text)
        return "keep"

    monkeypatch.setattr("typer.prompt", prompt)
    monkeypatch.setattr(data_cli, "confirm", lambda *_: None)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    code, out, _ = node("add", older)
    assert code == 0 and asked == ["Which one"]
    assert "1 rows of orders that are newer here were left out." in out
