"""Where an agreement stands in its life, from signatures and the clock (SPEC.md section 8)."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from protocols.agreement.saying import day
from protocols.agreement.terms import Governance, Term, Terms


class State(StrEnum):
    """The life of an agreement version."""

    DRAFT = "draft"
    PROPOSED = "proposed"
    SIGNING = "signing"
    IN_FORCE = "in_force"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about one version besides its text.

    ``signers`` carry verified signatures; ``members`` are the accepted roster's voters.
    """

    proposed: bool
    signers: frozenset[str]
    members: frozenset[str]
    successor_in_force: bool = False
    terminated: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """The state, the signatures counted, and one sentence."""

    state: State
    signed: int
    needed: int
    sentence: str


def status(terms: Terms, standing: Standing, now: datetime) -> Status:
    """The state of a version. Unreadable terms stay a draft."""
    block, term = terms.block("c05", Governance), terms.block("c30", Term)
    if block is None or term is None:
        return Status(State.DRAFT, 0, 0, "The draft lacks its governance or its term.")
    signed = len(standing.signers & standing.members)
    needed = max(1, block.quorum_agreement.needed(len(standing.members)))
    ended = _ended(standing, term, now)
    state, sentence = ended if ended is not None else _growing(standing, term, now, signed, needed)
    return Status(state, signed, needed, sentence)


def _ended(standing: Standing, term: Term, now: datetime) -> tuple[State, str] | None:
    if standing.terminated:
        return State.TERMINATED, "It was terminated."
    if now >= term.ends:
        return State.EXPIRED, f"It ended on {day(term.ends)}."
    if standing.successor_in_force:
        return State.SUPERSEDED, "A later version is in force."
    return None


def _growing(
    standing: Standing, term: Term, now: datetime, signed: int, needed: int
) -> tuple[State, str]:
    if not standing.proposed:
        return State.DRAFT, "Nobody has been asked to sign it yet."
    if signed == 0:
        return State.PROPOSED, f"0 of {needed} needed signatures."
    if signed < needed:
        return State.SIGNING, f"{signed} of {needed} needed signatures."
    if now < term.starts:
        return State.SIGNING, f"Signed by {signed}; it starts on {day(term.starts)}."
    return State.IN_FORCE, f"Signed by {signed}, {needed} needed; until {day(term.ends)}."


def unsigned(standing: Standing) -> Set[str]:
    """Members whose signature is still missing."""
    return standing.members - standing.signers
