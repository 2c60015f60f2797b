"""How often the set of survivors may change by a few (secagg SPEC section 2.8).

Updates of neighbouring rounds are alike, so two sums over sets that differ by a few members
show, roughly, those few. A set counts as a *near change* when it differs from the set of the
round before it and lies within 1 to n_min - 1 members of any earlier set of the run. A member
that drops out for one round therefore costs two: once when it leaves, once when it returns.

Runs whose sums carry noise for each customer need no such limit: what a difference of two sums
shows of a customer is bounded by the same noise, and counted in the budget.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from protocols.agreement.facts import Reason
from protocols.agreement.order import Order
from protocols.agreement.saying import recipe_of
from protocols.agreement.terms import Privacy, Terms

CLAUSE = "c14"
NAME = "privacy"


def change_limit(terms: Terms, order: Order) -> int | None:
    """How many near changes the run of an order may have; None if any number.

    Zero if the agreement does not say.
    """
    entry, block = recipe_of(terms, order), terms.block("c14", Privacy)
    if entry is None or block is None:
        return 0
    return block.survivor_changes if entry.privacy == "none" else None


def near_changes(sets: Sequence[Set[str]], n_min: int) -> int:
    """How many of the sets, in order of rounds, are near changes."""
    return sum(_is_near(sets[:i], one, n_min) for i, one in enumerate(sets))


def survivor_change(
    previous: Sequence[Set[str]], new: Set[str], n_min: int, allowed: int | None
) -> Reason | None:
    """Whether a run may go on over the survivors ``new``.

    Args:
        previous: survivor sets of the rounds before, oldest first.
        new: the set that the coordinator proposes.
        n_min: smallest number of survivors.
        allowed: near changes that clause 14 allows per run; None for any number.

    Returns:
        Nothing, or why not.
    """
    if len(new) < n_min:
        return Reason(
            CLAUSE,
            NAME,
            str(len(new)),
            f"at least {n_min}",
            f"{len(new)} members are left, at least {n_min} must be in every sum",
        )
    count = near_changes(previous, n_min) + _is_near(previous, new, n_min)
    if allowed is not None and count > allowed and _is_near(previous, new, n_min):
        return Reason(
            CLAUSE,
            NAME,
            str(count),
            f"at most {allowed}",
            f"the members in the sum would change by fewer than {n_min} for the {count}. time, "
            f"{allowed} are allowed; comparing such sums could show single members",
        )
    return None


def _is_near(previous: Sequence[Set[str]], new: Set[str], n_min: int) -> bool:
    if not previous or new == previous[-1]:
        return False
    return any(1 <= len(earlier ^ new) < n_min for earlier in previous)
