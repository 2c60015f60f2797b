"""What a shop's node does with data about people, one activity a row: for record and assessment.

The software knows what it does; which of it runs here follows from agreement and ledgers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocols.agreement.terms import (
    Benefit,
    Competition,
    Outputs,
    Privacy,
    Retention,
    Security,
    Sharing,
    Terms,
    cohort_floor,
)
from protocols.documents.document import Statement
from protocols.documents.given import House, Purpose, purposes
from protocols.documents.notice_words import in_words
from protocols.documents.words import span

BASIS: Final = {
    "consent": "consent, art. 6(1)(a)",
    "legitimate-interest": "legitimate interest, art. 6(1)(f)",
    "none": "none: no line is read as that of a person",
}
NOT_DECIDED: Final = "not decided"
LASTING: Final = ("keys", "vault", "node.db", "audit")
"""Places that every node has; others come and go."""


@dataclass(frozen=True, slots=True)
class Activity:
    """One processing activity, in words."""

    name: str
    purpose: str
    basis: str
    people: str
    data: str
    recipients: str
    kept: str
    sources: tuple[str, ...]


def activities(house: House) -> tuple[Activity, ...]:
    """Everything that this node does with data about people or businesses, in a fixed order."""
    found = [_records(house)]
    found += [_training(house, one) for one in purposes(house.terms)]
    found += [_answers(), _requests(), _staff()]
    return tuple(found)


def keep_words(house: House, name: str) -> str:
    """How long a table is kept."""
    table = next((one for one in house.tables if one.name == name), None)
    if table is None or table.keep_days is None:
        return NOT_DECIDED
    return f"{span(table.keep_days)}, then purged"


def _records(house: House) -> Activity:
    columns = sorted({column for one in house.tables for column in one.columns})
    return Activity(
        name="Sales records and own forecasts",
        purpose="to keep what the till sold, and to forecast own sales",
        basis="legitimate interest, art. 6(1)(f), to run the shop; confirm with your adviser",
        people="customers (under a keyed number)",
        data=in_words(columns) or "nothing imported yet",
        recipients="nobody outside this computer",
        kept=keep_words(house, "sales_line"),
        sources=("vault", "retention"),
    )


def _training(house: House, one: Purpose) -> Activity:
    terms = house.terms
    models = terms.block("c28", Retention) if terms is not None else None
    benefit = terms.block("c18", Benefit) if terms is not None else None
    return Activity(
        name=f"Training with others: {one.id}",
        purpose=f"{one.id} ({', '.join(one.workloads) or 'no workload agreed'})",
        basis=BASIS[one.basis] + (f" (assessment {one.reference})" if one.reference else ""),
        people="customers (under a keyed number)" if one.about_people else "nobody",
        data=in_words(one.columns) or "none",
        recipients=(
            "the coordinator: masked sums only; models: "
            + (benefit.recipients if benefit is not None else "unknown")
        ),
        kept=f"models {span(models.models_days)}" if models is not None else NOT_DECIDED,
        sources=(
            "clause c07",
            "clause c08",
            "clause c10",
            "clause c13",
            "clause c18",
            "clause c28",
        ),
    )


def _answers() -> Activity:
    return Activity(
        name="What customers said",
        purpose="to prove consent and to honour every no (art. 7(1), 21)",
        basis="legal obligation, art. 6(1)(c)",
        people="customers (under a keyed number)",
        data="answers for each purpose, with wording, source and time",
        recipients="nobody outside this computer",
        kept="as long as it has to be proven; decide with your adviser",
        sources=("ledger: consent",),
    )


def _requests() -> Activity:
    return Activity(
        name="Requests of customers",
        purpose="to answer and to prove it (art. 12 to 22)",
        basis="legal obligation, art. 6(1)(c)",
        people="customers (under a keyed number)",
        data="kind, days and outcome of each request",
        recipients="the coordinator: a count and run ids of erasures and corrections, never who",
        kept="as long as it has to be proven; decide with your adviser",
        sources=("ledger: requests",),
    )


def _staff() -> Activity:
    return Activity(
        name="People who use this program",
        purpose="to know who may do what, and who did it",
        basis="legitimate interest, art. 6(1)(f), in security",
        people="owner and staff",
        data="name, role, a salted hash of a passphrase, acts in the log under a short id",
        recipients="nobody outside this computer",
        kept="as long as the node is used",
        sources=("ledger: people",),
    )


def measures(house: House) -> tuple[Statement, ...]:
    """What protects the data, with the clause or file that says so."""
    terms = house.terms
    out = [
        Statement(
            "Names, e-mail, telephone, addresses, cards and staff are dropped when a file is "
            "imported; customers stand under a keyed hash whose key never leaves this computer.",
            ("software",),
        ),
        *(
            Statement(f"{one.path}: {one.protection}.", ("this computer",))
            for one in house.places
            if one.path in LASTING
        ),
        Statement("Every act is in a log that cannot be changed unnoticed.", ("journal",)),
    ]
    return (*out, *(_agreed(terms) if terms is not None else ()))


def _agreed(terms: Terms) -> Iterable[Statement]:
    privacy, competition = terms.block("c14", Privacy), terms.block("c27", Competition)
    security, outputs = terms.block("c23", Security), terms.block("c15", Outputs)
    if privacy is not None and competition is not None:
        floor = cohort_floor(privacy, competition)
        yield Statement(
            f"Secure aggregation: only sums of at least {floor} shops can be opened, also if the "
            f"coordinator and {privacy.colluders} shops work together against one.",
            ("clause c14", "clause c27"),
        )
        for one in privacy.budgets:
            yield Statement(
                f"Differential privacy for each {one.unit}: epsilon at most {one.epsilon:g} in any "
                f"{one.period_days} days at delta {one.delta:g}; the node refuses what would "
                "spend more.",
                ("clause c14",),
            )
    if outputs is not None:
        yield Statement(
            f"Only {', '.join(outputs.release)} may leave a run; never {', '.join(outputs.never)}.",
            ("clause c15",),
        )
    if security is not None:
        for text in security.measures:
            yield Statement(text, ("clause c23",))


def transfer_words(terms: Terms | None) -> tuple[str, tuple[str, ...]]:
    """Where the coordinator and who works for it are: a sentence and its sources."""
    sharing = terms.block("c22", Sharing) if terms is not None else None
    if sharing is None:
        return "Nothing leaves this computer: no agreement is signed.", ("software",)
    others = [f"{one.name} ({one.country}, {one.service})" for one in sharing.sub_processors]
    named = f"; who works for it: {'; '.join(others)}" if others else ""
    return (
        f"The coordinator is in {sharing.coordinator_country} and may be in: "
        f"{', '.join(sorted(sharing.countries))}{named}. It gets masked sums and signatures.",
        ("clause c22",),
    )
