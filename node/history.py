"""What touched one customer, one run or one member here: from the journal and the stores.

Each entry of the journal comes with its proof under the journal's signed head, so that whoever
asks needs to believe neither this node's software nor its owner. Works offline.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from node.data.stages import Basis
from node.data.values import customer_key
from node.house import Home, Member
from node.policy.journal import Folder
from node.store.consents import Consents, Event, State
from node.store.database import Database
from node.store.orders import Orders
from node.store.releases import Releases
from node.store.requests import CustomerRequests
from protocols.agreement.order import read_order
from protocols.audit.checkpoint import origin_of, parse_checkpoint
from protocols.audit.entries import Entry, Kind, decode
from protocols.audit.verify import check_inclusion, proof_bytes
from protocols.canonical import parse_json
from protocols.errors import Code, InputError
from protocols.signing import jws_payload

_SNAPSHOTS = (Kind.SNAPSHOT,)
ABOUT_RUN = (
    "It cannot know what other members read for this run, nor what happened outside the software.",
)
ABOUT_CUSTOMER = (
    "It cannot know which of a run's steps used this customer's lines: each step draws customers "
    "at random and keeps no list, so that nobody can tell.",
    "Of weekly sums it cannot know whether this customer's lines were here on that day: what it "
    "shows is whether the customer stood in the purpose. A customer without lines was not read.",
    "It cannot know uses of a model at other members, nor what happened outside the software.",
    "It knows the customer only by the number that the till printed: another number is another "
    "customer.",
)
ABOUT_MEMBER = ("It cannot know what that member did on its own computer; its own log shows that.",)


@dataclass(frozen=True, slots=True)
class Proven:
    """One entry of the journal, its proof checked; ``proof`` is the file for others."""

    entry: Entry
    why: str
    proof: bytes = field(repr=False)

    def line(self) -> str:
        """For people."""
        facts = ", ".join(f"{key} {_short(value)}" for key, value in self.entry.facts.items())
        return f"entry {self.entry.seq}  {self.entry.at[:19]}Z  {self.entry.kind}: {self.why}" + (
            f"  ({facts})" if facts else ""
        )


@dataclass(frozen=True, slots=True)
class History:
    """What was found. ``head`` is the signed head under which every proof leads."""

    about: str
    found: tuple[str, ...]
    entries: tuple[Proven, ...]
    head: bytes = field(repr=False)
    cannot_know: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """For people."""
        size = self.head.split(b"\n")[1].decode()
        return (
            self.about,
            *(f"  {one}" for one in self.found),
            f"In this node's log, each proven under its signed head of {size} entries:",
            *(f"  {one.line()}" for one in self.entries),
            *([] if self.entries else ["  nothing"]),
            *self.cannot_know,
        )

    def document(self) -> dict[str, Any]:
        """For programs, with the proofs."""
        return {
            "about": self.about,
            "found": list(self.found),
            "head": self.head.decode(),
            "entries": [
                {
                    "seq": one.entry.seq,
                    "at": one.entry.at,
                    "kind": one.entry.kind.value,
                    "why": one.why,
                    "proof": parse_json(one.proof, "proof"),
                }
                for one in self.entries
            ],
            "cannot_know": list(self.cannot_know),
        }


def of_customer(home: Home, database: Database, customer: str) -> History:
    """What this node did with one customer's lines, and what the customer said.

    Args:
        customer: the identifier as the till prints it; it is written nowhere.

    Raises:
        InputError: no identifier.
    """
    key = customer_key(home.keys.customer_secret, customer)
    if key is None:
        raise InputError("the customer is empty.", where="--customer", code=Code.USAGE)
    read = home.run_books(database).runs_of(key)
    in_books = frozenset((one.run, one.reading) for one in read)
    with database.read() as db:
        ledger = Consents(db)
        said = list(ledger.events(key))
        stood = dict(_stood(ledger, _entries(home), key, in_books))
        asked = [one for one in CustomerRequests(db).list() if one.customer_key == key]
        models = {one.model: one.run for one in Releases(db).list()}
    found = [_said(one, at) for one, at in said]
    found += [f"asked for {one.kind.value} on {_day(one.received_at)}" for one in asked]
    found += [
        f"model {model[:16]} came from run {run}, in whose snapshot the customer stood"
        for model, run in models.items()
        if run in stood.values()
    ]
    runs = set(stood.values())
    wanted: dict[int, str] = {}
    for entry in _entries(home):
        if entry.seq in stood:
            wanted[entry.seq] = (
                "the customer stood in the purpose, so its lines were in what was read"
            )
        elif entry.facts.get("run") in runs and entry.kind is not Kind.SNAPSHOT:
            wanted[entry.seq] = "about a run in whose snapshot the customer stood"
        elif entry.kind is Kind.REQUEST and entry.facts.get("request") in {one.id for one in asked}:
            wanted[entry.seq] = "about a request of the customer"
    about = f"This customer said something {len(said)} times and stood in {len(runs)} runs:"
    return _history(home, about, found, wanted, ABOUT_CUSTOMER)


def of_run(member: Member, run: str) -> History:
    """What this node did in one run; ``run`` by its first digits."""
    with member.database.read() as db:
        orders = [one for one in Orders(db).list() if one.run.startswith(run)]
        if len(orders) != 1:
            raise InputError(
                f"{len(orders)} runs begin with {run!r}.", where="--run", code=Code.NOT_FOUND
            )
        releases = [one for one in Releases(db).list() if one.run == orders[0].run]
    (stored,) = orders
    order = read_order(jws_payload(parse_json(stored.jws, "order"), "order"), "order").order
    found = [
        f"purpose {order.purpose}, workload {order.workload.id} {order.workload.version}",
        f"ordered {_day(order.issued)} under agreement {order.agreement}",
        f"here it is {stored.state.value}",
        *stored.reasons,
        *(f"model {one.model} is {one.state.value}" for one in releases),
    ]
    names = {order.run, stored.order_id, *(one.model for one in releases)}
    wanted = {one.seq: "names the run" for one in _entries(member.home) if _names(one, names)}
    return _history(member.home, f"Run {order.run}:", found, wanted, ABOUT_RUN)


def of_member(member: Member, who: str) -> History:
    """What this node knows about one member; ``who`` by the first digits of its id."""
    roster = member.agreements.newest_roster()
    listed = roster.roster.members if roster is not None else ()
    matching = [one for one in listed if one.id.startswith(who)]
    if len(matching) != 1:
        raise InputError(
            f"{len(matching)} members in the last list begin with {who!r}.",
            where="--member",
            code=Code.NOT_FOUND,
        )
    (one,) = matching
    with member.database.read() as db:
        orders = [
            read_order(jws_payload(parse_json(kept.jws, "order"), "order"), "order").order
            for kept in Orders(db).list()
        ]
    found = [f"{one.name}, {one.trade}, {one.region}; key {one.public_key}"]
    found += [f"in the cohort of run {order.run}" for order in orders if one.id in order.cohort]
    wanted = {at.seq: "names the member" for at in _entries(member.home) if _names(at, {one.id})}
    return _history(member.home, f"Member {one.id}:", found, wanted, ABOUT_MEMBER)


# ------------------------------------------------------------------------------- inside


def _entries(home: Home) -> Iterator[Entry]:
    place = Folder(home.folder / "audit")
    for number, line in enumerate(place.lines(0), start=1):
        yield decode(line.removesuffix(b"\n"), f"line {number}")


def _stood(
    ledger: Consents, entries: Iterator[Entry], key: str, in_books: Collection[tuple[str, int]]
) -> Iterator[tuple[int, str]]:
    """(entry, run) of every snapshot with the customer's lines.

    Where a book of the rows was kept it says who was read; otherwise whoever stood in the
    purpose, as of the snapshot's position.
    """
    for entry in entries:
        reading = entry.facts.get("reading")
        if type(reading) is int and "vault" not in entry.facts:
            if (str(entry.facts["run"]), reading) in in_books:
                yield entry.seq, str(entry.facts["run"])
            continue
        scope, position = entry.facts.get("scope"), entry.facts.get("position")
        if entry.kind not in _SNAPSHOTS or not isinstance(scope, str) or type(position) is not int:
            continue
        newest = ledger.newest_at(scope, key, position)
        granted = newest is not None and newest.state is State.GRANTED
        refused = newest is not None and not granted
        by_consent = entry.facts.get("basis") == Basis.CONSENT.value
        if granted if by_consent else not refused:
            yield entry.seq, str(entry.facts["run"])


def _history(
    home: Home, about: str, found: Sequence[str], wanted: Mapping[int, str], cannot: tuple[str, ...]
) -> History:
    """Prove each wanted entry under one head, and check each proof as a stranger would."""
    public = home.log.public
    note = home.log.checkpoint()
    head = parse_checkpoint(note, public, origin_of("node", public), "head")
    proven = []
    for number, why in sorted(wanted.items()):
        proof = proof_bytes(home.log.prove(number)[1])
        proven.append(Proven(check_inclusion(proof, head, f"entry {number}"), why, proof))
    return History(about, tuple(found), tuple(proven), note, cannot)


def _names(entry: Entry, names: set[str]) -> bool:
    for value in entry.facts.values():
        if value in names or (isinstance(value, tuple) and names.intersection(map(str, value))):
            return True
    return False


def _said(event: Event, recorded: datetime) -> str:
    wording = f", having seen text {event.wording[:16]}" if event.wording else ""
    return (
        f"{event.state.value} for {event.scope} on {_day(event.at)} ({event.source}{wording}); "
        f"entered here {_day(recorded)}"
    )


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:16]}.."
