"""A draft of the data protection impact assessment (GDPR art. 35), from what is configured here.

What the software knows is filled in with its source. What only people can judge is an open
question with the owner's name on it: an assessment that a program has answered is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocols.agreement.effects_people import quorum
from protocols.agreement.terms import (
    Competition,
    Confidentiality,
    Governance,
    LegalBasis,
    Outputs,
    Oversight,
    Privacy,
    Purposes,
    Retention,
    Rights,
    Roles,
    Term,
    Terms,
    cohort_floor,
)
from protocols.canonical import json_id
from protocols.documents import articles
from protocols.documents.activities import activities, measures, transfer_words
from protocols.documents.articles import Missing
from protocols.documents.document import Document, Facts, Items, Section, Statement, Table, gap
from protocols.documents.given import DPIA_QUESTIONS, House, Purpose, purposes

DPIA: Final = "dpia"
_BY_KEY: Final = {one.key: one for one in DPIA_QUESTIONS}
_COVERS: Final = {
    "without_personal_data": ("35(7)(b)",),
    "proportion": ("35(7)(b)",),
    "views": ("35(9)",),
    "dpo_advice": ("35(2)",),
    "residual": ("35(7)(d)",),
    "review": ("35(11)",),
}


def dpia(house: House) -> Document:
    """The draft. Its id is the version id: another agreement, purpose or measure gives another."""
    made = purposes(house.terms)
    sections = (
        Section("What is planned", tuple(_description(house, made))),
        Section("Could we do it without personal data?", tuple(_without(house, made))),
        Section("Is it necessary and proportionate?", tuple(_necessity(house, made))),
        Section("What could go wrong for people", tuple(_risks(house))),
        Section(
            "What is done against it",
            (
                Statement("As configured now:", (), ("35(7)(d)",)),
                Items(measures(house)),
                _answer(house, "residual"),
            ),
        ),
        Section("Checklist of data sharing", tuple(_sharing(house, made))),
        Section("Who was asked", (_answer(house, "dpo_advice"), _answer(house, "views"))),
        Section("When to look at it again", tuple(_reopen(house))),
    )
    title = "Data protection impact assessment (draft)"
    return Document(DPIA, title, "en", sections, house.shop.name)


def missing(document: Document) -> tuple[Missing, ...]:
    """Items of art. 35 that the draft lacks."""
    return articles.check(document, articles.needs(articles.DPIA, {}))


def reopening_id(terms: Terms | None) -> str:
    """Names what the assessment was about: 64 hex digits that change when it has to be redone.

    Purposes, legal bases, workloads by digest, privacy, outputs, recipients and countries.
    """
    blocks = {
        name: None if terms is None or name not in terms.blocks
        else terms.blocks[name].model_dump(mode="json")
        for name in ("c07", "c08", "c10", "c13", "c14", "c15", "c18", "c22", "c26", "c27")
    }  # fmt: skip
    return json_id(blocks)


def _answer(house: House, key: str) -> Statement:
    """What the owner answered, or the question as a gap."""
    question, said = _BY_KEY[key], house.shop.answers.get(key, "")
    covers = _COVERS[key]
    if not said:
        return gap(question.asks, "coop-node inventory setup --dpia", *covers)
    return Statement(f"{question.asks} {said}", ("shop.toml",), covers)


def _description(house: House, made: tuple[Purpose, ...]) -> Iterator[Statement | Table | Facts]:
    if house.coop is None:
        yield gap("no agreement is signed, so no purpose is known.", "coop-node join", "35(7)(a)")
    else:
        yield Statement(
            f"{house.coop.name}: version {house.coop.terms.version} of the agreement. The node "
            "trains on its own rows; only masked sums leave it. Nothing is decided about a person "
            "by a machine.",
            ("agreement", "clause c26"),
            ("35(7)(a)",),
        )
    rows = tuple((one.name, one.purpose, one.people, one.data) for one in activities(house))
    headers = ("activity", "purpose", "people", "data")
    yield Table("processing", "Processing", headers, rows, ("agreement", "vault"))
    lines = sum(one.rows for one in house.tables)
    said, where = transfer_words(house.terms)
    yield Facts(
        (
            ("Size", Statement(f"{house.customers} customers, {lines} rows here.", ("vault",))),
            ("Other countries", Statement(said, where)),
            (
                "Why an assessment",
                Statement(
                    "Buying habits of many people are evaluated systematically (art. 35(3)(a) "
                    "may apply), with a new technology."
                    if any(one.about_people for one in made)
                    else "No purpose reads lines as those of a person; an assessment is made "
                    "all the same.",
                    ("law", "clause c10"),
                ),
            ),
        )
    )


def _without(house: House, made: tuple[Purpose, ...]) -> Iterator[Statement | Items]:
    entries = []
    for one in made:
        if not one.about_people:
            text = f"{one.id}: yes, and we do. It reads sums per week and no customer column."
        else:
            protects = ", with noise for each customer" if one.noised else ""
            text = (
                f"{one.id}: not entirely. It learns from which purchases of one customer follow "
                f"each other; sums per shop do not show that. It reads no name: only "
                f"{', '.join(one.columns)}, under a keyed number{protects}. A model of one "
                "shop alone is trained beside it as the comparison and has to be beaten."
            )
        entries.append(Statement(text, ("clause c08", "clause c10", "clause c13", "clause c15")))
    if entries:
        yield Items(tuple(entries))
    yield _answer(house, "without_personal_data")


def _necessity(house: House, made: tuple[Purpose, ...]) -> Iterator[Statement | Facts]:
    terms = house.terms
    if terms is not None:
        yield Facts(tuple(_necessary(terms, made)))
    yield _answer(house, "proportion")


def _necessary(terms: Terms, made: tuple[Purpose, ...]) -> Iterator[tuple[str, Statement]]:
    bases = "; ".join(
        f"{one.id}: {one.basis}" + (f" ({one.reference})" if one.reference else "") for one in made
    )
    yield "Legal bases", Statement(bases, ("clause c10",))
    outputs, keep = terms.block("c15", Outputs), terms.block("c28", Retention)
    if outputs is not None:
        text = (
            f"A model is released only if it beats what each shop had before by "
            f"{outputs.min_gain_percent:g} percent, tested by {outputs.min_contributors} shops."
        )
        yield "Benefit", Statement(text, ("clause c15",))
    if keep is not None:
        text = f"hidden updates {keep.updates_hours} hours, models {keep.models_days} days"
        yield "Storage elsewhere", Statement(text, ("clause c28",))
    rights = terms.block("c12", Rights)
    if rights is not None:
        text = f"requests are answered in {rights.answer_days} days; a late one stops every run"
        yield "Rights", Statement(text, ("clause c12",))


_RISKS: Final = (
    (
        "The office, or a member, sees what one shop or customer did",
        "c14",
        "Secure aggregation; the noise stays if some collude.",
    ),
    (
        "Somebody tells from a released model whether a customer was in the data",
        "c14",
        "Differential privacy within the budget; without a budget the card says that nothing is "
        "promised.",
    ),
    (
        "Somebody asks a model a thousand times to look behind it",
        "c21",
        "Uses and fetches a day are limited; trying it is forbidden.",
    ),
    (
        "Data are used for something else",
        "c07",
        "Each run carries one agreed purpose; the node refuses every other.",
    ),
    (
        "A customer who said no is in the data",
        "c10",
        "The ledger is read before the first row; the rows of each run are committed to.",
    ),
    (
        "A customer is treated worse because of a list",
        "c26",
        "A person decides; each entry has its reasons.",
    ),
    (
        "This computer is stolen or broken into",
        "c23",
        "See the places and their protection below.",
    ),
    (
        "Competing shops learn from each other what they may not",
        "c27",
        "Least numbers of shops, most weight of one, blocked fields.",
    ),
)


def _risks(house: House) -> Iterator[Table]:
    rows = tuple(
        (risk, against, _configured(house.terms, clause), clause)
        for risk, clause, against in _RISKS
    )
    headers = ("risk to people", "measure", "as configured", "clause")
    yield Table("risks", "Risks and measures", headers, rows, ("agreement",), "", ("35(7)(c)",))


def _configured(terms: Terms | None, clause: str) -> str:
    """The figures that are in force for a risk; says so if there is none."""
    if terms is None:
        return "no agreement"
    said = ""
    if clause == "c14":
        said = _privacy_words(terms)
    elif clause == "c21" and (limits := terms.block("c21", Confidentiality)) is not None:
        said = f"{limits.max_uses_per_day} uses, {limits.max_pulls_per_day} fetches a day"
    elif clause == "c26" and (care := terms.block("c26", Oversight)) is not None:
        said = "reasons required" if care.reasons_required else "reasons not required"
    elif clause == "c27" and (fair := terms.block("c27", Competition)) is not None:
        said = f"profile {fair.profile}, at most {fair.max_weight_percent} percent of a sum"
    elif clause == "c10" and (bases := terms.block("c10", LegalBasis)) is not None:
        said = ", ".join(f"{one.purpose}: {one.basis}" for one in bases.purposes)
    return said or ("in force" if clause in terms.blocks else "not agreed")


def _privacy_words(terms: Terms) -> str:
    privacy, fair = terms.block("c14", Privacy), terms.block("c27", Competition)
    if privacy is None or fair is None:
        return "not agreed"
    said = f"sums of {cohort_floor(privacy, fair)} shops or more, {privacy.colluders} colluders"
    budgets = [
        f"epsilon {one.epsilon:g} for each {one.unit} in {one.period_days} days"
        for one in privacy.budgets
    ]
    return "; ".join([said, *(budgets or ["no privacy budget"])])


def _sharing(house: House, made: tuple[Purpose, ...]) -> Iterator[Facts | Statement]:
    """The points of the ICO's data sharing code, each answered from the agreement."""
    terms = house.terms
    if house.coop is None or terms is None:
        yield Statement("Nothing is shared: no agreement is signed.", ("software",))
        return
    roles, rules = terms.block("c04", Roles), terms.block("c05", Governance)
    uses, term = terms.block("c07", Purposes), terms.block("c30", Term)
    pairs = [
        ("Purposes", ", ".join(one.id for one in made), "clause c07"),
        ("Never for", ", ".join(uses.forbidden) if uses is not None else "", "clause c07"),
        ("Other organisations", f"the members of {house.coop.name} and the operator", "clause c01"),
        ("What is shared", "masked sums, metrics and models; no row, no customer", "clause c15"),
        ("Special categories", "blocked by name and content when a file is imported", "software"),
        ("Contact point", roles.contact if roles is not None else "", "clause c04"),
        ("Who decides", _quorum(rules), "clause c05"),
        ("Review by", f"{term.review_by:%Y-%m-%d}" if term is not None else "", "clause c30"),
    ]
    yield Facts(tuple((name, Statement(text, (source,))) for name, text, source in pairs if text))


def _quorum(rules: Governance | None) -> str:
    if rules is None:
        return ""
    return f"{quorum(rules.quorum_agreement)} have to sign a version; each node obeys only its own"


def _reopen(house: House) -> Iterator[Statement | Items]:
    yield Statement(
        f"This draft is about what stands under the mark {reopening_id(house.terms)[:16]}. "
        "Another mark means another assessment. The mark changes with:",
        ("agreement",),
        ("35(11)",),
    )
    yield Items(
        tuple(
            Statement(text, (f"clause {clause}",))
            for clause, text in (
                ("c07", "a new purpose"),
                ("c08", "another column"),
                ("c10", "another legal basis"),
                ("c13", "a new workload, or a new version of one (a new digest)"),
                ("c14", "another privacy budget, or other least numbers"),
                ("c15", "something else that may leave a run"),
                ("c18", "other recipients"),
                ("c22", "another country or sub-processor"),
            )
        )
    )
    yield Statement("Besides: an incident (clause c25), or what customers or authorities say.")
    yield _answer(house, "review")
