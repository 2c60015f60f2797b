"""A document as PDF: fpdf2 with DejaVu Sans, so that names of all European languages print.

Language, title and an outline of the headings are set; the text can be searched and copied.
fpdf2 writes no structure tree, so the file is not "tagged" (PDF/UA): who reads with a screen
reader is better served by the HTML file, which every document has beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.resources import as_file, files
from typing import Final

from fpdf import FPDF, XPos, YPos
from fpdf.fonts import FontFace, TTFFont

from protocols.documents.document import Block, Document, Facts, Items, Statement, Table
from protocols.documents.words import frame

FONT: Final = "DejaVu"
_PT_TEXT: Final = 9.0
_PT_FOR_CUSTOMERS: Final = (10.5, 10.0, 9.5, 9.0, 8.5)  # the largest that fits on one page
_PT_SMALL: Final = 7.5
_PT_TITLE: Final = 15.0
_PT_HEADING: Final = 11.0
_LINE: Final = 1.32
_MM_PT: Final = 0.3528
_MARGIN_MM: Final = 15.0
_UNKNOWN: Final = "�"


class _Page(FPDF):
    """A page with its number at the foot."""

    def __init__(self, document: Document) -> None:
        wide = any(len(one.headers) > 6 for one in document.tables())
        super().__init__(orientation="landscape" if wide else "portrait", format="A4")
        self.words = frame(document.locale)

    def footer(self) -> None:
        """Number of the page."""
        self.set_y(-12)
        self.set_font(FONT, size=_PT_SMALL)
        self.cell(0, 5, f"{self.words['page']} {self.page_no()}", align="R")


def pdf(document: Document, made: datetime, *, compress: bool = True) -> bytes:
    """The file.

    Args:
        document: what it says.
        made: its date in the file's data; the same document and date give the same bytes.
        compress: False keeps the pages readable for tests.
    """
    if document.shows_sources:
        return bytes(_pages(document, made, _PT_TEXT, compress).output())
    for size_pt in _PT_FOR_CUSTOMERS:
        page = _pages(document, made, size_pt, compress)
        if page.pages_count == 1:
            break
    return bytes(page.output())


def _pages(document: Document, made: datetime, size_pt: float, compress: bool) -> _Page:
    page = _Page(document)
    page.set_compression(compress)
    known = _add_fonts(page)
    page.set_margins(_MARGIN_MM, _MARGIN_MM)
    page.set_auto_page_break(True, _MARGIN_MM)
    page.set_title(document.title)
    page.set_lang(document.locale)
    page.set_creator("datacoop")
    page.set_creation_date(made)
    page.set_display_mode("fullwidth")
    page.add_page()
    _Writer(page, document, known, size_pt).write()
    return page


def unprintable(document: Document) -> str:
    """Characters that the font does not have; they print as a question mark in a diamond."""
    known = _add_fonts(FPDF())
    texts = [document.title, document.subject, *document.stamp]
    texts += [text for one in document.statements() for text in (one.text, one.supply)]
    for table in document.tables():
        texts += [table.caption, *table.headers, *(cell for row in table.rows for cell in row)]
    return "".join(sorted({c for text in texts for c in text if c not in known and c != "\n"}))


def _add_fonts(page: FPDF) -> frozenset[str]:
    """Take in both faces; the characters that they have."""
    folder = files("node.documents").joinpath("fonts")
    for name, style in (("DejaVuSans.ttf", ""), ("DejaVuSans-Bold.ttf", "B")):
        with as_file(folder.joinpath(name)) as path:
            page.add_font(FONT, style, path)
    both = [
        frozenset(map(chr, face.cmap)) for face in page.fonts.values() if isinstance(face, TTFFont)
    ]
    return frozenset.intersection(*both)


class _Writer:
    """Puts one document onto pages."""

    def __init__(
        self, page: _Page, document: Document, known: frozenset[str], size_pt: float
    ) -> None:
        self._page, self._document, self._known, self._pt = page, document, known, size_pt

    def write(self) -> None:
        """All of it."""
        document, page = self._document, self._page
        self._text(document.title, _PT_TITLE, bold=True, after_mm=1)
        if document.subject:
            self._text(document.subject, self._pt)
        for section in document.sections:
            self._room(14)
            page.ln(1.2)
            page.start_section(self._clean(section.heading))
            self._text(section.heading, _PT_HEADING, bold=True, after_mm=0.6)
            for block in section.blocks:
                self._block(block)
        page.ln(2)
        foot = (*document.stamp, f"{page.words['version']} {document.id[:16]}")
        self._text("\n".join(foot), _PT_SMALL)

    def _block(self, block: Block) -> None:
        if isinstance(block, Statement):
            self._text(self._said(block), self._pt, indent_mm=4 if block.verbatim else 0)
        elif isinstance(block, Items):
            for one in block.entries:
                self._bullet()
                self._text(self._said(one), self._pt, indent_mm=5, after_mm=0.5)
        elif isinstance(block, Facts):
            for name, one in block.pairs:
                self._room(9)
                self._text(name, self._pt, bold=True, after_mm=0)
                self._text(self._said(one), self._pt, indent_mm=4)
        else:
            self._table(block)

    def _table(self, table: Table) -> None:
        page = self._page
        self._room(20)
        self._text(table.caption, self._pt, bold=True, after_mm=0.4)
        if source := self._source(table.sources).strip():
            self._text(source, _PT_SMALL)
        if not table.rows:
            self._text(table.empty or page.words["nothing"], self._pt)
            return
        page.set_font(FONT, size=_PT_SMALL)
        widths = tuple(_widths(table))
        head = FontFace(emphasis="BOLD", fill_color=(235, 235, 235))
        with page.table(
            col_widths=widths,
            headings_style=head,
            line_height=_PT_SMALL * _LINE * _MM_PT,
            text_align="LEFT",
            v_align="T",
            padding=0.8,
        ) as made:
            for cells in (table.headers, *table.rows):
                row = made.row()
                for cell in cells:
                    row.cell(self._clean(cell))
        page.ln(2)

    def _said(self, one: Statement) -> str:
        if one.supply:
            words = self._page.words
            return f"[{words['missing']}: {one.text} {words['to_do']}: {one.supply}]"
        return one.text + self._source(one.sources)

    def _source(self, sources: Iterable[str]) -> str:
        said = "; ".join(sources)
        return f" ({said})" if said and self._document.shows_sources else ""

    def _text(
        self,
        text: str,
        size_pt: float,
        *,
        bold: bool = False,
        indent_mm: float = 0,
        after_mm: float = 0.8,
    ) -> None:
        page = self._page
        page.set_font(FONT, "B" if bold else "", size_pt)
        page.set_x(_MARGIN_MM + indent_mm)
        page.multi_cell(
            0,
            size_pt * _LINE * _MM_PT,
            self._clean(text),
            align="L",
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )
        if after_mm:
            page.ln(after_mm)

    def _bullet(self) -> None:
        """The mark of an entry; its text hangs to the right of it."""
        page, height_mm = self._page, self._pt * _LINE * _MM_PT
        if page.will_page_break(height_mm):
            page.add_page()
        page.set_font(FONT, size=self._pt)
        page.set_x(_MARGIN_MM + 1)
        page.cell(4, height_mm, "•", new_x=XPos.LMARGIN, new_y=YPos.TOP)

    def _room(self, least_mm: float) -> None:
        """A heading or caption never stands alone at the foot of a page."""
        if self._page.will_page_break(least_mm):
            self._page.add_page()

    def _clean(self, text: str) -> str:
        return "".join(c if c in self._known or c == "\n" else _UNKNOWN for c in text)


def _widths(table: Table) -> Iterator[int]:
    """Relative widths: the square root of what stands in a column, so that long ones get room."""
    for index, header in enumerate(table.headers):
        cells = [row[index] for row in table.rows]
        longest_word = max(
            len(word) for text in (header, *cells) for word in (text.split() or [""])
        )
        total = sum(map(len, cells)) / max(1, len(cells)) + len(header)
        yield max(6, min(longest_word, 20), round(3.2 * total**0.5))
