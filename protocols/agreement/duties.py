"""Machine blocks about duties: roles, quality, legal basis, rights, results, office, membership.

SPEC.md section 3: clauses 4, 6, 9 to 12, 18 to 26, 28 and 29. The others are in ``blocks``.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from protocols.agreement.base import (
    Always,
    Document,
    Hex64,
    Name,
    Names,
    Never,
    Text,
    Title,
    Version,
    distinct,
)

MAX_ANSWER_DAYS = 31  # GDPR art. 12(3): one month
MAX_NOTIFY_HOURS = 72  # GDPR art. 33(1)

Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Countries = Annotated[
    tuple[Country, ...], Field(min_length=1, max_length=250), AfterValidator(distinct)
]
Locale = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")]
MaybeNames = Annotated[tuple[Name, ...], Field(max_length=100), AfterValidator(distinct)]
Days = Annotated[int, Field(ge=0, le=3660)]
SomeDays = Annotated[int, Field(ge=1, le=3660)]
Percent = Annotated[int, Field(ge=0, le=100)]
PerDay = Annotated[int, Field(ge=1, le=1_000_000)]
Duty = Literal["information", "requests", "breach", "security", "contact"]
DUTIES: tuple[Duty, ...] = ("information", "requests", "breach", "security", "contact")
NodeRole = Literal["owner", "steward", "custodian", "viewer"]
NodeRoles = Annotated[
    tuple[NodeRole, ...], Field(min_length=1, max_length=4), AfterValidator(distinct)
]
Basis = Literal["none", "consent", "legitimate-interest"]


class DutyOf(Document):
    """Who fulfils one duty of data-protection law towards customers."""

    duty: Duty
    by: Literal["member", "cooperative", "operator"]


class Roles(Document):
    """Clause 4: who is responsible, whose business operates, who answers for what."""

    type: Literal["roles"]
    controller: Literal["joint", "each"]
    operator_legal_id: Title
    contact: Title
    duties: Annotated[tuple[DutyOf, ...], Field(min_length=1, max_length=5)]

    @model_validator(mode="after")
    def _each_duty_once(self) -> Roles:
        found = [one.duty for one in self.duties]
        if sorted(found) != sorted(DUTIES):
            raise ValueError(f"each duty stands exactly once: {', '.join(DUTIES)}")
        return self


class DataRoles(Document):
    """Clause 6: which role on a node may sign, approve orders and take results out."""

    type: Literal["data_roles"]
    sign_agreement: NodeRoles
    approve_orders: NodeRoles
    export_results: NodeRoles

    @model_validator(mode="after")
    def _viewers_only_look(self) -> DataRoles:
        if "viewer" in (*self.sign_agreement, *self.approve_orders):
            raise ValueError("a viewer can neither sign the agreement nor approve orders")
        return self


class SharedCategories(Document):
    """One list of categories that all members map their own names to, by its fingerprint.

    The list itself is installed or brought as a file (protocols/taxonomy/SPEC.md).
    """

    id: Name
    sha256: Hex64
    min_mapped_percent: Percent


class Quality(Document):
    """Clause 9: how healthy and how recent data must be to take part, and which categories count.

    ``taxonomy`` holds for orders that read ``category_code``; null leaves names to each member.
    """

    type: Literal["quality"]
    min_health: Percent
    max_age_days: SomeDays
    taxonomy: SharedCategories | None = None


class PurposeBasis(Document):
    """Why customers' lines may be read for one purpose (GDPR art. 6)."""

    purpose: Name
    basis: Basis
    scope: Name | None
    reference: Text | None

    @model_validator(mode="after")
    def _complete(self) -> PurposeBasis:
        if self.basis == "consent" and self.scope is None:
            raise ValueError(f"the basis of {self.purpose!r} is consent; name the scope asked for")
        if self.basis == "legitimate-interest" and self.reference is None:
            raise ValueError(
                f"the basis of {self.purpose!r} is legitimate interest; name the assessment"
            )
        return self


class LegalBasis(Document):
    """Clause 10: the legal basis of each purpose."""

    type: Literal["legal_basis"]
    purposes: Annotated[tuple[PurposeBasis, ...], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _one_basis_a_purpose(self) -> LegalBasis:
        if len({one.purpose for one in self.purposes}) != len(self.purposes):
            raise ValueError("a purpose stands twice; it has one legal basis")
        return self

    def of(self, purpose: str) -> PurposeBasis | None:
        """The entry of a purpose, or nothing."""
        return next((one for one in self.purposes if one.purpose == purpose), None)


class NoticeText(Document):
    """What customers are told, in one language. The SHA-256 of its UTF-8 bytes names it."""

    locale: Locale
    text: Text

    @property
    def digest(self) -> str:
        """64 hex digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Notice(Document):
    """Clause 11: purposes for which customers have to be told, and in which words."""

    type: Literal["notice"]
    purposes: MaybeNames
    texts: Annotated[tuple[NoticeText, ...], Field(max_length=50)]

    @model_validator(mode="after")
    def _texts_if_purposes(self) -> Notice:
        if self.purposes and not self.texts:
            raise ValueError("purposes need a notice, and texts holds none")
        if len({one.locale for one in self.texts}) != len(self.texts):
            raise ValueError("two texts have the same locale; keep one")
        return self


class Rights(Document):
    """Clause 12: days to answer a customer's request, and by how many they may be extended."""

    type: Literal["rights"]
    answer_days: Annotated[int, Field(ge=1, le=MAX_ANSWER_DAYS)]
    extend_days: Annotated[int, Field(ge=0, le=62)]


class Benefit(Document):
    """Clause 18: who gets a result. A contributor is in that share of the run's sums."""

    type: Literal["benefit"]
    recipients: Literal["contributors", "members"]
    min_rounds_percent: Percent


class Costs(Document):
    """Clause 19: how runs are paid for, and the most that they may cost in a period."""

    type: Literal["costs"]
    method: Literal["equal", "none"]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    run_cost_cents: Annotated[int, Field(ge=0, le=10**9)]
    period_cap_cents: Annotated[int, Field(ge=0, le=10**12)]
    period_days: SomeDays


class Ip(Document):
    """Clause 20: the licence of results, what they may be used for and for how long."""

    type: Literal["ip"]
    licence: Name
    uses: Names
    use_days: SomeDays
    foreground: Literal["members", "cooperative"]


class Confidentiality(Document):
    """Clause 21: how often a result may be used and fetched; nobody tries to look behind it."""

    type: Literal["confidentiality"]
    max_uses_per_day: PerDay
    max_pulls_per_day: PerDay
    no_reidentification: Always
    no_inversion: Always


class SubProcessor(Document):
    """Somebody who works for the coordinator."""

    name: Title
    country: Country
    service: Title


class Sharing(Document):
    """Clause 22: nothing is passed on; in which countries and by whom the coordinator runs."""

    type: Literal["sharing"]
    onward: Never
    countries: Countries
    coordinator_country: Country
    sub_processors: Annotated[tuple[SubProcessor, ...], Field(max_length=50)]
    notice_days: Days

    @model_validator(mode="after")
    def _each_once(self) -> Sharing:
        if len({one.name for one in self.sub_processors}) != len(self.sub_processors):
            raise ValueError("a sub-processor stands twice; keep one")
        return self


class Security(Document):
    """Clause 23: lifetime of certificates, oldest software, other measures in words."""

    type: Literal["security"]
    max_certificate_days: SomeDays
    min_software: Version
    measures: Annotated[tuple[Text, ...], Field(min_length=1, max_length=50)]


class Audit(Document):
    """Clause 24: how fresh a checked log must be, and how many members must have witnessed it."""

    type: Literal["audit"]
    max_checkpoint_age_hours: Annotated[int, Field(ge=1, le=8784)]
    witnesses: Annotated[int, Field(ge=0, le=1000)]
    spot_check_percent: Percent
    keep_days: SomeDays


class Incidents(Document):
    """Clause 25: hours to tell the members, and whether runs stop while one is open."""

    type: Literal["incidents"]
    notify_hours: Annotated[int, Field(ge=1, le=MAX_NOTIFY_HOURS)]
    freeze: bool


class Oversight(Document):
    """Clause 26: slices in which a model must be fair, reasons, and a person who decides."""

    type: Literal["oversight"]
    slices: MaybeNames
    reasons_required: bool
    human_decision: Always


class Retention(Document):
    """Clause 28: how long hidden updates, results and logs are kept."""

    type: Literal["retention"]
    updates_hours: Annotated[int, Field(ge=1, le=8784)]
    models_days: SomeDays
    logs_days: SomeDays


class Membership(Document):
    """Clause 29: notice of leaving, and what becomes of models that a leaver helped to train."""

    type: Literal["membership"]
    leave_notice_days: Days
    past_models: Literal["keep", "retire", "retrain"]
    retrain_days: Days
    suspend_at_once: Always
