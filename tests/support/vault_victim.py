"""A process that changes vaults and is killed while it does; run by tests of crashes.

Each line of its input is JSON: ``{"do": name, "root": folder, "step": n, "after_s": s}``. It forks;
the child does it and dies by SIGKILL before or after its n-th durable step (a write, an fsync, a
rename, a removal), or after some seconds, or not at all. The answer is how the child ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from node.data import rowfiles
from node.data.batch import BadRow
from node.data.schema import ORDER
from node.data.stages import RawRows
from node.data.vault import LineCorrection, Vault
from vault_rows import KEY, NOW, PEOPLE, START, customers, lines, stock, take

NEW_KEY = bytes([9]) * 32


def build(root: Path) -> None:
    """The vault before: several files of each table, customers, stock, rows set aside."""
    bad = (BadRow(7, 1, "unreadable", ("s1",), PEOPLE[3]), BadRow(8, 1, "unreadable", ("s2",)))
    vault = Vault(root, KEY)
    known = customers((PEOPLE[3], date(2024, 1, 3), "DE"), (PEOPLE[4], START, "FR"))
    take(vault, lines(0, 200), known, stock(("s1", START, 4)), bad=bad)
    take(vault, lines(200, 40, people=False), name="b")


def add(root: Path) -> None:
    """More lines, some of them known, customers for lines without one, a changed stock."""
    take(Vault(root, KEY), lines(150, 120), stock(("s1", START, 9), ("s2", START, 1)), name="c")


def build_orders(root: Path) -> None:
    """The vault before, with orders of a source that replaces them, some without customers."""
    build(root)
    vault = Vault(root, KEY)
    take(vault, lines(400, 120), name="o1", source="shop")
    take(vault, lines(520, 40, people=False), name="o2", source="shop")


def supersede(root: Path) -> None:
    """Newer orders: some lines differ, some orders were cancelled, some are new."""
    rows = lines(440, 160)
    cut = pa.array([k % 3 > 0 for k in range(160)])
    gone = lines(400, 40).table.select(ORDER.names).cast(ORDER)
    left = RawRows(rows.table.filter(cut))
    take(Vault(root, KEY), left, name="o3", source="shop", gone=gone)


def erase(root: Path) -> None:
    """One person, who is in every table and was set aside."""
    Vault(root, KEY).erase([PEOPLE[3]], NOW, "request")


def correct(root: Path) -> None:
    """One line taken off one person."""
    vault = Vault(root, KEY)
    one = vault.lines_of(PEOPLE[5]).to_pylist()[0]
    vault.correct(
        PEOPLE[5], [LineCorrection(one["line_hash"], one["copy"], {"customer_key": None})], NOW
    )


def purge(root: Path) -> None:
    """The first weeks of all tables."""
    Vault(root, KEY).purge(date(2024, 2, 1), NOW)


def rotate(root: Path) -> None:
    """All under another key."""
    Vault(root, KEY).rotate(lambda: NEW_KEY, lambda: None, NOW)


def open_(root: Path) -> None:
    """Nothing but opening: lifts a vault of an earlier layout."""
    Vault(root, KEY)


DO: Mapping[str, Callable[[Path], None]] = {
    "build": build,
    "add": add,
    "build_orders": build_orders,
    "supersede": supersede,
    "erase": erase,
    "correct": correct,
    "purge": purge,
    "rotate": rotate,
    "open": open_,
}


def _dying(real: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def die() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def step(*args: Any, **kwargs: Any) -> Any:
        die()
        out = real(*args, **kwargs)
        die()
        return out

    return step


def _child(order: Mapping[str, Any]) -> None:
    left = [int(order.get("step", 0))]
    if left[0]:
        os.fsync = _dying(os.fsync, left)
        for kind, name in (
            (Path, "replace"),
            (Path, "unlink"),
            (pq.ParquetWriter, "write_table"),
            (pq.ParquetWriter, "close"),
        ):
            setattr(kind, name, _dying(getattr(kind, name), left))
    after_s = order.get("after_s")
    if after_s is not None:

        def kill() -> None:
            time.sleep(after_s)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
    DO[order["do"]](Path(order["root"]))


def main() -> None:
    """Serve until the input ends."""
    rowfiles.GROUP_ROWS = 64  # type: ignore[misc]
    for text in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _child(json.loads(text))
                code = 0
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
