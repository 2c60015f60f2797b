"""A membership through real processes: a new key, a lost laptop, a pause, leaving, the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from live_coop import COORDINATOR, NODE, Cooperative, Process, ask, cooperative, free_ports, run

pytestmark = pytest.mark.e2e


def enrol(coop: Cooperative, number: int, folder: str, *words: str) -> Path:
    home, name = coop.root / folder, f"Shop {number}"
    run(NODE, home, "init")
    invited = ask(COORDINATOR, coop.office_home, "member", "invite", name, *words)
    run(NODE, home, "join", invited["link"], "--name", name, "--yes")
    return home


@pytest.fixture(scope="module")
def coop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cooperative]:
    """Three shops that have signed the agreement and each other's roster; one runs."""
    with cooperative(tmp_path_factory.mktemp("coop")) as made:
        join, link = free_ports(2)
        run(
            COORDINATOR,
            made.office_home,
            *("init", "--name", "Test", "--profile", "B", "--host", "127.0.0.1"),
            *("--join-port", str(join), "--link-port", str(link)),
        )
        (made.office_home / "config.toml").write_text('bind = "127.0.0.1"\njoin_per_minute = 600\n')
        made.office.start()
        made.office.wait(lambda e: e["event"] == "listening")
        homes = [enrol(made, number, f"shop-{number}") for number in range(3)]
        draft = str(made.root / "draft.json")
        run(COORDINATOR, made.office_home, "agreement", "new", draft)
        run(COORDINATOR, made.office_home, "agreement", "propose", draft)
        for home in homes:
            run(NODE, home, "agreement", "sign", "--yes")
        made.shops.append(Process("Shop 0", NODE, homes[0], "start").start())
        made.shops[0].wait(lambda e: e["event"] == "connected")
        yield made


def members(coop: Cooperative) -> dict[str, str]:
    """Id -> how it stands."""
    listed = ask(COORDINATOR, coop.office_home, "member", "list")["members"]
    return {one["id"]: one["presence"] for one in listed}


def test_a_running_node_takes_its_new_key_when_the_others_signed(coop: Cooperative) -> None:
    zero, one, two = (coop.root / f"shop-{number}" for number in range(3))
    old = ask(NODE, zero, "key", "show")["member"]
    run(NODE, zero, "key", "renew", "--yes")
    coop.office.wait(lambda e: e["event"] == "succession")
    shown = ask(NODE, one, "roster", "diff")["renewed"]
    assert [(pair["old"]["id"]) for pair in shown] == [old]
    since = len(coop.shops[0].events)
    for home in (one, two):
        run(NODE, home, "roster", "sign", "--yes")
    coop.shops[0].wait(lambda e: e["event"] == "connected", since=since)
    new = ask(NODE, zero, "key", "show")
    assert new["member"] == shown[0]["new"]["id"] != old and new["next"] is None
    assert members(coop)[old] == "removed" and members(coop)[new["member"]] == "here"
    run(NODE, zero, "verify")  # the log goes on under the key that it began with
    problems = [e for e in coop.shops[0].events if e["event"] in ("out", "fork")]
    assert not problems


def test_a_lost_laptop_a_pause_and_the_end_of_the_agreement(coop: Cooperative) -> None:
    zero, one, two = (coop.root / f"shop-{number}" for number in range(3))
    lost = ask(NODE, two, "key", "show")["member"]
    back = enrol(coop, 2, "shop-2-again", "--replaces", "Shop 2", "--yes")
    run(COORDINATOR, coop.office_home, "agreement", "propose")
    assert [pair["old"]["id"] for pair in ask(NODE, one, "roster", "diff")["renewed"]] == [lost]
    for home in (zero, one):
        run(NODE, home, "roster", "sign", "--yes")
    run(NODE, back, "agreement", "sign", "--yes")
    assert members(coop)[lost] == "removed"
    stolen = run(NODE, two, "doctor", expect=1)
    assert "revoked" in stolen.stdout or "removed" in stolen.stdout

    run(NODE, zero, "suspend", "--yes")
    coop.office.wait(lambda e: e["event"] == "membership" and e["state"] == "suspended")
    assert "suspended" in members(coop).values()
    run(NODE, zero, "resume", "--yes")
    too_soon = run(NODE, one, "leave", "--on", "2020-01-31", "--yes", expect=3)
    assert "c29" in too_soon.stderr

    first = ask(NODE, zero, "agreement", "terminate", "--reason", "We part.", "--yes")
    assert (first["signed"], first["ended"]) == (1, False)
    coop.office.wait(lambda e: e["event"] == "termination")
    second = ask(NODE, one, "agreement", "terminate", "--yes")
    assert second["signed"] == second["needed"] == 2 and second["ended"]
    (terms,) = [
        one
        for one in ask(COORDINATOR, coop.office_home, "agreement", "status")["documents"]
        if one["kind"] == "agreement"
    ]
    assert terms["state"] == "terminated"
    run(COORDINATOR, coop.office_home, "verify")
