"""Every item of GDPR art. 13 and 14 that is taken out of a notice is reported."""

from __future__ import annotations

from dataclasses import replace
from string import Formatter
from typing import Any

import pytest

import small_coop
from protocols.documents import articles, notice
from protocols.documents.document import Block, Document, Facts, Items, Statement
from protocols.documents.given import House
from protocols.documents.notice_words import COLUMNS, COUNTRIES, NOTICE, PURPOSES
from protocols.documents.readability import words
from protocols.documents.render import text_of
from protocols.errors import InputError
from small_shop import ABROAD, FIGURES, HOUSE, INTEREST, SHOP, house

LOCALES = ("en", "de")
DE_TEXT = {"notice_locale": "de", "notice_text": "Wir lernen aus Verkäufen, mit anderen Läden."}


def of(locale: str, **figures: Any) -> House:
    agreed = {**FIGURES, **(DE_TEXT if locale == "de" else {}), **figures}
    return house(small_coop.agreement(**agreed))


def without(document: Document, item: str) -> Document:
    """The document with every statement taken out that covers an item."""

    def kept(block: Block) -> Block | None:
        if isinstance(block, Statement):
            return None if item in block.covers else block
        if isinstance(block, Items):
            return Items(tuple(one for one in block.entries if item not in one.covers))
        if isinstance(block, Facts):
            return Facts(tuple(pair for pair in block.pairs if item not in pair[1].covers))
        return block

    sections = tuple(
        replace(one, blocks=tuple(b for b in map(kept, one.blocks) if b is not None))
        for one in document.sections
    )
    return replace(document, sections=sections)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_shop_that_answered_everything_lacks_nothing(locale: str) -> None:
    found = of(locale)
    made = notice.notice(found, locale)
    assert notice.missing(made, found) == ()
    assert not made.gaps()


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("item", [one.id for one in articles.NOTICE if one.id != "12(1)"])
def test_each_item_taken_out_is_reported(locale: str, item: str) -> None:
    # an agreement on legitimate interest has 13(1)(d) and 21(4), one on consent 13(2)(c)
    agreed = INTEREST if item in ("13(1)(d)", "21(4)") else {}
    found = of(locale, **agreed)
    made = notice.notice(found, locale)
    assert notice.missing(made, found) == ()
    (missing,) = notice.missing(without(made, item), found)
    assert missing.item == item
    assert missing.supply and missing.what


ANSWERS = {
    "name": "13(1)(a)",
    "owner": "13(1)(a)",
    "address": "13(1)(a)",
    "dpo": "13(1)(b)",
    "authority": "13(2)(d)",
    "helpers": "13(1)(e)",
}


@pytest.mark.parametrize("key", sorted(ANSWERS))
def test_each_answer_that_the_owner_owes_is_a_gap_that_says_how(key: str) -> None:
    found = house(shop=replace(SHOP, **{key: ""}))
    made = notice.notice(found, "en")
    (missing,) = notice.missing(made, found)
    assert missing.item == ANSWERS[key]
    assert missing.supply.startswith("coop-node inventory setup")


def test_an_e_mail_or_a_telephone_is_enough() -> None:
    for changes in ({"email": ""}, {"phone": ""}):
        found = house(shop=replace(SHOP, **changes))
        assert notice.missing(notice.notice(found, "en"), found) == ()
    found = house(shop=replace(SHOP, email="", phone=""))
    assert [one.item for one in notice.missing(notice.notice(found, "en"), found)] == ["13(1)(a)"]


def test_an_interest_that_nobody_named_is_missing() -> None:
    found = house(small_coop.agreement(**INTEREST), shop=replace(SHOP, interest=""))
    made = notice.notice(found, "en")
    assert [one.item for one in notice.missing(made, found)] == ["13(1)(d)"]
    assert made.sections[-1].heading == NOTICE["en"]["object_title"]


def test_a_helper_abroad_needs_safeguards_and_is_named() -> None:
    found = house(small_coop.agreement(**ABROAD))
    made = notice.notice(found, "en")
    assert "the United States" in text_of(made)
    assert [one.item for one in notice.missing(made, found)] == ["13(1)(f)"]
    safe = replace(found, shop=replace(SHOP, safeguards="Standard clauses of 2021."))
    assert notice.missing(notice.notice(safe, "en"), safe) == ()


def test_a_period_that_nobody_decided_is_missing() -> None:
    found = house(tables=(replace(HOUSE.tables[0], keep_days=None),))
    made = notice.notice(found, "en")
    assert [one.item for one in notice.missing(made, found)] == ["13(2)(a)"]
    assert [one.item for one in notice.missing(made, house(tables=()))] == ["13(2)(a)"]


def test_rows_that_should_be_gone_are_no_kept_promise() -> None:
    found = house(tables=(replace(HOUSE.tables[0], late=True),))
    (missing,) = notice.missing(notice.notice(found, "en"), found)
    assert missing.item == "13(2)(a)" and "purge" in missing.supply


def test_the_words_of_the_clause_stand_in_it_to_the_letter() -> None:
    said = "A *text* with <b>marks</b>, a # and\na second line."
    found = of("en", notice_text=said)
    made = notice.notice(found, "en")
    assert said in text_of(made)
    assert notice.missing(made, found) == ()
    other = of("en", notice_text="Another text.")
    assert [one.item for one in notice.missing(made, other)] == ["c11"]


def test_a_text_in_another_language_is_used_and_reported() -> None:
    found = of("en")
    made = notice.notice(found, "de")
    (missing,) = notice.missing(made, found)
    assert missing.item == "c11" and "en only" in missing.why
    (quoted,) = [one for one in made.statements() if one.verbatim]
    assert quoted.lang == "en"


def test_more_than_a_page_is_reported_with_its_words() -> None:
    found = of("en", notice_text="many words " * 400)
    made = notice.notice(found, "en")
    (missing,) = notice.missing(made, found)
    assert missing.item == "12(1)"
    assert str(len(words(text_of(made)))) in missing.why


def test_before_an_agreement_and_in_a_strange_language_there_is_none() -> None:
    with pytest.raises(InputError, match="agreement that you signed"):
        notice.notice(replace(HOUSE, coop=None), "en")
    with pytest.raises(InputError, match="no words"):
        notice.notice(house(), "xx")


def test_a_usual_notice_is_one_page_and_easy() -> None:
    for locale in LOCALES:
        made = notice.notice(of(locale), locale)
        grade = notice.reading_grade(made)
        assert grade is not None and grade.value < 8
        assert grade.words < notice.ONE_PAGE_WORDS


@pytest.mark.parametrize("table", [NOTICE, PURPOSES, COLUMNS, COUNTRIES])
def test_every_language_has_every_sentence_with_the_same_names(table: Any) -> None:
    first = table["en"]
    for words_of in table.values():
        assert words_of.keys() == first.keys()
        for key, text in words_of.items():
            assert text.strip()
            names = {name for _, name, _, _ in Formatter().parse(text) if name}
            assert names == {name for _, name, _, _ in Formatter().parse(first[key]) if name}
