"""Real processes from invitation to release: dropout, refusal, restart, crash, verify."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.complete_journey import export, lying
from live_coop import COORDINATOR, NODE, Cooperative, Event, Process, ask, cooperative, run

SHOPS, ROUNDS = 6, 20
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def coop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cooperative]:
    with cooperative(tmp_path_factory.mktemp("coop")) as made:
        made.found(SHOPS)
        made.start_shops(fresh=True)
        yield made


def test_a_shop_forecasts_before_it_takes_part_in_anything(coop: Cooperative) -> None:
    made = ask(NODE, coop.shops[0].home, "forecast")
    assert made["method"] == "own" and made["model"] == ""
    assert {"SOFT DRINKS", "CHEESE", "EGGS"} <= {line["category_code"] for line in made["lines"]}
    assert all(line["p10"] <= line["p50"] <= line["p90"] for line in made["lines"])


def test_a_run_survives_a_killed_node_and_ends_with_a_release_that_verifies(
    coop: Cooperative,
) -> None:
    killed: list[str] = []

    def kill_after_masked(process: Process, event: Event) -> None:
        wanted = event["event"] == "stage" and event["stage"] == "masked update sent"
        if wanted and event["round"] == 2 and not killed:
            killed.append(process.name)
            process.kill()

    for shop in coop.shops:
        shop.on_event = kill_after_masked
    name = coop.launch(ROUNDS)
    victim = None
    while victim is None:
        victim = next((one for one in coop.shops if one.name in killed), None)
        time.sleep(0.05)
    victim.on_event = lambda process, event: None
    victim.process.wait()
    seen = len(victim.events)
    victim.start()
    end = coop.end_of(name)
    survivors = coop.rounds_of(name)
    assert len(survivors) == ROUNDS + 1, "the rounds of training and one of evaluation"
    assert survivors[2:] == [SHOPS] * (ROUNDS - 1), "the victim is back in the next round"
    assert survivors[0] == SHOPS and survivors[1] in (SHOPS - 1, SHOPS)
    victim.wait(lambda e: e["event"] == "stage" and e["round"] == 3, since=seen)
    assert end["state"] in ("released", "refused"), end
    if end["state"] == "refused":
        assert "c15" in end["detail"], end
        pytest.fail(f"the blend did not beat the baseline on these shops: {end['detail']}")
    model = end["detail"]
    checks = ask(COORDINATOR, coop.office_home, "verify", "--release", model[:12])["checks"]
    assert any(line.startswith("rounds:") for line in checks)
    shop = coop.shops[0]
    shop.wait(lambda e: e["event"] == "document" and e["kind"] == "release")
    pulled = ask(NODE, shop.home, "models", "pull")
    assert pulled["model"] == model and any(c.startswith("model:") for c in pulled["checks"])
    assert ask(NODE, shop.home, "forecast")["model"] == model
    assert ask(NODE, shop.home, "forecast")["method"] == "blend"
    listed = ask(NODE, shop.home, "models", "list")["models"]
    assert listed[0]["state"] == "used" and listed[0]["own_scores"]["scores"]["blend"]["wape"] > 0


def test_an_order_waits_for_approval_by_default_and_refusing_keeps_the_node_out(
    coop: Cooperative,
) -> None:
    shop = coop.shops[1]
    from node.house import open_member

    member = open_member(shop.home)
    member.approvals.revoke(coop.digest())
    member.close()
    name = coop.launch(1, "--rejoin-s", "2")
    shop.wait(lambda e: e["event"] == "order" and e["run"] == name and e["answer"] == "pending")
    waiting = [o for o in ask(NODE, shop.home, "orders")["orders"] if o["state"] == "pending"]
    assert waiting[0]["run"] == name and "c16" in waiting[0]["reasons"][0]
    run(NODE, shop.home, "refuse", name[:8], "--reason", "stocktaking")
    said = coop.office.wait(
        lambda e: e["event"] == "answer" and e["run"] == name and e["answer"] == "refused"
    )
    assert said["name"] == shop.name and "c16" in said["reasons"]
    assert "stocktaking" not in said["reasons"], "the reason stays on the node"
    end = coop.end_of(name)
    assert coop.rounds_of(name) == [SHOPS - 1] * 2, "the round went on without that node"
    assert end["state"] in ("released", "refused")
    run(NODE, shop.home, "approve", coop.digest(), "--always", "--yes")


def test_every_node_refuses_an_order_under_an_agreement_changed_by_one_figure(
    coop: Cooperative,
) -> None:
    forged = lying.send_forged_order(coop.office_home, 3)
    for shop in coop.shops:
        event = shop.wait(lambda e: e["event"] == "order" and e["run"] == forged.run)
        assert event["answer"] == "refused"
        clause, sentence = lying.shown(event["reasons"], "c14")
        assert clause == "c14" and "at least 5" in sentence
        assert "min_cohort: 5 -> 3" in event["reasons"]


def test_a_killed_coordinator_resumes_its_run(coop: Cooperative) -> None:
    office = coop.office
    seen = len(office.events)

    def kill_in_round_two(process: Process, event: Event) -> None:
        if event["event"] == "round" and event["round"] == 2:
            process.process.kill()

    office.on_event = kill_in_round_two
    name = coop.launch(6)
    office.process.wait(120)
    office.on_event = lambda process, event: None
    office.start()
    office.wait(lambda e: e["event"] == "listening", since=seen)
    end = coop.end_of(name)
    if end["state"] == "failed":
        assert "spent" in end["detail"], "a spent round that cannot be finished says so"
    else:
        assert end["state"] in ("released", "refused")
        assert len(coop.rounds_of(name)) == 7


def test_sigterm_ends_a_node_cleanly_and_its_log_verifies(coop: Cooperative) -> None:
    shop = coop.shops[2]
    assert shop.stop() == 0
    assert shop.events[-1]["event"] == "stopped"
    checks = ask(NODE, shop.home, "verify")["checks"]
    assert "entries" in checks[0]
    log = (shop.home / "audit" / "log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["kind"] == "stop"
    shop.start()
    shop.wait(lambda e: e["event"] == "connected")


def test_a_second_start_in_the_same_home_is_refused(coop: Cooperative) -> None:
    done = run(NODE, coop.shops[0].home, "start", expect=75)
    assert "running already" in done.stderr


def test_doctor_finds_a_healthy_node_and_office(coop: Cooperative) -> None:
    node = ask(NODE, coop.shops[0].home, "doctor")
    assert all(f["ok"] for f in node["findings"]), node
    office = ask(COORDINATOR, coop.office_home, "doctor")
    assert all(f["ok"] for f in office["findings"]), office


def test_a_removed_member_cannot_connect_and_a_roster_without_it_is_proposed(
    coop: Cooperative,
) -> None:
    gone = coop.shops[5]
    done = run(COORDINATOR, coop.office_home, "member", "remove", "Shop 5", "--yes")
    assert "roster" in done.stdout
    gone.wait(lambda e: e["event"] == "waiting" and "removed" in e["problem"])
    gone.stop()
    for shop in coop.shops[:5]:
        run(NODE, shop.home, "agreement", "sign", "--roster", "--yes")
    standings = ask(COORDINATOR, coop.office_home, "agreement", "status")["documents"]
    rosters = [one for one in standings if one["kind"] == "roster"]
    assert len(rosters) == 1 and rosters[0]["in_force"]


def test_a_newcomer_accepts_the_chain_of_rosters(coop: Cooperative) -> None:
    newcomer = coop.enrol(SHOPS)
    run(COORDINATOR, coop.office_home, "agreement", "propose")
    run(NODE, newcomer.home, "agreement", "sign", coop.agreement(), "--yes")
    for shop in coop.shops[:5]:
        run(NODE, shop.home, "agreement", "sign", "--roster", "--yes")
    coop.shops.append(newcomer)
    run(NODE, newcomer.home, "approve", coop.digest(), "--always", "--yes")
    newcomer.start()
    newcomer.wait(lambda e: e["event"] == "connected")
    name = coop.launch(1)
    newcomer.wait(
        lambda e: e["event"] == "order" and e["run"] == name and e["answer"] == "admitted"
    )
    assert coop.end_of(name)["state"] in ("released", "refused")


def test_the_operator_can_abort_a_run(coop: Cooperative) -> None:
    name = coop.launch(50)
    coop.office.wait(lambda e: e["event"] == "round" and e["run"] == name)
    run(COORDINATOR, coop.office_home, "run", "abort", name[:8], "--yes")
    found = ask(COORDINATOR, coop.office_home, "run", "status", name)["runs"][0]
    assert found["state"] == "aborted" and found["published"] < 50


def test_sigterm_ends_the_office_cleanly_and_its_log_verifies(coop: Cooperative) -> None:
    assert coop.office.stop() == 0
    checks = ask(COORDINATOR, coop.office_home, "verify")["checks"]
    assert "entries" in checks[0]


def test_a_node_without_its_coordinator_says_so_and_waits(coop: Cooperative) -> None:
    event = coop.shops[0].wait(lambda e: e["event"] == "waiting", timeout_s=60)
    assert "coordinator" in event["problem"]
    for shop in coop.shops:
        if shop.process.poll() is None:
            assert shop.stop() == 0


def test_nothing_of_a_shop_but_masked_bytes_reached_the_office(coop: Cooperative) -> None:
    """No product, receipt, loyalty card or file of a shop is in any file of the office."""
    with coop.exports[0].open() as lines:
        header, first = next(lines).strip().split(","), next(lines).strip().split(",")
    row = dict(zip(header, first, strict=True))
    needles = [coop.exports[0].name, *(v for v in row.values() if len(v) >= 7)]
    categories = " ".join(export.categories())  # the order names these
    needles = [one for one in needles if one not in categories]
    assert len(needles) >= 2, row
    for file in sorted(Path(coop.office_home).rglob("*")):
        content = file.read_bytes() if file.is_file() else b""
        for needle in needles:
            assert needle.encode() not in content, f"{needle!r} in {file}"
