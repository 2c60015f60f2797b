"""``coop-node data health`` and ``data contract`` as a shopkeeper uses them."""

from __future__ import annotations

import csv
import json
import re
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from node import keys
from node.cli.app import app
from node.cli.shell import run
from node.data.findings import Finding, QualityReport, Severity
from node.policy.quality import Look, Trend
from node.policy.quality_page import page
from node.store.quality import Scored

TODAY = datetime.now(UTC).date()
Node = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keys.create(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def node(home: Path, capsys: pytest.CaptureFixture[str]) -> Node:
    def call(*words: str) -> tuple[int, str, str]:
        code = run(app, ["--home", str(home), *words], "coop-node")
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def export(folder: Path, first: date, days: int, name: str = "sales.csv", lines: int = 3) -> str:
    """Receipts of a shop; one product's name is a formula, one price is far too high."""
    rows = []
    for k in range(days):
        day = first + timedelta(days=k)
        for one in range(lines):
            price = "200.00" if k == 3 and one == 0 else "2.00"
            rows.append(
                f"{day},{9 + one}:15,{k * 10 + one + (day - date(2020, 1, 1)).days * 100},s{one},"
                f"=1+{one},cat{one},1,{price},{price},Kundin-{k % 7}"
            )
    path = folder / name
    head = "date,time,receipt,sku,product,category,qty,price,total,customer"
    path.write_text("\n".join([head, *rows, ""]), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with 200 days of sales, made once."""
    folder = tmp_path_factory.mktemp("filled")
    keys.create(folder / "home")
    file = export(folder, TODAY - timedelta(days=199), 200)
    assert run(app, ["--home", str(folder / "home"), "data", "add", file, "--yes"], "x") == 0
    return folder / "home"


@pytest.fixture
def shop(node: Node, home: Path, filled: Path) -> Node:
    shutil.rmtree(home)
    shutil.copytree(filled, home)
    return node


def test_an_import_is_followed_by_its_health_and_by_what_departs(
    node: Node, tmp_path: Path
) -> None:
    first = export(tmp_path, TODAY - timedelta(days=200), 172)
    code, out, _ = node("data", "add", first, "--yes")
    assert code == 0 and "Health of sales: " in out and "departs" not in out
    thin = export(tmp_path, TODAY - timedelta(days=28), 28, "thin.csv", lines=1)
    code, out, _ = node("data", "add", thin, "--yes")
    assert code == 0 and "This import departs from the weeks before it:" in out
    assert "7 lines a week in this import, 21 in the weeks before: 67% less" in out
    code, out, _ = node("data", "health")
    assert code == 0 and "The newest import (thin.csv) departs from the weeks before it:" in out
    code, out, _ = node("data", "health", "--json")
    assert json.loads(out)["departures"][0]["measure"] == "level"
    code, out, _ = node("data", "add", first, "--yes", "--json")
    assert code == 0 and json.loads(out)["already_known"]


def test_health_names_findings_fixes_and_the_trend(shop: Node) -> None:
    code, out, _ = shop("data", "health")
    assert code == 0
    assert re.search(r"sales: 99 of 100 over 600 rows. There is no score of an earlier", out)
    assert "1 of 600 lines cost over 10 times more or less" in out and "[price_outliers]" in out
    code, out, _ = shop("data", "health", "--dataset", "sales", "--json")
    document = json.loads(out)
    assert code == 0 and [one["dataset"] for one in document["datasets"]] == ["sales"]
    assert document["datasets"][0]["trend"]["word"] == "new"
    assert len(document["datasets"][0]["history"]) == 1  # the one of the import


def test_failing_rows_go_to_a_csv_without_formulas_and_customers(
    shop: Node, home: Path, tmp_path: Path
) -> None:
    code, out, _ = shop("data", "health", "--rule", "price_outliers")
    assert code == 0 and "=1+0" in out and "200" in out
    file = tmp_path / "rows.csv"
    words = ("data", "health", "--rule", "price_outliers", "--rows", str(file))
    code, out, _ = shop(*words)
    assert code == 0 and "1 rows are in" in out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text(encoding="utf-8-sig")
    (row,) = csv.DictReader(text.splitlines())
    assert row["product"] == "'=1+0" and row["net"] == "200" and row["usual_price"] == "2.0"
    assert row["ts_utc"].endswith("T09:15:00Z")
    assert "customer" not in text and "Kundin" not in text
    from node.data.values import customer_key

    secret = (home / "keys" / "customer.key").read_bytes()
    for number in range(7):
        assert str(customer_key(secret, f"Kundin-{number}")) not in text
    code, _, err = shop(*words)
    assert code == 5 and "exists already" in err


def test_what_cannot_be_shown_says_why(shop: Node) -> None:
    for words, code, said in (
        (("--rows", "x.csv"), 2, "which?"),
        (("--rule", "nonsense"), 2, "there is no rule"),
        (("--rule", "stale_data"), 2, "about the whole"),
        (("--dataset", "nonsense"), 2, "expected one of sales, customers, stock"),
        (("--dataset", "stock"), 1, "there are no rows of stock yet"),
        (("--dataset", "train:churn", "--rule", "cash_customer"), 2, "not for a purpose"),
    ):
        found, _, err = shop("data", "health", *words)
        assert (found, said in err) == (code, True), words


def test_a_contract_is_written_and_holds_and_a_changed_one_does_not(
    shop: Node, tmp_path: Path
) -> None:
    file = tmp_path / "sales.yaml"
    assert shop("data", "contract", "sales_line", "-o", str(file))[0] == 0
    code, out, _ = shop("data", "contract", "--check", str(file))
    assert code == 0 and out == "Your rows fulfil the contract.\n"
    code, out, _ = shop("data", "contract", "stock")
    assert code == 0 and yaml.safe_load(out)["schema"][0]["name"] == "stock"
    file.write_text(file.read_text().replace("mustBeGreaterThan: 0", "mustBeGreaterThan: 601"))
    code, out, _ = shop("data", "contract", "--check", str(file))
    assert code == 5
    assert re.fullmatch(
        rf"error: {re.escape(str(file))}:\d+:\d+: sales_line: there are rows is 600, must be "
        r"greater than 601.\n", out
    )  # fmt: skip
    code, out, _ = shop("data", "contract", "--check", str(file), "--json")
    assert code == 5 and json.loads(out)["fulfilled"] is False
    file.write_text("kind: [")
    code, _, err = shop("data", "contract", "--check", str(file))
    assert code == 5 and f"{file}:1:" in err
    assert shop("data", "contract", "--check", str(tmp_path / "none.yaml"))[0] == 1
    assert shop("data", "contract", "orders")[0] == 5


# --- the page ----------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Every tag with its attributes; what is open at the end."""

    VOID = ("meta", "circle", "line", "polyline")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def names(self) -> list[str]:
        return [tag for tag, _ in self.seen]


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"


def look(scores: tuple[int, ...]) -> Look:
    history = tuple(
        Scored(NOW - timedelta(days=30 * (len(scores) - k - 1)), "sales", score, (), "")
        for k, score in enumerate(scores)
    )
    finding = Finding("currency_mix", Severity.ERROR, SCRIPT, "Do & see.", 3, 0.1, 25.0)
    return Look("sales", QualityReport(scores[-1], 9, (finding,)), history, Trend("new"))


def test_the_page_has_a_plot_with_words_and_its_table() -> None:
    text = page([look((70, 80, 95))], NOW, ["It departs:", "  <b>less</b>"])
    tags = Tags(text)
    assert tags.open == [] and "script" not in tags.names() and "&lt;script&gt;" in text
    assert "<li>&lt;b&gt;less&lt;/b&gt;</li>" in text
    plot = next(attrs for tag, attrs in tags.seen if tag == "svg")
    names = {attrs["id"] for tag, attrs in tags.seen if tag in ("title", "desc") and "id" in attrs}
    assert plot["role"] == "img" and set(str(plot["aria-labelledby"]).split()) == names
    after = tags.names()[tags.names().index("svg") :]  # the table of what the plot shows
    assert "table" in after and after.count("td") == 2 * 3
    assert [text.count(f"<td>{score}</td>") for score in (70, 80, 95)] == [1, 1, 1]
    assert tags.names().count("circle") == 3 and "<td>Error</td>" in text
    assert "<h2>Sales</h2>" in text
    assert text.count(">2025-12-31</text>") == text.count(">2026-03-01</text>") == 1
    line = next(attrs for tag, attrs in tags.seen if tag == "polyline")
    places = [tuple(map(float, pair.split(","))) for pair in str(line["points"]).split()]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)  # it got better
    assert "src=" not in text and "href=" not in text and "default-src 'none'" in text


def test_one_score_has_no_plot_and_no_finding_says_so() -> None:
    one = Look("stock", QualityReport(100, 9, ()), look((100,)).history, Trend("new"))
    text = page([one], NOW)
    assert "<svg" not in text and "Nothing was found." in text and Tags(text).open == []


def test_the_page_is_written(shop: Node, tmp_path: Path) -> None:
    file = tmp_path / "health.html"
    code, out, _ = shop("data", "health", "--html", str(file))
    assert code == 0 and f"The page is in {file}." in out
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert shop("data", "health", "--html", str(file))[0] == 5
