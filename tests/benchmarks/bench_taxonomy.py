"""How often the first suggestion for a till's category name is right, and how long it takes.

    python -m tests.benchmarks.bench_taxonomy

The names and what a person would choose are in tests/vectors/taxonomy/till_names.json, written
for this purpose. Rules were tuned on the half "tuning" only; of the other half nobody looks at
single mistakes, only at the figures printed here (protocols/taxonomy/SPEC.md, section 4).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import protocols.taxonomy
from protocols.taxonomy import form
from protocols.taxonomy.suggest import Suggester, suggester

NAMES = Path(__file__).parents[1] / "vectors" / "taxonomy" / "till_names.json"
SURE = 0.9


@dataclass(frozen=True, slots=True)
class Labelled:
    """A till's name, products under it, and the codes that a person would choose."""

    name: str
    means: tuple[str, ...]
    products: tuple[str, ...]
    held_out: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """Shares of names; ``sure`` counts suggestions of 0.9 and more."""

    first: float
    among_three: float
    sure: int
    sure_right: int


def load_names() -> tuple[Labelled, ...]:
    """All names; the half is in the hash of the name, so nobody has chosen it."""
    return tuple(
        Labelled(
            row["name"],
            tuple(row["means"]),
            tuple(row["products"]),
            bool(hashlib.sha256(row["name"].encode()).digest()[0] % 2),
        )
        for row in json.loads(NAMES.read_text("utf-8"))
    )


def measure(desk: Suggester, rows: Sequence[Labelled]) -> Measured:
    """How the suggestions compare with the labels."""
    first = three = sure = sure_right = 0
    for row in rows:
        found = desk.suggest(row.name, row.products, 3)
        right = bool(found) and found[0].code in row.means
        first += right
        three += any(one.code in row.means for one in found)
        if found and found[0].score >= SURE:
            sure += 1
            sure_right += right
    return Measured(first / len(rows), three / len(rows), sure, sure_right)


def main() -> None:
    """Print both halves."""
    retail = Path(protocols.taxonomy.__file__).parent / "retail.json"
    began = time.perf_counter()
    desk = suggester(form.parse(retail.read_bytes(), "retail.json"))
    made = time.perf_counter()
    rows = load_names()
    for half in ("tuning", "held out"):
        chosen = [one for one in rows if one.held_out == (half == "held out")]
        found = measure(desk, chosen)
        print(
            f"{half}: {len(chosen)} names, first right {found.first:.1%}, among three "
            f"{found.among_three:.1%}, {found.sure} sure, {found.sure_right} of them right"
        )
    asked = time.perf_counter()
    print(f"made ready in {made - began:.2f} s, {(asked - made) / len(rows) * 1000:.2f} ms a name")


if __name__ == "__main__":
    main()
