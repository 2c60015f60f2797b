"""The commands of ``agreement`` that are about files, as an operator types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.cli.app import app
from coordinator.cli.shell import run
from examples.agreements.generate import FOLDER
from protocols.agreement.authoring import parse_draft
from protocols.agreement.terms import Roles, Sharing, Workloads

HOME = "office"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an office in it; making keys and a database takes a while."""
    made = tmp_path_factory.mktemp("drafts")
    words = ["--home", str(made / HOME), "--quiet", "init", "--name", "Corner Shops"]
    words += ["--profile", "B", "--host", "localhost", "--legal-id", "HRB 77", "--country", "FR"]
    assert run(app, words, "coop-coordinator") == 0
    return made


class Office:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        self._capsys.readouterr()
        given = ["--home", str(self.folder / HOME), "agreement", *words]
        assert run(app, given, "coop-coordinator") == code, self._capsys.readouterr()
        captured = self._capsys.readouterr()
        self.errors = captured.err
        return captured.out

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code))


@pytest.fixture
def office(folder: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(folder, capsys)


@pytest.mark.parametrize("name", ["a.toml", "a.yaml", "a.json"])
def test_a_new_draft_has_no_errors_and_names_the_office(
    office: Office, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    said = office("new", str(file), "--template", "franchise", "--set", "min_rows=2000")
    assert f"agreement check {file}" in said
    terms = parse_draft(file.read_bytes(), name).parsed.terms
    roles, sharing, what = (
        terms.block("c04", Roles),
        terms.block("c22", Sharing),
        terms.block("c13", Workloads),
    )
    assert roles is not None
    assert sharing is not None
    assert what is not None
    assert roles.operator_legal_id == "HRB 77"
    assert sharing.coordinator_country == "FR"
    assert [one.id for one in what.workloads] == ["churn", "demand"]  # as the template says
    found = office.json("check", str(file))
    assert found["valid"]
    assert [one for one in found["findings"] if one["level"] == "error"] == []


def test_the_format_and_the_name_agree(office: Office, tmp_path: Path) -> None:
    plain = tmp_path / "draft"
    office("new", str(plain), "--format", "yaml")
    assert plain.read_text("utf-8").startswith("# An agreement")
    office("new", str(tmp_path / "b.yaml"), "--format", "toml", code=2)
    assert "the name says yaml, --format says toml" in office.errors
    office("new", str(plain), "--format", "yaml", code=5)
    assert "exists already" in office.errors
    office("new", str(tmp_path / "c.toml"), "--template", "bakers", code=5)
    assert "bakery-group" in office.errors


def test_the_strictest_profile_holds(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    office("new", str(file), "--template", "competing-grocers")
    blocks = parse_draft(file.read_bytes(), "a.json").parsed.document["clauses"]
    machine = {one["id"]: one.get("machine") for one in blocks}
    assert machine["c27"]["profile"] == "C"
    assert machine["c01"]["min_members"] == 12
    office("new", str(tmp_path / "b.json"), "--template", "grocers", "--set", "profile=C")
    whole = json.loads((tmp_path / "b.json").read_text("utf-8"))
    guard = next(one["machine"] for one in whole["clauses"] if one["id"] == "c27")
    assert (guard["min_contributors"], guard["min_age_days"]) == (10, 365)
    office("new", str(tmp_path / "c.json"), "--set", "profile=A", code=5)
    assert "looser" in office.errors


def broken(tmp_path: Path, old: str, new: str, source: str = "franchise.toml") -> Path:
    text = (FOLDER / source).read_text("utf-8")
    assert old in text
    file = tmp_path / source
    file.write_text(text.replace(old, new, 1), encoding="utf-8", newline="\n")
    return file


def line_of(file: Path, words: str) -> int:
    text = file.read_text("utf-8")
    return text[: text.index(words)].count("\n") + 1


def test_check_names_the_line_of_a_finding(office: Office, tmp_path: Path) -> None:
    file = broken(tmp_path, "min_cohort = 5", "min_cohort = 4")
    said = office("check", str(file), code=5)
    line = line_of(file, "min_cohort = 4")
    assert f"{file}:{line}:1: c14 error: the smallest cohort is 4" in said
    [found] = [
        one
        for one in office.json("check", str(file), code=5)["findings"]
        if one["level"] == "error"
    ]
    assert (found["rule"], found["at"]) == ("cohort-below-floor", f"{file}:{line}:1")
    office("propose", str(file), code=5)
    assert f"{file}:{line}:1" in office.errors
    assert "nothing was sent" in office.errors


def test_check_names_the_line_of_every_problem(office: Office, tmp_path: Path) -> None:
    file = broken(tmp_path, "min_cohort: 10", 'min_cohrt: "10"', "competing-grocers.yaml")
    said = office("check", str(file), code=5)
    line = line_of(file, "min_cohrt")
    assert f"{file}:{line}:7: c14 privacy min_cohrt: this key is not known" in said
    whole = office.json("check", str(file), code=5)
    assert not whole["valid"]
    assert len(whole["problems"]) == 2
    torn = broken(tmp_path, "min_cohort = 5", "min_cohort = ")
    office("check", str(torn), code=5)
    assert f"{torn}:{line_of(torn, 'min_cohort = ')}:" in office.errors


def test_a_draft_of_another_office_is_not_proposed(office: Office, tmp_path: Path) -> None:
    file = FOLDER / "bakery-group.toml"
    office("check", str(file))
    found = office.json("check", str(file), "--office", code=5)["findings"]
    assert {(one["rule"], one["field"]) for one in found} == {
        ("other-office", "operator_key"),
        ("other-office", "coordinator_key"),
        ("other-office", "operator_legal_id"),
        ("other-office", "coordinator_country"),
        ("profile-declared", "profile"),
        ("code-unknown", "workloads.0.digest"),
    }
    office("propose", str(file), code=5)
    assert "this cooperative declared B" in office.errors
    own = tmp_path / "own.toml"
    office("new", str(own))
    rules = {one["rule"] for one in office.json("check", str(own), "--office")["findings"]}
    assert rules == {"change-without-notice"}


def test_a_page_and_a_comparison_of_files(office: Office, tmp_path: Path) -> None:
    file = FOLDER / "franchise.toml"
    said = office("page", str(file))
    assert "at least 5 members in every sum" in " ".join(said.split())
    assert office("page", str(file), "--html").startswith("<!doctype html>")
    groups = office.json("page", str(file))["effects"]
    assert groups[0]["heading"] == "What your data may be used for"
    tighter = broken(tmp_path, "min_cohort = 5", "min_cohort = 9")
    assert "min_cohort: 5 -> 9 (tighter)" in office("diff", str(file), str(tighter))
    assert "tighter" in office("diff", str(file), str(tighter), "--html")
    [change] = office.json("diff", str(file), str(tighter))["changes"]
    assert change["figures"][0]["direction"] == "tighter"
    assert "every clause is the same" in office("diff", str(file), str(file))


def test_what_is_not_there_yet_is_said(office: Office, tmp_path: Path) -> None:
    file = str(FOLDER / "franchise.toml")
    office("diff", "current", file, code=1)
    assert "no agreement is in force yet" in office.errors
    office("amend", str(tmp_path / "next.toml"), code=1)
    office("check", str(tmp_path / "none.toml"), code=5)
    assert "cannot be read" in office.errors


def test_schema_and_templates(office: Office) -> None:
    assert json.loads(office("schema"))["$id"] == "urn:datacoop:agreement:1"
    assert "salon-association" in office("templates")
    names = [one["name"] for one in office.json("templates")["templates"]]
    assert names == sorted(names)
    assert "franchise" in names
