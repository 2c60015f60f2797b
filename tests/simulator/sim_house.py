"""Members with their whole control path: mailbox, agreements, gate, approvals, rooms, outbox.

Only the link between them and the coordinator's desk is a function call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sim_shops
import small_coop
from coordinator.desk import Desk
from coordinator.store.mail import Mail
from coordinator.wire.services import Letter
from known_house import healthy, in_order
from node import round as way
from node.federation.mailroom import Mailroom
from node.federation.participant import Ticket, Tools
from node.federation.rooms import Rooms
from node.policy.agreements import Agreements
from node.policy.approvals import ApprovalDesk
from node.policy.evidence import Me
from node.policy.gate import Gate
from node.policy.results import Results
from node.store.database import Database
from node.store.orders import Orders, StoredOrder
from node.store.outbox import Outbox
from protocols.audit.entries import Entry, Kind, encode
from protocols.canonical import Json, json_bytes
from protocols.ids import MemberId
from sim_nodes import AT, Entropy, allowance, noise_of, sqlite_ledgers
from sim_papers import Papers
from small_coop import NOW

HISTORY = healthy(weeks=sim_shops.TRAIN_WEEKS, rows=500)


class DeskCalls:
    """``node.federation.link.Calls`` without a link: the coordinator's desk, directly."""

    def __init__(self, desk: Desk, member: MemberId) -> None:
        self._desk, self._member = desk, member

    def mail(self, after: int) -> Iterator[Letter]:
        yield from self._desk.letters(self._member, after)

    def submit(self, kind: str, name: str, body: bytes) -> None:
        self._desk.take(self._member, kind, name, body)

    def fetch(self, kind: str, run: str, name: str, max_bytes: int = 0) -> bytes:
        return self._desk.published(self._member, kind, run, name)


@dataclass
class House:
    """One member, with a store on disk and everything that decides about orders."""

    name: str
    papers: Papers
    folder: Path
    calls: DeskCalls
    shop: int
    installed: str = small_coop.DIGEST
    prepare: Callable[[Ticket], way.Prepared] | None = None
    journal: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    now: datetime = NOW

    def __post_init__(self) -> None:
        key = self.papers.keys[self.name]
        file = self.folder / "node.db"
        self.database = Database.open(file, create=True)
        clock = self._clock
        self.agreements = Agreements(self.database, small_coop.COOP, key, self._write, clock)
        self.approvals = ApprovalDesk(self.database, self._write, clock)
        me = Me(self.papers.member(self.name), key.public)
        results = Results(self.database, small_coop.COOP, me, self._write, clock)
        self.mailroom = Mailroom(
            self.database, self.agreements, results, self._write, self._say, clock
        )
        gate = Gate(
            self.database,
            public=key.public,
            installed=frozenset({self.installed}),
            journal=self._write,
            clock=clock,
            around=in_order(clock),
        )
        home = SimpleNamespace(
            folder=self.folder,
            journal=self._write,
            clock=clock,
            run_folder=lambda run: self.folder / "runs" / run,
            keys=SimpleNamespace(identity=key),
        )
        member = SimpleNamespace(
            home=home,
            membership=SimpleNamespace(member=self.papers.member(self.name)),
            database=self.database,
            gate=gate,
        )
        tools = Tools(
            identity=key,
            member=self.papers.member(self.name),
            entropy=Entropy(f"house {self.name}"),
            noise=noise_of(Entropy(f"house {self.name}")),
            monotonic=lambda: 0.0,
            clock=clock,
            ledgers=sqlite_ledgers(file, allowance(self.papers), key),
            fetch_round=lambda run, number: self.calls.fetch("round", run, f"{number:04d}"),
            prepare=self.prepare or self._prepare,
            check_log=lambda head, evidence: None,  # no round is run here
            journal=self._write,
            emit=self._say,
        )
        self.rooms = Rooms(member, self.mailroom, tools, lambda order: HISTORY)  # type: ignore[arg-type]

    def sign(self, approve: bool) -> None:
        """Read what the others signed, sign it, and say yes to its workload for always."""
        papers = self.papers
        self.agreements.receive("agreement", json_bytes(papers.agreement.document))
        self.agreements.receive("roster", json_bytes(papers.roster.document))
        self.agreements.sign(papers.agreement.id, papers.roster.id)
        self.agreements.receive("roster-signed", json_bytes(papers.signed_roster))
        self.agreements.receive("agreement-signed", json_bytes(papers.signed_agreement))
        if approve:
            self.approvals.approve_workload(small_coop.DIGEST)

    def exchange(self) -> None:
        """What the node's mailroom thread does on a notice."""
        self.rooms.reconsider()
        self.rooms.close_finished()
        self.mailroom.collect(self.calls, self.rooms.receive)  # type: ignore[arg-type]
        self._post()

    def order(self) -> StoredOrder:
        with self.database.read() as db:
            found = Orders(db).get(self.papers.order.order.run)
        assert found is not None
        return found

    def handle(self, envelope: bytes) -> bytes:
        return self.rooms.handle(envelope)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.journal]

    def _post(self) -> None:
        """Deliver; the signatures of the founding are not what is looked at here."""
        with self.database.write() as db:
            for letter in Outbox(db).open():
                if letter.kind == "signature":
                    Outbox(db).acknowledge(letter.id, self.now)
        self.mailroom.deliver(self.calls)  # type: ignore[arg-type]

    def _prepare(self, ticket: Ticket) -> way.Prepared:
        return sim_shops.prepare(self.shop, False, ticket, self.folder / "cache")

    def _clock(self) -> datetime:
        return self.now

    def _say(self, event: str, **facts: object) -> None:
        """Nobody looks at the screen."""

    def _write(self, kind: str, facts: Mapping[str, object]) -> None:
        encode(Entry(len(self.journal), AT, Kind(kind), facts))  # type: ignore[arg-type]
        self.journal.append((str(kind), dict(facts)))


def post_order(mail: Mail, papers: Papers, now: datetime) -> None:
    """What ``coop-coordinator run launch`` puts into every mailbox."""
    post(mail, papers, "order", papers.order.id, papers.signed_order, now)


def post(
    mail: Mail, papers: Papers, kind: str, document: str, content: Json, now: datetime
) -> None:
    for name in papers.names:
        member = papers.member(name)
        mail.post(member, kind=kind, document=document, body=json_bytes(content), now=now)
