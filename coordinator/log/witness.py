"""The office's side of witnessing: heads and proofs for members, and what they countersigned.

Members verify the log for themselves and for each other; the office only answers. It believes no
countersignature either: each is verified, and compared with its own log.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from coordinator.store.cosignatures import Cosignature, Cosignatures
from coordinator.store.database import Database
from coordinator.store.members import Members, Status
from protocols.audit.checkpoint import bare_note
from protocols.audit.cosign import cosignature_of, merge, read_cosigned
from protocols.audit.entries import Kind
from protocols.audit.writer import Facts, LogWriter
from protocols.canonical import json_bytes
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import MemberId

AHEAD = timedelta(minutes=10)  # what a member's clock may be ahead of ours
_SIZES = re.compile(r"(0|[1-9][0-9]{0,15})(?:-(0|[1-9][0-9]{0,15}))?")


class Witnesses:
    """Heads, proofs and countersignatures of one log.

    Args:
        database: the office's store.
        log: the audit log of this process.
        clock: aware UTC now.
    """

    def __init__(self, database: Database, log: LogWriter, clock: Callable[[], datetime]) -> None:
        self._database, self._log, self._clock = database, log, clock
        self._told: set[tuple[int, bytes]] = set()

    def checkpoint(self, name: str) -> bytes:
        """The newest signed head, with the proof that it continues one or two older sizes.

        Args:
            name: ``<size>`` or ``<size>-<other size>``, in decimal.

        Returns:
            JSON ``{"note": text, "proofs": [[hex, ..], ..]}``, one proof for each size. For a size
            that the log never had the proof is empty; the head shows by itself that it had not.
        """
        sizes = _sizes(name)
        note, proofs = self._log.growths(sizes)
        shown = [[step.hex() for step in proof] for proof in proofs]
        return json_bytes({"note": note.decode(), "proofs": shown})

    def heads(self, asking: MemberId, name: str) -> bytes:
        """What the other members countersigned last, each head with a proof to the asker's size.

        Args:
            asking: is left out.
            name: the asker's kept size, in decimal.

        Returns:
            JSON ``{"heads": [{"note": text, "proof": [hex, ..]}, ..]}``, largest first. A note
            holds the countersignatures of all who saw that head; its proof is from the smaller of
            the two sizes to the larger.
        """
        (mine,) = _sizes(name)[:1]
        with self._database.read() as db:
            found = [one for one in Cosignatures(db).newest_of_each() if one.member != asking]
            keys = {one.id: one.public_key for one in Members(db).list(Status.ACTIVE)}
        groups: dict[tuple[int, str], list[Cosignature]] = {}
        for one in found:
            groups.setdefault((one.size, one.root), []).append(one)
        size = self._log.head().size
        heads = []
        for (other, _), those in groups.items():
            lines = [cosignature_of(one.note, keys[one.member], one.member) for one in those]
            note = merge(those[0].note, [line[0] for line in lines if line], "witnesses")
            low, high = sorted((mine, other))
            proof = self._log.between(low, high) if high <= size else ()
            heads.append({"note": note.decode(), "proof": [step.hex() for step in proof]})
        return json_bytes({"heads": heads})

    def take(self, member: MemberId, note: bytes) -> bool:
        """Keep a member's countersignature; True if it, or a newer one, was here before.

        Raises:
            InputError: malformed, not over a checkpoint of this log's key, not this member's, dated
                ahead of our clock, or at odds with what the member signed before.
            RemoteError: the head is signed by our key and is not in our log.
        """
        where, now = f"countersignature of {member[:16]}", self._clock()
        with self._database.read() as db:
            known, before = Members(db).get(member), Cosignatures(db).newest(member)
        if known is None:
            raise InputError("this is not a member.", where=where, code=Code.NOT_FOUND)
        keys = {member: known.public_key}
        found = read_cosigned(note, self._log.public, self._log.origin, keys, where)
        head, at = found.head, found.times.get(member)
        mine = cosignature_of(note, known.public_key, where)
        if at is None or mine is None:
            raise InputError("this checkpoint is not countersigned by you.", where=where)
        if at > (now + AHEAD).timestamp():
            raise InputError(
                f"the countersignature is dated {at - int(now.timestamp())} seconds ahead of the "
                "coordinator's clock; 600 are allowed.",
                where=where,
                fix="Set this machine's clock, then connect again.",
            )
        if before is not None:
            if (before.size, before.at) == (head.size, at):
                return True
            if (head.size - before.size) * (at - before.at) < 0:
                raise InputError(
                    f"at {at} you had seen {head.size} entries, at {before.at} {before.size}: "
                    "time or the log went back.",
                    code=Code.TAMPERED,
                    where=where,
                    fix="Set this machine's clock, then connect again.",
                )
            if head.size < before.size or at < before.at:
                return True  # came late; the newer one stays
        if self._log.root_at(head.size) != head.root:
            self._not_ours(head.size, head.root, member)
        own = bare_note(note, self._log.public, self._log.origin, where)
        plain = merge(own, [mine[0]], where)
        one = Cosignature(member, head.size, head.root.hex(), at, plain, now)
        with self._database.write() as db:
            Cosignatures(db).put(one)
        return False

    def _not_ours(self, size: int, root: bytes, member: MemberId) -> None:
        """Our key signed a history that our log does not have: write it down once, say so."""
        if (size, root) not in self._told:
            self._told.add((size, root))
            facts: Facts = {
                "log_size": size,
                "log_root": root.hex(),
                "member": member,
                "note": "a member holds a checkpoint, signed by this coordinator's key, that is "
                "not in this log: it was restored from an older backup, or the key is in use "
                "elsewhere",
            }
            self._log.append(Kind.INCIDENT, facts)
        raise RemoteError(
            f"the coordinator's log does not hold the {size} entries that you countersigned: it "
            "was restored from an older backup, or its key is used elsewhere.",
            peer=member,
            code=Code.TAMPERED,
            fix="Call the operator. Keep your audit folder as it is.",
        )


def fresh(database: Database, now: datetime, max_age: timedelta) -> frozenset[MemberId]:
    """Members whose newest countersignature is not older than ``max_age`` (clause 24)."""
    least = (now - max_age).timestamp()
    with database.read() as db:
        return frozenset(one.member for one in Cosignatures(db).newest_of_each() if one.at >= least)


def _sizes(name: str) -> tuple[int, ...]:
    found = _SIZES.fullmatch(name)
    if found is None:
        raise InputError("a checkpoint is asked for by sizes.", where=name[:40])
    return tuple(int(one) for one in found.groups() if one is not None)
