"""The office's record as processor and its report of a quarter, as files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from coordinator import documents
from coordinator.cli.app import app
from coordinator.cli.shell import run
from coordinator.desk import Desk
from coordinator.store.documents import Document, Documents
from coordinator.store.runs import Answer, RunMember, RunMembers, Runs
from protocols.agreement.corrections import make_correction
from protocols.documents.quarter import quarter_of
from protocols.ids import MemberId, OrderId, RunId
from protocols.signing import identity_of
from small_office import MEMBERS, SmallOffice, signed_office

ME = MemberId(identity_of(MEMBERS[0].public))
OTHER = MemberId(identity_of(MEMBERS[1].public))
RUN = RunId("1f" * 16)


@pytest.fixture
def office(tmp_path: Path) -> SmallOffice:
    """Six members, an agreement, a run that one admitted and one refused."""
    made = signed_office(tmp_path / "office")
    order = OrderId("5e" * 32)
    with made.house.database.write() as db:
        Documents(db).add(Document(order, "order", b"{}", made.now))
        Runs(db).add(RUN, order, made.now)
        RunMembers(db).put(RunMember(RUN, ME, Answer.ADMITTED, (), made.now))
        refused = RunMember(RUN, OTHER, Answer.REFUSED, ("c09 quality: too old",), made.now)
        RunMembers(db).put(refused)
    return made


def figures(office: SmallOffice) -> dict[str, str]:
    document, _ = documents.draw(office.house, "transparency", quarter_of(office.now))
    return {row[0]: row[1] for table in document.tables() for row in table.rows}


def test_the_report_counts_members_answers_and_refusals(office: SmallOffice) -> None:
    found = figures(office)
    assert found["Members"] == "6" and found["Members that joined"] == "6"
    assert found["answers of members: admitted"] == "1"
    assert found["answers of members: refused"] == "1"
    assert found["members refused under c09"] == "1"
    with office.house.database.write() as db:
        RunMembers(db).put(RunMember(RUN, OTHER, Answer.ADMITTED, (), office.now))
    found = figures(office)
    assert found["answers of members: admitted"] == "2"
    assert "members refused under c09" not in found


def test_people_erased_at_members_are_counted_and_never_named(office: SmallOffice) -> None:
    assert "people erased at members" not in figures(office)
    desk = Desk(office.house, office.house.log(), lambda *_, **__: None)
    letter = make_correction("erased", 3, [RUN])
    desk.take(ME, "correction", "correction-00112233aabbccdd", letter)
    assert figures(office)["people erased at members"] == "3"


def test_the_record_names_members_and_what_is_not_set(office: SmallOffice) -> None:
    document, missing = documents.draw(office.house, "record", quarter_of(office.now))
    (members,) = [one for one in document.tables() if one.name == "controllers"]
    assert len(members.rows) == 6 and members.rows[0][0].startswith("Shop ")
    (gap,) = missing
    assert gap.item == "30(2)(a)"
    for key in ("legal_id", "contact", "dpo"):
        assert f"set {key} in config.toml" in gap.supply
    text = 'country = "DE"\nlegal_id = "HRB 1"\ncontact = "a@b.example"\ndpo = "none"\n'
    (office.folder / "config.toml").write_text(text, encoding="utf-8")
    office.open()
    assert documents.draw(office.house, "record", quarter_of(office.now))[1] == ()


def call(office: SmallOffice, capsys: Any, *words: str) -> tuple[int, str, str]:
    code = run(app, ["--home", str(office.folder), "documents", "make", *words], "coop")
    said = capsys.readouterr()
    return code, said.out, said.err


def test_files_are_written_and_the_same_again(office: SmallOffice, capsys: Any) -> None:
    code, out, _ = call(office, capsys, "all", "--quarter", "2026Q1", "--json")
    assert code == 0
    written = [Path(name) for one in json.loads(out)["written"] for name in one["files"]]
    assert {one.suffix for one in written} == {".md", ".html", ".json", ".csv"}
    before = {one: one.read_bytes() for one in written}
    assert call(office, capsys, "all", "--quarter", "2026Q1")[0] == 0
    assert {one: one.read_bytes() for one in written} == before
    rows = list(csv.reader((office.folder / "documents" / "record.csv").open(encoding="utf-8")))
    assert rows[0] == ["processing", "data", "kept"] and len(rows) > 4


@pytest.mark.parametrize(
    "words", [("novel",), ("record", "--format", "pdf"), ("transparency", "--quarter", "soon")]
)
def test_what_there_is_not_is_said(
    office: SmallOffice, capsys: Any, words: tuple[str, ...]
) -> None:
    code, _, err = call(office, capsys, *words)
    assert code in (2, 5) and err
    assert not (office.folder / "documents").exists()
