"""The notice to customers (GDPR art. 13 and 14): one page, plain words, one shop.

The text of clause c11 stands in it to the letter, so a shop that shows this notice shows the
agreed text too. What clause and settings do not say is a gap, and the checker names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocols.agreement.terms import (
    Benefit,
    Competition,
    Notice,
    NoticeText,
    Privacy,
    Retention,
    Rights,
    Roles,
    Sharing,
    Terms,
    cohort_floor,
)
from protocols.documents import articles
from protocols.documents.articles import Missing
from protocols.documents.document import CUSTOMERS, Document, Items, Section, Statement, gap
from protocols.documents.given import ADEQUATE, NO_DPO, Coop, House, Purpose, abroad, purposes
from protocols.documents.notice_words import COLUMNS, NOTICE, PURPOSES, Words, country
from protocols.documents.readability import Grade, grade, words
from protocols.documents.render import text_of
from protocols.documents.words import span
from protocols.errors import InputError

LOCALES: Final = tuple(NOTICE)
ONE_PAGE_WORDS: Final = 600  # fits on A4 in 9.5 point
_SETUP: Final = "coop-node inventory setup"
_RIGHTS_NEEDED: Final = {"en": ("copy", "corrected", "erased", "limited", "object", "take it"),
                         "de": ("Kopie", "berichtigen", "löschen", "sperren", "widersprechen",
                                "mitnehmen")}  # fmt: skip


def notice(house: House, locale: str) -> Document:
    """The notice of one shop.

    Args:
        house: what the node knows; a cooperative must be among it.
        locale: one of ``LOCALES``.

    Raises:
        InputError: no such language, or no agreement was signed yet.
    """
    if locale not in NOTICE:
        raise InputError(
            f"there are no words for a notice in {locale!r}.",
            where="--locale",
            fix=f"Languages: {', '.join(LOCALES)}.",
        )
    coop = require_coop(house)
    said = NOTICE[locale]
    made = tuple(purposes(coop.terms))
    sections = [
        Section(said["who"], tuple(_who(house, coop, said, locale))),
        Section(said["what"], (_agreed(coop.terms, locale),)),
        Section(said["why"], (Items(tuple(_why(house, made, said, locale))),)),
        Section(said["data"], tuple(_data(house, made, said, locale))),
        Section(said["who_gets"], tuple(_recipients(house, coop, said, locale))),
        Section(said["how_long"], tuple(_keep(house, coop.terms, said, locale))),
        Section(said["rights"], tuple(_rights(house, coop.terms, made, said))),
    ]
    objectable = [one for one in made if one.basis == "legitimate-interest"]
    if objectable:
        named = "; ".join(_purpose(one, locale) for one in objectable)
        text = said["object"].format(purposes=named)
        sections.append(
            Section(said["object_title"], (Statement(text, ("law", "clause c10"), ("21(4)",)),))
        )
    title = said["title"].format(shop=house.shop.name or "...")
    return Document(CUSTOMERS, title, locale, tuple(sections))


def require_coop(house: House) -> Coop:
    """The cooperative; InputError before an agreement was signed."""
    if house.coop is None:
        raise InputError(
            "this needs an agreement that you signed: it says what customers are told.",
            fix="Join a cooperative first (coop-node join), or see: coop-node inventory.",
        )
    return house.coop


def agreed_text(terms: Terms, locale: str) -> NoticeText | None:
    """The text of clause c11 in this language, else in English, else the first; or none."""
    block = terms.block("c11", Notice)
    texts = {one.locale: one for one in block.texts} if block is not None else {}
    for wanted in (locale, "en"):
        found = next((one for name, one in texts.items() if name.startswith(wanted)), None)
        if found is not None:
            return found
    return next(iter(texts.values()), None)


def contact_words(house: House, roles: Roles, locale: str) -> str:
    """The contact point of clause c04, which is in the language of the agreement's texts.

    In another language the shop itself: every joint controller has to answer (art. 26(3)).
    """
    agreed = agreed_text(house.terms, locale) if house.terms is not None else None
    if agreed is None or agreed.locale.startswith(locale) or not house.shop.contact:
        return roles.contact
    return house.shop.contact


def reading_grade(document: Document) -> Grade | None:
    """How hard it is to read, without headings, gaps and what is in another language."""
    texts = [
        one.text
        for one in document.statements()
        if not one.supply and one.lang.partition("-")[0] in ("", document.locale)
    ]
    return grade("\n".join(texts), document.locale)


def missing(document: Document, house: House) -> tuple[Missing, ...]:
    """Items of art. 13 and 14 that a notice lacks, and one page that it exceeds."""
    coop = require_coop(house)
    shop, locale, terms = house.shop, document.locale, coop.terms
    made = purposes(terms)
    people = [one for one in made if one.about_people]
    bases = {one.basis for one in people}
    sharing, roles = terms.block("c22", Sharing), terms.block("c04", Roles)
    values: dict[str, tuple[str, ...]] = {
        "13(1)(a)": (shop.name, shop.owner, shop.address, shop.contact),
        "13(1)(b)": () if shop.dpo == NO_DPO else (shop.dpo,),
        "13(1)(c)": tuple(_purpose(one, locale) for one in made),
        "13(1)(d)": (shop.interest,),
        "13(1)(e)": (roles.operator_legal_id if roles is not None else "",),
        "13(1)(f)": tuple(country(one, locale) for one in _away(sharing)),
        "13(2)(b)": _RIGHTS_NEEDED[locale],
        "13(2)(d)": (shop.authority,),
        "26(2)": (coop.name,),
    }
    agreed = agreed_text(terms, locale)
    values["c11"] = (agreed.text,) if agreed is not None else ()
    skipped = {"12(1)"}
    if "legitimate-interest" not in bases:
        skipped |= {"13(1)(d)", "21(4)"}
    if "consent" not in bases:
        skipped.add("13(2)(c)")
    if not (roles is not None and roles.controller == "joint"):
        skipped.add("26(2)")
    if agreed is None:
        skipped.add("c11")
    needed = [one for one in articles.NOTICE if one.id not in skipped]
    found = articles.check(document, articles.needs(needed, values))
    if any(one.late for one in house.tables):
        keep = articles.ITEMS["13(2)(a)"]
        why = "rows older than it says still lie here"
        found = (*found, Missing(keep.id, keep.what, why, "coop-node vault purge --by-retention"))
    count = len(words(text_of(document)))
    if count > ONE_PAGE_WORDS:
        page = articles.ITEMS["12(1)"]
        why = f"it has {count} words; {ONE_PAGE_WORDS} fit on one page"
        found = (Missing(page.id, page.what, why, page.supply), *found)
    if agreed is not None and not agreed.locale.startswith(locale):
        why = f"the clause has it in {agreed.locale} only, not in {locale}"
        item = articles.ITEMS["c11"]
        found = (*found, Missing("c11", item.what, why, item.supply))
    return found


# ------------------------------------------------------------------------------ sections


def _who(house: House, coop: Coop, said: Words, locale: str) -> Iterator[Statement]:
    shop = house.shop
    known = [shop.name, shop.owner, shop.address, shop.contact]
    if all(known):
        text = said["we"].format(
            owner=shop.owner, address=shop.address, shop=shop.name, contact=shop.contact
        )
        yield Statement(text, ("shop.toml",), ("13(1)(a)",))
    else:
        names = ("name", "owner", "address", "email or phone")
        lacking = ", ".join(n for n, value in zip(names, known, strict=True) if not value)
        yield gap(f"{lacking} of the shop.", _SETUP, "13(1)(a)")
    if shop.representative:
        text = said["rep"].format(representative=shop.representative)
        yield Statement(text, ("shop.toml",), ("13(1)(a)",))
    if not shop.dpo:
        yield gap("data protection officer, or 'none'.", f"{_SETUP} --dpo", "13(1)(b)")
    elif shop.dpo == NO_DPO:
        yield Statement(said["no_dpo"], ("shop.toml",), ("13(1)(b)",))
    else:
        yield Statement(said["dpo"].format(dpo=shop.dpo), ("shop.toml",), ("13(1)(b)",))
    roles = coop.terms.block("c04", Roles)
    if roles is not None:
        joint = roles.controller == "joint"
        contact = contact_words(house, roles, locale)
        text = said["joint" if joint else "each"].format(coop=coop.name, contact=contact)
        yield Statement(text, ("clause c04",), ("26(2)",) if joint else ())


def _agreed(terms: Terms, locale: str) -> Statement:
    found = agreed_text(terms, locale)
    if found is None:
        return gap("the members agreed on no text for customers.", articles.ITEMS["c11"].supply)
    return Statement(found.text, ("clause c11",), ("c11",), lang=found.locale, verbatim=True)


def _why(house: House, made: tuple[Purpose, ...], said: Words, locale: str) -> Iterator[Statement]:
    for one in made:
        purpose = _purpose(one, locale)
        source = ("clause c07", "clause c10")
        if one.basis == "consent":
            yield Statement(said["consent"].format(purpose=purpose), source, ("13(1)(c)",))
        elif one.basis == "none":
            yield Statement(said["none"].format(purpose=purpose), source, ("13(1)(c)",))
        else:
            yield Statement(said["interest"].format(purpose=purpose), source, ("13(1)(c)",))
    if any(one.basis == "legitimate-interest" for one in made):
        if house.shop.interest:
            yield Statement(house.shop.interest, ("shop.toml",), ("13(1)(d)",))
        else:
            yield gap("what this is good for.", f"{_SETUP} --interest", "13(1)(d)")


def _purpose(one: Purpose, locale: str) -> str:
    return PURPOSES[locale].get(one.id, one.id)


def _data(house: House, made: tuple[Purpose, ...], said: Words, locale: str) -> Iterator[Statement]:
    known = COLUMNS[locale]
    columns = sorted({column.rpartition(".")[2] for one in made for column in one.columns})
    keyed = any("customer" in column for column in columns)
    named = ", ".join(
        dict.fromkeys(known.get(column, column) for column in columns if "customer" not in column)
    )
    if named:
        yield Statement(said["kinds"].format(columns=named), ("clause c08",), ("14(1)(d)",))
    else:
        yield gap("which data.", articles.ITEMS["14(1)(d)"].supply, "14(1)(d)")
    yield Statement(said["keyed" if keyed else "plain"], ("clause c08",))
    yield Statement(said["source"], ("vault",), ("14(2)(f)",))
    yield Statement(said["must"], ("clause c10",), ("13(2)(e)",))


def _recipients(house: House, coop: Coop, said: Words, locale: str) -> Iterator[Statement]:
    terms, shop = coop.terms, house.shop
    roles, privacy = terms.block("c04", Roles), terms.block("c14", Privacy)
    competition, benefit = terms.block("c27", Competition), terms.block("c18", Benefit)
    if roles is not None and privacy is not None and competition is not None:
        floor = cohort_floor(privacy, competition)
        text = said["nobody"].format(operator=roles.operator_legal_id, floor=floor)
        yield Statement(text, ("clause c04", "clause c14", "clause c27"), ("13(1)(e)",))
    if benefit is not None:
        who = said[benefit.recipients].format(coop=coop.name)
        text = said["models"].format(recipients=who)
        yield Statement(text, ("clause c18",), ("13(1)(e)",))
    if any(one.noised for one in purposes(terms)):
        yield Statement(said["noise"], ("clause c14",))
    if not shop.helpers:
        text = "who besides you can use this computer."
        yield gap(text, f"{_SETUP} --helpers", "13(1)(e)")
    elif shop.helpers not in ("nobody", "niemand"):
        text = said["helpers"].format(helpers=shop.helpers)
        yield Statement(text, ("shop.toml",), ("13(1)(e)",))
    yield from _transfers(house, terms.block("c22", Sharing), said, locale)


def _away(sharing: Sharing | None) -> tuple[str, ...]:
    if sharing is None:
        return ()
    others = (one.country for one in sharing.sub_processors)
    return abroad(frozenset({sharing.coordinator_country, *others}))


def _transfers(
    house: House, sharing: Sharing | None, said: Words, locale: str
) -> Iterator[Statement]:
    source = ("clause c22",)
    if sharing is None:
        yield gap("where the server stands.", articles.ITEMS["13(1)(f)"].supply, "13(1)(f)")
        return
    away = _away(sharing)
    if not away:
        text = said["no_abroad"].format(country=country(sharing.coordinator_country, locale))
        yield Statement(text, source, ("13(1)(f)",))
        return
    named = ", ".join(country(one, locale) for one in away)
    unsafe = set(away) - ADEQUATE
    safeguards = house.shop.safeguards if unsafe else said["adequate"]
    text = said["abroad"].format(countries=named, safeguards=safeguards)
    yield Statement(text.rstrip(), source, ("13(1)(f)",))
    if unsafe and not safeguards:
        named = ", ".join(country(one, locale) for one in sorted(unsafe))
        yield gap(f"what protects the sums in {named}.", f"{_SETUP} --safeguards", "13(1)(f)")


def _keep(house: House, terms: Terms, said: Words, locale: str) -> Iterator[Statement]:
    lines = next((one for one in house.tables if one.name == "sales_line"), None)
    if lines is None or lines.keep_days is None:
        yield gap("how long lines of sales are kept.", RETENTION, "13(2)(a)")
    else:
        text = said["keep"].format(span=span(lines.keep_days, locale))
        yield Statement(text, ("retention",), ("13(2)(a)",))
    models = terms.block("c28", Retention)
    if models is not None:
        text = said["keep_models"].format(span=span(models.models_days, locale))
        yield Statement(text, ("clause c28",))


RETENTION: Final = articles.ITEMS["13(2)(a)"].supply


def _rights(
    house: House, terms: Terms, made: tuple[Purpose, ...], said: Words
) -> Iterator[Statement]:
    yield Statement(said["list"], ("law",), ("13(2)(b)",))
    block = terms.block("c12", Rights)
    if block is not None:
        yield Statement(said["answer"].format(days=block.answer_days), ("clause c12",))
    if any(one.basis == "consent" for one in made):
        yield Statement(said["withdraw"], ("clause c10",), ("13(2)(c)",))
    if house.shop.authority:
        text = said["complain"].format(authority=house.shop.authority)
        yield Statement(text, ("shop.toml",), ("13(2)(d)",))
    else:
        yield gap("the data protection authority.", f"{_SETUP} --authority", "13(2)(d)")
    yield Statement(said["machine"], ("clause c26",), ("13(2)(f)",))
