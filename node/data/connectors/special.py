"""Special-category content (GDPR art. 9(1)): known by a column's name or by what stands in it.

Health, religion, belief, politics, unions, origin, genes, biometrics, sex life. Such a column is
never taken in, whatever a mapping says; the member reads why. Names of goods are not looked at:
what a shop sells is no statement about a person, and a bakery's "Easter lamb" is no religion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from node.data.columns import plain

MIN_CELLS: Final = 5
SHARE: Final = 0.3

# What a column's name says, word by word after ``plain``; a * stands for any letters, a _ for the
# blank between two words, and a word after a = is meant only where it is the whole name: a gift
# card's denomination, a credit union's fee or a page's orientation are nobody's belief.
_NAMES: Final[Mapping[str, str]] = {
    "health": (
        "health diagnos* illness disease medical medication medicine prescription* allergy "
        "allergies allergic disab* pregnan* icd icd10 symptom* patient* therapy blood insulin "
        "gesundheit* *krank* diagnose* allergie allergien allergiker behinder* schwerbehinder* "
        "pflegegrad schwanger* medikament* sante maladie* grossesse handicap* ordonnance salud "
        "enfermedad* embarazo discapacidad receta alergia alergias"
    ),
    "religion or belief": (
        "relig* *religion faith church confession belief* konfession kirche kirchensteuer* glaube* "
        "eglise croyance* iglesia creencia* confesion =denomination"
    ),
    "political opinion": (
        "politic* political_party voter politisch* =party =partei =parti =vote =votes"
    ),
    "trade-union membership": (
        "trade_union* labor_union* labour_union* union_member* union_dues gewerkschaft* "
        "syndicat* sindicato* =union"
    ),
    "racial or ethnic origin": "ethnic* racial ethni* =race =rasse etnia =raza",
    "sex life or sexual orientation": "sexual* sexuell* orientation_sexuelle lgbt*",
    "genetic or biometric data": "genetic* dna genome biometric* faceid",
}
# Names that hold one of these words and mean something else.
_HARMLESS: Final = frozenset({"health score"})

# What stands in a cell: the whole cell, or a code of its own form.
_CONTENT: Final[Mapping[str, str]] = {
    "health": (
        "diabetes diabetic asthma hypertension epilepsy cancer pregnant depression "
        "coeliac celiac hiv schwanger zuckerkrank diabetiker enceinte diabetique embarazada "
        "allergic peanut-allergy lactose-intolerant gluten-intolerant"
    ),
    "religion or belief": (
        "christian catholic protestant orthodox muslim jewish hindu buddhist sikh atheist "
        "katholisch evangelisch muslimisch judisch konfessionslos catholique musulman juif "
        "catolico musulmana judio"
    ),
    "political opinion": (
        "democrat republican socialist communist sozialdemokrat socialiste republicain"
    ),
    "trade-union membership": "union-member gewerkschaftsmitglied syndique",
    "racial or ethnic origin": "caucasian hispanic latino african-american asian-american",
    "sex life or sexual orientation": (
        "heterosexual homosexual bisexual lesbian gay hetero schwul lesbisch"
    ),
}
_WORD_OF: Final = {word: kind for kind, words in _CONTENT.items() for word in words.split()}
_ICD10: Final = re.compile(r"[A-TV-Z][0-9][0-9AB]\.[0-9A-TV-Z]{1,4}")
_BLANKS = re.compile(r"[\s_]+")


def _pattern(words: str) -> re.Pattern[str]:
    """Finds one of these words between blanks; what stands after a = has to be all there is."""
    said = [one.replace("*", "[a-z0-9]*").replace("_", " ") for one in words.split()]
    whole = "|".join(one[1:] for one in said if one.startswith("="))
    among = "|".join(one for one in said if not one.startswith("="))
    return re.compile(rf"^(?:{whole or among})$|\b(?:{among})\b")


_BY_NAME: Final = {kind: _pattern(words) for kind, words in _NAMES.items()}


def kind_of_name(header: str) -> str:
    """Which special category a column's name speaks of; "" if none."""
    text = plain(header)
    if text in _HARMLESS:
        return ""
    return next((kind for kind, found in _BY_NAME.items() if found.search(text)), "")


def kind_of_cells(cells: Sequence[str]) -> str:
    """Which special category the cells of a column speak of, if a good part of them does."""
    filled = [text for text in map(str.strip, cells) if text]
    if len(filled) < MIN_CELLS:
        return ""
    hits: dict[str, int] = {}
    for text in filled:
        word = _BLANKS.sub("-", plain(text.replace("-", " ")))
        kind = _WORD_OF.get(word, "health" if _ICD10.fullmatch(text) else "")
        if kind:
            hits[kind] = hits.get(kind, 0) + 1
    if not hits:
        return ""
    best = max(hits, key=lambda kind: hits[kind])
    return best if hits[best] >= SHARE * len(filled) else ""


def special_columns(
    header: Sequence[str],
    sample: Sequence[Sequence[str]] = (),
    goods: frozenset[int] = frozenset(),
    named: frozenset[int] = frozenset(),
) -> dict[int, str]:
    """Place (from 1) -> a sentence, for every column that is never taken in.

    Args:
        header: the header's cells.
        sample: some records, for a look at what stands in the columns.
        goods: places of columns that speak of goods, receipts or places, not of people; their cells
            are not looked at.
        named: places of columns whose name is a place's own (the shop at Union Square): neither
            their names nor their cells are looked at.
    """
    out = {}
    for place, name in enumerate(header, start=1):
        if place in named:
            continue
        cells = [row[place - 1] for row in sample if len(row) >= place]
        by_name = kind_of_name(name)
        by_cells = "" if place in goods else kind_of_cells(cells)
        if by_name or by_cells:
            how = "its name" if by_name else "what stands in it"
            out[place] = (
                f"The column {name.strip()!r} speaks of {by_name or by_cells} (by {how}): special-"
                "category data (GDPR art. 9) is never taken in."
            )
    return out
