"""``coop-node agreement show | diff``: what a member reads before it signs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from agreement_world import BOTH, COOP, ME
from privacy_world import Shop

from node.cli.app import app
from node.cli.shell import run
from node.policy.agreements import Agreements
from protocols.agreement.template import amend
from protocols.canonical import json_bytes
from protocols.errors import Code, LocalError

LOOSER = amend(BOTH, "c14", {"min_cohort": 4}, "At least 4 members are in every sum.")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path / "node.db")

    def member(home: Path | None) -> object:
        desk = Agreements(made.database, COOP, ME, made.journal, lambda: made.now)
        return SimpleNamespace(database=made.database, agreements=desk)

    def no_letters(member: object) -> None:
        raise LocalError("the coordinator does not answer.", code=Code.UNAVAILABLE)

    monkeypatch.setattr("node.house.open_member", member)
    monkeypatch.setattr("node.federation.post.exchange", no_letters)
    return made


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert run(app, ["agreement", *words], "coop-node") == code
    return capsys.readouterr().out


def test_the_page_is_written_to_a_file(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.sign()
    file = tmp_path / "page.html"
    said = printed(capsys, "show", "--html", str(file))
    assert "What this lets others do, and what not" in said
    html = file.read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert BOTH.agreement.title in html


def test_a_proposal_is_compared_with_what_was_signed(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.sign()
    desk = Agreements(shop.database, COOP, ME, shop.journal, lambda: shop.now)
    desk.receive("agreement", json_bytes(LOOSER.document))
    file = tmp_path / "diff.html"
    said = printed(capsys, "diff", "--html", str(file))
    assert "min_cohort: 5 -> 4 (looser)" in said
    assert "<table>" in file.read_text("utf-8")
    document = json.loads(printed(capsys, "diff", LOOSER.id[:12], "--json"))
    assert (document["from"], document["to"]) == (BOTH.id, LOOSER.id)
    [change] = document["changes"]
    assert change["figures"][0]["direction"] == "looser"


def test_without_a_signature_there_is_nothing_to_compare(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, "diff", code=1)
    desk = Agreements(shop.database, COOP, ME, shop.journal, lambda: shop.now)
    desk.receive("agreement", json_bytes(LOOSER.document))
    printed(capsys, "diff", code=1)
    assert "at least 4 members in every sum" in " ".join(printed(capsys, "show").split())
