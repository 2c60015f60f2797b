"""Every file of the corpus is refused or repaired as it says; see its README."""

from __future__ import annotations

import importlib.util
import json
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from node.data.intake import Options, add, preview
from node.data.vault import Vault
from tests.node.data.conftest import NOW, SECRET

VECTORS = Path(__file__).parents[2] / "vectors" / "imports"
REPAIRS = json.loads((VECTORS / "repairs.json").read_text(encoding="utf-8"))
REFUSED = json.loads((VECTORS / "refusals.json").read_text(encoding="utf-8"))
COLUMNS = {
    "sales_line": "business_date, product, category, qty, net, currency",
    "stock": "sku, location, on_hand, incoming, as_of",
}


def shown(value: object) -> str | None:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return None if value is None else str(value)


@pytest.mark.parametrize("case", REPAIRS, ids=lambda case: case["file"])
def test_a_file_is_repaired(case: dict[str, Any], vault: Vault) -> None:
    plan = preview(VECTORS / case["file"], Options(**case.get("options", {})))
    table = case.get("table", "sales_line")
    assert plan.table == table
    assert plan.left_out == case.get("left_out", {})
    seen = [(bad.line, bad.place) for bad in plan.examples]
    assert seen == [(line, place) for line, place, _ in case.get("bad", [])]
    for bad, (_, _, words) in zip(plan.examples, case.get("bad", []), strict=True):
        assert words in bad.problem
    assert case.get("note", "") in " ".join(plan.notes)
    result = add(vault, plan, SECRET, NOW)
    rows = vault.query(f"SELECT {COLUMNS[table]} FROM {table} ORDER BY ALL")
    assert result.rows_added == len(rows) == case.get("count", len(case.get("rows", rows)))
    if "rows" in case:
        assert [[shown(value) for value in row] for row in rows] == case["rows"]


def test_every_file_of_the_corpus_is_expected_to_do_something() -> None:
    files = {path.name for path in VECTORS.glob("*-*.*") if path.suffix in (".csv", ".xlsx")}
    refused = {case["file"] for case in REFUSED if case["file"].startswith("bad-")}
    repaired = {case["file"] for case in REPAIRS}
    assert files == refused | repaired | {name for name in files if name.startswith("good-")}
    assert all(case["why"] for case in REPAIRS)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("workbooks", VECTORS / "make_workbooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_workbooks_are_what_their_script_makes() -> None:
    made = generator()
    assert {path.name for path in VECTORS.glob("*.xlsx")} == set(made.MADE)
    for name, make in made.MADE.items():
        held, fresh = (VECTORS / name).read_bytes(), make()
        assert made.content(held) == made.content(fresh), name
