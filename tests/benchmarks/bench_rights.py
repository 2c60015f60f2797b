"""How long it takes to erase one customer for good: rows, ledgers, books, and the proof.

    python tests/benchmarks/bench_rights.py [LINES] [CUSTOMERS]

One node with LINES sales lines (1,000,000) of CUSTOMERS (1,000,000), each of whom said yes, and one
run that read them all. Times in seconds of one process, the parts inside the whole.
"""

from __future__ import annotations

import pkgutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "node" / "rights"), str(ROOT / "tests" / "support")]

from rights_world import CHURN, HEADER, RUN, Node  # noqa: E402

from node.data.intake import add, preview  # noqa: E402
from node.rights import erase as erasing  # noqa: E402
from node.store.requests import RequestKind  # noqa: E402

PARTS = (
    "node.data.vault.Vault.erase",
    "node.policy.consents.ConsentDesk.forget",
    "node.policy.run_books.RunBooks.redact",
    "node.policy.run_books.RunBooks.runs_of",
    "node.store.database.Database.empty_log",
    "node.rights.erase.held",
    "node.rights.erase.scan",
)


def customer(number: int) -> str:
    """As the till prints it."""
    return f"K-{number:07d}"


def filled(root: Path, lines: int, customers: int) -> Node:
    """A node with rows, answers and one run."""
    node = Node(root / "home")
    export, answers = root / "till.csv", root / "answers.csv"
    with export.open("w", encoding="utf-8") as out:
        out.write(f"{HEADER}\n")
        for at in range(lines):
            day = f"2025-{at % 12 + 1:02d}-{at // 12 % 28 + 1:02d}"
            who = customer(at * 7919 % customers)
            out.write(
                f"{day},10:{at % 60:02d}:00,R{at},s{at % 500},Thing,C{at % 40},1,2,0,2,{who}\n"
            )
    with answers.open("w", encoding="utf-8") as out:
        out.write("customer,scope,state,at,source\n")
        out.writelines(
            f"{customer(at)},{CHURN},granted,2026-01-02,till\n" for at in range(customers)
        )
    add(node.home.vault(), preview(export), node.home.keys.customer_secret, node.clock())
    desk = node.home.consents(node.database)
    desk.record(desk.preview(answers))
    node.run(RUN)
    export.unlink()
    answers.unlink()
    return node


def timed(name: str, spent: dict[str, float]) -> Any:
    """Replaces a part by one that counts its seconds."""
    real: Callable[..., Any] = pkgutil.resolve_name(name)

    def counted(*args: Any, **kinds: Any) -> Any:
        begun = time.perf_counter()
        try:
            return real(*args, **kinds)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - begun

    return mock.patch(name, counted)


def main(lines: int = 1_000_000, customers: int = 1_000_000) -> None:
    """Print the whole and its parts."""
    with tempfile.TemporaryDirectory(prefix="datacoop-") as folder:
        node, spent = filled(Path(folder), lines, customers), dict[str, float]()
        desk = node.case.subjects
        request = desk.open(RequestKind.ERASE, customer(777)).request.id
        desk.identify(request, "measured")
        patches = [timed(name, spent) for name in PARTS]
        for patch in patches:
            patch.start()
        begun = time.perf_counter()
        done = erasing.erase(node.case, node.home.vault, request)
        whole = time.perf_counter() - begun
        for patch in patches:
            patch.stop()
        print(f"erase one of {customers:,} customers, {lines:,} lines: {whole:.2f} s")
        for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
            print(f"  {name.rpartition('.')[2]:10} {seconds:.2f} s")
        print(f"  searched {done.scanned.files} files, {done.scanned.bytes_read / 1e6:.0f} MB")
        begun = time.perf_counter()
        erasing.erase_again(node.case, node.home.vault)
        print(f"look again for everybody who was erased: {time.perf_counter() - begun:.2f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
