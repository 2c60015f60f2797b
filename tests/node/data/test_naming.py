"""The same export again, this time with its customers: they are filled in, nothing else changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.data.intake import ImportResult, Options
from node.data.values import customer_key
from node.data.vault import Vault

SECRET = bytes(range(32))
TakeIn = Callable[..., ImportResult]


def export(folder: Path, rows: list[str], name: str = "sales.csv") -> Path:
    """A till's CSV whose customer column nobody recognises; rows are day,receipt,household."""
    lines = ["Date,Receipt no,Category,Quantity,Total,Household"]
    for row in rows:
        day, receipt, household = row.split(",")
        lines += [f"{day},{receipt},A,1,2.00,{household}"] * 2
    path = folder / name
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


ROWS = [f"2017-01-{k + 1:02d},r{k},{'' if k % 4 == 3 else f'h{k % 4}'}" for k in range(20)]
MAPPED = Options(columns={"customer": "Household"})


def content(vault: Vault) -> list[tuple[Any, ...]]:
    return vault.query(
        "SELECT line_hash, copy, order_ref, net, epoch_us(ts_utc), is_return FROM sales_line "
        "ORDER BY ALL"
    )


def keys(vault: Vault) -> list[tuple[Any, ...]]:
    return vault.query(
        "SELECT order_ref, customer_key, count(*) FROM sales_line GROUP BY ALL ORDER BY order_ref"
    )


def expected() -> list[tuple[str, str | None, int]]:
    return sorted(
        (receipt, customer_key(SECRET, household), 2)
        for _, receipt, household in (row.split(",") for row in ROWS)
    )


def test_customers_are_filled_in(vault: Vault, take_in: TakeIn, tmp_path: Path) -> None:
    path = export(tmp_path, ROWS)
    assert take_in(path).named == 0 and vault.summary().customers == 0
    before, digest = content(vault), vault.data_digest()
    again = take_in(path, MAPPED)
    assert (again.rows_added, again.duplicates, again.named) == (0, 40, 30)
    assert keys(vault) == expected() and content(vault) == before
    assert vault.data_digest() != digest and len(vault.imports()) == 1
    vault.verify()
    # once more there is nothing left to do; a column that is missing takes nothing away
    digest = vault.data_digest()
    assert take_in(path, MAPPED).named == take_in(path).named == 0
    assert vault.data_digest() == digest and keys(vault) == expected()
    assert len(list((Vault(vault.root, bytes(32)).root / "rows").iterdir())) == 1


def test_over_several_files_together_with_new_lines(
    vault: Vault, take_in: TakeIn, tmp_path: Path
) -> None:
    take_in(export(tmp_path, ROWS[:7], "a.csv"))
    before = vault.manifest().files
    take_in(export(tmp_path, ROWS[5:12], "b.csv"), MAPPED)
    (untouched,) = (f for f in vault.manifest().files if f.rows == 10)
    assert untouched not in before
    take_in(export(tmp_path, ROWS[12:15], "c.csv"))
    done = take_in(export(tmp_path, ROWS, "all.csv"), MAPPED)
    assert (done.rows_added, done.duplicates) == (10, 30)
    # of the first file five receipts are left without a customer, one of them for good
    assert done.named == 2 * 4 + 2 * 3
    assert keys(vault) == expected() and len(vault.manifest().files) == 4
    assert untouched in vault.manifest().files and len(vault.imports()) == 4
    vault.verify()


def test_a_customer_that_is_there_stays(vault: Vault, take_in: TakeIn, tmp_path: Path) -> None:
    take_in(export(tmp_path, ROWS, "a.csv"), MAPPED)
    before = keys(vault)
    done = take_in(export(tmp_path, ROWS, "b.csv"), MAPPED, secret=b"b" * 32)
    assert done.named == 0 and keys(vault) == before


def test_a_crash_leaves_all_customers_or_none(
    vault: Vault, take_in: TakeIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in(export(tmp_path, ROWS[:10], "a.csv"))
    take_in(export(tmp_path, ROWS[10:], "b.csv"))
    path = export(tmp_path, ROWS, "all.csv")
    before, digest = keys(vault), vault.data_digest()
    real_replace, real_sync = Path.replace, os.fsync

    class Crash(BaseException):
        pass

    for steps in range(1, 40):
        left = [steps]

        def step(left: list[int] = left) -> None:
            left[0] -= 1
            if not left[0]:
                raise Crash

        def replace(self: Path, target: Path) -> Path:
            step()
            return real_replace(self, target)

        def sync(descriptor: int) -> None:
            real_sync(descriptor)
            step()

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            patch.setattr(os, "fsync", sync)
            try:
                take_in(path, MAPPED)
                crashed = False
            except Crash:
                crashed = True
        again = Vault(vault.root, bytes(32))
        again.verify()
        assert len(list((again.root / "rows").iterdir())) == 2
        if again.data_digest() == digest:
            assert crashed and keys(again) == before
        else:
            assert keys(again) == expected()
        if not crashed:
            break
    assert not crashed and 5 < steps < 39
