"""The contract of ``protocols.aggregation``: what every way to make a sum has to keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from secagg_world import World

from protocols.aggregation import MODES, MemberMachine, Mode, mode
from protocols.errors import CoopError, InputError, LocalError, RemoteError
from protocols.secagg import RoundResult


class Played:
    """One round through nothing but the interface."""

    def __init__(self, way: Mode, gone: int = 0, seed: str = "contract") -> None:
        self.way, self.world = way, World(n=6, dim=50, seed=seed)
        self.members: dict[bytes, MemberMachine] = self.world.members()  # type: ignore[assignment]
        world = self.world
        self.office = way.aggregator(world.descriptor(), world.coordinator, world.roster)
        self.vectors: dict[bytes, bytes] = {}
        self.seen: dict[bytes, list[Any]] = {one: [] for one in world.ids}
        self.silent = frozenset(world.ids[:gone])
        self.exchanges = 0

    def answer(self, one: bytes, request: Any) -> Any:
        self.seen[one].append(request)
        reply = self.members[one].step(request)
        if reply is None:
            if one in self.silent:
                return None
            reply = self.members[one].mask(self.world.update(one), 1)
            self.vectors[one] = reply.vector
        return reply

    def run(self) -> RoundResult:
        out: Mapping[bytes, Any] = self.office.open()
        while out:
            self.exchanges += 1
            for one, request in out.items():
                reply = self.answer(one, request)
                if reply is not None:
                    self.office.receive(one, reply)
            assert self.office.enough()
            out = self.office.close_stage()
        return self.office.result()

    def plain(self, result: RoundResult) -> list[int]:
        rows = [self.world.quantised(one, 1) for one in result.u3]
        return [int(value) for value in np.sum(rows, axis=0)]

    def confirm(self, one: bytes, request: Any) -> Any:
        world = self.world
        return self.way.confirm(
            request,
            identity=world.keys[one],
            roster=world.roster,
            coordinator_key=world.coordinator.public,
        )


@pytest.fixture(params=sorted(MODES))
def way(request: pytest.FixtureRequest) -> Mode:
    return mode(request.param)


def test_a_mode_that_nobody_knows() -> None:
    with pytest.raises(InputError, match="does not know"):
        mode("SA-2H")


@pytest.mark.parametrize("gone", [0, 1])
def test_the_sum_is_the_sum_of_the_survivors(way: Mode, gone: int) -> None:
    played = Played(way, gone)
    result = played.run()
    assert result.u3 == played.world.ids[gone:]
    assert result.sum.tolist() == played.plain(result)
    assert played.exchanges == way.exchanges >= way.steady_exchanges
    assert not played.office.blamed and not played.office.waiting_for


def test_too_few_survivors_end_the_attempt(way: Mode) -> None:
    played = Played(way, gone=3)
    with pytest.raises((AssertionError, RemoteError)):
        played.run()
    with pytest.raises(RemoteError, match="are needed"):
        played.office.close_stage()
    assert not played.office.spent
    with pytest.raises(LocalError):
        played.office.result()


def test_nobody_steps_on_a_sum_that_is_not_confirmed(way: Mode) -> None:
    played = Played(way)
    result, world = played.run(), played.world
    with pytest.raises(RemoteError):
        way.check(result.published, world.descriptor(), world.roster)
    audit = way.audit(result, world.roster, played.vectors.__getitem__)
    while not audit.done:
        for one, request in audit.due().items():
            audit.receive(one, played.confirm(one, request))
    way.check(audit.published(), world.descriptor(), world.roster)


def test_a_false_sum_is_confirmed_by_nobody(way: Mode) -> None:
    played = Played(way)
    result = played.run()
    false = replace(result, published=replace(result.published, total=result.sum + 1))
    audit = way.audit(false, played.world.roster, played.vectors.__getitem__)
    refused = 0
    with pytest.raises(RemoteError, match="are left"):
        while True:
            for one, request in audit.due().items():
                with pytest.raises(RemoteError):
                    played.confirm(one, request)
                refused += 1
            audit.lapse()
    assert refused >= 5 and not audit.done


def test_a_vector_leaves_a_member_once(way: Mode) -> None:
    played = Played(way)
    played.run()
    for one, member in played.members.items():
        with pytest.raises(LocalError):
            member.mask(played.world.update(one), 1)
        masked = next(r for r in played.seen[one] if "Mask" in type(r).__name__)
        with pytest.raises(CoopError):
            member.step(masked)


def test_a_request_out_of_order_ends_the_attempt_for_a_member(way: Mode) -> None:
    played = Played(way)
    played.run()
    one = played.world.ids[0]
    for request in played.seen[one][1:]:
        fresh = played.world.member(one, tag="fresh")
        with pytest.raises(CoopError):
            fresh.step(request)
        with pytest.raises(RemoteError, match="over"):
            fresh.step(played.seen[one][0])


def test_all_sign_one_transcript_and_a_closed_member_has_forgotten(way: Mode) -> None:
    played = Played(way)
    result = played.run()
    assert {member.transcript for member in played.members.values()} == {result.a3}
    for one, member in played.members.items():
        member.close()
        with pytest.raises(RemoteError, match="over"):
            member.step(played.seen[one][-1])


def test_machines_count_what_they_cost(way: Mode) -> None:
    played = Played(way, gone=1)
    played.run()
    office, member = played.office.costs, played.members[played.world.ids[1]].costs
    assert [one.stage for one in office] == sorted({one.stage for one in member})
    vector = len(next(iter(played.vectors.values())))
    assert vector < sum(one.bytes_up for one in member) < vector + 2_000
    assert sum(one.bytes_up for one in office) >= 5 * vector
    assert sum(one.bytes_down for one in member) * 5 < sum(one.bytes_down for one in office)
    assert sum(one.masks_expanded for one in member) == 6  # its own, five pairs
    assert sum(one.masks_expanded for one in office) == 5 + 5  # survivors', pairs of the lost one
    assert sum(one.signatures_verified for one in member) == 1 + 6 + 5
    assert sum(one.signatures_verified for one in office) == 6 + 6 + 5 + 5
