"""Words of category names: folding, stems, parts of compounds, distance (SPEC.md section 4).

Tills print what somebody once typed: ``GETR.ALKFREI``, ``Kaese/Wurst 7%``, ``DamenOberbekl``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Final

MIN_PART: Final = 3  # letters of a part of a compound
MAX_TOKENS: Final = 12  # of one name; the rest is not read
MAX_LETTERS: Final = 40  # of one word

_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "œ": "oe", "æ": "ae", "’": "'"}
)
_HUMP = re.compile(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])")
_LONE = re.compile(r"\b([^\W\d_])-(?=[^\W\d_]{3})")  # E-Bike, T-Shirt, H-Milch: one word
_WORD = re.compile(r"[^\W_]+\.?")
_LINKS = ("", "s", "n", "es", "en", "e", "er")  # what German puts between the parts of a word
_ENDINGS = ("innen", "ungen", "ern", "en", "er", "es", "em", "e", "n", "s", "x")
_SAYS_NOTHING: Final = (
    "and und et y e the a an der die das den dem des mit with de du le la les l d fuer for in im "
    "aus von to zum zur ohne n of vom bei am an auf avec sans pour per con del di the our unsere "
    "neu new mwst ust vat tva iva netto brutto steuer kg g gr l ml cl stk st pcs stueck x wg "
    "warengruppe kategorie category categorie dept department departments rayon abt abteilung "
    "gruppe group sparte bereich artikel article articles items item produkte products produits "
    "ware waren sortiment verkauf sales sale vente umsatz nr no pos shop store ab "
    "allgemein general gemischt mixed diverse diverses misc sonstige sonstiges"
)
_STOP: Final = frozenset(_SAYS_NOTHING.split())
_ENDS_SAY_NOTHING: Final = (  # stems
    "artikel war produkt spezialitaet thek mod bedarf sortiment kart angebot abteilung"
)
_EMPTY_TAILS: Final = frozenset(_ENDS_SAY_NOTHING.split())


def plain(text: str) -> str:
    """Lower case, umlauts as two letters, other accents gone."""
    low = text.casefold().translate(_LETTERS)
    parts = unicodedata.normalize("NFKD", low)
    return "".join(char for char in parts if not unicodedata.combining(char))


def tokens(text: str) -> tuple[str, ...]:
    """The words of a name, a full stop kept where it marks a short form; never empty for text.

    Figures and words that say nothing about goods are left out, unless nothing else is there.
    """
    spaced = _HUMP.sub(" ", unicodedata.normalize("NFC", text[:400]))
    spaced = _LONE.sub(r"\1", spaced.replace("'", " ").replace("’", " "))
    words = [plain(word)[:MAX_LETTERS] for word in _WORD.findall(spaced)]
    named = [word for word in words if not any(char.isdigit() for char in word)]
    telling = [word for word in named if word.rstrip(".") not in _STOP]
    return tuple((telling or named or words)[:MAX_TOKENS])


def stem(word: str) -> str:
    """A word without its most usual German, English and French endings; at least 3 letters stay."""
    word = word.rstrip(".")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= MIN_PART:
            return word[: -len(ending)]
    return word


def bare(root: str) -> str:
    """A stem without umlauts: German plurals change them, and old tills do not have them."""
    return root.replace("ae", "a").replace("oe", "o").replace("ue", "u")


def split(word: str, known: Collection[str]) -> tuple[str, ...]:
    """The parts of a German compound as stems, the first may be unknown; empty if there is none.

    The longest known ending is what the thing is (``Dinkelvollkornbrot`` is bread); what stands
    before it is split again. ``known`` holds stems.
    """
    word = word.rstrip(".")
    for at in range(MIN_PART, len(word) - MIN_PART):
        tail = stem(word[at:])
        if tail not in known or len(word) - at < MIN_PART + 1:
            continue
        front = _front(word[:at], known)
        return front if tail in _EMPTY_TAILS and front[-1] in known else (*front, tail)
    return ()


def squeezed(short: str, word: str) -> bool:
    """Whether a short form without its vowels may stand for the word: ``spielzg``."""
    if len(short) < 4 or not word.startswith(short[:3]):
        return False
    letters = iter(word)
    return all(letter in letters for letter in short)


def _front(head: str, known: Collection[str]) -> tuple[str, ...]:
    for link in _LINKS:
        bare = head[: len(head) - len(link)] if head.endswith(link) else ""
        if len(bare) >= MIN_PART and stem(bare) in known:
            return (stem(bare),)
    deeper = split(head, known)
    return deeper if deeper else (head,)


def distance(left: str, right: str, most: int) -> int:
    """Letters changed, added, lost or swapped with their neighbour; ``most + 1`` if more.

    Optimal string alignment (Damerau 1964, restricted).
    """
    if abs(len(left) - len(right)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            cost = min(row[j - 1] + 1, last[j] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return last[-1]
