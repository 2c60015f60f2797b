"""Documents as text, Markdown, HTML and CSV: escaped, accessible, the same each time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

import small_coop
from protocols.documents import dpia, essence, inventory, notice, record
from protocols.documents.document import Document, Section, Statement, Table, gap, plain
from protocols.documents.given import House, Import
from protocols.documents.page import html
from protocols.documents.render import facts_csv, markdown, table_csv, text_of
from small_shop import FIGURES, HOUSE, SHOP, house

MAKERS: dict[str, Callable[[House], Document]] = {
    "notice": lambda found: notice.notice(found, "de"),
    "essence": lambda found: essence.essence(found, "en"),
    "record": record.record,
    "dpia": dpia.dpia,
    "inventory": inventory.inventory,
}
HOSTILE = '"><script>alert(1)</script><img src=x onerror=a()>&amp;`*_[x](javascript:a())|'


class Strict(HTMLParser):
    """Tags in order, their attributes, and texts; void tags do not nest."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Strict:
    found = Strict()
    found.feed(page)
    assert found.open == []
    return found


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_the_same_facts_give_the_same_bytes(kind: str) -> None:
    one, other = MAKERS[kind](house()), MAKERS[kind](house())
    assert one.id == other.id
    for writer in (html, markdown, text_of, facts_csv):
        assert writer(one) == writer(other)
    stamped = replace(one, stamp=("As of another day.",))
    assert stamped.id == one.id and text_of(stamped) == text_of(one)
    assert html(stamped) != html(one)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_names_cannot_become_markup(kind: str) -> None:
    shop = replace(SHOP, name=HOSTILE, owner=HOSTILE, helpers=HOSTILE, backups=HOSTILE)
    table = replace(HOUSE.tables[0], columns=(HOSTILE,))
    taken = Import(HOUSE.imports[0].when, HOSTILE, HOSTILE, 1, 0, 0)
    agreed = small_coop.agreement(**{**FIGURES, "notice_text": HOSTILE, "contact": "<i>us</i>"})
    found = house(
        agreed, shop=shop, tables=(table,), imports=(taken,), people=((HOSTILE, "owner"),)
    )
    page = html(MAKERS[kind](found))
    seen = read(page)
    assert HOSTILE in seen.text
    names = {tag for tag, _ in seen.tags}
    assert not names & {"script", "img", "i", "iframe", "a"} - {"a"}
    links = [attrs["href"] for tag, attrs in seen.tags if tag == "a"]
    assert links == ["#main"]
    assert not any(key.startswith("on") for _, attrs in seen.tags for key in attrs)
    written = markdown(MAKERS[kind](found))
    assert not re.search(r"(?<!\\)[<\]`*|]", unmarked(written))


def unmarked(written: str) -> str:
    """Markdown without the marks that the writer itself sets at known places."""
    lines = []
    for line in written.split("\n"):
        # a row of a table: its own bars have spaces around them
        row = re.sub(r"^\| | \|$| \| ", " ", line) if line.startswith("| ") else line
        said = re.sub(r" \*\([^()]*(?:\([^()]*\)[^()]*)*\)\*$", "", row)  # without the source
        lines.append(re.sub(r"^(- )?\*\*(.*?)(?<!\\)\*\*", r"\2", said))
    return "\n".join(lines)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_page_can_be_read_by_everybody(kind: str) -> None:
    document = MAKERS[kind](house())
    page = html(document)
    seen = read(page)
    tags = [tag for tag, _ in seen.tags]
    assert dict(seen.tags)["html"]["lang"] == document.locale
    assert tags.count("h1") == 1 and tags.count("main") == 1 and tags.count("title") == 1
    levels = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3")]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert tags.count("table") == tags.count("caption") == len([
        table for table in document.tables() if table.rows
    ])  # fmt: skip
    for tag, attrs in seen.tags:
        if tag == "th":
            assert attrs["scope"] in ("col", "row")
    assert "@media print" in page and "default-src 'none'" in page
    assert "http://" not in page and "https://" not in page


def test_the_quoted_text_says_its_language() -> None:
    page = html(notice.notice(house(), "de"))
    quoted = [attrs for tag, attrs in read(page).tags if tag == "span" and "lang" in attrs]
    assert [one["lang"] for one in quoted] == ["en"]


def test_customers_see_no_sources_and_owners_do() -> None:
    assert "clause c" not in html(notice.notice(house(), "en"))
    assert "clause c14" in html(record.record(house()))
    assert plain(notice.notice(house(), "en")) != {}
    assert "clause c11" in str(plain(notice.notice(house(), "en")))


def small(*blocks: Statement | Table) -> Document:
    return Document("record", "T", "en", (Section("S", blocks),))


@pytest.mark.parametrize("cell", ["=1+1", "+cmd", "-x", "@a", "\tx", "\rx"])
def test_a_spreadsheet_runs_nothing(cell: str) -> None:
    table = Table("t", "c", ("a", "b"), ((cell, "-12.5"),))
    written = table_csv(table)
    assert f"'{cell}" in written
    assert ",-12.5" in written


def test_markdown_takes_texts_as_texts() -> None:
    written = markdown(small(Statement("1. no list\n- none\n# no heading"), Statement("a|b")))
    assert "1\\. no list" in written and "\n\\- none" in written and "\\# no heading" in written
    assert "a\\|b" in written


def test_a_gap_says_what_to_do_in_every_form() -> None:
    document = small(gap("the name.", "coop-node inventory setup", "30(1)(a)"))
    for written in (html(document), markdown(document), text_of(document), facts_csv(document)):
        assert "the name." in written and "coop-node inventory setup" in written
    assert document.gaps()[0].covers == ("30(1)(a)",)


def test_an_empty_table_says_the_next_step() -> None:
    document = small(Table("t", "Members", ("a",), (), (), "Invite one."))
    for written in (html(document), markdown(document), text_of(document)):
        assert "Invite one." in written
