"""Who answers for what among joint controllers, and the page of it for customers (art. 26)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocols.agreement.terms import Rights, Roles
from protocols.documents import articles
from protocols.documents.articles import Item, Missing
from protocols.documents.document import ESSENCE, Document, Items, Section, Statement, Table, gap
from protocols.documents.given import House
from protocols.documents.notice import contact_words, require_coop
from protocols.errors import InputError

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "title": "Who answers for your data: the main points",
        "who": "Who we are",
        "joint": "The shops of {coop} decide together why and how data of their customers are "
        "used to learn from them. The law calls them joint controllers. They have agreed on this "
        "in writing; here is what matters to you.",
        "each": "Each shop of {coop} answers alone for the data of its own customers.",
        "shop": "Your shop: {shop}. You reach it at {contact}.",
        "answers": "Who answers for what",
        "duty": "duty",
        "by": "who",
        "you": "What you can do",
        "turn": "Turn to: {contact}. You may use your rights against each of the shops.",
        "days": "You get an answer within {days} days.",
        "information": "Telling you what happens",
        "requests": "Answering your requests",
        "breach": "Reporting a leak",
        "security": "Keeping the computers safe",
        "contact": "Being there for questions",
        "member": "each shop for its own customers",
        "cooperative": "the shops together",
        "operator": "{operator}, who runs the server",
        "table": "Duties and who fulfils them",
    },
    "de": {
        "title": "Wer für Ihre Daten einsteht: das Wichtigste",
        "who": "Wer wir sind",
        "joint": "Die Läden von {coop} legen gemeinsam fest, warum und wie sie aus Daten ihrer "
        "Kunden lernen. Das Gesetz nennt das gemeinsam Verantwortliche. Sie haben das schriftlich "
        "vereinbart; hier steht, was für Sie wichtig ist.",
        "each": "Jeder Laden von {coop} steht allein für die Daten seiner Kunden ein.",
        "shop": "Ihr Laden: {shop}. Sie erreichen ihn so: {contact}.",
        "answers": "Wer wofür einsteht",
        "duty": "Pflicht",
        "by": "wer",
        "you": "Was Sie tun können",
        "turn": "Fragen Sie hier: {contact}. Ihre Rechte haben Sie gegen jeden der Läden.",
        "days": "Sie bekommen in {days} Tagen eine Antwort.",
        "information": "Ihnen sagen, was geschieht",
        "requests": "Ihre Anfragen beantworten",
        "breach": "Ein Leck melden",
        "security": "Die Rechner sichern",
        "contact": "Für Fragen da sein",
        "member": "jeder Laden für seine Kunden",
        "cooperative": "die Läden gemeinsam",
        "operator": "{operator}, betreibt den Server",
        "table": "Pflichten und wer sie erfüllt",
    },
}
LOCALES: Final = tuple(_WORDS)
_ITEMS: Final = (
    Item("26(1)", "who fulfils which duty", "ask the operator: clause c04 has to say it"),
    articles.ITEMS["26(2)"],
)


def essence(house: House, locale: str) -> Document:
    """The page for customers, with the matrix of duties.

    Raises:
        InputError: no such language, or no agreement was signed yet.
    """
    if locale not in _WORDS:
        raise InputError(
            f"there are no words for this page in {locale!r}.",
            where="--locale",
            fix=f"Languages: {', '.join(LOCALES)}.",
        )
    coop, said, shop = require_coop(house), _WORDS[locale], house.shop
    roles, rights = coop.terms.block("c04", Roles), coop.terms.block("c12", Rights)
    who: list[Statement] = []
    rows: tuple[tuple[str, ...], ...] = ()
    you: list[Statement] = []
    if roles is not None:
        joint = said["joint" if roles.controller == "joint" else "each"].format(coop=coop.name)
        who.append(Statement(joint, ("clause c04",), ("26(2)",)))
        names = {
            "member": said["member"],
            "cooperative": said["cooperative"],
            "operator": said["operator"].format(operator=roles.operator_legal_id),
        }
        rows = tuple((said[one.duty], names[one.by]) for one in roles.duties)
        you.append(
            Statement(
                said["turn"].format(contact=contact_words(house, roles, locale)), ("clause c04",)
            )
        )
    if rights is not None:
        you.append(Statement(said["days"].format(days=rights.answer_days), ("clause c12",)))
    if shop.name and shop.contact:
        text = said["shop"].format(shop=shop.name, contact=shop.contact)
        who.append(Statement(text, ("shop.toml",)))
    else:
        who.append(gap("name and contact of the shop.", "coop-node inventory setup", "26(2)"))
    table = Table(
        "duties", said["table"], (said["duty"], said["by"]), rows, ("clause c04",), "", ("26(1)",)
    )
    sections = (
        Section(said["who"], tuple(who)),
        Section(said["answers"], (table,)),
        Section(said["you"], (Items(tuple(you)),)),
    )
    return Document(ESSENCE, said["title"], locale, sections, coop.name)


def missing(document: Document, house: House) -> tuple[Missing, ...]:
    """What the page lacks."""
    coop = require_coop(house)
    return articles.check(document, articles.needs(_ITEMS, {"26(2)": (coop.name,)}))


def matrix(house: House) -> Table:
    """The matrix for the owner: duty, who, from the agreement, in English."""
    found = essence(house, "en")
    return found.tables()[0]
