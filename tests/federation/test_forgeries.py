"""Envelopes that are wrong: from members to the coordinator, and in the coordinator's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_dropouts import EVERYBODY, attempts, survivors

from coordinator.store.runs import State
from node.federation import client_app
from protocols.secagg import _phases
from protocols.secagg.fixedpoint import Lanes
from protocols.secagg.messages import Stage
from sim_checks import played
from sim_lies import CORRUPTIONS, sealed
from sim_operations import (
    ADVERTISE,
    AGREE,
    AUDIT,
    MASK,
    SHARE,
    STAGES,
    UNMASK,
    Abort,
    Corrupt,
    Forge,
)
from sim_papers import papers
from sim_world import World
from small_coop import COORDINATOR, OPERATOR

FIRST_ROUND = Abort(ADVERTISE, round=2)
UNREADABLE = ("no record", "text")  # no envelope at all: nobody can be blamed for its content


def incidents(world: World, name: str) -> list[str]:
    log = (world.home.folder / "audit" / "log.jsonl").read_text().splitlines()
    member = world.papers.member(name)
    return [line for line in log if '"kind":"incident"' in line and member in line]


@pytest.mark.parametrize("at", range(0, len(CORRUPTIONS), 2))
def test_a_wrong_answer_costs_its_sender_the_round_and_nobody_else(at: int, tmp_path: Path) -> None:
    """Two members send two kinds of wrong bytes in place of their masked vectors."""
    kinds = list(CORRUPTIONS)[at : at + 2]
    liars = dict(zip(("m2", "m5"), kinds, strict=False))
    world = World(tmp_path, papers(rounds=1))
    operations = [Corrupt(name, MASK, how=how) for name, how in liars.items()]
    assert played(world, [*operations, FIRST_ROUND]) is State.ABORTED
    assert attempts(world) == [0]
    assert survivors(world, 1) == EVERYBODY - set(liars)
    for name, how in liars.items():
        assert len(incidents(world, name)) == (0 if how in UNREADABLE else 1)


@pytest.mark.parametrize("how", ["garbage", "wrong signature", "stranger's key", "text"])
@pytest.mark.parametrize("stage", [ADVERTISE, SHARE, AGREE])
def test_a_wrong_answer_in_every_stage(stage: Stage, how: str, tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    played(world, [Corrupt("m2", stage, how=how), FIRST_ROUND])
    assert survivors(world, 1) == (EVERYBODY if stage is AGREE else EVERYBODY - {"m2"})
    assert attempts(world) == [0]


@pytest.mark.parametrize("how", ["garbage", "wrong signature", "stranger's key", "text", "cut"])
def test_a_wrong_confirmation_of_the_sum_counts_for_nothing(how: str, tmp_path: Path) -> None:
    """Four of seven confirm wrongly: the other three are enough, and the office knows who."""
    world = World(tmp_path, papers(rounds=1))
    liars = ("m1", "m2", "m3", "m4")
    state = played(world, [*(Corrupt(one, AUDIT, how=how) for one in liars), FIRST_ROUND])
    assert state is State.ABORTED and survivors(world, 1) == EVERYBODY
    asked = {one.member for one in world.said if one.stage is AUDIT}
    for name in liars:
        expected = name in asked and how not in UNREADABLE
        assert len(incidents(world, name)) == (1 if expected else 0)


def test_wrong_shares_are_found_and_blamed(tmp_path: Path) -> None:
    """[37] The shares of six members are enough; the log says who returned a wrong one."""
    world = World(tmp_path, papers(rounds=1))
    played(world, [Corrupt("m1", UNMASK, how="wrong share"), FIRST_ROUND])
    assert survivors(world, 1) == EVERYBODY
    (line,) = incidents(world, "m1")
    assert "returned wrong shares" in line or "returned one" in line


def test_too_many_wrong_shares_end_the_run(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    lies = [Corrupt(f"m{n}", UNMASK, how="wrong share") for n in range(1, 5)]
    assert played(world, lies) is State.FAILED
    assert "give its secret" in world.home.state()[1] and "spent" in world.home.state()[1]


def test_an_input_beyond_its_bounds_throws_the_sum_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that does not quantise as it should cannot get an impossible sum published."""
    honest, calls = _phases.quantise, []

    def greedy(*args: object) -> Lanes:
        lanes: Lanes = honest(*args)  # type: ignore[arg-type]
        calls.append(1)
        if len(calls) == 1:
            lanes[:-1] += 1 << (args[3].bits - 1)  # type: ignore[attr-defined]
        return lanes

    monkeypatch.setattr(_phases, "quantise", greedy)
    world = World(tmp_path, papers(rounds=1))
    assert played(world) is State.FAILED
    assert "the sum of 7 members has a coordinate of" in world.home.state()[1]
    assert world.home.records() == ()


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda envelope: b"",
    "garbage": lambda envelope: b"\xff" * 300,
    "cut": lambda envelope: envelope[:-1],
    "an unknown field": lambda envelope: envelope + b"\x98\x06\x01",
    "the operator's key": lambda envelope: sealed(envelope, OPERATOR),
    "a member's name": lambda envelope: sealed(envelope, COORDINATOR, sender=bytes(32)),
    "another stage": lambda envelope: sealed(envelope, COORDINATOR, stage=Stage.UNMASK),
    "a reply's stage": lambda envelope: sealed(envelope, COORDINATOR, stage=Stage.PUBLISH),
    "another round": lambda envelope: sealed(envelope, COORDINATOR, round=2),
    "a round far away": lambda envelope: sealed(envelope, COORDINATOR, round=10**6),
    "another attempt": lambda envelope: sealed(envelope, COORDINATOR, attempt=3),
    "another run": lambda envelope: sealed(envelope, COORDINATOR, run=bytes(16)),
    "another agreement": lambda envelope: sealed(envelope, COORDINATOR, agreement=bytes(32)),
    "an empty body": lambda envelope: sealed(envelope, COORDINATOR, body=b""),
    "too long a body": lambda envelope: sealed(envelope, COORDINATOR, body=bytes(300_000)),
}


@pytest.mark.parametrize("stage", [ADVERTISE, SHARE])
@pytest.mark.parametrize("at", range(0, len(FORGERIES), 2))
def test_a_forged_request_is_not_answered(stage: Stage, at: int, tmp_path: Path) -> None:
    forgeries = list(FORGERIES.values())[at : at + 2]
    told = dict(zip(("m3", "m6"), forgeries, strict=False))
    world = World(tmp_path, papers(rounds=1))
    played(world, [*(Forge((name,), stage, edit) for name, edit in told.items()), FIRST_ROUND])
    assert survivors(world, 1) == EVERYBODY - set(told)
    for name in told:
        (reason,) = world.nodes[name].refusals()
        assert len(reason) > 30


def test_what_nobody_signed_ends_nothing(tmp_path: Path) -> None:
    """Garbage before the true request: the node refuses the one and answers the other."""
    world = World(tmp_path, papers(rounds=1))
    node = world.nodes["m3"]
    spoiled: list[str] = []

    def disturb(envelope: bytes) -> bytes:
        assert node.participant is not None
        for bad in (b"", sealed(envelope, OPERATOR), envelope[:-1]):
            with pytest.raises(Exception, match="refuses the round"):
                node.participant.handle(bad)
            spoiled.append("")
        return envelope

    state = world.play([Forge(("m3",), stage, disturb) for stage in STAGES])
    assert state is not State.FAILED and survivors(world, 1) == EVERYBODY
    assert len(node.refusals()) == len(spoiled) == 15


def test_a_message_with_anything_else_never_reaches_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_app, "MAX_ENVELOPE_BYTES", 2_000_000)
    world = World(tmp_path, papers(rounds=1))
    state = world.play([Forge(("m3",), SHARE, lambda envelope: bytes(2_000_001)), FIRST_ROUND])
    assert state is State.ABORTED and survivors(world, 1) == EVERYBODY - {"m3"}
    (heard,) = [one for one in world.said if one.envelope is None]
    assert "not one envelope" in heard.problem and world.nodes["m3"].journal[0][0] != "refusal"
