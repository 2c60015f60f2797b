"""Words for a no, shared by the functions of the clauses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Set
from datetime import datetime, timedelta

from protocols.agreement.facts import Facts, Reason, Request
from protocols.agreement.order import Order
from protocols.agreement.terms import BLOCK_OF, TYPE_OF, Hours, Terms, Workloads, WorkloadTerms

Says = Iterator[Reason]
Check = Callable[[Terms, Request, Facts], Says]
CLOCK_SKEW = timedelta(minutes=5)  # by how much two clocks may differ
_NAMES = {clause: kind.replace("_", " ") for clause, kind in TYPE_OF.items()} | {
    "house": "house rules"
}


def no(
    clause: str,
    found: object,
    allowed: object,
    sentence: str,
    *,
    pending: bool = False,
    outside: str = "",
) -> Reason:
    """A reason under the clause's name."""
    shown = str(found) or "nothing"
    return Reason(clause, _NAMES[clause], shown, str(allowed), sentence, pending, outside)


def unknown(clause: str, what: str) -> Reason:
    """The no of a clause that asks for something nobody has looked at."""
    return no(clause, "unknown", "known", f"{what} is not known, and what is not known is denied")


def missing_clauses(terms: Terms) -> Says:
    """A no for each clause that is not there or of a wrong type."""
    sentence = "this clause is missing or unreadable; what no clause allows does not happen"
    for clause, kind in BLOCK_OF.items():
        if terms.block(clause, kind) is None:
            yield no(clause, "missing", "present", sentence)


def recipe_of(terms: Terms, order: Order) -> WorkloadTerms | None:
    """Clause 13's entry for the code that an order names, or nothing."""
    block = terms.block("c13", Workloads)
    return block.by_digest(order.workload.digest) if block is not None else None


def some(values: Set[str]) -> str:
    """Up to five of the values, in order."""
    shown = ", ".join(value[:40] for value in sorted(values)[:5])
    return shown + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def short(value: object) -> str:
    """A setting as text that fits a line; control characters of the sender are not shown."""
    text = "".join(char if char.isprintable() else "?" for char in str(value)[:200])
    return text if len(text) <= 60 else text[:57] + "..."


def eps(value: float, *, up: bool = True) -> str:
    """An epsilon with three digits after the point, rounded against the one who asks."""
    if not math.isfinite(value):
        return "an unknown amount"
    if abs(value) > 1e6:  # also so large that a thousand times as much is no number
        return "more than a million" if value > 0 else "an amount below 0"
    rounded = math.ceil(value * 1000 - 1e-9) if up else math.floor(value * 1000 + 1e-9)
    return f"{rounded / 1000:g}"


def day(moment: datetime) -> str:
    """A date as people compare it; written out because %F is not known on every system."""
    return moment.strftime("%Y-%m-%d")


def minute(moment: datetime) -> str:
    """A date and time of day."""
    return moment.strftime("%Y-%m-%d %H:%M")


def hours(clause: str, window: Hours | None, facts: Facts) -> Says:
    """A daily window in UTC, of a clause or a house rule."""
    if window is not None and not window.holds(facts.now.hour):
        span = f"{window.from_hour:02d}:00 to {window.to_hour:02d}:00 UTC"
        yield no(
            clause,
            f"{facts.now:%H:%M} UTC",
            span,
            f"runs may start from {span}, it is {facts.now:%H:%M} UTC",
        )
