"""kill -9 while a vault is changed: afterwards it is exactly as before, or exactly as after.

A real process does the work and dies by SIGKILL, before or after a durable step or at any moment.
A few random deaths of each kind here; every step and many moments in ``make soak``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.data.layout import Layout
from node.data.vault import Vault
from vault_rows import KEY
from vault_victim import NEW_KEY

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and fork")

ROOT = Path(__file__).parents[3]
OLD = ROOT / "tests" / "vectors" / "vault-1" / "vault"
WORK = ("add", "supersede", "erase", "correct", "purge", "rotate", "open")
MOST_STEPS = 400

Do = Callable[..., int]


@pytest.fixture(scope="module")
def do() -> Iterator[Do]:
    """Asks the victim to do something; returns how it ended."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "support")))
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "support" / "vault_victim.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None

        def ask(name: str, root: Path, **death: float) -> int:
            print(json.dumps({"do": name, "root": str(root), **death}), file=stdin, flush=True)
            return int(stdout.readline())

        yield ask
        stdin.close()


@pytest.fixture(scope="module")
def vaults(do: Do, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any, Any]]:
    """Work -> the folder before, what it holds before, and what it holds after."""
    folder, found = tmp_path_factory.mktemp("vaults"), {}
    assert do("build", folder / "built") == 0
    assert do("build_orders", folder / "orders") == 0
    for name in WORK:
        before = {"open": OLD, "supersede": folder / "orders"}.get(name, folder / "built")
        after = Path(shutil.copytree(before, folder / name))
        assert do(name, after) == 0
        held = None if name == "open" else whole(Path(shutil.copytree(before, folder / f"{name}0")))
        found[name] = (before, held, whole(after))
    return found


def whole(root: Path) -> Any:
    """Everything that a vault holds, under the key that opens it; opening cleans it up."""
    key = NEW_KEY if Layout(root, NEW_KEY).opens() else KEY
    vault = Vault(root, key)
    found = vault.manifest()
    vault.verify()
    files = {path.name for path in root.rglob("*") if path.is_file()} - {"lock"}
    assert files == found.names() | {"manifest.sealed"}, "nothing is left over"
    tables = [
        vault.query(f"SELECT * FROM {name} ORDER BY ALL")
        for name in ("sales_line", "customer", "stock")
    ]
    aside = [vault.quarantined(one.sha256) for one in found.imports]
    notes = [(one.file_name, one.rows_added, one.epoch) for one in found.imports]
    return (
        key, tables, aside, notes, vault.data_digest(), len(found.erased), len(found.removals)
    )  # fmt: skip


def died_well(do: Do, case: tuple[Path, Any, Any], name: str, root: Path, **death: float) -> bool:
    """Kill it once, look, and do it again; whether it died before the change counted."""
    before, held, done = case
    shutil.copytree(before, root)
    ended = do(name, root, **death)
    assert ended in (0, -9)
    sealed = (root / "manifest.sealed").exists()
    if held is None and not sealed:  # lifted when it is opened next
        assert ended == -9 and (root / "manifest.json").exists()
        assert whole(root) == done
        return True
    found = whole(root)
    assert found == done or (ended == -9 and found == held)
    if found != done:
        assert do(name, root) == 0
        assert whole(root) == done
    shutil.rmtree(root)
    return bool(found != done)


@pytest.mark.parametrize("name", WORK)
def test_killed_at_some_steps(
    name: str, do: Do, vaults: dict[str, tuple[Path, Any, Any]], tmp_path: Path
) -> None:
    _, held, done = vaults[name]
    assert held != done
    assert died_well(do, vaults[name], name, tmp_path / "first", step=1)
    drawn = random.Random(os.urandom(8))
    step = drawn.randrange(2, 30)
    died_well(do, vaults[name], name, tmp_path / f"step-{step}", step=step)
    assert not died_well(do, vaults[name], name, tmp_path / "last", step=MOST_STEPS)


def test_killed_at_some_moments(
    do: Do, vaults: dict[str, tuple[Path, Any, Any]], tmp_path: Path
) -> None:
    drawn = random.Random(os.urandom(8))
    for number in range(3):
        after_s = drawn.uniform(0, 0.3)
        died_well(do, vaults["add"], "add", tmp_path / f"{number}-{after_s}", after_s=after_s)


@pytest.mark.soak
@pytest.mark.parametrize("name", WORK)
def test_killed_at_every_step_and_many_moments_soak(
    name: str, do: Do, vaults: dict[str, tuple[Path, Any, Any]], tmp_path: Path
) -> None:
    early = []
    for step in range(1, MOST_STEPS):
        root = tmp_path / f"step-{step}"
        early.append(died_well(do, vaults[name], name, root, step=step))
        if len(early) > 20 and not any(early[-20:]):
            break
    # there is one step from which on everything has happened
    assert early == sorted(early, reverse=True) and any(early) and not early[-1]
    drawn = random.Random(os.urandom(8))
    for number in range(100):
        after_s = drawn.uniform(0, 0.4)
        died_well(do, vaults[name], name, tmp_path / f"{number}-{after_s}", after_s=after_s)
