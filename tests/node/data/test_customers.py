"""Features of customers: what they look at, what they must not look at, and the permit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from churn_customers import FIRST, HORIZON, TRAIN_UNTIL, config, lines
from node.data import customers
from node.data.customers import CAP, CustomerTable
from node.data.stages import Basis, CheckedLines, Standing
from protocols.errors import InputError, Refused
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit
from protocols.workloads import churn

NOW = datetime(2025, 2, 1, tzinfo=UTC)


def table(frame: pd.DataFrame, **changes: object) -> CustomerTable:
    cfg = config(**changes)
    return customers.own_table(frame, cfg.snapshot_days, cfg)


def one_customer(*visits: tuple[int, float]) -> pd.DataFrame:
    """Visits as (days before the snapshot TRAIN_UNTIL, net)."""
    return pd.DataFrame(
        {
            "customer_key": "k",
            "business_date": [pd.Timestamp(TRAIN_UNTIL - timedelta(days=ago)) for ago, _ in visits],
            "net": [net for _, net in visits],
            "category_code": "c",
        }
    )


def at_end(frame: pd.DataFrame, **changes: object) -> CustomerTable:
    return customers.own_table(frame, (TRAIN_UNTIL,), config(**changes))


def column(made: CustomerTable, name: str) -> np.ndarray:
    return made.inputs[:, churn.FEATURES.index(name)].astype(np.float64)


def test_columns_are_those_of_the_workload() -> None:
    assert set(customers.PUBLIC) | set(customers.SQUARED) == set(churn.FEATURES)
    assert len(churn.FEATURES) == churn.INPUTS
    made = table(lines())
    assert made.inputs.shape == (len(made), churn.INPUTS)
    assert made.inputs.dtype == np.float32
    assert np.abs(made.inputs).max() <= CAP
    assert len(set(made.snapshot)) == 4
    assert (np.diff(made.customer) >= 0).all()
    assert 0.1 < made.left.mean() < 0.7


def test_nothing_after_the_snapshot_reaches_a_feature() -> None:
    frame = lines()
    day = config().snapshot_days[-1]
    before = customers.own_table(frame, (day,), config())
    late = frame["business_date"] > pd.Timestamp(day)
    changed = frame[~late | (frame.index % 2 == 0)].copy()
    changed.loc[changed["business_date"] > pd.Timestamp(day), "net"] *= 7
    after = customers.own_table(changed, (day,), config())
    assert after.inputs.tobytes() == before.inputs.tobytes()
    assert [after.keys[at] for at in after.customer] == [before.keys[at] for at in before.customer]
    assert not np.array_equal(after.left, before.left)  # the labels do look


def test_labels_look_at_the_horizon_and_no_further() -> None:
    seen = one_customer((20, 5), (3, 5))
    for ahead, left in ((1, False), (7 * HORIZON, False), (7 * HORIZON + 1, True)):
        frame = pd.concat([seen, one_customer((-ahead, 5))])
        assert at_end(frame).left.tolist() == [left]
    assert at_end(seen).left.tolist() == [True]


def test_training_labels_end_with_train_until() -> None:
    frame = lines()
    newest = frame["business_date"] > pd.Timestamp(TRAIN_UNTIL)
    with_late, without = table(frame), table(frame[~newest])
    assert without.inputs.tobytes() == with_late.inputs.tobytes()
    assert np.array_equal(without.left, with_late.left)


def test_other_customers_change_nothing_about_a_customer() -> None:
    frame = lines()
    all_rows = table(frame)
    for gone in frame["customer_key"].unique()[::13]:
        fewer = table(frame[frame["customer_key"] != gone])
        keep = np.array([all_rows.keys[at] != gone for at in all_rows.customer])
        assert fewer.inputs.tobytes() == all_rows.inputs[keep].tobytes()
        assert np.array_equal(fewer.left, all_rows.left[keep])


def test_who_is_active() -> None:
    assert len(at_end(one_customer((5, 1)))) == 0  # one visit
    assert len(at_end(one_customer((5, 1), (5, 1)))) == 0  # one day is one visit
    assert len(at_end(one_customer((5, 1), (90, 1)))) == 1
    assert len(at_end(one_customer((84, 1), (90, 1)))) == 0  # last seen 12 weeks ago
    assert len(at_end(one_customer((83, 1), (90, 1)))) == 1
    assert len(at_end(one_customer((5, 1)), min_visits=1)) == 1
    assert len(at_end(one_customer((5, 1), (9, -1)))) == 0  # a return is no visit
    assert len(at_end(one_customer((5, 1), (7 * 12, 1)), history_weeks=12)) == 0


def test_figures_worked_out_by_hand() -> None:
    made = at_end(one_customer((0, 10), (7, 20), (28, 30)))
    # three visits, gaps of 3 and 1 weeks, last seen today
    assert column(made, "recency")[0] == pytest.approx((np.log(0.5) - 0.75) / 1.0)
    assert column(made, "recency_to_gap")[0] == pytest.approx(np.log(0.5 / 2.5))
    assert column(made, "recency_to_longest")[0] == pytest.approx(np.log(0.5 / 3.5) + 1)
    assert column(made, "gap_spread")[0] == pytest.approx((1 / 2.5 - 0.5) / 0.35)
    assert column(made, "usual_gap")[0] == pytest.approx(np.log(3) / 2 - 0.5)
    assert column(made, "visits_0_2")[0] == pytest.approx((np.log(3) - 0.5) / 0.6)
    assert column(made, "visits_4_8")[0] == pytest.approx((np.log(2) - 0.8) / 0.7)
    assert column(made, "weeks_active")[0] == pytest.approx((3 / 12 - 0.4) / 0.3)
    assert column(made, "basket")[0] == pytest.approx((np.log(21) - 3.3) / 0.75)
    faded = 1 + 2 ** (-1 / 16) + 2 ** (-4 / 16)
    assert column(made, "faded_16")[0] == pytest.approx((np.log1p(faded) - 1.8) / 0.85)
    squared = column(made, "usual_gap")[0] ** 2 - 1
    assert column(made, "usual_gap_squared")[0] == pytest.approx(squared)


def test_text_and_category_columns_in_any_order_give_the_same_rows() -> None:
    frame = lines(customers=30)
    mixed = frame.sample(frac=1, random_state=1)
    mixed = mixed.assign(
        customer_key=pd.Categorical(
            mixed["customer_key"], categories=sorted(set(mixed["customer_key"]), reverse=True)
        ),
        category_code=mixed["category_code"].astype("category"),
    )
    a, b = table(frame), table(mixed)
    assert a.keys == b.keys
    np.testing.assert_allclose(a.inputs, b.inputs, atol=1e-6)
    assert np.array_equal(a.customer, b.customer)


def test_lines_without_customer_and_empty_frames() -> None:
    frame = lines(customers=20)
    nobody = frame.assign(customer_key=None)
    assert table(pd.concat([frame, nobody])).inputs.tobytes() == table(frame).inputs.tobytes()
    assert len(table(frame.iloc[:0])) == 0
    assert len(table(nobody)) == 0


def test_missing_columns_and_amounts_that_are_not_numbers() -> None:
    with pytest.raises(InputError, match="lack the columns net"):
        table(lines().drop(columns="net"))
    broken = lines()
    broken.loc[3, "net"] = np.inf
    with pytest.raises(InputError, match="not numbers"):
        table(broken)


def test_scoring_today_knows_no_outcome() -> None:
    made = customers.scoring_table(lines(), FIRST + timedelta(weeks=50), config())
    assert len(made) > 10
    assert not made.known


def checked(columns: tuple[str, ...] = churn.COLUMNS, gate: Gate = Gate.ADMIT) -> CheckedLines:
    permit = Permit(
        gate=gate,
        agreement=AgreementId("a"),
        run=RunId("r"),
        purpose=churn.PURPOSE,
        workload_digest="d",
        columns=columns,
        not_after=NOW + timedelta(hours=1),
    )
    standing = Standing.of(churn.PURPOSE, Basis.CONSENT, "", NOW, 7, [])
    return CheckedLines(permit, standing, "0" * 64, 90, lines())


def test_a_run_needs_a_permit_for_every_column() -> None:
    cfg = config()
    made = customers.training_table(checked(), NOW, cfg)
    assert made.inputs.tobytes() == table(lines()).inputs.tobytes()
    assert customers.held_out_table(checked(), NOW, cfg).known
    for enter in (customers.training_table, customers.held_out_table):
        with pytest.raises(Refused, match="net"):
            enter(checked(("customer_key", "business_date", "category_code")), NOW, cfg)
        with pytest.raises(Refused, match="gate"):
            enter(checked(gate=Gate.USE), NOW, cfg)
        with pytest.raises(Refused, match="ended"):
            enter(checked(), NOW + timedelta(hours=2), cfg)


def test_days_that_the_exports_must_reach() -> None:
    cfg = config()
    end = TRAIN_UNTIL + timedelta(weeks=HORIZON)
    customers.require_days(FIRST, end, cfg)
    customers.require_days(FIRST, end - timedelta(days=6), cfg)
    for first, last, word in (
        (FIRST, end - timedelta(days=8), "end on"),
        (FIRST, None, "end on no day"),
        (cfg.snapshot_days[-1] + timedelta(days=1), end, "begin after"),
        (None, date(2030, 1, 1), "begin after"),
    ):
        with pytest.raises(InputError, match=word):
            customers.require_days(first, last, cfg)
