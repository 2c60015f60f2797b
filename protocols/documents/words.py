"""Words of the frame around a document, by language; the documents' own are beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FRAME: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "missing": "Missing",
        "to_do": "What to do",
        "source": "source",
        "skip": "To the text",
        "version": "Version",
        "nothing": "Nothing yet.",
        "page": "Page",
    },
    "de": {
        "missing": "Fehlt",
        "to_do": "Was zu tun ist",
        "source": "Quelle",
        "skip": "Zum Text",
        "version": "Fassung",
        "nothing": "Noch nichts.",
        "page": "Seite",
    },
}
"""Sources and gaps are for the owner and stay in English, like every command."""


def frame(locale: str) -> Mapping[str, str]:
    """The words of a language; English for one that has none."""
    return FRAME.get(locale.partition("-")[0], FRAME["en"])


DAYS: Final[Mapping[str, tuple[str, str, str]]] = {
    "en": ("days", "year", "years"),
    "de": ("Tage", "Jahr", "Jahre"),
}


def span(days: int, locale: str = "en") -> str:
    """A time as people say it: whole years with the exact days behind them, else days."""
    day, year, many = DAYS.get(locale.partition("-")[0], DAYS["en"])
    years = days // 365
    if not years or days - 365 * years > (years + 3) // 4:
        return f"{days} {day}"
    return f"{years} {year if years == 1 else many} ({days} {day})"
