"""Where an agreement stands in its life, from signatures and the clock (SPEC.md section 8)."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from protocols.agreement.roster import Roster
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


class Urgency(StrEnum):
    """How near something is that runs out."""

    FAR = "far"
    SOON = "soon"
    NEAR = "near"
    URGENT = "urgent"
    OVER = "over"


WARN_DAYS: Mapping[Urgency, int] = {Urgency.URGENT: 7, Urgency.NEAR: 30, Urgency.SOON: 60}


@dataclass(frozen=True, slots=True)
class Due:
    """Something that runs out: what, when, in how many days (negative: ago), what to do."""

    what: str
    at: datetime
    days: int
    urgency: Urgency
    fix: str

    def __str__(self) -> str:
        if self.urgency is Urgency.OVER:
            return f"{self.what} ran out on {day(self.at)}. {self.fix}"
        return f"{self.what} runs out on {day(self.at)}, in {self.days} days. {self.fix}"


def dues(terms: Terms | None, roster: Roster | None, now: datetime) -> tuple[Due, ...]:
    """Everything of an agreement and its roster that runs out, the nearest first."""
    out = []
    term = terms.block("c30", Term) if terms is not None else None
    if terms is not None and term is not None:
        amend = "Propose a new version: coop-coordinator agreement new."
        out.append(_due(f"The agreement (version {terms.version})", term.ends, now, amend))
        if term.review_by < term.ends:
            out.append(_due("The time to review the agreement", term.review_by, now, amend))
    for one in roster.members if roster is not None else ():
        renew = "That member renews it: coop-node key renew."
        out.append(_due(f"The key of {one.name}", one.not_after, now, renew))
    return tuple(sorted(out, key=lambda one: (one.at, one.what)))


def warnings(terms: Terms | None, roster: Roster | None, now: datetime) -> tuple[Due, ...]:
    """What runs out within 60 days, or has; the nearest first."""
    return tuple(one for one in dues(terms, roster, now) if one.urgency is not Urgency.FAR)


def _due(what: str, at: datetime, now: datetime, fix: str) -> Due:
    left = at - now
    if left.total_seconds() <= 0:
        return Due(what, at, left.days, Urgency.OVER, fix)
    urgency = next((u for u, days in WARN_DAYS.items() if left.days < days), Urgency.FAR)
    return Due(what, at, left.days, urgency, fix)
