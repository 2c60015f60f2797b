"""One attempt of one secure round: the aggregator's machine, its durable log, the members.

Every answer is on the disk before the stage after it is announced, so a coordinator that was
killed can finish stages 3 and 4 of the same attempt (secure aggregation, section 2.4b).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coordinator.rounds.exchange import Exchange
from coordinator.rounds.stagelog import StageLog, replay
from protocols import codec
from protocols.errors import CoopError
from protocols.ids import MemberId
from protocols.secagg import aggregator
from protocols.secagg._state import OfficeState
from protocols.secagg.aggregator import Aggregator
from protocols.secagg.messages import Reply, Request, Stage
from protocols.secagg.params import RoundDescriptor
from protocols.secagg.published import RoundResult
from protocols.signing import SigningKey

STAGE_OF: Mapping[OfficeState, Stage] = {
    OfficeState.ADVERTISE: Stage.ADVERTISE,
    OfficeState.SHARE: Stage.SHARE,
    OfficeState.MASK: Stage.MASK,
    OfficeState.AGREE: Stage.AGREE,
    OfficeState.UNMASK: Stage.UNMASK,
}
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
        progress: told before each stage; may raise to stop the run.
        blamed: told of each member whose answer was wrong.
        arrived: told of each answer that was accepted.
    """

    descriptor: RoundDescriptor
    key: SigningKey = field(repr=False)
    roster: Mapping[bytes, bytes]
    exchange: Exchange
    file: Path
    progress: Progress
    blamed: Blamed
    arrived: Callable[[Stage, MemberId], None]

    def run(self, asked: frozenset[MemberId]) -> RoundResult:
        """All five exchanges; ``asked`` are the members that admitted the order.

        Raises:
            RemoteError: too few answers; ``spent`` of the log tells whether a new attempt may be.
        """
        machine = Aggregator(self.descriptor, self.key, self.roster)
        outbound = machine.open()
        wanted = {one: r for one, r in outbound.items() if MemberId(one.hex()) in asked}
        return self._go_on(machine, wanted)

    def resume(self) -> RoundResult:
        """Finish an attempt whose survivors were already announced before a crash."""
        machine = Aggregator(self.descriptor, self.key, self.roster)
        events: list[tuple[bytes, Reply] | None] = []
        for record in replay(self.file):
            if record is None:
                events.append(None)
            else:
                reply = codec.decode_reply(Stage(record.stage), record.body, record.member)
                events.append((bytes.fromhex(record.member), reply))
        outbound = aggregator.replay(machine, events)
        waiting = set(machine.waiting_for)
        return self._go_on(machine, {one: r for one, r in outbound.items() if one in waiting})

    def _go_on(self, machine: Aggregator, outbound: Mapping[bytes, Request]) -> RoundResult:
        log = StageLog(self.file)
        try:
            while machine.state in STAGE_OF:
                stage = STAGE_OF[machine.state]
                self.progress(stage)
                self._collect(machine, log, stage, outbound)
                if machine.enough():  # else closing raises, and the log must not say it was closed
                    log.close_stage()
                told = len(machine.blamed)
                outbound = machine.close_stage()
                for one in machine.blamed[told:]:  # found only when the shares were put together
                    self.blamed(MemberId(one.member.hex()), one.reason)
        finally:
            log.close()
        return machine.result()

    def _collect(
        self,
        machine: Aggregator,
        log: StageLog,
        stage: Stage,
        outbound: Mapping[bytes, Request],
    ) -> None:
        envelopes = {
            MemberId(one.hex()): self._seal(stage, codec.encode_message(request))
            for one, request in outbound.items()
        }
        timeout_s = float(self.descriptor.stage_timeout_s)
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
