"""How a failure reads, for people and for programs. Pure: shells print what these return."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from protocols.errors import CoopError

SCHEMA = 1  # of everything that --json prints


def error_lines(error: CoopError) -> list[str]:
    """Heading, what is wrong and where, what to do: at most three lines."""
    lines = [f"{error.kind.heading}."]
    lines.append(f"  {error.where}: {error.problem}" if error.where else f"  {error.problem}")
    if error.fix:
        lines.append(f"  What to do: {error.fix}")
    return lines


def error_document(error: CoopError) -> dict[str, Any]:
    """The same for ``--json``."""
    return {
        "schema": SCHEMA,
        "error": {
            "code": error.code.value,
            "where": error.where,
            "problem": error.problem,
            "fix": error.fix,
            "exit_code": error.kind.exit_code,
        },
    }


def printable(text: str, most: int) -> str:
    """What another party said, safe for a terminal: no control characters, at most ``most``."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= most else clean[: most - 3] + "..."


def shown(text: str) -> str:
    """Text for a terminal as it is, without anything that the terminal would obey.

    Names, reasons and texts of other parties may be in it. Line breaks stay; other spaces become
    plain ones; control characters and those that turn the direction of writing become "?".
    """
    if text.isprintable():
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char == "\n" or char.isprintable():
        return char
    return " " if char == "\t" or unicodedata.category(char) == "Zs" else "?"


def key_words(hex_digits: str) -> str:
    """The first 128 bits of a fingerprint as eight words to say over the telephone.

    Each word is 16 bits: consonant, vowel, consonant, vowel, consonant ("proquints", D. S.
    Wilkerson, arXiv:0901.4016), so that it can be said and heard in most languages.
    """
    numbers = (int(hex_digits[at : at + 4], 16) for at in range(0, min(len(hex_digits), 32), 4))
    return " ".join(map(_word, numbers))


def _word(number: int) -> str:
    consonants, vowels = "bdfghjklmnprstvz", "aiou"
    return "".join(
        letters[number >> shift & (len(letters) - 1)]
        for letters, shift in (
            (consonants, 12),
            (vowels, 10),
            (consonants, 6),
            (vowels, 4),
            (consonants, 0),
        )
    )


def columns(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> list[str]:
    """A table in plain text, columns padded; for output without a terminal.

    A line break in a cell becomes a space, so that no cell looks like a line of its own.
    """
    table = [[" ".join(cell.splitlines()) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(headers))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
