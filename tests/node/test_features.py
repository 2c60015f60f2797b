"""Weekly rows into panel, inputs and targets; who may ask for them."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "training"))
from shop_series import FIRST, NAMES, NOW, checked, config, last_day, permit, weekly

from node.data import features
from protocols.errors import InputError, Refused
from protocols.permit import Gate
from protocols.workloads import demand

MONDAY = FIRST


def rows(*values: tuple[str, int, float]) -> pd.DataFrame:
    """(category, week number, units)."""
    return pd.DataFrame(
        [
            (name, pd.Timestamp(MONDAY + timedelta(weeks=week)), units)
            for name, week, units in values
        ],
        columns=["category_code", "week_start", "units"],
    )


def test_missing_weeks_are_zero_after_the_first_sale_and_unknown_before() -> None:
    seen = features.panel(
        rows(("milk", 0, 5), ("milk", 3, 2), ("bread", 2, 7)), "monday", last_day(5)
    )
    assert seen.categories == ("bread", "milk")
    assert seen.weeks == 5
    np.testing.assert_array_equal(seen.units, [[np.nan, np.nan, 7, 0, 0], [5, 0, 0, 2, 0]])
    assert seen.week(2) == MONDAY + timedelta(weeks=2)


def test_a_week_that_has_only_begun_is_left_out() -> None:
    table = rows(("milk", 0, 5), ("milk", 1, 6), ("milk", 2, 1))
    assert features.panel(table, "monday", last_day(3)).weeks == 3
    assert features.panel(table, "monday", last_day(3) - timedelta(days=1)).weeks == 2


def test_weeks_may_start_on_sunday() -> None:
    table = rows(("milk", 0, 5), ("milk", 1, 6))
    table["week_start"] -= pd.Timedelta(days=1)
    assert features.panel(table, "sunday", MONDAY + timedelta(days=12)).units.tolist() == [[5, 6]]
    with pytest.raises(InputError, match="does not start on a monday"):
        features.panel(table, "monday", last_day(2))
    with pytest.raises(InputError, match="friday"):
        features.panel(table, "friday", last_day(2))


def test_returns_do_not_make_demand_negative() -> None:
    assert features.panel(rows(("milk", 0, 3), ("milk", 1, -4)), "monday", last_day(2)).units[
        0
    ].tolist() == [3, 0]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (rows(("milk", 0, 1)).drop(columns="units"), "units"),
        (rows(("milk", 0, 1), ("milk", 0, 2)), "two rows"),
        (rows(("milk", 0, float("nan"))), "not numbers"),
        (rows(("milk", 0, float("inf"))), "not numbers"),
        (rows(("milk", 0, 1), ("milk", 2000, 1)), "at most"),
        (rows(), "no whole week"),
    ],
)
def test_what_cannot_be_a_panel_says_why(table: pd.DataFrame, said: str) -> None:
    table["week_start"] = pd.to_datetime(table["week_start"])
    with pytest.raises(InputError, match=said):
        features.panel(table, "monday", date(2100, 1, 1))


def test_until_keeps_the_rows_in_place() -> None:
    seen = features.panel(rows(("bread", 3, 7), ("milk", 0, 5)), "monday", last_day(5))
    past = seen.until(last_day(2))
    assert past.categories == seen.categories
    assert past.units.shape == (2, 2)
    with pytest.raises(InputError, match="no whole week with sales"):
        seen.until(MONDAY - timedelta(days=1))


def test_inputs_against_figures_worked_out_by_hand() -> None:
    units = [4, 8, 0, 4, 4, 4]
    seen = features.panel(
        rows(*(("milk", at, u) for at, u in enumerate(units))), "monday", last_day(6)
    )
    made = features.origin_rows(seen, ("bread", "milk"), 4, 5)
    mean = 24 / 6
    scale = 0.5 * mean + 0.5 * mean + 0.25
    assert made.scale.tolist() == [scale]
    assert made.vocabulary.tolist() == [2]
    row = dict(enumerate(made.inputs[0].tolist()))
    lags = [0.0, 0.0, *(np.sqrt(u / scale) - 1 for u in units)]
    np.testing.assert_allclose([row[at] for at in range(8)], lags, rtol=1e-6)
    assert row[8] == pytest.approx(4 / scale - 1)  # mean of 2 weeks
    assert row[9] == pytest.approx(3 / scale - 1)  # of 4
    assert row[13] == pytest.approx(mean / scale - 1)
    assert row[14] == pytest.approx(np.std(units) / scale)
    assert row[15] == pytest.approx(1 / 6)  # weeks without a sale
    assert row[16] == pytest.approx(np.log(scale))
    assert row[17] == pytest.approx(np.log1p(8 / scale))
    assert row[18] == pytest.approx(np.median(units) / scale - 1)
    assert row[19] == pytest.approx(np.quantile(units, 0.9) / scale - 1)
    assert row[20] == pytest.approx(np.quantile(units, 0.1) / scale - 1)
    assert row[21] == pytest.approx(0)  # the shop's last week against its usual one
    assert row[25] == pytest.approx(np.log(6) - 3)
    # week 6 of the panel begins on 13 February 2023; its Thursday is the 16th
    assert made.month[0].tolist() == [1, 1, 2, 2]
    assert made.month_week[0].tolist() == [2, 3, 0, 1]


def test_the_workload_names_as_many_inputs_as_are_made() -> None:
    seen = features.panel(weekly(10), "monday", last_day(10))
    made = features.origin_rows(seen, NAMES, 4, 9)
    assert made.inputs.shape == (len(NAMES), demand.INPUTS)
    assert made.last_year.shape == (len(NAMES), 4, demand.LAST_YEAR)


def test_last_year_is_used_where_it_is_known() -> None:
    seen = features.panel(weekly(60, names=("milk",)), "monday", last_day(60))
    made = features.origin_rows(seen, ("milk",), 4, 59)
    around = seen.units[0, 60 - 53 : 60 - 50].mean()
    assert made.last_year[0, 0].tolist() == pytest.approx(
        [np.sqrt(around / made.scale[0]) - 1, 1.0]
    )
    assert features.origin_rows(seen, ("milk",), 4, 40).last_year.any() is np.False_


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 38), st.integers(0, 2**32 - 1))
def test_no_input_knows_the_future(origin: int, seed: int) -> None:
    seen = features.panel(weekly(40), "monday", last_day(40))
    other = seen.units.copy()
    other[:, origin + 1 :] = np.random.default_rng(seed).integers(
        0, 99, other[:, origin + 1 :].shape
    )
    changed = features.Panel(seen.categories, seen.first_week, other)
    a = features.origin_rows(seen, NAMES, 4, origin)
    b = features.origin_rows(changed, NAMES, 4, origin)
    for name in features.FeatureRows.__slots__:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_shops_of_any_size_look_alike() -> None:
    table = weekly(30)
    large = table.assign(units=table["units"] * 1000)
    a, b = (
        features.origin_rows(features.panel(t, "monday", last_day(30)), NAMES, 4, 29)
        for t in (table.assign(units=table["units"] * 100), large)
    )
    level = 16  # the one input that tells the size
    keep = [at for at in range(demand.INPUTS) if at != level]
    np.testing.assert_allclose(a.inputs[:, keep], b.inputs[:, keep], atol=2e-3)
    assert (np.abs(a.inputs[:, level] - b.inputs[:, level]) > 2).all()


def test_targets_are_the_weeks_after_the_origin() -> None:
    seen = features.panel(weekly(12), "monday", last_day(12))
    table = features.own_table(seen, NAMES, 4)
    assert set(table.rows.origin) == set(range(3, 11))
    at = 7
    origin, series = table.rows.origin[at], table.rows.series[at]
    for step in range(4):
        week = origin + 1 + step
        assert table.observed[at, step] == (week < 12)
        if week < 12:
            assert table.target[at, step] * table.rows.scale[at] == pytest.approx(
                seen.units[series, week], rel=1e-5, abs=1e-5
            )


def test_a_category_needs_four_known_weeks() -> None:
    table = pd.concat([weekly(12, names=("milk",)), rows(("tea", 9, 3))])
    seen = features.panel(table, "monday", last_day(12))
    made = features.own_table(seen, (), 4)
    assert set(made.rows.series) == {0}
    assert len(features.own_table(seen.until(last_day(4)), (), 4)) == 0


# --- the way of a run: a permit or nothing -------------------------------------------------


def test_training_reads_nothing_after_train_until() -> None:
    table = weekly(40)
    later = table["week_start"] > pd.Timestamp(last_day(28))
    changed = table.assign(units=table["units"].where(~later, 9999.0))
    a, b = (features.training_table(checked(t), NOW, config(28)) for t in (table, changed))
    assert a.history_weeks == 28
    np.testing.assert_array_equal(a.target, b.target)
    np.testing.assert_array_equal(a.rows.inputs, b.rows.inputs)
    assert a.rows.origin.max() == 26


def test_a_run_sees_listed_categories_only() -> None:
    table = pd.concat([weekly(40), weekly(40, names=("secret",))])
    seen = features.run_panel(checked(table), NOW, config())
    assert seen.categories == NAMES
    with pytest.raises(InputError, match="none of the categories"):
        features.run_panel(checked(weekly(40, names=("secret",))), NOW, config())


def test_a_run_ends_with_the_shops_own_last_week() -> None:
    assert features.run_panel(checked(weekly(34)), NOW, config(28)).weeks == 34
    assert features.run_panel(checked(weekly(60)), NOW, config(28)).weeks == 40
    begun = last_day(34) - timedelta(days=2)
    assert features.run_panel(checked(weekly(34)), NOW, config(28), begun).weeks == 33


@pytest.mark.parametrize(
    "wrong",
    [
        {"gate": Gate.USE},
        {"not_after": NOW - timedelta(seconds=1)},
        {"columns": ("business_date", "qty")},
    ],
)
def test_the_permit_is_asked(wrong: dict[str, object]) -> None:
    for ask in (features.training_table, features.run_panel):
        with pytest.raises(Refused):
            ask(checked(weekly(40), permit(**wrong)), NOW, config())


def test_too_little_history_is_said() -> None:
    with pytest.raises(InputError, match="5 weeks"):
        features.training_table(checked(weekly(4)), NOW, config(28))
