"""The workloads that are installed here, and the digest that names their code.

A digest covers every packaged source file that decides what a run computes, so both sides can
tell that they would run the same recipe. Code never travels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from protocols import canonical
from protocols.errors import Code, InputError
from protocols.workloads import demand

Read = Callable[[str], bytes]  # repo-relative path with forward slashes -> the file's bytes


@dataclass(frozen=True, slots=True)
class Workload:
    """Name, purpose and packaged sources of one recipe."""

    id: str
    version: str
    purpose: str
    columns: tuple[str, ...]
    sources: tuple[str, ...]

    def digest(self, read: Read) -> str:
        """SHA-256 over id, version and the sources (line ends as LF), 64 hex digits.

        ``read`` returns the bytes of an installed source file; whatever it raises goes through.
        """
        parts: list[bytes | str] = [self.id, self.version]
        for path in self.sources:
            text = read(path).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            parts += [path, hashlib.sha256(text).digest()]
        return canonical.digest("datacoop/workload/1", *parts).hex()


DEMAND: Final = Workload(
    id=demand.ID,
    version=demand.VERSION,
    purpose=demand.PURPOSE,
    columns=demand.COLUMNS,
    sources=(
        "node/data/features.py",
        "node/training/__init__.py",
        "node/training/baseline.py",
        "node/training/baseline_child.py",
        "node/training/clip.py",
        "node/training/evaluate.py",
        "node/training/fit.py",
        "node/training/models.py",
        "node/training/personalise.py",
        "protocols/workloads/__init__.py",
        "protocols/workloads/catalogue.py",
        "protocols/workloads/demand.py",
        "protocols/workloads/metrics.py",
        "protocols/workloads/server.py",
    ),
)

CATALOGUE: Final[Mapping[tuple[str, str], Workload]] = {(DEMAND.id, DEMAND.version): DEMAND}


def find(workload_id: str, version: str) -> Workload:
    """The installed workload of that name; InputError names those that are installed."""
    found = CATALOGUE.get((workload_id, version))
    if found is None:
        known = ", ".join(f"{one.id} {one.version}" for one in CATALOGUE.values())
        raise InputError(
            f"the workload {workload_id!r} version {version!r} is not installed here.",
            code=Code.NOT_FOUND,
            fix=f"Installed: {known}.",
        )
    return found


def digest(read: Read, workload: Workload = DEMAND) -> str:
    """The digest of a workload, by default the demand workload."""
    return workload.digest(read)
