"""Orders of WooCommerce's REST API as a JSON file: laid flat exactly, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dialect_files import DIALECTS, records
from node.data import rest_json
from node.data.glance import glance
from node.data.intake import Options, preview
from node.data.survey import kind_of
from protocols.errors import InputError

ORDERS = DIALECTS / "woo-rest-orders" / "v3.orders.json"


def laid(path: Path) -> list[list[str]]:
    with rest_json.opened(path) as table:
        batches = list(table.batches(rest_json.HEADER))
        cells = [batch.columns[name].to_pylist() for batch in batches for name in rest_json.HEADER]
        assert len(table.finish()) == 64
    width = len(rest_json.HEADER)
    rows = [zip(*cells[at : at + width], strict=True) for at in range(0, len(cells), width)]
    return [list(row) for part in rows for row in part]


def test_orders_are_laid_flat_as_written_down() -> None:
    header, *rows = records(DIALECTS / "woo-rest-orders" / "v3.csv")
    assert list(rest_json.HEADER) == header
    assert laid(ORDERS) == rows


def test_a_json_file_is_known_and_read_like_any_other(tmp_path: Path) -> None:
    plan = preview(ORDERS, Options(timezone="Europe/Berlin", max_bad_share=0.5))
    assert (plan.reading.name, plan.rows, plan.bad_rows) == ("WooCommerce REST orders", 11, 2)
    marked = tmp_path / "orders.json"
    marked.write_bytes(b"\xef\xbb\xbf \n" + ORDERS.read_bytes())
    assert kind_of(marked) == "json"
    assert laid(marked) == laid(ORDERS)
    assert glance(marked).header == rest_json.HEADER


def test_numbers_keep_the_text_that_they_are(tmp_path: Path) -> None:
    order = json.loads(ORDERS.read_text(encoding="utf-8"))[0]
    text = json.dumps([order]).replace('"quantity": 2', '"quantity": 0.10000000000000000000')
    path = tmp_path / "orders.json"
    path.write_text(text.replace('"total": "7.00"', '"total": NaN'))
    first = dict(zip(rest_json.HEADER, laid(path)[0], strict=True))
    assert first["line_items.quantity"] == "0.10000000000000000000"
    assert first["line_items.total"] == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"id": 1, ', "not proper JSON"),
        ('{"code": "rest_forbidden"}', "no list of orders"),
        ('[{"id": 1}]', "entry 1 of the list is no order"),
        ('[{"id": 1, "line_items": []}, {"id": 2, "line_items": "x"}]', "entry 2 of the list"),
        ('[{"a": ' + "[" * 100_000, "nested without end"),
        ('[{"id": 1, "line_items": []}]', "no sales lines"),
    ],
)
def test_what_is_no_list_of_orders_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "orders.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        preview(path)
    assert says in caught.value.problem
    assert caught.value.where.startswith("orders.json")


def test_too_large_and_not_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "orders.json"
    path.write_bytes('[{"id": "\xe9"}]'.encode("latin-1"))
    with pytest.raises(InputError, match="no UTF-8"):
        preview(path)
    monkeypatch.setattr(rest_json, "MAX_ROWS", 3)
    with pytest.raises(InputError, match="more than 3 lines"):
        preview(ORDERS)
    monkeypatch.setattr(rest_json, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="at most 0 MB"):
        preview(ORDERS)


def test_odd_values_are_no_cells(tmp_path: Path) -> None:
    odd: list[Any] = [
        {"id": 1, "line_items": [7, {"name": ["Tea"], "quantity": None}], "billing": "none",
         "refunds": [{"total": "-1.00"}, 5]}
    ]  # fmt: skip
    path = tmp_path / "orders.json"
    path.write_text(json.dumps(odd))
    for row in laid(path):
        cells = dict(zip(rest_json.HEADER, row, strict=True))
        assert cells["line_items.name"] == cells["line_items.quantity"] == ""
        assert cells["refunds.total"] == "refund ''"
