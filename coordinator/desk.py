"""What members bring to and fetch from the office over the link.

Bodies come verified for size and digest; here they are verified for who says what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from coordinator.members.agreements import Agreements
from coordinator.members.enrolment import Enrolment
from coordinator.release.models import archive_of
from coordinator.store.database import Database
from coordinator.store.mail import Mail
from coordinator.store.runs import Answer, RunMember, RunMembers, Runs
from coordinator.wire.services import Letter
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import MemberId, model_id, run_id

MAX_LETTERS = 50
MAX_REASONS, MAX_REASON = 40, 600
_ROUND = re.compile(r"[0-9]{4}")
Emit = Callable[..., None]


class Desk:
    """The coordinator behind the link (``coordinator.wire.services.Office``)."""

    def __init__(
        self,
        database: Database,
        home: Path,
        enrolment: Enrolment,
        agreements: Agreements,
        clock: Callable[[], datetime],
        emit: Emit,
    ) -> None:
        self._database = database
        self._home = home
        self._enrolment = enrolment
        self._agreements = agreements
        self._clock = clock
        self._emit = emit

    def letters(self, member: MemberId, after: int) -> list[Letter]:
        """The member's mail after number ``after``; earlier letters count as received."""
        with self._database.write() as db:
            Mail(db).acknowledge(member, after)
        with self._database.read() as db:
            found = Mail(db).after(member, after, MAX_LETTERS)
        return [Letter(one.seq, one.kind, one.document, one.body) for one in found]

    def take(self, member: MemberId, kind: str, name: str, body: bytes) -> bool:
        """Keep a signature or the answer to an order; True if it was known before.

        Raises:
            RemoteError: another kind of document, or one that does not verify.
        """
        if kind == "signature":
            known = self._agreements.take_signature(member, body)
            if not known:
                self._emit("signature", name=self._name(member), document=name)
            return known
        if kind == "answer":
            return self._take_answer(member, body)
        raise RemoteError(f"documents of kind {kind[:40]!r} are not taken here.", peer=member)

    def published(self, member: MemberId, kind: str, run: str, name: str) -> bytes:
        """A published round, a release, or every signed roster epoch, as bytes.

        Raises:
            RemoteError: there is no such thing (yet).
        """
        if kind == "round" and _ROUND.fullmatch(name):
            file = self._home / "runs" / run_id(run) / "rounds" / f"{name}.bin"
            if file.exists():
                return file.read_bytes()
        elif kind == "rosters":
            return json_bytes({"chain": list(self._agreements.roster_chain())})
        elif kind == "release":
            folder = self._home / "releases" / model_id(name)
            if folder.is_dir():
                return archive_of(folder)
        raise RemoteError(
            f"there is no {kind[:40]} {name[:16]} yet.", peer=member, code=Code.NOT_FOUND
        )

    def renew(self, member: MemberId, csr_pem: bytes) -> bytes:
        """A new client certificate, PEM."""
        return self._enrolment.renew(member, csr_pem, self._clock())

    def _take_answer(self, member: MemberId, body: bytes) -> bool:
        document = parse_json(body, "answer")
        run, answer, reasons = _answer(document)
        with self._database.write() as db:
            found = Runs(db).get(run_id(run))
            asked = {one.member: one for one in RunMembers(db).of(run_id(run))}
            if found is None or member not in asked:
                raise RemoteError("this member was not asked.", peer=member, code=Code.NOT_FOUND)
            before = asked[member]
            if (before.answer, before.reasons) == (answer, reasons):
                return True
            RunMembers(db).put(RunMember(found.run, member, answer, reasons, self._clock()))
        self._emit(
            "answer",
            name=self._name(member),
            run=run,
            answer=answer.value,
            reasons="; ".join(reasons),
        )
        return False

    def _name(self, member: MemberId) -> str:
        return self._enrolment.name_of(member)


def _answer(document: Mapping[str, object]) -> tuple[str, Answer, tuple[str, ...]]:
    """Parse ``{"run": .., "answer": .., "reasons": [..]}``; InputError for anything else."""
    run, answer, reasons = (document.get(key) for key in ("run", "answer", "reasons"))
    allowed = {one.value for one in (Answer.ADMITTED, Answer.REFUSED, Answer.PENDING)}
    if (
        set(document) != {"run", "answer", "reasons"}
        or not isinstance(run, str)
        or answer not in allowed
        or not isinstance(reasons, list)
        or len(reasons) > MAX_REASONS
        or not all(isinstance(one, str) and len(one) <= MAX_REASON for one in reasons)
    ):
        raise InputError("this is not an answer to an order.", where="answer")
    return run, Answer(answer), tuple(reasons)
