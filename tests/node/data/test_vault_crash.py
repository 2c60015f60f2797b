"""kill -9 during an import: afterwards the vault holds all of the file or nothing of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from node.data.intake import ImportResult
from node.data.vault import Vault

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")

SECRET = bytes(range(32))
NOW = datetime(2025, 1, 6, tzinfo=UTC)

# For each number read from stdin: an import in a fork that dies by SIGKILL before or after its
# n-th durable step (write, fsync, rename). Prints how the fork ended.
CHILD = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
import pyarrow.parquet as pq
from node.data.intake import add, preview
from node.data.vault import Vault

path, root = Path(sys.argv[1]), Path(sys.argv[2])

def dying(real, left):
    def step(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        out = real(*args, **kwargs)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return out
    return step

def take_in(steps):
    vault, plan, left = Vault(root, bytes(32)), preview(path), [steps]
    os.fsync = dying(os.fsync, left)
    Path.replace = dying(Path.replace, left)
    pq.ParquetWriter.write_table = dying(pq.ParquetWriter.write_table, left)
    pq.ParquetWriter.close = dying(pq.ParquetWriter.close, left)
    add(vault, plan, bytes(range(32)), datetime(2025, 1, 6, tzinfo=UTC))

for text in sys.stdin:
    pid = os.fork()
    if pid == 0:
        take_in(int(text))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def rows(first: int, count: int) -> list[tuple[str, str, str, str]]:
    start = date(2017, 1, 1)
    return [
        ((start + timedelta(days=k % 300)).isoformat(), f"r{k}", f"c{k % 9}", "1")
        for k in range(first, first + count)
    ]


def state(vault: Vault) -> tuple[int, str, int]:
    return vault.summary().lines, vault.data_digest(), len(vault.imports())


def importer(path: Path, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(path), str(root)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def ask(child: subprocess.Popen[str], steps: int) -> str:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(f"{steps}\n")
    return child.stdout.readline().strip()


def test_killed_at_every_durable_step(
    vault: Vault, till: Callable[..., Path], take_in: Callable[..., ImportResult]
) -> None:
    take_in(till(rows(0, 50), "a.csv"))
    path = till(rows(25, 50), "b.csv")
    before = state(vault)
    deaths = 0
    with importer(path, vault.root) as child:
        for steps in range(1, 60):
            ended = ask(child, steps)
            again = Vault(vault.root, bytes(32))
            again.verify()
            assert not list((vault.root / "tmp").iterdir())
            assert len(list((vault.root / "rows").iterdir())) == len(again.manifest().files)
            if state(again) != before:
                break
            assert ended == "-9"
            deaths += 1
        assert child.stdin is not None
        child.stdin.close()
    # the first death that came too late found the whole import done, and it is not done twice
    assert deaths > 8
    assert vault.summary().lines == 75 and len(vault.imports()) == 2
    assert take_in(path).rows_added == 0
