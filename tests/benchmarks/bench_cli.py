"""How long the commands take to answer: whole processes, median of several runs.

python tests/benchmarks/bench_cli.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 7


def median_s(words: list[str]) -> float:
    """Median seconds of a whole process, after one warm-up."""
    values = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True)
        values.append(time.perf_counter() - started)
    return statistics.median(values[1:])


def main() -> None:
    """Print the table."""
    print(f"| command | median of {RUNS} | goal |")
    print("|---|---|---|")
    for name, module in (("coop-node", "node.cli"), ("coop-coordinator", "coordinator.cli")):
        print(f"| {name} --help | {median_s([module, '--help']):.2f} s | < 0.7 s |")
    with tempfile.TemporaryDirectory() as folder:
        home = str(Path(folder) / "node")
        subprocess.run(
            [sys.executable, "-m", "node.cli", "--home", home, "init"],
            check=True,
            capture_output=True,
        )
        verify = median_s(["node.cli", "--home", home, "data", "list"])
        print(f"| coop-node data list (empty) | {verify:.2f} s | |")


if __name__ == "__main__":
    main()
