"""The shared list at the office: brought, named in drafts, and the vocabulary of plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator import taxonomies
from coordinator.cli.app import app
from coordinator.cli.guard import action_of
from coordinator.cli.shell import run
from coordinator.drafts import new_draft
from coordinator.launching import planned
from protocols.agreement.terms import Terms
from protocols.errors import InputError, Refused
from protocols.taxonomy.form import parse
from protocols.workloads.demand import parse_config
from small_office import SmallOffice, quick, signed_office

RETAIL = taxonomies.installed()
GOOGLE = """# Google_Product_Taxonomy_Version: 2030-01-01
1 - Things
12 - Things > Round
123 - Things > Round > Balls
13 - Things > Flat
"""
DATE = {"train_until": "2025-12-01"}


class Command:
    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        self._capsys.readouterr()
        found = run(app, ["--home", str(self.home), "taxonomy", *words], "coop-coordinator")
        captured = self._capsys.readouterr()
        self.errors = captured.err
        assert found == code, captured
        return captured.out

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))


@pytest.fixture
def office(tmp_path: Path) -> SmallOffice:
    return SmallOffice(tmp_path / "office")


@pytest.fixture
def command(office: SmallOffice, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(office.folder, capsys)


@pytest.fixture
def brought(command: Command, tmp_path: Path) -> Path:
    (tmp_path / "google.txt").write_text(GOOGLE, encoding="utf-8")
    made = tmp_path / "taxonomy.json"
    command("import", str(tmp_path / "google.txt"), "-o", str(made), "--name", "google")
    return made


def terms(office: SmallOffice, **figures: Any) -> Terms:
    return new_draft(
        office.house.office,
        template="grocers",
        lasts=quick().lasts * 100,
        workloads=("demand",),
        settings={},
        max_rounds=50,
        figures=figures,
        previous=None,
        now=office.now,
    ).terms


def test_a_brought_list_becomes_one_of_ours(command: Command, brought: Path) -> None:
    found = parse(brought.read_bytes(), "x")
    assert found.leaves == ("1.12", "1.13")
    checked = command.json("check", str(brought))
    assert (checked["sha256"], checked["categories"]) == (found.sha256, 2)
    command("import", str(brought), "-o", str(brought), code=5)  # never over another file
    assert "exists already" in command.errors


def test_what_is_no_list_is_refused_with_its_place(command: Command, tmp_path: Path) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_text("# Google_Product_Taxonomy_Version: 1\n1 - A > B\n", encoding="utf-8")
    command("import", str(bad), "-o", str(tmp_path / "o.json"), code=5)
    assert f"{bad}:2" in command.errors and not (tmp_path / "o.json").exists()
    command("check", str(bad), code=5)
    command("check", str(tmp_path), code=5)
    assert "not a file" in command.errors


def test_show_says_what_to_write_into_the_agreement(command: Command, brought: Path) -> None:
    shown = command.json("show", "--search", "schrippe", "--percent", "70")
    assert [one["code"] for one in shown["nodes"]] == ["food.bakery.rolls"]
    assert shown["figure"] == {
        "id": "retail:1",
        "sha256": RETAIL.sha256,
        "min_mapped_percent": 70,
    }
    assert "--set 'taxonomy={" in command("show", str(brought))


def test_the_office_uses_a_brought_list_and_goes_back(
    command: Command, brought: Path, office: SmallOffice
) -> None:
    command("use", str(brought), "--dry-run")
    assert taxonomies.in_use(office.folder) == RETAIL
    command("use", str(brought), "--yes")
    assert command.json("show")["id"] == "google:1"
    command("use", "installed", "--yes")
    assert taxonomies.in_use(office.folder) == RETAIL
    assert not (office.folder / taxonomies.FILE).exists()


def test_roles_that_may_look_and_that_may_change() -> None:
    assert action_of(("taxonomy", "show")) == action_of(("taxonomy", "check")) == "see"
    assert action_of(("taxonomy", "use")) == action_of(("taxonomy", "import")) == "draft"


def test_a_plan_takes_the_agreed_list_where_no_category_is_named(office: SmallOffice) -> None:
    pinned = terms(office, taxonomy=taxonomies.figure(RETAIL, 80))
    found = taxonomies.vocabulary(office.folder, pinned, "", DATE)
    assert found == {**DATE, "categories": list(RETAIL.leaves)}
    some = {**DATE, "categories": ["food.bakery.bread", "food.bakery.rolls"]}
    assert taxonomies.vocabulary(office.folder, pinned, "demand", some) == some
    config = {"quantiles": [0.1, 0.5, 0.9], **found}
    assert parse_config(config).categories == RETAIL.leaves


def test_a_category_that_is_not_of_the_list_is_refused(office: SmallOffice) -> None:
    pinned = terms(office, taxonomy=taxonomies.figure(RETAIL, 80))
    with pytest.raises(InputError, match="'bread' is no category of the agreed list"):
        taxonomies.vocabulary(office.folder, pinned, "", {**DATE, "categories": ["bread"]})


def test_without_a_list_or_without_categories_nothing_changes(office: SmallOffice) -> None:
    assert taxonomies.vocabulary(office.folder, terms(office), "", DATE) == DATE
    pinned = terms(office, taxonomy=taxonomies.figure(RETAIL, 80))
    assert taxonomies.vocabulary(office.folder, pinned, "churn", DATE) == DATE


def test_a_list_that_is_not_here_is_refused_with_the_way_out(
    office: SmallOffice, brought: Path
) -> None:
    other = parse(brought.read_bytes(), "x")
    pinned = terms(office, taxonomy=taxonomies.figure(other, 80))
    with pytest.raises(Refused, match="which is not here") as caught:
        taxonomies.vocabulary(office.folder, pinned, "", DATE)
    assert caught.value.clauses == ("c09",) and "taxonomy use" in caught.value.fix
    taxonomies.use(office.folder, other)
    found = taxonomies.vocabulary(office.folder, pinned, "", DATE)
    assert found["categories"] == ["1.12", "1.13"]


def test_run_plan_goes_by_it(tmp_path: Path) -> None:
    office = signed_office(tmp_path / "signed", taxonomy=taxonomies.figure(RETAIL, 80))
    made = planned(office.house, quick(settings=DATE))
    assert made.order.order.config["categories"] == list(RETAIL.leaves)
    assert made.denial is None, str(made.denial)
