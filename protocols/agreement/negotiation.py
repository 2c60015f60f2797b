"""Names of the Dataspace Protocol 2025-1 for where an agreement stands.

Others who exchange contracts (section "Contract Negotiation Protocol") know seven states. Ours
follow from signatures and the clock (``status``), so that each of our states has one of theirs.
The protocol has no name for a contract that ran out; ``TERMINATED`` stands for every end, and the
export says beside it which of ours it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from protocols.agreement.status import State, Status
from protocols.errors import Code, Refused

NAMESPACE = "https://w3id.org/dspace/2025/1/"


class Negotiation(StrEnum):
    """States of a contract negotiation, in the words of the Dataspace Protocol."""

    REQUESTED = "REQUESTED"  # a draft exists; nobody was asked to sign
    OFFERED = "OFFERED"  # sent to the members
    ACCEPTED = "ACCEPTED"  # at least one has signed
    AGREED = "AGREED"  # the quorum has signed; it has not begun
    VERIFIED = "VERIFIED"  # and this party has checked the quorum's signatures itself
    FINALIZED = "FINALIZED"  # in force
    TERMINATED = "TERMINATED"  # expired, replaced or ended


NEXT: Mapping[Negotiation, frozenset[Negotiation]] = {
    Negotiation.REQUESTED: frozenset({Negotiation.OFFERED, Negotiation.TERMINATED}),
    Negotiation.OFFERED: frozenset({Negotiation.ACCEPTED, Negotiation.TERMINATED}),
    Negotiation.ACCEPTED: frozenset({Negotiation.AGREED, Negotiation.TERMINATED}),
    Negotiation.AGREED: frozenset({Negotiation.VERIFIED, Negotiation.TERMINATED}),
    Negotiation.VERIFIED: frozenset({Negotiation.FINALIZED, Negotiation.TERMINATED}),
    Negotiation.FINALIZED: frozenset({Negotiation.TERMINATED}),
    Negotiation.TERMINATED: frozenset(),
}
"""What may follow what; the path that a cooperative takes through the protocol's own table."""


class Event(StrEnum):
    """What moves a version on."""

    PROPOSED = "proposed"
    SIGNED = "signed"  # a signature that does not complete the quorum
    QUORUM = "quorum"  # the signature that does
    VERIFIED = "verified"
    BEGAN = "began"  # the first day of its term
    ENDED = "ended"  # expired, replaced by a later version, or ended by the members


_LEADS_TO: Mapping[Event, Negotiation] = {
    Event.PROPOSED: Negotiation.OFFERED,
    Event.SIGNED: Negotiation.ACCEPTED,
    Event.QUORUM: Negotiation.AGREED,
    Event.VERIFIED: Negotiation.VERIFIED,
    Event.BEGAN: Negotiation.FINALIZED,
    Event.ENDED: Negotiation.TERMINATED,
}
_NAME_OF: Mapping[State, Negotiation] = {
    State.DRAFT: Negotiation.REQUESTED,
    State.PROPOSED: Negotiation.OFFERED,
    State.SIGNING: Negotiation.ACCEPTED,
    State.IN_FORCE: Negotiation.FINALIZED,
    State.SUPERSEDED: Negotiation.TERMINATED,
    State.EXPIRED: Negotiation.TERMINATED,
    State.TERMINATED: Negotiation.TERMINATED,
}


def negotiation(found: Status, *, verified: bool = False) -> Negotiation:
    """The protocol's name for a status.

    Args:
        found: from ``status.status``.
        verified: this party has checked the quorum's signatures itself.
    """
    if found.state is State.SIGNING and found.signed >= found.needed:
        return Negotiation.VERIFIED if verified else Negotiation.AGREED
    return _NAME_OF[found.state]


def names(state: State) -> frozenset[Negotiation]:
    """Every name that a state of ours can have; which one depends on the signatures."""
    if state is State.SIGNING:
        return frozenset({Negotiation.ACCEPTED, Negotiation.AGREED, Negotiation.VERIFIED})
    return frozenset({_NAME_OF[state]})


def after(state: Negotiation, event: Event) -> Negotiation:
    """The state that an event leads to; one more signature changes nothing.

    Raises:
        Refused: the protocol has no such step.
    """
    to = _LEADS_TO[event]
    if to is state and event is Event.SIGNED:
        return state
    if event is Event.QUORUM and state is Negotiation.OFFERED:  # a quorum of one
        state = Negotiation.ACCEPTED
    if to not in NEXT[state]:
        raise Refused(
            f"a contract that is {state} cannot become {to}.",
            code=Code.PROTOCOL,
            clauses=("c05",),
            fix="Look at where it stands: agreement status.",
        )
    return to
