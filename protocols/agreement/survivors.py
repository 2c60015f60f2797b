"""How often the set of survivors may change by a few (secagg SPEC section 2.8).

Updates of neighbouring rounds are alike, so two sums over sets that differ by a few members
show, roughly, those few. A set counts as a *near change* when it differs from the set of the
round before it and lies within 1 to n_min - 1 members of any earlier set of the run. A member
that drops out for one round therefore costs two: once when it leaves, once when it returns.

Runs whose sums carry noise for each customer need no such limit: what a difference of two sums
shows of a customer is bounded by the same noise, and counted in the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    return _near_before(_frozen(sets), n_min)


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
    earlier = _frozen(previous)
    if allowed is None or not _is_near(earlier, new, n_min):
        return None
    count = _near_before(earlier, n_min) + 1
    if count > allowed:
        return Reason(
            CLAUSE,
            NAME,
            str(count),
            f"at most {allowed}",
            f"the members in the sum would change by fewer than {n_min} for the {count}. time, "
            f"{allowed} are allowed; comparing such sums could show single members",
        )
    return None


Sets = tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class _History:
    """Earlier sets as rows of bits, so that ten thousand of them are compared at once.

    Args:
        places: the bit of each member that was ever in a set.
        rows: the distinct sets in order of first appearance, uint64 of shape (sets, words).
        order: the row of each set, in order of rounds.
    """

    places: Mapping[str, int]
    rows: NDArray[np.uint64]
    order: tuple[int, ...]

    def distances(self, bits: NDArray[np.uint64]) -> NDArray[np.int64]:
        """By how many members each distinct set differs from one of the same members."""
        found: NDArray[np.int64] = np.bitwise_count(self.rows ^ bits).sum(axis=1, dtype=np.int64)
        return found

    def bits(self, members: Set[str]) -> NDArray[np.uint64]:
        """One row; members that were never in a set have no bit."""
        row: NDArray[np.uint64] = _rows([members & self.places.keys()], self.places)[0]
        return row


def _frozen(sets: Sequence[Set[str]]) -> Sets:
    return tuple(map(frozenset, sets))


@lru_cache(maxsize=8)  # a ledger is asked about many times between two of its entries
def _history(sets: Sets) -> _History:
    numbers: dict[frozenset[str], int] = {}
    order = tuple(numbers.setdefault(one, len(numbers)) for one in sets)
    members = dict.fromkeys(member for one in numbers for member in one)
    places = {member: at for at, member in enumerate(members)}
    return _History(places, _rows(list(numbers), places), order)


def _rows(sets: Sequence[Set[str]], places: Mapping[str, int]) -> NDArray[np.uint64]:
    words = max(1, -(-len(places) // 64))
    table = np.zeros((len(sets), words * 64), dtype=np.bool_)
    at: NDArray[Any] = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    table[at, np.fromiter((places[m] for one in sets for m in one), np.int64, len(at))] = True
    return np.packbits(table, axis=1).view(np.uint64)


@lru_cache(maxsize=8)
def _near_before(sets: Sets, n_min: int) -> int:
    """Near changes in a whole history, each set compared with those before it."""
    history = _history(sets)
    nearest: dict[int, int] = {}  # the first row that lies near a row, or one after the last
    count = newest = 0
    for before, row in zip(history.order, history.order[1:], strict=False):
        if row != before:
            if row not in nearest:
                found = history.distances(history.rows[row])
                near = np.flatnonzero((found >= 1) & (found < n_min))
                nearest[row] = int(near[0]) if len(near) else len(history.rows)
            count += nearest[row] <= newest
        newest = max(newest, row)
    return count


def _is_near(previous: Sets, new: Set[str], n_min: int) -> bool:
    if not previous or new == previous[-1]:
        return False
    history = _history(previous)
    found = history.distances(history.bits(new)) + len(new - history.places.keys())
    return bool(((found >= 1) & (found < n_min)).any())
