"""Plans of runs: what they cost in privacy, what is left, and what the office does not send."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator import spending
from coordinator.cli.app import app
from coordinator.cli.shell import run
from coordinator.drafts import check_draft, new_draft, pretty
from coordinator.launching import launch
from coordinator.launching import planned as planned_by
from coordinator.plans import Asked, Past, RunPlan, Standing, plan_run, read_basis
from coordinator.store.database import Database
from coordinator.store.documents import Document, Documents
from coordinator.store.runs import Progress, Runs, State
from protocols.agreement.facts import AuditFacts, OfficeFacts
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.roster import make_roster
from protocols.agreement.terms import Privacy
from protocols.canonical import json_bytes
from protocols.errors import InputError, LocalError, Refused
from protocols.ids import OrderId, RunId
from protocols.privacy.accountant import epsilon
from protocols.privacy.budget import Line
from protocols.release import privacy_section
from small_coop import COOP, COORDINATOR, IDS, MEMBERS, NOW, OPERATOR, party, signed_by_all
from small_office import SETTINGS, SmallOffice, asked, signed_office

LASTS = timedelta(hours=24)
STANDING = Standing(
    OfficeFacts(
        legal_id="Six shops",
        country="DE",
        sub_processors=frozenset(),
        certificate_days=366,
        software="9.0",
        runs_paid_in_period=0,
        open_incidents=0,
        overdue_notices=0,
        oldest_update_days=0.0,
        oldest_release_days=0.0,
        away=frozenset(),
        overdue_requests=0,
        quality_unknown=frozenset(),
    ),
    AuditFacts(),
    newest_seen=NOW - timedelta(minutes=1),
)
OFFICE: Any = SimpleNamespace(
    public=SimpleNamespace(
        coop=COOP,
        name="Six shops",
        profile="B",
        operator_key=OPERATOR.public,
        coordinator_key=COORDINATOR.public,
    )
)


def draft(*workloads: str, **figures: Any) -> ParsedAgreement:
    return new_draft(
        OFFICE,
        template="grocers",
        lasts=timedelta(days=300),
        workloads=workloads or ("demand", "churn"),
        settings={},
        max_rounds=200,
        figures={"operator_legal_id": "Six shops", **figures},
        previous=None,
        now=NOW,
    )


BOTH = draft()
ROSTER = signed_by_all(make_roster(COOP, [party(key) for key in MEMBERS], issued=NOW))


def planned(
    wanted: Asked | None = None,
    agreement: ParsedAgreement = BOTH,
    spent: tuple[Line, ...] = (),
    now: datetime = NOW,
    standing: Standing = STANDING,
) -> RunPlan:
    return plan_run(
        OFFICE,
        read_basis(signed_by_all(agreement.document), [ROSTER]),
        asked=wanted or asked(),
        active=IDS,
        past=Past((), spent),
        standing=standing,
        now=now,
    )


def test_a_draft_with_both_workloads_has_nothing_that_the_linter_minds(tmp_path: Path) -> None:
    file = tmp_path / "draft.json"
    file.write_text(pretty(BOTH.document), encoding="utf-8")
    parsed, findings = check_draft(file, NOW)
    block = parsed.terms.block("c14", Privacy)
    assert block is not None
    assert [one.unit for one in block.budgets] == ["customer"]
    assert [one for one in findings if one.clause == "c14"] == []


def test_settings_of_a_draft_belong_to_its_workloads() -> None:
    with pytest.raises(InputError, match="lr belong to no workload"):
        new_draft(
            OFFICE,
            template="grocers",
            lasts=LASTS,
            workloads=("demand", "churn"),
            settings={"churn": {"delta": 1e-6}, "lr": 1},
            max_rounds=9,
            figures={},
            previous=None,
            now=NOW,
        )
    with pytest.raises(InputError, match="no workload 'chrun'"):
        draft("chrun")


def test_the_plan_costs_what_the_card_will_say() -> None:
    plan = planned()
    section = privacy_section(plan.course)
    assert plan.denial is None
    assert plan.privacy.unit == section["claim"] == "customer"
    assert section["epsilon"]["coordinator"] < section["epsilon"]["colluders"]
    assert section["epsilon"]["colluders"] == pytest.approx(plan.privacy.epsilon_run, abs=1e-3)
    assert plan.privacy.epsilon_after == plan.privacy.epsilon_run
    assert plan.privacy.epsilon_before == 0
    assert plan.budget is not None
    assert 0 < plan.privacy.epsilon_run < plan.budget.epsilon


def line_of(plan: RunPlan, at: datetime) -> Line:
    promise = plan.course.privacy()
    assert promise is not None
    return Line("customer", promise.events_colluders, at, "settled")


def test_earlier_runs_count_until_their_period_has_passed() -> None:
    first = planned()
    earlier = tuple(line_of(first, NOW - timedelta(days=day)) for day in (1, 2, 3))
    second = planned(spent=earlier)
    promise = first.course.privacy()
    assert promise is not None
    together = epsilon(promise.events_colluders * 4, promise.delta)
    assert second.privacy.epsilon_after == pytest.approx(together)
    assert second.privacy.frees_at == NOW - timedelta(days=3) + timedelta(days=365)
    many = earlier * 20
    refused = planned(spent=many)
    assert refused.denial is not None
    assert refused.denial.clauses == ("c14",)
    assert "0 of 4 is left until 2027-02-26" in str(refused.denial)
    old = tuple(replace(one, at=NOW - timedelta(days=366)) for one in many)
    assert planned(spent=old).denial is None


def test_what_the_agreement_does_not_allow_is_not_planned() -> None:
    with pytest.raises(InputError, match="lists 2 workloads"):
        planned(asked(""))
    with pytest.raises(Refused, match="does not list"):
        planned(agreement=draft("demand"))
    with pytest.raises(InputError, match="free, not noise_multiplier"):
        planned(asked(settings={**SETTINGS, "noise_multiplier": 0.1}))
    weak = draft(delta=1e-6)
    denial = planned(agreement=weak).denial
    assert denial is not None
    assert "(delta) of 1e-05, at most 1e-06" in str(denial)


def test_demand_alone_is_planned_as_before() -> None:
    plan = planned(
        asked("", settings={"categories": ["bread"], "train_until": "2025-12-01"}), draft("demand")
    )
    assert plan.denial is None
    assert (plan.privacy.unit, plan.budget) == ("none", None)
    assert plan.order.order.rounds == 40


@dataclass
class Books:
    """The office's store with one launched run."""

    database: Database
    plan: RunPlan

    @property
    def run(self) -> RunId:
        return RunId(self.plan.order.order.run)

    def lines(self) -> tuple[Line, ...]:
        with self.database.read() as db:
            return spending.lines(db)

    def move(self, *states: State, number: int = 0) -> None:
        with self.database.write() as db:
            for state in states:
                Runs(db).move(self.run, state, NOW + timedelta(hours=3))
                if number and state is State.RUNNING:
                    Runs(db).advance(self.run, Progress(number, 0, "mask", ""))


@pytest.fixture
def books(tmp_path: Path) -> Books:
    database = Database.open(tmp_path / "office.db", create=True)
    plan = planned()
    order = plan.order
    with database.write() as db:
        Documents(db).add(Document(order.id, "order", json_bytes(order.document), NOW))
        spending.record(db, order, plan.course.privacy(), NOW)
        Runs(db).add(RunId(order.order.run), OrderId(order.id), NOW)
    return Books(database, plan)


def test_a_launched_run_counts_at_its_deadline_then_at_its_end(books: Books) -> None:
    (line,) = books.lines()
    assert (line.at, line.state) == (NOW + LASTS, "reserved")
    assert line.events == line_of(books.plan, NOW).events
    books.move(State.GATHERING, State.RUNNING, State.FAILED, number=1)
    (line,) = books.lines()
    assert (line.at, line.state) == (NOW + timedelta(hours=3), "settled")


def test_a_run_that_never_began_costs_nothing(books: Books) -> None:
    books.move(State.GATHERING, State.FAILED)
    assert books.lines() == ()


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"kind":"datacoop/spending"',
        b'{"run":"00000000000000000000000000000000","events":[],"until":"2026-03-01T12:00:00Z"}',
    ],
)
def test_an_account_that_cannot_be_read_refuses(books: Books, body: bytes) -> None:
    with books.database.write() as db:
        Documents(db).add(Document("ee" * 32, spending.KIND, body, NOW))
    with pytest.raises(LocalError, match="cannot be read"):
        books.lines()


def test_an_unknown_event_in_the_account_refuses(books: Books) -> None:
    strange = {"run": str(books.run), "until": "2026-03-01T12:00:00Z", "events": [{"kind": "x"}]}
    with books.database.write() as db:
        Documents(db).add(Document("ee" * 32, spending.KIND, json_bytes(strange), NOW))
    with pytest.raises(Refused, match="not known here"):
        books.lines()


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallOffice:
    """An office whose members have signed, for the commands."""
    made = signed_office(tmp_path / "office")
    monkeypatch.setattr("coordinator.wiring.open_house", lambda home: made.house)
    return made


def test_a_launch_writes_the_cost_down_with_the_order(office: SmallOffice) -> None:
    plan = planned_by(office.house, asked())
    assert plan.denial is None
    assert office.house.spent() == ()
    launch(office.house, plan)
    (line,) = office.house.spent()
    assert line.events == line_of(plan, NOW).events
    again = planned_by(office.house, asked())
    assert again.privacy.epsilon_before == plan.privacy.epsilon_run


def test_a_run_that_the_gate_denies_is_not_launched(office: SmallOffice) -> None:
    plan = planned_by(office.house, asked(rounds=201))
    with pytest.raises(Refused, match="c13 workloads: the run would take 201 rounds"):
        launch(office.house, plan)
    assert office.letters(kind="order") == ()


def command(tmp_path: Path, *words: str) -> int:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(SETTINGS), encoding="utf-8")
    return run(app, ["run", *words, "--settings", str(file)], "coop-coordinator")


def test_the_command_prints_the_figures_of_the_card(
    office: SmallOffice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launch(office.house, planned_by(office.house, asked()))
    assert command(tmp_path, "plan", "--workload", "churn", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    plan = planned_by(office.house, asked())
    assert document["privacy"] == json.loads(json.dumps(privacy_section(plan.course)))
    assert set(document["noise_per_member"]) == {"train", "evaluate"}
    budget = document["budget"]
    assert 0 < budget["spent_before"] < budget["spent_after"] < 4
    assert budget["left_after"] == pytest.approx(4 - budget["spent_after"])
    assert command(tmp_path, "launch", "--workload", "churn", "--dry-run") == 0
    text = capsys.readouterr().out
    figures = document["privacy"]["epsilon"]
    assert f"epsilon {figures['coordinator']:g} for the coordinator alone" in text
    assert f"{figures['colluders']:g} with 2 members that help it; delta 1e-05" in text
    assert "Noise of each member, train: standard deviation" in text
    assert "Budget of each customer: epsilon 4 in 365 days. Spent so far" in text
    assert "Nothing was sent." in text
    assert len(office.letters(kind="order")) == 1
    assert command(tmp_path, "launch", "--workload", "churn", "--yes") == 0
    assert len(office.letters(kind="order")) == 2


def test_the_command_says_what_is_refused_and_by_which_clause(
    office: SmallOffice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--workload", "churn", "--rounds", "201"]
    assert command(tmp_path, "plan", *words) == 3
    assert "REFUSED  c13 workloads: the run would take 201 rounds" in capsys.readouterr().out
    assert command(tmp_path, "launch", "--dry-run", *words) == 3
    assert office.letters(kind="order") == ()
