"""The demo with its defaults: seconds after installation, memory of each process.

python tests/benchmarks/bench_demo.py [--churn]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Run the demo once and print the table; options are the demo's."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        words = [sys.executable, "-m", "examples.complete_journey.demo", "--out", str(out)]
        words += sys.argv[1:]
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
    if (churn := result.get("churn")) is not None:
        late = dict(churn["memory"])
        late.pop("coordinator")
        print(f"| of it churn, {churn['rounds']} steps | {churn['seconds']:.0f} s | |")
        print(f"| largest node after churn, resident | {max(late.values()):.0f} MB | < 500 MB |")


if __name__ == "__main__":
    main()
