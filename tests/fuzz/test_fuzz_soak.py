"""The targets under libFuzzer, for ``FUZZ_MINUTES`` (60) together; two at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fuzz_targets import TARGETS

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
LEAST_SECONDS = 5


def seconds_each() -> int:
    """The share of one target of the time."""
    minutes = float(os.environ.get("FUZZ_MINUTES", "60"))
    return max(LEAST_SECONDS, int(minutes * 60 * AT_ONCE / len(TARGETS)))


def fuzzed(name: str, folder: Path) -> tuple[str, int, str]:
    """One target for its time: its name, exit code and last words."""
    words = [
        sys.executable,
        str(ROOT / "tests" / "fuzz" / "fuzz.py"),
        name,
        f"-max_total_time={seconds_each()}",
        f"-artifact_prefix={folder}/{name}-",
    ]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False
    )
    return name, done.returncode, (done.stdout + done.stderr)[-3000:]


@pytest.mark.soak
def test_nothing_but_our_errors_escapes(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda name: fuzzed(name, tmp_path), TARGETS))
    failed = [f"{name}: exit {code}\n{said}" for name, code, said in found if code]
    assert not failed, "\n\n".join(failed) + f"\nThe inputs are in {tmp_path}."
    assert all("Done " in said for _, _, said in found), "every target ran to the end of its time"


def test_the_time_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUZZ_MINUTES", "60")
    assert seconds_each() * len(TARGETS) <= 2 * 3600
    monkeypatch.setenv("FUZZ_MINUTES", "0")
    assert seconds_each() == LEAST_SECONDS


def kept() -> Iterator[Path]:
    """Inputs that failed once."""
    yield from (ROOT / "tests" / "fuzz" / "found").glob("*/*")


def test_every_kept_input_belongs_to_a_target() -> None:
    assert {path.parent.name for path in kept()} <= set(TARGETS)
