"""A coordinator that conducts an attempt by itself, one stage at a time, and lies in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from attack_coop import GENERIC, Coop
from attack_office import Wire

from protocols import codec
from protocols.ids import MemberId
from protocols.secagg.aggregator import Aggregator
from protocols.secagg.messages import (
    AdvertiseRequest,
    AgreementSignature,
    AgreeReply,
    AgreeRequest,
    MaskRequest,
    Reply,
    Request,
    ShareRequest,
    Stage,
    UnmaskRequest,
    advertisements_hash,
    bitmap,
    first_transcript,
    second_transcript,
    third_transcript,
)
from protocols.secagg.params import RoundDescriptor

Requests = Mapping[bytes, Request]


class Conductor:
    """The coordinator's real machine over the wire.

    Args:
        coop: whose members are asked; colluders among them answer as everybody does.
        wire: the way to them.
        envelopes: what the honest office was about to send: stage 0 of the round.
        changes: of the descriptor, for example ``attempt=1``.
    """

    def __init__(
        self, coop: Coop, wire: Wire, envelopes: Mapping[MemberId, bytes], **changes: Any
    ) -> None:
        found = codec.peek_envelope(next(iter(envelopes.values())))
        request = codec.decode_request(found.stage, found.body)
        assert isinstance(request, AdvertiseRequest) and coop.malice.key is not None
        self.coop, self.wire = coop, wire
        self.descriptor: RoundDescriptor = replace(request.descriptor, **changes)
        self.machine = Aggregator(self.descriptor, coop.malice.key, coop.roster())
        self.stage = Stage.ADVERTISE
        self.requests: Requests = self.machine.open()
        self.sent: dict[Stage, Requests] = {}
        self.replies: dict[Stage, dict[bytes, Reply]] = {}

    def step(self, gone: Iterable[str] = ()) -> None:
        """One honest stage; what members of ``gone`` answer is thrown away."""
        self.sent[self.stage] = self.requests
        replies = self.ask(self.stage, self.requests)
        left_out = set(self.coop.raw(*gone))
        for member, reply in replies.items():
            if member not in left_out:
                self.machine.receive(member, reply)
        self.replies[self.stage] = replies
        self.requests = self.machine.close_stage()
        self.stage = Stage(self.stage + 1)

    def until(self, stage: Stage, gone: Mapping[Stage, Iterable[str]] | None = None) -> Requests:
        """Honest stages before this one; its honest requests."""
        while self.stage < stage:
            self.step((gone or {}).get(self.stage, ()))
        return self.requests

    def a2(self) -> bytes:
        """The second transcript of this attempt, once everybody has masked."""
        shared, masked = self.sent[Stage.SHARE], self.sent[Stage.MASK]
        ads = next(one for one in shared.values() if isinstance(one, ShareRequest))
        cohort = next(one for one in masked.values() if isinstance(one, MaskRequest))
        a1 = first_transcript(self.descriptor.digest(), advertisements_hash(ads.advertisements))
        return second_transcript(a1, cohort.cohort)

    def a3(self, request: AgreeRequest) -> bytes:
        """What members sign when they are shown this request."""
        return third_transcript(self.a2(), request.survivors, *vectors(request))

    def over(self, *names: str) -> AgreeRequest:
        """The honest request of stage 3 with other survivors."""
        (honest, *_) = self.requests.values()
        assert isinstance(honest, AgreeRequest)
        ids = self.descriptor.ids
        return replace(honest, survivors=bitmap(self.coop.raw(*names), ids))

    def sign(self, request: AgreeRequest, *names: str) -> list[AgreementSignature]:
        """Colluders sign whatever set they are asked to."""
        a3 = self.a3(request)
        shops = [self.coop.shops[name] for name in names]
        return [AgreementSignature(one.raw, one.key.sign("SAQ1 A3", a3)) for one in shops]

    def collect(self, request: AgreeRequest, *names: str) -> list[AgreementSignature]:
        """Members are shown a set and sign it."""
        replies = self.ask(Stage.AGREE, dict.fromkeys(self.coop.raw(*names), request))
        return [
            AgreementSignature(member, reply.signature)
            for member, reply in replies.items()
            if isinstance(reply, AgreeReply)
        ]

    def ask(self, stage: Stage, requests: Requests) -> dict[bytes, Reply]:
        """Any requests in any stage of this attempt; the replies of those who answered."""
        answered = self.wire.ask(
            stage,
            {MemberId(member.hex()): request for member, request in requests.items()},
            attempt=self.descriptor.attempt,
        )
        return {bytes.fromhex(member): reply for member, reply in answered.items()}

    def refuses(self, stage: Stage, requests: Requests, words: str) -> None:
        """Everybody who is asked says no with one sentence, and writes down why."""
        self.refuses_bytes(
            {
                member: self.wire.seal(stage, request, attempt=self.descriptor.attempt)
                for member, request in requests.items()
            },
            words,
        )

    def refuses_bytes(self, envelopes: Mapping[bytes, bytes], words: str) -> None:
        """The same for envelopes as they are."""
        reasons = self.coop.malice.reasons
        by_id = {MemberId(member.hex()): raw for member, raw in envelopes.items()}
        before = {member: len(reasons(member)) for member in by_id}
        for one in self.wire.send(by_id):
            assert one.reply is None and one.problem == GENERIC, one
            written = reasons(one.member)[before[one.member] :]
            assert len(written) == 1 and words in written[0], (words, written)


def certificate(signatures: Iterable[AgreementSignature]) -> UnmaskRequest:
    """Stage 4 with these signatures, in order."""
    return UnmaskRequest(tuple(sorted(signatures, key=lambda one: one.member)))


def vectors(request: AgreeRequest) -> tuple[bytes, ...]:
    found = getattr(request, "vectors_hash", None)
    return () if found is None else (found,)
