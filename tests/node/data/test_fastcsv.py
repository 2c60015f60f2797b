"""The fast reader and the exact one see the same cells, lines and broken records."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from node.data import fastcsv
from node.data import lines as lines_module
from node.data.batch import BadRow
from node.data.source import Source
from protocols.errors import InputError

Seen = tuple[list[tuple[str, ...]], list[int], list[BadRow]]
WIDTH = 3


def exact(path: Path, encoding: str) -> Seen | tuple[str, str]:
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    broken: list[BadRow] = []
    with Source(path, encoding, ",") as source:
        source._at_once = lambda *_: None  # type: ignore[method-assign]
        try:
            for chunk in list(source.chunks())[1:]:
                rows += map(tuple, chunk.rows)
                lines += chunk.lines
                broken += chunk.broken
        except InputError as error:
            return error.where, error.problem
        source.finish()
    return rows, lines, broken


def fast(path: Path, encoding: str) -> Seen | tuple[str, str]:
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    broken: list[BadRow] = []
    with Source(path, encoding, ",") as source:
        try:
            for batch in source.batches(range(WIDTH)):
                rows += zip(*(one.to_pylist() for one in batch.columns.values()), strict=True)
                lines += batch.lines.tolist()
                broken += batch.broken
        except InputError as error:
            return error.where, error.problem
        source.finish()
    return rows, lines, broken


CELL = st.text(st.sampled_from('ab1 ,"\n\r\té\u00a0\ufeff\u2028;'), max_size=6)
ROWS = st.lists(st.lists(CELL, min_size=WIDTH - 1, max_size=WIDTH + 1), max_size=12)
BREAK = st.sampled_from(["\n", "\r\n", "\r"])
SOUP = st.text(st.sampled_from('a,"\n\r \ufeff'), max_size=30)


def written(rows: list[list[str]], line_break: str, quoting: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_break, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows(rows)
    return text.getvalue()


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(
    ROWS,
    BREAK,
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    SOUP,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([7, 40, 1 << 20]),
)
@example([["1", "2", "3"]] * 3, "\n", csv.QUOTE_ALL, '4,"5\n6",7', "utf-8", 7)
@example([["\ufeffx", "2", "3"]], "\n", csv.QUOTE_MINIMAL, "\ufeffy,2,3\n", "utf-8", 1 << 20)
@example([["1", "2", "3"], ["", "", ""]], "\n", csv.QUOTE_MINIMAL, "\n\n", "utf-8", 40)
def test_fast_and_exact_agree(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    line_break: str,
    quoting: int,
    tail: str,
    encoding: str,
    block: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "fast.csv"
    text = "x,y,z" + line_break + written(rows, line_break, quoting) + tail
    path.write_bytes(text.encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "BLOCK_BYTES", block)
        assert fast(path, encoding) == exact(path, encoding)


def test_one_odd_record_costs_no_more_than_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.csv"
    good = '1,"two\nlines",3\n'
    path.write_text("x,y,z\n" + good * 3000 + 'TV 32" screen,b,c\n' + good * 3000 + "1,2\n" + good)
    parsed: list[int] = []
    parse = fastcsv.parse

    def counted(stretch: bytes, count: int, *rest: object) -> object:
        cells = parse(stretch, count, *rest)  # type: ignore[arg-type]
        parsed.append(count if cells is not None else 0)
        return cells

    monkeypatch.setattr(fastcsv, "parse", counted)
    found = fast(path, "utf-8")
    assert found == exact(path, "utf-8")
    assert [bad.line for bad in found[2]] == [12003]
    assert sum(parsed) > 5500


def test_only_the_wanted_columns_become_cells(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("x,y,z\n1,secret,3\n4,,6\n")
    with Source(path, "utf-8", ",") as source:
        (batch,) = source.batches([2, 0])
    assert {k: v.to_pylist() for k, v in batch.columns.items()} == {
        "z": ["3", "6"],
        "x": ["1", "4"],
    }


def test_a_bad_byte_in_a_column_that_nobody_wants(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"x,y,z\n1,2,3\n1,\xff,3\n")
    with Source(path, "utf-8", ",") as source, pytest.raises(InputError) as caught:
        list(source.batches([0]))
    assert caught.value.where == "f.csv:3:3"
