"""Characters that make a signed text look like another one (SPEC.md section 2).

People sign what they see. A text that people read therefore holds no character that is invisible
or turns the direction of writing, and stands in Unicode's composed form (NFC), so that each
appearance has one spelling. Names and legal ids hold no word that mixes scripts either, because
a Cyrillic letter among Latin ones looks like the Latin one (Unicode TR 39, section 5).
"""

from __future__ import annotations

import unicodedata

_INVISIBLE = frozenset(
    {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
    | {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, 0x2800}
)
"""Default ignorable code points outside category Cf, and the blank Braille pattern."""
_REFUSED = {
    "Cc": "a control character",
    "Cf": "invisible or turns the direction of writing",
    "Cn": "not a character of Unicode",
    "Co": "private and looks different on each computer",
    "Cs": "half a character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_LOOKALIKE = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC")
"""Scripts that share the shapes of many letters; a word is written in one of them."""
_TWINS = str.maketrans(
    "АВЕЅІЈКМНОРСТУХЗасеоріјѕхуһԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοα",
    "ABESIJKMHOPCTYX3aceopijsxyhdqwABEZHIKMNOPTYXoa",
)


def readable(text: str) -> str:
    """The text, if it shows what it says; ValueError naming the character and its place."""
    if not text.strip():
        raise ValueError("expected some text, found only spaces")
    for at, char in enumerate(text, start=1):
        if char == "\n":
            continue
        why = _REFUSED.get(unicodedata.category(char))
        if ord(char) in _INVISIBLE:
            why = _REFUSED["Cf"]
        if why is not None:
            raise ValueError(
                f"character {at}, {_called(char)}, is {why}; people could sign something else "
                "than they see, so remove it"
            )
    if not unicodedata.is_normalized("NFC", text):
        composed = unicodedata.normalize("NFC", text)
        at = next(
            (i for i, (a, b) in enumerate(zip(text, composed, strict=False)) if a != b),
            min(len(text), len(composed)) - 1,
        )
        raise ValueError(
            f"character {at + 1}, {_called(text[at])}, is not in composed form (NFC); the same "
            "text could be written in two ways, so type it again"
        )
    return text


def unmistakable(text: str) -> str:
    """The text, if no word of it can be taken for another; ValueError naming the character."""
    script = ""
    for at, char in enumerate(text, start=1):
        if not char.isalpha() and not unicodedata.category(char).startswith("M"):
            script = ""
            if char.isspace() and char not in " \n":
                raise ValueError(f"character {at}, {_called(char)}, looks like a plain space")
        plain = unicodedata.normalize("NFKC", char)
        if char.isalnum() and unicodedata.category(char) != "No" and plain != char:
            if plain.isascii():
                raise ValueError(f"character {at}, {_called(char)}, looks like {plain!r}")
            continue
        found = _script(char)
        if found and script and found != script:
            raise ValueError(
                f"character {at}, {_called(char)}, is {found.title()} in a word of "
                f"{script.title()} letters; it could be taken for another letter"
            )
        script = found or script
    return text


def skeleton(text: str) -> str:
    """What a text looks like: two names with one skeleton cannot be told apart by eye.

    For comparing names and legal ids with each other, never for display.
    """
    plain = unicodedata.normalize("NFKC", text.translate(_TWINS))
    return "".join(plain.translate(_TWINS).casefold().split())


def _script(char: str) -> str:
    if not char.isalpha():
        return ""
    name = unicodedata.name(char, "")
    return next((one for one in _LOOKALIKE if name.startswith(one + " ")), "")


def _called(char: str) -> str:
    return f"U+{ord(char):04X} ({unicodedata.name(char, 'no name').lower()})"
