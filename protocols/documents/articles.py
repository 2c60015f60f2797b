"""What the law asks of a document, item by item, and which items one lacks.

GDPR (Regulation 2016/679). An item counts as there if a statement covers it that is no gap, and
if what only this document can say (a name, a period, a country) stands in such a statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from protocols.documents.document import Document


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the law."""

    id: str
    what: str
    supply: str


@dataclass(frozen=True, slots=True)
class Need:
    """An item that this document has to have, with the texts that must stand in it."""

    item: Item
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """An item that is not there, why, and what to supply."""

    item: str
    what: str
    why: str
    supply: str


_SETUP: Final = "coop-node inventory setup"
_AGREEMENT: Final = "ask the operator: the clause has to say it (coop-node agreement show)"
_SOFTWARE: Final = "the generator left it out: make the notice anew, and report it if it stays"
NOTICE: Final = (
    Item("12(1)", "plain words, at most one page", "shorten what the clause or shop.toml says"),
    Item("13(1)(a)", "who is responsible and how to reach them", f"{_SETUP} --name --email"),
    Item("13(1)(b)", "how to reach the data protection officer", f"{_SETUP} --dpo"),
    Item("13(1)(c)", "the purposes and the legal basis of each", _AGREEMENT),
    Item("13(1)(d)", "the legitimate interests", f"{_SETUP} --interest"),
    Item("13(1)(e)", "who receives the data", _AGREEMENT),
    Item("13(1)(f)", "transfers to other countries and what protects them", _AGREEMENT),
    Item("13(2)(a)", "how long the data are kept", "coop-node data retention"),
    Item("13(2)(b)", "the rights to access, correction, erasure, restriction, objection and to "
         "take the data along", _SOFTWARE),
    Item("13(2)(c)", "the right to withdraw consent at any time", _SOFTWARE),
    Item("13(2)(d)", "the right to complain to an authority", f"{_SETUP} --authority"),
    Item("13(2)(e)", "whether the data have to be given, and what follows if not", _SOFTWARE),
    Item("13(2)(f)", "whether anything is decided automatically", _SOFTWARE),
    Item("14(1)(d)", "the kinds of data", _AGREEMENT),
    Item("14(2)(f)", "where the data come from", "import sales: coop-node data add FILE"),
    Item("21(4)", "the right to object, apart from everything else", _SOFTWARE),
    Item("26(2)", "the essence of what the joint controllers agreed", _AGREEMENT),
    Item("c11", "the words of clause c11, to the letter", _AGREEMENT),
)  # fmt: skip
RECORD: Final = (
    Item("30(1)(a)", "the controller, joint controllers and officers", f"{_SETUP} --name --owner"),
    Item("30(1)(b)", "the purposes", _AGREEMENT),
    Item("30(1)(c)", "the kinds of people and data", "import sales: coop-node data add FILE"),
    Item("30(1)(d)", "the recipients", f"{_SETUP} --helpers"),
    Item("30(1)(e)", "transfers to other countries", _AGREEMENT),
    Item("30(1)(f)", "when data are erased", "coop-node data retention"),
    Item("30(1)(g)", "the security measures", _SOFTWARE),
)
PROCESSOR_RECORD: Final = (
    Item("30(2)(a)", "the processor, the controllers and their officers", "set legal_id, contact "
         "and dpo in config.toml"),
    Item("30(2)(b)", "the kinds of processing", _SOFTWARE),
    Item("30(2)(c)", "transfers to other countries", "set country in config.toml"),
    Item("30(2)(d)", "the security measures", _SOFTWARE),
)  # fmt: skip
DPIA: Final = (
    Item("35(7)(a)", "the processing, its purposes and interests", _AGREEMENT),
    Item("35(7)(b)", "whether it is necessary and proportionate", f"{_SETUP} --dpia"),
    Item("35(7)(c)", "the risks to people", _SOFTWARE),
    Item("35(7)(d)", "the measures against them", _SOFTWARE),
    Item("35(2)", "the advice of the data protection officer", f"{_SETUP} --dpia"),
    Item("35(9)", "the views of customers", f"{_SETUP} --dpia"),
    Item("35(11)", "what makes a new assessment necessary", _SOFTWARE),
)
ITEMS: Final[Mapping[str, Item]] = {
    one.id: one for one in (*NOTICE, *RECORD, *PROCESSOR_RECORD, *DPIA)
}


def needs(items: Iterable[Item], values: Mapping[str, tuple[str, ...]]) -> tuple[Need, ...]:
    """Every item as something needed, with the texts that must stand in it."""
    return tuple(Need(one, values.get(one.id, ())) for one in items)


def check(document: Document, needed: Iterable[Need]) -> tuple[Missing, ...]:
    """Which of the needed items the document lacks; empty if it has all.

    An empty text can stand nowhere: a value that nobody knows is a missing item.
    """
    out = []
    covering: dict[str, list[str]] = {}
    gaps: dict[str, list[str]] = {}
    for one in document.statements():
        for name in one.covers:
            if one.supply:
                gaps.setdefault(name, []).append(one.supply)
            else:
                covering.setdefault(name, []).append(one.text)
    for table in document.tables():
        if table.rows:
            text = "\n".join("\n".join(row) for row in table.rows)
            for name in table.covers:
                covering.setdefault(name, []).append(text)
    for need in needed:
        item, text = need.item, "\n".join(covering.get(need.item.id, ()))
        absent = [value for value in need.values if not value.strip() or value not in text]
        if item.id in gaps:
            supply = "; ".join(dict.fromkeys(gaps[item.id]))
            out.append(Missing(item.id, item.what, "it is not known yet", supply))
        elif not text.strip():
            out.append(Missing(item.id, item.what, "nothing says it", item.supply))
        elif absent:
            why = f"it does not name {absent[0]!r}" if absent[0].strip() else "a name is empty"
            out.append(Missing(item.id, item.what, why, item.supply))
    return tuple(out)
