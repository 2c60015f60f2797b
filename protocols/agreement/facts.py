"""What a decision is told and what it answers (SPEC.md section 6). Values only.

Facts are established by the shell *before* it asks: signatures are verified from bytes, the
clock is read, ledgers are counted. A fact that nobody established keeps its default, and every
default denies.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from protocols.agreement.house import NO_HOUSE_RULES, HouseRules
from protocols.agreement.order import Order
from protocols.errors import InputError, Refused
from protocols.permit import Gate


class Consent(StrEnum):
    """What a person of this member said about an order."""

    NONE = "none"
    ONCE = "once"
    ALWAYS = "always"  # for this workload digest
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. ``purpose`` is of a use; ``outputs`` name what a release would show."""

    gate: Gate
    order: Order
    purpose: str = ""
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Signatures that the shell verified from bytes, and nothing else."""

    signed_by_me: bool = False  # this member's own signature over this agreement version
    signers: frozenset[str] = frozenset()  # member ids with a verified signature over it
    operator: bool = False  # the operator's signature over the order
    coordinator: bool = False  # the coordinator's signature over the release
    run_reused: bool = False  # another order with the same run id was seen before
    run_over: bool = False  # the run of this order has ended on this node
    superseded: bool = False  # a later version, signed by me, is in force


@dataclass(frozen=True, slots=True)
class RosterFacts:
    """The accepted epoch: its members that vote and whose keys have not expired."""

    id: str
    epoch: int
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """This node: who it is, how much history it has, which recipes are installed."""

    id: str
    weeks_history: int = 0
    rows: int = 0
    installed: frozenset[str] = frozenset()  # workload digests, computed from local sources


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """Figures of the ledgers, not counting the run that is asked about."""

    runs_in_period: int
    earlier_cohorts: tuple[frozenset[str], ...] = ()  # same workload, oldest first


@dataclass(frozen=True, slots=True)
class PrivacyFacts:
    """What the order's recipe promises, and what the run would cost of the unit's budget.

    ``unit`` is ``none`` if the recipe adds no noise; all figures are 0 then. Epsilons are at the
    order's ``delta``, against colluders, for the fewest survivors that a sum may have.
    ``before`` and ``after`` are over the budget's period, without and with this run.
    """

    unit: str
    delta: float = 0.0
    epsilon_run: float = 0.0
    epsilon_before: float = 0.0
    epsilon_after: float = 0.0
    frees_at: datetime | None = None  # when the oldest spent run leaves the period


@dataclass(frozen=True, slots=True)
class Figures:
    """Securely summed results of a run: members that reported, and two errors in one measure.

    ``measure`` is its name for people, as the workload gives it, for example WAPE.
    """

    contributors: int
    baseline_error: float
    blend_error: float
    measure: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a decision may look at besides the terms and the request."""

    now: datetime
    evidence: Evidence = Evidence()
    roster: RosterFacts | None = None
    mine: MemberFacts | None = None
    ledger: LedgerFacts | None = None
    privacy: PrivacyFacts | None = None
    privacy_problem: str = ""  # why it is not known
    consent: Consent = Consent.NONE
    house: HouseRules = NO_HOUSE_RULES
    figures: Figures | None = None

    def __post_init__(self) -> None:
        if self.now.tzinfo is None:
            raise InputError("the clock of a decision must be in UTC, not without a zone.")


@dataclass(frozen=True, slots=True)
class Reason:
    """One no: the clause, the figure found, the figure allowed, a sentence for people.

    ``pending`` marks the one no that a person can turn into a yes: a missing approval. ``outside``
    is the sentence for others where ``sentence`` holds a figure of this member's rows.
    """

    clause: str
    name: str
    found: str
    allowed: str
    sentence: str
    pending: bool = False
    outside: str = ""

    def __str__(self) -> str:
        return f"{self.clause} {self.name}: {self.sentence}"

    @property
    def told(self) -> str:
        """What other parties are told: no figure of this member's rows is in it."""
        return f"{self.clause} {self.name}: {self.outside or self.sentence}"


@dataclass(frozen=True, slots=True)
class Denial:
    """Every clause that said no. Never empty."""

    gate: Gate
    reasons: tuple[Reason, ...]

    @property
    def clauses(self) -> tuple[str, ...]:
        """The clause ids that said no, in order, each once."""
        return tuple(dict.fromkeys(reason.clause for reason in self.reasons))

    @property
    def pending(self) -> bool:
        """Whether only a person's approval is missing."""
        return all(reason.pending for reason in self.reasons)

    def __str__(self) -> str:
        return "; ".join(map(str, self.reasons)) + "."

    def refused(self) -> Refused:
        """The same as an error, for shells that stop here."""
        fix = (
            "Look at it with `coop-node orders`, then approve or refuse it." if self.pending else ""
        )
        return Refused(str(self), clauses=self.clauses, where=f"gate {self.gate}", fix=fix)
