"""A new import against the weeks before: hardly a false alarm, and true shifts are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from node.data import drift
from node.data.drift import USUAL_WEEKS, Weeks, compare, js_distance
from shop_rows import DAYS, LAST, Row, RowsVault, sound

TRIALS = 400
CATEGORIES = 12


def stationary(
    source: np.random.Generator, weekly: float = 300, new: int = 1, spread: float = 0.1
) -> Weeks:
    """Weeks of one shop in which nothing changes: more varied than chance alone (spread)."""
    count = new + USUAL_WEEKS
    level = weekly * np.exp(source.normal(0, spread, count))
    receipts = source.poisson(level / 2.5) + 1.0
    lines = receipts + source.poisson(receipts * 1.5)
    base = source.dirichlet(np.full(CATEGORIES, 2.0))
    mix = np.array([source.multinomial(int(n), source.dirichlet(base * 200)) for n in lines])
    named = np.clip(0.4 + source.normal(0, 0.02, count), 0, 1)
    nameless = source.binomial(lines.astype(int), named).astype(float)
    names = tuple(f"c{k}" for k in range(CATEGORIES))
    return Weeks(lines, receipts, lines, nameless, mix.astype(float), names)


def same_prices(source: np.random.Generator) -> list[tuple[float, float]]:
    prices = source.uniform(1, 50, 40)
    now = prices * np.where(source.random(40) < 0.3, np.exp(source.normal(0, 0.1, 40)), 1)
    return list(zip(prices, now, strict=True))


@pytest.mark.parametrize(("new", "most"), [(1, 0.03), (4, 0.01)])
@pytest.mark.parametrize("weekly", [60, 2000])
def test_false_alarms_on_weeks_in_which_nothing_changes(
    new: int, most: float, weekly: float
) -> None:
    source = np.random.default_rng(20250301 + new)
    alarms = sum(
        bool(compare(stationary(source, weekly, new), new, same_prices(source)))
        for _ in range(TRIALS)
    )
    assert alarms / TRIALS <= most


def test_resampling_the_weeks_of_one_shop_raises_hardly_an_alarm() -> None:
    """Bootstrap: the weeks of one history, drawn anew in any order, departs from nothing."""
    source = np.random.default_rng(7)
    one = stationary(source, 400, 4)
    alarms = 0
    for _ in range(TRIALS):
        k = source.integers(0, len(one.lines), len(one.lines))
        drawn = Weeks(
            one.lines[k], one.receipts[k], one.numbered[k], one.nameless[k], one.mix[k], one.names
        )
        alarms += bool(compare(drawn, 4, []))
    assert alarms / TRIALS <= 0.03


def halved(weeks: Weeks, new: int) -> Weeks:
    factor = np.where(np.arange(len(weeks.lines)) < new, 0.4, 1.0)
    return replace(
        weeks, lines=weeks.lines * factor, receipts=weeks.receipts * factor,
        numbered=weeks.numbered * factor, nameless=weeks.nameless * factor,
        mix=weeks.mix * factor[:, None],
    )  # fmt: skip


def renamed(weeks: Weeks, new: int) -> Weeks:
    mix = weeks.mix.copy()
    largest, second = np.argsort(-mix.sum(axis=0))[:2]
    mix[:new, second] += mix[:new, largest]
    mix[:new, largest] = 0
    return replace(weeks, mix=mix)


def nameless(weeks: Weeks, new: int) -> Weeks:
    changed = weeks.nameless.copy()
    changed[:new] = weeks.lines[:new]
    return replace(weeks, nameless=changed)


def split(weeks: Weeks, new: int) -> Weeks:
    receipts = weeks.receipts.copy()
    receipts[:new] = weeks.numbered[:new]
    return replace(weeks, receipts=receipts)


@pytest.mark.parametrize(
    ("change", "measure", "words"),
    [
        (halved, "level", "% less"),
        (renamed, "mix", " to 0%"),
        (nameless, "without_customer", "100% of the lines name no customer"),
        (split, "basket", "1.0 lines on a receipt"),
    ],
)
@pytest.mark.parametrize("new", [2, 4])
def test_a_true_shift_is_found_and_said_in_words(
    change: Callable[[Weeks, int], Weeks], measure: str, words: str, new: int
) -> None:
    source = np.random.default_rng(11)
    found = 0
    for _ in range(20):
        weeks = change(stationary(source, 800, new), new)
        departures = {one.measure: one for one in compare(weeks, new, same_prices(source))}
        if measure in departures:
            found += 1
            assert words in departures[measure].sentence
            assert departures[measure].check.startswith("Check ")
    assert found >= 19


@pytest.mark.parametrize(("factor", "words"), [(1.19, "19% more"), (0.01, "99% less")])
def test_a_new_level_of_prices_is_found(factor: float, words: str) -> None:
    source = np.random.default_rng(3)
    weeks = stationary(source, 800, 4)
    shifted = [(old, now * factor) for old, now in same_prices(source)]
    found = compare(weeks, 4, shifted)
    assert [one.measure for one in found] == ["prices"]
    assert words in found[0].sentence
    assert compare(weeks, 4, shifted[:4]) == ()  # too few articles to tell


def test_too_few_usual_weeks_say_nothing() -> None:
    weeks = halved(stationary(np.random.default_rng(1), 800, 2), 2)
    lines = weeks.lines.copy()
    lines[9:] = 0
    assert compare(replace(weeks, lines=lines), 2, []) == ()


def test_the_distance_of_mixes() -> None:
    a, b = np.array([1.0, 0.0]), np.array([0.0, 3.0])
    assert js_distance(a, a) == 0
    assert js_distance(a, b) == 1
    # by hand: p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4)
    by_hand = ((np.log2(4 / 3)) / 2 + (0.5 * np.log2(2 / 3) + 0.5 * np.log2(2)) / 2) ** 0.5
    assert js_distance(a, np.array([1.0, 1.0])) == pytest.approx(by_hand)


# --- from rows ---------------------------------------------------------------------------------

ROWS = sound()
MONTH = LAST - timedelta(days=27)


def in_month(row: Row) -> bool:
    return bool(row["business_date"] >= MONTH)


def test_a_sound_month_departs_from_nothing() -> None:
    assert drift.after(RowsVault(ROWS), MONTH, LAST) == ()
    assert drift.after(RowsVault(ROWS), LAST - timedelta(days=DAYS - 1), LAST) == ()
    assert drift.after(RowsVault(), MONTH, LAST) == ()
    assert drift.after(RowsVault(ROWS), LAST, LAST) == ()  # a single day


def test_a_month_that_lacks_a_till_departs_in_level_and_mix() -> None:
    rows = [r for r in ROWS if not in_month(r) or r["category"] in ("bread", "milk")]
    found = drift.after(RowsVault(rows), MONTH, LAST)
    assert [one.measure for one in found] == ["level", "mix"]
    assert "14 lines a week in this import, 35 in the weeks before: 60% less" in found[0].sentence
    assert "20% to 50%" in found[1].sentence


def test_a_month_with_tax_in_the_price_departs_in_prices() -> None:
    rows = [
        r | {"unit_price": r["unit_price"] * Decimal("1.2")} if in_month(r) else r for r in ROWS
    ]
    assert [one.measure for one in drift.after(RowsVault(rows), MONTH, LAST)] == ["prices"]


def test_an_old_period_is_held_against_the_weeks_before_it() -> None:
    early = LAST - timedelta(days=60)
    rows = [r for r in ROWS if not (0 <= (early - r["business_date"]).days < 14
                                    and r["category"] != "tea")]  # fmt: skip
    found = drift.after(RowsVault(rows), early - timedelta(days=13), early)
    assert [one.measure for one in found] == ["level", "mix"]
