"""A document as one HTML file that stands alone: nothing fetched, no script, printable.

Headings in order, a language, tables with captions and header cells, and no meaning in colour
alone (WCAG 2.2 AA). Every text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from protocols.documents.document import Block, Document, Facts, Items, Statement, Table
from protocols.documents.words import frame

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem; }
body.wide { max-width: 68rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin-bottom: .25rem; }
h2 { font-size: 1.2rem; margin: 1.5rem 0 .3rem; }
p, ul, dl { margin: .4rem 0; } li { margin-bottom: .25rem; }
li, dd, p { overflow-wrap: anywhere; } td, th { overflow-wrap: break-word; }
.source { font-size: .85rem; font-style: italic; font-weight: 400; }
.gap { border: 1px dashed; border-radius: .3rem; padding: 0 .3rem; }
blockquote { border-inline-start: .25rem solid; margin: .5rem 0; padding: .1rem .8rem; }
.scroll { overflow-x: auto; margin: .8rem 0 1.2rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: start; font-weight: 600; padding-bottom: .3rem; }
th, td { border: 1px solid; padding: .3rem .5rem; text-align: start; vertical-align: top; }
td, th { min-width: 4rem; } td.number { text-align: end; white-space: nowrap; }
dt { font-weight: 600; margin-top: .4rem; } dd { margin-inline-start: 1rem; }
footer { border-top: 1px solid; margin-top: 2rem; padding-top: .5rem; font-size: .85rem; }
.skip { position: absolute; left: -999rem; } .skip:focus { left: 1rem; }
@media print { @page { margin: 15mm; } body, body.wide { max-width: none; padding: 0; }
  body { font-size: 9.5pt; line-height: 1.35; color: #000; background: #fff; }
  h1 { font-size: 14pt; } h2 { font-size: 11pt; margin-top: .8rem; break-after: avoid; }
  .skip { display: none; } .scroll { overflow: visible; } li, tr { break-inside: avoid; }
  thead { display: table-header-group; } footer { margin-top: 1rem; font-size: .85em; }
  body.sheet { font-size: 8.7pt; line-height: 1.28; } .sheet p, .sheet ul { margin: .15rem 0; }
  .sheet h1 { font-size: 13pt; } .sheet h2 { font-size: 10pt; margin-top: .45rem; }
  .sheet li { margin-bottom: 0; } .sheet footer { margin-top: .4rem; } }
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def html(document: Document) -> str:
    """The page."""
    words = frame(document.locale)
    shape = "wide" if document.shows_sources else "sheet"  # a sheet prints on one page
    body = [f"<h1>{_text(document.title)}</h1>"]
    if document.subject:
        body.append(f"<p>{_text(document.subject)}</p>")
    for number, section in enumerate(document.sections, start=1):
        body.append(f'<section aria-labelledby="s{number}">')
        body.append(f'<h2 id="s{number}">{_text(section.heading)}</h2>')
        for block in section.blocks:
            body += _block(document, block)
        body.append("</section>")
    foot = [*(_text(one) for one in document.stamp)]
    foot.append(f"{_text(words['version'])} <code>{document.id[:16]}</code>")
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="{_text(document.locale)}">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{_text(document.title)}</title>",
            f"<style>{_STYLE}</style></head>",
            f'<body class="{shape}"><a class="skip" href="#main">{_text(words["skip"])}</a>',
            '<main id="main">',
            *body,
            "</main>",
            f"<footer><p>{'<br>'.join(foot)}</p></footer>",
            "</body></html>",
            "",
        ]
    )


def _block(document: Document, block: Block) -> Iterator[str]:
    if isinstance(block, Statement):
        said = _said(document, block)
        yield f"<blockquote>{said}</blockquote>" if block.verbatim else f"<p>{said}</p>"
    elif isinstance(block, Items):
        yield "<ul>"
        yield from (f"<li>{_said(document, one)}</li>" for one in block.entries)
        yield "</ul>"
    elif isinstance(block, Facts):
        yield "<dl>"
        for name, one in block.pairs:
            yield f"<dt>{_text(name)}</dt><dd>{_said(document, one)}</dd>"
        yield "</dl>"
    else:
        yield from _table(document, block)


def _table(document: Document, table: Table) -> Iterator[str]:
    caption = _text(table.caption) + _source(document, table.sources)
    if not table.rows:
        yield f"<p><strong>{caption}</strong><br>"
        yield f"{_text(table.empty or frame(document.locale)['nothing'])}</p>"
        return
    # a wide table scrolls by itself, also with the keyboard, so that the page never does
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(table.caption)}">'
    yield f"<table><caption>{caption}</caption><thead><tr>"
    yield "".join(f'<th scope="col">{_text(one)}</th>' for one in table.headers)
    yield "</tr></thead><tbody>"
    figures = [all(map(_is_figure, column)) for column in zip(*table.rows, strict=True)]
    for row in table.rows:
        cells = [f'<th scope="row">{_text(row[0])}</th>']
        for text, number in zip(row[1:], figures[1:], strict=True):
            cells.append(f'<td class="number">{_text(text)}</td>' if number else _cell(text))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _cell(text: str) -> str:
    return f"<td>{_text(text)}</td>"


def _is_figure(text: str) -> bool:
    """Whether a cell is a number or stands for none, so that its column is set to the end."""
    return text == "-" or text.replace(",", "").replace(".", "").isdecimal()


def _said(document: Document, one: Statement) -> str:
    lang = f' lang="{_text(one.lang)}"' if one.lang and one.lang != document.locale else ""
    text = "<br>".join(_text(line) for line in one.text.split("\n"))
    if one.supply:
        words = frame(document.locale)
        return (
            f'<span class="gap"><strong>{_text(words["missing"])}:</strong> {text} '
            f"<em>{_text(words['to_do'])}:</em> {_text(one.supply)}</span>"
        )
    shown = f"<span{lang}>{text}</span>" if lang else text
    return shown + _source(document, one.sources)


def _source(document: Document, sources: tuple[str, ...]) -> str:
    if not sources or not document.shows_sources:
        return ""
    return f' <span class="source">({_text("; ".join(sources))})</span>'


def _text(text: str) -> str:
    return escape(text, quote=True)
