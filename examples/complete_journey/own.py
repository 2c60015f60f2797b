"""A customer of one store asks what it has about them, and then to be erased: with proof."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from examples.complete_journey.cooperative import NODE, Demo, Store, step
from examples.complete_journey.processes import CommandFailed
from examples.complete_journey.tables import table

DOCUMENTS = ("record", "transparency", "notice")


@dataclass(frozen=True, slots=True)
class OwnData:
    """What one store did for one customer.

    Args:
        store: its name.
        handed_out: rows of all tables in the answer.
        before, after: what the node held about the customer, by place, around the erasure.
        searched: files that were searched for the customer afterwards.
        cannot_reach: what the program says that it cannot erase.
        verified: what the check of the evidence says, from the file alone.
        health: score of the store's rows, 0 to 100.
        documents: files that were made from agreement, ledgers and log.
    """

    store: str
    handed_out: int
    before: Sequence[tuple[str, int]]
    after: int
    searched: int
    cannot_reach: Sequence[str]
    verified: str
    health: int
    documents: Sequence[str]


def conduct(demo: Demo) -> OwnData:
    """Access, erasure, its evidence checked; health and documents of the same store."""
    store = next(one for one in demo.stores if not one.choice.cold)
    run, home = demo.commands, store.home
    asked = ("--customer", _busiest_household(store), "--identified", "loyalty card shown")
    with step(demo, f"A customer of {store.name} asks for everything, then to be erased"):
        answer = demo.out / "answer"
        run.run(NODE, home, "requests", "access", *asked, "--out", str(answer))
        with (answer / "sales_line.csv").open(newline="") as file:
            handed_out = sum(1 for _ in csv.reader(file)) - 1
        shutil.rmtree(answer)  # handed over, and then it is nobody's business here
        erased = run.json(NODE, home, "requests", "erase", *asked, "--yes")
        again = run.json(NODE, home, "requests", "erase", *asked, "--yes")
        verified = run.run(NODE, home, "verify", erased["evidence_file"]).strip().splitlines()[-1]
    with step(demo, f"{store.name}: the health of its rows, and its papers"):
        health = run.json(NODE, home, "data", "health")
        run.run(NODE, home, "documents", "make", *DOCUMENTS)
        made = run.json(NODE, home, "documents", "list")
    found = OwnData(
        store=store.name,
        handed_out=handed_out,
        before=sorted(erased["before"].items()),
        after=sum(count for place, count in again["before"].items() if place != "requests"),
        searched=erased["searched"]["files"],
        cannot_reach=erased["cannot_reach"],
        verified=verified,
        health=int(health["datasets"][0]["score"]),
        documents=[str(home / "documents" / name) for name in _files(made)],
    )
    if found.after or not dict(found.before)["sales_line"]:
        raise CommandFailed(f"the customer was not erased: {found}")
    demo.console.print(
        f"  {found.handed_out} lines handed out; {dict(found.before)['sales_line']} erased, "
        f"{found.after} left; {found.searched} files searched. {found.verified}"
    )
    return found


def page(found: OwnData) -> list[str]:
    """Its part of the report."""
    limits = "".join(f"<li>{escape(one)}</li>" for one in found.cannot_reach)
    return [
        "<h2>A customer asks</h2>",
        f"<p>A customer of {escape(found.store)} asked what the store has about them, and got "
        f"{found.handed_out} lines of purchases; then asked to be erased. Afterwards "
        f"{found.searched} files were searched and nothing was found. The evidence names nobody: "
        f"{escape(found.verified)}</p>",
        table(
            "What the node held about this customer before",
            ["place", "rows"],
            [(place, str(count)) for place, count in found.before],
            True,
        ),
        f"<p>What no program here can reach:</p><ul>{limits}</ul>",
    ]


def _busiest_household(store: Store) -> str:
    with store.csv.open(newline="") as file:
        seen = Counter(row["Loyalty card id"] for row in csv.DictReader(file))
    return next(card for card, _ in seen.most_common() if card)


def _files(made: dict[str, object]) -> list[str]:
    listed = made["documents"]
    assert isinstance(listed, list)
    return [str(name) for one in listed for name in one["files"]]
