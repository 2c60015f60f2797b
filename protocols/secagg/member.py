"""A member's machine for one attempt of one round (SPEC.md section 4).

It trusts nothing that the coordinator says, answers each request once, and forgets. Any failed
check ends the attempt: the shell tells the coordinator ``REFUSAL`` and keeps the reason in its own
log. The machine is never stored; a restarted node makes a new one for the next round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from protocols.errors import LocalError, RemoteError
from protocols.secagg import _phases, costs
from protocols.secagg._phases import (
    Advertised,
    Agreed,
    Carried,
    Masked,
    Noise,
    Party,
    Shared,
    Training,
)
from protocols.secagg._state import MEMBER, MemberEvent, MemberState, member_next
from protocols.secagg.costs import Cost
from protocols.secagg.fixedpoint import Sums, Update, check_input
from protocols.secagg.masks import check_primitives
from protocols.secagg.messages import (
    AdvertiseRequest,
    AgreeRequest,
    MaskedInput,
    MaskRequest,
    Reply,
    Request,
    ShareRequest,
    UnmaskRequest,
)
from protocols.secagg.params import Demands, Expected, RoundDescriptor
from protocols.signing import SigningKey, identity_of

REFUSAL = "this member refuses the round"
_OVER = (MemberState.ABORTED, MemberState.CLOSED)
_EVENT: Mapping[type[Request], MemberEvent] = {
    AdvertiseRequest: MemberEvent.ADVERTISE,
    ShareRequest: MemberEvent.SHARE,
    MaskRequest: MemberEvent.MASK,
    AgreeRequest: MemberEvent.AGREE,
    UnmaskRequest: MemberEvent.UNMASK,
}


class Member:
    """One member in one attempt of one round.

    ``step`` takes the coordinator's requests. After a ``MaskRequest`` (answered with None) every
    check of stage 2 has passed: train, then call ``mask``. ``close`` at the round's end or
    deadline.

    Args:
        identity: this member's Ed25519 key.
        demands: what its own signed agreement asks for.
        roster: member id (32 bytes) -> Ed25519 public key, of the roster epoch it accepted.
        coordinator_key: Ed25519 public key that signs descriptors, from the agreement.
        expected: what it knows of this round from its order and its model.
        entropy: ``entropy(n)`` gives n bytes from the system's CSPRNG.
        mark_spent: ``mark_spent(run, round)`` records durably that this member signs an A3 in that
            round, and raises Refused if it already did, in any attempt. It returns only after
            the record is on disk.
        noise: ``noise(sigma_local, dim)`` gives this member's share of the noise, int64 whole
            units from the system's CSPRNG; needed where a descriptor asks for noise.
        carried: ``carried`` of the machine of the round before, if this is attempt 0. Whether it
            is used depends on how the coordinator begins; it is gone afterwards.
    """

    def __init__(
        self,
        *,
        identity: SigningKey,
        demands: Demands,
        roster: Mapping[bytes, bytes],
        coordinator_key: bytes,
        expected: Expected,
        entropy: Callable[[int], bytes],
        mark_spent: Callable[[bytes, int], None],
        noise: Noise | None = None,
        carried: Carried | None = None,
    ) -> None:
        check_primitives()
        me = bytes.fromhex(identity_of(identity.public))
        self._party: Party = Party(
            identity, me, demands, roster, coordinator_key, expected, entropy, mark_spent, noise
        )
        self._early = carried
        self._carried: Carried | None = None
        self._root: bytes | None = None
        self._state = MemberState.START
        self._phase: Advertised | Shared | Training | Masked | Agreed | None = None
        self._answers: dict[type[Request], tuple[Request, Reply]] = {}
        self._transcript: bytes | None = None
        self._descriptor: RoundDescriptor | None = None
        self._costs: list[Cost] = []

    def __repr__(self) -> str:
        return f"<Member {self._party.me.hex()[:16]} {self._state}>"

    @property
    def state(self) -> MemberState:
        """Where this member stands."""
        return self._state

    @property
    def member_id(self) -> bytes:
        """This member's id, 32 bytes."""
        return self._party.me

    @property
    def descriptor(self) -> RoundDescriptor | None:
        """The descriptor that it accepted, or None before stage 0."""
        return self._descriptor

    @property
    def transcript(self) -> bytes | None:
        """The A3 that it signed, or None; stays after the round for the journal."""
        return self._transcript

    @property
    def vector_root(self) -> bytes | None:
        """Root of the masked vector that it sent, or None; stays after the round for the audit."""
        return self._root

    @property
    def carried(self) -> Carried | None:
        """Early keys for the next round, once shares were opened with them; stays after ``close``.

        Hand it to the machine of attempt 0 of the next round and nowhere else.
        """
        return self._carried

    @property
    def costs(self) -> tuple[Cost, ...]:
        """What each exchange has cost so far."""
        return tuple(self._costs)

    def step(self, request: Request) -> Reply | None:
        """Answer one request, or refuse and end the attempt.

        Returns:
            The reply; None after a ``MaskRequest``, whose reply ``mask`` makes.

        Raises:
            Refused: the descriptor asks for what the agreement does not allow, or the round is
                spent.
            RemoteError: a message is wrong, out of order, or comes a second time.
            LocalError: entropy or this machine failed.
        """
        if self._state in _OVER:
            raise RemoteError("this round is over for this member.", peer=_phases.COORDINATOR)
        stored = self._answers.get(type(request))
        if stored is not None and stored[0] == request:
            self._state = member_next(self._state, MemberEvent.REPEAT)
            return stored[1]
        event = _EVENT[type(request)]
        if isinstance(request, ShareRequest) and request.opening is not None:
            event = MemberEvent.EARLY
        with self._or_abort():
            if (self._state, event) not in MEMBER:
                raise RemoteError(
                    f"a {event} came while this member was {self._state}.",
                    peer=_phases.COORDINATOR,
                    fix="The member leaves this attempt; start a new one.",
                )
            reply = self._take(request)
        self._costs.append(costs.of_member(request, reply))
        self._state = member_next(self._state, event)
        return reply

    def mask(self, update: Update | Sums, weight: int) -> MaskedInput:
        """The reply to a ``MaskRequest``, once: the update in whole units under all masks.

        Args:
            update: float32 ``(dim,)``, every |coordinate| <= clip; in a round with noise int64
                whole units ``(dim,)``, to which this member's share of the noise is added here.
            weight: 1 to w_max.

        Raises:
            InputError: the update or weight cannot be used; nothing has changed.
            LocalError: not called between a ``MaskRequest`` and its reply; nothing has changed.
        """
        after = member_next(self._state, MemberEvent.INPUT)
        phase = self._phase
        assert isinstance(phase, Training)
        check_input(update, weight, phase.descriptor)
        with self._or_abort():
            self._phase, reply, self._root = _phases.mask(self._party, phase, update, weight)
        self._costs.append(costs.masked(reply, 1 + len(phase.points)))
        self._state = after
        return reply

    def close(self) -> None:
        """The deadline has passed or the round is over: forget everything."""
        self._state = member_next(self._state, MemberEvent.CLOSE)
        self._forget()

    def _take(self, request: Request) -> Reply | None:
        reply: Reply | None = None
        match request, self._phase:
            case AdvertiseRequest(), None:
                self._early = None
                self._phase, reply = _phases.advertise(self._party, request)
                self._descriptor = request.descriptor
            case ShareRequest(opening=AdvertiseRequest() as opening), None:
                phase = self._reopened(opening)
                self._phase, reply = _phases.share(self._party, phase, request)
                self._descriptor = opening.descriptor
            case ShareRequest(), Advertised() as phase:
                self._phase, reply = _phases.share(self._party, phase, request)
            case MaskRequest(), Shared() as phase:
                self._phase = _phases.accept(self._party, phase, request)
            case AgreeRequest(), Masked() as phase:
                self._phase, reply = _phases.agree(self._party, phase, request)
                self._transcript = self._phase.a3
                self._answers[AgreeRequest] = (request, reply)
            case UnmaskRequest(), Agreed() as phase:
                reply, self._carried = _phases.unmask(self._party, phase, request)
                self._phase = None
                self._answers[UnmaskRequest] = (request, reply)
            case _:
                raise LocalError(f"{type(request).__name__} does not follow {self._state}.")
        return reply

    def _reopened(self, opening: AdvertiseRequest) -> Advertised:
        early, self._early = self._early, None
        if early is None:
            raise RemoteError(
                "this member sent no keys for this round before it began.",
                peer=_phases.COORDINATOR,
                fix="Begin with stage 0.",
            )
        return _phases.reopen(self._party, early, opening)

    @contextmanager
    def _or_abort(self) -> Iterator[None]:
        """Whatever goes wrong inside, the attempt is over and its secrets are gone."""
        finished = False
        try:
            yield
            finished = True
        finally:
            if not finished:
                self._state = member_next(self._state, MemberEvent.FAIL)
                self._forget()
                self._carried = None

    def _forget(self) -> None:
        self._phase = None
        self._early = None
        self._answers.clear()
