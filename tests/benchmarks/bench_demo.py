"""The demo with its defaults: seconds after installation, memory of each process.

python tests/benchmarks/bench_demo.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Run the demo once and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        words = [sys.executable, "-m", "examples.complete_journey.demo", "--out", str(out)]
        subprocess.run(words, check=True, stdout=sys.stderr)
        result = json.loads((out / "result.json").read_text())
    memory = result["memory_mb"]
    office = memory.pop("coordinator")
    print("| demo, 8 stores, 40 rounds | measured | goal |")
    print("|---|---|---|")
    print(f"| after installation | {result['seconds']:.0f} s | < 180 s |")
    print(f"| largest node, resident | {max(memory.values())} MB | < 500 MB |")
    print(f"| coordinator, resident | {office} MB | < 300 MB |")
    print(f"| survivors in each sum | {min(result['survivors'])} to {max(result['survivors'])} | |")


if __name__ == "__main__":
    main()
