"""Every dialect and version against its golden file; detection; the same rows however it is cut."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialect_files import DIALECTS, outcome, records
from node.data import connectors, generic
from node.data.batch import TextBatch
from node.data.columns import Role
from node.data.intake import Options, preview
from protocols.errors import InputError

FILES = sorted(DIALECTS.glob("*/*.csv"))
WHOLE = [path for path in FILES if connectors.find(path.parent.name).layout.orders is not None]


def ident(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


@pytest.mark.parametrize("path", FILES, ids=ident)
def test_a_golden_file_reads_as_written_down(path: Path) -> None:
    header, *rows = records(path)
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    said = expected.pop("said")
    reading = connectors.find(path.parent.name).read(header, rows, said)
    assert outcome(reading, header, rows, said) == expected


def test_every_dialect_has_a_golden_file_for_every_version() -> None:
    known = {
        (name, version.name)
        for name in connectors.names()
        for version in connectors.find(name).layout.signature.versions
    }
    assert {(path.parent.name, path.stem) for path in FILES} == known
    assert all(path.with_suffix(".json").is_file() for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=ident)
def test_a_header_is_known_in_any_order_and_case(path: Path) -> None:
    header, *rows = records(path)
    order = list(range(len(header)))
    Random(7).shuffle(order)
    mixed = ["\ufeff" * (at == 0) + f"  {header[place].upper()} " for at, place in enumerate(order)]
    shuffled = [[row[place] for place in order] for row in rows]
    best, *others = connectors.detect(mixed, shuffled)
    assert best.name == path.parent.name
    assert best.confidence >= connectors.SURE
    assert all(best.confidence - other.confidence >= connectors.CLOSE for other in others)
    assert connectors.choose([best, *others]) is best.reading
    assert "always has" in best.reason
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    made = outcome(best.reading, mixed, shuffled, expected["said"])
    # a place that is a column's name has that name's case, and stands where the column stands
    assert sorted(map(str.upper, made["rows"])) == sorted(map(str.upper, expected["rows"]))
    assert made["left_out"] == expected["left_out"]


@pytest.mark.parametrize("path", FILES, ids=ident)
def test_adding_the_file_finds_the_dialect_and_reads_the_same(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    said = expected["said"]
    options = Options(
        timezone=said.get("timezone", "UTC"), currency=said.get("currency"), max_bad_share=0.6
    )
    plan = preview(path, options)
    assert plan.reading.name == connectors.find(path.parent.name).layout.words.title
    assert plan.rows == len(expected["rows"]) + len(expected["bad"])
    assert [bad.line for bad in plan.examples] == [line for line, _ in expected["bad"]]
    assert plan.left_out == expected["left_out"]
    assert set(expected["dropped"]) <= set(plan.dropped)
    assert set(expected["notes"]) <= set(plan.notes)


def test_other_files_are_left_to_the_generic_reading() -> None:
    vectors = DIALECTS.parent
    for path in sorted(vectors.glob("good-*.csv")):
        if path.stem in ("good-utf16", "good-kasse-de", "good-us-tab"):
            continue
        header, *rows = records(path)
        assert connectors.choose(connectors.detect(header, rows)) is None, path.name
        assert generic.reading(header, {}, path.name).table == "sales_line"


def test_a_header_without_what_a_dialect_needs_is_not_it() -> None:
    header, *rows = records(DIALECTS / "shopify-orders" / "2025.csv")
    header[header.index("Lineitem sku")] = "Article"
    assert not connectors.detect(header, rows)
    with pytest.raises(InputError) as caught:
        connectors.find("shopify-orders").read(header, rows)
    assert "lacks Lineitem sku" in caught.value.problem
    assert "mapping new" in caught.value.fix


def test_unknown_columns_cost_confidence_and_are_reported() -> None:
    header, *rows = records(DIALECTS / "shopify-orders" / "2016.csv")
    wide = [*header, *(f"Own field {n}" for n in range(30))]
    found = connectors.detect(wide, [[*row, *[""] * 30] for row in rows])[0]
    assert connectors.SURE <= found.confidence < 0.95
    assert "30 of" in found.reason
    ignored = [c.header for c in found.reading.columns if c.fate == "ignored"]
    assert "Own field 29" in ignored


def test_a_translated_export_is_a_question_and_reads_when_it_is_named() -> None:
    path = DIALECTS / "woo-analytics-orders" / "2025.csv"
    rows = records(path)[1:]
    french = ["Date", "Commande n°", "Revenu net (formaté)", "État", "Client", "Type de client",
              "Produit(s)", "Articles vendus", "Code(s) promo", "Ventes nettes",
              "Attribution"]  # fmt: skip
    regular = [row for row in rows if row[6] and "×" in row[6]]
    found = connectors.detect(french, regular)
    assert [(one.name, one.confidence) for one in found] == [("woo-analytics-orders", 0.75)]
    assert "translated" in found[0].reason
    assert connectors.choose(found) is None
    reading = connectors.find("woo-analytics-orders").read(french, regular)
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    said = expected["said"]
    made = [line.rsplit(" | ", 1)[0] for line in outcome(reading, french, regular, said)["rows"]]
    assert made and set(made) <= {line.rsplit(" | ", 1)[0] for line in expected["rows"]}
    assert "Client" in [c.header for c in reading.columns if c.fate == "personal"]


def test_adding_a_translated_export_asks_with_the_name_to_say(tmp_path: Path) -> None:
    header, *rows = records(DIALECTS / "woo-analytics-orders" / "2025.csv")
    path = tmp_path / "umsatz.csv"
    names = [f"Spalte {at}" for at in range(len(header))]
    regular = [row for row in rows if "×" in row[6]]
    path.write_text("\n".join(";".join(row) for row in [names, *regular]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        preview(path)
    assert caught.value.where == "umsatz.csv:1:1"
    assert "It may be WooCommerce Analytics orders" in caught.value.fix
    assert "--as woo-analytics-orders" in caught.value.fix
    plan = preview(path, Options(dialect="woo-analytics-orders", currency="EUR"))
    assert plan.rows == 8 and plan.bad_rows == 0  # 2 + 1 + 1 + 3 + 1 goods; one is not paid
    with pytest.raises(InputError) as caught:
        preview(DIALECTS / "toast-items" / "2024.csv", Options(dialect="shopify-orders"))
    assert caught.value.where == "2024.csv:1:1"


def test_close_rivals_are_a_question() -> None:
    header, *rows = records(DIALECTS / "square-items" / "2026.csv")
    found = connectors.detect(header, rows)[0]
    twin = connectors.Detected("other", found.reading, found.confidence - 0.01, "")
    with pytest.raises(InputError) as caught:
        connectors.choose([found, twin])
    assert caught.value.fix == "Say which one: --as square-items or --as other"


def test_an_unknown_dialect_is_refused_with_the_names() -> None:
    with pytest.raises(InputError) as caught:
        connectors.find("clover")
    assert "shopify-orders" in caught.value.problem


def test_a_used_column_that_stands_twice_is_refused() -> None:
    header, *rows = records(DIALECTS / "toast-items" / "2024.csv")
    with pytest.raises(InputError) as caught:
        connectors.find("toast-items").read([*header, "qty"], [[*row, "1"] for row in rows])
    assert "stands twice" in caught.value.problem


def test_ids_of_another_form_make_a_payments_file_doubtful() -> None:
    header, *rows = records(DIALECTS / "stripe-payments" / "2025.csv")
    at = header.index("id")
    other = [[f"INV-{n}" if place == at else cell for place, cell in enumerate(row)]
             for n, row in enumerate(rows)]  # fmt: skip
    found = connectors.detect(header, other)[0]
    assert found.confidence < connectors.SURE
    assert "'id'" in found.reason


@pytest.mark.parametrize(
    ("days", "order"),
    [(["01/02/2026", "03/04/2026"], ""), (["01/02/2026", "13/04/2026"], "dmy"),
     (["01/02/2026", "04/13/2026"], "mdy"), (["2026-01-02"], "ymd")],
)  # fmt: skip
def test_square_days_are_read_in_one_order_or_asked_for(days: list[str], order: str) -> None:
    header, *rows = records(DIALECTS / "square-items" / "2026.csv")
    at = header.index("Date")
    lines = [[days[0] if n == 0 else days[-1], *row[1:]] for n, row in enumerate(rows[:2])]
    assert header[0] == "Date" and at == 0
    dialect = connectors.find("square-items")
    if not order:
        with pytest.raises(InputError) as caught:
            outcome(dialect.read(header, lines), header, lines, {})
        assert "--date-order dmy or --date-order mdy" in caught.value.fix
        said = {"date_order": "mdy"}
        made = outcome(dialect.read(header, lines, said), header, lines, said)
        assert [row.split(" | ")[2] for row in made["rows"]] == ["2026-01-02", "2026-03-04"]
        return
    made = outcome(dialect.read(header, lines), header, lines, {})
    assert made["rows"] and not made["bad"]


@settings(max_examples=25, deadline=None)
@given(path=st.sampled_from(WHOLE), cuts=st.lists(st.integers(0, 20), max_size=6))
def test_the_same_rows_come_out_however_a_file_is_cut(path: Path, cuts: list[int]) -> None:
    header, *rows = records(path)
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    said = expected["said"]
    reading = connectors.find(path.parent.name).read(header, rows, said)
    made = outcome(reading, header, rows, said, [min(cut, len(rows)) for cut in cuts])
    assert made["rows"] == expected["rows"]
    assert made["bad"] == expected["bad"]
    assert made["left_out"] == expected["left_out"]


@pytest.mark.parametrize("path", WHOLE, ids=ident)
def test_an_order_that_stands_in_the_file_again_counts_once(path: Path) -> None:
    header, *rows = records(path)
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    said = expected["said"]
    reading = connectors.find(path.parent.name).read(header, rows, said)
    made = outcome(reading, header, [*rows, *rows], said)
    assert made["rows"] == expected["rows"]
    assert made["bad"] == expected["bad"]
    assert made["left_out"] == {**expected["left_out"], "the same order again": len(rows)}


def test_an_order_that_changed_in_the_file_is_not_the_same() -> None:
    header, *rows = records(DIALECTS / "stripe-payments" / "2025.csv")
    paid = next(row for row in rows if row[header.index("Status")] == "Paid")
    other = list(paid)
    other[header.index("Amount")] = "77.00"
    reading = connectors.find("stripe-payments").read(header, rows, {})
    made = outcome(reading, header, [paid, rows[-1], other, rows[-2], paid], {})
    assert made["left_out"]["the same order again"] == 1
    assert not any("77" in row for row in made["rows"])
    assert made["bad"][0][0] == 4 and "twice and not the same" in made["bad"][0][1]


def test_orders_that_stand_again_do_not_move_those_that_are_left_out() -> None:
    header, *rows = records(DIALECTS / "shopify-orders" / "2025.csv")
    reading = connectors.find("shopify-orders").read(header, rows, {})
    columns = {
        name: [*(row[at] for row in rows)] * 2
        for at, name in enumerate(header)
        if name in reading.wanted
    }

    def gone(count: int) -> list[str]:
        one = reading.start()
        lines = np.arange(2, count + 2)
        held = {name: pa.array(cells[:count], pa.string()) for name, cells in columns.items()}
        found = [one.take(TextBatch(held, lines)), one.finish()]
        return [
            ref
            for batch in found
            if batch is not None and batch.gone is not None
            for ref in batch.gone.columns[Role.ORDER].to_pylist()
        ]

    assert gone(len(rows)) and gone(2 * len(rows)) == gone(len(rows))
