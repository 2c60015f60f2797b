"""What a target of fuzzing is, and what all of them share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from protocols.signing import SigningKey

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = SigningKey(b"\x07" * 32)


@dataclass(frozen=True, slots=True)
class Target:
    """One reader: what it does with bytes, good bytes to start from, whether they are JSON.

    ``tries``: how many mutations the short test makes.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    json: bool = False
    tries: int = 40


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """One folder for all files of this process; it goes when the process ends."""
    return tempfile.TemporaryDirectory(prefix="fuzz-")


def kept_file(data: bytes, name: str) -> Path:
    """A file with these bytes, for readers that want a path; the next call replaces it."""
    path = Path(_folder().name) / name
    path.write_bytes(data)
    return path
