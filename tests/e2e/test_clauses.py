"""Clauses bite through real processes: an office, six shops, and orders that break one clause each.

Most orders here go past the office's own launch gate with the operator's real key: each shop's
node has to refuse by itself, naming the clause and the figure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from examples.complete_journey import export
from forged_orders import Fields, Forgery, post_order
from live_coop import COORDINATOR, NODE, Cooperative, ask, cooperative, run
from node.sdk import Cooperative as Sdk
from protocols.errors import Refused
from protocols.signing import SigningKey

SHOPS = 6
pytestmark = pytest.mark.e2e


def config() -> Fields:
    return {
        "categories": sorted(export.categories()),
        "train_until": export.TRAIN_UNTIL.isoformat(),
        "holdout_weeks": export.HOLDOUT_WEEKS,
    }


@pytest.fixture(scope="module")
def coop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cooperative]:
    with cooperative(tmp_path_factory.mktemp("clauses")) as made:
        made.found(
            SHOPS, agreed=("--set", "max_uses_per_day=3", "--set", "recipients=contributors")
        )
        made.start_shops()
        yield made


def other_digest(honest: Fields) -> Fields:
    return {"workload": {**honest["workload"], "digest": "ab" * 32}}


def beyond_the_term(honest: Fields) -> Fields:
    return {"deadline": honest["agreement_ends"] + timedelta(days=1)}


FORGERIES: dict[str, tuple[Forgery, str, str]] = {
    "a stranger in the cohort": (
        Forgery(lambda honest: {"cohort": sorted([*honest["cohort"], "ab" * 32])}),
        "c01",
        f"1 of {SHOPS + 1} in the cohort",
    ),
    "another key than the operator's": (
        Forgery(key=SigningKey(b"\x07" * 32)),
        "c05",
        "signature of the operator's key",
    ),
    "a forbidden purpose": (
        Forgery(lambda honest: {"purpose": "price_setting"}),
        "c07",
        "'price_setting' is forbidden",
    ),
    "a column that nobody declared": (
        Forgery(lambda honest: {"columns": [*honest["columns"], "customer_name"]}),
        "c08",
        "customer_name",
    ),
    "code that nobody listed": (Forgery(other_digest), "c13", "abababab"),
    "a smaller sum": (
        Forgery(lambda honest: {"min_cohort": 3}),
        "c14",
        "at least 5",
    ),
    "a weight above the others'": (
        Forgery(lambda honest: {"config": {**honest["config"], "w_max": 4}}),
        "c17",
        "w_max",
    ),
    "a deadline after the agreement": (Forgery(beyond_the_term), "c30", "after the agreement ends"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_every_node_refuses_and_names_the_clause(coop: Cooperative, name: str) -> None:
    forgery, clause, figure = FORGERIES[name]
    made = post_order(coop.office_home, forgery, config())
    for shop in coop.shops:
        event = shop.wait(lambda e: e["event"] == "order" and e["run"] == made)
        assert event["answer"] == "refused"
        mine = [one for one in event["reasons"].split("; ") if one.startswith(clause)]
        assert any(figure in one for one in mine), event["reasons"]


HONEST = Forgery()


def reasons(coop: Cooperative, number: int, made: str) -> str:
    """What the node of a shop said to an order; AssertionError if it did not refuse."""
    event = coop.shops[number].wait(lambda e: e["event"] == "order" and e["run"] == made)
    assert event["answer"] == "refused", event
    return str(event["reasons"])


def refused_launch(coop: Cooperative) -> str:
    """What the office's own gate says to a launch; AssertionError if it lets it out."""
    settings = coop.root / "settings.json"
    settings.write_text(json.dumps(config()))
    words = ("run", "launch", "--rounds", "2", "--settings", str(settings), "--yes")
    done = run(COORDINATOR, coop.office_home, *words, expect=3)
    return done.stdout + done.stderr


def test_an_overdue_answer_to_a_customer_keeps_the_node_out(coop: Cooperative) -> None:
    home = coop.shops[0].home
    asked = ("--kind", "access", "--customer", "4711", "--received", "2026-01-02")
    run(NODE, home, "requests", "open", *asked)
    made = post_order(coop.office_home, HONEST, config())
    assert reasons(coop, 0, made).startswith("c12")
    number = ask(NODE, home, "requests", "list")["requests"][0]["id"]
    run(NODE, home, "requests", "close", str(number), "--how", "answered by letter")


def test_a_paused_node_refuses_and_the_office_does_not_ask_it(coop: Cooperative) -> None:
    run(NODE, coop.shops[0].home, "suspend", "--yes")
    made = post_order(coop.office_home, HONEST, config())
    assert "c29" in reasons(coop, 0, made)
    run(NODE, coop.shops[0].home, "resume", "--yes")


def test_an_incident_freezes_the_office_and_every_node(coop: Cooperative) -> None:
    opened = ("incident", "open", "--what", "A laptop of the office was stolen", "--yes")
    number = ask(COORDINATOR, coop.office_home, *opened)["incident"]
    assert "c25" in refused_launch(coop)
    made = post_order(coop.office_home, HONEST, config())
    for at in range(SHOPS):
        assert "c25" in reasons(coop, at, made)
    run(COORDINATOR, coop.office_home, "incident", "notify", number[:8], "--yes")
    run(COORDINATOR, coop.office_home, "incident", "close", number[:8], "--yes")


def test_an_office_in_another_country_launches_nothing(coop: Cooperative) -> None:
    file = coop.office_home / "config.toml"
    before = file.read_text()
    file.write_text(before.replace('country = "DE"', 'country = "US"'))
    said = refused_launch(coop)
    assert "c22" in said and "US" in said and "DE" in said
    file.write_text(before)


def test_who_did_not_take_part_cannot_open_the_model_and_uses_are_counted(
    coop: Cooperative,
) -> None:
    outside, inside = coop.shops[-1], coop.shops[0]
    run(NODE, outside.home, "approvals", "revoke", coop.digest())
    made = coop.launch(20, "--rejoin-s", "2")
    outside.wait(lambda e: e["event"] == "order" and e["run"] == made and e["answer"] == "pending")
    run(NODE, outside.home, "refuse", made[:8], "--reason", "stocktaking")
    end = coop.end_of(made)
    assert end["state"] == "released", end
    assert coop.rounds_of(made) == [SHOPS - 1] * 21
    for shop in (outside, inside):
        shop.wait(lambda e: e["event"] == "document" and e["kind"] == "release")
    refused = run(NODE, outside.home, "models", "pull", expect=3)
    assert "c18" in refused.stdout + refused.stderr
    run(NODE, inside.home, "models", "pull")
    for _ in range(3):
        assert ask(NODE, inside.home, "forecast")["method"] == "blend"
    stopped = run(NODE, inside.home, "forecast", expect=3)
    assert "c21" in stopped.stdout + stopped.stderr
    with pytest.raises(Refused) as error:
        Sdk.local(inside.home).forecast(purpose="price_setting")
    assert "c07" in error.value.clauses
