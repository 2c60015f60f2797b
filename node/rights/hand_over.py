"""Access (GDPR art. 15) and data to take along (art. 20), from request to folder or file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from node.data.vault import Vault
from node.rights import handout
from node.rights.access import About, Score, access_document
from node.rights.case import Case, Finished
from node.rights.held import held
from node.rights.trained import models_of, proofs_of, runs_of
from node.store.requests import CustomerRequest, RequestKind
from protocols.documents.given import Shop
from protocols.errors import CoopError

if TYPE_CHECKING:
    from node.insights.churn_list import AtRisk

Scores = Callable[[str], Score]


@dataclass(frozen=True, slots=True)
class Handed:
    """What was written for the person, and what is missing in it."""

    path: Path
    names: tuple[str, ...]
    rows: int
    gaps: tuple[str, ...]
    finished: Finished


def access(
    case: Case,
    vault: Vault,
    prefix: str,
    out: Path,
    *,
    shop: Shop,
    scores: Scores,
) -> Handed:
    """Answer "what do you have about me?" with a folder.

    Args:
        case, vault: of the node.
        prefix: first digits of an open request.
        out: the folder to make; must not exist.
        shop: in its owner's words.
        scores: what the churn list says of a customer today.

    Raises:
        InputError: no such open request, or ``out`` exists.
        Refused: nobody wrote down how the person was recognised.
    """
    handout.require_free(out)
    one = case.take(prefix, RequestKind.ACCESS)
    key = one.customer_key
    runs = runs_of(case, key)
    about = About(held(case, vault, key), runs, models_of(case, runs), scores(key), shop)
    document = access_document(case, about)
    proofs, problems = proofs_of(case, key, runs)
    names = handout.write_folder(out, document, about, proofs)
    facts = {
        "rows": about.held.counts(),
        "runs": len(runs),
        "models": [model.model for model in about.models],
        "document": document.id,
        "gaps": len(document.gaps()),
    }
    finished = _finish(case, one, "answered with a folder", facts)
    gaps = tuple(f"{gap.text} {gap.supply}" for gap in document.gaps())
    return Handed(out, names, sum(about.held.counts().values()), (*gaps, *problems), finished)


def export(case: Case, vault: Vault, prefix: str, out: Path) -> Handed:
    """Write the person's data as one zip file to take along; errors as ``access``."""
    handout.require_free(out)
    one = case.take(prefix, RequestKind.EXPORT)
    here = held(case, vault, one.customer_key)
    names = handout.write_zip(out, here, case.home.clock())
    finished = _finish(case, one, "answered with a zip file", {"rows": here.counts()})
    return Handed(out, names, sum(here.counts().values()), (), finished)


def _finish(case: Case, one: CustomerRequest, how: str, facts: dict[str, object]) -> Finished:
    return case.finish(one, how, facts, subject=case.mark(one.customer_key))


def scores_of(case: Case) -> Scores:
    """Asks the churn list as it would be shown today; says in words why it says nothing."""

    def of(customer_key: str) -> Score:
        from node.advice import customers_at_risk

        try:
            advice = customers_at_risk(case.home, None)
        except CoopError as error:
            return Score(f"You stand on no list: {error.problem}")
        listed = advice.listed
        mine = next((one for one in listed.customers if one.customer_key == customer_key), None)
        if mine is None:
            return Score(
                "You stand on no list: you were not active enough, or your purchases are not "
                "looked at for this."
            )
        return _score(mine, listed.as_of.isoformat(), advice.used.model)

    return of


def _score(one: AtRisk, as_of: str, model: str) -> Score:
    reasons = tuple(
        reason.words if reason.share > 0 else f"against it: {reason.words}"
        for reason in one.reasons
    )
    return Score("", one.probability, reasons, as_of, model)
