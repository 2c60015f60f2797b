"""One attempt of one secure round: the aggregator's machine, its durable log, the members.

Every answer is on the disk before the stage after it is announced, so a coordinator that was
killed can finish stages 3 and 4 of the same attempt (secure aggregation, section 2.4b). The sum
is then shown to survivors who compute it again; only what they confirmed is published (2.4a).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from coordinator.rounds.exchange import Exchange
from coordinator.rounds.stagelog import Bodies, StageLog, replay
from protocols import codec
from protocols.aggregation import AggregatorMachine, AuditMachine, mode
from protocols.errors import CoopError, LocalError, RemoteError
from protocols.ids import MemberId
from protocols.secagg.disclosure import AuditRequest
from protocols.secagg.messages import Advertisement, MaskedInput, Reply, Request, Stage
from protocols.secagg.params import RoundDescriptor
from protocols.secagg.published import RoundResult
from protocols.signing import SigningKey

AUDITS = 3  # a sum whose survivors went away is shown again to those who came back
Progress = Callable[[Stage], None]
Blamed = Callable[[MemberId, str], None]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt.

    Args:
        descriptor: as every member will see it.
        key: the coordinator's signing key.
        roster: raw member id -> Ed25519 public key.
        exchange: the members.
        file: where its stage log lies.
        carry: whether members send their keys for the next round with the last stage.
        progress: told before each stage; may raise to stop the run.
        blamed: told of each member whose answer was wrong.
        arrived: told of each answer that was accepted.
    """

    descriptor: RoundDescriptor
    key: SigningKey = field(repr=False)
    roster: Mapping[bytes, bytes]
    exchange: Exchange
    file: Path
    carry: bool
    progress: Progress
    blamed: Blamed
    arrived: Callable[[Stage, MemberId], None]

    def run(
        self, asked: frozenset[MemberId], carried: Mapping[bytes, Advertisement]
    ) -> RoundResult:
        """All exchanges, and the audit of the sum.

        Args:
            asked: the members that admitted the order.
            carried: keys that came with the last stage of the round before; who sent some is not
                asked for keys again.

        Raises:
            RemoteError: too few answers; ``spent`` of the log tells whether a new attempt may be.
        """
        usable = {one: ad for one, ad in carried.items() if MemberId(one.hex()) in asked}
        machine = self._machine(usable)
        outbound = machine.open()
        log = StageLog(self.file)
        try:
            for one in sorted(usable.keys() - outbound.keys()):  # those that are not asked again
                log.append(Stage.ADVERTISE, MemberId(one.hex()), codec.encode_message(usable[one]))
            wanted = {one: r for one, r in outbound.items() if MemberId(one.hex()) in asked}
            return self._go_on(machine, wanted, log)
        finally:
            log.close()

    def resume(self) -> RoundResult:
        """Finish an attempt whose survivors were already announced before a crash."""
        carried: dict[bytes, Advertisement] = {}
        events = self._events(carried)
        # the first event that is read fills ``carried``, and the machine needs it before that
        first = list(islice(events, 1))
        machine = self._machine(carried)
        outbound = mode(self.descriptor.protocol).replay(machine, chain(first, events))
        waiting = set(machine.waiting_for)
        log = StageLog(self.file)
        try:
            return self._go_on(
                machine, {one: r for one, r in outbound.items() if one in waiting}, log
            )
        finally:
            log.close()

    def _machine(self, carried: Mapping[bytes, Advertisement]) -> AggregatorMachine:
        make = mode(self.descriptor.protocol).aggregator
        return make(self.descriptor, self.key, self.roster, carried, self.carry)

    def _events(self, carried: dict[bytes, Advertisement]) -> Iterator[tuple[bytes, Reply] | None]:
        """What came in, one at a time; early keys, which stand first, are put into ``carried``."""
        for record in replay(self.file):
            if record is None:
                yield None
                continue
            reply = codec.decode_reply(Stage(record.stage), record.body, record.member)
            if isinstance(reply, Advertisement) and reply.early:
                carried[bytes.fromhex(record.member)] = reply
            else:
                yield bytes.fromhex(record.member), reply

    def _go_on(
        self, machine: AggregatorMachine, outbound: Mapping[bytes, Request], log: StageLog
    ) -> RoundResult:
        while (stage := machine.stage) is not None:
            self.progress(stage)
            self._collect(machine, log, stage, outbound)
            if machine.enough():  # else closing raises, and the log must not say it was closed
                log.close_stage()
            told = len(machine.blamed)
            outbound = machine.close_stage()
            for one in machine.blamed[told:]:  # found only when the shares were put together
                self.blamed(MemberId(one.member.hex()), one.reason)
        return self._confirmed(machine.result())

    def _collect(
        self,
        machine: AggregatorMachine,
        log: StageLog,
        stage: Stage,
        outbound: Mapping[bytes, Request],
    ) -> None:
        envelopes = self._envelopes(stage, outbound)
        timeout_s = float(self.descriptor.stage_timeouts_s[stage])
        for answer in self.exchange.stage(self.descriptor.round, envelopes, timeout_s):
            if answer.envelope is None:
                continue
            try:
                body = self._open(answer.member, stage, answer.envelope)
                reply = codec.decode_reply(stage, body, answer.member)
                machine.receive(bytes.fromhex(answer.member), reply)
            except CoopError as error:
                self.blamed(answer.member, error.problem)
                continue
            log.append(stage, answer.member, body)
            self.arrived(stage, answer.member)

    def _confirmed(self, result: RoundResult) -> RoundResult:
        """The result with the signatures of C + 1 survivors that computed the sum again.

        Raises:
            RemoteError: too few of them are there, also after waiting; nothing is published.
        """
        self.progress(Stage.AUDIT)
        bodies = Bodies(self.file, Stage.MASK)

        def vector_of(member: bytes) -> bytes:
            reply = codec.decode_reply(Stage.MASK, bodies(member), member.hex())
            assert isinstance(reply, MaskedInput)  # the stage has no other
            return reply.vector

        for left in reversed(range(AUDITS)):
            audit = mode(self.descriptor.protocol).audit(result, self.roster, vector_of)
            try:
                while not audit.done:
                    self._ask(audit)
                return replace(result, published=audit.published())
            except RemoteError:
                if not left:
                    raise
            survivors = [MemberId(one.hex()) for one in result.u3]
            self.exchange.wait_for(survivors, float(self.descriptor.stage_timeouts_s[Stage.AUDIT]))
            self.progress(Stage.AUDIT)
        raise LocalError("a sum was audited no time at all.")

    def _ask(self, audit: AuditMachine) -> None:
        """One exchange with the auditors whose turn it is; who does not confirm is passed over."""
        envelopes = self._envelopes(Stage.AUDIT, audit.due())
        timeout_s = float(self.descriptor.stage_timeouts_s[Stage.AUDIT])
        for answer in self.exchange.stage(self.descriptor.round, envelopes, timeout_s):
            member = bytes.fromhex(answer.member)
            try:
                if answer.envelope is None:
                    audit.lapse(member)
                    continue
                body = self._open(answer.member, Stage.AUDIT, answer.envelope)
                audit.receive(member, codec.decode_audit_reply(body, answer.member))
            except CoopError as error:
                audit.lapse(member)
                self.blamed(answer.member, error.problem)

    def _envelopes(
        self, stage: Stage, outbound: Mapping[bytes, Request | AuditRequest]
    ) -> dict[MemberId, bytes]:
        """Sealed once for each distinct request: most stages tell all the same, and it is large."""
        sealed: dict[int, bytes] = {}
        for request in outbound.values():
            if id(request) not in sealed:
                sealed[id(request)] = self._seal(stage, codec.encode_message(request))
        return {MemberId(one.hex()): sealed[id(request)] for one, request in outbound.items()}

    def _seal(self, stage: Stage, body: bytes) -> bytes:
        one = self.descriptor
        return codec.seal(
            key=self.key,
            sender=codec.COORDINATOR,
            run=one.run,
            round=one.round,
            attempt=one.attempt,
            stage=stage,
            agreement=one.agreement,
            body=body,
        )

    def _open(self, member: MemberId, stage: Stage, envelope: bytes) -> bytes:
        one, sender = self.descriptor, bytes.fromhex(member)
        return codec.open_envelope(
            envelope,
            self.roster[sender],
            sender=sender,
            run=one.run,
            round=one.round,
            attempt=one.attempt,
            stage=stage,
            agreement=one.agreement,
        ).body


def announced_survivors(file: Path) -> bool:
    """Whether the log shows that U3 was announced: three closed stages."""
    return file.exists() and sum(record is None for record in replay(file)) >= 3
