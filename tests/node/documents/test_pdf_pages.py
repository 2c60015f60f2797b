"""Documents as PDF: names of all of Europe, words that can be found, the same bytes each time."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

import small_coop
from node.documents.pdf import pdf, unprintable
from protocols.documents import dpia, notice, record
from protocols.documents.document import Document, Section, Statement, Table
from small_shop import ABROAD, INTEREST, SHOP, house

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NAMES = "Zoë Świerczyńska, Ελένη Παπαδοπούλου, Łukasz Żółć, Ивана Ђурић, Guðrún, Ötvös Ő"


def small(*blocks: Statement | Table) -> Document:
    return Document("record", "A title", "de", (Section("Eine Überschrift", blocks),))


def text_in(raw: bytes) -> str:
    """What a reader would copy: glyphs by the fonts' own tables to Unicode, in both faces."""
    streams = re.findall(rb"stream\n(.*?)\nendstream", raw, re.DOTALL)
    faces = [_characters(one) for one in streams if b"beginbfchar" in one]
    pages = [one for one in streams if b" Tj ET" in one]
    assert len(faces) == 2 and pages
    found = re.findall(rb"\(((?:\\.|[^\\()])*)\) Tj", b"\n".join(pages), re.DOTALL)
    lines = [re.sub(rb"\\(.)", _unescaped, one, flags=re.DOTALL) for one in found]
    return "\n".join(
        "".join(face.get(line[at : at + 2], "") for at in range(0, len(line), 2))
        for line in lines
        for face in faces
    )


def _characters(table: bytes) -> dict[bytes, str]:
    pairs = re.findall(rb"<([0-9A-F]{4})> <([0-9A-F]{4})>", table.partition(b"beginbfchar")[2])
    return {
        bytes.fromhex(code.decode()): bytes.fromhex(char.decode()).decode("utf-16-be")
        for code, char in pairs
    }


def _unescaped(match: re.Match[bytes]) -> bytes:
    return b"\r" if match[1] == b"r" else match[1]


def test_the_words_can_be_found_in_it() -> None:
    raw = pdf(notice.notice(house(), "de"), NOW, compress=False)
    found = text_in(raw)
    for word in ("Świerczyńska", "Einwilligung", "Berliner", "Ελένη"):
        assert word in found


def test_language_title_and_outline_are_set() -> None:
    raw = pdf(small(Statement("x")), NOW, compress=False)
    assert b"/Lang (de)" in raw
    assert b"/Outlines" in raw
    assert raw.startswith(b"%PDF-")


def test_the_same_document_and_day_give_the_same_bytes() -> None:
    made = record.record(house())
    assert pdf(made, NOW) == pdf(made, NOW)
    assert pdf(made, NOW) != pdf(made, NOW.replace(day=23))


def test_a_notice_is_one_page_also_a_full_one() -> None:
    longest = {**INTEREST, **ABROAD, "notice_text": "Words that the members agreed on. " * 18}
    full = house(
        small_coop.agreement(**longest),
        shop=replace(SHOP, safeguards="Standard clauses of 2021, a copy is at the shop."),
    )
    for found in (house(), full):
        made = notice.notice(found, "de")
        assert "12(1)" not in [one.item for one in notice.missing(made, found)]
        assert len(re.findall(rb"/Type /Page\b", pdf(made, NOW))) == 1


def test_names_of_europe_print_and_others_are_told() -> None:
    assert unprintable(small(Statement(NAMES))) == ""
    assert unprintable(small(Statement("東京 and ok"))) == "京東"
    shop = replace(SHOP, name="東京")
    assert "�" in text_in(pdf(record.record(house(shop=shop)), NOW, compress=False))


@pytest.mark.parametrize("words", [1, 120])
def test_long_cells_and_many_rows_go_over_pages(words: int) -> None:
    cell = "word " * words + "x" * 60
    rows = tuple((str(n), cell) for n in range(30))
    table = Table("t", "Many rows", ("number", "text"), rows, ("vault",))
    raw = pdf(small(table), NOW)
    assert len(re.findall(rb"/Type /Page\b", raw)) >= (1 if words == 1 else 4)


def test_an_assessment_is_a_pdf_too() -> None:
    assert len(pdf(dpia.dpia(house()), NOW)) > 5000
