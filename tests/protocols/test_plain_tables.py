"""A table in plain text, whatever stands in its cells."""

from __future__ import annotations

import pytest

from protocols.plain import columns


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\x0b", "\u2028"])
def test_a_cell_is_never_a_line_of_its_own(mark: str) -> None:
    lines = columns([[f"a{mark}Health: 100 of 100", "b"]], ["one", f"two{mark}three"])
    assert lines == ["one                   two three", "a Health: 100 of 100  b"]
