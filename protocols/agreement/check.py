"""The linter: what is wrong with an agreement before anybody signs it (SPEC.md section 7).

The schema says whether a document can be read; this says whether it makes sense, and whether it
is fair. The rules are in ``check_people``, ``check_customers``, ``check_runs``, ``check_sums``,
``check_results`` and ``check_texts``; each is a function of the blocks that yields findings.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from protocols.agreement import (
    check_customers,
    check_people,
    check_results,
    check_runs,
    check_sums,
    check_texts,
)
from protocols.agreement.findings import Finding, Found, Level, error
from protocols.agreement.terms import TYPE_OF, Agreement, Terms

__all__ = ["RULES", "Finding", "Level", "check", "errors"]


def check(agreement: Agreement, terms: Terms, now: datetime) -> tuple[Finding, ...]:
    """All findings, errors first, then by clause."""
    found = [*_missing(terms), *check_texts.texts(agreement, terms)]
    for rule in _RULES:
        found += rule(terms)
    found += check_people.term(terms, now)
    return tuple(sorted(found, key=lambda one: (one.level is not Level.ERROR, one.clause)))


def errors(found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those that have to be put right before anybody signs."""
    return tuple(one for one in found if one.level is Level.ERROR)


def _missing(terms: Terms) -> Found:
    for clause in sorted(set(TYPE_OF) - set(terms.blocks)):
        yield error(
            "clause-missing",
            clause,
            "",
            f"the clause on {TYPE_OF[clause]} is missing.",
            "Everything would be denied.",
        )


_RULES: tuple[Callable[[Terms], Found], ...] = (
    *check_people.RULES,
    *check_customers.RULES,
    *check_runs.RULES,
    *check_sums.RULES,
    *check_results.RULES,
)
RULES: tuple[str, ...] = tuple(
    sorted(
        {
            "clause-missing",
            *check_people.NAMES,
            *check_customers.NAMES,
            *check_runs.NAMES,
            *check_sums.NAMES,
            *check_results.NAMES,
            *check_texts.NAMES,
        }
    )
)
"""The names of all rules; the tests break each of them."""
