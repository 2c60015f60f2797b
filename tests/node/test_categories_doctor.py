"""``doctor`` says before a run whether clause 9's list and share are met."""

from __future__ import annotations

from pathlib import Path

import pytest

from node import keys
from node.checkup import categories
from node.data import categories as room
from node.data.intake import add, preview
from node.house import Home, open_home
from protocols.agreement.terms import SharedCategories

RETAIL = room.installed()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    keys.create(tmp_path / "home")
    made = open_home(tmp_path / "home")
    rows = [f"2025-01-{1 + day:02d},{what},1,2.00" for day in range(20) for what in "AB"]
    sales = tmp_path / "sales.csv"
    sales.write_text("\n".join(["date,category,qty,total", *rows, ""]), encoding="utf-8")
    add(made.vault(), preview(sales), made.keys.customer_secret, made.clock())
    return made


def test_list_and_share(home: Home) -> None:
    half = SharedCategories(id=RETAIL.id, sha256=RETAIL.sha256, min_mapped_percent=50)
    found = categories(home, half)
    assert not found.ok and "0.0 % of the lines" in found.found and "accept" in found.fix
    mine = room.load(home.folder).with_entry("A", "food.bakery.bread", room.By.CONFIRMED)
    room.save(home.folder, mine)
    assert categories(home, half).ok
    assert not categories(home, half.model_copy(update={"min_mapped_percent": 51})).ok
    other = categories(home, half.model_copy(update={"sha256": "0" * 64}))
    assert not other.ok and "categories use" in other.fix
    (home.folder / room.FILE).write_text("[", encoding="utf-8")
    broken = categories(home, half)
    assert not broken.ok and "TOML" in broken.found
