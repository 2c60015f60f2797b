"""Budgets: what is admitted never spends more than the limit, in any order, in any window."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import InputError
from protocols.privacy import accountant
from protocols.privacy.budget import Limit, Line, admits, spent
from protocols.privacy.events import NoisedSums

START = datetime(2026, 3, 1, tzinfo=UTC)
LIMIT = Limit("customer", 2.0, 1e-6, 365)


def sums(z: float, steps: int = 1, unit: str = "customer") -> NoisedSums:
    return NoisedSums(unit, z, 1.0, steps)  # type: ignore[arg-type]


def line(z: float, day: float = 0, state: str = "settled", unit: str = "customer") -> Line:
    at = START + timedelta(days=day)
    return Line(unit, (sums(z, unit=unit),), at, state)  # type: ignore[arg-type]


def test_runs_are_composed_in_one_account() -> None:
    lines = [line(10.0, day) for day in range(12)]
    together = spent(lines, "customer", 1e-6)
    assert together == accountant.epsilon([sums(10.0, 12)], 1e-6)
    assert together < 12 * spent(lines[:1], "customer", 1e-6) / 2


def test_reserved_counts_like_settled() -> None:
    settled, reserved = line(5.0), line(5.0, state="reserved")
    assert spent([settled], "customer", 1e-6) == spent([reserved], "customer", 1e-6)


def test_units_have_accounts_of_their_own() -> None:
    lines = [line(5.0), line(3.0, unit="member")]
    assert spent(lines, "customer", 1e-6) == accountant.epsilon([sums(5.0)], 1e-6)
    assert spent(lines, "member", 1e-6) == accountant.epsilon([sums(3.0)], 1e-6)


def test_old_lines_leave_the_period_and_stay_in_the_lifetime() -> None:
    lines = [line(4.0, 0), line(4.0, 200)]
    now = START + timedelta(days=366)
    answer = admits(lines, [sums(4.0)], LIMIT, now)
    assert answer.before == accountant.epsilon([sums(4.0)], 1e-6)
    assert answer.after == accountant.epsilon([sums(4.0, 2)], 1e-6)
    assert answer.lifetime == accountant.epsilon([sums(4.0, 3)], 1e-6)
    edge = admits(lines, [sums(4.0)], LIMIT, START + timedelta(days=365))
    assert edge.after == answer.lifetime  # exactly a period ago still counts


def test_a_clock_put_back_forgets_nothing() -> None:
    answer = admits([line(4.0, 100)], [sums(4.0)], LIMIT, START)
    assert answer.after == accountant.epsilon([sums(4.0, 2)], 1e-6)


def test_the_limit_itself_fits_and_a_little_more_does_not() -> None:
    cost = accountant.epsilon([sums(5.0)], 1e-6)
    exact = Limit("customer", cost, 1e-6, 365)
    assert admits([], [sums(5.0)], exact, START).ok
    assert not admits([], [sums(4.999)], exact, START).ok
    assert not admits([line(1e5)], [sums(5.0)], exact, START).ok


def test_what_nothing_bounds_is_not_admitted() -> None:
    event = NoisedSums("customer", 5.0, 1.0, 1, sampler_distance=1e-3)
    answer = admits([], [event], Limit("customer", 1e9, 1e-6, 365), START)
    assert answer.after == math.inf
    assert not answer.ok


requests = st.tuples(
    st.floats(2.0, 60.0),  # z
    st.integers(1, 20),  # steps
    st.integers(0, 200),  # days since the one before
    st.booleans(),  # settled in time
)


@settings(max_examples=60, deadline=None)
@given(st.lists(requests, min_size=1, max_size=14), st.randoms(use_true_random=False))
def test_no_sequence_of_admitted_reservations_spends_more(
    asked: list[tuple[float, int, int, bool]], shuffler: random.Random
) -> None:
    lines: list[Line] = []
    now = START
    for z, steps, days, settle in asked:
        now += timedelta(days=days)
        shuffler.shuffle(lines)
        answer = admits(lines, [sums(z, steps)], LIMIT, now)
        assert answer.before <= answer.after <= answer.lifetime
        if answer.ok:
            state = "settled" if settle else "reserved"
            lines.append(Line("customer", (sums(z, steps),), now, state))  # type: ignore[arg-type]
    for first in lines:  # every window that begins with a line
        end = first.at + timedelta(days=LIMIT.period_days)
        inside = [one for one in lines if first.at <= one.at <= end]
        assert spent(inside, "customer", LIMIT.delta) <= LIMIT.epsilon
        shuffler.shuffle(inside)
        assert spent(inside, "customer", LIMIT.delta) <= LIMIT.epsilon


@settings(max_examples=20, deadline=None)
@given(st.permutations([(3.0, 0), (8.0, 10), (8.0, 20), (30.0, 300), (12.0, 500)]))
def test_the_order_of_the_ledger_does_not_matter(rows: list[tuple[float, int]]) -> None:
    lines = [line(z, day) for z, day in rows]
    now = START + timedelta(days=510)
    assert admits(lines, [sums(9.0)], LIMIT, now) == admits(
        sorted(lines, key=lambda one: one.at), [sums(9.0)], LIMIT, now
    )


def test_malformed_entries_are_refused() -> None:
    with pytest.raises(InputError, match="has events"):
        Line("customer", (), START, "settled")
    with pytest.raises(InputError, match="of its unit"):
        Line("customer", (sums(1.0, unit="member"),), START, "settled")
    with pytest.raises(InputError, match="state"):
        Line("customer", (sums(1.0),), START, "open")  # type: ignore[arg-type]
    naive = START.replace(tzinfo=None)
    with pytest.raises(InputError, match="time zone"):
        Line("customer", (sums(1.0),), naive, "settled")
    with pytest.raises(InputError, match="has events"):
        admits([], [], LIMIT, START)
    with pytest.raises(InputError, match="of its unit"):
        admits([], [sums(1.0, unit="member")], LIMIT, START)
    with pytest.raises(InputError, match="time zone"):
        admits([], [sums(1.0)], LIMIT, naive)


@pytest.mark.parametrize(
    "figures",
    [
        ("shop", 1.0, 1e-6, 365),
        ("customer", 0.0, 1e-6, 365),
        ("customer", math.inf, 1e-6, 365),
        ("customer", math.nan, 1e-6, 365),
        ("customer", 1.0, 0.0, 365),
        ("customer", 1.0, 1.0, 365),
        ("customer", 1.0, 1e-6, 0),
    ],
)
def test_a_limit_that_limits_nothing_is_refused(figures: tuple[str, float, float, int]) -> None:
    with pytest.raises(InputError, match="budget"):
        Limit(*figures)  # type: ignore[arg-type]
