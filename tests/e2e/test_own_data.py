"""A shopkeeper's own data through real processes: in, looked at, asked about, and out again."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from live_coop import NODE, Process, ask, free_ports, run
from node.data.values import customer_key

pytestmark = pytest.mark.e2e

DIALECTS = Path(__file__).parents[2] / "tests" / "vectors" / "imports" / "dialects"
INES, OMAR, LEA = "ines@example.test", "omar@example.test", "lea@example.test"
NO_BODY = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta"}


class Shop:
    """One home, and the exports of its till."""

    def __init__(self, folder: Path) -> None:
        self.home, self.folder = folder / "home", folder
        self.orders = self._copy("shopify-orders", 17)  # what is behind is bad on purpose
        self.customers = self._copy("shopify-customers", None)
        self.stock = self._copy("shopify-inventory", 10)
        run(NODE, self.home, "init")

    def _copy(self, dialect: str, lines: int | None) -> Path:
        (newest,) = sorted((DIALECTS / dialect).glob("*.csv"))[-1:]
        path = self.folder / f"{dialect}.csv"
        path.write_text("".join(newest.read_text().splitlines(keepends=True)[:lines]))
        return path

    def ask(self, *words: str, expect: int = 0) -> Any:
        return ask(NODE, self.home, *words, expect=expect)

    def add(self, path: Path) -> Any:
        return self.ask("data", "add", str(path), "--timezone", "Europe/Berlin", "--yes")

    def request(self, kind: str, customer: str, *words: str) -> Any:
        """Carry out what a customer asked for; its evidence is good, and a stranger sees it."""
        who = ("--customer", customer, "--identified", "loyalty card")
        done = self.ask("requests", kind, *who, *words)
        self.evidence(done)
        return done

    def evidence(self, done: Any) -> None:
        path = Path(done["evidence_file"])
        assert run(NODE, self.home, "verify", str(path)).stdout
        raw = path.read_bytes()
        assert b"example.test" not in raw

    def key(self, customer: str) -> str:
        secret = bytes.fromhex((self.home / "keys" / "customer.key").read_text().strip())
        found = customer_key(secret, customer)
        assert found is not None
        return found

    def holds(self, customer: str) -> list[str]:
        """Files of the home in which a person can be found, in clear or by the key."""
        key = self.key(customer)
        forms = (customer.encode(), key.encode(), bytes.fromhex(key), key.upper().encode())
        files = [path for path in self.home.rglob("*") if path.is_file()]
        found = [
            str(path.relative_to(self.home))
            for path in files
            if any(form in path.read_bytes() for form in forms)
        ]
        with sqlite3.connect(f"file:{self.home / 'node.db'}?mode=ro", uri=True) as database:
            dump = "\n".join(database.iterdump()).encode()
        return [*found, *(["a row"] if any(form in dump for form in forms[:2]) else [])]

    def rows(self) -> int:
        return int(self.ask("data", "list")["summary"]["lines"])


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def granted(shop: Shop, *customers: str) -> Path:
    path = shop.folder / "answers.csv"
    lines = [f"{who},train:churn,granted,2025-11-01T09:00,till" for who in customers]
    path.write_text("\n".join(["customer,scope,state,at,source", *lines]) + "\n")
    return path


# ------------------------------------------------------------------------- rows


def test_from_an_empty_home_to_healthy_rows(shop: Shop) -> None:
    assert "data add" in run(NODE, shop.home, "inventory").stdout
    found = shop.ask("data", "detect", str(shop.orders))
    assert found["taken"] == "shopify-orders" and found["formats"][0]["confidence"] > 0.8
    words = ("data", "add", str(shop.orders), "--timezone", "Europe/Berlin", "--dry-run")
    before = shop.ask("vault", "status")["contents"]
    run(NODE, shop.home, *words)
    assert shop.ask("vault", "status")["contents"] == before

    first = shop.add(shop.orders)
    assert first["rows_added"] == shop.rows() > 10 and first["quarantined"] == 0
    assert {"Billing Name", "Billing Street", "Phone"} & set(first["dropped_columns"])
    again = shop.add(shop.orders)
    assert again["already_known"] and again["rows_added"] == 0
    renamed = shop.folder / "the-same-under-another-name.csv"
    renamed.write_bytes(shop.orders.read_bytes() + b"\n")
    assert shop.add(renamed)["rows_added"] == 0 and shop.rows() == first["rows_added"]
    assert shop.add(shop.customers)["rows_added"] and shop.add(shop.stock)["rows_added"]

    offered = {one["name"] for one in shop.ask("categories", "suggest")["suggestions"]}
    assert "Ribbon" in offered
    accepted = shop.ask("categories", "accept", "--yes")
    listed = {one["name"]: one["code"] for one in shop.ask("categories", "list")["categories"]}
    assert accepted and listed["Ribbon"].count(".") == 2
    health = {one["dataset"]: one["score"] for one in shop.ask("data", "health")["datasets"]}
    assert set(health) == {"sales", "customers", "stock"}
    assert all(0 <= score <= 100 for score in health.values())
    contract = shop.folder / "sales.odcs.yaml"
    run(NODE, shop.home, "data", "contract", "sales_line", "--output", str(contract))
    run(NODE, shop.home, "data", "contract", "sales_line", "--check", str(contract))
    text = contract.read_text()
    bent = text.replace("physicalType: VARCHAR", "physicalType: DATE", 1)
    assert bent != text
    contract.write_text(bent)
    run(NODE, shop.home, "data", "contract", "sales_line", "--check", str(contract), expect=5)


def test_nobody_else_reads_the_files_and_the_vault_is_sealed(shop: Shop) -> None:
    shop.add(shop.orders)
    shop.add(shop.stock)
    for path in [shop.home, *shop.home.rglob("*")]:
        open_to_others = stat.S_IMODE(path.stat().st_mode) & 0o077
        shut_above = any(stat.S_IMODE(one.stat().st_mode) & 0o077 == 0 for one in path.parents)
        assert not open_to_others or shut_above, path
    for path in (shop.home / "vault").rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            raw = path.read_bytes()
            assert not [word for word in (b"Ribbon", b"#1001", b"OB-200", b"order") if word in raw]
    assert not shop.holds(INES)

    dry = shop.ask("vault", "purge", "--before", "2025-10-08", "--dry-run")
    rows = shop.rows()
    done = shop.ask("vault", "purge", "--before", "2025-10-08", "--yes")
    assert dry["rows_sales_line"] == done["rows_sales_line"] == rows - shop.rows() > 0
    old = {path: path.read_bytes() for path in (shop.home / "vault").rglob("*.parquet")}
    key = (shop.home / "keys" / "vault.key").read_bytes()
    run(NODE, shop.home, "vault", "rotate-key", "--yes")
    assert (shop.home / "keys" / "vault.key").read_bytes() != key
    assert shop.rows() == rows - done["rows_sales_line"] and shop.ask("vault", "verify")["files"]
    assert not [path for path in old if path.exists() and path.read_bytes() == old[path]]
    (one, *_) = (path for path in (shop.home / "vault" / "rows").rglob("*") if path.is_file())
    raw = one.read_bytes()
    one.write_bytes(raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:])
    run(NODE, shop.home, "vault", "verify", expect=5)


def test_killed_while_it_imports(shop: Shop) -> None:
    path = shop.folder / "many.csv"
    lines = [f"r{k},2024-{k % 12 + 1:02}-03,tea,{k % 9 + 1},2.50,c{k % 997}" for k in range(20_000)]
    path.write_text("\n".join(["receipt,date,category,quantity,price,customer", *lines]) + "\n")
    shop.add(shop.orders)
    before, random = shop.ask("vault", "status"), Random("killed")
    held = before["tables"]["sales_line"]["rows"]
    for _ in range(3):
        process = Process("import", NODE, shop.home, "data", "add", str(path), "--yes").start()
        with suppress(subprocess.TimeoutExpired):
            process.process.wait(random.uniform(0.02, 0.9))
        process.kill()
        now = shop.ask("vault", "status")
        added = now["tables"]["sales_line"]["rows"] - held
        assert added in (0, 20_000) and (now["contents"] == before["contents"]) is (added == 0)
        shop.ask("vault", "verify")
    shop.add(path)
    assert shop.rows() == held + 20_000
    run(NODE, shop.home, "verify")  # the log, too, is whole


def test_who_reads_the_answer_may_go(shop: Shop) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = (*("--home", str(shop.home)), *("data", "add", str(shop.orders), "--yes"))
    done = subprocess.run(
        [sys.executable, "-m", NODE, *words], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.returncode == 1 and b"disk" not in done.stderr and b"Traceback" not in done.stderr
    assert not shop.ask("vault", "status")["tables"]["sales_line"]["rows"]


# ------------------------------------------------------------------------- answers and rights


@pytest.fixture
def door(shop: Shop) -> Iterator[tuple[str, str]]:
    """The local door in a process of its own; its address and a token."""
    token = shop.ask("endpoint", "token", "new", "webshop")["token"]
    (port,) = free_ports(1)
    process = Process("door", NODE, shop.home, "endpoint", "serve", "--port", str(port)).start()
    address = f"http://127.0.0.1:{port}"
    for _ in range(200):
        with suppress(httpx.TransportError):
            httpx.get(f"{address}/v1/health")
            break
        time.sleep(0.05)
    yield address, token
    assert process.stop() == 0


def test_answers_by_file_and_through_the_door(shop: Shop, door: tuple[str, str]) -> None:
    address, token = door
    good = {"Authorization": f"Bearer {token}"}

    def counts() -> dict[str, int]:
        scopes = {one["scope"]: one for one in shop.ask("consent", "status")["scopes"]}
        return dict(scopes["train:churn"]["counts"])

    def post(place: str, body: Any, **more: str) -> int:
        return httpx.post(f"{address}/v1/{place}", json=body, headers={**good, **more}).status_code

    shop.add(shop.orders)
    answers = str(granted(shop, INES, OMAR))
    run(NODE, shop.home, "consent", "import", answers, "--dry-run")
    assert not counts()
    for _ in range(2):  # the same file again changes nothing
        run(NODE, shop.home, "consent", "import", answers, "--yes")
        assert counts() == {"granted": 2}
    yes = {"customer": LEA, "scope": "train:churn", "state": "granted"}
    no = {"customer": INES, "scope": "train:churn"}
    for wrong in (
        {"Authorization": "Bearer coop_" + "A" * 43},
        {"Host": "shop.example.test"},
        {"Origin": address},
        {"Sec-Fetch-Site": "same-origin"},
    ):
        assert post("consents", yes, **wrong) in {401, 403}, wrong
    assert post("withdraw", {"customer": INES, "scope": "marketing"}) == 422
    assert counts() == {"granted": 2}
    assert post("consents", yes) == 200 and counts() == {"granted": 3}
    assert post("withdraw", no) == 200 and counts() == {"granted": 2, "withdrawn": 1}
    run(NODE, shop.home, "consent", "import", answers, "--yes")  # an older yes is no new yes
    assert counts() == {"granted": 2, "withdrawn": 1}
    run(NODE, shop.home, "consent", "verify")
    assert not shop.holds(LEA) or all("node.db" in one or one == "a row" for one in shop.holds(LEA))


def test_what_customers_ask_for(shop: Shop) -> None:
    for path in (shop.orders, shop.customers):
        shop.add(path)
    run(NODE, shop.home, "consent", "import", str(granted(shop, INES, OMAR, LEA)), "--yes")
    folder, archive = shop.folder / "answer", shop.folder / "answer.zip"
    shop.request("access", INES, "--out", str(folder))
    held = (folder / "sales_line.csv").read_text()
    assert "Oat biscuits" in held and "Black tea" not in held  # hers, and nobody else's
    assert "train:churn" in (folder / "consent.csv").read_text()
    Page(folder / "answer.html")
    shop.request("export", INES, "--out", str(archive))
    with zipfile.ZipFile(archive) as files:
        assert json.loads(files.read("data.json")) and files.testzip() is None

    who = ("--customer", INES, "--identified", "loyalty card")
    asked = shop.ask("requests", "rectify", *who)
    line = next(one["line"] for one in asked["lines"] if "#1001" in one["cells"])
    words = ("--line", line, "--set", "product=Oat bread", "--yes")
    done = shop.ask("requests", "rectify", asked["request"], *words)
    shop.evidence(done)
    assert done["lines"] == 1
    assert shop.add(shop.orders)["rows_added"] == 0
    shop.request("access", INES, "--out", str(shop.folder / "then"))
    assert "Oat bread" in (shop.folder / "then" / "sales_line.csv").read_text()

    def read() -> int:
        scopes = {one["scope"]: one for one in shop.ask("consent", "status")["scopes"]}
        return int(scopes["train:churn"]["customers_read"])

    assert read() == 3
    shop.request("restrict", OMAR)
    shop.request("object", LEA)
    assert read() == 1
    shop.request("lift", OMAR, "--reason", "asked for it again")
    shop.request("lift", LEA, "--reason", "asked for it again")
    assert read() >= 1
    assert not [one for one in shop.ask("requests", "list")["requests"] if one["late"]]


def test_erased_and_never_back(shop: Shop) -> None:
    for path in (shop.orders, shop.customers):
        shop.add(path)
    run(NODE, shop.home, "consent", "import", str(granted(shop, INES, OMAR)), "--yes")
    assert shop.holds(OMAR)  # the search would find somebody who is there
    rows = shop.rows()
    done = shop.request("erase", OMAR, "--yes")
    assert done["before"]["sales_line"] == rows - shop.rows() > 0 and not done["not_opened"]
    raw, bent = Path(done["evidence_file"]).read_bytes(), shop.folder / "bent.json"
    at = raw.index(b'"payload"') + 20
    bent.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    run(NODE, shop.home, "verify", str(bent), expect=5)
    assert not shop.holds(OMAR) and shop.holds(INES)
    renamed = shop.folder / "next-month.csv"
    renamed.write_bytes(shop.orders.read_bytes() + b"\n")
    for path in (shop.orders, renamed, shop.customers):
        shop.add(path)
    assert shop.rows() == rows - done["before"]["sales_line"] and not shop.holds(OMAR)

    secret, archive = shop.folder / "passphrase", shop.folder / "node.backup"
    secret.write_text("correct horse battery staple\n")
    secret.chmod(0o600)
    words = ("--passphrase-file", str(secret))
    run(NODE, shop.home, "backup", str(archive), *words)
    copy = shop.folder / "vault-copy"
    shutil.copytree(shop.home / "vault", copy)
    shop.request("erase", LEA, "--yes")
    assert not shop.holds(LEA)

    old, shop.home = shop.home, shop.folder / "new-home"
    run(NODE, shop.home, "restore", str(archive), *words)
    shutil.rmtree(shop.home / "vault", ignore_errors=True)
    shutil.copytree(copy, shop.home / "vault")
    again = shop.ask("requests", "erase-again", str(old / "rights"))
    assert again["known"] == 2 and again["erased_again"] >= 1
    assert not shop.holds(LEA) and not shop.holds(OMAR)
    assert not shop.add(shop.orders)["rows_added"]
    assert not shop.holds(LEA)
    shop.ask("vault", "verify")


# ------------------------------------------------------------------------- papers


class Page(HTMLParser):
    """AssertionError if tags are not closed in order, or something is loaded from elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._open: list[str] = []
        self.text = ""
        self.feed(path.read_text())
        self.close()
        assert not self._open and len(self.text) > 100, path

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "iframe", "object", "embed", "form"}
        assert not [value for name, value in attrs if name in {"src", "srcset"} and value]
        if tag not in NO_BODY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_papers(shop: Shop) -> None:
    shop.add(shop.orders)
    name = "Tea & <b>Biscuits</b>"
    run(NODE, shop.home, "inventory", "setup", "--name", name, "--country", "DE")
    made = shop.ask("documents", "make", "all")
    assert {one["name"].partition(".")[0] for one in made["written"]} >= {
        *("record", "dpia", "transparency"),
    }
    lacking = shop.ask("documents", "check", expect=1)["documents"]
    assert all(one["missing"] or not one["changed_since"] for one in lacking)
    folder = Path(made["folder"])
    pages = [Page(path) for path in folder.glob("*.html")]
    assert len(pages) >= 3 and any(name in page.text for page in pages)
    for path in folder.glob("*.pdf"):
        raw = path.read_bytes()
        assert raw.startswith(b"%PDF-") and raw.rstrip().endswith(b"%%EOF")
        assert b"/ToUnicode" in raw  # text that can be searched, not pictures of it
    record = folder / "record.md"
    record.write_text(record.read_text() + "\nWe also sell addresses.\n")
    told = {one["name"]: one for one in shop.ask("documents", "check", expect=1)["documents"]}
    assert told["record"]["altered_files"] == ["record.md"]
    run(NODE, shop.home, "documents", "make", "record")
    assert "sell addresses" not in record.read_text()
