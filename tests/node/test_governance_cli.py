"""``people``, ``requests``, ``--as`` and damaged ledgers, as a shopkeeper meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from node import keys
from node.cli.app import app
from node.cli.shell import run
from node.policy.ledgers import FILE

Node = Callable[..., tuple[int, str, str]]
SECRET = "correct horse"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keys.create(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def node(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr("node.policy.people.LOG2_N", 4)
    monkeypatch.setattr("node.policy.people.SLOW_S", 0.0)
    monkeypatch.setenv("NEW", SECRET)

    def call(*words: str, passphrase: str | None = None) -> tuple[int, str, str]:
        if passphrase is None:
            monkeypatch.delenv("COOP_PASSPHRASE", raising=False)
        else:
            monkeypatch.setenv("COOP_PASSPHRASE", passphrase)
        code = run(app, ["--home", str(home), *words], "coop-node")
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def add(node: Node, name: str, role: str, *, by: str = "") -> None:
    who = ("--as", by) if by else ()
    words = ("people", "add", name, "--role", role, "--passphrase-env", "NEW")
    code, _, err = node(*who, *words, passphrase=SECRET if by else None)
    assert code == 0, err


def test_people_are_added_listed_and_asked_for(node: Node, home: Path) -> None:
    assert "acts as the owner" in node("people", "list")[1]
    add(node, "Ada", "owner")
    add(node, "Vera", "viewer", by="Ada")
    code, out, _ = node("people", "list", "--json")
    assert code == 0
    assert {one["name"]: one["role"] for one in json.loads(out)["people"]} == {
        "Ada": "owner",
        "Vera": "viewer",
    }
    code, _, err = node("requests", "open", "--kind", "erase", "--customer", "4711")
    assert code == 2
    assert "say who you are" in err
    words = ("requests", "open", "--kind", "erase", "--customer", "4711", "--json")
    code, _, err = node("--as", "Vera", *words, passphrase=SECRET)
    assert code == 3
    assert "viewer may not answer requests of customers" in err
    code, _, err = node("--as", "Ada", *words, passphrase="wrong words")
    assert code == 1
    assert "do not fit" in err
    code, out, _ = node("--as", "Ada", *words, passphrase=SECRET)
    assert code == 0
    made = json.loads(out)
    log = [json.loads(line) for line in (home / "audit" / "log.jsonl").read_text().splitlines()]
    (entry,) = [one["facts"] for one in log if one["kind"] == "request"]
    assert entry["role"] == "owner" and len(entry["by"]) == 8 and entry["request"] == made["id"]
    assert "Ada" not in (home / "audit" / "log.jsonl").read_text()


def test_a_request_goes_its_way(node: Node) -> None:
    code, out, err = node(
        "requests", "open", "--kind", "access", "--customer", "9", "--received", "2020-01-01"
    )
    assert code == 0, err
    name = out.split()[1]
    assert "OVERDUE" in node("requests", "list")[1]
    assert node("requests", "extend", name, "--reason", "late")[0] == 5
    assert node("requests", "close", name, "--how", "sent by letter")[0] == 0
    assert "No customer waits" in node("requests", "list")[1]
    assert "closed on" in node("requests", "list", "--all")[1]
    code, _, err = node(
        "requests", "open", "--kind", "access", "--customer", "9", "--received", "2999-01-01"
    )
    assert code == 5
    assert "has not come yet" in err


def test_the_last_owner_stays_and_a_lost_passphrase_is_no_lock_out(node: Node) -> None:
    add(node, "Ada", "owner")
    code, _, err = node("--as", "Ada", "people", "remove", "Ada", "--yes", passphrase=SECRET)
    assert code == 5
    assert "last owner" in err
    assert node("people", "reset", "--yes")[0] == 0
    assert "acts as the owner" in node("people", "list")[1]


def test_a_database_that_is_gone_stops_every_command_that_needs_it(
    node: Node, home: Path, tmp_path: Path
) -> None:
    add(node, "Ada", "owner")
    for one in home.glob("node.db*"):
        one.unlink()
    for words in (
        ("people", "list"),
        ("requests", "list"),
        ("consent", "status"),
        ("data", "add", "sales.csv"),
    ):
        code, _, err = node(*words)
        assert code == 5, (words, err)
        assert "missing or empty" in err
        assert "restore" in err
    assert not (home / FILE).exists()
    secret = tmp_path / "secret"
    secret.write_text("five words or even six")
    code, _, err = node("backup", str(tmp_path / "b"), "--passphrase-file", str(secret))
    assert code == 0, err
    assert "nobody's role is known" in err
    new = tmp_path / "new"
    code, _, err = node(
        "--home", str(new), "restore", str(tmp_path / "b"), "--passphrase-file", str(secret)
    )
    assert code == 0, err
    code, out, err = node("--home", str(new), "people", "list")
    assert code == 0, err
    assert "acts as the owner" in out
