"""Linter rules about the texts: figures that software does not know, unfair words, lookalikes.

Software does not understand a text. It can see a number that is in no machine block, and phrases
that are known from one-sided contracts; both are warnings, for people to read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from protocols.agreement.base import Document
from protocols.agreement.findings import Found, warning
from protocols.agreement.glyphs import unmistakable
from protocols.agreement.terms import Agreement, Clause, Terms, Workloads

NAMES = ("text-figure", "text-one-sided", "text-lookalike")
_NUMBER = re.compile(
    r"(?<![\w.:/+-])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?![\w/:+-]|\.\d)",
)
_QUOTED = re.compile(r'"[^"]*"')
_NO_FIGURE = re.compile(
    r"\b(?:art(?:icle|\.)?|section|clauses?)\s*\d+(?:\(\d+\))*|\bout of 100\b", re.IGNORECASE
)
_WHO = r"(?:operator|coordinator|franchisor|cooperative|association|head office)"
_CHANGES = r"(?:change|end|terminate|amend)s?"
_UNFAIR = tuple(
    (re.compile(pattern, re.IGNORECASE), what)
    for pattern, what in (
        (rf"\b{_WHO}\b[^.;]{{0,60}}\b(?:is|are) not liable", "one side is not liable"),
        (rf"\bno liability of the {_WHO}\b", "one side is not liable"),
        (rf"\b{_WHO}\b[^.;]{{0,60}}\bexcludes? (?:all |any )?liability", "one side is not liable"),
        (r"\bsole(?:ly)? (?:and absolute )?discretion\b", "one side decides alone"),
        (
            rf"\b{_WHO}\b[^.;]{{0,60}}\balone (?:may|can) (?:{_CHANGES}|interpret)",
            "one side changes, ends or reads the agreement alone",
        ),
        (
            rf"\b{_WHO}\b[^.;]{{0,60}}\b{_CHANGES}\b[^.;]{{0,40}}"
            r"\b(?:without notice|at any time|as it sees fit)",
            "one side changes or ends it without notice",
        ),
        (r"\bwaives? (?:all|any|every) (?:right|claim)", "somebody gives up all rights"),
        (r"\bexclusive right to (?:decide|interpret|determine)", "one side reads the agreement"),
    )
)


def texts(agreement: Agreement, terms: Terms) -> Found:
    """Findings about what people read."""
    for clause in agreement.clauses:
        yield from _one_sided(clause)
        yield from _lookalike(clause)
        if clause.machine is not None:
            yield from _figures(clause, terms)


def _figures(clause: Clause, terms: Terms) -> Found:
    """Numbers that the text says and no figure of the block is: one of the two was not changed."""
    recipes = terms.block("c13", Workloads)
    named = [one.id for one in recipes.workloads] if recipes is not None else []
    text = _NO_FIGURE.sub(" ", _QUOTED.sub(" ", clause.plain_text))
    for name in (*named, *_words(clause.machine)):
        text = text.replace(name, " ")
    known = set(_numbers(clause.machine))
    said = dict.fromkeys(found.group() for found in _NUMBER.finditer(text))
    strange = [one for one in said if float(one.replace(",", "")) not in known]
    if strange:
        yield warning(
            "text-figure",
            clause.id,
            "",
            f"the text says {', '.join(strange)}, which is no figure of the clause; software "
            "obeys the figures.",
            "Let the text say the figures.",
        )


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Document):
        for name in type(value).model_fields:
            yield from _numbers(getattr(value, name))
    elif isinstance(value, tuple):
        yield len(value)
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _numbers(one)
    elif isinstance(value, datetime):
        yield from (value.year, value.month, value.day)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from (float(value), value / 100, float(f"{value:g}"))


def _words(value: Any) -> Iterator[str]:
    """Texts of the block, longest first, that the clause's text may repeat with their numbers."""
    found = sorted(_texts(value), key=len, reverse=True)
    yield from (one for one in found if any(char.isdigit() for char in one))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, datetime):
        yield value.strftime("%Y-%m-%d")
    elif isinstance(value, Document):
        for name in type(value).model_fields:
            yield from _texts(getattr(value, name))
    elif isinstance(value, tuple):
        for one in value:
            yield from _texts(one)


def _one_sided(clause: Clause) -> Found:
    for pattern, what in _UNFAIR:
        found = pattern.search(clause.plain_text)
        if found:
            yield warning(
                "text-one-sided",
                clause.id,
                "",
                f'the words "{found.group()[:80]}" sound as if {what}.',
                "Write what holds for both sides (Data Act art. 13), or ask your adviser.",
            )
            return


def _lookalike(clause: Clause) -> Found:
    try:
        unmistakable(clause.plain_text)
    except ValueError as problem:
        yield warning("text-lookalike", clause.id, "", f"{problem}.", "Type the word again.")
