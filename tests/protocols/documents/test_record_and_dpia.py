"""Record, assessment, matrix and inventory: from what is configured, with what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from test_notice_items import without

import small_coop
from protocols.agreement.template import amend
from protocols.documents import articles, dpia, essence, inventory, record
from protocols.documents.document import Document, Table
from protocols.documents.given import DPIA_QUESTIONS, QUESTIONS, House, Shop
from protocols.documents.record import Office
from protocols.documents.render import text_of
from small_shop import ABROAD, FIGURES, HOUSE, INTEREST, SHOP, house

OFFICE = Office(
    name="Six shops",
    legal_id="HRB 1",
    country="DE",
    contact="office@example.org",
    dpo="dpo@example.org",
    sub_processors=("Hosting GmbH",),
    members=(("Café Zoë", "HRB 9", "Berlin"),),
    people=2,
    software="1",
    terms=small_coop.agreement(**FIGURES).terms,
)


def bare(document: Document, item: str) -> Document:
    """Without an item, also in tables."""
    found = without(document, item)
    sections = tuple(
        replace(
            section,
            blocks=tuple(
                replace(block, covers=tuple(c for c in block.covers if c != item))
                if isinstance(block, Table)
                else block
                for block in section.blocks
            ),
        )
        for section in found.sections
    )
    return replace(found, sections=sections)


@pytest.mark.parametrize("item", [one.id for one in articles.RECORD])
def test_each_item_of_article_30_taken_out_is_reported(item: str) -> None:
    found = house()
    made = record.record(found)
    assert record.missing(made, found) == ()
    assert item in [one.item for one in record.missing(bare(made, item), found)]


@pytest.mark.parametrize("item", [one.id for one in articles.PROCESSOR_RECORD])
def test_each_item_of_the_processor_taken_out_is_reported(item: str) -> None:
    made = record.processor_record(OFFICE)
    assert record.processor_missing(made, OFFICE) == ()
    assert item in [one.item for one in record.processor_missing(bare(made, item), OFFICE)]


@pytest.mark.parametrize("key", ["legal_id", "contact", "dpo", "country"])
def test_what_the_office_did_not_set_is_a_gap_with_its_setting(key: str) -> None:
    office = replace(OFFICE, **{key: ""})
    (missing,) = record.processor_missing(record.processor_record(office), office)
    assert key in missing.supply


@pytest.mark.parametrize("item", [one.id for one in articles.DPIA])
def test_each_item_of_article_35_taken_out_is_reported(item: str) -> None:
    made = dpia.dpia(house())
    assert dpia.missing(made) == ()
    assert item in [one.item for one in dpia.missing(bare(made, item))]


@pytest.mark.parametrize("key", [one.key for one in DPIA_QUESTIONS])
def test_a_question_that_only_people_can_answer_stays_open(key: str) -> None:
    answers = {k: v for k, v in SHOP.answers.items() if k != key}
    made = dpia.dpia(house(shop=replace(SHOP, answers=answers)))
    (question,) = made.gaps()
    assert question.supply == "coop-node inventory setup --dpia"
    assert dpia.missing(made)


def test_the_assessment_shows_what_is_configured() -> None:
    text = text_of(dpia.dpia(house()))
    for said in (
        "epsilon at most 4 in any 365 days at delta 1e-05",
        "sums of at least 5 shops",
        "1000 uses, 100 fetches a day",
        "train:demand: yes, and we do",
        "train:churn: not entirely",
        "rows encrypted",
        "Answer to without_personal_data.",
        "Never for: credit_scoring",
        "Contact point: the shop where you bought",
    ):
        assert said in text


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "epsilon": {"epsilon": 3.0},
    "least numbers": {"min_cohort": 6},
    "basis": {"basis": "legitimate-interest", "basis_reference": "LIA-1"},
    "outputs": {"min_gain_percent": 5},
    "recipients": {"recipients": "contributors"},
    "countries": {"countries": ["DE", "CH"]},
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_what_reopens_it_changes_the_mark_and_the_version(name: str) -> None:
    before = small_coop.agreement(**FIGURES)
    after = small_coop.agreement(**{**FIGURES, **CHANGES[name]})
    assert dpia.reopening_id(before.terms) != dpia.reopening_id(after.terms)
    assert dpia.dpia(house(before)).id != dpia.dpia(house(after)).id


def test_costs_do_not_reopen_it() -> None:
    before = small_coop.agreement(**FIGURES)
    after = small_coop.agreement(**FIGURES, period_cap_cents=5)
    assert dpia.reopening_id(before.terms) == dpia.reopening_id(after.terms)


def test_the_matrix_follows_the_agreement() -> None:
    found = house()
    made = essence.essence(found, "en")
    assert essence.missing(made, found) == ()
    rows = dict(made.tables()[0].rows)  # type: ignore[arg-type]  # two columns
    assert rows["Reporting a leak"] == "the shops together"
    assert FIGURES["operator_legal_id"] in rows["Keeping the computers safe"]
    duties = [{"duty": duty, "by": "operator"} for duty in
              ("information", "requests", "breach", "security", "contact")]  # fmt: skip
    changed = amend(small_coop.agreement(**FIGURES), "c04", {"duties": duties})
    other = essence.essence(house(changed), "en")
    assert {row[1] for row in other.tables()[0].rows} == {rows["Keeping the computers safe"]}
    for item in ("26(1)", "26(2)"):
        assert item in [one.item for one in essence.missing(bare(made, item), found)]
    alone = small_coop.agreement(**FIGURES, controller="each")
    assert "answers alone" in text_of(essence.essence(house(alone), "en"))


def test_the_record_names_countries_and_what_was_agreed() -> None:
    text = text_of(record.record(house(small_coop.agreement(**ABROAD))))
    assert "Hosting Inc (US, server)" in text
    text = text_of(record.record(house(small_coop.agreement(**INTEREST))))
    assert "legitimate interest, art. 6(1)(f) (assessment LIA-2026-01)" in text


def test_the_record_does_not_change_with_every_sale() -> None:
    found = house()
    more = replace(found, tables=(replace(HOUSE.tables[0], rows=9000),), customers=900)
    assert record.record(found).id == record.record(more).id
    assert dpia.dpia(found).id != dpia.dpia(more).id


def steps(found: House) -> str:
    return "\n".join(one.text for one in inventory.next_steps(found))


def test_the_inventory_of_an_empty_node_says_what_to_do() -> None:
    empty = House("1", Shop())
    text = text_of(inventory.inventory(empty))
    assert "coop-node data add FILE" in text and "coop-node inventory setup" in text
    assert "coop-node join" in steps(empty)
    for one in QUESTIONS:
        assert (one.key in steps(empty)) == one.needed


def test_the_inventory_says_what_why_where_how_long_and_who() -> None:
    found = house(people=(("Ada", "owner"),), notices_in_use=("ab" * 32,))
    text = text_of(inventory.inventory(found))
    for said in ("5000", "2025-01-01", "orders_export.csv", "train:churn", "rows encrypted",
                 "730 days", "models 2 years (730 days)", "Ada", "Ελένη", "500"):  # fmt: skip
        assert said in text
    assert "Nothing is open" in steps(found)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tables": ()}, "coop-node data add"),
        ({"tables": (replace(HOUSE.tables[0], keep_days=None),)}, "coop-node data retention"),
        ({"tables": (replace(HOUSE.tables[0], late=True),)}, "vault purge --by-retention"),
        ({"shop": replace(SHOP, dpo="")}, "(dpo)"),
        ({"open_requests": 2}, "coop-node requests list"),
        ({"notices_in_use": ()}, "coop-node documents make notice"),
        ({"shop": replace(SHOP, answers={})}, "--dpia"),
        ({"places": (replace(HOUSE.places[0], protection="rows not encrypted"),)}, "not encrypted"),
    ],
)
def test_each_thing_that_is_open_is_a_step(changes: Mapping[str, Any], said: str) -> None:
    full = {"notices_in_use": ("ab" * 32,), **changes}
    assert said in steps(house(**full))
