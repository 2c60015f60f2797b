"""One fault at each stage, in each direction: the exact sum of who is left, or a clean abort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from secagg_world import STAGES, World

from protocols.codec import decode_reply, decode_request, encode_message
from protocols.errors import CoopError, RemoteError
from protocols.secagg import Aggregator, Member, MemberState, OfficeState, RoundResult, Stage
from protocols.secagg.messages import MaskRequest

FAULTS = ("kill", "restart", "duplicate", "reorder", "truncate")


class Link:
    """Carries one round as bytes, and does one thing wrong to one member at one stage."""

    def __init__(self, fault: str, at: Stage, way: str) -> None:
        self.world = World(n=7, dim=30, seed=f"{fault} {at} {way}")
        self.fault, self.at, self.way = fault, at, way
        self.members: dict[bytes, Member] = self.world.members()
        self.office: Aggregator = self.world.aggregator()
        self.hit = self.world.ids[2]
        self.refused: list[CoopError] = []

    def wrong(self, stage: Stage, one: bytes, way: str) -> bool:
        return (stage, one, way) == (self.at, self.hit, self.way)

    def ask(self, stage: Stage, one: bytes, data: bytes) -> bytes | None:
        """The member's side: bytes in, bytes out, None when it refuses or is silent."""
        member = self.members[one]
        try:
            request = decode_request(stage, data)
            reply = member.step(request)
            if isinstance(request, MaskRequest):
                reply = member.mask(self.world.update(one), 1)
        except CoopError as error:
            self.refused.append(error)
            return None
        assert reply is not None
        return encode_message(reply)

    def down(self, stage: Stage, one: bytes, data: bytes) -> bytes | None:
        if not self.wrong(stage, one, "down"):
            return self.ask(stage, one, data)
        match self.fault:
            case "kill":
                return None
            case "restart":
                drawn = self.world.entropies[one]
                self.members[one] = self.world.member(one, tag="restarted")
                if stage > Stage.MASK:  # what it drew for the vector that is in the sum
                    self.world.entropies[one] = drawn
                return self.ask(stage, one, data)
            case "duplicate":
                first, second = self.ask(stage, one, data), self.ask(stage, one, data)
                assert second == (first if stage >= Stage.AGREE else None)
                return first
            case "truncate":
                return self.ask(stage, one, data[:-1])
            case _:  # the request of another stage before its own
                other = encode_message(self.seen[Stage((stage + 1) % len(STAGES))])
                self.ask(Stage((stage + 1) % len(STAGES)), one, other)
                return self.ask(stage, one, data)

    def up(self, stage: Stage, one: bytes, data: bytes) -> None:
        sent = [data]
        if self.wrong(stage, one, "up"):
            sent = {
                "kill": [],
                "duplicate": [data, data],
                "truncate": [data[:-1]],
            }.get(self.fault, sent)
        for each in sent:
            try:
                self.office.receive(one, decode_reply(stage, each, one.hex()))
            except CoopError as error:
                self.refused.append(error)

    def run(self, seen: Mapping[Stage, Any]) -> RoundResult:
        self.seen = seen
        out = self.office.open()
        for stage in STAGES:
            answers = [
                (one, answer)
                for one, request in out.items()
                if (answer := self.down(stage, one, encode_message(request))) is not None
            ]
            if self.fault == "reorder" and stage is self.at and self.way == "up":
                answers.reverse()
            for one, answer in answers:
                self.up(stage, one, answer)
            out = self.office.close_stage()
        return self.office.result()


def honest() -> dict[Stage, Any]:
    """The requests of a round of other members: well formed, of no use here."""
    link, seen = Link("none", Stage.ADVERTISE, "up"), {}
    out = link.office.open()
    for stage in STAGES:
        seen[stage] = next(iter(out.values()))
        for one, request in out.items():
            answer = link.ask(stage, one, encode_message(request))
            assert answer is not None
            link.up(stage, one, answer)
        out = link.office.close_stage()
    return seen


HONEST = honest()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name.lower())
@pytest.mark.parametrize(
    ("fault", "way"),
    [(f, w) for f in FAULTS for w in ("down", "up") if (f, w) != ("restart", "up")],
)
def test_one_fault_costs_one_member_at_most(fault: str, stage: Stage, way: str) -> None:
    link = Link(fault, stage, way)
    result = link.run(HONEST)
    columns = zip(*(link.world.quantised(one, 1) for one in result.u3), strict=True)
    assert result.sum.tolist() == [sum(column) for column in columns]
    assert set(link.world.ids) - set(result.u3) <= {link.hit}
    gone = link.hit not in result.u3
    harmless = way == "up" and fault in ("duplicate", "reorder")
    assert gone == (stage <= Stage.MASK and not harmless and not survives(fault, stage, way))
    assert {blame.member for blame in result.blamed} <= {link.hit}


def survives(fault: str, stage: Stage, way: str) -> bool:
    """A restart before the first answer loses nothing; a vector that has arrived stays in."""
    if fault == "restart" and way == "down":
        return stage is Stage.ADVERTISE
    return fault == "duplicate" and stage is Stage.MASK


@pytest.mark.parametrize("stage", STAGES[1:], ids=lambda stage: stage.name.lower())
def test_a_member_that_was_restarted_does_not_resume(stage: Stage) -> None:
    link = Link("restart", stage, "down")
    link.run(HONEST)
    assert link.members[link.hit].state is MemberState.ABORTED
    assert any("while this member was start" in str(error) for error in link.refused)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name.lower())
def test_too_many_faults_end_the_round_cleanly(stage: Stage) -> None:
    link = Link("none", stage, "down")
    lost = frozenset(link.world.ids[: 3 if stage < Stage.UNMASK else 4])
    out = link.office.open()
    with pytest.raises(RemoteError, match="are needed"):
        for now in STAGES:
            for one, request in out.items():
                if now is stage and one in lost:
                    continue
                answer = link.ask(now, one, encode_message(request))
                assert answer is not None
                link.up(now, one, answer)
            out = link.office.close_stage()
    assert link.office.state is OfficeState.ABORTED
    assert link.office.spent == (stage >= Stage.AGREE)
