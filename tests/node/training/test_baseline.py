"""The own baseline: good on its own, in a child process, clear when it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shop_series import NAMES, last_day, weekly

from node.data import features
from node.training import baseline, baseline_child
from protocols.errors import InputError, LocalError


def shop(weeks: int) -> features.Panel:
    return features.panel(weekly(weeks), "monday", last_day(weeks))


def ask(seen: features.Panel) -> tuple[features.TrainingTable, features.FeatureRows]:
    return features.own_table(seen, (), 4), features.origin_rows(seen, (), 4, seen.weeks - 1)


def test_the_child_learns_the_rhythm_and_the_cache_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = shop(36)
    table, rows = ask(seen)
    made = baseline.forecast(table, rows, cache=tmp_path)
    assert made.method == "LightGBM"
    assert made.units.shape == (len(NAMES), 4, 4)
    assert (np.diff(made.units[..., :3], axis=-1) >= 0).all()
    assert (made.units >= 0).all()
    # the first week of a month sells about twice as much; weeks 37-40 hold one
    first = rows.month_week[0] == 0
    median = made.units[..., 1].sum(axis=0)
    assert median[first].min() > 1.2 * median[~first].max()
    kept = list(tmp_path.iterdir())
    assert len(kept) == 1
    monkeypatch.setattr(baseline, "CHILD", "node.training.does_not_exist")
    again = baseline.forecast(table, rows, cache=tmp_path)
    np.testing.assert_array_equal(made.units, again.units)
    with pytest.raises(LocalError, match="does_not_exist"):  # other data, no cached answer
        baseline.forecast(*ask(shop(35)), cache=tmp_path)


def test_a_damaged_cache_is_trained_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, rows = ask(shop(30))
    answer = np.zeros((len(rows), 4, 4))

    def child(*_: object) -> bytes:
        path = tmp_path / "answer.npz"
        np.savez(path, forecast=answer)
        return path.read_bytes()

    monkeypatch.setattr(baseline, "_run_child", child)
    folder = tmp_path / "cache"
    baseline.forecast(table, rows, cache=folder)
    (kept,) = folder.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    answer += 1
    assert baseline.forecast(table, rows, cache=folder).units[0, 0, 1] == rows.scale[0]


@pytest.mark.parametrize("weeks", [1, 2, 5])
def test_short_histories_fall_back_to_the_recent_mean(
    weeks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "CHILD", "node.training.does_not_exist")
    seen = shop(weeks)
    made = baseline.forecast(*ask(seen))
    assert made.method == "recent mean"
    np.testing.assert_allclose(made.units[:, 0, 3], seen.units.mean(axis=1), rtol=1e-4)
    assert (np.diff(made.units[..., :3], axis=-1) >= 0).all()
    assert (made.units >= 0).all()


def test_the_fallback_takes_its_spread_from_what_was_seen() -> None:
    seen = shop(7)
    table, rows = ask(seen)
    assert baseline.MIN_SPREAD <= table.observed.sum() < baseline.MIN_ROWS
    made = baseline.forecast(table, rows)
    known = table.target[table.observed]
    ratio = np.quantile(known, 0.9) / known.mean()
    np.testing.assert_allclose(made.units[:, 0, 2] / made.units[:, 0, 3], ratio, rtol=1e-4)


def test_nothing_to_forecast_is_said() -> None:
    table, rows = ask(shop(30))
    with pytest.raises(InputError, match="nothing to forecast"):
        baseline.forecast(table, features.take(rows, np.zeros(0, dtype=np.int64)))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; sys.exit('no memory left')", "no memory left"),
        ("import os; os.kill(os.getpid(), 9)", "status -9"),
        ("import time; time.sleep(30)", "within 1 s"),
        ("print('hello')", "unreadable"),
        ("pass", "unreadable"),
    ],
)
def test_a_failing_child_has_its_sentence(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_child.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(baseline, "CHILD", "broken_child")
    table, rows = ask(shop(30))
    with pytest.raises(LocalError, match=said):
        baseline.forecast(table, rows, cache=tmp_path / "cache", timeout_s=1.0)
    assert not list((tmp_path / "cache").glob("*"))


def test_an_answer_of_another_shape_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, rows = ask(shop(30))
    for wrong in (np.zeros((1, 4, 4)), np.full((len(rows), 4, 4), np.nan)):
        np.savez(tmp_path / "a.npz", forecast=wrong)
        monkeypatch.setattr(baseline, "_run_child", lambda *_: (tmp_path / "a.npz").read_bytes())
        with pytest.raises(LocalError, match="shape"):
            baseline.forecast(table, rows)


def test_the_child_reads_no_pickle() -> None:
    import io

    payload = io.BytesIO()
    np.savez(payload, target=np.array([{"a": 1}], dtype=object))
    done = subprocess.run(
        [sys.executable, "-m", baseline.CHILD],
        input=payload.getvalue(),
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    assert b"allow_pickle" in done.stderr
    assert done.stdout == b""


def test_the_child_stays_light() -> None:
    """Importing it brings in nothing heavy; running it leaves out what LightGBM would pick up."""
    code = f"import sys, {baseline_child.__name__}; print([m for m in HEAVY if m in sys.modules])"
    heavy = "HEAVY = ['torch', 'pandas', 'pyarrow', 'lightgbm', 'flwr']; "
    done = subprocess.run(
        [sys.executable, "-c", heavy + code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
