"""What a node remembers of the sums that it was shown, and that nobody can make it forget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from test_orders import coop

from coordinator.store.runs import State
from protocols.ids import RunId
from protocols.secagg.messages import Stage
from sim_operations import SplitView
from sim_papers import papers
from sim_world import World


def test_a_sum_that_this_node_found_wrong_is_not_followed_whoever_confirmed_it(
    tmp_path: Path,
) -> None:
    """In a spot check one honest auditor may miss what another one saw."""
    world = World(tmp_path, papers(rounds=2))
    asked: list[Any] = []

    def first_is_shown_another_vector(request: Any) -> Any:
        asked.append(request)
        if len(asked) > 1:
            return request
        return replace(request, vectors=(bytes(len(request.vectors[0])), *request.vectors[1:]))

    view = SplitView(tuple(world.nodes), Stage.AUDIT, first_is_shown_another_vector)
    assert world.play([view]) is not State.FAILED
    (misled,) = (name for name, node in world.nodes.items() if node.refusals())
    first, *later = world.nodes[misled].refusals()
    assert "is not the one it signed" in first
    assert later and all("found to be wrong" in reason for reason in later)
    assert world.nodes[misled].participant.trace.number == 0  # type: ignore[union-attr]


def test_the_same_order_again_does_not_make_a_running_node_forget(tmp_path: Path) -> None:
    """Else a coordinator could have a node answer for one claimed sum after the other."""
    one = coop(tmp_path)
    one.letters()
    run = RunId(one.papers.order.order.run)
    house = next(iter(one.houses.values()))
    before = house.rooms._live[run]
    house.rooms.receive(house.order().jws)
    assert house.rooms._live[run] is before
