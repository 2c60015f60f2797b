"""The members of a simulated run: real participants, which can be killed and started again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flwr.app import Message
from flwr.clientapp import ClientApp

import sim_customers
import sim_shops
from coordinator.wire.grid import node_number
from node import round as way
from node.federation.client_app import client_app
from node.federation.participant import (
    Ledgers,
    Participant,
    Ticket,
    Tools,
    survivor_allowance,
)
from node.federation.witness import Witness, head_of
from node.policy.evidence import Me
from node.policy.life import refuse_if_away
from node.policy.witnessed import Witnessed
from node.store.database import Database
from node.wiring import _Ledgers
from protocols.agreement.survivors import survivor_change
from protocols.audit.entries import Entry, Kind, encode
from protocols.errors import Refused
from protocols.ids import MemberId, RunId
from protocols.privacy.noise import discrete_gaussian
from protocols.secagg.params import LogHead
from protocols.signing import SigningKey, identity_of
from protocols.workloads import churn
from sim_grid import client_context, run_client_app
from sim_papers import Papers
from small_coop import NOW

AT = "2026-03-01T12:00:00.000000Z"
Fetch = Callable[[str, RunId, int], bytes]


class MemoryLedgers:
    """What the node's store remembers of rounds, without a store; the same contract."""

    def __init__(self, allowed: int | None) -> None:
        self._allowed = allowed
        self.spent: set[tuple[bytes, int]] = set()
        self.sent: set[bytes] = set()
        self.sets: dict[tuple[str, int], frozenset[str]] = {}

    def mark_sent(self, run: bytes) -> None:
        self.sent.add(run)

    def mark_spent(self, run: bytes, round: int) -> None:
        if (run, round) in self.spent:
            raise Refused(f"round {round} was spent before.", clauses=("c14",))
        self.spent.add((run, round))

    def admit_survivors(self, run: str, round: int, members: frozenset[str], floor: int) -> None:
        before = [
            found for (of, at), found in sorted(self.sets.items()) if of == run and at < round
        ]
        reason = survivor_change(before, members, floor, self._allowed)
        if reason is not None:
            raise Refused(f"{reason}.", clauses=(reason.clause,))
        if self.sets.setdefault((run, round), members) != members:
            raise Refused("the round was agreed over other survivors.", clauses=("c14",))

    def keep_survivors(self, run: str, round: int, members: frozenset[str]) -> None:
        self.sets[run, round] = members


SOMEBODY = SigningKey(b"\x5a" * 32)


def sqlite_ledgers(file: Path, allowed: int | None, key: SigningKey = SOMEBODY) -> Ledgers:
    """The node's own, over its store; nothing stops these runs but what a test does."""
    database = Database.open(file, create=True)
    me = Me(identity_of(key.public), key.public)
    member = SimpleNamespace(database=database, home=SimpleNamespace(clock=lambda: NOW))

    def going(run: str) -> None:
        refuse_if_away(database, me, NOW)

    return _Ledgers(member, lambda run: allowed, going)  # type: ignore[arg-type]


class Entropy:
    """Bytes that differ at every call, and are the same in every run of a test."""

    def __init__(self, name: str) -> None:
        self._name, self._calls = name, 0

    def __call__(self, count: int) -> bytes:
        self._calls += 1
        return hashlib.shake_256(f"{self._name}/{self._calls}".encode()).digest(count)


def noise_of(entropy: Callable[[int], bytes]) -> Callable[[float, int], Any]:
    """A member's noise, the same in every run of a test."""
    return lambda sigma, count: discrete_gaussian(sigma, count, entropy)


@dataclass(frozen=True)
class _OfLog:
    """The calls that a witness makes while a round runs."""

    name: str
    answer: Callable[[str, str], bytes]

    def fetch(self, kind: str, run: str, name: str, max_bytes: int = 0) -> bytes:
        assert kind == "checkpoint"
        return self.answer(self.name, name)

    def submit(self, kind: str, name: str, body: bytes) -> None:
        raise AssertionError("nothing is handed over while a round runs")


@dataclass
class Node:
    """One member. ``kill`` loses what is in memory; folder, ledgers and journal stay."""

    name: str
    papers: Papers
    folder: Path
    ledgers: Ledgers
    fetch: Fetch = field(repr=False)
    log: Callable[[str, str], bytes] = field(repr=False)  # name, sizes: the answer of the office
    shop: int = 0
    steady: bool = False
    journal: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    participant: Participant | None = None
    app: ClientApp | None = None
    starts: int = 0
    noise_seed: str = "noise"

    @property
    def key(self) -> SigningKey:
        return self.papers.keys[self.name]

    @property
    def member(self) -> MemberId:
        return self.papers.member(self.name)

    @property
    def number(self) -> int:
        return node_number(self.member)

    @property
    def running(self) -> bool:
        return self.app is not None

    def start(self) -> None:
        """Start the process: follow what was kept, read the rows, wait for messages."""
        self.starts += 1
        papers = self.papers
        order = papers.order.order
        ticket = Ticket(
            course=papers.course,
            permit=sim_shops.permit_of(order.run, order.agreement),
            coordinator_key=papers.pins.coordinator_key or b"",
        )
        tools = Tools(
            identity=self.key,
            member=self.member,
            entropy=Entropy(f"{self.name} start {self.starts}"),
            noise=noise_of(Entropy(f"{self.noise_seed} {self.name} start {self.starts}")),
            monotonic=lambda: 0.0,
            clock=lambda: NOW,
            ledgers=self.ledgers,
            fetch_round=lambda run, number: self.fetch(self.name, run, number),
            prepare=self._prepare,
            check_log=self._check_log,
            journal=self._write,
            emit=self._say,
        )
        self.participant = Participant(ticket, tools, self.folder / "run")
        self.app = client_app(self.participant.handle)

    def kill(self) -> None:
        """SIGKILL."""
        self.participant = self.app = None

    def answer(self, message: Message) -> Message:
        """The ClientApp's reply, or the error that a Flower engine sends in its place."""
        assert self.app is not None
        return run_client_app(self.app, client_context(self.number, 1), message)

    def refusals(self) -> list[str]:
        """The reasons that this node wrote down."""
        return [str(facts["note"]) for kind, facts in self.journal if kind == Kind.REFUSAL]

    def facts(self, kind: Kind) -> list[Mapping[str, Any]]:
        """What this node wrote down of a kind."""
        return [facts for found, facts in self.journal if found == kind]

    @property
    def witness(self) -> Witness:
        """What it keeps of the coordinator's log, in its folder."""
        key = self.papers.pins.coordinator_key or b""
        kept = Witnessed(self.folder / "audit", self.key, key, self._write, lambda: NOW)
        return Witness(kept, lambda: self.papers.roster, self._say)

    def _check_log(self, head: LogHead, evidence: bytes) -> None:
        witness = self.witness
        named = head_of(head.size, head.root, witness.kept)
        witness.check_head(_OfLog(self.name, self.log), named, {"descriptor.bin": evidence})

    def _say(self, event: str, **facts: object) -> None:
        self.events.append((event, facts))

    def _prepare(self, ticket: Ticket) -> way.Prepared:
        if isinstance(ticket.course.recipe, churn.Churn):
            return sim_customers.prepare(self.shop, ticket)
        return sim_shops.prepare(self.shop, self.steady, ticket, self.folder / "cache")

    def _write(self, kind: str, facts: Mapping[str, object]) -> None:
        # every entry must be one that the audit log takes
        encode(Entry(len(self.journal), AT, Kind(kind), facts))  # type: ignore[arg-type]
        self.journal.append((str(kind), dict(facts)))


def allowance(papers: Papers) -> int | None:
    return survivor_allowance(papers.course)
