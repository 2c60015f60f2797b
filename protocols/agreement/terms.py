"""The agreement: clauses that people read, with machine blocks that software obeys.

SPEC.md section 3. A machine block is known by its ``type`` and may stand in one clause only, so
that a denial can name the clause. The blocks are in ``blocks`` and ``duties``; readers take all
of them from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import Field, model_validator

from protocols.agreement.base import Document, Hex64, One, Text, Title, Version
from protocols.agreement.blocks import (
    NEVER_RELEASED,
    PROFILES,
    SMALLEST_COHORT,
    Approval,
    Budget,
    Claim,
    Competition,
    Contribution,
    Count,
    Datasets,
    Fraction,
    Governance,
    Hours,
    Members,
    Outputs,
    Parties,
    Privacy,
    Profile,
    Purposes,
    Quorum,
    Table,
    Term,
    Unit,
    Workloads,
    WorkloadTerms,
)
from protocols.agreement.duties import (
    Audit,
    Benefit,
    Confidentiality,
    Costs,
    DataRoles,
    DutyOf,
    Incidents,
    Ip,
    LegalBasis,
    Membership,
    Notice,
    NoticeText,
    Oversight,
    PurposeBasis,
    Quality,
    Retention,
    Rights,
    Roles,
    Security,
    SharedCategories,
    Sharing,
    SubProcessor,
)
from protocols.ids import AgreementId, CoopId

__all__ = [
    "BLOCK_OF",
    "KIND",
    "MANDATORY",
    "NEVER_RELEASED",
    "PROFILES",
    "SMALLEST_COHORT",
    "TEXTS",
    "TYPE_OF",
    "Agreement",
    "Approval",
    "Audit",
    "Benefit",
    "Block",
    "Budget",
    "Claim",
    "Clause",
    "Competition",
    "Confidentiality",
    "Contribution",
    "Costs",
    "Count",
    "DataRoles",
    "Datasets",
    "DutyOf",
    "Fraction",
    "Governance",
    "Hours",
    "Incidents",
    "Ip",
    "LegalBasis",
    "Machine",
    "Members",
    "Membership",
    "Notice",
    "NoticeText",
    "Outputs",
    "Oversight",
    "Parties",
    "Privacy",
    "Profile",
    "PurposeBasis",
    "Purposes",
    "Quality",
    "Quorum",
    "Retention",
    "Rights",
    "Roles",
    "Security",
    "SharedCategories",
    "Sharing",
    "SubProcessor",
    "Table",
    "Term",
    "Terms",
    "Unit",
    "Version",
    "WorkloadTerms",
    "Workloads",
    "cohort_floor",
    "weight_cap",
]

KIND = "datacoop/agreement"

Machine = (
    Parties
    | Roles
    | Governance
    | DataRoles
    | Purposes
    | Datasets
    | Quality
    | LegalBasis
    | Notice
    | Rights
    | Workloads
    | Privacy
    | Outputs
    | Approval
    | Contribution
    | Benefit
    | Costs
    | Ip
    | Confidentiality
    | Sharing
    | Security
    | Audit
    | Incidents
    | Oversight
    | Competition
    | Retention
    | Membership
    | Term
)
Block = TypeVar("Block", bound=Document)

BLOCK_OF: Mapping[str, type[Document]] = {
    "c01": Parties,
    "c04": Roles,
    "c05": Governance,
    "c06": DataRoles,
    "c07": Purposes,
    "c08": Datasets,
    "c09": Quality,
    "c10": LegalBasis,
    "c11": Notice,
    "c12": Rights,
    "c13": Workloads,
    "c14": Privacy,
    "c15": Outputs,
    "c16": Approval,
    "c17": Contribution,
    "c18": Benefit,
    "c19": Costs,
    "c20": Ip,
    "c21": Confidentiality,
    "c22": Sharing,
    "c23": Security,
    "c24": Audit,
    "c25": Incidents,
    "c26": Oversight,
    "c27": Competition,
    "c28": Retention,
    "c29": Membership,
    "c30": Term,
}
"""Clauses that software reads, and their machine blocks."""

TYPE_OF: Mapping[str, str] = {
    clause: get_args(kind.model_fields["type"].annotation)[0] for clause, kind in BLOCK_OF.items()
}
"""The same by the name of the type, as it stands in the document."""

TEXTS = ("c02", "c03")
"""Clauses that are promises in words alone."""
MANDATORY = tuple(sorted({*TYPE_OF, *TEXTS}))
"""All thirty; each must stand in every agreement."""


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
                else f"clause {self.id} is a text; it takes no machine block, found {found}"
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
    v: One
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
        missing = sorted(set(MANDATORY) - set(ids))
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
