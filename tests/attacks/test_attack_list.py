"""Every number of the attack list has a test over the link; none is passed over."""

from __future__ import annotations

import ast
import re
from pathlib import Path

NUMBERS = range(1, 49)  # docs: the adversarial list of secure aggregation, section 5
HERE = Path(__file__).parent


def functions() -> list[ast.FunctionDef]:
    return [
        node
        for file in sorted(HERE.glob("test_link_*.py"))
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def test_every_number_has_a_test() -> None:
    found = {
        int(match.group(1))
        for one in functions()
        if (match := re.match(r"test_([0-9]{2})_", one.name))
    }
    assert sorted(found) == list(NUMBERS)


def test_none_is_skipped_or_expected_to_fail() -> None:
    for file in HERE.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"mark\.(skip|xfail)|pytest\.(skip|xfail)\(", text) or file == Path(
            __file__
        )
