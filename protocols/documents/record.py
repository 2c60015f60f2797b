"""The record of processing (GDPR art. 30): of a shop as controller, of the office as processor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from protocols.agreement.terms import Roles, Sharing, Terms
from protocols.documents import articles
from protocols.documents.activities import NOT_DECIDED, activities, measures, transfer_words
from protocols.documents.articles import Missing
from protocols.documents.document import Document, Facts, Items, Section, Statement, Table, gap
from protocols.documents.essence import matrix
from protocols.documents.given import NO_DPO, Coop, House, Shop

RECORD: Final = "record"
_SETUP: Final = "coop-node inventory setup"
_HEADERS: Final = (
    "activity", "purpose", "legal basis", "people", "data", "recipients", "kept",
)  # fmt: skip


def record(house: House) -> Document:
    """The controller's record, art. 30(1)."""
    found = activities(house)
    rows = tuple(
        (one.name, one.purpose, one.basis, one.people, one.data, one.recipients, one.kept)
        for one in found
    )
    sources = tuple(sorted({source for one in found for source in one.sources}))
    covers = ("30(1)(b)", "30(1)(c)", "30(1)(d)", "30(1)(f)")
    said, where = transfer_words(house.terms)
    sections = (
        Section("Who is responsible", (Facts(tuple(responsible(house))),)),
        Section(
            "What is done",
            (
                Table("activities", "Processing activities", _HEADERS, rows, sources, "", covers),
                *_open(house, rows),
            ),
        ),
        *((Section("Who answers for what", (matrix(house),)),) if house.coop is not None else ()),
        Section("Other countries", (Statement(said, where, ("30(1)(e)",)),)),
        Section(
            "Security",
            (
                Statement("Measures that the software takes, as set here:", (), ("30(1)(g)",)),
                Items(measures(house)),
            ),
        ),
    )
    title = "Record of processing activities"
    return Document(RECORD, title, "en", sections, house.shop.name)


def missing(document: Document, house: House) -> tuple[Missing, ...]:
    """Items of art. 30(1) that the record lacks."""
    shop = house.shop
    values = {"30(1)(a)": (shop.name, shop.owner, shop.address, shop.contact)}
    return articles.check(document, articles.needs(articles.RECORD, values))


def responsible(house: House) -> Iterator[tuple[str, Statement]]:
    """The controller, joint controllers, officer, representative, as facts (art. 30(1)(a))."""
    shop = house.shop
    for name, value, option in (
        ("Shop", shop.name, "--name"),
        ("Controller", shop.owner, "--owner"),
        ("Address", shop.address, "--address"),
        ("Contact", shop.contact, "--email or --phone"),
    ):
        yield name, _known(value, f"{name.lower()} of the shop.", f"{_SETUP} {option}")
    yield "Data protection officer", _officer(shop)
    if shop.representative:
        yield "Representative", Statement(shop.representative, ("shop.toml",), ("30(1)(a)",))
    roles = house.terms.block("c04", Roles) if house.terms is not None else None
    if house.coop is not None and roles is not None:
        text = (
            f"the members of {house.coop.name} together, for training purposes"
            if roles.controller == "joint"
            else f"none: each member of {house.coop.name} for itself"
        )
        yield "Joint controllers", Statement(text, ("clause c04",), ("30(1)(a)",))
        operator = f"{roles.operator_legal_id} (operates the coordinator)"
        yield "Processor", Statement(operator, ("clause c04",), ("30(1)(d)",))
    helpers = _known(shop.helpers, "who else can use this computer.", f"{_SETUP} --helpers")
    covered = Statement(helpers.text, helpers.sources, ("30(1)(d)",), helpers.supply)
    yield "Who else can use this computer", covered


def _known(value: str, what: str, supply: str) -> Statement:
    if not value:
        return gap(what, supply, "30(1)(a)")
    return Statement(value, ("shop.toml",), ("30(1)(a)",))


def _officer(shop: Shop) -> Statement:
    if not shop.dpo:
        return gap("the data protection officer, or 'none'.", f"{_SETUP} --dpo", "30(1)(a)")
    text = "none; the owner says that the law asks for none" if shop.dpo == NO_DPO else shop.dpo
    return Statement(text, ("shop.toml",), ("30(1)(a)",))


def _open(house: House, rows: tuple[tuple[str, ...], ...]) -> Iterator[Statement]:
    if any(row[-1] == NOT_DECIDED for row in rows):
        yield gap("how long sales are kept.", articles.ITEMS["30(1)(f)"].supply, "30(1)(f)")
    if not house.tables or not any(one.rows for one in house.tables):
        yield gap("no data were imported yet.", articles.ITEMS["30(1)(c)"].supply, "30(1)(c)")


# ---------------------------------------------------------------------------- the office


@dataclass(frozen=True, slots=True)
class Office:
    """What the coordinator knows about itself; empty texts are not set.

    ``members`` are (name, legal id, region) of the active ones; ``contacts`` counts people of
    the office.
    """

    name: str
    legal_id: str
    country: str
    contact: str
    dpo: str
    sub_processors: tuple[str, ...]
    members: tuple[tuple[str, str, str], ...]
    people: int
    software: str
    terms: Terms | None = None


_PROCESSING: Final = (
    (
        "Secure aggregation of training updates",
        "masked vectors in, sums over at least the agreed number of members out",
        "clause c28: deleted after the agreed hours",
        "clause c14",
    ),
    (
        "Evaluation of sums, making and sealing of releases",
        "models and metrics made from sums",
        "clause c28: deleted after the agreed days",
        "clause c15",
    ),
    (
        "Relaying of signed documents",
        "agreements, lists of members, orders, revocations, notices of members",
        "clause c28: kept with the log",
        "clause c24",
    ),
    (
        "Counts of erased, corrected and restricted customers per run",
        "a number and run ids; never who",
        "kept with the log",
        "clause c12",
    ),
)
_OWN: Final = (
    (
        "Contacts of members and people of the office (as controller)",
        "names of businesses, register numbers, keys; names and roles of people of the office",
        "while they are members, then with the log",
        "register of members",
    ),
)


def processor_record(office: Office) -> Document:
    """The office's record, art. 30(2), with what it does as controller of its own contacts."""
    facts = tuple(_office_facts(office))
    rows = tuple(tuple(row[:3]) for row in (*_PROCESSING, *_OWN))
    sources = tuple(sorted({row[3] for row in (*_PROCESSING, *_OWN)}))
    sharing = office.terms.block("c22", Sharing) if office.terms is not None else None
    others = ", ".join(office.sub_processors) or "nobody"
    allowed = ", ".join(sorted(sharing.countries)) if sharing is not None else ""
    where: Statement = (
        Statement(
            f"The server stands in {office.country}. Who works for the office: {others}."
            + (f" Agreed countries: {allowed}." if allowed else ""),
            ("config.toml", "clause c22"),
            ("30(2)(c)",),
        )
        if office.country
        else gap("the country of the server.", articles.ITEMS["30(2)(c)"].supply, "30(2)(c)")
    )
    sections = (
        Section("Who", (Facts(facts),)),
        Section(
            "Controllers on whose behalf",
            (
                Table(
                    "controllers",
                    "Members",
                    ("name", "register number", "region"),
                    office.members,
                    ("register of members",),
                    "No member has joined yet: coop-coordinator member invite NAME.",
                    ("30(2)(a)",),
                ),
            ),
        ),
        Section(
            "Processing",
            (
                Table(
                    "processing",
                    "Kinds of processing",
                    ("processing", "data", "kept"),
                    rows,
                    sources,
                    "",
                    ("30(2)(b)",),
                ),
            ),
        ),
        Section("Other countries", (where,)),
        Section("Security", tuple(_office_measures(office))),
    )
    return Document(RECORD, "Record of processing (processor)", "en", sections, office.name)


def processor_missing(document: Document, office: Office) -> tuple[Missing, ...]:
    """Items of art. 30(2) that the record lacks."""
    values = {"30(2)(a)": (office.name,)}
    return articles.check(document, articles.needs(articles.PROCESSOR_RECORD, values))


def _office_facts(office: Office) -> Iterator[tuple[str, Statement]]:
    yield "Cooperative", Statement(office.name, ("coop.json",), ("30(2)(a)",))
    for name, value, key in (
        ("Operator's business", office.legal_id, "legal_id"),
        ("Contact", office.contact, "contact"),
        ("Data protection officer", office.dpo, "dpo"),
    ):
        if value:
            yield name, Statement(value, ("config.toml",), ("30(2)(a)",))
        else:
            yield name, gap(f"{name.lower()}.", f"set {key} in config.toml", "30(2)(a)")
    yield "People of the office", Statement(str(office.people), ("register of people",))


def _office_measures(office: Office) -> Iterator[Statement | Items]:
    yield Statement("Measures that the software takes, as agreed:", (), ("30(2)(d)",))
    coop = Coop(office.name, office.name, office.terms) if office.terms is not None else None
    own = (
        "Every connection is encrypted (TLS); on the link both sides show a certificate.",
        "The office never has a row, an update of one member or a key of one.",
        "Every act is in a log whose heads the members countersign.",
    )
    agreed = [
        one
        for one in measures(House(office.software, Shop(), coop))
        if one.sources[0].startswith("clause")
    ]
    yield Items((*(Statement(text, ("software",)) for text in own), *agreed))
