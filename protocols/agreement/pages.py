"""The agreement and the comparison of two versions as HTML that stands alone.

One file, nothing fetched, no script, printable; headings in order, a language, tables with
captions and header cells, and no meaning in colour alone (WCAG 2.2). Every text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from protocols.agreement.compare import Change, compare
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.plural import name_of
from protocols.agreement.render import BADGES, grouped, tally
from protocols.agreement.terms import Clause

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.3rem; margin-top: 2rem; }
h3 { font-size: 1.05rem; margin-bottom: .25rem; }
li { margin-bottom: .3rem; overflow-wrap: anywhere; } dd, td, p { overflow-wrap: anywhere; }
.badge { border: 1px solid; border-radius: .3rem; font-size: .85rem; padding: 0 .4rem; }
.promise { border-style: dashed; font-weight: 600; }
code { font-family: ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; } caption { text-align: start; }
th, td { border: 1px solid; padding: .3rem .5rem; text-align: start; vertical-align: top; }
dt { font-weight: 600; } .skip { position: absolute; left: -999rem; } .skip:focus { left: 0; }
@media print { body { max-width: none; font-size: 10pt; } .skip { display: none; }
  h2, h3 { break-after: avoid; } li, tr { break-inside: avoid; } a { color: inherit; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page_html(parsed: ParsedAgreement, lang: str = "en") -> str:
    """What people read before they sign, as one HTML file; ``lang`` is the texts' language."""
    agreement = parsed.agreement
    facts = [
        ("Version", str(agreement.version)),
        ("Cooperative", name_of(agreement.coop)),
        ("Fingerprint", name_of(parsed.id)),
    ]
    if agreement.prev is not None:
        facts.append(("Replaces", name_of(agreement.prev)))
    body = [
        f"<h1>{_text(agreement.title)}</h1>",
        "<dl>",
        *(f"<dt>{name}</dt><dd><code>{_text(value)}</code></dd>" for name, value in facts),
        "</dl>",
        '<h2 id="effects">What this lets others do, and what not</h2>',
        "<p>Made by software from the figures that software obeys, not from the texts below.</p>",
    ]
    for heading, said in grouped(parsed):
        body += [f"<h3>{_text(heading)}</h3>", "<ul>"]
        body += [f"<li>{_text(sentence)} {_link(clause)}</li>" for sentence, clause in said]
        body.append("</ul>")
    body.append('<h2 id="clauses">The clauses</h2>')
    for clause in agreement.clauses:
        body += _clause(clause)
    return _html(agreement.title, body, lang)


def comparison_html(old: ParsedAgreement, new: ParsedAgreement, lang: str = "en") -> str:
    """What changes from one version to the other, as one HTML file."""
    changes = compare(old, new)
    title = f"What changes: version {old.agreement.version} to {new.agreement.version}"
    body = [
        f"<h1>{_text(title)}</h1>",
        f"<p>{_text(new.agreement.title)}</p>",
        f"<dl><dt>From</dt><dd><code>{name_of(old.id)}</code></dd>",
        f"<dt>To</dt><dd><code>{name_of(new.id)}</code></dd></dl>",
        f"<p>{_text(tally(changes) if changes else 'Every clause is the same.')}</p>",
    ]
    for change in changes:
        body += _change(change)
    return _html(title, body, lang)


def _change(change: Change) -> Iterator[str]:
    yield f"<h2>{_text(change.clause)} {_text(change.title)}: {change.kind}</h2>"
    if change.differences:
        yield "<table><caption>Figures that software obeys</caption><thead><tr>"
        yield from (f'<th scope="col">{name}</th>' for name in ("Figure", "From", "To", "For you"))
        yield "</tr></thead><tbody>"
        for one in change.differences:
            cells = (one.old or "(not there)", one.new or "(not there)", one.direction or "other")
            yield f'<tr><th scope="row"><code>{_text(one.path)}</code><br>{_text(one.says)}</th>'
            yield "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>"
        yield "</tbody></table>"
    for heading, said in (("No longer", change.was), ("Now", change.now)):
        if said:
            yield f"<h3>{heading}</h3><ul>"
            yield from (f"<li>{_text(one)}</li>" for one in said)
            yield "</ul>"
    if change.text_changed:
        yield "<p>The text that people read has changed.</p>"


def _clause(clause: Clause) -> Iterator[str]:
    promise = " promise" if clause.enforced_by == "attested" else ""
    yield f'<h3 id="{_text(clause.id)}">{_text(clause.id)} {_text(clause.title)}</h3>'
    yield f'<p><span class="badge{promise}">{_text(BADGES[clause.enforced_by])}</span></p>'
    yield from (f"<p>{_text(one)}</p>" for one in clause.plain_text.split("\n") if one.strip())


def _link(clause: str) -> str:
    return f'<a href="#{_text(clause)}">({_text(clause)})</a>'


def _text(text: str) -> str:
    return escape(text, quote=True)


def _html(title: str, body: Iterable[str], lang: str) -> str:
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="{_text(lang)}">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{_text(title)}</title>",
            f"<style>{_STYLE}</style></head>",
            '<body><a class="skip" href="#main">To the text</a>',
            '<main id="main">',
            *body,
            "</main></body></html>",
            "",
        ]
    )
