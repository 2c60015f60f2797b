"""The list of customers who may not come back: ordered, explained, and about the right people."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from churn_customers import FIRST, WEEKS, config, lines
from node import advice
from node.cli.app import app
from node.data import customers
from node.data.intake import add, preview
from node.data.stages import Basis, ConsentedLines, LeftOut, Standing
from node.data.values import customer_key
from node.data.vault import Vault
from node.federation.using import Usable
from node.insights.churn_list import REASONS, ChurnList, churn_list, theme_of
from node.policy.consents import ConsentDesk
from node.sdk import Cooperative
from node.store.consents import State
from node.store.database import Database
from node.training import churn_baseline, churn_fit
from protocols.audit.consent import RowBook
from protocols.bundle import CARD
from protocols.errors import InputError, LocalError, Refused
from protocols.ids import AgreementId, ModelId, RunId
from protocols.permit import Gate, Permit
from protocols.workloads import churn
from small_coop import released

CFG = config()
AS_OF = FIRST + timedelta(weeks=WEEKS, days=-1)
NOW = pd.Timestamp(AS_OF + timedelta(days=2), tz="UTC").to_pydatetime()
OTHERS = customers.own_table(lines(150, seed=3), CFG.snapshot_days, CFG)
PARAMS = churn_baseline.fit_logistic(OTHERS).astype(np.float32)
PARAMS[-1] /= churn.INTERCEPT
MLP = config(model="mlp", hidden=4)
USE = Permit(
    gate=Gate.USE,
    agreement=AgreementId("a" * 64),
    run=RunId("b" * 32),
    purpose=churn.PURPOSE,
    workload_digest="c" * 64,
    columns=(),
    not_after=NOW + timedelta(days=1),
)

NO_ROWS = RowBook((), (), ())


def consented(frame: pd.DataFrame) -> ConsentedLines:
    standing = Standing.of(churn.PURPOSE, Basis.CONSENT, "", NOW, 7, [])
    kinds = {"customer_key": "category", "category_code": "category"}
    return ConsentedLines(
        USE, standing, "0" * 64, LeftOut(0, 0, 0, 0), frame.astype(kinds), NO_ROWS
    )


def made(**how: Any) -> ChurnList:
    return churn_list(consented(lines(120, seed=5)), PARAMS, CFG, AS_OF, **how)


def mlp_params() -> Any:
    draw = np.random.default_rng(1)
    return (draw.normal(size=churn.dimension(MLP)) * 0.4).astype(np.float32)


def test_every_feature_has_words() -> None:
    assert {theme_of(name) for name in churn.FEATURES} == {
        "absence", "rhythm", "visits", "trend", "spending", "variety",
    }  # fmt: skip
    with pytest.raises(LocalError, match="surname"):
        theme_of("surname")


def test_the_list_begins_with_the_highest_probability() -> None:
    found = made()
    risks = [one.probability for one in found.customers]
    assert risks == sorted(risks, reverse=True) and len(risks) == found.scored > 30
    assert found.expected_to_leave == pytest.approx(sum(risks))
    assert [one.customer_key for one in made(top=5).customers] == [
        one.customer_key for one in found.customers[:5]
    ]
    first, last = found.customers[0], found.customers[-1]
    assert (AS_OF - first.last_visit) > (AS_OF - last.last_visit)
    for one in found.customers:  # a blend lies between its two
        assert min(one.own, one.shared) - 1e-9 <= one.probability <= max(one.own, one.shared) + 1e-9


@pytest.mark.parametrize(("params", "settings"), [(PARAMS, CFG), (mlp_params(), MLP)])
def test_reasons_add_up_to_the_log_odds(params: Any, settings: churn.ChurnConfig) -> None:
    frame = lines(80, seed=6)
    found = churn_list(consented(frame), params, settings, AS_OF)
    ask = customers.scoring_table(frame, AS_OF, settings)
    average = ask.inputs.mean(axis=0, keepdims=True)
    level = churn_fit.logits(params, average, settings)[0]
    for one in found.customers:
        assert len(one.reasons) == REASONS
        whole = sum(reason.share for reason in one.reasons) + one.rest
        odds = np.log(one.shared / (1 - one.shared))
        assert whole == pytest.approx(odds - level, abs=0.05)
        shares = [reason.share for reason in one.reasons]
        assert shares == sorted(shares, reverse=True)
        assert len({reason.theme for reason in one.reasons}) == REASONS


def test_slopes_are_those_of_the_score() -> None:
    params, x = mlp_params(), np.random.default_rng(2).normal(size=(5, churn.INPUTS))
    slopes = churn_fit.input_slopes(params, x.astype(np.float32), MLP)
    for at in range(churn.INPUTS):
        step = np.zeros((1, churn.INPUTS))
        step[0, at] = 1e-2
        up, down = (
            churn_fit.logits(params, (x + sign * step).astype(np.float32), MLP) for sign in (1, -1)
        )
        assert slopes[:, at] == pytest.approx((up - down) / 2e-2, abs=5e-3)


def test_words_say_what_the_till_says() -> None:
    rows = [("a" * 64, AS_OF - timedelta(days=7 * week), 10.0, "milk") for week in range(5, 20)]
    rows += [("b" * 64, AS_OF - timedelta(days=3 * visit), 30.0, "tea") for visit in range(40)]
    frame = pd.DataFrame(rows, columns=["customer_key", "business_date", "net", "category_code"])
    frame["business_date"] = pd.to_datetime(frame["business_date"])
    found = churn_list(consented(frame), PARAMS, CFG, AS_OF)
    gone, regular = found.customers
    assert gone.customer_key == "a" * 64 and gone.shown == "a" * 12
    assert gone.probability > regular.probability + 0.3
    words = {reason.theme: reason.words for reason in gone.reasons}
    assert words["absence"] == "last here 5 weeks ago, usually every 7 days"
    assert gone.last_visit == AS_OF - timedelta(weeks=5) and regular.last_visit == AS_OF


def test_the_document_is_json_with_whole_keys() -> None:
    document = json.loads(json.dumps(made(top=3).document()))
    assert document["schema"] == 1 and document["horizon_weeks"] == CFG.horizon_weeks
    assert [len(one["customer_key"]) for one in document["customers"]] == [64] * 3
    assert all(len(one["reasons"]) == REASONS for one in document["customers"])


def test_nobody_is_active() -> None:
    late = AS_OF + timedelta(weeks=60)
    found = churn_list(consented(lines(20, seed=7)), PARAMS, CFG, late)
    assert found.customers == () and found.scored == 0 and found.expected_to_leave == 0


def test_a_model_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        churn_list(consented(lines(20)), PARAMS[:-1], CFG, AS_OF)


# ------------------------------------------------------------------ from the vault to the screen

SECRET = bytes(range(32))
NUMBERS = tuple(f"card {n}" for n in range(40))


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    folder = tmp_path_factory.mktemp("shop")
    frame = lines(len(NUMBERS), seed=8)
    path = folder / "sales.csv"
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["date", "category", "qty", "total", "customer"])
        for key, day, net, category in frame.itertuples(index=False):
            writer.writerow([day.date(), category, 1, f"{net:.2f}", NUMBERS[int(key, 16)]])
    made_vault = Vault(folder / "vault", bytes(32))
    add(made_vault, preview(path), SECRET, NOW)
    return made_vault


@pytest.fixture
def home(tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A node that has pulled a model; what it is made of has tests of its own."""
    database = Database.open(tmp_path / "node.db", create=True)
    desk = ConsentDesk(database, SECRET, frozenset({churn.PURPOSE}), lambda *_: None, lambda: NOW)
    answers = tmp_path / "answers.csv"
    rows = [f"{number},{churn.PURPOSE},granted,2024-06-01,till" for number in NUMBERS]
    answers.write_text("\n".join(["customer,scope,state,at,source", *rows, ""]))
    desk.record(desk.preview(answers))
    order = {
        "config": {
            **churn.DEFAULTS,
            "train_until": CFG.train_until.isoformat(),
            "expected_customers": 200,
        }
    }
    found = SimpleNamespace(
        folder=tmp_path,
        models=tmp_path,
        vault=lambda: vault,
        clock=lambda: NOW,
        consents=lambda _: desk,
        keys=SimpleNamespace(customer_secret=SECRET),
        desk=desk,
        acting=None,
    )
    monkeypatch.setattr("node.membership.is_enrolled", lambda folder: True)
    card = json.loads(released()[1][CARD])
    used = Usable(ModelId("d" * 64), order, card, USE, 0, 1, PARAMS)
    member = SimpleNamespace(database=database, close=lambda: None)
    monkeypatch.setattr(advice, "open_member", lambda *_: member)
    monkeypatch.setattr(advice, "use_model", lambda member, name, purpose: used)
    monkeypatch.setattr("node.cli.acting.acting_home", lambda context, action: found)
    return found


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["customers", *words])


def listed(output: str) -> Sequence[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = json.loads(output)["customers"]
    return found


def test_the_command_lists_who_may_leave(home: SimpleNamespace) -> None:
    said = run("--top", "3")
    assert said.exit_code == 0, said.output
    assert "last here" in said.output and "%" in said.output
    assert "will not buy within 8 weeks" in said.output
    assert all(number not in said.output for number in NUMBERS)
    assert len(listed(run("--top", "3", "--json").output)) == 3


def test_the_shop_sees_its_own_numbers_if_it_brings_them(
    home: SimpleNamespace, tmp_path: Path
) -> None:
    names = tmp_path / "numbers.txt"
    names.write_text("\n".join(NUMBERS))
    found = listed(run("--json", "--names", str(names)).output)
    assert found and all(
        customer_key(SECRET, one["customer"]) == one["customer_key"] for one in found
    )
    assert found[0]["customer"] in run("--names", str(names)).output
    missing = run("--names", str(tmp_path / "nowhere.txt"))
    assert isinstance(missing.exception, InputError)


def test_who_said_no_is_not_scored(home: SimpleNamespace) -> None:
    before = listed(run("--json", "--top", "40").output)
    key = before[0]["customer_key"]
    number = next(one for one in NUMBERS if customer_key(SECRET, one) == key)
    home.desk.forbid(number, churn.PURPOSE, State.WITHDRAWN)
    said = run("--json", "--top", "40")
    assert {one["customer_key"] for one in listed(said.output)} == {
        one["customer_key"] for one in before
    } - {key}
    assert json.loads(said.output)["lines_left_out"] > 0


def test_without_a_yes_of_the_gate_no_row_is_read(
    home: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(member: object, name: str, purpose: str) -> Usable:
        raise Refused("the agreement ended.", clauses=("c30",))

    monkeypatch.setattr(advice, "use_model", no)
    monkeypatch.setattr(Vault, "reader", lambda _: pytest.fail("a row was read"))
    assert isinstance(run().exception, Refused)


def test_without_a_model_it_says_what_to_do(
    home: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advice, "use_model", lambda member, name, purpose: None)
    error = run().exception
    assert isinstance(error, InputError) and "models pull" in error.fix


def test_a_notebook_gets_the_same_list(
    home: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = listed(run("--top", "3", "--json").output)
    found = Cooperative(cast(Any, home), lambda: None).customers_at_risk(
        purpose=churn.PURPOSE, top=3
    )
    frame = found.to_pandas()
    assert list(frame["customer_key"]) == [one["customer_key"] for one in shown]
    assert (
        frame["probability"].is_monotonic_decreasing and frame["reasons"].str.contains("; ").all()
    )
    assert found.scored >= 3 and found.left_out == 0
    assert found.provenance.purpose == churn.PURPOSE and found.provenance.contributors == 6

    def not_this_role() -> None:
        raise Refused("a steward may not take results out here.", clauses=("c06",))

    kept = Cooperative(cast(Any, home), not_this_role).customers_at_risk(
        purpose=churn.PURPOSE, top=3
    )
    with pytest.raises(Refused) as caught:
        kept.to_pandas()
    assert caught.value.clauses == ("c06",)


def test_a_permit_to_use_does_not_open_training(home: SimpleNamespace, vault: Vault) -> None:
    found = consented(lines(30))
    with pytest.raises(Refused):
        customers.training_table(found, NOW, CFG)  # type: ignore[arg-type]
    assert isinstance(vault.last_day(), date)
