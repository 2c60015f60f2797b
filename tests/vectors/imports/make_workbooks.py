"""Writes the workbooks of this folder: small, by hand, each with one thing that is odd.

    python tests/vectors/imports/make_workbooks.py

A test makes them again and compares every part, so nothing stands in them that is not said here.
"""

from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

Cell = str | int | float | None
WHEN: Final = (2020, 1, 1, 0, 0, 0)
MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATED: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
HEADER: Final = ("Date", "Product", "Category", "Quantity", "Total", "Customer name")


def xml(text: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{text}'.encode()


def cell(place: str, value: Cell) -> str:
    """Text, a number, ``!ERROR``, ``=formula`` without a value, or ``=formula|value``."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f'<c r="{place}"><v>{value}</v></c>'
    if value.startswith("!"):
        return f'<c r="{place}" t="e"><v>{value[1:]}</v></c>'
    if value.startswith("=") and "|" in value:
        formula, _, stored = value[1:].partition("|")
        return f'<c r="{place}"><f>{formula}</f><v>{stored}</v></c>'
    if value.startswith("="):
        return f'<c r="{place}"><f>{value[1:]}</f></c>'
    text = value.removeprefix("'").replace("&", "&amp;").replace("<", "&lt;")
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def sheet(rows: Sequence[Sequence[Cell]]) -> bytes:
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = "".join(cell(f"{chr(65 + k)}{number}", value) for k, value in enumerate(row))
        lines.append(f'<row r="{number}">{cells}</row>')
    return xml(f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>')


def book(
    sheets: Mapping[str, Sequence[Sequence[Cell]]], first_year: int = 1900
) -> dict[str, bytes]:
    """The parts of a workbook."""
    flag = ' date1904="1"' if first_year == 1904 else ""
    numbered = list(enumerate(sheets, start=1))
    listed = "".join(f'<sheet name="{n}" sheetId="{k}" r:id="rId{k}"/>' for k, n in numbered)
    links = "".join(
        f'<Relationship Id="rId{k}" Type="{RELATED}/worksheet" Target="worksheets/sheet{k}.xml"/>'
        for k, _ in numbered
    )
    kinds = "".join(
        f'<Override PartName="/xl/worksheets/sheet{k}.xml" ContentType="application/vnd.'
        'openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
        for k, _ in numbered
    )
    parts = {
        "[Content_Types].xml": xml(
            f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" ContentType='
            '"application/vnd.openxmlformats-package.relationships+xml"/><Override PartName='
            '"/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.'
            f'spreadsheetml.sheet.main+xml"/>{kinds}</Types>'
        ),
        "_rels/.rels": xml(
            f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" '
            f'Type="{RELATED}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
        ),
        "xl/workbook.xml": xml(
            f'<workbook xmlns="{MAIN}" xmlns:r="{RELATED}"><workbookPr{flag}/>'
            f"<sheets>{listed}</sheets></workbook>"
        ),
        "xl/_rels/workbook.xml.rels": xml(
            f'<Relationships xmlns="{PACKAGE}/relationships">{links}</Relationships>'
        ),
    }
    for number, name in numbered:
        parts[f"xl/worksheets/sheet{number}.xml"] = sheet(sheets[name])
    return parts


def packed(parts: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in parts.items():
            file.writestr(zipfile.ZipInfo(name, WHEN), content, method, 9)
    return out.getvalue()


def good_row(day: Cell = "2017-01-02", total: Cell = 1.5) -> list[Cell]:
    return [day, "Milk", "Dairy", 1, total, "Jane Roe"]


# --- repaired ----------------------------------------------------------------------------------


def days_1900() -> bytes:
    rows = [HEADER, good_row(42737), good_row(42738.5), good_row("2017-01-05")]
    return packed(book({"Sales": rows}))


def days_1904() -> bytes:
    return packed(book({"Sales": [HEADER, good_row(41275), good_row(41276.25)]}, 1904))


def title_rows() -> bytes:
    rows: list[Sequence[Cell]] = [["Sales of the Corner Shop"], [], ["printed", 2017], [], HEADER]
    return packed(book({"Sales": [*rows, good_row(), [], good_row()], "Empty": []}))


def formula_results() -> bytes:
    rows = [HEADER, good_row(total="=D2*1.5|1.5"), good_row(total="=0.1+0.2|0.30000000000000004")]
    return packed(book({"Sales": rows}))


def odd_cells() -> bytes:
    rows = [good_row() for _ in range(150)]
    rows[10] = good_row(total="!#DIV/0!")
    rows[20] = good_row(total="=D22*2")
    rows[30] = [*good_row()[:1], '\'=HYPERLINK("http://x")', *good_row()[2:]]
    return packed(book({"Sales": [HEADER, *rows]}))


# --- refused -----------------------------------------------------------------------------------


def before_march_1900() -> bytes:
    """Day 60 is the 29 February 1900 that never was; day 59 the 28th."""
    return packed(book({"Sales": [HEADER, good_row(59), good_row(60), good_row(61)]}))


def two_sheets() -> bytes:
    rows = [HEADER, good_row()]
    return packed(book({"January": rows, "February": rows}))


def no_header() -> bytes:
    return packed(book({"Sales": [good_row(), good_row()]}))


def no_rows() -> bytes:
    return packed(book({"Sales": []}))


def bomb() -> bytes:
    parts = book({"Sales": [HEADER, good_row()]})
    return packed(parts | {"xl/sharedStrings.xml": b"<sst>" + b" " * 12_000_000 + b"</sst>"})


def bomb_in_disguise() -> bytes:
    """A part whose table of contents says that it is small."""
    data = bytearray(bomb())
    size = struct.pack("<I", 12_000_000 + len(b"<sst></sst>"))
    at = data.rindex(size)
    data[at : at + 4] = struct.pack("<I", 1000)
    return bytes(data)


def entities() -> bytes:
    parts = book({"Sales": [HEADER, good_row()]})
    laughs = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))
    head = f'<!DOCTYPE workbook [<!ENTITY l0 "ha">{laughs}]>'.encode()
    old = parts["xl/workbook.xml"]
    return packed(parts | {"xl/workbook.xml": old.replace(b"<workbook ", head + b"<workbook ")})


def zip_in_zip() -> bytes:
    parts = book({"Sales": [HEADER, good_row()]})
    return packed(parts | {"xl/embeddings/inner.xlsx": packed(parts)})


def overlapping() -> bytes:
    """Two entries of the table of contents that share one part."""
    data = packed(book({"Sales": [HEADER, good_row()]}))
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    first = data[start : data.index(b"PK\x01\x02", start + 4)]
    again = bytearray(first)
    again[again.index(b"[Content")] = ord("{")
    tail = bytearray(data[end:])
    count = struct.unpack_from("<H", tail, 8)[0] + 1
    struct.pack_into("<HHI", tail, 8, count, count, end - start + len(again))
    return data[:end] + bytes(again) + bytes(tail)


def not_a_workbook() -> bytes:
    return packed({"readme.txt": b"hello"})


def cut_off() -> bytes:
    return packed(book({"Sales": [HEADER, good_row()]}), zipfile.ZIP_STORED)[:-200]


MADE: Final[Mapping[str, Callable[[], bytes]]] = {
    "fix-days-1900.xlsx": days_1900,
    "fix-days-1904.xlsx": days_1904,
    "fix-title-rows.xlsx": title_rows,
    "fix-formula-results.xlsx": formula_results,
    "fix-odd-cells.xlsx": odd_cells,
    "bad-before-march-1900.xlsx": before_march_1900,
    "bad-two-sheets.xlsx": two_sheets,
    "bad-no-header.xlsx": no_header,
    "bad-no-rows.xlsx": no_rows,
    "bad-bomb.xlsx": bomb,
    "bad-bomb-in-disguise.xlsx": bomb_in_disguise,
    "bad-entities.xlsx": entities,
    "bad-zip-in-zip.xlsx": zip_in_zip,
    "bad-overlapping.xlsx": overlapping,
    "bad-not-a-workbook.xlsx": not_a_workbook,
    "bad-cut-off.xlsx": cut_off,
}


def content(data: bytes) -> object:
    """What a zip holds, however it was packed; the bytes themselves if it is no zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return [(one.filename, one.file_size, one.CRC, one.header_offset) for one in
                    file.infolist()][:1] + sorted((n.filename, n.file_size, n.CRC)
                                                  for n in file.infolist())  # fmt: skip
    except (zipfile.BadZipFile, zlib.error):
        return data


def main() -> int:
    folder = Path(__file__).parent
    for name, make in MADE.items():
        (folder / name).write_bytes(make())
    return 0


if __name__ == "__main__":
    sys.exit(main())
