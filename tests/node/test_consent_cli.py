"""``coop-node consent`` as a shopkeeper uses it; no customer's number in any file of the node."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node import keys
from node.cli.app import app
from node.cli.shell import run
from node.data.values import customer_key
from node.data.vault import Vault

SCOPE = "train:churn"
NUMBERS = tuple(f"Kundin-{k:05d}" for k in range(30))

Node = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keys.create(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def node(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr("node.house.customer_purposes", lambda: frozenset({SCOPE}))

    def call(*words: str) -> tuple[int, str, str]:
        code = run(app, ["--home", str(home), *words], "coop-node")
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture
def shop(node: Node, tmp_path: Path) -> Node:
    """A node with a year of sales: 30 customers, a third of the lines without one."""
    rows = [
        f"2025-{1 + k % 12:02d}-{1 + k % 28:02d},R{k},A,1,2.00,"
        f"{NUMBERS[k // 3 % 30] if k % 3 else ''}"
        for k in range(900)
    ]
    sales = tmp_path / "sales.csv"
    sales.write_text(
        "\n".join(["date,receipt,category,qty,total,customer", *rows, ""]), encoding="utf-8"
    )
    assert node("data", "add", str(sales), "--yes")[0] == 0
    return node


def answers(folder: Path, *lines: str) -> str:
    path = folder / "answers.csv"
    text = "\n".join(["customer,scope,state,at,source", *lines, ""])
    path.write_text(text, encoding="utf-8")
    return str(path)


def granted(folder: Path) -> str:
    return answers(folder, *(f"{number},{SCOPE},granted,2025-01-01,till" for number in NUMBERS))


def status(node: Node) -> dict[str, Any]:
    code, out, _ = node("consent", "status", "--json")
    assert code == 0
    found = {one["scope"]: one for one in json.loads(out)["scopes"]}
    assert found["train:demand"]["basis"] == "no-customers"
    one = found[SCOPE]
    assert isinstance(one, dict)
    return one


def test_from_nobody_to_everybody_and_one_less(shop: Node, tmp_path: Path) -> None:
    found = status(shop)
    assert (found["customers_read"], found["basis"], found["counts"]) == (0, "consent", {})
    file = granted(tmp_path)
    code, out, _ = shop("consent", "import", file, "--dry-run")
    assert code == 0 and "30 granted" in out and "nothing was entered" in out
    assert status(shop)["customers_read"] == 0
    code, out, _ = shop("consent", "import", file, "--yes")
    assert code == 0 and "30 answers entered, 0 were here already" in out
    assert "0 answers entered, 30 were" in shop("consent", "import", file, "--yes")[1]
    assert status(shop)["customers_read"] == 30
    code, out, _ = shop("consent", "withdraw", NUMBERS[3], SCOPE)
    assert code == 0 and "not read for train:churn any more" in out
    found = status(shop)
    assert found["customers_read"] == 29
    assert found["counts"] == {"granted": 29, "withdrawn": 1}
    assert found["grants_without_wording"] == 30
    assert [one["rule"] for one in found["findings"]] == ["without_customer"]


def test_status_in_words(shop: Node, tmp_path: Path) -> None:
    out = shop("consent", "status")[1]
    assert "Nobody has said anything yet" in out and "Health: 0 of 100" in out
    shop("consent", "import", granted(tmp_path), "--yes")
    out = shop("consent", "status")[1]
    assert "on the basis of consent, the purchases of 30 customers are read" in out
    assert "300 of 900 lines name no customer" in out
    assert "do not say which text the customer saw" in out


def test_the_text_customers_saw(shop: Node, tmp_path: Path) -> None:
    text = tmp_path / "notice.txt"
    text.write_text("May we count your visits?", encoding="utf-8")
    shop("consent", "import", granted(tmp_path), "--yes", "--wording", str(text))
    assert status(shop)["grants_without_wording"] == 0


def test_a_legitimate_interest(shop: Node) -> None:
    words = ("consent", "basis", SCOPE, "legitimate-interest")
    code, _, err = shop(*words, "--yes")
    assert code == 5 and "assessment" in err
    code, _, err = shop(*words, "--assessment", "LIA-1")
    assert code == 2 and "every customer who did not object" in err  # nobody there to say yes
    assert status(shop)["customers_read"] == 0
    assert shop(*words, "--assessment", "LIA-1", "--yes")[0] == 0
    assert status(shop)["customers_read"] == 30
    shop("consent", "withdraw", NUMBERS[0], SCOPE, "--as", "objected")
    found = status(shop)
    assert (found["customers_read"], found["assessment"]) == (29, "LIA-1")
    assert "a legitimate interest (assessment LIA-1)" in shop("consent", "status")[1]
    assert shop("consent", "basis", SCOPE, "consent")[0] == 0
    assert status(shop)["customers_read"] == 0


def test_mistakes_are_told_with_their_place(shop: Node, tmp_path: Path) -> None:
    code, _, err = shop("consent", "withdraw", NUMBERS[0], "train:chrun")
    assert code == 5 and SCOPE in err
    code, out, _ = shop("consent", "withdraw", "no such number", SCOPE)
    assert code == 0 and "check the number" in out
    file = answers(tmp_path, f"{NUMBERS[0]},{SCOPE},perhaps,2025-01-01,till")
    code, _, err = shop("consent", "import", file, "--yes")
    assert code == 5 and "answers.csv:2" in err and NUMBERS[0] not in err
    code, out, _ = shop("consent", "import", file, "--json", "--yes")
    assert code == 5 and json.loads(out)["error"]["where"] == "answers.csv:2:1"


def test_export_and_import(shop: Node, tmp_path: Path) -> None:
    shop("consent", "import", granted(tmp_path), "--yes")
    copy = tmp_path / "copy.csv"
    code, out, _ = shop("consent", "export", str(copy))
    text = copy.read_text(encoding="utf-8")
    assert code == 0 and "30 answers" in out
    assert text.count("\n") == 31 and NUMBERS[0] not in text
    assert "0 answers entered, 30" in shop("consent", "import", str(copy), "--yes")[1]
    assert shop("consent", "export", str(copy))[0] == 5


def test_no_number_of_a_customer_in_any_file(shop: Node, home: Path, tmp_path: Path) -> None:
    shop("consent", "import", granted(tmp_path), "--yes")
    shop("consent", "withdraw", NUMBERS[7], SCOPE)
    shop("consent", "import", answers(tmp_path, f"{NUMBERS[1]},x,granted,2025,till"), "--yes")
    shop("consent", "status")
    key = customer_key(keys.load(home).customer_secret, NUMBERS[7])
    assert key is not None
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {"node.db", "manifest.sealed", "customer.key"} <= {path.name for path in files}
    content = {path: path.read_bytes() for path in files}
    for path, held in content.items():
        for part in (b"kundin", b"Kundin", "Kundin".encode("utf-16-le"), b"00007"):
            assert part not in held, path
        if path.parent.name == "audit":
            assert key.encode() not in held and bytes.fromhex(key) not in held, path
    # the search would find it: the key itself lies in the ledger, and in the sealed vault
    assert any(bytes.fromhex(key) in held for held in content.values())
    assert not any(key.encode() in held for held in content.values())
    vault = Vault(home / "vault", keys.load(home).vault_key)
    assert vault.query("SELECT count(*) FROM sales_line WHERE customer_key = ?", [key]) > [(0,)]


def test_help_has_an_example_for_every_command(node: Node) -> None:
    for command in ("import", "export", "status", "basis", "withdraw"):
        code, out, _ = node("consent", command, "--help")
        assert code == 0 and f"Example: coop-node consent {command}" in " ".join(out.split())
