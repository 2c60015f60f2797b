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
    terminated: bool = False  # a quorum has ended this agreement
    approvers: frozenset[str] = frozenset()  # approver keys (hex) with a signature over the order
    release_signers: frozenset[str] = frozenset()  # "operator", approver keys (hex): over the card


@dataclass(frozen=True, slots=True)
class RosterFacts:
    """The accepted epoch: its members that vote and whose keys have not expired."""

    id: str
    epoch: int
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """This node: who it is, what it holds, how it keeps its own duties.

    ``None`` and empty mean that nobody looked, and deny wherever a clause asks.
    """

    id: str
    weeks_history: int = 0
    rows: int = 0
    installed: frozenset[str] = frozenset()  # workload digests, computed from local sources
    health: float | None = None  # 0 to 100, of the data that the order reads (c09)
    data_age_days: int | None = None  # since the newest row (c09)
    taxonomy: str = ""  # SHA-256 of the list that this node's categories are mapped to (c09)
    mapped_percent: float | None = None  # of its sales lines, 0 to 100 (c09)
    basis: str = ""  # legal basis on record here for the order's purpose (c10)
    notices: frozenset[str] = frozenset()  # SHA-256 of customer notices in use here (c11)
    overdue_requests: int | None = None  # requests of customers past their due date (c12)
    certificate_days: int | None = None  # lifetime of this node's TLS certificate (c23)
    software: str = ""  # version of datacoop that runs here (c23)
    oldest_result_days: int | None = None  # age of the oldest result kept here (c28)
    suspended_since: datetime | None = None  # this member has paused itself (c29)
    leaving_at: datetime | None = None  # this member has given notice (c29)


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
class AuditFacts:
    """What is known about the coordinator's log (c24).

    ``verified_at``: when it was last found to continue the checkpoint that this node keeps;
    ``fork``: a sentence, if two histories were ever shown; ``witnesses``: members whose fresh
    countersignature over its log the coordinator holds.
    """

    verified_at: datetime | None = None
    fork: str = ""
    witnesses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OfficeFacts:
    """What the coordinator knows of itself when it launches a run."""

    legal_id: str = ""  # of the operator's business (c04)
    country: str = ""  # ISO 3166 alpha-2, where the coordinator runs (c22)
    sub_processors: frozenset[str] | None = None  # names (c22)
    certificate_days: int | None = None  # lifetime of the server's certificate (c23)
    software: str = ""  # (c23)
    runs_paid_in_period: int | None = None  # runs in clause 19's period, without this one
    open_incidents: int | None = None  # (c25)
    overdue_notices: int | None = None  # incidents whose notice to members is late (c25)
    oldest_update_days: float | None = None  # age of the oldest kept answer of a round; 0 if none
    oldest_release_days: float | None = None  # age of the oldest release still published (c28)
    away: frozenset[str] | None = None  # members that suspended themselves or are leaving (c29)
    overdue_requests: int | None = None  # customers' requests passed on to members, late (c12)
    quality_unknown: frozenset[str] | None = None  # members that last refused for c09


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """The use terms on a release's card, and what happened to it since.

    At the release gate it is what the card would say; at the use gate what the signed card says.
    """

    licence: str
    purposes: frozenset[str]
    created: datetime
    expires: datetime
    recipients: frozenset[str]  # member ids
    contributors: frozenset[str]  # member ids whose updates are in the sums
    revoked: str = ""  # the reason, if it was revoked
    left: frozenset[str] = frozenset()  # contributors that have left since
    left_at: datetime | None = None  # when the first of them left
    uses_today: int | None = None  # on this node (c21)
    pulls_today: int | None = None  # by this member, on the coordinator (c21)


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
    approved_role: str = ""  # role of the person who approved (c06)
    house: HouseRules = NO_HOUSE_RULES
    figures: Figures | None = None
    audit: AuditFacts | None = None
    office: OfficeFacts | None = None
    release: ReleaseFacts | None = None
    frozen: str = ""  # why runs are frozen here: an incident that the coordinator announced (c25)
    newest_seen: datetime | None = None  # the latest instant in this side's ledgers: the clock
    # must not be before it (c30)

    def __post_init__(self) -> None:
        mine, audit, release = self.mine, self.audit, self.release
        for moment in (
            self.now,
            self.newest_seen,
            mine.suspended_since if mine is not None else None,
            mine.leaving_at if mine is not None else None,
            audit.verified_at if audit is not None else None,
            release.created if release is not None else None,
            release.expires if release is not None else None,
            release.left_at if release is not None else None,
        ):
            if moment is not None and moment.tzinfo is None:
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
