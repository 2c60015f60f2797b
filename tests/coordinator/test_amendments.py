"""An amendment that comes into force while a run is under way, or that waits for its start."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import small_coop
from coordinator import server as serving
from coordinator.cli.proof import _pins
from coordinator.events import Events
from coordinator.evidence import evidence
from coordinator.launching import launch, planned
from coordinator.release.models import verify_release_dir
from coordinator.rounds.run import Office
from protocols.course import Course
from protocols.pack.check import verify_pack
from protocols.retrace import Trace, begin, follow, record_bytes
from small_office import SmallOffice, quick, signed_office


@pytest.fixture
def office(tmp_path: Path) -> SmallOffice:
    return signed_office(tmp_path / "office")


def version(office: SmallOffice) -> int:
    parsed = office.house.agreement()
    assert parsed is not None
    return parsed.agreement.version


class Conducted:
    """What the server hands to a run, without a link to members."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.course: Course
        self.office: Office
        monkeypatch.setattr(serving, "Run", self.take)
        monkeypatch.setattr(
            serving, "server_app", lambda conduct, sessions: lambda *_: conduct(None)
        )

    def take(self, course: Course, office: Office, exchange: Any) -> Any:
        self.course, self.office = course, office
        return self

    def conduct(self) -> None:
        """Nothing is trained."""


def played(office: SmallOffice, course: Course, folder: Path) -> Trace:
    """Every round of a run, with made-up sums, as the office keeps them."""
    run = small_coop.Run(course, begin(course))
    (folder / "rounds").mkdir(parents=True)
    for number in range(1, course.last_round + 1):
        record = run.record(run.descriptor(), small_coop.GOOD, signer=office.house.key)
        raw = record_bytes(record)
        (folder / "rounds" / f"{number:04d}.bin").write_bytes(raw)
        run.trace = follow(run.trace, raw, office.house.key.public, "record")
    return run.trace


@pytest.mark.parametrize("late", [False, True])
def test_a_run_under_way_ends_in_a_release_under_the_version_of_its_order(
    office: SmallOffice, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """``late``: the office is started again after the amendment, and picks the run up."""
    first = office.house.agreement()
    assert first is not None
    stored = launch(office.house, planned(office.house, quick(rounds=2)))
    if late:
        office.agree(min_cohort=6)
    conducted = Conducted(monkeypatch)
    made = serving.Server(office.house, Events(io.StringIO(), False, office.clock))
    made._conduct(stored)
    trace = played(office, conducted.course, office.house.run_folder(stored.run))
    if not late:
        office.agree(min_cohort=6)
    assert version(office) == 2
    released = conducted.office.release(trace)
    folder = office.house.releases / released.model
    with office.house.database.write() as db:
        released.offer(db)
    lines = "\n".join(verify_release_dir(folder, _pins(office.house, folder)))
    assert f"agreement: version 1, {first.id[:16]}" in lines
    assert "quorum: 6 of 6 members have signed" in lines
    report = verify_pack(evidence(office.house), "pack", software="1.0.0")
    assert any("version 2" in line for line in report.lines())


def test_a_version_that_waits_for_its_start_stops_no_runs(tmp_path: Path) -> None:
    office = signed_office(tmp_path / "office", amendment_notice_days=14)
    office.agree(min_cohort=6)
    assert version(office) == 1
    newest = office.house.agreements.newest()
    assert newest is not None and newest.agreement.version == 2
    plan = planned(office.house, quick())
    assert plan.denial is None and plan.agreement.agreement.version == 1
    launch(office.house, plan)
    office.now += timedelta(days=14)
    assert version(office) == 2
    plan = planned(office.house, quick())
    assert plan.denial is None and plan.agreement.id == newest.id


def test_the_next_version_follows_the_newest_signed_one(tmp_path: Path) -> None:
    office = signed_office(tmp_path / "office", amendment_notice_days=14)
    office.agree(min_cohort=6)
    second = office.house.agreements.newest()
    assert second is not None
    states = [one.id for one in office.house.agreements.standings() if one.kind == "agreement"]
    running = office.house.agreement()
    assert running is not None
    assert states == [running.id, second.id]
