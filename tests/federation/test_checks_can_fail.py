"""The invariants themselves under test: each must find what it is there for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from coordinator.store.runs import State
from node.federation import participant
from protocols.errors import Refused
from protocols.secagg import masks
from protocols.secagg.fixedpoint import Lanes
from sim_checks import (
    check,
    check_models,
    check_nothing_leaked,
    check_signed_once,
    check_silence,
    check_sums,
)
from sim_operations import ADVERTISE, AGREE, MASK, Abort, Resend
from sim_papers import papers
from sim_world import World

FIRST_ROUND = Abort(ADVERTISE, round=2)


def test_a_vector_that_goes_out_without_its_masks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody masks and nobody unmasks: every sum is right, and every update lies open."""
    real = masks.add_masks

    def none(total: Lanes, plus: Sequence[bytes], minus: Sequence[bytes], first: int = 0) -> None:
        if len(plus) + len(minus) == 1:  # one stream alone is no mask but the rounding
            real(total, plus, minus, first)

    monkeypatch.setattr(masks, "add_masks", none)
    world = World(tmp_path, papers(rounds=1))
    assert world.play([FIRST_ROUND]) is State.ABORTED
    check_sums(world)
    with pytest.raises(AssertionError):
        check_nothing_leaked(world)


def test_an_update_in_the_coordinators_memory_or_on_its_disk_is_found(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    check(world, world.play([FIRST_ROUND]))
    one = world.spies.inputs[3]
    file = world.home.folder / "runs" / "notes"
    file.write_bytes(b"..." + one.update.tobytes())
    with pytest.raises(AssertionError):
        check_nothing_leaked(world)
    file.unlink()
    world.held.add((one.lanes & masks.low_bits(one.descriptor.bits)).tobytes())
    with pytest.raises(AssertionError):
        check_nothing_leaked(world)


def test_a_second_signature_is_found(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    check(world, world.play([Resend("m1", AGREE), FIRST_ROUND]))
    signed = [one for one in world.said if one.stage is AGREE]
    strange = dataclasses.replace(signed[0], envelope=signed[-1].envelope)
    assert strange.member != signed[-1].member
    world.said.append(strange)
    with pytest.raises(AssertionError):
        check_signed_once(world)


def test_a_wrong_sum_and_another_model_are_found(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    check(world, world.play([FIRST_ROUND]))
    good = world.spies.inputs[0]
    lanes = good.lanes.copy()
    lanes[5] += np.uint32(1)
    world.spies.inputs[0] = dataclasses.replace(good, lanes=lanes)
    with pytest.raises(AssertionError):
        check_sums(world)
    state = world.trace.state
    moved = dataclasses.replace(state, params=state.params + np.float32(1))
    world.trace = dataclasses.replace(world.trace, state=moved)
    with pytest.raises(AssertionError):
        check_models(world)


def test_a_reason_that_reaches_the_coordinator_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participant, "REFUSAL", "clause 14 says no: 4 of 5")
    world = World(tmp_path, papers(rounds=1))
    world.play([Resend("m2", MASK), FIRST_ROUND])
    with pytest.raises(AssertionError):
        check_silence(world)


def test_a_refusal_that_is_not_written_down_is_found(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    check(world, world.play([Resend("m2", MASK), FIRST_ROUND]))
    journal = world.nodes["m2"].journal
    journal[:] = [entry for entry in journal if entry[0] != "refusal"]
    with pytest.raises(AssertionError):
        check_silence(world)


def test_the_ledger_of_the_simulator_is_no_pushover(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    world.play([FIRST_ROUND])
    ledgers = world.nodes["m1"].ledgers
    with pytest.raises(Refused):
        ledgers.mark_spent(bytes.fromhex(world.papers.order.order.run), 1)
