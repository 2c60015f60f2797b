"""How healthy and how old the rows of an order are: as the member sees it, worked out once."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import pytest
from agreement_world import NOW, churn_order, order

from node.data import quality
from node.data.intake import add, preview
from node.data.stages import Basis
from node.data.vault import Vault
from node.policy import health as room
from node.policy.consents import ConsentDesk
from node.policy.health import data_age_days, health
from node.store.consents import State
from node.store.database import Database

SECRET = bytes(range(32))
PURPOSE = "train:churn"
LAST = NOW.date() - timedelta(days=3)


def rows(folder: Path, name: str, days: int, last: date) -> Path:
    source = random.Random(days)
    lines = [
        f"{last - timedelta(days=k % days)},A,1,{source.randrange(1, 9)}.00,C{k % 9}"
        for k in range(days * 4)
    ]
    path = folder / name
    path.write_text("\n".join(["date,category,qty,total,customer", *lines, ""]), encoding="utf-8")
    return path


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    made = Vault(tmp_path / "vault", bytes(32))
    add(made, preview(rows(tmp_path, "sales.csv", 200, LAST)), SECRET, NOW)
    return made


@pytest.fixture
def desk(tmp_path: Path) -> ConsentDesk:
    database = Database.open(tmp_path / "node.db", create=True)
    return ConsentDesk(database, SECRET, frozenset({PURPOSE}), lambda *_: None, lambda: NOW)


def test_the_score_is_the_one_that_the_member_sees(vault: Vault, desk: ConsentDesk) -> None:
    found = health(vault, desk.database, desk, order().order, NOW)
    assert found == quality.check(vault, NOW.date()).score > 0
    assert data_age_days(vault, NOW) == 3
    assert data_age_days(vault, NOW - timedelta(days=9)) == 0


def test_it_is_worked_out_once_until_something_changes(
    vault: Vault, desk: ConsentDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[date] = []
    real = quality.check

    def check(one: Vault, today: date) -> quality.QualityReport:
        looked.append(today)
        return real(one, today)

    monkeypatch.setattr(room.quality, "check", check)

    def ask(days: int = 0) -> float | None:
        return health(vault, desk.database, desk, order().order, NOW + timedelta(days=days))

    first = ask()
    assert ask() == first
    assert len(looked) == 1
    assert ask(20) != first  # nothing was sold for three weeks
    assert len(looked) == 2
    add(vault, preview(rows(tmp_path, "more.csv", 150, LAST)), SECRET, NOW)
    ask()
    assert len(looked) == 3


def test_customers_lines_have_a_score_of_their_own(vault: Vault, desk: ConsentDesk) -> None:
    wanted = churn_order().order
    assert health(vault, desk.database, desk, wanted, NOW) == 0  # nobody stands in the purpose
    desk.set_basis(PURPOSE, Basis.LEGITIMATE_INTEREST, "LIA-1")
    everybody = health(vault, desk.database, desk, wanted, NOW)
    assert everybody is not None and everybody > 0
    for number in range(9):
        desk.forbid(f"C{number}", PURPOSE, State.OBJECTED)
    assert health(vault, desk.database, desk, wanted, NOW) == 0


def test_what_cannot_be_looked_at_is_unknown(
    vault: Vault, desk: ConsentDesk, tmp_path: Path
) -> None:
    assert data_age_days(Vault(tmp_path / "other", bytes(32)), NOW) is None
    for file in (tmp_path / "vault" / "rows").iterdir():
        file.unlink()
    assert health(vault, desk.database, desk, order().order, NOW) is None
    assert data_age_days(vault, NOW) is None


def test_only_the_tables_that_the_run_reads_count(
    vault: Vault, desk: ConsentDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room.datasets(["qty", "sales_line.net"]) == ("sales",)
    assert room.datasets(["sku", "stock.sku", "on_hand"]) == ("sales", "stock")
    assert room.datasets(["customer_key", "net"]) == ("purpose",)
    assert room.datasets(["customer.customer_key"]) == ("customers", "purpose")
    assert room.datasets(["customer.country"]) == ("customers",)
    assert room.datasets(["something_else"]) == ("sales",)
    wanted = order().order
    sales = health(vault, desk.database, desk, wanted, NOW)
    with_stock = wanted.model_copy(update={"columns": (*wanted.columns, "stock.on_hand")})
    assert health(vault, desk.database, desk, with_stock, NOW) == 0  # there is no row of stock
    monkeypatch.setattr(room, "_of_table", lambda *_: 100)
    later = NOW + timedelta(days=1)
    assert health(vault, desk.database, desk, with_stock, later) == sales


def test_with_an_error_the_score_keeps_below_70(vault: Vault, tmp_path: Path) -> None:
    assert quality.check(vault, NOW.date()).score > 90
    path = tmp_path / "other.csv"
    path.write_text(
        f"date,category,qty,total,customer,currency\n{LAST},A,1,2.00,C1,USD\n{LAST},A,1,3.00,C1,EUR"
    )
    add(vault, preview(path), SECRET, NOW)
    found = quality.check(vault, NOW.date())
    assert [one.rule for one in found.findings if one.severity == "error"] == ["currency_mix"]
    assert found.score == 69
