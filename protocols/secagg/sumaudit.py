"""The coordinator gets a sum confirmed by C + 1 survivors (SPEC.md section 4.5).

audit = SumAudit(result, roster, vector_of)
while not audit.done:
    send(audit.due())             # RemoteError when nobody is left to ask
    audit.receive(member, reply)  # for each answer
    audit.lapse()                 # at the time limit: stand-ins are due
published = audit.published()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum

from protocols.errors import Code, LocalError, RemoteError
from protocols.secagg import disclosure
from protocols.secagg.disclosure import (
    AuditChunk,
    AuditHead,
    AuditPart,
    AuditReply,
    AuditRequest,
)
from protocols.secagg.merkle import chunk_bytes, chunks, leaf, path_of
from protocols.secagg.messages import AgreementSignature
from protocols.secagg.published import (
    PublishedSum,
    RoundResult,
    auditors_needed,
    check_certificate,
    check_confirmation,
)
from protocols.secagg.recovery import Blame

SHOWN_AT_ONCE = 2  # disclosures of chunks are up to 64 MB each, and differ
VectorOf = Callable[[bytes], bytes | memoryview]
AuditOutbound = Mapping[bytes, AuditRequest]


class Asked(StrEnum):
    """Where one auditor stands."""

    READY = "to be asked"
    FIRST = "asked"
    DREW = "its chunks are to be sent"
    SECOND = "its chunks were sent"
    CONFIRMED = "confirmed"
    OUT = "left out"


class SumAudit:
    """The audit of one round's sum.

    Args:
        result: the finished round, still without sum certificate.
        roster: member id -> Ed25519 public key.
        vector_of: the packed masked vector of a survivor, as it came.
    """

    def __init__(
        self, result: RoundResult, roster: Mapping[bytes, bytes], vector_of: VectorOf
    ) -> None:
        self._descriptor = result.opening.descriptor
        self._result = result
        self._roster = roster
        self._vector_of = vector_of
        self._head = AuditHead(
            result.opening,
            result.published,
            result.advertisements,
            tuple(result.secrets.own[one] for one in result.u3),
            tuple(result.secrets.seeds.values()),
            result.roots,
        )
        self._hash = result.published.sum_hash()
        self._full = disclosure.in_full(self._descriptor, len(result.u3))
        self._whole: AuditRequest | None = None
        self._leaves: dict[bytes, list[bytes]] = {}
        self._order = disclosure.auditor_order(result.a3, result.u3)
        self._stands: dict[bytes, Asked] = {}
        self._nonces: dict[bytes, bytes] = {}
        self._signed: dict[bytes, bytes] = {}
        self._blamed: dict[bytes, Blame] = {}

    @property
    def order(self) -> tuple[bytes, ...]:
        """All survivors in the order in which they are asked."""
        return self._order

    @property
    def needed(self) -> int:
        """Confirmations that make a certificate: C + 1."""
        return auditors_needed(self._descriptor)

    @property
    def done(self) -> bool:
        """Enough survivors have confirmed the sum."""
        return len(self._signed) >= self.needed

    @property
    def waiting_for(self) -> tuple[bytes, ...]:
        """Auditors that were sent something and have not answered."""
        return self._in(Asked.FIRST, Asked.SECOND)

    @property
    def blamed(self) -> tuple[Blame, ...]:
        """Auditors whose answers were wrong."""
        return tuple(self._blamed.values())

    def due(self) -> AuditOutbound:
        """What is to be sent now; each request is handed out once.

        The first requests are one object for all, so encode it once. Chunks are shown to two
        auditors at a time; call again when they have answered.

        Raises:
            RemoteError: too few survivors are left to confirm the sum.
        """
        counted = sum(stand is not Asked.OUT for stand in self._stands.values())
        fresh = [one for one in self._order if one not in self._stands]
        if counted + len(fresh) < self.needed:
            raise RemoteError(
                f"{len(self._signed)} survivors confirmed the sum and {len(fresh)} are left to "
                f"ask; {self.needed} must confirm it.",
                code=Code.UNAVAILABLE,
                where=f"round {self._descriptor.round}, audit",
                fix="Nobody takes a step on an unconfirmed sum: the run ends here.",
            )
        for one in fresh[: max(0, self.needed - counted)]:
            self._stands[one] = Asked.READY
        out: dict[bytes, AuditRequest] = {}
        for one in self._in(Asked.READY):
            out[one] = self._first()
            self._stands[one] = Asked.FIRST
        shown = len(self._in(Asked.SECOND))
        for one in self._in(Asked.DREW)[: max(0, SHOWN_AT_ONCE - shown)]:
            out[one] = self._second(one)
            self._stands[one] = Asked.SECOND
        return out

    def receive(self, member: bytes, reply: AuditReply) -> None:
        """Take one answer, whose sender the envelope has proved.

        Raises:
            RemoteError: it was not asked, or its answer is wrong: then it is left out and blamed.
        """
        peer, stand = member.hex(), self._stands.get(member)
        if stand not in (Asked.FIRST, Asked.SECOND):
            raise RemoteError("it was not asked to confirm the sum now.", peer=peer, where=peer)
        if not self._full and stand is Asked.FIRST:
            if not reply.nonce:
                raise self._out(member, "it confirmed a sum before it saw any of it.")
            self._nonces[member] = reply.nonce
            self._stands[member] = Asked.DREW
            return
        if not reply.signature:
            raise self._out(member, "it asked for chunks and was shown everything.")
        signed = AgreementSignature(member, reply.signature)
        try:
            check_confirmation(signed, self._result.a3, self._hash, self._roster[member])
        except RemoteError as error:
            raise self._out(member, error.problem) from error
        self._signed[member] = reply.signature
        self._stands[member] = Asked.CONFIRMED

    def lapse(self, *members: bytes) -> None:
        """These, or everybody outstanding if none is named, did not answer or refused."""
        for one in members or self.waiting_for:
            if self._stands.get(one) is not Asked.CONFIRMED:
                self._stands[one] = Asked.OUT

    def published(self) -> PublishedSum:
        """The sum with its certificate; LocalError before ``done``."""
        if not self.done:
            raise LocalError(f"{len(self._signed)} of {self.needed} confirmations are there.")
        certificate = tuple(
            AgreementSignature(one, signature) for one, signature in sorted(self._signed.items())
        )
        published = replace(self._result.published, sum_certificate=certificate)
        check_certificate(published, self._descriptor, self._roster)
        return published

    def _in(self, *stands: Asked) -> tuple[bytes, ...]:
        return tuple(one for one, stand in self._stands.items() if stand in stands)

    def _out(self, member: bytes, problem: str) -> RemoteError:
        self._stands[member] = Asked.OUT
        self._blamed[member] = Blame(member, problem)
        return RemoteError(problem, peer=member.hex(), where=member.hex())

    def _first(self) -> AuditRequest:
        if self._whole is None:
            vectors = tuple(bytes(self._vector_of(one)) for one in self._result.u3 if self._full)
            self._whole = AuditRequest(self._head, vectors)
        return self._whole

    def _second(self, member: bytes) -> AuditRequest:
        survivors, width = self._result.u3, self._descriptor.width
        drawn = disclosure.draw(
            self._result.a3, self._hash, self._nonces[member], self._descriptor, len(survivors)
        )
        size = chunk_bytes(width)
        parts: dict[int, list[AuditPart]] = {index: [] for index in drawn}
        for one in survivors:
            vector = memoryview(self._vector_of(one))
            leaves = self._leaves.get(one)
            if leaves is None:
                leaves = self._leaves[one] = [leaf(chunk) for chunk in chunks(vector, width)]
            for index in drawn:
                data = bytes(vector[index * size : (index + 1) * size])
                parts[index].append(AuditPart(data, path_of(leaves, index)))
        shown = tuple(AuditChunk(index, tuple(parts[index])) for index in drawn)
        return AuditRequest(self._head, chunks=shown)
