"""How long a large till export takes to come in, and how much memory.

    python -m tests.benchmarks.bench_import [--lines 1000000]

Writes a CSV of that many lines (made here, from a fixed seed), then looks at it, adds it, adds
it again and makes the weekly series, each in a process of its own so that the memory is its own.
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

SECRET = bytes(range(32))
STEPS = ("preview", "preview + add", "add again", "weekly series")


def write_csv(path: Path, lines: int) -> None:
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
            card = f"C{draw.randint(1, 5000):05d}" if draw.random() < 0.6 else ""
            for _ in range(min(draw.randint(1, 14), lines - written)):
                sku, name, category, cents = products[int(draw.random() ** 2 * 8000)]
                count = -1 if draw.random() < 0.01 else draw.choice((1, 1, 1, 2, 3))
                total = cents * count
                file.write(
                    f"{day},{clock},R{receipt:08d},{sku},{name},{category},{count},"
                    f"{cents / 100:.2f},0.00,{total / 100:.2f},EUR,{card},Till 1\r\n"
                )
                written += 1


def step(name: str, csv_path: Path, root: Path) -> dict[str, float]:
    """Run one step here and say what it took."""
    from node.data.intake import Options, add, preview
    from node.data.vault import Vault

    started = time.perf_counter()
    work: dict[str, Callable[[], int]] = {
        "preview": lambda: preview(csv_path, Options(timezone="Europe/Paris")).rows,
        "weekly series": lambda: len(Vault(root).weekly_for_owner("monday")),
    }
    if name in work:
        rows = work[name]()
    else:
        plan = preview(csv_path, Options(timezone="Europe/Paris"))
        result = add(Vault(root), plan, SECRET, datetime(2025, 1, 6, tzinfo=UTC))
        rows = result.rows_added + result.duplicates
    seconds = time.perf_counter() - started
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"rows": rows, "s": seconds, "cpu_s": time.process_time(), "mb": kilobytes / 1024}


def main() -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description="Measure the import of a large CSV.")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        name, csv_path, root = chosen.step
        print(json.dumps(step(name, Path(csv_path), Path(root))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        csv_path, root = Path(folder) / "export.csv", Path(folder) / "vault"
        write_csv(csv_path, chosen.lines)
        size = csv_path.stat().st_size / 1e6
        print(f"import of {chosen.lines:,} lines, {size:.0f} MB of CSV")
        print(f"{'step':<16} {'rows':>10} {'seconds':>8} {'CPU s':>8} {'MB peak':>8}")
        for name in STEPS:
            command = [sys.executable, "-m", "tests.benchmarks.bench_import"]
            command += ["--step", name, str(csv_path), str(root)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            took = json.loads(done.stdout)
            print(
                f"{name:<16} {took['rows']:>10,.0f} {took['s']:>8.2f} {took['cpu_s']:>8.2f} "
                f"{took['mb']:>8.0f}"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
