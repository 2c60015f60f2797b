"""How hard a text is to read, as a school grade.

English: Flesch-Kincaid grade level (Kincaid, Fishburne, Rogers and Chissom 1975). German: the
first Wiener Sachtextformel (Bamberger and Vanecek 1984). Both count syllables; the counter here
is our own, by groups of vowels with the usual exceptions. Against the words that a test has
counted by hand it is off by at most ``SYLLABLE_ERROR`` of all syllables, which moves a grade by
less than one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SYLLABLE_ERROR: Final = 0.06
LOCALES: Final = ("en", "de")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_END: Final = re.compile(r"(?<!\b[Aa]rt)(?<!\bAbs)[.!?](?=\s|$)|\n+")  # not after art. and Abs.
_EN_GROUP: Final = re.compile(r"[aeiouy]+")
_DE_GROUP: Final = re.compile(r"ie|ei|ai|au|eu|äu|ey|ay|aa|ee|oo|[aeiouyäöü]")
_EN_TWO: Final = re.compile(  # two vowels that are said apart
    r"(?<![cgst])i[ao]|e[ou](?=m|n|s)|[^qg]u[aeo](?!$)|y[aeiou]$|create|idea|area|[aeouy]ing"
    r"|coop|rience|scien|quiet|ployee|chanism"
)
_EN_SILENT: Final = re.compile(r"(?:some|fore|there|where)(?=[^aeiou])|every|busine|evening")
_LONG_LETTERS: Final = 6
_LONG_SYLLABLES: Final = 3


@dataclass(frozen=True, slots=True)
class Grade:
    """A school grade, and what it was counted from."""

    formula: str
    value: float
    words: int
    sentences: int
    syllables: int

    def __str__(self) -> str:
        return f"{self.value:.1f} ({self.formula})"


def words(text: str) -> tuple[str, ...]:
    """The words of a text; numbers are none."""
    return tuple(_WORD.findall(text))


def syllables(word: str, locale: str) -> int:
    """Syllables of one word, at least 1."""
    parts = re.split(r"['’-]", word.lower())
    count = _german if locale.startswith("de") else _english
    return sum(count(part) for part in parts if len(part) > 1) or 1


def grade(text: str, locale: str) -> Grade | None:
    """The grade of a text; None for an empty one or a language without a formula here."""
    language = locale.partition("-")[0]
    found = words(text)
    if language not in LOCALES or not found:
        return None
    counts = [syllables(word, language) for word in found]
    sentences = sum(1 for part in _END.split(text) if _WORD.search(part))
    per_sentence = len(found) / sentences
    if language == "de":
        share = 100.0 / len(found)
        value = (
            0.1935 * share * sum(count >= _LONG_SYLLABLES for count in counts)
            + 0.1672 * per_sentence
            + 0.1297 * share * sum(len(word) > _LONG_LETTERS for word in found)
            - 0.0327 * share * sum(count == 1 for count in counts)
            - 0.875
        )
        name = "Wiener Sachtextformel 1"
    else:
        value = 0.39 * per_sentence + 11.8 * sum(counts) / len(found) - 15.59
        name = "Flesch-Kincaid"
    return Grade(name, round(value, 1), len(found), sentences, sum(counts))


def _german(word: str) -> int:
    return max(1, len(_DE_GROUP.findall(word.replace("qu", "kw"))))


def _english(word: str) -> int:
    count = len(_EN_GROUP.findall(word)) + len(_EN_TWO.findall(word))
    count -= len(_EN_SILENT.findall(word))
    if word.endswith("e") and not re.search(r"(?:[^aeiou]le|[aeiouy]e)$", word):
        count -= 1  # an e at the end is silent
    elif re.search(r"[^aeioutd]ed$", word):
        count -= 1  # asked, named; not wanted, needed
    elif re.search(r"[^aeiouszxcgh]es$", word) and not re.search(r"[^aeiou]les$", word):
        count -= 1  # names, lines
    if re.search(r"[^aeiou](?:sm|thm)s?$", word):
        count += 1
    if re.search(r"[aeiou][^aeiou]e(?:ly|ment|ful|less|ness)", word):
        count -= 1  # surely, statement
    return max(1, count)
