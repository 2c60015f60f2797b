"""From the order in the mailbox to the run and its end, through every member's real gate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from flwr.app import Context, Message, RecordDict

from coordinator.desk import Desk
from coordinator.release.publishing import ReleaseDesk
from coordinator.rounds.exchange import Exchange
from coordinator.rounds.run import Run
from coordinator.store.mail import Mail
from coordinator.store.runs import Answer, RunMembers, State
from coordinator.wire.grid import node_number
from coordinator.wire.server_app import server_app
from known_house import healthy
from node.federation.client_app import client_app
from node.federation.participant import Ticket
from node.round import Prepared
from node.store.budgets import RunBudget, Use
from node.store.orders import OrderState
from node.store.spending import SpendingLedger
from protocols import codec, retrace
from protocols.audit.entries import Kind
from protocols.errors import InputError
from protocols.ids import MemberId, RunId
from protocols.secagg.member import REFUSAL
from protocols.secagg.messages import Stage
from sim_grid import MemoryGrid, client_context, run_client_app
from sim_house import DeskCalls, House, post, post_order
from sim_office import Home
from sim_papers import Papers, papers
from small_coop import COORDINATOR

RUN_NUMBER = 3


@dataclass
class Coop:
    """Coordinator and houses, and the grid between them."""

    papers: Papers
    home: Home
    houses: dict[str, House]

    def connected(self) -> Collection[int]:
        return [node_number(self.papers.member(name)) for name in self.houses]

    def wait_for(self, members: frozenset[MemberId], timeout_s: float) -> frozenset[MemberId]:
        return members

    def connections(self) -> Mapping[MemberId, int]:
        return {self.papers.member(name): 1 for name in self.houses}

    def deliver(self, message: Message) -> Message | None:
        number = message.metadata.dst_node_id
        house = next(
            house
            for name, house in self.houses.items()
            if node_number(self.papers.member(name)) == number
        )
        self.before(house)
        reply = run_client_app(client_app(house.handle), client_context(number, 1), message)
        if reply.has_error():
            self.problems.append(reply.error.reason or "")
        return reply

    def __post_init__(self) -> None:
        self.problems: list[str] = []

    def before(self, house: House) -> None:
        """Nothing; a test puts something here."""

    def letters(self) -> None:
        for house in self.houses.values():
            house.exchange()

    def answers(self) -> dict[str, tuple[Answer, tuple[str, ...]]]:
        with self.home.database.read() as db:
            found = RunMembers(db).of(RunId(self.papers.order.order.run))
        return {self.papers.name_of(one.member): (one.answer, one.reasons) for one in found}

    def conduct(self) -> State:
        ended: list[State] = []

        def conduct(exchange: Exchange) -> None:
            office = self.home.office(self.home.log.append)
            ended.append(Run(self.papers.course, office, exchange).conduct())

        context = Context(
            run_id=RUN_NUMBER, node_id=1, node_config={}, state=RecordDict(), run_config={}
        )
        server_app(conduct, self)(MemoryGrid(self, RUN_NUMBER), context)
        run = self.papers.order.order.run
        body = {"run": run, "state": ended[0].value, "detail": self.home.state()[1][:500]}
        with self.home.database.write() as db:
            post(Mail(db), self.papers, "run-ended", run, body, self.home.clock())
        self.letters()
        return ended[0]


def coop(tmp_path: Path, by_hand: str = "", other_code: str = "", no_rows: str = "") -> Coop:
    """Everybody has signed; one approves by hand, one has other code, one has too few rows."""
    made = papers(rounds=1)
    home = Home(tmp_path / "coordinator", made)
    office = SimpleNamespace(name_of=made.name_of)
    counter = SimpleNamespace(
        database=home.database,
        run_folder=lambda run: home.folder / "runs" / run,
        releases=home.folder / "releases",
        enrolment=office,
        agreements=SimpleNamespace(),
        clock=home.clock,
        life=SimpleNamespace(),
        release_desk=lambda log: ReleaseDesk(
            home.database, home.folder / "releases", COORDINATOR, log, lambda: (), home.clock
        ),
    )
    desk = Desk(
        counter,  # type: ignore[arg-type]
        home.log,
        lambda event, **facts: home.events.append((event, facts)),
    )
    houses = {}
    for at, name in enumerate(made.names):
        house = House(
            name,
            made,
            tmp_path / name,
            DeskCalls(desk, made.member(name)),
            shop=at,
            installed="ee" * 32 if name == other_code else "d1" * 32,
            prepare=_no_rows if name == no_rows else None,
        )
        house.sign(approve=name != by_hand)
        houses[name] = house
    home.launch(dict.fromkeys(made.names, Answer.SILENT))
    with home.database.write() as db:
        post_order(Mail(db), made, home.clock())
    return Coop(made, home, houses)


def _no_rows(ticket: Ticket) -> Prepared:
    raise InputError("3 weeks of sales in /home/anna/till are too few.", where="vault")


def test_every_gate_answers_for_itself_and_the_run_goes_on(tmp_path: Path) -> None:
    found = coop(tmp_path, by_hand="m2", other_code="m3", no_rows="m4")
    found.houses["m3"].rooms.history = lambda order: healthy(weeks=1, rows=3)
    found.letters()
    answers = found.answers()
    assert {name: answer.value for name, (answer, _) in answers.items()} == {
        "m1": "admitted",
        "m2": "pending",
        "m3": "refused",
        "m4": "refused",
        "m5": "admitted",
        "m6": "admitted",
        "m7": "admitted",
    }
    said = "; ".join(answers["m3"][1])
    assert "c13" in said
    # the office learns which figure is short, the shop what it is
    assert "c17 contribution: this node has fewer than" in said and "3 rows" not in said
    assert any("has 3 rows" in reason for reason in found.houses["m3"].order().reasons)
    # the office learns that the rows do not do, not why nor where they lie; the shop sees both
    assert answers["m4"][1] == ("this member's data cannot be used for the order",)
    assert "too few" in found.houses["m4"].order().reasons[0]
    with found.houses["m4"].database.read() as connection:  # and what it reserved is given back
        lines = SpendingLedger(connection).list()
    assert [line.state for line in lines] == [Use.RETURNED]
    assert Kind.REFUSAL in found.houses["m3"].kinds() and Kind.REFUSAL in found.houses["m4"].kinds()

    found.houses["m2"].approvals.approve(found.papers.order.order.run)
    found.letters()
    assert found.answers()["m2"][0] is Answer.ADMITTED
    assert found.conduct() in (State.RELEASED, State.REFUSED)
    assert found.problems == []
    ends = {"m3": OrderState.REFUSED, "m4": OrderState.FAILED}
    for name, house in found.houses.items():
        assert house.order().state is ends.get(name, OrderState.DONE)
        assert (Kind.SPENT in house.kinds()) is (name not in ends)
    assert len(found.home.records()) == 2


def test_a_member_that_says_no_in_the_middle_leaves_quietly(tmp_path: Path) -> None:
    found = coop(tmp_path)
    found.letters()
    run = found.papers.order.order.run
    seen: list[str] = []

    def before(house: House) -> None:
        seen.append(house.name)
        if seen.count("m5") == 3 and house.name == "m5":  # asked for its masked vector
            house.approvals.refuse(run, "stocktaking")
            house.rooms.close_finished()

    found.before = before  # type: ignore[method-assign]
    assert found.conduct() in (State.RELEASED, State.REFUSED)
    assert found.problems and all("does not take part" in one for one in found.problems)
    assert "stocktaking" not in "".join(found.problems)
    assert found.houses["m5"].order().state is OrderState.REFUSED
    assert len(found.home.records()) == 2


def test_a_vector_that_left_counts_even_if_its_member_never_signed_the_round(
    tmp_path: Path,
) -> None:
    """The others can open the sum without m5: what it sent is spent, whatever it signed."""
    found = coop(tmp_path)
    found.letters()
    seen: list[str] = []

    def before(house: House) -> None:
        seen.append(house.name)
        if seen.count("m5") == 4 and house.name == "m5":  # its vector is out; asked to agree
            house.rooms._live.clear()

    found.before = before  # type: ignore[method-assign]
    assert found.conduct() in (State.RELEASED, State.REFUSED)
    record = retrace.read_record(found.home.records()[0], "round 1")
    survivors = record.published.survivors(record.descriptor)
    assert found.papers.member("m5") in {one.hex() for one in survivors}
    house = found.houses["m5"]
    assert Kind.SPENT not in house.kinds()
    assert house.order().state is OrderState.DONE
    with house.database.read() as connection:
        (line,) = SpendingLedger(connection).list()
        counted = RunBudget(connection).get(found.papers.order.order.run)
    assert counted is not None
    assert (line.state, counted.state) == (Use.USED, Use.USED)


def test_an_order_that_the_operator_did_not_sign_is_kept_by_nobody(tmp_path: Path) -> None:
    found = coop(tmp_path)
    house = found.houses["m1"]
    forged = dict(found.papers.signed_agreement)  # signed by members, not an order at all
    with found.home.database.write() as db:
        post(Mail(db), found.papers, "order", "ff" * 32, forged, found.home.clock())
    house.exchange()
    assert [kind for kind, _ in house.journal].count("incident") == 1
    assert house.order().state is OrderState.ADMITTED  # the true one, which came before


def test_what_was_admitted_before_a_restart_is_made_ready_again(tmp_path: Path) -> None:
    found = coop(tmp_path)
    found.letters()
    old = found.houses["m1"]
    again = House("m1", found.papers, old.folder, old.calls, shop=0)
    with pytest.raises(Exception, match="does not take part"):
        again.handle(_stage_of(found))
    again.exchange()
    with again.database.read() as db:
        assert RunBudget(db).get(found.papers.order.order.run) is not None
    with pytest.raises(Exception, match=REFUSAL):  # it takes part, and this is no request
        again.handle(_stage_of(found))


def _stage_of(found: Coop) -> bytes:
    order = found.papers.order.order
    return codec.seal(
        key=COORDINATOR,
        sender=codec.COORDINATOR,
        run=bytes.fromhex(order.run),
        round=1,
        attempt=0,
        stage=Stage.ADVERTISE,
        agreement=bytes.fromhex(order.agreement),
        body=b"",
    )
