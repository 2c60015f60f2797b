"""A whole run in one process: the coordinator's real app and database, real nodes, a script.

``World(folder, papers).play(operations)`` conducts the run to its end, through as many
coordinator crashes as the operations ask for; ``sim_checks.check`` then says what must hold.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from coordinator import files
from coordinator.log.witness import Witnesses
from coordinator.rounds import run as office_run
from coordinator.rounds.exchange import Exchange
from coordinator.rounds.run import Run
from coordinator.store.runs import NEXT, Answer, State
from coordinator.wire.grid import envelope_of
from coordinator.wire.server_app import server_app
from protocols import codec, retrace
from protocols.audit.entries import Kind
from protocols.audit.writer import LogWriter
from protocols.errors import Code, CoopError, RemoteError
from protocols.ids import MemberId, RunId
from protocols.secagg.messages import Stage
from protocols.workloads import demand
from protocols.workloads.server import ServerState
from sim_grid import MemoryGrid
from sim_lies import CORRUPTIONS, with_request
from sim_nodes import MemoryLedgers, Node, allowance, sqlite_ledgers
from sim_office import Home
from sim_operations import (
    PUBLISH,
    Abort,
    CoordinatorCrash,
    Corrupt,
    Delay,
    Drop,
    FalseSum,
    Forge,
    Operation,
    Resend,
    Restart,
    SplitView,
    Stop,
)
from sim_papers import Papers
from sim_spies import Spies, held_bytes
from small_coop import COORDINATOR

MAX_STARTS = 20


class Killed(BaseException):
    """The coordinator's process ends here; nothing of it may run on."""


_init = demand.init


@cache
def _drawn(seed: bytes, config: demand.DemandConfig) -> Any:
    return _init(seed, config)


def _first_parameters(seed: bytes, config: demand.DemandConfig) -> Any:
    """``demand.init``, which every party calls: drawn once per order, handed out as copies."""
    return _drawn(seed, config).copy()


def _first_model(papers: Papers) -> ServerState:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demand, "init", _first_parameters)
        return papers.course.first_model()


@dataclass(frozen=True)
class Heard:
    """One thing that reached the coordinator from a member: an envelope, or why there is none."""

    member: str
    round: int
    attempt: int
    stage: Stage
    envelope: bytes | None
    problem: str = ""
    start: int = 0  # which process of the member


class World:
    """Members, coordinator, and what happens to them.

    Args:
        folder: an empty one.
        papers: the signed documents.
        real_ledgers: the nodes remember in SQLite, as they do in a shop.
        answers: what members say to the order; everybody else admits it.
        steady: the shops sell the same every week, so there is nothing to learn.
    """

    def __init__(
        self,
        folder: Path,
        papers: Papers,
        *,
        real_ledgers: bool = False,
        answers: Mapping[str, Answer] | None = None,
        steady: bool = False,
    ) -> None:
        self.papers = papers
        self.home = Home(folder / "coordinator", papers)
        self.spies = Spies()
        self.heard: list[Heard] = []
        self.said: list[Heard] = []  # what honest nodes answered, before anything happened to it
        self.waiting: list[Operation] = []
        self.fired: list[Operation] = []
        self.nodes: dict[str, Node] = {}
        self.logs: dict[str, LogWriter] = {}  # another history than the office's own, for some
        for at, name in enumerate(papers.names):
            place = folder / name
            ledgers = (
                sqlite_ledgers(place / "node.db", allowance(papers))
                if real_ledgers
                else MemoryLedgers(allowance(papers))
            )
            self.nodes[name] = Node(
                name, papers, place, ledgers, self._fetch, self._show_log, at, steady
            )
        self.answers = dict.fromkeys(papers.names, Answer.ADMITTED) | dict(answers or {})
        self.trace = retrace.Trace(papers.course, _first_model(papers))
        self.starts = 0
        self.held: set[bytes] = set()  # what was in the coordinator's memory, before each stage
        self._told: set[tuple[str, int]] = set()
        self._begun: set[tuple[int, int]] = set()
        self._disk: dict[Path, bytes] = {}
        self._forgets = False

    # ------------------------------------------------------------------ playing

    def play(self, operations: Iterable[Operation] = ()) -> State:
        """Conduct the run to its end and let the nodes follow it; the state it ended in."""
        self.waiting = list(operations)
        self.home.launch(self.answers)
        with pytest.MonkeyPatch.context() as patch:
            self.spies.install(patch)
            patch.setattr(demand, "init", _first_parameters)
            patch.setattr(os, "fsync", lambda handle: None)  # no power is cut here, processes are
            patch.setattr(office_run, "POLL_S", 0.0)
            for name, node in self.nodes.items():
                if self.answers[name] is Answer.ADMITTED:
                    node.start()
            state = self._conduct_through_crashes(patch)
            self.settle()
        return state

    def _conduct_through_crashes(self, patch: pytest.MonkeyPatch) -> State:
        for _ in range(MAX_STARTS):
            self.starts += 1
            try:
                state = self._conduct(patch)
            except Killed:
                self.home.close()
                self._as_on_disk()
                self.home.open()
                continue
            if not self.home.stop.is_set() or not NEXT[state]:
                return state
            self.home.log.close()
            self.home.close()
            self.home.open()
        raise AssertionError("the coordinator was killed too often")

    def _conduct(self, patch: pytest.MonkeyPatch) -> State:
        ended: list[State] = []
        home, course = self.home, self.papers.course
        write = files.write

        def written(path: Path, data: bytes, mode: int = 0o600) -> None:
            write(path, data, mode)
            if path.parent.name == "rounds":
                self._crash_at(PUBLISH, int(path.stem), "end")

        def conduct(exchange: Exchange) -> None:
            office = home.office(self._journal)
            ended.append(Run(course, office, exchange).conduct())

        with patch.context() as inner:
            inner.setattr(files, "write", written)
            number = int(self.papers.order.order.run[:15], 16)
            grid = ScriptedGrid(self, number)
            context = Context(
                run_id=number, node_id=1, node_config={}, state=RecordDict(), run_config={}
            )
            server_app(conduct, self)(grid, context)
        return ended[0]

    def settle(self) -> None:
        """The end: every node that is there follows the published rounds, or says why not."""
        for raw in self.home.records():
            where = f"round {self.trace.number + 1}"
            self.trace = retrace.follow(self.trace, raw, COORDINATOR.public, where)
        for node in self.nodes.values():
            if node.participant is not None:
                try:
                    node.participant.catch_up(self.trace.number)
                except CoopError as error:
                    node.events.append(("behind", {"problem": str(error)}))

    # ------------------------------------------------- what the app sees of them

    def wait_for(self, members: frozenset[MemberId], timeout_s: float) -> frozenset[MemberId]:
        """``coordinator.wire.server_app.Presence``: nobody waits here."""
        return members & {node.member for node in self.nodes.values() if node.running}

    def connections(self) -> Mapping[MemberId, int]:
        """A node that started again is on a new connection."""
        return {node.member: node.starts for node in self.nodes.values() if node.running}

    def connected(self) -> list[int]:
        return [node.number for node in self.nodes.values() if node.running]

    def deliver(self, message: Message) -> Message | None:
        """One message to one node, with everything that is to happen on the way."""
        node = next(n for n in self.nodes.values() if n.number == message.metadata.dst_node_id)
        envelope = envelope_of(message)
        found = codec.peek_envelope(envelope)
        place = (node.name, found.round, found.stage)
        if not node.running or self._take(Drop, place, when="before"):
            node.kill()
            return None
        message = self._as_told(message, envelope, place)
        reply = node.answer(message)
        self._note(self.said, node.name, found, reply)
        if self._take(Resend, place):
            reply = node.answer(message)
            self._note(self.said, node.name, found, reply)
        if self._take(Drop, place, when="unsent"):
            node.kill()
            return None
        if self._take(Delay, place):
            return None
        if self._take(Drop, place, when="after"):
            node.kill()
        corrupt = self._take(Corrupt, place)
        if isinstance(corrupt, Corrupt) and not reply.has_error():
            changed = CORRUPTIONS[corrupt.how](envelope_of(reply), self.papers, node.name)
            reply = _reply(changed, message)
        self._note(self.heard, node.name, found, reply)
        return reply

    def _as_told(self, message: Message, envelope: bytes, place: tuple[str, int, Stage]) -> Message:
        lie = self._take(SplitView, place)
        if isinstance(lie, SplitView):
            return _same(message, with_request(envelope, lie.edit))
        forged = self._take(Forge, place)
        if isinstance(forged, Forge):
            return _same(message, forged.edit(envelope))
        return message

    def _note(self, into: list[Heard], name: str, found: codec.Envelope, reply: Message) -> None:
        place = (name, found.round, found.attempt, found.stage)
        start = self.nodes[name].starts
        if reply.has_error():
            into.append(Heard(*place, None, reply.error.reason or "", start))
            return
        record = reply.content.get("envelope")
        value = record.get("bytes") if isinstance(record, ConfigRecord) else None
        body = value if isinstance(value, bytes) else repr(value).encode()
        into.append(Heard(*place, body, start=start))

    def before_stage(self, number: int, attempt: int, stage: Stage) -> None:
        """Called before the messages of a stage go out.

        A round in which everybody's keys came early begins with stage 1: what is to happen in
        its stage 0 happens then.
        """
        self.held.update(held_bytes(self.spies.machines[-1:]))
        begins = (number, attempt) not in self._begun
        self._begun.add((number, attempt))
        skipped = begins and stage is Stage.SHARE
        for place in (Stage.ADVERTISE, stage) if skipped else (stage,):
            for name, node in self.nodes.items():
                if not node.running and self._take(Restart, (name, number, place)):
                    node.start()
            if self._take(Abort, ("", number, place)):
                self.home.abort()
            if self._take(Stop, ("", number, place)):
                self.home.stop.set()
            self._crash_at(place, number, "start")

    def _fetch(self, name: str, run: RunId, number: int) -> bytes:
        """What a node gets when it asks for a published round."""
        file = self.home.round_file(number)
        if run != self.papers.order.order.run or not file.exists():
            raise RemoteError(f"there is no round {number} yet.", code=Code.NOT_FOUND)
        raw = file.read_bytes()
        lie = self._take(FalseSum, (name, number, PUBLISH))
        return lie.edit(raw) if isinstance(lie, FalseSum) else raw

    def _show_log(self, name: str, sizes: str) -> bytes:
        """What a node gets when it asks for the head of the log, with proofs."""
        log = self.logs.get(name, self.home.log)
        return Witnesses(self.home.database, log, self.home.clock).checkpoint(sizes)

    def _journal(self, kind: Kind, facts: Mapping[str, Any]) -> object:
        if kind is Kind.SUM:
            self._crash_at(PUBLISH, int(facts["round"]), "start")
        entry = self.home.log.append(kind, facts)
        if kind is Kind.SUM:
            self._crash_at(PUBLISH, int(facts["round"]), "middle")
        return entry

    # ---------------------------------------------------------------- operations

    def _take(
        self, kind: type[Operation], place: tuple[str, int, Stage], **exactly: str
    ) -> Operation | None:
        """The first operation of this kind that fits here; it does not come again."""
        name, number, stage = place
        for one in self.waiting:
            if not isinstance(one, kind) or one.round != number:
                continue
            if not isinstance(one, FalseSum) and one.stage is not stage:
                continue
            if isinstance(one, SplitView | Forge | FalseSum):
                if name in one.members and (name, id(one)) not in self._told:
                    self._told.add((name, id(one)))
                    return one
                continue
            if getattr(one, "member", name) != name:
                continue
            if any(getattr(one, key) != value for key, value in exactly.items()):
                continue
            self.waiting.remove(one)
            self.fired.append(one)
            return one
        return None

    def _crash_at(self, stage: Stage, number: int, when: str) -> None:
        crash = self._take(CoordinatorCrash, ("", number, stage), when=when)
        if not isinstance(crash, CoordinatorCrash):
            return
        self._disk = {
            file: file.read_bytes() + (b"\x02torn record" if crash.torn else b"")
            for file in (self.home.run_folder / "stages").glob("*.log")
        }
        self._forgets = crash.forgets
        raise Killed

    def _as_on_disk(self) -> None:
        """Undo what the unwinding stack still flushed: a killed process flushes nothing."""
        for file, content in self._disk.items():
            file.write_bytes(content)
        if self._forgets:
            shutil.rmtree(self.home.run_folder / "stages")


class ScriptedGrid(MemoryGrid):
    """The engine in memory, under the operations of a world."""

    def __init__(self, world: World, run_number: int) -> None:
        super().__init__(world, run_number)
        self._world = world

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        listed = list(messages)
        if not listed:
            return
        found = codec.peek_envelope(envelope_of(listed[0]))
        stage, world = found.stage, self._world
        world.before_stage(found.round, found.attempt, stage)
        replies = list(super().send_and_receive(listed, timeout=timeout))
        for at, reply in enumerate(replies):
            if 2 * at >= len(replies):
                world._crash_at(stage, found.round, "middle")
            yield reply
        world._crash_at(stage, found.round, "end")


def _same(message: Message, envelope: bytes) -> Message:
    content = RecordDict({"envelope": ConfigRecord({"bytes": envelope})})
    return Message(content=content, metadata=message.metadata)  # type: ignore[call-overload]


def _reply(content: bytes | RecordDict, message: Message) -> Message:
    if isinstance(content, bytes):
        content = RecordDict({"envelope": ConfigRecord({"bytes": content})})
    return Message(content, reply_to=message)
