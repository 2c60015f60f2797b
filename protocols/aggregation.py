"""HOW A SUM IS MADE, on one page: what rounds, nodes and policy need of any way to do it.

A mode is a pair of machines and an audit. The coordinator's machine says whom to send what and
takes the answers; a member's answers requests and masks once; the audit gets the sum confirmed
before anybody builds on it. SA-Q1 (``protocols.secagg``) is the one mode there is. A coordinator
with an independent helper, or a homomorphic scheme, would stand beside it in ``MODES``: its
messages are its own and opaque here. What a mode has to keep is in ``tests/protocols/
test_aggregation.py``, which runs on every mode of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from protocols.errors import InputError
from protocols.secagg import (
    Aggregator,
    Blame,
    Member,
    PublishedSum,
    RoundDescriptor,
    RoundResult,
    SumAudit,
    check_certificate,
    check_sum,
    replay,
)
from protocols.secagg.costs import Cost
from protocols.secagg.messages import Stage
from protocols.secagg.params import PROTOCOL

Outbound = Mapping[bytes, Any]  # member id -> what to send it


class MemberMachine(Protocol):
    """A member in one attempt of one round: answers each request once, trusts none, forgets."""

    @property
    def descriptor(self) -> RoundDescriptor | None:
        """What it accepted, or None."""

    @property
    def transcript(self) -> bytes | None:
        """What it signed about who is in the sum and with what, or None."""

    @property
    def vector_root(self) -> bytes | None:
        """Commitment to the vector that it sent, or None; the audit compares it."""

    @property
    def carried(self) -> Any:
        """What it keeps for the next round, or None; opaque."""

    @property
    def costs(self) -> tuple[Cost, ...]:
        """What each exchange cost."""

    def step(self, request: Any) -> Any:
        """The reply; None where the member's own vector is wanted next. Raises and is over."""

    def mask(self, update: Any, weight: int) -> Any:
        """The reply that holds the vector, hidden; once."""

    def close(self) -> None:
        """The round is over: forget every secret."""


class AggregatorMachine(Protocol):
    """The coordinator in one attempt: collects answers, closes stages, learns one sum."""

    @property
    def stage(self) -> Stage | None:
        """Whose answers are being collected; None when the attempt is over."""

    @property
    def waiting_for(self) -> tuple[bytes, ...]:
        """Members that were asked and have not answered."""

    @property
    def blamed(self) -> tuple[Blame, ...]:
        """Members that were wrong, and how."""

    @property
    def spent(self) -> bool:
        """Whether no other attempt of this round can succeed."""

    @property
    def costs(self) -> tuple[Cost, ...]:
        """What each closed stage cost."""

    def open(self) -> Outbound:
        """The first requests."""

    def receive(self, member: bytes, message: Any) -> None:
        """One answer; RemoteError, and the member is left out, if it is wrong."""

    def enough(self) -> bool:
        """The stage can be closed without ending the round."""

    def close_stage(self) -> Outbound:
        """The next requests; empty after the last stage. RemoteError: the attempt is over."""

    def abort(self) -> None:
        """Give the attempt up."""

    def result(self) -> RoundResult:
        """The finished round."""


class AuditMachine(Protocol):
    """The coordinator gets a sum confirmed by its survivors."""

    @property
    def done(self) -> bool:
        """Whether enough have confirmed it."""

    def due(self) -> Outbound:
        """What to send now; RemoteError when nobody is left to ask."""

    def receive(self, member: bytes, reply: Any) -> None:
        """One auditor's answer."""

    def lapse(self, *members: bytes) -> None:
        """These, or all that were asked, did not answer."""

    def published(self) -> PublishedSum:
        """The sum with its certificate."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to make a sum. ``exchanges``: round trips before the audit; fewer in steady state.

    ``replay`` brings a new aggregator to where a crashed one stood, from what it had stored.
    """

    protocol: str
    exchanges: int
    steady_exchanges: int
    member: Callable[..., MemberMachine]
    aggregator: Callable[..., AggregatorMachine]
    replay: Callable[..., Outbound]
    audit: Callable[..., AuditMachine]
    confirm: Callable[..., Any]
    check: Callable[[PublishedSum, RoundDescriptor, Mapping[bytes, bytes]], None]


SA_Q1 = Mode(PROTOCOL, 5, 4, Member, Aggregator, replay, SumAudit, check_sum, check_certificate)
MODES: Mapping[str, Mode] = {SA_Q1.protocol: SA_Q1}


def mode(protocol: str) -> Mode:
    """The mode that a descriptor names; InputError if this version has none."""
    try:
        return MODES[protocol]
    except KeyError:
        raise InputError(
            f"sums are made by {protocol[:40]!r}, which this version does not know.",
            where="round parameters",
            fix="Install the version of datacoop that the order names.",
        ) from None
