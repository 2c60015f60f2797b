"""The switch over the real link: an incident ends the run in hand, and nothing starts until after.

Not an attack: what an operator does when there is one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from attack_coop import MASK, Coop, cooperative
from attack_lines import PATIENCE_S

from coordinator import incidents
from coordinator.launching import launch
from coordinator.store.incidents import Incident, Incidents
from protocols.audit.entries import Kind
from protocols.errors import Refused
from protocols.secagg.messages import Stage

WHAT = "The key of the server was copied."


@pytest.fixture(scope="module")
def coop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coop]:
    with cooperative(tmp_path_factory.mktemp("incident")) as made:
        yield made


def open_one(coop: Coop) -> Incident:
    with coop.office.house.database.read() as db:
        (found,) = Incidents(db).list(open_only=True)
    return found


def everybody_knows(coop: Coop, state: str) -> None:
    """Every node has the operator's letter and wrote it into its own log."""
    deadline = time.monotonic() + PATIENCE_S
    for name in coop.names:
        while True:
            told = [one.get("state") for one in coop.shops[name].journal(Kind.INCIDENT)]
            if state in told:
                break
            assert time.monotonic() < deadline, f"{name} knows {told}"
            time.sleep(0.05)


def test_an_incident_stops_the_run_in_hand_and_the_next_one(coop: Coop) -> None:
    house, rounds = coop.office.house, []

    def stolen(number: int, attempt: int, stage: Stage) -> None:
        """In the second round, when members are to be asked for their vectors."""
        rounds.append(number)
        if (number, stage) == (2, MASK):
            incidents.open_incident(house, what=WHAT, freeze=True, entropy=secrets.token_bytes)

    coop.malice.forget()
    coop.malice.watch = stolen
    scenario = coop.launch(rounds=8)
    everybody_knows(coop, "opened")
    assert "freezes all runs" in scenario.detail()
    plan = coop.plan()
    with pytest.raises(Refused, match="c25 incidents"):
        launch(house, plan)
    with pytest.raises(Refused, match="freezes all runs"):  # also where nobody asked the gate
        launch(house, replace(plan, denial=None))
    incidents.notify(house, open_one(coop))
    incidents.close(house, open_one(coop))
    everybody_knows(coop, "closed")
    assert max(rounds) == 2
    coop.malice.forget()
    assert coop.launch().ended() in ("released", "refused")
