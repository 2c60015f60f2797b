"""One contract for both engines behind Flower's ``Grid``, with the node's own ``ClientApp``.

And one whole run over each: the same two apps, not a line of them knows which engine it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run as FlowerRun

from coordinator.rounds.exchange import Exchange
from coordinator.rounds.run import Run
from coordinator.store.runs import State
from coordinator.wire.grid import STAGE, envelope_of, node_number, record
from coordinator.wire.server_app import GridExchange, server_app
from node.federation.client_app import client_app
from protocols.errors import RemoteError
from protocols.ids import MemberId
from sim_checks import check_models, check_signed_once, check_sums
from sim_grid import MemoryGrid, client_context, run_client_app
from sim_link import InProcessLink
from sim_papers import papers
from sim_world import World

A, B, AWAY = (MemberId(letter * 64) for letter in "abc")
RUN_NUMBER = 77


def upper(request: bytes) -> bytes:
    """A node that answers, unless it is asked for what it refuses."""
    if request == b"refuse":
        raise RemoteError("this member refuses the round", peer="coordinator")
    return request.upper()


class Town:
    """``Post`` of nodes that are all there."""

    def __init__(self) -> None:
        self.apps = {node_number(one): client_app(upper) for one in (A, B)}

    def connected(self) -> Collection[int]:
        return self.apps.keys()

    def deliver(self, message: Message) -> Message | None:
        number = message.metadata.dst_node_id
        if number not in self.apps:
            return None
        return run_client_app(self.apps[number], client_context(number, RUN_NUMBER), message)


@pytest.fixture(params=["memory", "link"])
def grid(request: pytest.FixtureRequest) -> Iterator[Grid]:
    if request.param == "memory":
        yield MemoryGrid(Town(), RUN_NUMBER)
        return
    with InProcessLink({A: upper, B: upper}) as link:
        yield link.grid((A, B, AWAY), RUN_NUMBER)


def message(grid: Grid, member: MemberId, body: bytes) -> Message:
    return grid.create_message(record(body), STAGE, node_number(member), "1", ttl=60.0)


def pulled(grid: Grid, ids: list[str]) -> list[Message]:
    """Pull until everything is there; each reply comes once."""
    out: list[Message] = []
    while len(out) < len(ids):
        out += grid.pull_messages(ids)
    return out


def test_a_message_knows_its_run_its_round_and_its_way(grid: Grid) -> None:
    one, other = message(grid, A, b"x"), message(grid, A, b"x")
    metadata = one.metadata
    assert (metadata.run_id, metadata.group_id, metadata.ttl) == (RUN_NUMBER, "1", 60.0)
    assert (metadata.dst_node_id, metadata.message_type) == (node_number(A), STAGE)
    assert metadata.message_id and metadata.message_id != other.metadata.message_id
    assert metadata.reply_to_message_id == ""


def test_the_nodes_are_those_that_are_there(grid: Grid) -> None:
    assert set(grid.get_node_ids()) == {node_number(A), node_number(B)}
    assert {one.node_id for one in grid.get_nodes()} == {node_number(A), node_number(B)}


def test_push_then_pull(grid: Grid) -> None:
    sent = [message(grid, A, b"to a"), message(grid, B, b"to b")]
    ids = list(grid.push_messages(sent))
    assert ids == [one.metadata.message_id for one in sent]
    replies = {one.metadata.src_node_id: one for one in pulled(grid, ids)}
    assert envelope_of(replies[node_number(A)]) == b"TO A"
    assert envelope_of(replies[node_number(B)]) == b"TO B"
    assert {one.metadata.reply_to_message_id for one in replies.values()} == set(ids)
    assert list(grid.pull_messages(ids)) == []


def test_what_is_not_there_yet_is_not_pulled(grid: Grid) -> None:
    ids = list(grid.push_messages([message(grid, AWAY, b"x")]))
    assert list(grid.pull_messages([*ids, "unknown"])) == []


def test_send_and_receive_gives_one_reply_for_each(grid: Grid) -> None:
    sent = [message(grid, member, b"x") for member in (A, AWAY, B)]
    replies = {
        one.metadata.reply_to_message_id: one for one in grid.send_and_receive(sent, timeout=5.0)
    }
    assert set(replies) == {one.metadata.message_id for one in sent}
    for one in sent:
        reply = replies[one.metadata.message_id]
        assert reply.metadata.src_node_id == one.metadata.dst_node_id
        assert reply.metadata.run_id == RUN_NUMBER
        assert reply.has_error() is (one.metadata.dst_node_id == node_number(AWAY))
    assert replies[sent[1].metadata.message_id].error.reason


def test_a_refusal_is_an_error_without_its_reasons(grid: Grid) -> None:
    (reply,) = grid.send_and_receive([message(grid, A, b"refuse")], timeout=5.0)
    assert reply.has_error() and reply.error.code > 0
    assert reply.metadata.src_node_id == node_number(A)
    (after,) = grid.send_and_receive([message(grid, A, b"again")], timeout=5.0)
    assert envelope_of(after) == b"AGAIN"


def test_nothing_to_send(grid: Grid) -> None:
    assert list(grid.send_and_receive([], timeout=1.0)) == []


def test_the_run_can_be_set(grid: Grid) -> None:
    grid.set_run(FlowerRun.create_empty(5))
    assert grid.run.run_id == 5
    assert message(grid, A, b"x").metadata.run_id == 5


def test_the_exchange_says_who_did_not_answer(grid: Grid) -> None:
    class Nobody:
        def wait_for(self, members: frozenset[MemberId], timeout_s: float) -> frozenset[MemberId]:
            return members

        def connections(self) -> Mapping[MemberId, int]:
            return {}

    exchange = GridExchange(grid, Nobody())
    answers = {
        one.member: one
        for one in exchange.stage(1, {A: b"x", B: b"refuse", AWAY: b"x"}, timeout_s=5.0)
    }
    assert answers[A].envelope == b"X"
    assert answers[B].envelope is None and answers[B].problem
    assert answers[AWAY].envelope is None and answers[AWAY].problem


@pytest.mark.parametrize(
    "content",
    [
        RecordDict({}),
        RecordDict({"envelope": ConfigRecord({"bytes": "text"})}),
        RecordDict({"envelope": ConfigRecord({"bytes": b"x", "more": 1})}),
        RecordDict({"envelope": ConfigRecord({"other": b"x"})}),
        RecordDict({"envelope": ConfigRecord({"bytes": b"x"}), "second": ConfigRecord({})}),
    ],
)
def test_the_client_app_takes_one_envelope_and_nothing_else(content: RecordDict) -> None:
    handled: list[bytes] = []

    def handle(request: bytes) -> bytes:
        handled.append(request)
        return request

    grid = MemoryGrid(Town(), RUN_NUMBER)
    odd = grid.create_message(content, STAGE, node_number(A), "1")
    reply = run_client_app(client_app(handle), client_context(node_number(A), 1), odd)
    assert reply.has_error() and "not one envelope" in (reply.error.reason or "")
    assert handled == []


def test_a_client_app_has_no_other_action() -> None:
    grid = MemoryGrid(Town(), RUN_NUMBER)
    for action in ("train", "evaluate", "query", "query.other"):
        odd = grid.create_message(record(b"x"), action, node_number(A), "1")
        assert run_client_app(client_app(upper), client_context(1, 1), odd).has_error()


# ------------------------------------------------------------------- whole runs


@dataclass
class OverTheLink:
    """Conducts the run of a world over sessions and threads."""

    link: InProcessLink
    presence: list[frozenset[MemberId]]

    def wait_for(self, members: frozenset[MemberId], timeout_s: float) -> frozenset[MemberId]:
        found = self.link.sessions.wait_for(members, timeout_s)
        self.presence.append(found)
        return found

    def connections(self) -> Mapping[MemberId, int]:
        return self.link.sessions.connections()


def conduct_over_link(world: World, during: Callable[[InProcessLink], None]) -> State:
    handles = {}
    for node in world.nodes.values():
        node.start()
        assert node.participant is not None
        handles[node.member] = node.participant.handle
    world.home.launch(world.answers)
    ended: list[State] = []

    def conduct(exchange: Exchange) -> None:
        office = world.home.office(world.home.log.append)
        ended.append(Run(world.papers.course, office, exchange).conduct())

    with InProcessLink(handles) as link, pytest.MonkeyPatch.context() as patch:
        world.spies.install(patch)
        during(link)
        grid = link.grid(handles, RUN_NUMBER)
        context = Context(
            run_id=RUN_NUMBER, node_id=1, node_config={}, state=RecordDict(), run_config={}
        )
        server_app(conduct, OverTheLink(link, []))(grid, context)
    world.settle()
    return ended[0]


def test_a_run_over_the_link(tmp_path: Path) -> None:
    """Seven threads answer at once; the sums and models are as exact as in memory."""
    world = World(tmp_path, papers(rounds=1))
    assert conduct_over_link(world, lambda link: None) in (State.RELEASED, State.REFUSED)
    assert [len(one) for one in world.trace.survivors] == [7, 7]
    check_models(world)
    check_sums(world)
    check_signed_once(world)


def test_a_run_over_the_link_without_one_of_them(tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    gone = world.nodes["m3"].member
    state = conduct_over_link(world, lambda link: link.disconnect(gone))
    assert state in (State.RELEASED, State.REFUSED)
    assert [len(one) for one in world.trace.survivors] == [6, 6]
    check_models(world)
    check_sums(world)


def test_both_engines_give_the_same_model(tmp_path: Path) -> None:
    """Order of messages and threads do not matter to the sum, and so not to the model."""
    in_memory, linked = (
        World(tmp_path / "a", papers(rounds=1)),
        World(tmp_path / "b", papers(rounds=1)),
    )
    in_memory.play()
    conduct_over_link(linked, lambda link: None)
    assert in_memory.trace.model == linked.trace.model
