"""``coop-node categories`` as a shopkeeper uses it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from node import keys
from node.advice import Advice
from node.backup import backup, restore
from node.cli.app import app
from node.cli.category_names import CategoryNames
from node.cli.shell import run
from node.data import categories as room
from node.house import open_home
from node.insights.forecasts import Forecast, Line
from protocols.taxonomy.form import file_text

Node = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node of a shop where Brot and Bread Loaves mean one thing, and Zeug 4 nobody knows."""
    folder = tmp_path_factory.mktemp("made")
    keys.create(folder / "home")
    rows = [
        f"2025-01-{1 + day:02d},R{day}{what},{what},1,2.00"
        for day in range(28)
        for what in ("Brot", "Bread Loaves", "Pfand", "Zeug 4")
    ]
    sales = folder / "sales.csv"
    sales.write_text("\n".join(["date,receipt,category,qty,total", *rows, ""]), encoding="utf-8")
    words = ["--home", str(folder / "home"), "--quiet", "data", "add", str(sales), "--yes"]
    assert run(app, words, "coop-node") == 0
    return folder / "home"


@pytest.fixture
def home(tmp_path: Path, made: Path) -> Path:
    shutil.copytree(made, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def node(home: Path, capsys: pytest.CaptureFixture[str]) -> Node:
    def call(*words: str) -> tuple[int, str, str]:
        code = run(app, ["--home", str(home), *words], "coop-node")
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def told(answer: tuple[int, str, str]) -> dict[str, Any]:
    assert answer[0] == 0, answer[2]
    found = json.loads(answer[1])
    assert isinstance(found, dict)
    return found


def test_from_nothing_mapped_to_all_that_is_sure(node: Node, home: Path) -> None:
    assert told(node("categories", "list", "--json"))["mapped_percent"] == 0
    dry = told(node("categories", "accept", "--dry-run", "--json"))
    assert dry["after"]["series"] == 3 and dry["before"]["series"] == 4
    assert not (home / room.FILE).exists()
    done = told(node("categories", "accept", "--yes", "--json"))
    assert {one["name"] for one in done["accepted"]} == {"Brot", "Bread Loaves", "Pfand"}
    found = told(node("categories", "list", "--json"))
    assert found["mapped_percent"] == 75.0 and found["series"] == 3
    rows = {one["name"]: one for one in found["categories"]}
    assert rows["Brot"]["by"] == "accepted" and rows["Zeug 4"]["code"] == ""
    series = (
        open_home(home).vault().query("SELECT DISTINCT category_code FROM sales_line ORDER BY 1")
    )
    assert [one for (one,) in series] == ["Zeug 4", "food.bakery.bread", "other.money.deposits"]


def test_accepting_asks_and_a_low_score_waits(node: Node, home: Path) -> None:
    code, out, err = node("categories", "accept")
    assert code == 2 and "add --yes" in err and "Brot" in out
    assert not (home / room.FILE).exists()
    assert told(node("categories", "accept", "--min-score", "1.0", "--yes", "--json"))["accepted"]


def test_a_person_says_what_a_name_means_and_takes_it_back(node: Node, home: Path) -> None:
    code, out, _ = node("categories", "map", "Zeug 4", "home.decoration.candles")
    assert code == 0 and "Candles and home scents" in out
    assert room.load(home).entries["Zeug 4"].by is room.By.CONFIRMED
    assert "check the spelling" in node("categories", "map", "Zueg", "food.dairy.milk")[1]
    assert node("categories", "unmap", "Zeug 4")[0] == 0
    assert set(room.load(home).entries) == {"Zueg"}
    code, _, err = node("categories", "map", "Zeug 4", "candles")
    assert code == 5 and "categories tree" in err
    kinds = [json.loads(line) for line in (home / "audit" / "log.jsonl").read_text().splitlines()]
    assert "Zeug" not in json.dumps(kinds) and "categories" in json.dumps(kinds)


def test_suggest_says_why_and_changes_nothing(node: Node, home: Path) -> None:
    code, out, _ = node("categories", "suggest", "--locale", "de")
    assert code == 0 and "Lebensmittel > Backwaren > Brot" in out and "known by this name" in out
    assert not (home / room.FILE).exists()
    found = told(node("categories", "suggest", "--json"))["suggestions"]
    assert {one["name"] for one in found} == {"Brot", "Bread Loaves", "Pfand", "Zeug 4"}


def test_export_and_import_carry_names_and_no_sales(node: Node, home: Path, tmp_path: Path) -> None:
    assert node("categories", "accept", "--yes")[0] == 0
    theirs = tmp_path / "theirs.toml"
    assert node("categories", "export", str(theirs))[0] == 0
    assert node("categories", "export", str(theirs))[0] == 5  # never over another file
    (home / room.FILE).unlink()
    assert node("categories", "map", "Brot", "food.bakery.rolls")[0] == 0
    dry = told(node("categories", "import", str(theirs), "--dry-run", "--json"))
    assert sorted(dry["new"]) == ["Bread Loaves", "Pfand"] and dry["kept_mine"] == 1
    assert node("categories", "import", str(theirs), "--yes")[0] == 0
    mine = room.load(home)
    assert mine.applied["Brot"] == "food.bakery.rolls" and len(mine.entries) == 3
    assert mine.entries["Pfand"].by is room.By.ACCEPTED
    theirs.write_text(theirs.read_text("utf-8").replace("food.bakery.bread", "bread"), "utf-8")
    code, _, err = node("categories", "import", str(theirs))
    assert code == 5 and f"{theirs}:" in err


def test_tree_searches(node: Node) -> None:
    code, out, _ = node("categories", "tree", "--search", "semmel")
    assert code == 0 and "food.bakery.rolls" in out and "food.dairy.milk" not in out
    assert len(told(node("categories", "tree", "--json"))["categories"]) == len(
        room.installed().leaves
    )
    assert "try another" in node("categories", "tree", "--search", "qqq")[1]


def test_another_list_comes_as_a_file(node: Node, home: Path, tmp_path: Path) -> None:
    retail = room.installed()
    newer = type(retail)(
        retail.name, "2", retail.title, retail.source, retail.locales, retail.nodes[:60],
        (),
    )  # fmt: skip
    file = tmp_path / "list.json"
    file.write_text(file_text(newer), encoding="utf-8")
    assert node("categories", "accept", "--yes")[0] == 0
    dry = told(node("categories", "use", str(file), "--dry-run", "--json"))
    assert dry["dropped"] == ["Pfand"] and dry["kept"] == 2
    assert node("categories", "use", str(file), "--yes")[0] == 0
    found = told(node("categories", "list", "--json"))
    assert found["taxonomy"] == {"id": "retail:2", "sha256": newer.sha256}
    assert found["mapped_percent"] == 50.0
    assert node("categories", "use", "installed", "--yes")[0] == 0
    file.write_text("{}", encoding="utf-8")
    assert node("categories", "use", str(file))[0] == 5


def test_mapping_and_list_are_in_the_backup(node: Node, home: Path, tmp_path: Path) -> None:
    assert node("categories", "accept", "--yes")[0] == 0
    (home / room.REPLACED).write_text(file_text(room.installed()), encoding="utf-8")
    before = (home / room.FILE).read_bytes()
    words = "five words that nobody guesses"
    now = open_home(home).clock()
    made = backup(home, tmp_path / "b", words, now, log2_n=14)
    assert {room.FILE, room.REPLACED} <= set(made.paths)
    restore(tmp_path / "b", tmp_path / "new", words, now)
    assert (tmp_path / "new" / room.FILE).read_bytes() == before


def test_a_forecast_names_categories_beside_their_codes(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_: object, **__: object) -> Advice:
        lines = [
            Line(code, date(2025, 2, 3), 1, "own", 1.0, 2.0, 3.0, 2.0)
            for code in ("food.bakery.bread", "Zeug 4", "zeug.4")
        ]
        return Advice(Forecast(date(2025, 1, 28), 4, "naive", 1.0, tuple(lines)), "own")

    monkeypatch.setattr("node.advice.best_forecast", made)
    code, out, _ = node("forecast")
    assert code == 0 and "Bread (food.bakery.bread)" in out
    found = told(node("forecast", "--json"))["lines"]
    assert [(one["category_code"], one["name"]) for one in found] == [
        ("food.bakery.bread", "Bread"),
        ("Zeug 4", "Zeug 4"),
        ("zeug.4", "zeug.4"),
    ]


def test_sentences_name_categories_beside_their_codes(home: Path) -> None:
    names = CategoryNames(home)
    said = "2 of 9 (category food.bakery.bread, place north) went silent in sales.csv."
    assert names.said(said) == said.replace("food.bakery.bread", "Bread (food.bakery.bread)")
    assert names.within([said]) == {"food.bakery.bread": "Bread"}
    assert names.said("food.bakery is 1.5 of a.b") == "food.bakery is 1.5 of a.b"
