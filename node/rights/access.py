"""The answer to "what do you have about me?" (GDPR art. 15), as a document for the person.

Everything in it comes from the vault, the ledgers, the journal and the agreement; what only the
shop's owner knows comes from the shop's own page (``shop.toml``) or is named as missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from node.data.stages import Basis
from node.rights.case import Case
from node.rights.held import Held
from node.rights.trained import RunIn, Trained
from protocols.agreement.terms import Retention, Roles, Sharing, Terms
from protocols.documents.document import (
    Block,
    Document,
    Facts,
    Items,
    Section,
    Statement,
    Table,
    gap,
)
from protocols.documents.given import Shop
from protocols.documents.given import purposes as purposes_of

KIND: Final = "access"
SETUP: Final = "coop-node inventory setup"
_PERIODS: Final = {
    "sales_line": "Purchases, from their day",
    "customer": "Customer record, from the last purchase",
    "quarantine": "Rows that could not be used, from their import",
}
_SUMS: Final = "no data about you is read; only sums of units, without you if you object"
_BASES: Final = {
    Basis.CONSENT.value: "your consent (art. 6(1)(a)); you can take it back at any time",
    Basis.LEGITIMATE_INTEREST.value: "our legitimate interest (art. 6(1)(f)); you can object",
    Basis.NONE.value: _SUMS,
    "none": _SUMS,
}


@dataclass(frozen=True, slots=True)
class Score:
    """What the churn list says of the person today, or why it says nothing.

    Args:
        text: in words; empty if there is a probability.
        probability: of no purchase within the horizon.
        reasons: in words.
        as_of: the last day that was known, ISO.
        model: id of the shared model.
    """

    text: str
    probability: float | None = None
    reasons: tuple[str, ...] = ()
    as_of: str = ""
    model: str = ""

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "text": self.text,
            "probability": self.probability,
            "reasons": list(self.reasons),
            "as_of": self.as_of,
            "model": self.model,
            "decided_automatically": False,
        }


@dataclass(frozen=True, slots=True)
class About:
    """What an answer is made from."""

    held: Held
    runs: tuple[RunIn, ...]
    models: tuple[Trained, ...]
    score: Score
    shop: Shop


def access_document(case: Case, about: About) -> Document:
    """The document; the same facts give the same one."""
    sections = (
        Section("Who answers you", tuple(_who(case, about.shop))),
        Section("What is here", tuple(_what(about.held))),
        Section("What it is used for, and why we may", (_purposes(case),)),
        Section("Who receives it", tuple(_recipients(case.terms))),
        Section("How long it is kept", tuple(_kept(case))),
        Section("Where it came from", (_sources(about.held),)),
        Section("What you said and asked for", (about.held.said, about.held.asked)),
        Section("Automated assessments", tuple(_assessed(about.score))),
        Section("Training runs and models", tuple(_trained(about.runs, about.models))),
        Section("Your rights", tuple(_rights(about.shop))),
    )
    made = f"Made on {case.home.clock():%Y-%m-%d}."
    title = "What is on record about you"
    return Document(KIND, title, "en", sections, about.shop.name, (made,))


def _who(case: Case, shop: Shop) -> Iterator[Block]:
    if shop.name and shop.contact:
        said = Statement(", ".join(filter(None, (shop.name, shop.address))), ("shop.toml",))
        yield Facts((("Shop", said), ("Contact", Statement(shop.contact, ("shop.toml",)))))
    else:
        yield gap("name, address and contact of the shop.", SETUP, "15(1)")
    if shop.dpo:
        yield Facts((("Data protection officer", Statement(shop.dpo, ("shop.toml",))),))
    roles = case.terms.block("c04", Roles) if case.terms is not None else None
    if roles is not None:
        joint = "decides jointly with the shops" if roles.controller == "joint" else "advises them"
        text = f"The cooperative {joint} how models are trained. Contact: {roles.contact}."
        yield Statement(text, ("clause c04",))


def _what(held: Held) -> Iterator[Block]:
    yield Statement(
        "You stand here under a code that is made from your customer number with a secret of this "
        "shop. Names, addresses, e-mail, telephone and card numbers are not kept by this program. "
        "The tables beside this page hold every row.",
        ("vault",),
        ("15(1)(b)", "15(3)"),
    )
    rows = tuple((one.caption, str(len(one.rows)), f"{one.name}.csv") for one in held.tables)
    yield Table("held", "Tables", ("what", "rows", "file"), rows, ("vault",))


def _purposes(case: Case) -> Table:
    status = {one.scope: one for one in case.consents.status()}
    agreed = {one.id: one for one in purposes_of(case.terms)}
    rows = []
    for name in sorted({*status, *agreed}):
        here = status.get(name)
        basis = here.basis.basis if here is not None else agreed[name].basis
        reference = here.basis.assessment if here is not None else ""
        words = _BASES.get(basis, basis) + (f"; assessment {reference}" if reference else "")
        rows.append((name, words, "yes" if name in agreed else "no"))
    return Table(
        "purposes",
        "Purposes",
        ("purpose", "legal basis", "in the agreement"),
        tuple(rows),
        ("clause c07", "clause c10", "ledger: consent"),
        "Nothing is used for anything yet.",
        ("15(1)(a)",),
    )


def _recipients(terms: Terms | None) -> Iterator[Block]:
    yield Statement(
        "Your data stays on this shop's computer. Nobody else receives a row about you.",
        ("software",),
        ("15(1)(c)",),
    )
    sharing = terms.block("c22", Sharing) if terms is not None else None
    if sharing is None:
        return
    yield Statement(
        "From training, the cooperative's office (in "
        f"{sharing.coordinator_country}) receives encrypted vectors of which it can open only the "
        "sum over several shops. The members receive the model that follows from these sums.",
        ("clause c22",),
    )
    if sharing.sub_processors:
        yield Items(
            tuple(
                Statement(f"{one.name} ({one.country}): {one.service}", ("clause c22",))
                for one in sharing.sub_processors
            )
        )


def _kept(case: Case) -> Iterator[Block]:
    days = case.home.retention_days
    law = ("15(1)(d)",)
    yield Facts(
        tuple(
            (words, Statement(f"{days[table]} days", ("config.toml",), law))
            for table, words in _PERIODS.items()
        )
    )
    block = case.terms.block("c28", Retention) if case.terms is not None else None
    if block is not None:
        yield Statement(
            f"Hidden updates are kept for {block.updates_hours} hours at most, models for "
            f"{block.models_days} days, logs without names for {block.logs_days} days.",
            ("clause c28",),
            ("15(1)(d)",),
        )


def _sources(held: Held) -> Block:
    return Table(
        "sources",
        "Exports of the shop's own till or web shop",
        ("file", "first day", "last day"),
        held.sources,
        ("vault",),
        "Nothing was imported.",
        ("15(1)(g)",),
    )


def _assessed(score: Score) -> Iterator[Block]:
    yield Statement(
        "Nothing is decided about you by a machine alone. A list of customers who may not come "
        "back helps the owner to decide; you may ask for a person to look at it, say what you "
        "think and contest it.",
        ("clause c26", "software"),
        ("15(1)(h)", "22"),
    )
    if score.probability is None:
        yield Statement(score.text, ("software",))
        return
    yield Statement(
        f"As of {score.as_of} it says: {score.probability:.0%} that you do not buy within the "
        "horizon of the model. What speaks for or against it:",
        (f"model {score.model[:16]}",),
    )
    yield Items(tuple(Statement(one) for one in score.reasons))


def _trained(runs: Sequence[RunIn], models: Sequence[Trained]) -> Iterator[Block]:
    yield Table(
        "runs",
        "Runs that read your purchases",
        ("run", "purpose", "legal basis", "day", "entry of this shop's log"),
        tuple(
            (r.run, r.scope, _BASES.get(r.basis, r.basis), r.at[:10], str(r.entry)) for r in runs
        ),
        ("journal",),
        "None.",
    )
    yield Table(
        "models",
        "Models that came from these runs",
        ("model", "run", "state here", "what hides you in it"),
        tuple((m.model, m.run, m.state, m.statement) for m in models),
        ("release cards",),
        "None.",
    )
    yield Statement(
        "It cannot be told which steps of a run used your rows: they are drawn at random, and no "
        "list is kept.",
        ("software",),
    )


def _rights(shop: Shop) -> Iterator[Block]:
    yield Items(
        tuple(
            Statement(text, ("law",), (article,))
            for text, article in (
                ("have wrong data put right", "16"),
                ("have your data erased", "17"),
                ("have its use restricted", "18"),
                ("take your data with you", "20"),
                ("object to its use, at any time", "21"),
                ("take back your consent, as easily as you gave it", "7(3)"),
            )
        )
    )
    if shop.authority:
        text = f"You can complain to a supervisory authority: {shop.authority}."
        yield Statement(text, ("shop.toml",), ("15(1)(f)",))
    else:
        yield gap("the authority to which people can complain.", SETUP, "15(1)(f)")
