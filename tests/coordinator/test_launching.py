"""The launch gate with the office's real facts, who is not asked, and the second person."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.cli.app import app
from coordinator.cli.shell import run
from coordinator.events import Events
from coordinator.launching import approve, find_run, launch, planned
from coordinator.members.people import new_key
from coordinator.server import Server
from coordinator.standing import standing_of
from coordinator.store.cosignatures import Cosignature, Cosignatures
from coordinator.store.runs import Answer, RunMember, RunMembers, Runs, State
from protocols.agreement.facts import OfficeFacts
from protocols.agreement.membership import make_notice
from protocols.agreement.second import approver_kid
from protocols.canonical import json_bytes, parse_json
from protocols.errors import InputError, LocalError, Refused
from protocols.ids import MemberId
from protocols.signing import SigningKey, jws_sign, jws_verify
from small_office import IDS, MEMBERS, NAME, NOW, SmallOffice, quick, signed_office

APPROVER, OTHER = SigningKey(b"\x51" * 32), SigningKey(b"\x52" * 32)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallOffice:
    made = signed_office(tmp_path / "office")
    monkeypatch.setattr("coordinator.wiring.open_house", lambda home: made.house)
    return made


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallOffice:
    """An agreement that asks for a second person at launch."""
    keys = [APPROVER.public.hex()]
    made = signed_office(tmp_path / "office", two_person=["launch"], approver_keys=keys)
    monkeypatch.setattr("coordinator.wiring.open_house", lambda home: made.house)
    return made


def facts(office: SmallOffice) -> OfficeFacts:
    agreement = office.house.agreement()
    assert agreement is not None
    return standing_of(office.house, agreement).office


def states(office: SmallOffice) -> list[State]:
    with office.house.database.read() as db:
        return [one.state for one in Runs(db).list()]


# ---------------------------------------------------------------------- facts


def test_every_fact_of_the_office_is_looked_at(office: SmallOffice) -> None:
    found = facts(office)
    assert all(getattr(found, name) is not None for name in OfficeFacts.__slots__)
    assert (found.legal_id, found.country) == (NAME, "DE")
    assert found.sub_processors == frozenset()
    assert found.certificate_days == 366  # 365 and the day before, for clocks that differ
    assert found.software[0].isdigit()
    assert (found.oldest_update_days, found.oldest_release_days) == (0.0, 0.0)


def test_configuration_is_what_the_gate_compares(office: SmallOffice) -> None:
    (office.folder / "config.toml").write_text(
        'legal_id = "HRB 1"\ncountry = "US"\nsub_processors = ["Hosting AG"]\n', encoding="utf-8"
    )
    office.open()
    found = facts(office)
    assert (found.legal_id, found.country) == ("HRB 1", "US")
    assert found.sub_processors == frozenset({"Hosting AG"})


def test_the_oldest_answer_of_a_round_is_found_by_its_file(office: SmallOffice) -> None:
    for number, hours in ((1, 5), (2, 50)):
        file = office.folder / "runs" / "ab" / "stages" / f"000{number}.0.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
        at_s = (NOW - timedelta(hours=hours)).timestamp()
        os.utime(file, (at_s, at_s))
    found = facts(office).oldest_update_days
    assert found is not None and found * 24 == pytest.approx(50)


def test_fresh_countersignatures_are_counted(office: SmallOffice) -> None:
    agreement = office.house.agreement()
    assert agreement is not None
    with office.house.database.write() as db:
        for at, hours in enumerate((1, 23, 25)):
            stamp = int((NOW - timedelta(hours=hours)).timestamp())
            one = Cosignature(MemberId(IDS[at]), 1, bytes(32), stamp, b"line\n", NOW)
            Cosignatures(db).put(one)
    audit = standing_of(office.house, agreement).audit
    assert audit is not None
    assert audit.witnesses == frozenset(IDS[:2])  # clause 24 says 24 hours


def test_the_clock_is_not_before_what_was_written_down(office: SmallOffice) -> None:
    agreement = office.house.agreement()
    assert agreement is not None
    assert standing_of(office.house, agreement).newest_seen == NOW
    launch(office.house, planned(office.house, quick()))
    office.now -= timedelta(days=2)
    assert standing_of(office.house, agreement).newest_seen == NOW


def refused(office: SmallOffice, member: str, reason: str) -> None:
    made = launch(office.house, planned(office.house, quick()))
    with office.house.database.write() as db:
        answer = RunMember(made.run, MemberId(member), Answer.REFUSED, (reason,), office.now)
        RunMembers(db).put(answer)
    office.house.abort(made, "-", lambda kind, facts: None)


def test_a_refusal_for_quality_counts_for_a_day(office: SmallOffice) -> None:
    refused(office, IDS[0], "c09 quality: the data is not healthy enough")
    refused(office, IDS[1], "c16 approval: c09 is not the reason")
    assert facts(office).quality_unknown == frozenset({IDS[0]})
    plan = planned(office.house, quick())
    assert IDS[0] not in plan.order.order.cohort and IDS[1] in plan.order.order.cohort
    assert "quality" in plan.left_out[IDS[0]]
    office.now += timedelta(days=1, minutes=1)
    assert facts(office).quality_unknown == frozenset()
    assert planned(office.house, quick()).left_out == {}


def test_a_later_yes_takes_a_refusal_back(office: SmallOffice) -> None:
    refused(office, IDS[0], "c09 quality: the data is too old")
    office.now += timedelta(minutes=5)
    made = launch(office.house, planned(office.house, quick()))
    with office.house.database.write() as db:
        yes = RunMember(made.run, MemberId(IDS[0]), Answer.ADMITTED, (), office.now)
        RunMembers(db).put(yes)
    assert facts(office).quality_unknown == frozenset()


# --------------------------------------------------------------- who is asked


@pytest.mark.parametrize("state", ["suspended", "leaving"])
def test_who_paused_or_leaves_before_the_end_is_not_asked(office: SmallOffice, state: Any) -> None:
    """The notice is the member's own, over the desk; who leaves later still takes part."""
    member, coop = MemberId(IDS[2]), office.house.office.public.coop
    leaves = NOW + timedelta(hours=30) if state == "leaving" else None
    notice = make_notice(coop=coop, member=member, state=state, at=NOW, until=leaves)
    signed = jws_sign(notice, member, MEMBERS[2])
    office.house.life.take_notice(member, json_bytes(signed))
    plan = planned(office.house, quick(lasts=timedelta(hours=40)))
    assert plan.left_out == {member: "has suspended itself or is leaving (c29)"}
    assert len(plan.order.order.cohort) == 5
    launch(office.house, plan)
    assert office.letters(MEMBERS[2], "order") == ()
    assert len(office.letters(MEMBERS[0], "order")) == 1
    short = planned(office.house, quick(lasts=timedelta(hours=20)))
    assert (member in short.left_out) is (state == "suspended")


@pytest.mark.parametrize("seconds", [-1, 0, 1, 3, 59, 90])
def test_whoever_is_asked_leaves_after_the_deadline(office: SmallOffice, seconds: int) -> None:
    """Also on a clock that goes on while the plan is made: the node compares with the deadline."""
    member, coop = MemberId(IDS[2]), office.house.office.public.coop
    leaves = NOW + timedelta(hours=20, seconds=seconds)
    notice = make_notice(coop=coop, member=member, state="leaving", at=NOW, until=leaves)
    office.house.life.take_notice(member, json_bytes(jws_sign(notice, member, MEMBERS[2])))

    def ticking() -> datetime:
        office.now += timedelta(seconds=1)
        return office.now

    house = replace(office.house, clock=ticking)
    plan = planned(house, quick(lasts=timedelta(hours=20)))
    late = leaves < plan.order.order.deadline
    asked = member in plan.order.order.cohort
    assert not (asked and late)
    assert asked is (seconds == 90)


def test_who_has_not_signed_is_not_asked(tmp_path: Path) -> None:
    office = SmallOffice(tmp_path / "office")
    office.agree(MEMBERS[:5])
    plan = planned(office.house, quick())
    assert plan.left_out == {IDS[5]: "has not signed this version of the agreement"}
    assert plan.denial is None


def test_where_nobody_is_left_the_reasons_are_counted(office: SmallOffice) -> None:
    with pytest.raises(Refused, match="none of the 6 members can take part: 6 is not an active"):
        planned(office.house, quick(), active=[])


def test_the_page_says_what_each_clause_says(
    office: SmallOffice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(quick().settings), encoding="utf-8")
    words = ["--home", str(office.folder), "run", "plan", "--workload", "demand"]
    words += ["--settings", str(settings)]
    assert run(app, words, "coop-coordinator") == 0
    lines = capsys.readouterr().out.splitlines()
    clauses = [line.split()[0] for line in lines if line[:1] == "c" and line[1:3].isdigit()]
    assert clauses == [f"c{number:02d}" for number in range(1, 31)]
    assert any(line.startswith("c10 ") and line.endswith("own node decides") for line in lines)
    assert any(line.startswith("c02 ") and "a promise" in line for line in lines)
    assert any(line.startswith("Time: no run of this workload") for line in lines)
    assert run(app, [*words, "--rounds", "999", "--json"], "coop-coordinator") == 3
    document = json.loads(capsys.readouterr().out)
    told = {one["clause"]: one["answer"] for one in document["clauses"]}
    assert told["c13"].startswith("NO: the run would take 999 rounds")
    assert told["c14"] == "yes"
    assert document["expected"]["at_most_seconds"] > 0


# ------------------------------------------------------------- second person


def test_a_launch_waits_until_a_second_key_has_signed(guarded: SmallOffice) -> None:
    plan = planned(guarded.house, quick())
    assert plan.denial is None and plan.second_person
    waiting = launch(guarded.house, plan, by="aa" * 8)
    assert waiting.state is State.AWAITING
    assert guarded.letters(kind="order") == ()
    signed = approve(guarded.house, waiting, APPROVER, by="bb" * 8)
    kid = approver_kid(APPROVER.public.hex())
    keys = {"operator": guarded.house.operator_key().public, kid: APPROVER.public}
    assert set(jws_verify(signed, keys, "order")) == {"operator", kid}
    (letter,) = guarded.letters(kind="order")
    assert parse_json(letter.body, "order") == signed
    found = find_run(guarded.house, waiting.run[:6])
    assert (found.state, found.launched_by, found.approved_by) == (
        State.LAUNCHED,
        "aa" * 8,
        "bb" * 8,
    )
    assert guarded.house.order_of(found)[0] == signed
    (entry,) = guarded.entries("approval")
    assert (entry["key"], entry["by"]) == (APPROVER.public.hex(), "bb" * 8)


def test_an_order_that_waits_holds_budget_and_period(guarded: SmallOffice) -> None:
    waiting = launch(guarded.house, planned(guarded.house, quick()))
    assert len(guarded.house.earlier_orders()) == 1
    assert guarded.house.earlier_orders(without=waiting.run) == ()
    guarded.house.abort(waiting, "-", lambda kind, facts: None)
    assert guarded.house.earlier_orders() == ()  # nobody was ever asked
    assert guarded.letters(kind="run-ended") == ()
    with pytest.raises(InputError, match="is aborted; it waits for no approval"):
        approve(guarded.house, _run(guarded), APPROVER)


def _run(office: SmallOffice) -> Any:
    return find_run(office.house, "", open_only=False)


Break = Callable[[SmallOffice], SigningKey]


def _operator(office: SmallOffice) -> SigningKey:
    return office.house.operator_key()


def _coordinator(office: SmallOffice) -> SigningKey:
    return office.house.key


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (_operator, "the office's own key"),
        (_coordinator, "the office's own key"),
        (lambda office: OTHER, "none of those that clause 5 lets approve"),
    ],
)
def test_the_second_key_is_one_that_the_members_signed(
    guarded: SmallOffice, key: Break, words: str
) -> None:
    waiting = launch(guarded.house, planned(guarded.house, quick()))
    with pytest.raises(Refused, match=words) as error:
        approve(guarded.house, waiting, key(guarded))
    assert error.value.clauses == ("c05",)
    assert states(guarded) == [State.AWAITING]


def test_nobody_approves_what_they_launched(guarded: SmallOffice) -> None:
    waiting = launch(guarded.house, planned(guarded.house, quick()), by="aa" * 8)
    with pytest.raises(Refused, match="nobody approves what they launched"):
        approve(guarded.house, waiting, APPROVER, by="aa" * 8)


def test_the_gate_is_asked_again_at_the_approval(guarded: SmallOffice) -> None:
    waiting = launch(guarded.house, planned(guarded.house, quick(lasts=timedelta(hours=2))))
    guarded.now += timedelta(hours=3)
    with pytest.raises(Refused, match="deadline"):
        approve(guarded.house, waiting, APPROVER)
    assert states(guarded) == [State.AWAITING]
    assert guarded.letters(kind="order") == ()


def test_what_happens_while_a_person_thinks_counts(
    office: SmallOffice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def think(question: str, yes: bool) -> None:
        office.house.life.take_notice(
            MemberId(IDS[0]), said(office, IDS[0], MEMBERS[0], "suspended")
        )

    monkeypatch.setattr("coordinator.cli.runs.confirm", think)
    monkeypatch.setattr("coordinator.cli.runs._plan", lambda *_: (office.house, plan))
    plan = planned(office.house, quick())
    assert run(app, ["run", "launch"], "coop-coordinator") == 3
    assert "c29 membership" in capsys.readouterr().err
    assert states(office) == []


def said(office: SmallOffice, member: str, key: SigningKey, state: Any) -> bytes:
    coop = office.house.office.public.coop
    return json_bytes(
        jws_sign(make_notice(coop=coop, member=member, state=state, at=NOW), member, key)
    )


def test_the_server_conducts_no_run_that_waits(
    guarded: SmallOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(guarded.house, Events(io.StringIO(), False, guarded.clock))
    begun: list[str] = []
    monkeypatch.setattr(server, "_work", lambda stored: begun.append(stored.run))
    waiting = launch(guarded.house, planned(guarded.house, quick()))
    server._tick()
    assert server._worker is None
    approve(guarded.house, waiting, APPROVER)
    server._tick()
    assert server._worker is not None
    server._worker.join()
    assert begun == [waiting.run]


def test_both_halves_as_commands(
    guarded: SmallOffice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, file = tmp_path / "settings.json", tmp_path / "bea.key"
    settings.write_text(json.dumps(quick().settings), encoding="utf-8")
    new_key(file, lambda count: APPROVER.seed)
    home = ["--home", str(guarded.folder), "run"]
    words = [*home, "launch", "--workload", "demand", "--settings", str(settings), "--yes"]
    assert run(app, words, "coop-coordinator") == 0
    assert "waits for a second person" in capsys.readouterr().out
    short = _run(guarded).run[:8]
    approval = [*home, "approve", short, "--approver-key", str(file), "--yes"]
    assert run(app, [*home, "approve", short, "--approver-key", str(settings), "-y"], "x") == 5
    assert run(app, approval, "coop-coordinator") == 0
    assert states(guarded) == [State.LAUNCHED]
    assert run(app, approval, "coop-coordinator") == 5


def test_one_run_is_found_by_its_first_digits(office: SmallOffice) -> None:
    with pytest.raises(LocalError, match="0 open runs begin with 'ff'"):
        find_run(office.house, "ff")
    launch(office.house, planned(office.house, quick()))
    launch(office.house, planned(office.house, quick()))
    with pytest.raises(LocalError, match="2 open runs begin with ''"):
        find_run(office.house, "")
