"""``coop-node consent`` as a shopkeeper uses it; no customer's number in any file of the node."""

from __future__ import annotations

import json
import re
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

COMMANDS = ("import", "export", "receipt", "status", "basis", "withdraw", "verify", "prove")

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
    out = shop("consent", "status")[1]
    assert re.search(r"decided: legitimate-interest on [-0-9]{10} \(LIA-1\), then consent on", out)


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


def test_records_receipt_and_verification(shop: Node, tmp_path: Path) -> None:
    text = tmp_path / "notice.txt"
    text.write_text("May we count your visits?", encoding="utf-8")
    shop("consent", "import", granted(tmp_path), "--yes", "--wording", str(text))
    shop("consent", "withdraw", NUMBERS[3], "train:demand", "--as", "objected")
    (seen,) = status(shop)["texts"]
    assert (seen["grants"], seen["known"]) == (30, False)
    assert "31 answers; what counts now follows" in shop("consent", "verify")[1]
    file = tmp_path / "records.json"
    code, out, _ = shop("consent", "export", str(file), "--format", "iso27560")
    assert code == 0 and "31 consent records" in out and file.stat().st_mode & 0o077 == 0
    assert len(json.loads(file.read_text())["records"]) == 31
    receipt = tmp_path / "receipt.json"
    assert "about 2 purposes" in shop("consent", "receipt", NUMBERS[3], str(receipt))[1]
    found = json.loads(receipt.read_text())
    assert [one["state"] for one in found["records"]] == ["active", "objected"]
    assert NUMBERS[3] not in receipt.read_text() + file.read_text()
    assert shop("consent", "receipt", NUMBERS[3], str(receipt))[0] == 5
    assert shop("consent", "receipt", " ", str(tmp_path / "x"))[0] == 2


def test_a_yes_grows_old_by_the_stricter_of_setting_and_house_rule(
    shop: Node, home: Path, tmp_path: Path
) -> None:
    shop("consent", "import", granted(tmp_path), "--yes")  # of 2025-01-01
    assert status(shop)["customers_read"] == 30
    (home / "config.toml").write_text("consent_max_age_days = 3650\n", encoding="utf-8")
    assert status(shop)["customers_read"] == 30
    (home / "house_rules.toml").write_text("consent_max_age_days = 30\n", encoding="utf-8")
    assert status(shop)["customers_read"] == 0
    (home / "house_rules.toml").write_text("consent_max_age_days = 0\n", encoding="utf-8")
    code, _, err = shop("consent", "status")
    assert code == 5 and "from 1 to 3650" in err


def test_proving_a_run_that_is_not_here(shop: Node, tmp_path: Path) -> None:
    code, _, err = shop("consent", "prove", "3f9a")
    assert code == 1 and "0 runs that have read rows here begin with" in err
    assert shop("consent", "prove", "3f9a", "--customer", NUMBERS[0])[0] == 2


def test_tokens_of_the_local_door(node: Node, home: Path) -> None:
    assert "endpoint token new webshop" in node("endpoint", "token", "list")[1]
    code, out, _ = node("endpoint", "token", "new", "webshop", "--expires", "30")
    assert code == 0 and "not shown again" in out
    text = next(line for line in out.splitlines() if line.startswith("coop_"))
    assert not [
        path for path in home.rglob("*") if path.is_file() and text.encode() in path.read_bytes()
    ]
    assert node("endpoint", "token", "new", "webshop")[0] == 5
    code, out, _ = node("endpoint", "token", "list", "--json")
    (one,) = json.loads(out)["tokens"]
    assert one["good"] and one["name"] == "webshop" and "hash" not in out
    assert "good no more" in node("endpoint", "token", "revoke", one["id"])[1]
    assert node("endpoint", "token", "revoke", "webshop")[0] == 1
    assert not json.loads(node("endpoint", "token", "list", "--json")[1])["tokens"][0]["good"]


def test_serving_says_where_and_how(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.endpoint.server.LocalDoor.run", lambda door: door._close())
    monkeypatch.setattr("node.cli.endpoint.PORT", 0)
    code, out, err = node("endpoint", "serve")
    assert code == 0 and "The door is open at http://127.0.0.1:" in out
    assert "/v1/withdraw -H 'Authorization: Bearer TOKEN'" in err


def test_help_has_an_example_for_every_command(node: Node) -> None:
    for command in COMMANDS:
        code, out, _ = node("consent", command, "--help")
        assert code == 0 and f"Example: coop-node consent {command}" in " ".join(out.split())
