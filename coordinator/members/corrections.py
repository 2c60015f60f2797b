"""What members corrected after runs: how many people, in which runs; never who.

A letter is kept once under the name that the member gave it. The list says for every release how
many people were erased since it was trained, and what the members' agreement suggests then.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from coordinator.store.database import Database
from coordinator.store.documents import Document, Documents
from coordinator.store.runs import RunMembers
from protocols.agreement.corrections import (
    CORRECTION,
    Correction,
    Proposal,
    past_model,
    read_correction,
)
from protocols.agreement.terms import Terms
from protocols.canonical import digest, json_bytes, parse_json
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import MemberId, run_id

_NAME = re.compile(r"correction-[0-9a-f]{16}")
_TAG = "datacoop/correction/v1"


@dataclass(frozen=True, slots=True)
class Kept:
    """One letter as it was kept."""

    member: MemberId
    correction: Correction
    at: datetime


@dataclass(frozen=True, slots=True)
class Affected:
    """One release: people by what was done to their data since, and what is proposed."""

    model: str
    run: str
    counts: Mapping[str, int]
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Corrections:
    """The office's list."""

    database: Database
    clock: Callable[[], datetime]

    def take(self, member: MemberId, name: str, body: bytes) -> Correction | None:
        """Keep a letter; None if it was known before.

        Raises:
            InputError: malformed.
            RemoteError: a run in which this member was not asked.
        """
        found = read_correction(body)
        if not _NAME.fullmatch(name):
            raise InputError("a correction has a name of its own.", where=name[:40])
        document = digest(_TAG, member, name).hex()
        kept = json_bytes({"member": member, "letter": parse_json(body, CORRECTION)})
        with self.database.write() as db:
            for run in found.runs:
                if all(one.member != member for one in RunMembers(db).of(run_id(run))):
                    raise RemoteError(
                        f"this member was not asked in run {run}.",
                        peer=member,
                        code=Code.NOT_FOUND,
                    )
            known = Documents(db).get(document)
            if known is not None and known.body != kept:
                raise RemoteError("another correction has this name.", peer=member)
            new = Documents(db).add(Document(document, CORRECTION, kept, self.clock()))
        return found if new else None

    def list(self) -> tuple[Kept, ...]:
        """All letters, oldest first."""
        with self.database.read() as db:
            documents = Documents(db).list(CORRECTION)
        return tuple(_kept(one) for one in documents)

    def affected(
        self, cards: Mapping[str, Mapping[str, Any]], terms: Callable[[str], Terms | None]
    ) -> tuple[Affected, ...]:
        """Releases that were trained with data that was corrected since, by model.

        Args:
            cards: model -> its card.
            terms: id of an agreement -> its terms, or nothing.
        """
        by_run: dict[str, Counter[str]] = {}
        for one in self.list():
            for run in one.correction.runs:
                by_run.setdefault(run, Counter())[one.correction.what] += one.correction.count
        return tuple(
            Affected(
                model,
                str(card["run"]),
                by_run[str(card["run"])],
                past_model(terms(str(card["agreement"])), card["privacy"]),
            )
            for model, card in sorted(cards.items())
            if card["run"] in by_run
        )


def _kept(one: Document) -> Kept:
    document = parse_json(one.body, CORRECTION)
    correction = read_correction(json_bytes(document["letter"]))
    return Kept(MemberId(document["member"]), correction, one.created_at)
