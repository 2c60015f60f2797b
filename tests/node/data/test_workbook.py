"""Workbooks: read in a process of its own, within limits, and never trusted."""

from __future__ import annotations

import io
import subprocess
import zipfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from node.data import sheet_child, workbook
from node.data.intake import Options, preview
from protocols.errors import InputError
from tests.node.data.test_import_corpus import generator

openpyxl = pytest.importorskip("openpyxl")


def local(*parts: int) -> datetime:
    """A day and time as a workbook has it: without a zone."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[arg-type, misc]


@pytest.fixture(scope="module")
def made() -> ModuleType:
    return generator()


def book(folder: Path, parts: dict[str, bytes], made: ModuleType) -> Path:
    path = folder / "book.xlsx"
    path.write_bytes(made.packed(parts))
    return path


def test_a_workbook_of_another_program(tmp_path: Path) -> None:
    """Styles and shared texts as openpyxl writes them: days are typed, not guessed."""
    workbook_ = openpyxl.Workbook()
    sheet = workbook_.active
    sheet.append(["Date", "Time", "Product", "Quantity", "Total"])
    sheet.append([local(2017, 1, 31, 14, 5), time(9, 30), "Milk", 1, 1.5])
    sheet.append([date(2017, 2, 1), time(23, 59, 59), "Tea", 2, 1234.567])
    hidden = workbook_.create_sheet("Notes")
    hidden.append(["x", "y"])
    hidden.sheet_state = "hidden"
    workbook_.save(tmp_path / "till.xlsx")
    plan = preview(tmp_path / "till.xlsx")
    assert (plan.rows, plan.decimal, plan.read_as) == (2, ".", "sheet Sheet")
    assert plan.preview[1] == ("2017-02-01", "23:59:59", "Tea", "2", "1234.5670")
    with pytest.raises(InputError) as caught:
        preview(tmp_path / "till.xlsx", Options(sheet="Notes"))
    assert caught.value.where == "till.xlsx:1:1"


def test_a_sheet_with_one_cell_at_its_far_end(tmp_path: Path, made: ModuleType) -> None:
    parts = made.book({"Sales": [made.HEADER, made.good_row()]})
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    name = "xl/worksheets/sheet1.xml"
    parts[name] = parts[name].replace(b"</sheetData>", far)
    with pytest.raises(InputError, match="could not be read with 3 GB in 120 seconds"):
        preview(book(tmp_path, parts, made))


def test_a_child_that_takes_too_long_is_ended(
    tmp_path: Path, made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "CHILD_WALL_S", 0.0)
    with pytest.raises(InputError, match="could not be read"):
        preview(book(tmp_path, made.book({"S": [made.HEADER, made.good_row()]}), made))


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("MAX_MEMBERS", 3, "has 5 parts"),
        ("MAX_UNPACKED_BYTES", 100, "unpacks to"),
        ("MAX_FILE_BYTES", 100, "at most 100 are taken"),
        ("MAX_HELD_BYTES", 10, "could not be read with"),
    ],
)
def test_every_limit_holds(
    tmp_path: Path, made: ModuleType, monkeypatch: pytest.MonkeyPatch,
    limit: str, value: int, words: str,
) -> None:  # fmt: skip
    path = book(tmp_path, made.book({"S": [made.HEADER, made.good_row()]}), made)
    preview(path)
    monkeypatch.setattr(workbook, limit, value)
    with pytest.raises(InputError, match=words) as caught:
        preview(path)
    assert caught.value.fix.startswith("Save the sheet as CSV")


def test_no_more_is_held_than_the_limit_before_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workbook, "MAX_HELD_BYTES", 50)
    out = io.BytesIO(b'[1,["tx"]]\n' * 1000)
    child = subprocess.Popen(["true"])
    with pytest.raises(InputError, match="could not be read"):
        list(workbook._documents(child, out, "x.xlsx"))
    child.wait()
    assert out.tell() < 100


def test_a_part_that_stands_twice(tmp_path: Path, made: ModuleType) -> None:
    path = book(tmp_path, made.book({"S": [made.HEADER, made.good_row()]}), made)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("xl/workbook.xml", b"<workbook/>")
    with pytest.raises(InputError, match="two parts of the same name"):
        preview(path)


def test_the_file_must_stay_as_it_is(tmp_path: Path, made: ModuleType) -> None:
    path = book(tmp_path, made.book({"S": [made.HEADER, made.good_row()]}), made)

    def grow(done: int, total: int) -> None:
        with path.open("ab") as file:
            file.write(b"x")

    with pytest.raises(InputError, match="changed while it was being read"):
        preview(path, None, grow)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("", None), ("x", "tx"), (True, "ttrue"), (3.0, "n3"), (12, "n12"), (1.25, "n1.25"),
        (1234.567, "n1234.5670"), (0.1 + 0.2, "n0.3"), (1e-7, "n0.0000001"),
        (local(2017, 1, 31, 14, 4, 59, 999_800), "d2017-01-31 14:05:00"),
        (date(2017, 1, 31), "d2017-01-31"), (time(9, 5), "d09:05:00"),
        (timedelta(hours=9, minutes=5), "d09:05:00"), (timedelta(hours=30), "t1 day, 6:00:00"),
        ("a\0b", "ta b"),
    ],
)  # fmt: skip
def test_cells_as_text(cell: object, text: str | None) -> None:
    assert sheet_child.as_text(cell) == text


def test_the_child_says_why_it_cannot(capsys: pytest.CaptureFixture[str]) -> None:
    assert sheet_child.fail("it is damaged") == 1
    assert capsys.readouterr().out == '{"error": "it is damaged"}\n'
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("[Content_Types].xml", b"<Types/>")
    with pytest.raises(Exception, match=r".") as caught:
        list(sheet_child.documents(data.getvalue(), ""))
    assert caught.value.__class__.__module__.startswith(("python_calamine", "_python_calamine"))


# --- OpenDocument ------------------------------------------------------------------------------

OASIS = "urn:oasis:names:tc:opendocument:xmlns"


def ods(path: Path, rows: str) -> Path:
    spaces = " ".join(f'xmlns:{n}="{OASIS}:{n}:1.0"' for n in ("office", "table", "text"))
    content = (
        f'<?xml version="1.0"?><office:document-content {spaces}><office:body><office:spreadsheet>'
        f'<table:table table:name="Sales">{rows}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    listed = (
        f'<manifest:manifest xmlns:manifest="{OASIS}:manifest:1.0"><manifest:file-entry '
        f'manifest:full-path="/" manifest:media-type="{kind}"/></manifest:manifest>'
    )
    with zipfile.ZipFile(path, "w") as file:
        for name, text in {
            "mimetype": kind, "content.xml": content, "META-INF/manifest.xml": listed
        }.items():  # fmt: skip
            file.writestr(name, text)
    return path


def cells(*values: str | float | date) -> str:
    out = []
    for value in values:
        kind, attribute = "string", ""
        if isinstance(value, float):
            kind, attribute = "float", f' office:value="{value}"'
        if isinstance(value, date):
            kind, attribute = "date", f' office:date-value="{value}"'
        out.append(
            f'<table:table-cell office:value-type="{kind}"{attribute}><text:p>{value}</text:p>'
            "</table:table-cell>"
        )
    return f"<table:table-row>{''.join(out)}</table:table-row>"


def test_an_open_document(tmp_path: Path) -> None:
    head = cells("Date", "Product", "Category", "Quantity", "Total")
    row = cells(date(2017, 1, 2), "Milk", "Dairy", 1.0, 1.25)
    plan = preview(ods(tmp_path / "till.ods", head + row))
    assert (plan.rows, plan.bad_rows, plan.date_from) == (1, 0, date(2017, 1, 2))
    assert plan.preview == (("2017-01-02", "Milk", "Dairy", "1", "1.25"),)


def test_a_row_that_is_repeated_without_end(tmp_path: Path) -> None:
    row = cells("Date", "Product", "Category", "Quantity", "Total")
    many = cells(1.0).replace("row>", 'row table:number-rows-repeated="999999999">', 1)
    many = many.replace("cell ", 'cell table:number-columns-repeated="16384" ', 1)
    with pytest.raises(InputError) as caught:
        preview(ods(tmp_path / "bomb.ods", row + many))
    assert caught.value.where == "bomb.ods"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (b"<c r='B7' t='e'><v>#DIV/0!</v></c>", "error"),
        (b'<c t="e" r="B7"><v>#DIV/0!</v></c>', "error"),
        (b"<x:c r='B7'><x:f>A1*2</x:f><x:v/></x:c>", "formula"),
    ],
)
def test_an_error_is_found_however_it_is_quoted(cell: bytes, reason: str) -> None:
    found: dict[int, dict[int, str]] = {}
    sheet_child.note_cells(b"<row>" + cell + b"</row>", found)
    assert found == {7: {2: reason}}


def test_an_error_that_does_not_say_its_place_is_no_empty_cell() -> None:
    with pytest.raises(sheet_child.Unusable, match="its place"):
        sheet_child.note_cells(b'<row><c t="e"><v>#N/A</v></c></row>', {})
