"""This member as a witness of the coordinator's log: at every contact, round and release.

Order of effects: verify, keep durably, then countersign, then hand over. A head that does not
continue the kept one is evidence: it is kept, written to the journal, and denies (clause 24) until
an owner has talked with the others. What is only late or withheld is not a fork: the age of the
last verified head denies by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn, Protocol

from node.house import Member
from node.policy.witnessed import Kept, Witnessed
from node.store.documents import AcceptedRosters
from protocols import bundle
from protocols.agreement.roster import ParsedRoster, read_roster
from protocols.audit.checkpoint import Checkpoint, parse_checkpoint
from protocols.audit.cosign import read_cosigned
from protocols.audit.merkle import EMPTY_ROOT, verify_consistency
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, CoopError, InputError, RemoteError
from protocols.ids import MemberId
from protocols.plain import printable
from protocols.signing import jws_payload

COMPARE_AFTER = timedelta(hours=1)
CONTACT_AFTER = timedelta(minutes=15)  # also when no letter comes
TRIES = 3  # another process of this node may move the kept head meanwhile
SILENT = frozenset({Code.UNAVAILABLE, Code.UNAUTHENTICATED})
MAX_ANSWER_BYTES = 4 * 1024 * 1024
PEER = "coordinator"
Proof = tuple[bytes, ...]
People = Mapping[MemberId, str]  # who countersigned a head: ids and names
NOBODY: People = {}


class Office(Protocol):
    """The short calls that a witness makes (``node.federation.link.Calls``)."""

    def fetch(self, kind: str, run: str, name: str, max_bytes: int = ...) -> bytes:
        """A document by kind and name."""

    def submit(self, kind: str, name: str, body: bytes) -> None:
        """Hand over a document."""


@dataclass(frozen=True, slots=True)
class Witness:
    """One node's part in watching the log.

    Args:
        kept: what this node has seen.
        people: the accepted roster, to name who countersigned; None before there is one.
        emit: news for the screen.
    """

    kept: Witnessed
    people: Callable[[], ParsedRoster | None]
    emit: Callable[..., None]

    def contact(self, office: Office) -> None:
        """Verify that the log grew, keep the head, countersign it, now and then compare.

        A fork, or an answer that is none, does not stop the exchange of letters: it is kept and
        told, and the gate denies.

        Raises:
            RemoteError: the coordinator does not answer.
        """
        try:
            self._grow(office, None, {})
            self._hand_over(office)
            if self._compare_due():
                self.compare(office)
        except CoopError as error:  # also what is damaged here: the gate says so as well
            if isinstance(error, RemoteError) and error.code in SILENT:
                raise
            self.emit("log", problem=str(error))

    def check_head(self, office: Office, head: Checkpoint, evidence: Mapping[str, bytes]) -> None:
        """Check a head that stands in a round descriptor or a release against the kept one.

        The newest head is fetched with proofs from both, so that the two stand in one history;
        it is kept before this returns.

        Args:
            office: the calls.
            head: size and root; whoever calls has verified the coordinator's signature over it.
            evidence: the signed bytes that name it, for the folder of a fork.

        Raises:
            RemoteError: two histories (kept as a fork), or no proof could be had.
        """
        kept = self.kept.newest()
        if kept is not None and kept.head == head:
            return
        self._grow(office, head, evidence)

    def check_release(self, office: Office, archive: bytes) -> None:
        """Check the head under which a release was logged, before the release is kept.

        Args:
            office: the calls.
            archive: the release's files as one zip; everything else in it is checked by
                ``node.federation.releases.receive``, also that there is a checkpoint.

        Raises:
            InputError: not a release, or its checkpoint is not the coordinator's.
            RemoteError: as ``check_head``.
        """
        note = bundle.unpack(archive, "release").get(bundle.CHECKPOINT)
        if note is not None:
            head = parse_checkpoint(
                note, self.kept.coordinator, self.kept.origin, bundle.CHECKPOINT
            )
            self.check_head(office, head, {"release.note": note})

    def compare(self, office: Office) -> int:
        """Compare with what other members countersigned last; how many heads agreed.

        Raises:
            RemoteError: a head is not of the history that this node keeps (kept as a fork).
        """
        kept = self.kept.newest()
        if kept is None:
            return 0
        raw = office.fetch("witnesses", "", str(kept.head.size), MAX_ANSWER_BYTES)
        for note, proof in _cosigned_heads(raw):
            self._compare_one(kept, note, proof)
        self.kept.compared()
        return len(_cosigned_heads(raw))

    def compare_file(self, note: bytes, office: Office | None) -> tuple[str, ...]:
        """Compare another member's kept checkpoint, brought by mail or on a stick.

        Args:
            note: bytes of unknown origin.
            office: to ask for proofs; None compares only heads of one size.

        Returns:
            What was found, for people.

        Raises:
            InputError: not a checkpoint of this coordinator's log, or not comparable offline.
            RemoteError: two histories (kept as a fork).
        """
        where = "the other checkpoint"
        head, who = self._read(note, where)
        kept = self.kept.newest()
        if kept is None:
            raise InputError(
                "this node has kept no checkpoint yet.",
                code=Code.NOT_FOUND,
                where="audit/coordinator",
                fix="Connect first: coop-node start.",
            )
        signed = f"; countersigned by {_named(who)}" if who else "; no member countersigned it"
        said = f"{head.size} entries, root {head.root.hex()[:16]}{signed}"
        own = kept if kept.head.size == head.size else self.kept.cosigned(head.size)
        if own is not None:
            if own.head.root != head.root:
                self._found(own, note, (), who, f"{_named(who)} keeps {said}")
            return (said, f"The same as yours at {head.size} entries: one history up to there.")
        if office is None:
            sizes = (*self.kept.cosigned_sizes()[-3:], kept.head.size)
            raise InputError(
                f"this head has {head.size} entries; yours of other sizes "
                f"({', '.join(map(str, sizes))}) cannot be compared with it without a proof.",
                where=where,
                fix="Compare while the coordinator can be reached: leave out --offline.",
            )
        self._grow(office, head, {"compared.note": note}, who)
        return (said, "Both are part of one history: the coordinator proved it.")

    def _grow(
        self,
        office: Office,
        other: Checkpoint | None,
        evidence: Mapping[str, bytes],
        who: People = NOBODY,
    ) -> None:
        """Fetch the newest head with proofs from the kept one and from ``other``; keep it."""
        for _ in range(TRIES):
            kept = self.kept.newest()
            size = kept.head.size if kept is not None else 0
            name = f"{size}-{other.size}" if other is not None else str(size)
            note, proofs = _heads(office.fetch("checkpoint", "", name, MAX_ANSWER_BYTES))
            if len(proofs) != (1 if other is None else 2):
                raise _malformed("the answer about the log")
            newest = self._theirs(note)
            if other is not None:
                self._check_other(kept, note, newest, other, proofs[1], evidence, who)
            try:
                if self.kept.advance(kept, note, proofs[0], PEER) is not None:
                    return
            except RemoteError as error:
                self._fork(kept, {"shown.note": note} | dict(evidence), proofs[0], NOBODY, error)
        raise RemoteError(
            "the log could not be compared: another process of this node was faster each time.",
            peer=PEER,
            code=Code.UNAVAILABLE,
        )

    def _check_other(
        self,
        kept: Kept | None,
        note: bytes,
        newest: Checkpoint,
        other: Checkpoint,
        proof: Proof,
        evidence: Mapping[str, bytes],
        who: People,
    ) -> None:
        """``other`` must lie in the history of the newest head, as the kept one must."""
        same = kept is not None and kept.head.size == other.size and kept.head.root != other.root
        try:
            if same or other.size > newest.size:
                raise InputError("it is not in the log")
            verify_consistency(other.size, other.root, newest.size, newest.root, proof)
        except InputError as error:
            source = f"{_named(who)} countersigned" if who else "it signed elsewhere"
            found = RemoteError(
                f"the coordinator's log of {newest.size} entries does not hold the "
                f"{other.size} entries with root {other.root.hex()[:16]} that {source}: two "
                "histories were signed.",
                peer=PEER,
                code=Code.TAMPERED,
                where=PEER,
                fix=str(error),
            )
            self._fork(kept, {"shown.note": note} | dict(evidence), proof, who, found)

    def _theirs(self, note: bytes) -> Checkpoint:
        """The head in an answer; RemoteError if the coordinator did not sign it."""
        try:
            return parse_checkpoint(note, self.kept.coordinator, self.kept.origin, PEER)
        except InputError as error:
            raise RemoteError(error.problem, peer=PEER, code=error.code, where=PEER) from error

    def _compare_one(self, kept: Kept, note: bytes, proof: Proof) -> None:
        self._theirs(note)
        try:
            head, who = self._read(note, "a countersigned head")
        except InputError as error:
            raise RemoteError(error.problem, peer=PEER, code=error.code, where=PEER) from error
        old, new = sorted((kept.head, head), key=lambda one: one.size)
        try:
            verify_consistency(old.size, old.root, new.size, new.root, proof)
        except InputError:
            what = f"{_named(who)} countersigned {head.size} entries with root"
            self._found(kept, note, proof, who, f"{what} {head.root.hex()[:16]}")

    def _read(self, note: bytes, where: str) -> tuple[Checkpoint, People]:
        """A head that the coordinator has signed, and the names of members below it."""
        roster = self.people()
        keys = {MemberId(one): key for one, key in roster.keys.items()} if roster else {}
        found = read_cosigned(note, self.kept.coordinator, self.kept.origin, keys, where)
        names = {one.id: one.name for one in roster.roster.members} if roster else {}
        return found.head, {one: names[one] for one in sorted(found.times)}

    def _found(self, kept: Kept, note: bytes, proof: Proof, who: People, what: str) -> NoReturn:
        """Another member holds another history than this node."""
        head = kept.head
        error = RemoteError(
            f"two histories were shown: {what}; this node keeps {head.size} entries with root "
            f"{head.root.hex()[:16]}, and nothing leads from one to the other.",
            peer=PEER,
            code=Code.TAMPERED,
            where=PEER,
        )
        self._fork(kept, {"shown.note": note}, proof, who, error)

    def _fork(
        self,
        kept: Kept | None,
        evidence: Mapping[str, bytes],
        proof: Proof,
        who: People,
        error: RemoteError,
    ) -> NoReturn:
        """Keep the evidence, write it down, tell; then raise what was found."""
        shown = dict(evidence)
        shown["proof.json"] = json_bytes({"proof": [step.hex() for step in proof]})
        if kept is not None:
            shown["kept.note"] = kept.note
        mark = f"{','.join(who)} {kept.head.root.hex() if kept and not who else ''}"
        fork = self.kept.forks.record(error.problem, shown, tuple(who), mark)
        self.emit("fork", problem=error.problem, evidence=fork.id)
        raise RemoteError(
            error.problem,
            peer=PEER,
            code=Code.TAMPERED,
            where=PEER,
            fix=f"The evidence is in audit/forks/{fork.id}; its README says what to do.",
        ) from error

    def _hand_over(self, office: Office) -> None:
        signed = self.kept.countersign()
        if signed is not None:
            office.submit("cosignature", signed.mark, signed.note)
            self.kept.submitted(signed)

    def _compare_due(self) -> bool:
        last = self.kept.status().compared_at
        return not last or self.kept.clock() - datetime.fromisoformat(last) >= COMPARE_AFTER


def silent(event: str, **facts: object) -> None:
    """For commands, which print their own answer."""


def witness_of(member: Member, emit: Callable[..., None]) -> Witness:
    """The witness of an opened node."""

    def people() -> ParsedRoster | None:
        with member.database.read() as db:
            newest = AcceptedRosters(db).newest()
        if newest is None:
            return None
        return read_roster(jws_payload(parse_json(newest.jws, "roster"), "roster"), "roster")

    return Witness(member.witnessed, people, emit)


def head_of(size: int, root: bytes, kept: Witnessed) -> Checkpoint:
    """A head named by a round descriptor; RemoteError if nothing can have that size and root."""
    if (size == 0) != (root == EMPTY_ROOT):
        raise RemoteError("the descriptor names an impossible head of the log.", peer=PEER)
    return Checkpoint(kept.origin, size, root)


def _heads(raw: bytes) -> tuple[bytes, list[Proof]]:
    """The answer to ``checkpoint``: a note, and the proofs that were asked for."""
    answer = _answer(raw)
    note, proofs = answer.get("note"), answer.get("proofs")
    if len(answer) != 2 or not isinstance(note, str) or not isinstance(proofs, list):
        raise _malformed("the answer about the log")
    return note.encode(errors="replace"), [_proof(one) for one in proofs]


def _cosigned_heads(raw: bytes) -> list[tuple[bytes, Proof]]:
    """The answer to ``witnesses``: notes, each with a proof."""
    heads = _answer(raw).get("heads")
    if not isinstance(heads, list):
        raise _malformed("the list of countersigned heads")
    found = []
    for one in heads:
        whole = isinstance(one, dict) and one.keys() == {"note", "proof"}
        if not whole or not isinstance(one["note"], str):
            raise _malformed("a countersigned head")
        found.append((one["note"].encode(errors="replace"), _proof(one["proof"])))
    return found


def _answer(raw: bytes) -> dict[str, Any]:
    try:
        return parse_json(raw, PEER)
    except InputError as error:
        raise _malformed("the answer about the log") from error


def _proof(found: Any) -> Proof:
    """A proof from hex texts; its length and its steps are the verifier's to judge."""
    try:
        return tuple(bytes.fromhex(step) for step in found)
    except (TypeError, ValueError) as error:
        raise _malformed("a proof") from error


def _named(who: People) -> str:
    if not who:
        return "somebody"
    shown = ", ".join(f"{printable(name, 60)} ({one[:8]})" for one, name in list(who.items())[:5])
    return shown + (f" and {len(who) - 5} more" if len(who) > 5 else "")


def _malformed(what: str) -> RemoteError:
    return RemoteError(
        f"{what} is malformed.",
        peer=PEER,
        where=PEER,
        fix="Update this node, or ask the operator which version the coordinator runs.",
    )
