"""The way of a run's rows: permit, consent, quality; and that no stage can be skipped."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import node
from node.data.consent import consented_rows
from node.data.intake import ImportResult
from node.data.quality import QualityReport, check, checked_rows
from node.data.stages import CUSTOMER_COLUMNS, WEEKLY_COLUMNS, Basis, Standing
from node.data.vault import Vault
from protocols.audit.consent import weekly_root
from protocols.errors import InputError, Refused
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit

NOW = datetime(2025, 1, 6, tzinfo=UTC)
PERMIT = Permit(
    gate=Gate.ADMIT,
    agreement=AgreementId("a" * 64),
    run=RunId("b" * 32),
    purpose="train:demand",
    workload_digest="c" * 64,
    columns=WEEKLY_COLUMNS,
    not_after=NOW + timedelta(hours=1),
)
STANDING = Standing.of("train:demand", Basis.NONE, "", NOW, 0, [])


@pytest.fixture
def filled(vault: Vault, till: Callable[..., Path], take_in: Callable[..., ImportResult]) -> Vault:
    take_in(till([(f"2017-01-{day:02d}", f"r{day}", "A", "1") for day in range(1, 29)]))
    return vault


def test_consented_rows_carry_the_snapshot(filled: Vault) -> None:
    rows = consented_rows(filled, PERMIT, NOW, STANDING, week_start="monday")
    assert rows.vault_digest == filled.data_digest() and rows.permit is PERMIT
    roots = bytes.fromhex(rows.vault_digest), bytes.fromhex(STANDING.root)
    assert rows.snapshot_root == weekly_root(*roots).hex()
    assert rows.weekly.equals(filled.weekly_for_owner("monday"))
    assert "2017" not in repr(rows)


def test_an_import_in_between_is_read_again(
    filled: Vault,
    till: Callable[..., Path],
    take_in: Callable[..., ImportResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = Vault.weekly_for_run, []

    def slow(vault: Vault, *args: object, **kwargs: object) -> pd.DataFrame:
        out = real(vault, *args, **kwargs)  # type: ignore[arg-type]
        if not calls:
            take_in(till([("2017-02-01", "new", "A", "5")], "b.csv"))
        calls.append(1)
        return out

    monkeypatch.setattr(Vault, "weekly_for_run", slow)
    rows = consented_rows(filled, PERMIT, NOW, STANDING, week_start="monday")
    assert len(calls) == 2 and rows.vault_digest == filled.data_digest()
    assert rows.weekly["units"].sum() == 33


def test_no_permit_no_rows(filled: Vault) -> None:
    for change in ({"gate": Gate.USE}, {"columns": ()}, {"not_after": NOW - timedelta(1)}):
        with pytest.raises(Refused):
            consented_rows(filled, replace(PERMIT, **change), NOW, STANDING, week_start="monday")


def test_a_weekly_series_names_no_customer(filled: Vault) -> None:
    wide = replace(PERMIT, columns=(*WEEKLY_COLUMNS, "customer_key"))
    with pytest.raises(Refused, match="customer_key") as caught:
        consented_rows(filled, wide, NOW, STANDING, week_start="monday")
    assert caught.value.clauses == ("c08",)
    assert not CUSTOMER_COLUMNS & set(WEEKLY_COLUMNS)


def test_checked_rows(filled: Vault) -> None:
    rows = consented_rows(filled, PERMIT, NOW, STANDING, week_start="monday")
    checked = checked_rows(rows)
    assert (checked.permit, checked.snapshot_root) == (PERMIT, rows.snapshot_root)
    assert checked.weekly is rows.weekly


def test_health_below_the_minimum_stays_out(filled: Vault) -> None:
    rows = consented_rows(filled, PERMIT, NOW, STANDING, week_start="monday")
    report = check(filled, NOW.date())
    assert checked_rows(rows, report, report.score).health == report.score
    with pytest.raises(Refused, match=f"health is {report.score}") as caught:
        checked_rows(rows, report, report.score + 1)
    assert caught.value.fix == report.findings[0].fix
    with pytest.raises(Refused, match="none was measured"):
        checked_rows(rows, None, 1)
    with pytest.raises(Refused):
        checked_rows(rows, QualityReport(0, 0, ()), 1)


def test_damaged_series_stay_out(vault: Vault, filled: Vault) -> None:
    rows = consented_rows(filled, PERMIT, NOW, STANDING, week_start="monday")
    empty = replace(rows, weekly=rows.weekly.iloc[:0])
    twice = replace(rows, weekly=pd.concat([rows.weekly, rows.weekly.iloc[:1]]))
    endless = replace(rows, weekly=rows.weekly.assign(units=float("nan")))
    for bad in (empty, twice, endless):
        with pytest.raises(InputError):
            checked_rows(bad)


@pytest.mark.parametrize(
    ("stage", "module"),
    [
        ("RawRows", "convert"),
        ("ConsentedRows", "consent"),
        ("CheckedRows", "quality"),
        ("ConsentedLines", "consent"),
        ("CheckedLines", "line_quality"),
    ],
)
def test_one_module_makes_each_stage(stage: str, module: str) -> None:
    root = Path(node.__file__).parent
    makers = {
        path.stem
        for path in root.rglob("*.py")
        if re.search(rf"(?<!class )\b{stage}\(", path.read_text(encoding="utf-8"))
    }
    assert makers == {module}
