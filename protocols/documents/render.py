"""A document as text, Markdown, CSV. Pure and deterministic: the same value, the same bytes.

Names of shops, products and columns come from outside: every text is escaped for what it is
written into, and nothing in it can become markup.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Final

from protocols.documents.document import Block, Document, Facts, Items, Statement, Table
from protocols.documents.words import frame

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?")
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|~&!])")
_LEADING: Final = re.compile(r"^(\s*)(\d+)([.)])(?=\s)|^(\s*)([-+=])", re.MULTILINE)


def text_of(document: Document) -> str:
    """Plain text, a paragraph a line; somebody else's words stand in it to the letter.

    The SHA-256 of its UTF-8 bytes names a notice, as that of a text of clause 11 does.
    """
    lines = [document.title, *([document.subject] if document.subject else [])]
    for section in document.sections:
        lines += ["", section.heading]
        for block in section.blocks:
            lines += _text_block(document, block)
    return "\n".join(lines) + "\n"


def _text_block(document: Document, block: Block) -> Iterator[str]:
    if isinstance(block, Statement):
        yield _said(document, block)
    elif isinstance(block, Items):
        yield from (f"- {_said(document, one)}" for one in block.entries)
    elif isinstance(block, Facts):
        yield from (f"{name}: {_said(document, one)}" for name, one in block.pairs)
    else:
        yield block.caption
        yield " | ".join(block.headers)
        yield from (" | ".join(row) for row in block.rows)
        if not block.rows:
            yield block.empty or frame(document.locale)["nothing"]


def _said(document: Document, one: Statement) -> str:
    if not one.supply:
        return one.text
    words = frame(document.locale)
    return f"[{words['missing']}: {one.text} {words['to_do']}: {one.supply}]"


# ---------------------------------------------------------------------------- Markdown


def markdown(document: Document) -> str:
    """CommonMark with pipe tables; no HTML in it."""
    words = frame(document.locale)
    lines = [f"# {_md(document.title)}", ""]
    if document.subject:
        lines += [_md(document.subject), ""]
    for section in document.sections:
        lines += [f"## {_md(section.heading)}", ""]
        for block in section.blocks:
            lines += [*_md_block(document, block), ""]
    lines += ["---", "", *(f"{_md(one)}  " for one in document.stamp)]
    lines.append(f"{words['version']} {document.id[:16]}")
    return "\n".join(lines) + "\n"


def _md_block(document: Document, block: Block) -> Iterator[str]:
    if isinstance(block, Statement):
        said = _md_said(document, block)
        yield from ([f"> {line}" for line in said.split("\n")] if block.verbatim else [said])
    elif isinstance(block, Items):
        yield from (f"- {_one_line(_md_said(document, one))}" for one in block.entries)
    elif isinstance(block, Facts):
        for name, one in block.pairs:
            yield f"- **{_md(name)}**: {_one_line(_md_said(document, one))}"
    else:
        yield from _md_table(document, block)


def _md_table(document: Document, table: Table) -> Iterator[str]:
    source = _md_source(document, table.sources)
    yield f"**{_md(table.caption)}**{source}"
    yield ""
    if not table.rows:
        yield _md(table.empty or frame(document.locale)["nothing"])
        return
    for row in (table.headers, ("---",) * len(table.headers), *table.rows):
        cells = row if row[0] == "---" else tuple(_one_line(_md(cell)) for cell in row)
        yield f"| {' | '.join(cells)} |"


def _md_said(document: Document, one: Statement) -> str:
    if one.supply:
        words = frame(document.locale)
        supply = f"{words['to_do']}: {_md(one.supply)}"
        return f"**{words['missing']}:** {_md(one.text)} {supply}"
    return _md(one.text) + _md_source(document, one.sources)


def _md_source(document: Document, sources: tuple[str, ...]) -> str:
    if not sources or not document.shows_sources:
        return ""
    return f" *({_md('; '.join(sources))})*"


def _md(text: str) -> str:
    """Text that Markdown takes as text."""
    escaped = _MARKUP.sub(r"\\\1", text)
    return _LEADING.sub(_unlisted, escaped)


def _unlisted(match: re.Match[str]) -> str:
    if match[2] is not None:
        return f"{match[1]}{match[2]}\\{match[3]}"
    return f"{match[4]}\\{match[5]}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


# --------------------------------------------------------------------------------- CSV


def table_csv(table: Table) -> str:
    """One table for a spreadsheet; a cell that would be a formula there is made text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(map(unformula, table.headers))
    writer.writerows([unformula(cell) for cell in row] for row in table.rows)
    return out.getvalue()


def unformula(cell: str) -> str:
    """The cell, with an apostrophe before what a spreadsheet would run; a number stays one."""
    if cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def facts_csv(document: Document) -> str:
    """Everything that a document says, a row a statement: section, name, text, sources, gap."""
    rows = []
    for section in document.sections:
        for block in section.blocks:
            for name, one in _named(block):
                shown = (one.text, "; ".join(one.sources), "; ".join(one.covers), one.supply)
                rows.append((section.heading, name, *shown))
    headers = ("section", "name", "text", "sources", "law", "to do")
    return table_csv(Table("facts", document.title, headers, tuple(rows)))


def _named(block: Block) -> Iterator[tuple[str, Statement]]:
    if isinstance(block, Statement):
        yield "", block
    elif isinstance(block, Items):
        yield from (("", one) for one in block.entries)
    elif isinstance(block, Facts):
        yield from block.pairs
    else:
        for row in block.rows:
            pairs = zip(block.headers[1:], row[1:], strict=True)
            said = "; ".join(f"{name}: {cell}" for name, cell in pairs if cell)
            yield row[0], Statement(said, block.sources, block.covers)
