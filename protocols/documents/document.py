"""A document as a value: what it says, and for each statement where that came from.

Generators make one from an agreement and figures; ``render`` turns it into text, Markdown and
HTML. Nothing here is typed by hand that the software knows; what it cannot know is a gap, which
says what to supply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from protocols.canonical import json_id

CUSTOMERS = "notice"  # kinds that customers read show no sources beside their sentences
ESSENCE = "essence"
FOR_CUSTOMERS = frozenset({CUSTOMERS, ESSENCE})


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that a document says.

    Args:
        text: as people read it; for a gap, what is missing.
        sources: where it comes from: ``clause c07``, ``shop.toml``, ``ledger: consent``,
            ``journal: 3-9``, ``vault``, ``law`` or ``software``.
        covers: items of the law that it fulfils, for example ``13(1)(a)``.
        supply: how to fill the gap; empty if this is no gap.
        lang: language of the text if it is not the document's.
        verbatim: somebody else's words, to the letter.
    """

    text: str
    sources: tuple[str, ...] = ()
    covers: tuple[str, ...] = ()
    supply: str = ""
    lang: str = ""
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    entries: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with what stands for each."""

    pairs: tuple[tuple[str, Statement], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; ``empty`` stands in its place while there is no row.

    ``name`` is that of its CSV file.
    """

    name: str
    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    sources: tuple[str, ...] = ()
    empty: str = ""
    covers: tuple[str, ...] = ()


Block = Statement | Items | Facts | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One document.

    Args:
        kind: ``notice``, ``record``, ``dpia``, ``transparency``, ``essence``, ``inventory``.
        locale: of its words: ``en``, ``de``.
        subject: whose it is, one line.
        stamp: what changes though the facts did not (the day, a grade); not a part of its id.
    """

    kind: str
    title: str
    locale: str
    sections: tuple[Section, ...]
    subject: str = ""
    stamp: tuple[str, ...] = field(default=(), compare=False)

    @property
    def id(self) -> str:
        """SHA-256 of what it says, 64 hex digits; the same facts give the same id."""
        return json_id(plain(self))

    @property
    def shows_sources(self) -> bool:
        """Whether readers see where each statement came from."""
        return self.kind not in FOR_CUSTOMERS

    def statements(self) -> Iterator[Statement]:
        """Every statement, in order; cells of tables are not among them."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Statement):
                    yield block
                elif isinstance(block, Items):
                    yield from block.entries
                elif isinstance(block, Facts):
                    yield from (one for _, one in block.pairs)

    def tables(self) -> tuple[Table, ...]:
        """Every table, in order."""
        return tuple(
            block
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Table)
        )

    def gaps(self) -> tuple[Statement, ...]:
        """What is missing, each once."""
        return tuple(dict.fromkeys(one for one in self.statements() if one.supply))


def plain(document: Document) -> dict[str, Any]:
    """The document as JSON values, with every source; without its stamp."""
    return {
        "kind": document.kind,
        "title": document.title,
        "locale": document.locale,
        "subject": document.subject,
        "sections": [
            {"heading": one.heading, "blocks": [_block(block) for block in one.blocks]}
            for one in document.sections
        ],
    }


def _block(block: Block) -> dict[str, Any]:
    if isinstance(block, Statement):
        return {"paragraph": _statement(block)}
    if isinstance(block, Items):
        return {"list": [_statement(one) for one in block.entries]}
    if isinstance(block, Facts):
        return {"facts": [{"name": name, **_statement(one)} for name, one in block.pairs]}
    return {
        "table": {
            "name": block.name,
            "caption": block.caption,
            "headers": list(block.headers),
            "rows": [list(row) for row in block.rows],
            "sources": list(block.sources),
            "covers": list(block.covers),
        }
    }


def _statement(one: Statement) -> dict[str, Any]:
    full: Mapping[str, Any] = {
        "text": one.text,
        "sources": list(one.sources),
        "covers": list(one.covers),
        "supply": one.supply,
        "lang": one.lang,
        "verbatim": one.verbatim,
    }
    return {key: value for key, value in full.items() if value}


def gap(text: str, supply: str, *covers: str) -> Statement:
    """What the software cannot know, and how to say it."""
    return Statement(text, ("open",), covers, supply)
