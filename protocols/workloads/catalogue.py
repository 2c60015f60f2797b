"""The workloads that are installed here, and the digest that names their code.

A digest covers every packaged source file that decides what a run computes, so both sides can
tell that they would run the same recipe. Code never travels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocols.errors import Code, InputError
from protocols.workloads import churn, demand
from protocols.workloads.recipe import Read, Workload

DEMAND: Final = demand.WORKLOAD
CHURN: Final = churn.WORKLOAD

CATALOGUE: Final[Mapping[tuple[str, str], Workload]] = {
    (one.id, one.version): one for one in (DEMAND, CHURN)
}


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


def digests(read: Read) -> frozenset[str]:
    """The digests of all installed workloads."""
    return frozenset(one.digest(read) for one in CATALOGUE.values())
