"""What a document is made from: the shop in its owner's words, the agreement, and figures.

Shells fill these from settings, ledgers, vault and log; generators only read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from protocols.agreement.terms import LegalBasis, Purposes, Terms, Workloads

NO_DPO: Final = "none"
_EEA: Final = (
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK"
)
_ADEQUATE: Final = "AD AR CA CH FO GB GG IL IM JE JP KR NZ UY"
EEA: Final = frozenset(_EEA.split())
ADEQUATE: Final = frozenset(_ADEQUATE.split())
"""Outside the EEA with a decision of the Commission under art. 45 (2024); counsel confirms."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing about the shop that only its owner knows."""

    key: str
    asks: str
    hint: str
    needed: bool = False


QUESTIONS: Final = (
    Question("name", "What is the shop called?", "as customers know it", True),
    Question("owner", "Who owns it?", "the person or company that answers for it", True),
    Question("address", "What is its address?", "street, town, country", True),
    Question("email", "To which e-mail address may customers write?", "or fill in phone", True),
    Question("phone", "Which number may customers call?", "with the country code"),
    Question("country", "In which country is it?", "two letters, for example DE", True),
    Question(
        "dpo",
        "Who is the data protection officer?",
        "how to reach them, or 'none' if the law asks for none",
        True,
    ),
    Question(
        "authority",
        "Which authority may customers complain to?",
        "name and town of the data protection authority of your region",
        True,
    ),
    Question(
        "representative",
        "Who represents it in the EU?",
        "only for a shop outside the EU and EEA (art. 27)",
    ),
    Question(
        "interest",
        "What is it good for, where customers are not asked but may object?",
        "one sentence, for example: we want to order the right quantities",
    ),
    Question(
        "safeguards",
        "What protects data that goes to a country without an adequacy decision?",
        "for example: standard contractual clauses of 2021, copy at the shop",
    ),
    Question(
        "helpers",
        "Who besides you can use this computer or its backups?",
        "for example: IT help (Jo Doe), cloud backup (name, country); or 'nobody'",
        True,
    ),
    Question("backups", "Where do your backups lie?", "for example: a disk in the safe", True),
)
"""Asked by ``coop-node inventory setup`` and kept in ``shop.toml``."""

DPIA_QUESTIONS: Final = (
    Question(
        "without_personal_data",
        "Could you do it without personal data? Why not, or what did you try?",
        "in your words; the draft says what the software knows",
        True,
    ),
    Question("views", "What do customers, or people who speak for them, say?", "art. 35(9)", True),
    Question("dpo_advice", "What does your data protection officer advise?", "art. 35(2)", True),
    Question(
        "proportion", "Is the benefit worth it, compared with the risk to customers?", "", True
    ),
    Question("residual", "Which risk remains, and who accepted it and when?", "", True),
    Question("review", "When do you look at this again?", "a date", True),
)
"""Open questions of the assessment; asked by ``inventory setup --dpia``."""


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop in its owner's words; an empty text is not answered yet. Fields: ``QUESTIONS``.

    ``answers`` are those of ``DPIA_QUESTIONS`` by key.
    """

    name: str = ""
    owner: str = ""
    address: str = ""
    email: str = ""
    phone: str = ""
    country: str = ""
    dpo: str = ""
    authority: str = ""
    representative: str = ""
    interest: str = ""
    safeguards: str = ""
    helpers: str = ""
    backups: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)

    @property
    def contact(self) -> str:
        """E-mail and telephone, as far as they are known."""
        return ", ".join(one for one in (self.email, self.phone) if one)


@dataclass(frozen=True, slots=True)
class Coop:
    """The cooperative whose agreement this member signed last."""

    name: str
    title: str
    terms: Terms
    member: str = ""  # this member's id


@dataclass(frozen=True, slots=True)
class Purpose:
    """One purpose of clause 7, with what the other clauses say about it."""

    id: str
    basis: str  # "none", "consent", "legitimate-interest"
    reference: str
    workloads: tuple[str, ...]
    columns: tuple[str, ...]
    noised: bool

    @property
    def about_people(self) -> bool:
        """Whether lines are read as those of a person."""
        return self.basis != "none"


@dataclass(frozen=True, slots=True)
class DataTable:
    """One table of the vault.

    ``keep_days`` is None while nobody decided how long; ``late``: older rows still lie here.
    """

    name: str
    columns: tuple[str, ...]
    rows: int
    first: date | None
    last: date | None
    keep_days: int | None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """One file that was taken in."""

    when: datetime
    file: str
    table: str
    rows: int
    duplicates: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where something lies on this computer."""

    path: str
    what: str
    protection: str
    in_backup: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Scope:
    """One purpose in the ledger of what customers said."""

    scope: str
    basis: str
    assessment: str
    granted: int
    withdrawn: int
    objected: int
    restricted: int
    without_wording: int


@dataclass(frozen=True, slots=True)
class House:
    """What one node knows about itself."""

    software: str
    shop: Shop
    coop: Coop | None = None
    tables: tuple[DataTable, ...] = ()
    imports: tuple[Import, ...] = ()
    places: tuple[Place, ...] = ()
    scopes: tuple[Scope, ...] = ()
    people: tuple[tuple[str, str], ...] = ()  # name, role
    notices_in_use: tuple[str, ...] = ()  # SHA-256
    customers: int = 0
    open_requests: int = 0

    @property
    def terms(self) -> Terms | None:
        """What this member signed last."""
        return self.coop.terms if self.coop is not None else None


def purposes(terms: Terms | None) -> tuple[Purpose, ...]:
    """Every purpose of clause 7, by name."""
    if terms is None:
        return ()
    allowed = terms.block("c07", Purposes)
    bases, recipes = terms.block("c10", LegalBasis), terms.block("c13", Workloads)
    out = []
    for name in sorted(allowed.allowed if allowed is not None else ()):
        basis = bases.of(name) if bases is not None else None
        own = [one for one in (recipes.workloads if recipes else ()) if one.purpose == name]
        out.append(
            Purpose(
                id=name,
                basis=basis.basis if basis is not None else "none",
                reference=(basis.reference or "") if basis is not None else "",
                workloads=tuple(f"{one.id} {one.version}" for one in own),
                columns=tuple(sorted({column for one in own for column in one.columns})),
                noised=any(one.privacy != "none" for one in own),
            )
        )
    return tuple(out)


def abroad(countries: frozenset[str]) -> tuple[str, ...]:
    """Those of some countries that are outside the EEA, by code."""
    return tuple(sorted(countries - EEA))
