"""Machine blocks about who, what and how much: clauses 1, 5, 7, 8, 13 to 17, 27 and 30.

SPEC.md section 3. The blocks about duties are in ``duties``; ``terms`` puts all together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from protocols.agreement.base import (
    Column,
    Columns,
    Config,
    Document,
    Hex64,
    Name,
    Names,
    Title,
    Utc,
    Version,
    distinct,
)

SMALLEST_COHORT = 3  # secure-aggregation: a sum over two shows each the other

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Days = Annotated[int, Field(ge=0, le=3660)]
Percent = Annotated[int, Field(ge=1, le=100)]
Act = Literal["launch", "release", "revoke", "remove"]
Unit = Literal["customer"]  # whose presence noise hides: one customer of one member
Claim = Literal["none", "customer"]


class Members(Document):
    """A quorum as a plain number of members."""

    members: Annotated[int, Field(ge=1, le=1000)]

    def needed(self, n: int) -> int:
        """Signatures needed among ``n`` members."""
        return self.members


class Fraction(Document):
    """A quorum as a share of the members, rounded up."""

    numerator: Annotated[int, Field(ge=1, le=1000)]
    denominator: Annotated[int, Field(ge=1, le=1000)]

    def needed(self, n: int) -> int:
        """Signatures needed among ``n`` members: ceil(n * numerator / denominator)."""
        return -(-n * self.numerator // self.denominator)

    @model_validator(mode="after")
    def _at_most_all(self) -> Fraction:
        if self.numerator > self.denominator:
            raise ValueError("a quorum cannot be more than all members")
        return self


Quorum = Members | Fraction


class Parties(Document):
    """Clause 1: who takes part is in the roster; how few members are too few."""

    type: Literal["parties"]
    min_members: Annotated[int, Field(ge=SMALLEST_COHORT, le=1000)]


class Governance(Document):
    """Clause 5: how many signatures change what, and whose keys sign orders and releases.

    ``two_person`` names the acts for which one of ``approver_keys`` has to sign beside the
    operator; both may be empty. ``notice_days`` pass between the proposal of a new version and
    its start.
    """

    type: Literal["governance"]
    quorum_agreement: Quorum
    quorum_roster: Quorum
    quorum_terminate: Quorum
    operator_key: Hex64
    coordinator_key: Hex64
    approver_keys: Annotated[tuple[Hex64, ...], Field(max_length=20), AfterValidator(distinct)]
    two_person: Annotated[tuple[Act, ...], Field(max_length=4), AfterValidator(distinct)]
    notice_days: Days

    @model_validator(mode="after")
    def _approvers(self) -> Governance:
        if self.two_person and not self.approver_keys:
            raise ValueError(
                f"two_person asks for a second person for {', '.join(self.two_person)}, and "
                "approver_keys names none"
            )
        if {self.operator_key, self.coordinator_key} & set(self.approver_keys):
            raise ValueError(
                "approver_keys holds the operator's or the coordinator's own key; the second "
                "person needs a key of their own"
            )
        return self


class Purposes(Document):
    """Clause 7: what the data may be used for, and never."""

    type: Literal["purposes"]
    allowed: Names
    forbidden: Names


class Table(Document):
    """Columns of one canonical table that may be read."""

    table: Name
    columns: Columns


class Datasets(Document):
    """Clause 8: tables and columns that may be read for a run."""

    type: Literal["datasets"]
    tables: Annotated[tuple[Table, ...], Field(min_length=1, max_length=50)]

    @property
    def columns(self) -> frozenset[str]:
        """Every column, plain and as ``table.column``."""
        plain = {column for table in self.tables for column in table.columns}
        dotted = {f"{table.table}.{column}" for table in self.tables for column in table.columns}
        return frozenset(plain | dotted)


class WorkloadTerms(Document):
    """One recipe that may run, by the digest of its code.

    ``config`` lists the settings that an order must match exactly, ``free`` those that it may
    choose. Anything else in an order is denied. ``privacy`` is the unit whose presence the
    recipe hides with noise, ``none`` if it adds no noise and promises nothing.
    """

    id: Name
    version: Version
    digest: Hex64
    purpose: Name
    columns: Columns
    max_rounds: Annotated[int, Field(ge=1, le=100_000)]
    config: Config
    free: Annotated[tuple[Column, ...], Field(max_length=100)]
    privacy: Claim


class Workloads(Document):
    """Clause 13: the recipes that may run."""

    type: Literal["workloads"]
    workloads: Annotated[tuple[WorkloadTerms, ...], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _one_entry_per_digest(self) -> Workloads:
        if len({entry.digest for entry in self.workloads}) != len(self.workloads):
            raise ValueError("two workloads have the same digest; keep one")
        return self

    def by_digest(self, digest: str) -> WorkloadTerms | None:
        """The entry of a code digest, or nothing."""
        return next((entry for entry in self.workloads if entry.digest == digest), None)


class Budget(Document):
    """What may be spent of one unit's privacy: (epsilon, delta) over any ``period_days``."""

    unit: Unit
    epsilon: Annotated[float, Field(gt=0, le=100)]
    delta: Annotated[float, Field(gt=0, le=0.001)]
    period_days: Annotated[int, Field(ge=1, le=3660)]

    @property
    def period(self) -> timedelta:
        """How long what was spent counts."""
        return timedelta(days=self.period_days)


class Privacy(Document):
    """Clause 14: colluders C, the smallest cohort, runs and spent privacy per period.

    ``budgets`` may be empty; then no workload that promises privacy to a unit can run.
    """

    type: Literal["privacy"]
    colluders: Annotated[int, Field(ge=1, le=998)]
    min_cohort: Annotated[int, Field(ge=SMALLEST_COHORT, le=1000)]
    survivor_changes: Annotated[int, Field(ge=0, le=1000)]
    max_runs: Annotated[int, Field(ge=1, le=100_000)]
    period_days: Annotated[int, Field(ge=1, le=3660)]
    budgets: Annotated[tuple[Budget, ...], Field(max_length=10)]

    @model_validator(mode="after")
    def _one_budget_per_unit(self) -> Privacy:
        if len({one.unit for one in self.budgets}) != len(self.budgets):
            raise ValueError("two budgets have the same unit; keep one")
        return self

    def budget(self, unit: str) -> Budget | None:
        """The budget of a unit, or nothing."""
        return next((one for one in self.budgets if one.unit == unit), None)


class Outputs(Document):
    """Clause 15: what may leave a run, what never, and how good it must be."""

    type: Literal["outputs"]
    release: Names
    never: Names
    must_beat: Literal["own_baseline"]
    min_gain_percent: Annotated[float, Field(ge=0, le=100)]
    min_contributors: Annotated[int, Field(ge=SMALLEST_COHORT, le=1000)]


class Hours(Document):
    """A daily window in UTC, ``from_hour`` inclusive; it may pass midnight."""

    from_hour: Annotated[int, Field(ge=0, le=23)]
    to_hour: Annotated[int, Field(ge=1, le=24)]

    @model_validator(mode="after")
    def _lasts(self) -> Hours:
        if self.from_hour == self.to_hour:
            raise ValueError(
                "the window begins and ends at the same hour, which could mean always or never; "
                "always is from 0 to 24"
            )
        return self

    def holds(self, hour: int) -> bool:
        """Whether an hour (0 to 23) lies inside."""
        if self.from_hour < self.to_hour:
            return self.from_hour <= hour < self.to_hour
        return hour >= self.from_hour or hour < self.to_hour


class Approval(Document):
    """Clause 16: whether a person says yes to each order, and when runs may start."""

    type: Literal["approval"]
    mode: Literal["manual", "automatic"]
    hours_utc: Hours | None = None

    @model_validator(mode="after")
    def _automatic_names_its_hours(self) -> Approval:
        if self.mode == "automatic" and self.hours_utc is None:
            raise ValueError("automatic approval needs hours_utc, for example from 0 to 24")
        return self


class Contribution(Document):
    """Clause 17: least history and rows; integer weight of a member in [1, w_max]."""

    type: Literal["contribution"]
    min_weeks: Annotated[int, Field(ge=0, le=5200)]
    min_rows: Annotated[int, Field(ge=0, le=10**12)]
    w_max: Count


class Competition(Document):
    """Clause 27: competition profile A, B or C, tightened where the members wish."""

    type: Literal["competition"]
    profile: Literal["A", "B", "C"]
    min_contributors: Annotated[int, Field(ge=1, le=1000)]
    max_weight_percent: Percent  # of a sum in training
    max_share_percent: Percent  # of a figure
    min_age_days: Annotated[int, Field(ge=0, le=3660)]  # of the data in a figure
    blocked_fields: Names


class Term(Document):
    """Clause 30: from when until when; no new run after ``review_by`` without a new version."""

    type: Literal["term"]
    starts: Utc
    ends: Utc
    review_by: Utc
    law: Title
    insolvency: Literal["delete", "hand-over"]

    @model_validator(mode="after")
    def _forward(self) -> Term:
        if self.starts >= self.ends:
            raise ValueError("the term ends before it starts")
        if not self.starts < self.review_by <= self.ends:
            raise ValueError("the date of the review lies outside the term")
        return self


NEVER_RELEASED = (
    "capacity",
    "cost",
    "discount",
    "forecasts",
    "margin",
    "named_customers",
    "price",
    "prices",
    "supplier_terms",
    "wages",
)
"""What no figure or release may show, whatever the members agree."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The least that a competition profile asks for (design: competition guard)."""

    meaning: str
    min_contributors: int
    max_weight_percent: int
    max_share_percent: int
    min_age_days: int
    blocked_fields: tuple[str, ...] = NEVER_RELEASED


PROFILES: Mapping[str, Profile] = {
    "A": Profile("the members do not compete", 5, 25, 25, 90),
    "B": Profile("the same trade in other areas", 5, 25, 25, 90),
    "C": Profile("the members compete", 10, 25, 25, 365),
}
