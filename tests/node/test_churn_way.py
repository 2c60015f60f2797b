"""The churn way from permit to table, with the real ledger: who withdrew is not in the next run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from node import round as way
from node.data.intake import add, preview
from node.data.stages import Basis
from node.data.values import customer_key
from node.data.vault import Vault
from node.policy.consents import ConsentDesk
from node.policy.run_books import RunBooks
from node.store.consents import State
from node.store.database import Database
from node.training import churn_fit
from protocols.course import Course
from protocols.errors import Refused
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit
from protocols.workloads import churn
from protocols.workloads.server import start

SECRET = bytes(range(32))
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
NUMBERS = tuple(f"card-{k}" for k in range(40))
CONFIG = {
    **churn.WORKLOAD.defaults,
    "train_until": "2025-11-01",
    "expected_customers": 100,
}
PERMIT = Permit(
    gate=Gate.ADMIT,
    agreement=AgreementId("a" * 64),
    run=RunId("b" * 32),
    purpose=churn.PURPOSE,
    workload_digest="c" * 64,
    columns=churn.COLUMNS,
    not_after=NOW + timedelta(hours=1),
)

Journal = list[tuple[str, Mapping[str, object]]]


def keyed(numbers: tuple[str, ...]) -> set[str]:
    return {key for number in numbers if (key := customer_key(SECRET, number)) is not None}


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    folder = tmp_path_factory.mktemp("shop")
    draw = random.Random(3)
    rows = [
        f"{date(2024, 12, 30) + timedelta(days=draw.randrange(370))},A,1,2.00,{number}"
        for number in NUMBERS
        for _ in range(40)
    ]
    path = folder / "sales.csv"
    path.write_text("\n".join(["date,category,qty,total,customer", *rows, ""]), encoding="utf-8")
    made = Vault(folder / "vault", bytes(32))
    add(made, preview(path), SECRET, NOW)
    return made


@pytest.fixture
def desk(tmp_path: Path) -> ConsentDesk:
    database = Database.open(tmp_path / "node.db", create=True)
    return ConsentDesk(database, SECRET, frozenset({churn.PURPOSE}), lambda *_: None, lambda: NOW)


def house(vault: Vault, desk: ConsentDesk, folder: Path, journal: Journal) -> way.House:
    def append(kind: str, facts: Mapping[str, object]) -> None:
        journal.append((kind, facts))

    return way.House(vault, desk, RunBooks(desk.database, folder, append), folder / "cache")


def prepare(vault: Vault, desk: ConsentDesk, folder: Path, journal: Journal) -> way.PreparedChurn:
    recipe = churn.WORKLOAD.configure(CONFIG, "config")
    nothing = cast(Any, None)  # this way asks a course for its recipe and its run alone
    order = cast(Any, SimpleNamespace(order=SimpleNamespace(run=PERMIT.run)))
    course = Course(order, nothing, nothing, recipe)
    found = way.prepare(PERMIT, course, NOW, house(vault, desk, folder, journal))
    assert isinstance(found, way.PreparedChurn)
    return found


def say_yes(desk: ConsentDesk, folder: Path, numbers: tuple[str, ...]) -> None:
    path = folder / "answers.csv"
    lines = [f"{number},{churn.PURPOSE},granted,2025-06-01,till" for number in numbers]
    path.write_text("\n".join(["customer,scope,state,at,source", *lines, ""]), encoding="utf-8")
    desk.record(desk.preview(path))


def test_only_who_stands_is_in_the_table(vault: Vault, desk: ConsentDesk, tmp_path: Path) -> None:
    journal: Journal = []
    alone = prepare(vault, desk, tmp_path, journal)  # noise alone: staying away would say so
    assert len(alone.table) == len(alone.held_out) == 0
    say_yes(desk, tmp_path, NUMBERS[:30])
    first = prepare(vault, desk, tmp_path, journal)
    assert set(first.table.keys) == set(first.held_out.keys) == keyed(NUMBERS[:30])
    desk.forbid(NUMBERS[4], churn.PURPOSE, State.WITHDRAWN)
    second = prepare(vault, desk, tmp_path, journal)
    assert set(second.table.keys) == keyed(NUMBERS[:30]) - keyed(NUMBERS[4:5])
    assert len(first.table) and len(second.table) < len(first.table)
    (_, nobody), (_, before), (kind, after) = journal
    assert kind == "snapshot" and after["scope"] == churn.PURPOSE and after["basis"] == "consent"
    assert len({nobody["root"], before["root"], after["root"]}) == 3
    assert (nobody["position"], before["position"], after["position"]) == (0, 30, 31)


def test_a_legitimate_interest_is_in_the_journal(
    vault: Vault, desk: ConsentDesk, tmp_path: Path
) -> None:
    journal: Journal = []
    desk.set_basis(churn.PURPOSE, Basis.LEGITIMATE_INTEREST, "LIA-1")
    desk.forbid(NUMBERS[0], churn.PURPOSE, State.OBJECTED)
    found = prepare(vault, desk, tmp_path, journal)
    assert set(found.table.keys) == keyed(NUMBERS[1:])
    assert journal[0][1]["assessment"] == "LIA-1"
    assert journal[0][1]["basis"] == "legitimate-interest"


def test_after_a_restore_no_row_is_read(
    vault: Vault, desk: ConsentDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_yes(desk, tmp_path, NUMBERS)
    back = ConsentDesk(
        desk.database, SECRET, desk.scopes, desk.journal, desk.clock, NOW + timedelta(minutes=1)
    )

    def never(vault: Vault) -> object:
        raise AssertionError("a row was read")

    monkeypatch.setattr(Vault, "reader", never)
    with pytest.raises(Refused, match="came back from a backup"):
        prepare(vault, back, tmp_path, [])


def test_a_shop_without_customers_adds_zeros_for_the_noise(
    vault: Vault, desk: ConsentDesk, tmp_path: Path
) -> None:
    """Whether a shop takes part is seen by all, so no number of customers decides it."""
    prepared = prepare(vault, desk, tmp_path, [])
    state = start(churn.init(bytes(32), prepared.config))
    update = churn_fit.step(np.array(state.params), prepared.table, prepared.config, bytes)
    assert update.tolist() == [0] * churn.coordinates(prepared.config)
    assert not way.report(PERMIT, prepared, state, NOW).vector.any()
