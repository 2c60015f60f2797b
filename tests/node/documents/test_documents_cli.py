"""``documents``, ``notice`` and ``inventory`` as a shopkeeper uses them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import small_coop
from joined_home import join, sign
from node import backup, keys
from node.cli.app import app
from node.cli.shell import run
from node.documents import facts, shop
from node.house import open_home
from protocols.agreement.template import amend
from small_shop import FIGURES

TREE: Any = get_command(app)  # built once: every command of the program hangs in it
Node = Callable[..., tuple[int, str, str]]
ANSWERS = (
    "--name", "Café Zoë", "--owner", "Zoë Świerczyńska", "--address", "Marktplatz 1, Berlin",
    "--email", "zoe@cafe.example", "--country", "DE", "--dpo", "none", "--authority",
    "Berliner Beauftragte", "--helpers", "nobody", "--backups", "the safe",
)  # fmt: skip
DPIA = [
    f"--answer={key}=Said."
    for key in ("without_personal_data", "views", "dpo_advice", "proportion", "residual", "review")
]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop that joined, signed, answered everything and has some sales; made once, copied."""
    folder = tmp_path_factory.mktemp("ready")
    home = folder / "home"
    keys.create(home)
    join(home, small_coop.agreement(**FIGURES))

    def call(*words: str) -> tuple[int, str, str]:
        return run(TREE, ["--home", str(home), *words], "coop-node"), "", ""

    assert call("inventory", "setup", *ANSWERS, *DPIA)[0] == 0
    sales(call, folder / "sales.csv", 40)
    return home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keys.create(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def node(home: Path, capsys: pytest.CaptureFixture[str]) -> Node:

    def call(*words: str) -> tuple[int, str, str]:
        code = run(TREE, ["--home", str(home), *words], "coop-node")
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture
def joined(node: Node, home: Path, ready: Path) -> Node:
    """A copy of the shop that is ready."""
    shutil.rmtree(home)
    shutil.copytree(ready, home)
    return node


def sales(node: Node, path: Path, count: int) -> None:
    rows = [f"2025-01-{1 + n % 28:02d},R{n},A,1,2.00,K{n % 7}" for n in range(count)]
    path.write_text("\n".join(["date,receipt,category,qty,total,customer", *rows, ""]))
    code, _, err = node("data", "add", str(path), "--yes")
    assert code == 0, err


def journal(home: Path) -> list[dict[str, Any]]:
    lines = (home / "audit" / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def made(node: Node, *words: str) -> dict[str, Any]:
    code, out, err = node("documents", "make", *words, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def checked(node: Node) -> dict[str, Any]:
    _, out, _ = node("documents", "check", "--json")
    return {one["name"]: one for one in json.loads(out)["documents"]}


def test_an_empty_node_has_an_inventory_and_a_record(node: Node, home: Path) -> None:
    code, out, _ = node("inventory")
    assert code == 0 and "coop-node data add FILE" in out and "coop-node join" in out
    assert "Nothing was made yet" in node("documents", "list")[1]
    code, out, err = node("documents", "make", "all", "--format", "md")
    assert code == 0 and "without notice and essence" in err
    assert "30(1)(a)" in out and "coop-node inventory setup" in out
    code, _, err = node("documents", "make", "notice")
    assert code == 5 and "agreement that you signed" in err


def test_everything_is_made_listed_and_right(joined: Node, home: Path) -> None:
    found = made(joined, "all", "--locale", "en")
    assert found["missing"] == {}
    names = {one["name"].partition(".")[0] for one in found["written"]}
    assert names == {"notice", "essence", "record", "dpia", "transparency"}
    folder = home / "documents"
    for one in found["written"]:
        for name, digest in one["files"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    if os.name != "nt":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}
    entries = [one["facts"] for one in journal(home) if one["kind"] == "document"]
    assert {(one["document"], one["id"]) for one in entries} == {
        (one["name"], one["id"]) for one in found["written"]
    }
    assert joined("documents", "check")[0] == 0
    assert "notice.en" in joined("documents", "list")[1]


def test_making_again_changes_nothing(joined: Node, home: Path) -> None:
    made(joined, "notice", "transparency")
    before = {path: path.read_bytes() for path in (home / "documents").iterdir()}
    lines = len(journal(home))
    again = made(joined, "notice", "transparency")
    assert not any(one["new"] for one in again["written"])
    assert {path: path.read_bytes() for path in (home / "documents").iterdir()} == before
    assert len(journal(home)) == lines


def test_what_changed_since_is_named(joined: Node, home: Path, tmp_path: Path) -> None:
    made(joined, "all", "--format", "md")
    joined("inventory", "setup", "--phone", "030 1")
    found = checked(joined)
    assert {name: one["changed_since"] for name, one in found.items()} == {
        "dpia": [],
        "essence.en": ["shop.toml"],
        "notice.en": ["shop.toml"],
        "record": ["shop.toml"],
        found_report(found): [],
    }
    made(joined, "all", "--format", "md")
    sales(joined, tmp_path / "more.csv", 60)
    found = checked(joined)
    assert found["notice.en"]["changed_since"] == [] and found["record"]["changed_since"] == []
    assert "rows" in found["dpia"]["changed_since"]
    assert "the log" in found[found_report(found)]["changed_since"]
    sign(home, amend(small_coop.agreement(**FIGURES), "c12", {"answer_days": 14}))
    assert checked(joined)["notice.en"]["changed_since"] == ["agreement", "rows"]
    assert joined("documents", "check")[0] == 1


def found_report(found: dict[str, Any]) -> str:
    return next(name for name in found if name.startswith("transparency"))


def test_a_period_that_was_not_kept_is_reported(joined: Node, home: Path) -> None:
    (home / "config.toml").write_text("retention_days_sales_line = 30\n")
    assert "vault purge --by-retention" in joined("inventory")[1]
    found = made(joined, "notice", "--format", "md")
    assert [one["item"] for one in found["missing"]["notice.en"]] == ["13(2)(a)"]
    assert "for 30 days" in (home / "documents" / "notice.en.txt").read_text()


def test_a_file_that_was_changed_is_named_and_made_again(joined: Node, home: Path) -> None:
    made(joined, "record", "--format", "md,html")
    path = home / "documents" / "record.md"
    path.write_text("something else")
    (home / "documents" / "record.html").unlink()
    assert checked(joined)["record"]["altered_files"] == ["record.html", "record.md"]
    assert made(joined, "record", "--format", "md,html")["written"][0]["new"]
    assert checked(joined)["record"]["altered_files"] == []


def test_check_writes_nothing_while_something_is_missing(joined: Node, home: Path) -> None:
    joined("inventory", "setup", "--authority", "")
    code, out, _ = joined("documents", "make", "notice", "--check", "--format", "md")
    assert code == 5 and "13(2)(d)" in out
    assert not (home / "documents").exists()
    joined("inventory", "setup", "--authority", "Berliner Beauftragte")
    assert joined("documents", "make", "notice", "--check", "--format", "md")[0] == 0


def test_a_made_notice_takes_the_agreed_text_along(joined: Node, home: Path) -> None:
    found = made(joined, "notice", "--format", "md")["written"][0]
    text = (home / "documents" / "notice.en.txt").read_bytes()
    assert hashlib.sha256(text).hexdigest() == found["text"]
    listed = json.loads(joined("notice", "list", "--json")[1])["texts"]
    assert [one["in_use_since"] for one in listed] == [None, None]
    code, out, err = joined("notice", "adopt", "notice.en", "--yes")
    assert code == 0, err
    assert found["text"][:16] in out
    listed = json.loads(joined("notice", "list", "--json")[1])["texts"]
    assert all(one["in_use_since"] for one in listed)
    assert {one["made"] for one in listed} == {None, "notice.en"}
    assert joined("notice", "show", "notice.en")[1].encode().startswith(text[:40])
    adopted = [one["facts"]["text"] for one in journal(home) if one["kind"] == "notice"]
    assert found["text"] in adopted and len(adopted) == 2
    joined("inventory", "setup", "--phone", "030 1")
    made(joined, "notice", "--format", "md")
    assert checked(joined)["notice.en"]["older_shown"] is True
    assert joined("documents", "check")[0] == 1
    assert joined("notice", "drop", found["text"][:12])[0] == 0
    listed = json.loads(joined("notice", "list", "--json")[1])["texts"]
    assert not any(one["in_use_since"] for one in listed)
    assert checked(joined)["notice.en"]["older_shown"] is False


def test_the_made_notice_is_the_wording_of_a_consent(
    joined: Node, home: Path, tmp_path: Path
) -> None:
    found = made(joined, "notice", "--format", "md")["written"][0]
    assert joined("notice", "adopt", "notice.en", "--yes")[0] == 0
    answers = tmp_path / "answers.csv"
    answers.write_text("customer,scope,state,at,source\nK1,train:churn,granted,2025-02-01,till\n")
    text = home / "documents" / "notice.en.txt"
    code, _, err = joined("consent", "import", str(answers), "--wording", str(text), "--yes")
    assert code == 0, err
    scopes = json.loads(joined("consent", "status", "--json")[1])["scopes"]
    (churn,) = [one for one in scopes if one["scope"] == "train:churn"]
    (seen,) = churn["texts"]
    assert seen["sha256"] == found["text"] and seen["known"] is True


def test_a_notice_with_a_text_of_the_past_is_not_adopted(joined: Node, home: Path) -> None:
    made(joined, "notice", "--format", "md")
    texts = [{"locale": "en", "text": "Other words."}]
    sign(home, amend(small_coop.agreement(**FIGURES), "c11", {"texts": texts}))
    code, _, err = joined("notice", "adopt", "notice.en", "--yes")
    assert code == 3 and "Make it anew" in err
    assert joined("notice", "adopt", "en", "--yes")[0] == 0


def test_a_german_notice_and_only_some_formats(joined: Node, home: Path) -> None:
    found = made(joined, "notice", "essence", "--locale", "de", "--format", "html")
    assert {name for one in found["written"] for name in one["files"]} == {
        "notice.de.html",
        "notice.de.txt",
        "essence.de.html",
    }
    assert [one["item"] for one in found["missing"]["notice.de"]] == ["c11"]
    assert "Sachtextformel" in found["written"][0]["grade"]
    for words in (
        ["--format", "doc"],
        ["--locale", "xx"],
        ["--quarter", "2026"],
        ["--quarter", "2099Q1"],
    ):
        assert joined("documents", "make", "notice", *words)[0] in (2, 5)
    assert joined("documents", "make", "novel")[0] == 2


def test_the_report_counts_what_was_done(joined: Node, home: Path) -> None:
    made(joined, "transparency", "--format", "md")
    name = next(path for path in (home / "documents").iterdir() if path.suffix == ".json")
    body = json.loads(name.read_text())
    tables = {
        block["table"]["name"]: block["table"]["rows"]
        for section in body["document"]["sections"]
        for block in section["blocks"]
        if "table" in block
    }
    figures = {row[0]: row for row in tables["data"]}
    (intake,) = [one for one in journal(home) if one["kind"] == "intake"]
    assert figures["Rows added"] == ["Rows added", "40", str(intake["seq"])]


def test_the_inventory_as_page_and_tables(joined: Node, tmp_path: Path) -> None:
    page, folder = tmp_path / "i.html", tmp_path / "tables"
    assert joined("inventory", "--html", str(page), "--csv", str(folder))[0] == 0
    assert "sales.csv" in page.read_text()
    assert "sales_line,40" in (folder / "tables.csv").read_text()
    assert joined("inventory", "--html", str(page))[0] == 5
    found = json.loads(joined("inventory", "--json")[1])
    assert found["schema"] == 1 and found["inventory"]["kind"] == "inventory"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--email", "nobody"), "not an e-mail"),
        (("--country", "UK"), "not a country"),
        (("--name", "x" * 600), "600 characters"),
        (("--answer", "nothing"), "not KEY=TEXT"),
        (("--answer", "other=x"), "no question"),
        ((), "nobody to ask"),
    ],
)
def test_answers_that_cannot_be_used(node: Node, home: Path, words: Any, said: str) -> None:
    code, _, err = node("inventory", "setup", *words)
    assert code in (2, 5) and said in err
    assert not (home / "shop.toml").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not TOML"),
        ("colour = 'x'", "no question 'colour'"),
        ("name = 3", "text in quotes"),
        ("dpia = 3", "[dpia] holds"),
        ("[dpia]\nmood = 'x'", "no question 'mood'"),
        ('name = "a\\nb"', "line break"),
    ],
)
def test_a_damaged_file_of_answers_is_no_empty_one(
    node: Node, home: Path, text: str, said: str
) -> None:
    (home / "shop.toml").write_text(text)
    code, _, err = node("inventory")
    assert code == 5 and said in err and "shop.toml" in err


def test_answers_come_back_as_they_were_given(node: Node, home: Path) -> None:
    odd = 'Zoë "the" Baker \\ Ελένη = [x] # y'
    assert node("inventory", "setup", "--name", odd, "--answer", f"views={odd}")[0] == 0
    assert shop.load(home).name == odd
    assert shop.load(home).answers == {"views": odd}
    assert node("inventory", "setup", "--name", "")[0] == 0
    assert shop.load(home).name == ""
    if os.name != "nt":
        assert stat.S_IMODE((home / "shop.toml").stat().st_mode) == 0o600


def test_places_say_what_is_in_the_backup(joined: Node, home: Path, tmp_path: Path) -> None:
    made(joined, "record", "--format", "md")
    (home / "config.toml").write_text("")
    (home / "old-export.csv").write_text("left here by the owner")
    taken = backup.backup(
        home, tmp_path / "b", "a long passphrase", small_coop.NOW, log2_n=14
    ).paths
    opened = open_home(home)
    found = facts.gather(opened, opened.database())
    tops = {path.partition("/")[0] for path in taken}
    assert {one.path for one in found.places if one.in_backup} == tops
    assert {one.path for one in found.places} >= {"vault", "documents", *tops}
    (other,) = [one for one in found.places if one.path == "old-export.csv"]
    assert other.what == "something else" and not other.in_backup
