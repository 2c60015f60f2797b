"""The agreement: clauses that people read, with machine blocks that software obeys.

SPEC.md section 3. A machine block is known by its ``type`` and may stand in one clause only, so
that a denial can name the clause. A new clause is a new block class and a line in ``TYPE_OF``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from protocols.agreement.base import (
    Column,
    Columns,
    Config,
    Document,
    Hex64,
    Name,
    Names,
    Text,
    Title,
    Utc,
)
from protocols.ids import AgreementId, CoopId

KIND = "datacoop/agreement"
SMALLEST_COHORT = 3  # secure-aggregation: a sum over two shows each the other

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Unit = Literal["customer"]  # whose presence noise hides: one customer of one member
Claim = Literal["none", "customer"]
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,31}$")]


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
    """Clause 5: how many signatures change what, and whose keys sign orders and releases."""

    type: Literal["governance"]
    quorum_agreement: Quorum
    quorum_roster: Quorum
    operator_key: Hex64
    coordinator_key: Hex64


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
    max_weight_percent: Annotated[int, Field(ge=1, le=100)]


class Term(Document):
    """Clause 30: from when until when."""

    type: Literal["term"]
    starts: Utc
    ends: Utc

    @model_validator(mode="after")
    def _forward(self) -> Term:
        if self.starts >= self.ends:
            raise ValueError("the term ends before it starts")
        return self


Machine = (
    Parties
    | Governance
    | Purposes
    | Datasets
    | Workloads
    | Privacy
    | Outputs
    | Approval
    | Contribution
    | Competition
    | Term
)
Block = TypeVar("Block", bound=Document)

TYPE_OF: Mapping[str, str] = {
    "c01": "parties",
    "c05": "governance",
    "c07": "purposes",
    "c08": "datasets",
    "c13": "workloads",
    "c14": "privacy",
    "c15": "outputs",
    "c16": "approval",
    "c17": "contribution",
    "c27": "competition",
    "c30": "term",
}
"""Clauses that software reads; each must stand in every agreement."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The least that a competition profile asks for (design: competition guard)."""

    meaning: str
    min_contributors: int
    max_weight_percent: int


PROFILES: Mapping[str, Profile] = {
    "A": Profile("the members do not compete", 5, 25),
    "B": Profile("the same trade in other areas", 5, 25),
    "C": Profile("the members compete", 10, 25),
}
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


class Clause(Document):
    """One clause: what people read and, where software enforces it, what software reads."""

    id: Annotated[str, Field(pattern=r"^c(0[1-9]|[12][0-9]|30)$")]
    title: Title
    plain_text: Text
    enforced_by: Literal["node", "coordinator", "both", "attested"]
    machine: Annotated[Machine, Field(discriminator="type")] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Clause:
        expected = TYPE_OF.get(self.id)
        found = self.machine.type if self.machine is not None else None
        if found != expected:
            raise ValueError(
                f"clause {self.id} needs a machine block of type {expected}, found {found}"
                if expected
                else f"clause {self.id} takes no machine block in this version, found {found}"
            )
        if (expected is None) != (self.enforced_by == "attested"):
            raise ValueError(
                f"clause {self.id} says enforced_by {self.enforced_by!r}; software enforces "
                "exactly the clauses with a machine block, the others are 'attested'"
            )
        return self


class Agreement(Document):
    """One version of the agreement. ``prev`` is the id of the version that it replaces."""

    kind: Literal["datacoop/agreement"]
    v: Literal[1]
    coop: Hex64
    version: Count
    prev: Hex64 | None
    title: Title
    clauses: Annotated[tuple[Clause, ...], Field(min_length=1, max_length=30)]

    @model_validator(mode="after")
    def _complete(self) -> Agreement:
        ids = [clause.id for clause in self.clauses]
        if ids != sorted(set(ids)):
            raise ValueError("the clauses stand out of order or twice; expected c01, c02, ...")
        missing = sorted(set(TYPE_OF) - set(ids))
        if missing:
            raise ValueError(f"mandatory clauses are missing: {', '.join(missing)}")
        if (self.version == 1) != (self.prev is None):
            raise ValueError("version 1 has no prev; every later version names the one before")
        return self


@dataclass(frozen=True, slots=True)
class Terms:
    """What software reads of one agreement version: its name and its machine blocks.

    ``blocks`` may lack a clause or hold one of a wrong type; ``block`` then returns nothing and
    the decision denies.
    """

    id: AgreementId
    coop: CoopId
    version: int
    blocks: Mapping[str, Document]

    def block(self, clause: str, kind: type[Block]) -> Block | None:
        """The machine block of a clause if it is there and of the right type."""
        found = self.blocks.get(clause)
        return found if isinstance(found, kind) else None


def cohort_floor(privacy: Privacy, competition: Competition, colluders: int = 0) -> int:
    """The smallest cohort: max(C + 2, 3, clause 14, competition profile) (secagg SPEC 2.2)."""
    return max(
        max(privacy.colluders, colluders) + 2,
        SMALLEST_COHORT,
        privacy.min_cohort,
        competition.min_contributors,
        PROFILES[competition.profile].min_contributors,
    )


def weight_cap(n_min: int) -> int:
    """Largest w_max that keeps each member at or under 25 % whatever the others do."""
    return max(1, (n_min - 1) // 3)
