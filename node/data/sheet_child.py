"""A workbook as lines of JSON: a process of its own, with little memory and little time.

Run by ``node.data.workbook`` with the file as standard input; it imports nothing of the node. A
workbook is opened by a large parser, and what a parser does with a hostile file is bounded here by
the system, not by good will.

    first line   {"sheets": [[name, rows, columns], ...], "chosen": name, "epoch": 1900 | 1904 | 0}
    then         {"cells": {"5": {"3": "error"}}}: cells (row, column from 1) without a value
    each row     [row, [cell, ...]]; a cell is null, "t" + text, "n" + number, "d" + day or time
    or one line  {"error": "..."}
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import python_calamine

MAX_ROWS = 1_048_576
MAX_COLUMNS = 1_000
MAX_CELL_CHARS = 32_767
SMALL_XML = 4 << 20
PIECE = 4 << 20
_CELL = re.compile(rb"<(?:\w+:)?c\b([^>]*[^/>])>(.*?)</(?:\w+:)?c>", re.DOTALL)
_PLACE = re.compile(rb"""\br=["']([A-Z]{1,3})([0-9]{1,7})["']""")
_ERROR = re.compile(rb"""\bt=["']e["']""")
_VALUE = re.compile(rb"<(?:\w+:)?(?:v|t)[^>/]*>[^<]")
_FORMULA = re.compile(rb"<(?:\w+:)?f\b")
_RELATED = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


DAMAGED = (  # what the parsers raise over a file that is not whole
    python_calamine.CalamineError,
    zipfile.BadZipFile,
    zlib.error,
    ElementTree.ParseError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    RuntimeError,  # also: a way of packing that is not known
)


class Unusable(Exception):
    """The workbook cannot be read; the text is for people."""


def limit(memory_bytes: int, cpu_s: int) -> None:
    """Bound this process; where the system cannot, the parent's watchdog does."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def main() -> int:
    """Arguments: sheet name or "", bytes of memory, seconds of processor time."""
    wanted, memory_bytes, cpu_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    limit(memory_bytes, cpu_s)
    try:
        for document in documents(sys.stdin.buffer.read(), wanted):
            sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
            sys.stdout.write("\n")
    except python_calamine.PasswordError:
        return fail("it is locked with a password")
    except Unusable as error:
        return fail(str(error))
    except MemoryError:
        return fail("it needs too much memory")
    except DAMAGED as error:
        return fail(f"it is damaged ({str(error)[:120]})")
    return 0


def fail(problem: str) -> int:
    """Say why in one line."""
    sys.stdout.write(json.dumps({"error": problem}) + "\n")
    return 1


def documents(data: bytes, wanted: str) -> Iterator[Any]:
    """Everything to be written, in order."""
    book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    seen = python_calamine.SheetVisibleEnum.Visible
    hidden = {one.name for one in book.sheets_metadata if one.visible != seen}
    sheets: list[Any] = []
    for name in book.sheet_names:
        sheet = book.get_sheet_by_name(name)
        if sheet.height and (name not in hidden or name == wanted):
            sheets.append([name, sheet.height, sheet.width])
    names = [name for name, _, _ in sheets]
    chosen = wanted if wanted in names else ""
    if not wanted and len(names) == 1:
        chosen = names[0]
    epoch, member = facts(data, chosen) if zipfile.is_zipfile(io.BytesIO(data)) else (0, "")
    yield {"sheets": sheets, "chosen": chosen, "epoch": epoch}
    if not chosen:
        return
    sheet = book.get_sheet_by_name(chosen)
    if sheet.total_height > MAX_ROWS or sheet.total_width > MAX_COLUMNS:
        raise Unusable(f"the sheet has {sheet.total_height} rows and {sheet.total_width} columns")
    yield {"cells": without_value(data, member) if member else {}}
    for row, values in enumerate(sheet.iter_rows(), start=1):
        if any(value != "" for value in values):
            yield [row, [as_text(value) for value in values]]


def as_text(cell: Any) -> str | None:  # noqa: PLR0911
    """One cell as kind and text.

    A number has at most the 15 digits that Excel keeps; three decimals get a nought behind them,
    so that nobody takes the point for one between thousands.
    """
    if cell == "" and isinstance(cell, str):
        return None
    if isinstance(cell, str):
        return "t" + cell[: MAX_CELL_CHARS + 1].replace("\0", " ")
    if isinstance(cell, bool):
        return "ttrue" if cell else "tfalse"
    if isinstance(cell, int) or (isinstance(cell, float) and cell.is_integer()):
        return f"n{int(cell)}"
    if isinstance(cell, float):
        text = f"{Decimal(format(cell, '.15g')):f}"
        return f"n{text}0" if len(text.partition(".")[2]) == 3 else f"n{text}"
    if isinstance(cell, datetime):
        whole = cell + timedelta(microseconds=500)  # a day's fraction is exact to a millisecond
        return "d" + whole.replace(microsecond=whole.microsecond // 1000 * 1000).isoformat(" ")
    if isinstance(cell, date | time):
        return "d" + cell.isoformat()
    if isinstance(cell, timedelta) and timedelta(0) <= cell < timedelta(days=1):
        return "d" + str(cell).rjust(8, "0")
    return "t" + str(cell)


def facts(data: bytes, sheet: str) -> tuple[int, str]:
    """The first year of the workbook's day numbers (0 unknown), and the member of a sheet."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        if "xl/workbook.xml" not in book.namelist():
            return 0, ""
        root = small_xml(book, "xl/workbook.xml")
        epoch, related = 1900, ""
        for element in root.iter():
            tag = element.tag.rpartition("}")[2]
            if tag == "workbookPr" and element.get("date1904") in ("1", "true"):
                epoch = 1904
            if tag == "sheet" and element.get("name") == sheet:
                related = element.get(_RELATED) or ""
        for link in small_xml(book, "xl/_rels/workbook.xml.rels"):
            if link.get("Id") == related and related:
                target = link.get("Target", "")
                return epoch, target[1:] if target.startswith("/") else f"xl/{target}"
        return epoch, ""


def small_xml(book: zipfile.ZipFile, member: str) -> ElementTree.Element:
    """A small member as XML without a document type."""
    with book.open(member) as file:
        text = file.read(SMALL_XML + 1)
    if len(text) > SMALL_XML or b"<!DOCTYPE" in text:
        raise Unusable(f"its part {member} is not what a workbook has")
    try:
        return ElementTree.fromstring(text)  # noqa: S314  bounded, no document type
    except ElementTree.ParseError as error:
        raise Unusable(f"its part {member} is damaged") from error


def without_value(data: bytes, member: str) -> dict[int, dict[int, str]]:
    """Cells (row, column from 1) with an error, or a formula whose value was never stored."""
    found: dict[int, dict[int, str]] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as book, book.open(member) as file:
        rest = b""
        while piece := file.read(PIECE):
            rest += piece
            cut = rest.rfind(b"</row>") + 1 or (len(rest) if len(rest) > 4 * PIECE else 0)
            part, rest = rest[:cut], rest[cut:]
            if _ERROR.search(part) or _FORMULA.search(part):
                note_cells(part, found)
        note_cells(rest, found)
    return found


def note_cells(part: bytes, found: dict[int, dict[int, str]]) -> None:
    """Add those of one piece of the sheet's XML."""
    for match in _CELL.finditer(part):
        error = _ERROR.search(match[1]) is not None
        if error or (_FORMULA.search(match[2]) and not _VALUE.search(match[2])):
            place = _PLACE.search(match[1])
            if place is None:
                raise Unusable(
                    "a cell that holds an error or a bare formula does not say its place"
                )
            column = 0
            for letter in place[1]:
                column = 26 * column + letter - 64
            reason = "error" if error else "formula"
            found.setdefault(int(place[2]), {})[column] = reason


if __name__ == "__main__":
    raise SystemExit(main())
