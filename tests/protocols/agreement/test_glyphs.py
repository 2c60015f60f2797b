"""Text that people sign shows what it says."""

from __future__ import annotations

import copy
import json
import unicodedata
from typing import Any

import pytest
from agreement_world import AGREEMENT
from hypothesis import given
from hypothesis import strategies as st

from protocols.agreement.glyphs import readable, skeleton, unmistakable
from protocols.agreement.parse import parse_agreement
from protocols.errors import InputError

HIDDEN = [
    ("\u202e", "right-to-left override"),
    ("\u2066", "left-to-right isolate"),
    ("\u200f", "right-to-left mark"),
    ("\u061c", "arabic letter mark"),
    ("\u200b", "zero width space"),
    ("\u200d", "zero width joiner"),
    ("\u2060", "word joiner"),
    ("\ufeff", "zero width no-break space"),
    ("\u00ad", "soft hyphen"),
    ("\u3164", "hangul filler"),
    ("\ufe0f", "variation selector-16"),
    ("\U000e0041", "tag latin capital letter a"),
    ("\u2028", "line separator"),
    ("\x07", "U+0007"),
    ("\x7f", "U+007F"),
    ("\x85", "U+0085"),
    ("\ue000", "U+E000"),
    ("\U0001fffe", "U+1FFFE"),
]


@pytest.mark.parametrize(("char", "name"), HIDDEN)
def test_what_cannot_be_seen_is_named_with_its_place(char: str, name: str) -> None:
    with pytest.raises(ValueError, match="character 9") as caught:
        readable(f"At least{char}five members")
    assert name in str(caught.value)
    assert f"U+{ord(char):04X}" in str(caught.value)


GOOD = [
    "Bäckerei Müller & Söhne GmbH, Straße 5",
    "Épicerie d'Orléans – 12 €",
    "ООО Пекарня",
    "Αρτοποιείο Παπαδόπουλος",
    "東京パン屋",
    "مخبز",
    "Shop Ω 5",  # two words, two scripts
    "first line\nsecond line",
]


@pytest.mark.parametrize("text", GOOD)
def test_ordinary_names_pass(text: str) -> None:
    assert unmistakable(readable(text)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Müller".replace("ü", "u\u0308"), "character 2, U+0075"),
        ("5 \u212b", "character 3, U+212B"),  # the sign for ångström
        ("e\u0301", "composed form"),
    ],
)
def test_each_appearance_has_one_spelling(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="NFC") as caught:
        readable(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("H\u0420B 123", "character 2, U+0420 (cyrillic capital letter er), is Cyrillic in a word"),
        ("Fresh M\u0430rket", "character 8, U+0430"),
        ("\u0410lpha", "character 2, U+006C (latin small letter l), is Latin in a word of Cyril"),
        ("B\u03bf", "is Greek in a word of Latin"),
        ("\uff28RB 5", "U+FF28 (fullwidth latin capital letter h), looks like 'H'"),
        ("\U0001d407RB", "looks like 'H'"),
        ("HRB \uff15", "looks like '5'"),
        ("HRB\u00a05", "U+00A0 (no-break space), looks like a plain space"),
    ],
)
def test_a_letter_that_looks_like_another_is_named(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="character") as caught:
        unmistakable(text)
    assert words in str(caught.value)


def test_names_that_look_alike_have_one_skeleton() -> None:
    assert (
        skeleton("HRB 123") == skeleton("Н\u0420В 123".replace("\u0420", "R")) == skeleton("hrb123")
    )
    assert skeleton("\u041c\u041e\u0421\u041a") == skeleton("MOCK")
    assert skeleton("HRB 124") != skeleton("HRB 123")


@given(text=st.text())
def test_every_text_is_taken_as_it_is_or_refused_in_words(text: str) -> None:
    for check in (readable, unmistakable):
        try:
            assert check(text) == text
        except ValueError as error:
            assert "character" in str(error) or "spaces" in str(error)
            continue
        if check is readable:
            assert unicodedata.is_normalized("NFC", text)
            assert "\u202e" not in text


@pytest.mark.parametrize(
    ("clause", "field", "text", "words"),
    [
        ("c14", "plain_text", "Nobody\u202e can", "c14 plain_text: character 7, U+202E"),
        ("c02", "title", "H\u0430rvest", "c02 title: character 2, U+0430"),
        ("c04", "machine.operator_legal_id", "H\u0420B 1", "operator_legal_id: character 2"),
        ("c11", "machine.texts", [{"locale": "en", "text": "a\u200bb"}], "character 2, U+200B"),
        ("c07", "machine.allowed", ["tr\u0430in"], "allowed[0]"),
    ],
)
def test_a_hidden_character_in_an_agreement_is_named_with_clause_and_field(
    clause: str, field: str, text: Any, words: str
) -> None:
    document = copy.deepcopy(dict(AGREEMENT.document))
    place = next(one for one in document["clauses"] if one["id"] == clause)
    *path, last = field.split(".")
    for step in path:
        place = place[step]
    place[last] = text
    with pytest.raises(InputError) as caught:
        parse_agreement(json.dumps(document).encode(), "a.json")
    assert words in str(caught.value)
