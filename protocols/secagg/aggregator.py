"""The coordinator's machine for one attempt of one round (SPEC.md section 4.6).

It collects answers, closes a stage when the shell says so, and hands out the next requests. It
keeps the running sum, never the masked vectors. Fed with the same messages and closes in the same
order it is in the same state and says the same bytes: that is how a crashed coordinator goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn

import numpy as np

from protocols.errors import Code, LocalError, RemoteError
from protocols.secagg import _answers, messages, recovery
from protocols.secagg._state import OfficeEvent, OfficeState, office_next
from protocols.secagg.costs import Cost, size_of
from protocols.secagg.fixedpoint import Sums, unpack_into
from protocols.secagg.masks import check_primitives
from protocols.secagg.messages import (
    Advertisement,
    AdvertiseRequest,
    AgreementSignature,
    AgreeReply,
    AgreeRequest,
    MaskedInput,
    MaskRequest,
    Reply,
    Request,
    SealedShare,
    ShareReply,
    ShareRequest,
    Stage,
    UnmaskReply,
    UnmaskRequest,
    VectorRoot,
    blaming,
)
from protocols.secagg.params import MAX_COMPLETE, RoundDescriptor, check_figures
from protocols.secagg.published import PublishedSum, RoundResult
from protocols.secagg.recovery import Blame
from protocols.secagg.topology import Topology
from protocols.signing import SigningKey, identity_of

Outbound = Mapping[bytes, Request]  # member id -> what to send it

_ANSWER: Mapping[OfficeState, type[Reply]] = {
    OfficeState.ADVERTISE: Advertisement,
    OfficeState.SHARE: ShareReply,
    OfficeState.MASK: MaskedInput,
    OfficeState.AGREE: AgreeReply,
    OfficeState.UNMASK: UnmaskReply,
}
_ORDER = tuple(_ANSWER)


class Aggregator:
    """The coordinator in one attempt of one round.

    ``open`` -> send -> ``receive`` .. -> ``close_stage`` -> send -> .. -> ``result``.

    Args:
        descriptor: as every member will see it.
        key: the coordinator's Ed25519 key, which signs the descriptor.
        roster: member id -> Ed25519 public key of the roster epoch that the descriptor names.
        carried: early keys from the unmask replies of the round before (``RoundResult.carried``),
            for attempt 0; whose keys do not verify is asked in stage 0 like everybody else.
        carry: whether the last stage asks for early keys for the next round.

    Raises:
        Refused: the descriptor's figures break SPEC.md section 2.
        LocalError: an id is not in the roster, or this machine fails its start-up check.
    """

    def __init__(
        self,
        descriptor: RoundDescriptor,
        key: SigningKey,
        roster: Mapping[bytes, bytes],
        carried: Mapping[bytes, Advertisement] | None = None,
        carry: bool = False,
    ) -> None:
        check_primitives()
        check_figures(descriptor)
        for one in descriptor.ids:
            if one not in roster or identity_of(roster[one]) != one.hex():
                raise LocalError(f"{one.hex()[:16]} of the cohort is not in the roster.")
        self.descriptor = descriptor
        self._roster = roster
        self._carry = carry
        self._rd = descriptor.digest()
        self._opening = AdvertiseRequest(descriptor, key.sign("SAQ1 RD", self._rd))
        self._state = OfficeState.START
        self._taken: set[bytes] = set()  # keys, nonces and commitments of U1 so far
        self._early = self._usable(carried or {})
        self._asked: tuple[bytes, ...] = tuple(
            one for one in descriptor.ids if one not in self._early
        )
        self._answers: dict[bytes, Reply] = dict(self._early)
        self._blamed: dict[bytes, Blame] = {}
        self._ads: dict[bytes, Advertisement] = {}
        self._u1: tuple[bytes, ...] = ()
        self._u2: tuple[bytes, ...] = ()
        self._u3: tuple[bytes, ...] = ()
        self._ads_hash = self._a1 = self._a2 = self._a3 = b""
        self._total = np.zeros(descriptor.coordinates, dtype=np.uint32)
        self._roots: dict[bytes, VectorRoot] = {}
        self._vectors_hash = b""
        self._topology: Topology | None = None
        self._certificate: tuple[AgreementSignature, ...] = ()
        self._result: RoundResult | None = None
        self._costs: list[Cost] = []
        self._up = self._down = self._verified = self._masks = 0

    @property
    def state(self) -> OfficeState:
        """Which answers are being collected."""
        return self._state

    @property
    def stage(self) -> Stage | None:
        """The stage of the answers that are being collected; None before and after."""
        return Stage(_ORDER.index(self._state)) if self._state in _ANSWER else None

    @property
    def waiting_for(self) -> tuple[bytes, ...]:
        """Members asked in this stage that have not answered and are not blamed."""
        return tuple(
            one for one in self._asked if one not in self._answers and one not in self._blamed
        )

    @property
    def blamed(self) -> tuple[Blame, ...]:
        """Members that were wrong in this attempt, and how."""
        return tuple(self._blamed.values())

    @property
    def costs(self) -> tuple[Cost, ...]:
        """What each closed stage has cost."""
        return tuple(self._costs)

    @property
    def spent(self) -> bool:
        """Whether a member may have marked the round spent: no new attempt can succeed."""
        return bool(self._a3)

    def can_close(self) -> bool:
        """Every answer that can still come is there."""
        return self._state in _ANSWER and not self.waiting_for

    def enough(self) -> bool:
        """The stage can be closed without ending the round (more answers may still come)."""
        return self._state in _ANSWER and len(self._answers) >= self._needed()

    def open(self) -> Outbound:
        """Start: the descriptor for everybody in it whose keys are not here yet."""
        self._state = office_next(self._state, OfficeEvent.OPEN)
        self._down = len(self._asked) * size_of(self._opening)
        return dict.fromkeys(self._asked, self._opening)

    def receive(self, member: bytes, message: Reply) -> None:
        """Take one answer, whose sender the envelope has proved.

        The same answer a second time has no effect. An answer that is late, early, or from
        somebody who was not asked is refused without effect.

        Raises:
            RemoteError: naming the member; it is blamed and left out if the answer is wrong.
            LocalError: the machine has not started or is over.
        """
        self._state = office_next(self._state, OfficeEvent.RECEIVE)
        peer = member.hex()
        if member in self._blamed:
            raise RemoteError("it is left out of this round.", peer=peer, where=peer)
        if member not in self._asked or not isinstance(message, _ANSWER[self._state]):
            raise RemoteError(
                f"a {type(message).__name__} is not asked of it in stage {self._state}.",
                peer=peer,
                where=peer,
            )
        try:
            if member in self._answers:
                self._check_repeat(member, message)
                return
            self._check(member, message)
        except RemoteError as error:
            self._blamed[member] = Blame(member, error.problem)
            raise
        self._up += size_of(message)
        self._verified += 1 if not isinstance(message, UnmaskReply) else message.next_ad is not None
        self._answers[member] = self._kept(message)

    def close_stage(self) -> Outbound:
        """End the stage with the answers that are there.

        Returns:
            The next requests by member; empty after the last stage, when ``result`` is ready.

        Raises:
            RemoteError: too few answers (with the figures), or shares that do not fit; the round is
                over, except that the last stage stays open while answers are outstanding.
            LocalError: the machine has not started or is over.
        """
        after = office_next(self._state, OfficeEvent.CLOSE_STAGE)
        if len(self._answers) < self._needed():
            self._too_few()
        there = tuple(sorted(self._answers))
        out: Outbound = {}
        match self._state:
            case OfficeState.ADVERTISE:
                out = self._close_advertise(there)
            case OfficeState.SHARE:
                out = self._close_share(there)
            case OfficeState.MASK:
                out = self._close_mask(there)
            case OfficeState.AGREE:
                out = self._close_agree(there)
            case _:
                self._finish()
        self._count(out)
        self._asked = tuple(out)
        self._answers = {}
        self._state = after
        return out

    def _count(self, out: Outbound) -> None:
        stage = Stage(_ORDER.index(self._state))
        self._costs.append(Cost(stage, self._up, self._down, self._masks, self._verified))
        self._up = self._verified = 0
        self._down = sum(size_of(request) for request in out.values())

    def abort(self) -> None:
        """The shell gives this attempt up."""
        self._state = office_next(self._state, OfficeEvent.FAIL)
        self._answers = {}

    def result(self) -> RoundResult:
        """The finished round; LocalError before ``close_stage`` has ended the last stage."""
        if self._result is None:
            raise LocalError(f"there is no result in stage {self._state}.")
        return self._result

    # ---------------------------------------------------------------- answers

    def _check_repeat(self, member: bytes, message: Reply) -> None:
        if self._kept(message) != self._answers[member]:
            raise RemoteError(
                f"it sent two different answers in stage {self._state}.",
                peer=member.hex(),
                where=member.hex(),
            )

    def _kept(self, message: Reply) -> Reply:
        # A masked vector is in the sum already; its signature, which is deterministic and covers
        # its hash, stands for it.
        if isinstance(message, MaskedInput):
            return MaskedInput(b"", message.signature)
        return message

    def _check(self, member: bytes, message: Reply) -> None:
        public = self._roster[member]
        match message:
            case Advertisement():
                if message.early:
                    raise RemoteError("it sent early keys in stage 0.", peer=member.hex())
                self._taken |= _answers.check_advertisement(
                    message, member, public, self.descriptor, self._rd, self._taken
                )
            case ShareReply():
                holders = self._graph.among(member, self._u1)
                _answers.check_shares(message, member, public, self._a1, holders)
            case MaskedInput():
                root = _answers.check_vector(message, member, public, self._a2, self.descriptor)
                with blaming(member.hex(), "masked vector"):
                    unpack_into(message.vector, self.descriptor.width, self._total)
                self._roots[member] = root
            case AgreeReply():
                _answers.check_agreement(message, member, public, self._a3)
            case UnmaskReply():
                self._check_opened(member, public, message)

    def _check_opened(self, member: bytes, public: bytes, message: UnmaskReply) -> None:
        survivors = self._graph.owners(member, self._u3)
        gone = self._graph.owners(member, self._gone())
        _answers.check_opened(message, member, survivors, gone)
        ad = message.next_ad
        if ad is None:
            return
        if not self._carry:
            raise RemoteError("it sent keys that nobody asked for.", peer=member.hex())
        _answers.check_next(ad, member, public, self.descriptor, self._a3)

    def _usable(self, carried: Mapping[bytes, Advertisement]) -> dict[bytes, Advertisement]:
        found: dict[bytes, Advertisement] = {}
        for member in sorted(set(carried) & set(self.descriptor.ids)):
            ad, public = carried[member], self._roster[member]
            try:
                self._taken |= _answers.check_advertisement(
                    ad, member, public, self.descriptor, self._rd, self._taken
                )
            except RemoteError:
                continue  # it is asked again, which costs one exchange and no more
            found[member] = ad
        return found

    @property
    def _graph(self) -> Topology:
        if self._topology is None:
            raise LocalError("the keys of the round are not fixed yet.")
        return self._topology

    def _check_graph(self, present: tuple[bytes, ...]) -> None:
        """As members do: nobody may be left with fewer neighbours than reconstruct a secret."""
        least = self._graph.least_degree(present)
        if self.descriptor.members > MAX_COMPLETE and least < self.descriptor.threshold:
            self.abort()
            raise RemoteError(
                f"a member has only {least} neighbours left, {self.descriptor.threshold} "
                "are needed.",
                code=Code.UNAVAILABLE,
                where=f"round {self.descriptor.round}, attempt {self.descriptor.attempt}",
                fix="Start a new attempt when more members are there.",
            )

    def _gone(self) -> tuple[bytes, ...]:
        there = frozenset(self._u3)
        return tuple(one for one in self._u2 if one not in there)

    # ----------------------------------------------------------------- stages

    def _needed(self) -> int:
        match self._state:
            case OfficeState.AGREE:
                return self.descriptor.quorum
            case OfficeState.UNMASK:
                return self.descriptor.threshold
            case _:
                return self.descriptor.least_survivors

    def _too_few(self) -> NoReturn:
        answers, needed, stage = len(self._answers), self._needed(), self._state
        self.abort()
        fix = (
            "The round is spent and cannot be tried again: the run ends here."
            if self.spent
            else "Start a new attempt when more members are there."
        )
        raise RemoteError(
            f"{answers} of {len(self._asked)} members answered in stage {stage}, "
            f"{needed} are needed.",
            code=Code.UNAVAILABLE,
            where=f"round {self.descriptor.round}, attempt {self.descriptor.attempt}",
            fix=fix,
        )

    def _close_advertise(self, there: tuple[bytes, ...]) -> Outbound:
        self._u1 = there
        for one, answer in self._answers.items():
            assert isinstance(answer, Advertisement)
            self._ads[one] = answer
        ads = tuple(self._ads[one] for one in there)
        self._ads_hash = messages.advertisements_hash(ads)
        self._a1 = messages.first_transcript(self._rd, self._ads_hash)
        self._topology = Topology(self.descriptor, self._a1)
        self._check_graph(there)
        plain, opened = ShareRequest(ads), ShareRequest(ads, self._opening)
        return {one: opened if one in self._early else plain for one in there}

    def _close_share(self, there: tuple[bytes, ...]) -> Outbound:
        self._u2 = there
        self._check_graph(there)
        cohort = messages.bitmap(there, self.descriptor.ids)
        self._a2 = messages.second_transcript(self._a1, cohort)
        inbox: dict[bytes, list[SealedShare]] = {one: [] for one in there}
        for sender in there:
            reply = self._answers[sender]
            assert isinstance(reply, ShareReply)
            for one in reply.shares:
                if one.peer in inbox:
                    inbox[one.peer].append(SealedShare(sender, one.sealed))
        return {one: MaskRequest(cohort, tuple(shares)) for one, shares in inbox.items()}

    def _close_mask(self, there: tuple[bytes, ...]) -> Outbound:
        self._u3 = there
        self._check_graph(there)
        survivors = messages.bitmap(there, self.descriptor.ids)
        self._vectors_hash = messages.vectors_hash(self._roots[one] for one in there)
        self._a3 = messages.third_transcript(self._a2, survivors, self._vectors_hash)
        if self.descriptor.members <= MAX_COMPLETE:
            return dict.fromkeys(there, AgreeRequest(survivors, self._vectors_hash))
        return {
            one: AgreeRequest(
                survivors,
                self._vectors_hash,
                tuple(self._roots[near] for near in self._graph.among(one, there)),
            )
            for one in there
        }

    def _close_agree(self, there: tuple[bytes, ...]) -> Outbound:
        signed = []
        for one in there:
            reply = self._answers[one]
            assert isinstance(reply, AgreeReply)
            signed.append(AgreementSignature(one, reply.signature))
        self._certificate = tuple(signed)
        return dict.fromkeys(there, UnmaskRequest(self._certificate, self._carry))

    def _finish(self) -> None:
        replies = {
            one: reply for one, reply in self._answers.items() if isinstance(reply, UnmaskReply)
        }
        try:
            secrets = recovery.recover(
                self.descriptor, self._graph, self._ads, self._u3, self._gone(), replies
            )
        except RemoteError:
            if not self.waiting_for:  # otherwise one more answer may still finish the round
                self.abort()
            raise
        for one in secrets.blamed:
            self._blamed.setdefault(one.member, one)
        values, weight_sum = self._unmasked(secrets)
        descriptor = self.descriptor
        published = PublishedSum(
            run=descriptor.run,
            round=descriptor.round,
            attempt=descriptor.attempt,
            task=descriptor.task,
            descriptor_digest=self._rd,
            ads_hash=self._ads_hash,
            cohort=messages.bitmap(self._u2, descriptor.ids),
            survivor_map=messages.bitmap(self._u3, descriptor.ids),
            vectors_hash=self._vectors_hash,
            total=values,
            weight_sum=weight_sum,
            a3=self._a3,
            certificate=self._certificate,
        )
        self._result = RoundResult(
            opening=self._opening,
            published=published,
            advertisements=tuple(self._ads[one] for one in self._u1),
            u2=self._u2,
            u3=self._u3,
            roots=tuple(self._roots[one] for one in self._u3),
            secrets=secrets,
            blamed=self.blamed,
            carried={one: r.next_ad for one, r in replies.items() if r.next_ad is not None},
        )

    def _unmasked(self, secrets: recovery.Secrets) -> tuple[Sums, int]:
        try:
            plus, minus = recovery.mask_keys(self._graph, self._a2, self._ads, secrets)
            self._masks = len(plus) + len(minus)
            recovery.take_off(self._total, plus, minus)
            return recovery.read_sum(self._total, len(self._u3), self.descriptor)
        except RemoteError:
            self.abort()
            raise


def replay(machine: Aggregator, events: Iterable[tuple[bytes, Reply] | None]) -> Outbound:
    """Bring a fresh machine to where a crashed one stood.

    Args:
        machine: new, made from the same arguments.
        events: what was stored, in order: (member, message) for every message handed to
            ``receive``, None for every ``close_stage``.

    Returns:
        The requests that were sent last; send them again (members answer a repeat of stages 3 and
        4 with the same reply).

    Raises:
        RemoteError: a stored close ended the round, as it did before the crash.
    """
    out = machine.open()
    for event in events:
        if event is None:
            out = machine.close_stage()
            continue
        member, message = event
        try:
            machine.receive(member, message)
        except RemoteError:
            continue  # it was refused then, too; the blame is recorded again
    return out
