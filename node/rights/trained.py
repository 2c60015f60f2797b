"""Runs that a person's lines were in, models released from them, and what is proposed for each.

From the books that the node keeps of every reading and from the journal. Both stay when the person
is erased, but without the key nobody can ask again. So this is looked up before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node.data.stages import Basis
from node.policy.journal import Folder
from node.store.consents import Consents, State
from node.store.documents import Documents
from node.store.releases import Releases, Revocations
from node.store.run_snapshots import RunSnapshots
from protocols.agreement.corrections import Proposal, past_model
from protocols.agreement.parse import read_agreement
from protocols.agreement.terms import Terms
from protocols.audit.entries import Entry, Fact, decode
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import InputError, LocalError
from protocols.signing import jws_payload

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from node.rights.case import Case

RESTS_ON = (Basis.CONSENT.value, Basis.LEGITIMATE_INTEREST.value)


@dataclass(frozen=True, slots=True)
class RunIn:
    """A run that read lines of the person: entry of the journal, purpose, basis."""

    run: str
    entry: int
    at: str
    scope: str
    basis: str


@dataclass(frozen=True, slots=True)
class Trained:
    """A model released from such a run, as far as this node was offered it.

    Args:
        model, run, state: as in ``models list``; revoked ones say so.
        statement: what its card says about privacy.
        epsilon: the promise to one customer, or None if there is none.
        proposal: what to do when the person is erased.
    """

    model: str
    run: str
    state: str
    statement: str
    epsilon: float | None
    proposal: Proposal

    def document(self) -> dict[str, Any]:
        """For JSON and evidence; hashes, figures and our own sentences."""
        return {
            "model": self.model,
            "run": self.run,
            "state": self.state,
            "privacy": self.statement,
            "epsilon": self.epsilon,
            "prescribed_by": None,
            "proposal": self.proposal.decision,
            "rests_on": self.proposal.clause or None,
            "why": self.proposal.why,
        }


def runs_of(case: Case, customer_key: str) -> tuple[RunIn, ...]:
    """Runs that read lines of the person, in the order of the journal, each once.

    By the book of each reading; for runs of before there were books, by whether the person stood
    in the purpose, which is more than was read and never less.
    """
    read = {
        (one.run, one.reading) for one in case.home.run_books(case.database).runs_of(customer_key)
    }
    found: dict[str, RunIn] = {}
    with case.database.read() as db:
        ledger = Consents(db)
        for entry in _snapshots(case.home.folder):
            facts, run = entry.facts, str(entry.facts.get("run"))
            if "reading" in facts:
                inside = (run, facts["reading"]) in read
            else:
                inside = _stood(ledger, facts, customer_key)
            if inside:
                scope, basis = str(facts.get("scope")), str(facts.get("basis"))
                found.setdefault(run, RunIn(run, entry.seq, entry.at, scope, basis))
    return tuple(found.values())


def _snapshots(home: Path) -> Iterator[Entry]:
    for number, line in enumerate(Folder(home / "audit").lines(0), start=1):
        if b'"kind":"snapshot"' in line:
            yield decode(line.removesuffix(b"\n"), f"line {number}")


def _stood(ledger: Consents, facts: Mapping[str, Fact], key: str) -> bool:
    scope, position, basis = (facts.get(name) for name in ("scope", "position", "basis"))
    if basis not in RESTS_ON or not isinstance(scope, str) or type(position) is not int:
        return False
    newest = ledger.newest_at(scope, key, position)
    if newest is None:
        return basis != Basis.CONSENT.value
    return newest.state is State.GRANTED


def proofs_of(
    case: Case, customer_key: str, runs: Sequence[RunIn]
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """For each reading of these runs a proof about the person, by file name.

    A stranger checks it by the specification (protocols/audit/SPEC.md, section 9); a run of
    before there were books has none.

    Returns:
        The proofs, and a sentence for each run of which something differs: the person is
        answered all the same.
    """
    books, made = case.home.run_books(case.database), dict[str, bytes]()
    problems = []
    with case.database.read() as db:
        kept = {one.run for one in RunSnapshots(db).list()}
    for one in runs:
        try:
            readings = books.prove(one.run, case.home.log) if one.run in kept else ()
        except (LocalError, InputError) as error:
            problems.append(f"the proof about run {one.run[:16]}: {error.problem}")
            continue
        for reading in readings:
            if reading.book is not None:
                name = f"proof-{one.run[:16]}-{reading.snapshot.reading}.json"
                made[name] = json_bytes(reading.customer(customer_key)) + b"\n"
    return made, tuple(problems)


def models_of(case: Case, runs: Sequence[RunIn]) -> tuple[Trained, ...]:
    """Models that came from these runs, in the order in which they were offered."""
    wanted = {one.run for one in runs}
    out = []
    with case.database.read() as db:
        for one in Releases(db).list():
            if one.run not in wanted:
                continue
            card = jws_payload(parse_json(one.card, "release"), "release")
            privacy = card["privacy"]
            taken_back = Revocations(db).get(one.model) is not None
            state = "revoked" if taken_back else one.state.value
            terms = _terms(db, str(card.get("agreement")))
            out.append(
                Trained(
                    one.model,
                    one.run,
                    state,
                    str(privacy.get("statement", "")),
                    _epsilon(privacy),
                    past_model(terms, privacy),
                )
            )
    return tuple(out)


def _epsilon(privacy: Json) -> float | None:
    stated = privacy.get("epsilon")
    found = stated.get("colluders") if isinstance(stated, dict) else None
    return float(found) if isinstance(found, int | float) else None


def _terms(db: Connection, agreement: str) -> Terms | None:
    kept = Documents(db).get(agreement)
    if kept is None:
        return None
    return read_agreement(parse_json(kept.body, "agreement"), "agreement").terms
