"""One contract for what a node remembers of rounds: the fake of the simulator and the real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node.federation.participant import Ledgers
from protocols.errors import Refused
from sim_nodes import MemoryLedgers, sqlite_ledgers

RUN, OTHER = b"\x01" * 16, b"\x02" * 16
ALL = frozenset("abcdefgh")
FLOOR, ALLOWED = 5, 2
Open = Callable[[], Ledgers]


@pytest.fixture(params=["memory", "sqlite"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Gives the ledgers; called again, what a new process of the node finds."""
    if request.param == "sqlite":
        return lambda: sqlite_ledgers(tmp_path / "node.db", ALLOWED)
    kept = MemoryLedgers(ALLOWED)
    return lambda: kept


def test_a_round_is_spent_once_also_by_the_next_process(reopened: Open) -> None:
    reopened().mark_spent(RUN, 1)
    with pytest.raises(Refused, match="spent before") as caught:
        reopened().mark_spent(RUN, 1)
    assert caught.value.clauses == ("c14",)
    reopened().mark_spent(RUN, 2)
    reopened().mark_spent(OTHER, 1)


def test_too_few_survivors_are_refused(reopened: Open) -> None:
    with pytest.raises(Refused, match="4 members are left, at least 5"):
        reopened().admit_survivors(RUN.hex(), 1, frozenset("abcd"), FLOOR)
    reopened().admit_survivors(RUN.hex(), 1, frozenset("abcde"), FLOOR)


def test_near_changes_are_counted_over_the_run(reopened: Open) -> None:
    less = ALL - {"h"}
    for number, members in enumerate((ALL, less, ALL), start=1):
        reopened().admit_survivors(RUN.hex(), number, members, FLOOR)
    reopened().admit_survivors(RUN.hex(), 4, ALL, FLOOR)
    with pytest.raises(Refused, match=r"for the 3\. time") as caught:
        reopened().admit_survivors(RUN.hex(), 5, ALL - {"a"}, FLOOR)
    assert caught.value.clauses == ("c14",)
    reopened().admit_survivors(RUN.hex(), 5, ALL, FLOOR)  # the refused set left no trace
    reopened().admit_survivors(OTHER.hex(), 5, ALL - {"a"}, FLOOR)  # another run starts afresh


def test_a_round_has_one_set(reopened: Open) -> None:
    reopened().admit_survivors(RUN.hex(), 1, ALL, FLOOR)
    reopened().admit_survivors(RUN.hex(), 1, ALL, FLOOR)
    with pytest.raises(Refused, match="other survivors"):
        reopened().admit_survivors(RUN.hex(), 1, ALL - {"a"}, FLOOR)


def test_rounds_that_it_missed_count_as_well(reopened: Open) -> None:
    """Else a coordinator could leave out one after the other, and each would miss a change."""
    reopened().admit_survivors(RUN.hex(), 1, ALL, FLOOR)
    reopened().keep_survivors(RUN.hex(), 2, ALL - {"h"})
    reopened().keep_survivors(RUN.hex(), 2, ALL - {"h"})
    reopened().admit_survivors(RUN.hex(), 3, ALL, FLOOR)
    with pytest.raises(Refused, match=r"for the 3\. time"):
        reopened().admit_survivors(RUN.hex(), 4, ALL - {"h"}, FLOOR)


def test_what_was_published_counts_and_not_what_was_only_agreed_to(reopened: Open) -> None:
    """A coordinator that lets one member sign a set alone cannot bend that member's history."""
    reopened().admit_survivors(RUN.hex(), 1, ALL, FLOOR)
    with pytest.raises(Refused, match="other survivors"):
        reopened().admit_survivors(RUN.hex(), 1, ALL - {"a"}, FLOOR)
    reopened().keep_survivors(RUN.hex(), 1, ALL - {"a"})
    for number in range(2, 2 + ALLOWED):
        reopened().admit_survivors(RUN.hex(), number, ALL - {"bc"[number % 2]}, FLOOR)
    with pytest.raises(Refused, match="for the 3"):
        reopened().admit_survivors(RUN.hex(), 2 + ALLOWED, ALL - {"a"}, FLOOR)
