"""Whole rounds in which one member was shown another history of the coordinator's log."""

from __future__ import annotations

from pathlib import Path

from coordinator.log.append import AuditLog
from coordinator.store.runs import State
from protocols.audit.entries import Kind
from protocols.errors import Code, RemoteError
from sim_checks import played
from sim_papers import papers
from sim_world import World
from small_coop import COORDINATOR


def test_every_member_keeps_the_head_of_every_round(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=2))
    assert played(world) in (State.RELEASED, State.REFUSED)
    heads = world.trace.last
    assert heads is not None
    last = heads.descriptor.log
    assert last.size > 1
    for node in world.nodes.values():
        kept = node.witness.kept.newest()
        assert kept is not None and kept.head.size >= last.size
        assert node.witness.kept.forks.list() == ()


def test_one_member_with_another_history_stays_out_and_keeps_the_evidence(tmp_path: Path) -> None:
    """It was shown a log of its own before; the descriptor names the one that the others see."""
    world = World(tmp_path, papers(rounds=1))
    other = AuditLog(tmp_path / "other", COORDINATOR, world.home.clock)
    for _ in range(3):
        other.append(Kind.STOP)
    victim = world.nodes["m4"]
    before = victim.witness.kept
    assert before.advance(None, other.checkpoint(), (), "coordinator") is not None
    played(world)
    assert not world.trace.survivors or not any(
        victim.member in survivors for survivors in world.trace.survivors
    )
    assert world.trace.number >= 1  # the others went on
    (fork,) = victim.witness.kept.forks.open()
    folder = victim.folder / "audit" / "forks" / fork.id
    assert (folder / "descriptor.bin").exists() and (folder / "kept.note").exists()
    assert Kind.INCIDENT in [kind for kind, _ in victim.journal]
    assert Kind.SPENT not in [kind for kind, _ in victim.journal]  # it certified nothing


def test_a_member_that_gets_no_proof_does_not_go_on(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    silent, answer = world.nodes["m3"], world._show_log

    def withheld(name: str, sizes: str) -> bytes:
        if name == "m3":
            raise RemoteError("there is no checkpoint yet.", code=Code.NOT_FOUND)
        return answer(name, sizes)

    for node in world.nodes.values():
        node.log = withheld
    played(world)
    assert world.trace.number >= 1
    assert not any(silent.member in survivors for survivors in world.trace.survivors)
    assert any("there is no checkpoint" in one for one in silent.refusals())
    assert silent.witness.kept.forks.list() == ()
