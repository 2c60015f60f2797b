"""One request on its way: who was recognised, what was done, the evidence, the end.

Every right ends in ``Case.finish``: the statement is signed and on the disk before the journal
names its hash, and the journal names it before the request is closed. What is done before that
can be repeated, so a crash is answered by the same command once more.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from node import membership
from node.house import Home
from node.policy.agreements import newest_signed
from node.policy.consents import ConsentDesk
from node.policy.journal import Folder
from node.policy.subjects import SubjectDesk, Waiting, said
from node.rights import evidence
from node.store.database import Database
from node.store.outbox import Outbox
from node.store.requests import CustomerRequest, Outcome, RequestKind, mark_of
from protocols.agreement.corrections import CORRECTION, What, make_correction
from protocols.agreement.terms import Terms
from protocols.audit.checkpoint import origin_of, parse_checkpoint
from protocols.audit.entries import Entry, decode
from protocols.audit.verify import check_inclusion, proof_bytes
from protocols.errors import Code, InputError, Refused

NEEDS_IDENTITY: Final = frozenset(RequestKind) - {RequestKind.OBJECT, RequestKind.RESTRICT}
"""A no is taken from anybody who knows the number; whatever is handed out, changed or let in
again needs the person."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a request ended: the evidence's name and file."""

    request: str
    outcome: Outcome
    evidence: str
    file: Path


@dataclass(frozen=True, slots=True)
class Case:
    """What carrying out a right needs of the node.

    Args:
        home, database: the node's.
        terms, agreement: what this member signed last, and its id; None before that.
        enrolled: whether there is an office to tell how many.
        entropy: for ids and tombstones.
    """

    home: Home
    database: Database
    terms: Terms | None
    agreement: str | None
    enrolled: bool
    entropy: Callable[[int], bytes] = field(default=secrets.token_bytes, repr=False)

    @property
    def subjects(self) -> SubjectDesk:
        """The ledger of requests."""
        home = self.home
        return SubjectDesk(
            self.database, home.keys.customer_secret, self.terms, home.journal, home.clock
        )

    @property
    def consents(self) -> ConsentDesk:
        """The ledger of consent."""
        return self.home.consents(self.database)

    def mark(self, customer_key: str) -> str:
        """What stands for a person in evidence, and after an erasure."""
        return mark_of(self.home.keys.customer_secret, customer_key)

    def take(self, prefix: str, kind: RequestKind) -> CustomerRequest:
        """The open request that is to be carried out.

        Raises:
            InputError: no such open request, or it asks for something else.
            Refused: nobody wrote down how the person was recognised.
        """
        one = self.subjects.find(prefix)
        if one.kind is not kind:
            raise InputError(
                f"request {one.id} asks for {one.kind.value}, not for {kind.value}.",
                where=prefix[:8],
                code=Code.USAGE,
                fix=f"coop-node requests {one.kind.value} {one.id}",
            )
        if kind in NEEDS_IDENTITY and not one.identity_check:
            raise Refused(
                "nobody has written down how this person was recognised.",
                where=one.id,
                fix="Check that it is really this customer who asks, then add for example: "
                "--identified 'customer card and photo id at the till'",
            )
        return one

    def shown(self, request: str) -> Waiting:
        """A request with its due date, open or closed."""
        return next(one for one in self.subjects.list() if one.request.id == request)

    def finish(
        self,
        one: CustomerRequest,
        how: str,
        facts: Mapping[str, Any],
        *,
        subject: str,
        outcome: Outcome = Outcome.DONE,
    ) -> Finished:
        """Sign the evidence, keep it, write its hash into the journal, close the request.

        Args:
            one: the request, open.
            how: what was done, in our own words.
            facts: for the statement; nothing that names anybody.
            subject: the person's mark.
            outcome: done or refused.
        """
        waiting = self.shown(one.id)
        statement = evidence.Statement(
            request=one.id,
            asks=one.kind.value,
            outcome=outcome.value,
            subject=subject,
            at=self.home.clock(),
            received_at=one.received_at,
            due=waiting.due,
            identity_checked_at=one.checked_at,
            agreement=self.agreement,
            facts=facts,
        )
        made = evidence.sign(statement, self.home.keys.identity)
        file = evidence.keep(self.home.folder, statement, made)
        self.home.journal(
            "rights",
            {
                "what": one.kind.value,
                "outcome": outcome.value,
                "request": one.id,
                "evidence": made.name,
            },
        )
        self.subjects.close(one.id, how, outcome=outcome, evidence=made.name)
        return Finished(one.id, outcome, made.name, file)

    def tell_office(self, one: CustomerRequest, what: What, runs: Iterable[str]) -> int:
        """Queue a count of one and the runs for the office; how many runs it names.

        The letter's name is an HMAC, so that a repeated command sends it once and it says
        nothing about the request. Without an office nothing is queued.
        """
        listed = sorted(set(runs))
        if not self.enrolled:
            return 0
        secret = self.home.keys.customer_secret
        name = hmac.new(secret, b"datacoop/correction/v1" + one.id.encode(), hashlib.sha256)
        body = make_correction(what, 1, listed)
        with self.database.write() as db:
            letter = f"{CORRECTION}-{name.hexdigest()[:16]}"
            Outbox(db).post(letter, CORRECTION, body, self.home.clock())
        return len(listed)


def open_case(home: Home, database: Database) -> Case:
    """The case desk of a node, joined or not."""
    with database.read() as connection:
        mine = newest_signed(connection)
    return Case(
        home,
        database,
        mine.terms if mine is not None else None,
        mine.id if mine is not None else None,
        membership.is_enrolled(home.folder),
    )


def refuse(case: Case, prefix: str, ground: str, reason: str) -> Finished:
    """Refuse a request, with the ground in law and the reason that the person is told.

    Raises:
        InputError: no such open request, no such ground, or no reason.
    """
    one = case.subjects.find(prefix)
    if ground not in GROUNDS:
        raise InputError(
            f"{ground[:40]!r} is no ground to refuse a request.",
            where="--ground",
            fix=f"One of: {', '.join(GROUNDS)}.",
        )
    why = said(reason, "--reason")  # the person is told
    if one.kind is RequestKind.OBJECT and ground != "withdrawn":
        raise Refused(
            "an objection is not weighed here: it counts as soon as it is made (GDPR art. 21(3)).",
            where=one.id,
            fix=f"coop-node requests object {one.id}",
        )
    facts = {"ground": ground, "law": GROUNDS[ground]}
    how = f"{ground}: {why}"
    subject = case.mark(one.customer_key)
    return case.finish(one, how[:200], facts, subject=subject, outcome=Outcome.REFUSED)


GROUNDS: Final[Mapping[str, str]] = {
    "unfounded": "GDPR art. 12(5): manifestly unfounded",
    "excessive": "GDPR art. 12(5): excessive, in particular repeated",
    "not-identified": "GDPR art. 12(2): the person could not be identified",
    "duty-to-keep": "GDPR art. 17(3)(b): the law obliges the shop to keep it",
    "legal-claims": "GDPR art. 17(3)(e): needed for legal claims",
    "others-rights": "GDPR art. 15(4): it would harm the rights of others",
    "withdrawn": "the person took the request back",
}
"""Grounds on which a request may be refused, as they stand in the evidence."""


def logged(home: Home, name: str) -> Entry | None:
    """The journal's entry that names a statement, proven under the signed head; None if none does.

    Args:
        home: the node's.
        name: SHA-256 of the statement, 64 hex digits.
    """
    public = home.log.public
    lines = Folder(home.folder / "audit").lines(0)
    for number, line in enumerate(lines, start=1):
        if b'"kind":"rights"' not in line or name.encode() not in line:
            continue
        entry = decode(line.removesuffix(b"\n"), f"line {number}")
        if entry.facts.get("evidence") == name:
            note = home.log.checkpoint()
            head = parse_checkpoint(note, public, origin_of("node", public), "head")
            proof = proof_bytes(home.log.prove(entry.seq)[1])
            return check_inclusion(proof, head, f"entry {entry.seq}")
    return None
