"""Key words: what people read to each other over the telephone."""

from __future__ import annotations

import pytest

from protocols.plain import key_words


@pytest.mark.parametrize(
    ("digits", "words"),
    [  # arXiv:0901.4016, examples: IPv4 addresses as two words
        ("7f000001", "lusab babad"),
        ("3f54dcc1", "gutih tugad"),
        ("fffeffff", "zuzuv zuzuz"),
    ],
)
def test_the_words_of_the_paper(digits: str, words: str) -> None:
    assert key_words(digits) == words


def test_a_fingerprint_gives_eight_words_of_its_first_128_bits() -> None:
    words = key_words("0123456789abcdef" * 4)
    assert len(words.split()) == 8
    assert words == key_words("0123456789abcdef" * 2 + "ff" * 16)


def test_every_bit_changes_a_word() -> None:
    base = 0x0123456789ABCDEF0123456789ABCDEF
    seen = {key_words(f"{base ^ 1 << bit:032x}" + "00" * 16) for bit in range(128)}
    assert len(seen | {key_words(f"{base:032x}" + "00" * 16)}) == 129
