"""Letters in and out: agreements, rosters, orders, releases; signatures and answers.

Everything here is durable and may be repeated: a letter counts as read when what it brought is
in the store, a letter of ours as sent when the coordinator has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from node.federation.link import Calls, Letter
from node.policy.agreements import Agreements
from node.policy.budget import settle
from node.policy.results import Results
from node.store.database import Database
from node.store.documents import AcceptedRosters
from node.store.orders import Orders, OrderState
from node.store.outbox import Cursors, Outbox
from node.store.releases import Releases, ReleaseState, StoredRelease
from node.store.rounds import SpentRounds
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, CoopError, InputError, Refused, RemoteError
from protocols.ids import ModelId, RunId, model_id, run_id
from protocols.signing import jws_payload

AGREED = ("agreement", "roster", "agreement-signed", "roster-signed", "signatures")
CURSOR, TAKEN_BACK = "mail", "revocations"
MAX_REVOCATIONS_BYTES = 8 * 1024 * 1024
MAX_PAGES = 50  # of revocations at one contact
CARD = "datacoop/release"  # as protocols.release says, which takes long to import
TRY_AGAIN = frozenset({Code.UNAVAILABLE, Code.UNAUTHENTICATED, Code.INTERNAL})
Journal = Callable[[str, Mapping[str, object]], None]
Emit = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Mailroom:
    """The letters of one member."""

    database: Database
    agreements: Agreements
    results: Results
    journal: Journal
    emit: Emit
    clock: Callable[[], datetime]
    keepers: Mapping[str, Callable[[bytes], str]] = field(default_factory=dict)
    """Kind of a letter -> who keeps it and says what it is called."""

    def collect(self, calls: Calls, receive_order: Callable[[bytes], None]) -> int:
        """Fetch and keep all new letters; how many there were.

        ``receive_order`` takes a signed order (JWS bytes) and remembers what the gate said.
        """
        count = 0
        self._revoked(calls)
        with self.database.read() as db:
            after = Cursors(db).get(CURSOR)
        for letter in calls.mail(after):
            self._take(letter, receive_order)
            with self.database.write() as db:
                Cursors(db).put(CURSOR, letter.seq)
            count += 1
        self._accept_chain(calls)
        return count

    def deliver(self, calls: Calls) -> int:
        """Send all letters of ours that the coordinator does not have; how many."""
        with self.database.read() as db:
            waiting = Outbox(db).open()
        sent = 0
        for letter in waiting:
            try:
                calls.submit(letter.kind, letter.id, letter.body)
            except RemoteError as error:
                if error.code in TRY_AGAIN:
                    raise
                self._refused_by_office(letter.id, error)
            with self.database.write() as db:
                Outbox(db).acknowledge(letter.id, self.clock())
            sent += 1
        return sent

    def answer(self, run: str, answer: str, reasons: tuple[str, ...]) -> bool:
        """Queue this member's answer to an order; False if it was queued before."""
        shown = [one[:600] for one in reasons[:40]]
        body = json_bytes({"run": run, "answer": answer, "reasons": shown})
        with self.database.write() as db:
            return Outbox(db).post(f"answer-{run}-{answer}", "answer", body, self.clock())

    def _accept_chain(self, calls: Calls) -> None:
        """A member that joined late accepts all roster epochs up to the one that names it."""
        newest = self.agreements.newest_roster()
        with self.database.read() as db:
            accepted = AcceptedRosters(db).chain()
        late = newest is not None and newest.roster.epoch > 1
        if accepted or not late or self.agreements.current() is None:
            return
        document = parse_json(calls.fetch("rosters", "", "all"), "rosters")
        try:
            epoch = self.agreements.receive_chain(document.get("chain") or [])
        except Refused:
            return  # not yet signed by enough of the others; it comes as a letter when it is
        self.emit("document", kind="roster chain", id=f"epoch {epoch}")

    def _refused_by_office(self, name: str, error: CoopError) -> None:
        self.journal("incident", {"note": f"the office did not take {name}: {error.problem}"[:200]})

    def _take(self, letter: Letter, receive_order: Callable[[bytes], None]) -> None:
        """One letter; a bad one is written down and does not stop the others."""
        try:
            if letter.kind in AGREED:
                name = self.agreements.receive(letter.kind, letter.body)
                self.emit("document", kind=letter.kind, id=name)
            elif letter.kind == "order":
                receive_order(letter.body)
            elif letter.kind == "release":
                self._release(letter)
            elif letter.kind == "revocation":
                self._take_back(letter.body)
            elif letter.kind == "run-ended":
                self._run_ended(letter)
            elif letter.kind in self.keepers:
                name = self.keepers[letter.kind](letter.body)
                self.emit("document", kind=letter.kind, id=name)
            else:
                raise InputError(f"letters of kind {letter.kind[:40]!r} are not known here.")
        except (InputError, Refused) as error:
            self.journal("incident", {"note": _note(f"letter {letter.seq}: {error}")})
            self.emit("document", kind=f"unreadable {letter.kind[:40]}", id=str(error)[:200])

    def _release(self, letter: Letter) -> None:
        model, run = _offered(letter.body)
        self.results.check_offer(parse_json(letter.body, "release"))
        with self.database.write() as db:
            if Releases(db).get(model) is None:
                offered = ReleaseState.OFFERED
                Releases(db).put(StoredRelease(model, run, offered, letter.body, self.clock()))
        self.emit("document", kind="release", id=model)

    def _revoked(self, calls: Calls) -> None:
        """Models that were taken back, before anything else and beside the letters: for a node
        that joined or was restored since, and for one whose letters wait behind an order.

        One that does not verify holds up no other. It is asked for again at each contact: it may
        be under a version that this member has not signed yet.
        """
        with self.database.read() as db:
            kept = Cursors(db).get(TAKEN_BACK)
        at, newest, whole = kept, kept + 1, True
        for _ in range(MAX_PAGES):
            if at >= newest:
                return
            newest, listed = self._page_of_revoked(calls, at)
            if newest < kept:  # the office was restored and counts anew
                kept, at = 0, 0
                self._remember_revoked(0)
                continue
            for seq, signed in listed:
                whole = self._took_back(signed) and whole
                if whole:
                    self._remember_revoked(seq)
            if not listed or listed[-1][0] <= at:
                return
            at = listed[-1][0]

    def _page_of_revoked(self, calls: Calls, after: int) -> tuple[int, list[tuple[int, bytes]]]:
        """The number of the newest, and the next ones with their numbers."""
        raw = calls.fetch("revocations", "", str(after), MAX_REVOCATIONS_BYTES)
        document = parse_json(raw, "revocations")
        try:
            newest, listed = document["newest"], document["revocations"]
            found = [(one["seq"], json_bytes(one["signed"])) for one in listed]
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise _unreadable_list() from error
        if any(type(number) is not int for number in (newest, *(seq for seq, _ in found))):
            raise _unreadable_list()
        return newest, found

    def _took_back(self, signed: bytes) -> bool:
        try:
            self._take_back(signed)
        except (InputError, Refused) as error:
            self.emit("document", kind="unreadable revocation", id=str(error)[:200])
            return False
        return True

    def _remember_revoked(self, seq: int) -> None:
        with self.database.write() as db:
            Cursors(db).put(TAKEN_BACK, seq)

    def _take_back(self, body: bytes) -> None:
        model = self.results.take_back(body)
        if model:
            self.emit("document", kind="revocation", id=model)

    def _run_ended(self, letter: Letter) -> None:
        document = parse_json(letter.body, "run-ended")
        run, state = run_id(str(document.get("run"))), str(document.get("state"))[:20]
        with self.database.write() as db:
            known = Orders(db).get(run)
            if known is not None and known.state in (OrderState.ADMITTED, OrderState.RUNNING):
                good = state in ("released", "refused", "finished")
                now = self.clock()
                Orders(db).move(run, OrderState.DONE if good else OrderState.FAILED, now)
                spent = SpentRounds(self.database, self.clock).last(bytes.fromhex(run)) is not None
                settle(db, run, now, spent_rounds=spent)
        self.emit("run", run=run, state=state, detail=str(document.get("detail"))[:300])


def _offered(body: bytes) -> tuple[ModelId, RunId]:
    """Model and run of a card that is shown from now on; the rest is verified when it is pulled."""
    card = jws_payload(parse_json(body, "release"), "release")
    workload = card.get("workload")
    shape = {"metrics": dict, "privacy": dict, "workload": dict, "model": str, "run": str}
    wrong = [name for name, kind in shape.items() if not isinstance(card.get(name), kind)]
    if card.get("kind") != CARD or wrong or not isinstance(workload, dict):
        raise InputError("this is not the card of a release.", where="release")
    if not isinstance(workload.get("id"), str):
        raise InputError("the card of a release names no workload.", where="release")
    return model_id(card["model"]), run_id(card["run"])  # they become names of folders


def _unreadable_list() -> RemoteError:
    return RemoteError("the list of revocations cannot be read.", peer="coordinator")


def _note(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:200]
