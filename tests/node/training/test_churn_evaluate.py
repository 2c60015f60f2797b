"""Own baseline, blend, exact figures at home, and what one customer changes in what is sent."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from churn_customers import config, lines
from node.data import customers
from node.data.customers import CustomerTable
from node.training import child, churn_baseline, churn_child, churn_evaluate
from protocols.errors import InputError, LocalError
from protocols.workloads import churn, churn_metrics

CFG = config()
FRAME = lines(90, seed=11)
TABLE = customers.own_table(FRAME, CFG.snapshot_days, CFG)
HELD_OUT = customers.own_table(FRAME, (CFG.train_until,), CFG)
# a model of other customers, as good as an own one: gains stay inside their range
OTHERS = customers.own_table(lines(90, seed=12), CFG.snapshot_days, CFG)
PARAMS = churn_baseline.fit_logistic(OTHERS).astype(np.float32)


def keep(table: CustomerTable, rows: np.ndarray) -> CustomerTable:
    return replace(
        table,
        inputs=table.inputs[rows],
        customer=table.customer[rows],
        snapshot=table.snapshot[rows],
        left=table.left[rows],
    )


def test_one_customer_moves_the_evaluation_by_at_most_its_bound() -> None:
    """Through its own row, and through the own baseline that it helped to teach."""
    everybody, _ = churn_evaluate.run_metrics(PARAMS, TABLE, HELD_OUT, CFG)
    bound = (churn_metrics.CUSTOMER_L2 * churn_metrics.SCALE) ** 2
    moved = 0
    for who in np.unique(np.concatenate([TABLE.customer, HELD_OUT.customer])):
        rest, _ = churn_evaluate.run_metrics(
            PARAMS,
            keep(TABLE, TABLE.customer != who),
            keep(HELD_OUT, HELD_OUT.customer != who),
            CFG,
        )
        change = [int(value) for value in everybody - rest]
        assert sum(value * value for value in change) <= bound
        moved += change[-1] != 0
    assert moved > 5  # own scores of others do depend on a customer: why they are bounded


def test_the_report_stays_exact_and_the_vector_is_whole() -> None:
    vector, report = churn_evaluate.run_metrics(PARAMS, TABLE, HELD_OUT, CFG)
    assert vector.dtype == np.int64
    assert vector.shape == (churn_metrics.SIZE,)
    assert report is not None
    assert report.customers == len(HELD_OUT)
    assert set(report.figures) == {"own", "shared", "blend"}
    counts = vector[: 2 * len(churn_metrics.NODES)].sum()
    assert counts == len(HELD_OUT) * churn_metrics.COUNT_UNITS
    left = vector[len(churn_metrics.NODES) : 2 * len(churn_metrics.NODES)].sum()
    assert left == report.left * churn_metrics.COUNT_UNITS


def test_a_member_without_customers_to_score_sends_zeros() -> None:
    nobody = keep(HELD_OUT, np.zeros(len(HELD_OUT), dtype=bool))
    vector, report = churn_evaluate.run_metrics(PARAMS, TABLE, nobody, CFG)
    assert report is None
    assert not vector.any()


def test_outcomes_must_be_known() -> None:
    with pytest.raises(InputError, match="not known"):
        churn_evaluate.run_metrics(PARAMS, TABLE, replace(HELD_OUT, known=False), CFG)
    with pytest.raises(InputError, match="not known"):
        churn_baseline.own_scores(replace(TABLE, known=False), HELD_OUT)


def test_the_own_baseline_learns() -> None:
    found = churn_baseline.own_scores(TABLE, HELD_OUT)
    assert found.method == "logistic"
    figures = churn_evaluate.figures_of(found.scores, HELD_OUT.left)
    assert figures.auroc > 0.65
    share = np.full(len(HELD_OUT), TABLE.left.mean())
    assert figures.brier < churn_evaluate.figures_of(share, HELD_OUT.left).brier


def test_the_own_fit_is_at_its_minimum() -> None:
    weights = churn_baseline.fit_logistic(TABLE)
    share = churn_baseline.customer_weights(TABLE)
    x = np.column_stack([TABLE.inputs.astype(float), np.ones(len(TABLE))])
    error = share * (1 / (1 + np.exp(-x @ weights)) - TABLE.left)
    ridge = np.append(np.full(churn.INPUTS, churn_baseline.RIDGE), churn_baseline.RIDGE_INTERCEPT)
    np.testing.assert_allclose(x.T @ error + ridge * weights, 0, atol=1e-6)
    assert share.sum() == pytest.approx(TABLE.customers)


def test_with_few_customers_the_share_who_left() -> None:
    few = keep(TABLE, TABLE.customer < TABLE.customer.min() + 4)
    assert few.customers < churn_baseline.MIN_CUSTOMERS
    found = churn_baseline.own_scores(few, HELD_OUT)
    assert found.method == "share"
    assert len(set(found.scores)) == 1
    nobody = churn_baseline.own_scores(keep(TABLE, TABLE.customer < 0), HELD_OUT)
    assert nobody.scores.tolist() == [0.5] * len(HELD_OUT)


def test_with_many_customers_trees_have_half_the_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(churn_baseline, "MANY", 50)
    monkeypatch.setattr(churn_baseline, "tree_scores", lambda *_: np.full(len(HELD_OUT), 0.5))
    found = churn_baseline.own_scores(TABLE, HELD_OUT)
    assert found.method == "logistic and LightGBM"
    plain = churn_baseline.logistic_scores(TABLE, HELD_OUT)
    np.testing.assert_allclose(found.scores, plain / 2 + 0.25)


def test_trees_that_fail_keep_no_member_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the customer from whom on trees are grown would decide who is in the sum."""

    def fail(*_: object) -> bytes:
        raise LocalError("no memory is left.")

    monkeypatch.setattr(child, "run", fail)
    answers = []
    for many in (TABLE.customers + 1, TABLE.customers):
        monkeypatch.setattr(churn_baseline, "MANY", many)
        vector, report = churn_evaluate.run_metrics(PARAMS, TABLE, HELD_OUT, CFG)
        assert report is not None
        answers.append((vector.tolist(), report.own_method))
    (usual, method), (failed, said) = answers
    assert usual == failed
    assert (method, said) == ("logistic", "logistic (LightGBM failed)")


def test_the_blend_lies_between_and_grows_with_customers() -> None:
    found = churn_evaluate.scores(PARAMS, TABLE, HELD_OUT, CFG)
    own, shared, blend = (found.by_method[name] for name in ("own", "shared", "blend"))
    weight = churn_evaluate.own_weight(TABLE.customers)
    np.testing.assert_allclose(blend, weight * own + (1 - weight) * shared)
    assert churn_evaluate.own_weight(0) == 0
    assert churn_evaluate.own_weight(20) == pytest.approx(0.15)
    assert 0.29 < churn_evaluate.own_weight(1000) < 0.3


def test_exact_figures_worked_out_by_hand() -> None:
    score = np.array([0.9, 0.8, 0.3, 0.3, 0.05])
    left = np.array([True, False, True, False, False])
    found = churn_evaluate.figures_of(score, left)
    assert found.auroc == pytest.approx((3 + 1.5) / 6)  # 0.3 against 0.3 counts half
    assert found.brier == pytest.approx((0.01 + 0.64 + 0.49 + 0.09 + 0.0025) / 5)
    assert found.ece == pytest.approx((0.1 + 0.8 + 0.4 + 0.05) / 5)
    assert found.lift10 == pytest.approx(1 / 0.4)
    assert np.isnan(churn_evaluate.figures_of(score, np.ones(5, dtype=bool)).auroc)
    with pytest.raises(InputError, match="at least one"):
        churn_evaluate.figures_of(score[:0], left[:0])


def test_trees_in_their_child() -> None:
    found = churn_baseline.tree_scores(TABLE, HELD_OUT)
    assert found.shape == (len(HELD_OUT),)
    assert churn_evaluate.figures_of(found, HELD_OUT.left).auroc > 0.6
    arrays = {
        "inputs": TABLE.inputs.astype(np.float64),
        "left": TABLE.left,
        "weight": churn_baseline.customer_weights(TABLE) * len(TABLE) / TABLE.customers,
        "ask": HELD_OUT.inputs.astype(np.float64),
    }
    here = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import {churn_child.__name__}, sys; print('lightgbm' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert here.stdout.strip() == "False"  # only when it is asked to fit
    assert child.run(churn_baseline.CHILD, arrays, 60)[:2] == b"PK"


@pytest.mark.parametrize(
    ("answer", "word"), [(b"nonsense", "unreadable"), (None, "shape"), (b"", "unreadable")]
)
def test_a_child_that_answers_nonsense(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None, word: str
) -> None:
    def other(*_: object) -> bytes:
        import io

        out = io.BytesIO()
        np.savez(out, scores=np.zeros(3))
        return out.getvalue() if answer is None else answer

    monkeypatch.setattr(child, "run", other)
    with pytest.raises(LocalError, match=word):
        churn_baseline.tree_scores(TABLE, HELD_OUT)


def test_a_child_that_cannot_run() -> None:
    with pytest.raises(LocalError, match="ended with status"):
        child.run("node.training.does_not_exist", {}, 30)
    with pytest.raises(LocalError, match="within 0 s"):
        child.run(churn_baseline.CHILD, {"inputs": np.zeros(1)}, 0.001)
