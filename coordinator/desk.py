"""What members bring to and fetch from the office over the link.

Bodies come verified for size and digest; here they are verified for who says what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from coordinator.log.append import AuditLog
from coordinator.log.witness import Witnesses
from coordinator.members.corrections import Corrections
from coordinator.store.mail import Mail
from coordinator.store.runs import Answer, RunMember, RunMembers, Runs
from coordinator.wire.services import Letter
from coordinator.wiring import House
from protocols.agreement.base import utc_text
from protocols.audit.entries import Kind
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import MemberId, model_id, run_id
from protocols.plain import printable

MAX_LETTERS = 50
MAX_REASONS, MAX_REASON = 40, 600
_ROUND = re.compile(r"[0-9]{4}")
_NUMBER = re.compile(r"[0-9]{1,15}")
Emit = Callable[..., None]
Taker = Callable[[MemberId, str, bytes], bool]  # member, name, body -> whether it was known before
Giver = Callable[[MemberId, str, str], bytes]  # member, run, name -> the body


class Desk:
    """The coordinator behind the link (``coordinator.wire.services.Office``).

    Args:
        house: folders, database, members.
        log: the audit log of this process.
        emit: news for the operator's screen.

    ``takers`` and ``givers`` are the whole list of what a member may submit and fetch: a new kind
    is one line in one of them. A giver raises KeyError where there is nothing (yet).
    """

    def __init__(self, house: House, log: AuditLog, emit: Emit) -> None:
        self._house = house
        self._database = house.database
        self._log = log
        self._releases = house.release_desk(log)
        self._emit = emit
        self._witnesses = Witnesses(house.database, log, house.clock)
        self._life = house.life
        self.takers: Mapping[str, Taker] = {
            "signature": self._take_signature,
            "answer": self._take_answer,
            "membership": self._take_notice,
            "termination": self._take_termination,
            "succession": self._take_succession,
            "correction": self._take_correction,
            "cosignature": lambda member, name, body: self._witnesses.take(member, body),
        }
        self.givers: Mapping[str, Giver] = {
            "round": self._round,
            "rosters": self._rosters,
            "checkpoint": lambda member, run, name: self._witnesses.checkpoint(name),
            "witnesses": lambda member, run, name: self._witnesses.heads(member, name),
            "release": self._release,
            "revocations": self._revocations,
        }

    def letters(self, member: MemberId, after: int) -> list[Letter]:
        """The member's mail after number ``after``; earlier letters count as received."""
        with self._database.write() as db:
            Mail(db).acknowledge(member, after)
        with self._database.read() as db:
            found = Mail(db).after(member, after, MAX_LETTERS)
        return [Letter(one.seq, one.kind, one.document, one.body) for one in found]

    def take(self, member: MemberId, kind: str, name: str, body: bytes) -> bool:
        """Keep what a member brings; True if it was known before.

        Raises:
            RemoteError: another kind of document, or one that does not verify.
        """
        taker = self.takers.get(kind)
        if taker is None:
            raise RemoteError(f"documents of kind {kind[:40]!r} are not taken here.", peer=member)
        return taker(member, name, body)

    def published(self, member: MemberId, kind: str, run: str, name: str) -> bytes:
        """What a member may fetch, as bytes.

        Raises:
            RemoteError: there is no such thing (yet).
        """
        giver = self.givers.get(kind)
        try:
            if giver is not None:
                return giver(member, run, name)
        except KeyError:
            pass  # nothing of that name: answered below as an unknown kind is
        raise RemoteError(
            f"there is no {kind[:40]} {name[:16]} yet.", peer=member, code=Code.NOT_FOUND
        )

    def renew(self, member: MemberId, csr_pem: bytes) -> bytes:
        """A new client certificate, PEM."""
        return self._house.enrolment.renew(member, csr_pem, self._house.clock())

    def _round(self, member: MemberId, run: str, name: str) -> bytes:
        file = self._house.run_folder(run_id(run)) / "rounds" / f"{name}.bin"
        if not _ROUND.fullmatch(name) or not file.exists():
            raise KeyError(name)
        return file.read_bytes()

    def _rosters(self, member: MemberId, run: str, name: str) -> bytes:
        return json_bytes({"chain": list(self._house.agreements.roster_chain())})

    def _release(self, member: MemberId, run: str, name: str) -> bytes:
        return self._releases.fetched(member, model_id(name))

    def _revocations(self, member: MemberId, run: str, name: str) -> bytes:
        """Complete revocations after number ``name``."""
        if not _NUMBER.fullmatch(name):
            raise KeyError(name)
        return self._releases.revocations(int(name))

    def _take_signature(self, member: MemberId, name: str, body: bytes) -> bool:
        known = self._house.agreements.take_signature(member, body)
        if not known:
            self._emit("signature", name=self._name(member), document=name)
        return known

    def _take_notice(self, member: MemberId, name: str, body: bytes) -> bool:
        notice = self._life.take_notice(member, body)
        if notice is None:
            return True
        facts: dict[str, str] = {"member": member, "state": notice.state}
        if notice.until is not None:
            facts["until"] = utc_text(notice.until)
        self._log.append(Kind.MEMBERSHIP, facts)
        self._emit("membership", name=self._name(member), state=notice.state)
        return False

    def _take_termination(self, member: MemberId, name: str, body: bytes) -> bool:
        taken = self._life.take_termination(member, body)
        if taken is None:
            return True
        self._log.append(
            Kind.TERMINATION,
            {
                "agreement": taken.agreement,
                "document": taken.document,
                "member": member,
                "complete": taken.complete,
            },
        )
        self._emit("termination", name=self._name(member), complete=taken.complete)
        return False

    def _take_succession(self, member: MemberId, name: str, body: bytes) -> bool:
        change = self._life.take_succession(member, body)
        if change is None:
            return True
        self._log.append(Kind.RENEWAL, {"member": member, "successor": change.member})
        self._house.propose_roster(self._log)
        self._emit("succession", name=self._name(member), member=change.member)
        return False

    def _take_correction(self, member: MemberId, name: str, body: bytes) -> bool:
        taken = Corrections(self._database, self._house.clock).take(member, name, body)
        if taken is None:
            return True
        facts = {"member": member, "what": taken.what, "count": taken.count, "runs": taken.runs}
        self._log.append(Kind.RIGHTS, facts)
        self._emit("correction", name=self._name(member), what=taken.what, count=taken.count)
        return False

    def _take_answer(self, member: MemberId, name: str, body: bytes) -> bool:
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
            RunMembers(db).put(RunMember(found.run, member, answer, reasons, self._house.clock()))
        self._emit(
            "answer",
            name=self._name(member),
            run=run,
            answer=answer.value,
            reasons="; ".join(reasons),
        )
        return False

    def _name(self, member: MemberId) -> str:
        return self._house.enrolment.name_of(member)


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
    return run, Answer(answer), tuple(printable(one, MAX_REASON) for one in reasons)
