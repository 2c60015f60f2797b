"""Scores against figures worked out by hand; rolling origins; the blend; ranges; forecasts."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from shop_series import NAMES, NOW, checked, config, last_day, permit, weekly

from node.data import features
from node.insights import forecasts
from node.training import evaluate, personalise
from protocols.errors import InputError, Refused
from protocols.permit import Gate
from protocols.workloads import demand, metrics

PARAMS = demand.init(b"s" * 32, config())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_scores_by_hand() -> None:
    truth = np.array([[10.0, 0.0], [4.0, 99.0]])
    observed = np.array([[True, True], [True, False]])
    forecast = np.zeros((2, 2, 4))
    forecast[0, 0] = [6, 8, 12, 9]  # error 2, inside
    forecast[0, 1] = [1, 2, 3, 2]  # error 2, below the range
    forecast[1, 0] = [1, 1, 3, 2]  # error 3, above the range
    forecast[1, 1] = 1000  # not observed: must not count
    found = evaluate.score(forecast, truth, observed, np.array([2.0, 0.0]))
    assert found.wape == pytest.approx((2 + 2 + 3) / 14)
    # pinball at .1: .1*4 + .9*1 + .1*3; at .5: .5*7; at .9: .1*2 + .1*3 + .9*1
    pinball = [0.4 + 0.9 + 0.3, 3.5, 0.2 + 0.3 + 0.9]
    assert found.wql == pytest.approx(np.mean([2 * p / 14 for p in pinball]))
    assert found.mase == pytest.approx((2 / 2 + 2 / 2) / 2)  # the second has no naive error
    assert found.coverage80 == pytest.approx(1 / 3)
    assert found.bias == pytest.approx(13 / 14 - 1)


def test_nothing_sold_has_no_score() -> None:
    with pytest.raises(InputError, match="nothing was sold"):
        evaluate.score(np.zeros((1, 1, 4)), np.zeros((1, 1)), np.ones((1, 1), bool), np.ones(1))


@pytest.mark.parametrize(
    ("weeks", "origins"), [(40, [27, 31, 35]), (60, [27, 31, 35]), (33, [27, 31]), (29, [27])]
)
def test_rolling_origins(weeks: int, origins: list[int]) -> None:
    seen = features.panel(weekly(weeks), "monday", last_day(weeks))
    rows = evaluate.holdout_rows(seen, 28, config(28))
    assert sorted(set(rows.origin.tolist())) == origins
    _, observed = features.targets(seen, rows, 40)
    assert observed.sum() == (min(weeks, 40) - 28) * len(NAMES)


def test_without_weeks_after_training_there_is_nothing_to_evaluate() -> None:
    seen = features.panel(weekly(28), "monday", last_day(28))
    with pytest.raises(InputError, match="no weeks after"):
        evaluate.holdout_rows(seen, 28, config(28))


def test_report_and_metrics_of_a_member(cache: Path) -> None:
    vector, report = evaluate.run_metrics(checked(weekly(40)), NOW, PARAMS, config(28), cache=cache)
    assert report is not None
    assert report.history_weeks == 28
    assert not report.cold
    assert report.own_method == "LightGBM"
    assert set(report.scores) == set(metrics.METHODS)
    np.testing.assert_array_equal(vector, metrics.encode_metrics(report.figures()))
    # a baseline that has learnt beats a model of random first weights
    assert report.scores["own"].wape < report.scores["shared"].wape
    again = evaluate.report(
        features.run_panel(checked(weekly(40)), NOW, config(28)), PARAMS, config(28), cache=cache
    )
    assert again == report


def test_warming_the_baseline_fills_the_cache_that_the_report_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = features.run_panel(checked(weekly(40)), NOW, config(28))
    evaluate.warm_baseline(seen, config(28), tmp_path)
    monkeypatch.setattr("node.training.baseline.CHILD", "node.training.does_not_exist")
    assert evaluate.report(seen, PARAMS, config(28), cache=tmp_path).own_method == "LightGBM"


def test_baseline_and_ranges_see_no_held_out_week(cache: Path) -> None:
    """Weeks after the first origin's targets may change: its forecasts may not."""
    seen = features.panel(weekly(40), "monday", last_day(40))
    units = seen.units.copy()
    units[:, 28:] += 50
    changed = features.Panel(seen.categories, seen.first_week, units)
    found = []
    for each in (seen, changed):
        rows = features.origin_rows(each, NAMES, 4, 27)
        past = each.until(last_day(28))
        found.append(personalise.forecasts(past, past, rows, PARAMS, config(28), cache=cache))
    for method in metrics.METHODS:
        np.testing.assert_array_equal(found[0].units[method], found[1].units[method])
    assert found[0].width == found[1].width


def test_a_member_without_held_out_weeks_sends_zeros() -> None:
    vector, report = evaluate.run_metrics(checked(weekly(28)), NOW, PARAMS, config(28))
    assert report is None
    assert not vector.any()


def test_a_wrong_model_is_not_a_member_without_weeks() -> None:
    with pytest.raises(InputError, match="shape"):
        evaluate.run_metrics(checked(weekly(40)), NOW, PARAMS[:-1], config(28))


def test_evaluation_asks_the_permit() -> None:
    with pytest.raises(Refused):
        evaluate.run_metrics(
            checked(weekly(40), permit(gate=Gate.RELEASE)), NOW, PARAMS, config(28)
        )


def test_local_weight_grows_with_history() -> None:
    assert [personalise.local_weight(h) for h in (0, 52, 156)] == [0, 0.5, 0.75]
    own, shared = np.zeros((1, 1, 4)), np.ones((1, 1, 4))
    assert personalise.blend(own, shared, 52)[0, 0, 0] == 0.5
    with pytest.raises(InputError):
        personalise.local_weight(-1)
    with pytest.raises(InputError, match="shapes"):
        personalise.blend(own, shared[:, :, :3], 10)


def test_width_makes_ranges_cover_their_share() -> None:
    made = np.random.default_rng(4)
    truth = made.normal(100, 10, (4000, 4))
    forecast = np.tile(np.array([95.0, 100.0, 105.0, 100.0]), (4000, 4, 1))
    width = personalise.range_width(forecast, truth, np.ones((4000, 4), bool))
    assert width == personalise.WIDTH_BOUNDS[1] or 1.5 < width <= 1.6
    forecast[..., 0], forecast[..., 2] = 89, 111
    width = personalise.range_width(forecast, truth, np.ones((4000, 4), bool))
    stretched = personalise.finish(forecast, False, width)
    inside = (truth >= stretched[..., 0]) & (truth <= stretched[..., 2])
    assert inside.mean() == pytest.approx(0.8, abs=0.01)


def test_width_rests_on_the_prior_where_little_is_known() -> None:
    nothing = np.zeros((1, 4), bool)
    forecast = np.tile([1.0, 2, 3, 2], (1, 4, 1))
    assert personalise.range_width(forecast, np.zeros((1, 4)), nothing) == personalise.PRIOR_WIDTH
    few = personalise.range_width(forecast, np.full((1, 4), 50.0), ~nothing)
    assert few == pytest.approx((240 * 1.05 + 4 * 1.6) / 244)


def test_finish_rounds_the_median_of_counts_only() -> None:
    forecast = np.array([[[0.4, 0.5, 1.2, 0.9], [2.6, 2.7, 2.8, 2.7], [0.1, 0.3, 0.4, 0.3]]])
    whole = personalise.finish(forecast, True)
    assert whole[0, :, 1].tolist() == [1, 3, 0]
    assert (np.diff(whole[..., :3], axis=-1) >= 0).all()
    np.testing.assert_allclose(personalise.finish(forecast, False), forecast)
    assert personalise.finish(forecast, False, 3.0)[0, 0, 0] == pytest.approx(0.2)


def test_whole_units() -> None:
    table = weekly(12)
    assert personalise.whole_units(features.panel(table, "monday", last_day(12)))
    kilos = table.assign(units=table["units"] + 0.25)
    assert not personalise.whole_units(features.panel(kilos, "monday", last_day(12)))


def test_own_forecast_needs_no_cooperative(cache: Path) -> None:
    table = weekly(30)
    known = last_day(30) + timedelta(days=3)  # Wednesday of a week that has only begun
    found = forecasts.own_forecast(table, "monday", known, cache=cache)
    assert found.known_until == last_day(30)
    assert found.own_method == "LightGBM"
    assert len(found.lines) == len(NAMES) * 4
    line = found.only("own")[0]
    assert (line.category_code, line.horizon) == (NAMES[0], 1)
    assert line.week_start == last_day(30) + timedelta(days=1)
    assert 0 <= line.p10 <= line.p50 <= line.p90
    document = json.loads(json.dumps(found.document()))
    assert document["lines"][0]["week_start"] == line.week_start.isoformat()
    weeks = forecasts.totals(found.lines)
    assert sum(weeks.values()) == pytest.approx(sum(each.mean for each in found.lines))
    with pytest.raises(InputError, match="made were: own"):
        found.only("blend")


def test_a_shop_of_one_week_gets_a_forecast() -> None:
    found = forecasts.own_forecast(weekly(1), "monday", last_day(1))
    assert found.own_method == "recent mean"
    assert all(np.isfinite([line.p10, line.p50, line.p90, line.mean]).all() for line in found.lines)


def test_shared_forecast_gives_three_and_knows_unlisted_categories(cache: Path) -> None:
    table = weekly(30, names=(*NAMES, "new thing"))
    found = forecasts.shared_forecast(table, PARAMS, config(28), last_day(30), cache=cache)
    assert {line.method for line in found.lines} == {"own", "shared", "blend"}
    assert found.local_weight == pytest.approx(30 / 82)
    own, shared, mixed = (found.only(name) for name in ("own", "shared", "blend"))
    assert {line.category_code for line in shared} == {*NAMES, "new thing"}
    for a, b, c in zip(own, shared, mixed, strict=True):
        assert c.mean == pytest.approx(30 / 82 * a.mean + 52 / 82 * b.mean)
    with pytest.raises(InputError, match="config of its own order"):
        forecasts.shared_forecast(table, PARAMS[:-1], config(28), last_day(30), cache=cache)
