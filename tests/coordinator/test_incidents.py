"""Incidents: the clock, the letters, the switch; nothing starts while one freezes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator import incidents
from coordinator.cli.app import app
from coordinator.cli.shell import run
from coordinator.launching import launch, planned
from coordinator.standing import standing_of, steps
from coordinator.store.incidents import Incident, Incidents
from coordinator.store.members import Member, Members, Status
from coordinator.store.runs import Runs, State
from protocols.agreement.incident import frozen, verify_incident
from protocols.canonical import parse_json
from protocols.errors import LocalError, Refused
from protocols.ids import MemberId
from protocols.joining import Profile
from protocols.signing import SigningKey, identity_of
from small_office import NOW, SmallOffice, quick, signed_office

WHAT = "A laptop of the office was stolen."


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallOffice:
    made = signed_office(tmp_path / "office", notify_hours=24)
    monkeypatch.setattr("coordinator.wiring.open_house", lambda home: made.house)
    return made


def opened(office: SmallOffice, freeze: bool = True, number: int = 1) -> Incident:
    made, _ = incidents.open_incident(
        office.house, what=WHAT, freeze=freeze, entropy=lambda count: bytes([number]) * count
    )
    return made


def state_of(office: SmallOffice, run_id: str) -> State:
    with office.house.database.read() as db:
        return next(one.state for one in Runs(db).list() if one.run == run_id)


def test_the_switch_ends_open_runs_and_stops_new_ones(office: SmallOffice) -> None:
    before = planned(office.house, quick())
    running = launch(office.house, before)
    with office.house.database.write() as db:
        for state in (State.GATHERING, State.RUNNING):
            Runs(db).move(running.run, state, NOW)
    late = planned(office.house, quick())  # planned before, launched after
    made, ended = incidents.open_incident(office.house, what=WHAT, freeze=True, entropy=bytes)
    assert ended == (running.run,)
    assert state_of(office, running.run) is State.ABORTED
    told = [parse_json(one.body, "letter") for one in office.letters(kind="run-ended")]
    assert [(one["run"], one["state"]) for one in told] == [(running.run, "aborted")]
    with pytest.raises(Refused, match="freezes all runs") as error:
        launch(office.house, late)
    assert error.value.clauses == ("c25",)
    assert len(office.letters(kind="order")) == 1
    incidents.notify(office.house, made)
    incidents.close(office.house, _again(office, made))
    launch(office.house, late)
    assert len(office.letters(kind="order")) == 2


def _again(office: SmallOffice, one: Incident) -> Incident:
    with office.house.database.read() as db:
        return Incidents(db).starting(one.incident[:8])


def test_every_member_gets_each_step_signed_by_the_operator(office: SmallOffice) -> None:
    made = opened(office)
    assert incidents.notify(office.house, made, what="The key was revoked.") == (6, True)
    incidents.close(office.house, _again(office, made))
    for key in office.keys:
        found = [
            verify_incident(
                parse_json(one.body, "letter"),
                coop=office.house.office.public.coop,
                operator_key=office.house.operator_key().public,
                where="letter",
            ).incident
            for one in office.letters(key, "incident")
        ]
        assert [one.state for one in found] == ["opened", "notified", "closed"]
        assert [one.what for one in found] == [WHAT, "The key was revoked.", WHAT]
        assert frozen(found[:2]) != "" and frozen(found) == ""
    assert [one["state"] for one in office.entries("incident")] == ["opened", "notified", "closed"]


def test_one_that_does_not_freeze_is_kept_until_the_members_are_told(office: SmallOffice) -> None:
    office.now += timedelta(minutes=1)
    office.agree(notify_hours=2, freeze=False)
    made = opened(office, freeze=False)
    assert office.letters(kind="incident") == ()
    assert made.notify_by == office.now + timedelta(hours=2)
    office.now += timedelta(hours=3)
    found = standing_of(office.house, planned(office.house, quick()).agreement)
    assert (found.office.open_incidents, found.office.overdue_notices) == (1, 1)
    assert found.frozen == ""
    told, in_time = incidents.notify(office.house, made)
    assert (told, in_time) == (6, False)
    after = standing_of(office.house, planned(office.house, quick()).agreement)
    assert (after.office.open_incidents, after.office.overdue_notices) == (1, 0)


def test_the_clause_freezes_whatever_the_operator_says(office: SmallOffice) -> None:
    made = opened(office, freeze=False)  # clause 25 of this agreement freezes
    assert made.freeze
    assert "stolen" in frozen(steps(office.house))


def test_what_nobody_was_told_of_is_not_closed(office: SmallOffice) -> None:
    made = opened(office)
    with pytest.raises(Refused, match="is opened; it cannot become closed"):
        incidents.close(office.house, made)
    incidents.notify(office.house, made)
    with pytest.raises(Refused, match="is notified; it cannot become notified"):
        incidents.notify(office.house, _again(office, made))


def test_without_the_operators_key_nothing_is_half_written(office: SmallOffice) -> None:
    (office.house.where.operator_dir / "operator.key").unlink()
    with pytest.raises(LocalError):
        opened(office)
    with office.house.database.read() as db:
        assert Incidents(db).list() == ()
    assert not (office.folder / "audit" / "log.jsonl").exists()


def test_who_joins_while_it_is_open_gets_the_letters(office: SmallOffice) -> None:
    made = opened(office)
    new = SigningKey(b"\x77" * 32)
    member = MemberId(identity_of(new.public))
    with office.house.database.write() as db:
        Members(db).add(Member(member, Profile("New"), new.public, Status.ACTIVE, NOW))
    assert incidents.deliver(office.house) == 1
    assert incidents.deliver(office.house) == 0
    assert len(office.letters(new, "incident")) == 1
    incidents.notify(office.house, made)
    incidents.close(office.house, _again(office, made))
    assert incidents.deliver(office.house) == 0


def test_the_commands_show_the_clock(
    office: SmallOffice, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*words: str) -> int:
        return run(app, ["--home", str(office.folder), "incident", *words], "coop-coordinator")

    assert command("open", "--what", WHAT) == 2  # it asks, and nobody is there
    assert command("open", "--what", WHAT, "--yes") == 0
    capsys.readouterr()
    assert command("list", "--json") == 0
    (one,) = json.loads(capsys.readouterr().out)["incidents"]
    assert (one["hours_left"], one["freezes_now"], one["state"]) == (24, True, "opened")
    office.now += timedelta(hours=25)
    assert command("list") == 0
    assert "1.0 h LATE" in capsys.readouterr().out
    assert command("close", one["incident"][:6], "--yes") == 3
    assert command("notify", one["incident"][:6], "--yes") == 0
    assert "later than 2026-03-02 12:00 UTC (clause 25)" in capsys.readouterr().out
    assert command("close", one["incident"][:6], "--yes") == 0
    assert command("open", "--what", "two\nlines", "--yes") == 5
    with pytest.raises(LocalError, match="0 incidents begin"), office.house.database.read() as db:
        Incidents(db).starting("zz")
