"""Sentences and lists that a template needs besides its figures: made from the same figures.

``template`` fills them in, so that what people read and what software reads cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]
Recipes = Sequence[Mapping[str, Any]]

_DUTY_WORDS = {
    "information": "telling customers what happens",
    "requests": "answering customers who ask",
    "breach": "reporting a leak",
    "security": "keeping the computers safe",
    "contact": "being there for questions",
}
USUAL_DUTIES = (
    ("information", "member"),
    ("requests", "member"),
    ("breach", "cooperative"),
    ("security", "operator"),
    ("contact", "member"),
)
_WHO = {
    "member": "each member for its own customers",
    "cooperative": "the members together",
    "operator": "the operator",
}
_RECIPIENTS = {
    "members": "every member on the list gets every released model, large or small.",
    "contributors": "a released model goes to the members that helped to make it.",
}
_PAST = {
    "keep": "Models that you helped to train are kept: no row of yours is in them.",
    "retire": "Models that you helped to train are no longer used from the day you leave.",
    "retrain": "Models that you helped to train are made again without you.",
}
_INSOLVENCY = {
    "delete": "If the operator can no longer pay, everything on its server is deleted.",
    "hand-over": "If the operator can no longer pay, another operator that the members choose "
    "takes over the server.",
}


def duties(recipes: Recipes, figures: Figures) -> dict[str, Any]:
    """Values of the clauses about duties: 4, 9, 10, 11, 18, 19, 22, 23, 25, 26, 29 and 30."""
    return {
        **_responsible(figures),
        "category_words": _categories(figures.get("taxonomy")),
        **_customers(recipes, figures),
        **_office(figures),
        **_results(figures),
    }


def _categories(agreed: Any) -> str:
    """What clause 9 says of the shared list of categories."""
    if not isinstance(agreed, Mapping):
        return "Each member keeps its own names of categories."
    return (
        f"All members mean the same by a category: each maps the names of its own till to the list "
        f"{agreed.get('id')}, at least for {agreed.get('min_mapped_percent')} % of its sales lines."
    )


def _responsible(figures: Figures) -> dict[str, Any]:
    joint = figures.get("controller") == "joint"
    pairs = figures.get("duties") or [{"duty": duty, "by": by} for duty, by in USUAL_DUTIES]
    words = [f"{_DUTY_WORDS.get(one['duty'], one['duty'])}: {_WHO[one['by']]}" for one in pairs]
    two = figures.get("two_person") or []
    return {
        "duties": pairs,
        "duty_words": "; ".join(words),
        "controller_words": "the members together" if joint else "each member for itself",
        "two_person_words": (
            f"for {', '.join(map(str, two))}" if two else "for nothing; the operator alone signs"
        ),
    }


def _customers(recipes: Recipes, figures: Figures) -> dict[str, Any]:
    """Legal bases and notices follow from the workloads: only noise hides customers' lines."""
    claims: dict[str, str] = {}
    for one in recipes:
        purpose, claim = str(one["purpose"]), str(one.get("privacy", "none"))
        claims[purpose] = claim if claim != "none" else claims.get(purpose, "none")
    basis = str(figures.get("basis", "consent"))
    bases, words = [], []
    for purpose in sorted(claims):
        found = basis if claims[purpose] != "none" else "none"
        consent, interest = found == "consent", found == "legitimate-interest"
        bases.append(
            {
                "purpose": purpose,
                "basis": found,
                "scope": purpose if consent else None,
                "reference": figures.get("basis_reference") if interest else None,
            }
        )
        if consent:
            words.append(f"For {purpose} you read only lines of customers who said yes to it.")
        elif interest:
            words.append(
                f"For {purpose} you rely on a legitimate interest "
                f"({figures.get('basis_reference')}); customers may object."
            )
        else:
            words.append(f"For {purpose} no line is read as that of a person.")
    asked = [str(one["purpose"]) for one in bases if one["basis"] != "none"]
    texts = [{"locale": figures.get("notice_locale"), "text": figures.get("notice_text")}]
    return {
        "legal_bases": bases,
        "basis_words": " ".join(words),
        "notice_purposes": asked,
        "notice_texts": texts if asked else [],
        "notice_words": (
            f"Before a run for {', '.join(asked)} your customers have to be told, in these words: "
            f'"{figures.get("notice_text")}" Say to your computer where you put it up.'
            if asked
            else "No purpose here needs a notice to customers."
        ),
    }


def _office(figures: Figures) -> dict[str, Any]:
    others = figures.get("sub_processors") or []
    names = [f"{one['name']} ({one['country']}, {one['service']})" for one in others]
    cost, cap = int(figures.get("run_cost_cents") or 0), int(figures.get("period_cap_cents") or 0)
    money, days = figures.get("currency"), figures.get("cost_days")
    free = figures.get("cost_method") == "none"
    return {
        "sub_processor_words": (
            f"These work for the operator: {'; '.join(names)}."
            if names
            else "Nobody else works for the operator."
        ),
        "cost_words": (
            "Nobody pays for runs."
            if free
            else f"A run costs {cost / 100:.2f} {money}, shared equally among the members. In "
            f"{days} days runs cost at most {cap / 100:.2f} {money} together; a run that would "
            "cost more is not started."
        ),
        "measures_words": " ".join(map(str, figures.get("measures") or [])),
        "freeze_words": (
            "While it is open, no run starts and no result is used."
            if figures.get("freeze")
            else "Runs go on unless a member stops."
        ),
        "insolvency_words": _INSOLVENCY.get(str(figures.get("insolvency")), ""),
    }


def _results(figures: Figures) -> dict[str, Any]:
    slices = figures.get("slices") or []
    recipients = _RECIPIENTS.get(str(figures.get("recipients")), "")
    if figures.get("recipients") == "contributors":
        recipients += (
            f" A member helped if it is in at least {figures.get('min_rounds_percent')} percent "
            "of the sums."
        )
    past = _PAST.get(str(figures.get("past_models")), "")
    if figures.get("past_models") == "retrain":
        past += f" The old ones may be used for {figures.get('retrain_days')} more days."
    return {
        "recipients_words": recipients,
        "past_words": past,
        "foreground_words": (
            "members together" if figures.get("foreground") == "members" else "cooperative"
        ),
        "reasons_words": (
            "Each list of customers gives the reasons for each entry."
            if figures.get("reasons_required")
            else "Lists need not give reasons."
        ),
        "slices_words": (
            f"A model has to be equally good for: {', '.join(map(str, slices))}."
            if slices
            else "No groups of customers are compared with each other."
        ),
    }
