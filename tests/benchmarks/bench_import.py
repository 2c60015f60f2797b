"""How long a large till export takes to come in, and how much memory.

    python -m tests.benchmarks.bench_import [--lines 1000000] [--cards 5000]

Writes a CSV of that many lines (made here, from a fixed seed), then looks at it, adds it, adds
it again, makes the weekly series, enters an answer of every customer and reads the snapshot of
those who stand, each in a process of its own so that the memory is its own.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.policy.consents import ConsentDesk

SECRET = bytes(range(32))
NOW = datetime(2025, 1, 6, tzinfo=UTC)
SCOPE = "train:churn"
STEPS = (
    "preview",
    "preview + add",
    "add again",
    "weekly series",
    "consent import",
    "customers' snapshot",
)


def write_csv(path: Path, lines: int, cards: int) -> None:
    """A shop's export with realistic repetition: 3 years, 8,000 products, 40 categories."""
    draw = random.Random(20170101)
    products = [
        (f"{100000 + i}", f"Product {i}", f"CATEGORY {i % 40:02d}", draw.randint(20, 4000))
        for i in range(8000)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(
            "Date,Time,Receipt no,SKU,Product,Category,Quantity,Unit price,Discount,Total,"
            "Currency,Loyalty card id,Cashier name\r\n"
        )
        written, receipt = 0, 0
        while written < lines:
            receipt += 1
            day = date(2022, 1, 3) + timedelta(days=1095 * written // lines)
            clock = f"{draw.randint(8, 21):02d}:{draw.randint(0, 59):02d}:{draw.randint(0, 59):02d}"
            card = f"C{draw.randint(1, cards):05d}" if draw.random() < 0.6 else ""
            for _ in range(min(draw.randint(1, 14), lines - written)):
                sku, name, category, cents = products[int(draw.random() ** 2 * 8000)]
                count = -1 if draw.random() < 0.01 else draw.choice((1, 1, 1, 2, 3))
                total = cents * count
                file.write(
                    f"{day},{clock},R{receipt:08d},{sku},{name},{category},{count},"
                    f"{cents / 100:.2f},0.00,{total / 100:.2f},EUR,{card},Till 1\r\n"
                )
                written += 1


def write_answers(path: Path, cards: int) -> None:
    """Every customer said yes, once."""
    rows = (f"C{card:05d},{SCOPE},granted,2024-01-01,till" for card in range(1, cards + 1))
    path.write_text("\n".join(["customer,scope,state,at,source", *rows, ""]), encoding="utf-8")


def desk(root: Path) -> ConsentDesk:
    """The door of a ledger beside the vault."""
    from node.policy.consents import ConsentDesk
    from node.store.database import Database

    database = Database.open(root.parent / "node.db", create=True)
    return ConsentDesk(database, SECRET, frozenset({SCOPE}), lambda *_: None, lambda: NOW)


def enter(root: Path, answers: Path) -> int:
    """Import the answers; how many were new."""
    door = desk(root)
    return door.record(door.preview(answers))


def snapshot(root: Path) -> int:
    """Read the lines of everybody who stands; how many those are."""
    from node.data.snapshot import read
    from node.data.vault import Vault
    from protocols.workloads import churn

    return len(
        read(
            Vault(root, bytes(32)), desk(root).standing(SCOPE, NOW), churn.COLUMNS, None, None
        ).lines
    )


def step(name: str, csv_path: Path, root: Path) -> dict[str, float]:
    """Run one step here and say what it took."""
    from node.data.intake import Options, add, preview
    from node.data.vault import Vault

    started = time.perf_counter()
    work: dict[str, Callable[[], int]] = {
        "preview": lambda: preview(csv_path, Options(timezone="Europe/Paris")).rows,
        "weekly series": lambda: len(Vault(root, bytes(32)).weekly_for_owner("monday")),
        "consent import": lambda: enter(root, csv_path.with_name("answers.csv")),
        "customers' snapshot": lambda: snapshot(root),
    }
    if name in work:
        rows = work[name]()
    else:
        plan = preview(csv_path, Options(timezone="Europe/Paris"))
        result = add(Vault(root, bytes(32)), plan, SECRET, NOW)
        rows = result.rows_added + result.duplicates
    seconds = time.perf_counter() - started
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"rows": rows, "s": seconds, "cpu_s": time.process_time(), "mb": kilobytes / 1024}


def main() -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description="Measure the import of a large CSV.")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--cards", type=int, default=5000, help="customers with a card")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        name, csv_path, root = chosen.step
        print(json.dumps(step(name, Path(csv_path), Path(root))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        csv_path, root = Path(folder) / "export.csv", Path(folder) / "vault"
        write_csv(csv_path, chosen.lines, chosen.cards)
        write_answers(csv_path.with_name("answers.csv"), chosen.cards)
        size = csv_path.stat().st_size / 1e6
        print(f"import of {chosen.lines:,} lines, {size:.0f} MB of CSV")
        print(f"{'step':<20} {'rows':>10} {'seconds':>8} {'CPU s':>8} {'MB peak':>8}")
        for name in STEPS:
            command = [sys.executable, "-m", "tests.benchmarks.bench_import"]
            command += ["--step", name, str(csv_path), str(root)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            took = json.loads(done.stdout)
            print(
                f"{name:<20} {took['rows']:>10,.0f} {took['s']:>8.2f} {took['cpu_s']:>8.2f} "
                f"{took['mb']:>8.0f}"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
