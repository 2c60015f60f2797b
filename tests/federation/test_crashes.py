"""The coordinator is killed at every point of a round; it goes on, or ends the run and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_dropouts import EVERYBODY, attempts, survivors

from coordinator.release.models import load_release
from coordinator.rounds.run import Made
from coordinator.rounds.stagelog import StageLog, replay
from coordinator.store.runs import State
from protocols.evidence import verify_release
from protocols.ids import MemberId
from protocols.retrace import Trace
from protocols.secagg.messages import Stage
from sim_checks import played
from sim_operations import (
    AGREE,
    AUDIT,
    EXCHANGES,
    MASK,
    PUBLISH,
    SHARE,
    UNMASK,
    Abort,
    CoordinatorCrash,
    Drop,
    Restart,
    Stop,
)
from sim_papers import papers
from sim_shops import LEARNING
from sim_world import Killed, World

WHENS = ("start", "middle", "end")


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("stage", EXCHANGES)
def test_killed_in_a_stage(stage: Stage, when: str, tmp_path: Path) -> None:
    """Before U3 is announced: a new attempt. After: the same one is finished from the log."""
    world = World(tmp_path, papers(rounds=1))
    crash = CoordinatorCrash(stage, when=when, torn=when == "middle")  # type: ignore[arg-type]
    assert played(world, [crash]) is not State.FAILED
    assert world.starts == 2
    announced = stage in (AGREE, UNMASK, AUDIT)
    assert attempts(world) == [0 if announced else 1, 0]
    assert survivors(world, 1) == EVERYBODY
    resumed = [facts for event, facts in world.home.events if event == "resumed"]
    assert len(resumed) == (1 if announced else 0)
    assert all(node.refusals() == [] for node in world.nodes.values())


@pytest.mark.parametrize("when", WHENS)
def test_killed_while_it_publishes(when: str, tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    crashes = [CoordinatorCrash(PUBLISH, number, when) for number in (1, 2)]  # type: ignore[arg-type]
    assert played(world, crashes) is not State.FAILED
    assert world.starts == 3 and attempts(world) == [0, 0]


def test_killed_again_and_again(tmp_path: Path) -> None:
    """What a crash tore off must not hide what is written after it."""
    world = World(tmp_path, papers(rounds=1))
    crashes = [
        CoordinatorCrash(MASK, when="middle", torn=True),
        CoordinatorCrash(AGREE, when="middle", torn=True),
        CoordinatorCrash(AGREE, when="end", torn=True),
        CoordinatorCrash(UNMASK, when="middle", torn=True),
        CoordinatorCrash(UNMASK, when="end", torn=True),
        CoordinatorCrash(AUDIT, when="middle", torn=True),
        CoordinatorCrash(AUDIT, when="end", torn=True),
        CoordinatorCrash(PUBLISH, when="start"),
    ]
    assert played(world, crashes) is not State.FAILED
    assert world.starts == 9 and attempts(world) == [1, 0]


@pytest.mark.parametrize(("stage", "count"), [(AGREE, 3), (UNMASK, 4), (AUDIT, 5)])
def test_killed_and_members_that_are_needed_are_gone(
    stage: Stage, count: int, tmp_path: Path
) -> None:
    """Five sign, four open, three confirm the sum: otherwise nothing is published."""
    gone = [f"m{number}" for number in range(1, count + 1)]
    away = [Drop(name, stage, when="before") for name in gone]
    world = World(tmp_path, papers(rounds=1))
    assert played(world, [CoordinatorCrash(stage), *away]) is State.FAILED
    assert "round 1 was spent and cannot be finished" in world.home.state()[1]
    assert world.home.records() == ()


def test_members_that_started_again_meanwhile_count_as_gone(tmp_path: Path) -> None:
    """After U3 nobody resumes: with three new processes the quorum cannot be reached."""
    three = ("m1", "m2", "m3")
    world = World(tmp_path, papers(rounds=1))
    operations = [
        *(Drop(name, MASK, when="after") for name in three),
        *(Restart(name, stage=AGREE) for name in three),
        CoordinatorCrash(AGREE, when="middle"),
    ]
    assert played(world, operations) is State.FAILED
    assert "4 of 7 members answered in stage agree, 5 are needed" in world.home.state()[1]


def test_killed_with_a_member_gone_but_a_quorum_there(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    operations = [CoordinatorCrash(AGREE, when="middle"), Drop("m7", AGREE), Drop("m6", UNMASK)]
    assert played(world, operations) is not State.FAILED
    assert survivors(world, 1) == EVERYBODY and len(survivors(world, 2)) == 5


def test_five_crashes_use_up_the_attempts(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    assert played(world, [CoordinatorCrash(MASK) for _ in range(5)]) is State.FAILED
    assert "round 1 failed 5 times" in world.home.state()[1]


@pytest.mark.parametrize("stage", EXCHANGES)
def test_stopped_and_started_again(stage: Stage, tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    assert played(world, [Stop(stage)]) is not State.FAILED
    assert world.starts == 2
    # the stop is seen before the next stage: after MASK U3 is fixed, and that attempt is finished
    assert attempts(world) == [0 if stage >= MASK else 1, 0]


@pytest.mark.parametrize("stage", EXCHANGES)
def test_the_operator_aborts(stage: Stage, tmp_path: Path) -> None:
    world = World(tmp_path, papers())
    assert played(world, [Abort(stage, round=2)]) is State.ABORTED
    # whoever is asked in this stage answers; nothing is asked after it
    first = max(stage, SHARE)  # the keys of round 2 came early
    assert max((one.round, one.stage) for one in world.said) == (2, first)
    assert len(world.home.records()) == (2 if stage is AUDIT else 1)


def test_an_abort_in_the_very_last_stage_releases_nothing(tmp_path: Path) -> None:
    """Found by the random runs: every round was in, and the release was made all the same."""
    world = World(tmp_path, papers(rounds=2))
    assert played(world, [Abort(UNMASK, round=3)]) is State.ABORTED
    assert not list((world.home.folder / "releases").glob("*"))


def test_an_abort_while_the_release_is_made_takes_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, papers(rounds=3))
    made = world.home.release

    def aborted_meanwhile(trace: Trace) -> Made:
        out = made(trace)
        world.home.abort()
        return out

    monkeypatch.setattr(world.home, "release", aborted_meanwhile)
    assert played(world, []) is State.ABORTED
    assert not list((world.home.folder / "releases").glob("*"))


def test_a_torn_tail_is_cut_before_anything_is_written_behind_it(tmp_path: Path) -> None:
    path, member = tmp_path / "0001.0.log", MemberId("ab" * 32)
    log = StageLog(path)
    log.append(0, member, b"first")
    log.close_stage()
    log.close()
    whole = path.read_bytes()
    for keep in range(len(whole) - 1):
        path.write_bytes(whole[:keep])
        log = StageLog(path)
        log.append(1, member, b"second")
        log.close()
        bodies = [one.body for one in replay(path) if one is not None]
        assert bodies == ([b"first", b"second"] if keep >= 46 else [b"second"])
    path.write_bytes(whole)
    StageLog(path).close()
    assert path.read_bytes() == whole


def test_killed_between_the_release_and_the_note_of_it(tmp_path: Path) -> None:
    """The release lies in its folder, the database does not know: it is made again, the same."""
    world = World(tmp_path, papers(rounds=1, settings=LEARNING))
    release = world.home.release

    def killed_after(trace: Trace) -> str:
        release(trace)
        world.home.release = release  # type: ignore[method-assign]
        raise Killed

    world.home.release = killed_after  # type: ignore[method-assign]
    assert played(world) is State.RELEASED
    assert world.starts == 2
    (folder,) = (world.home.folder / "releases").iterdir()
    verify_release(load_release(folder), world.papers.pins)
