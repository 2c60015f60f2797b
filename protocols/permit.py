"""The value that a decision hands out and that guarded code asks for.

Only ``protocols.agreement.decide`` makes one (a test reads the sources for that). Code that
reads customer or sales rows for a run, trains, masks, releases or uses a result takes a
``Permit`` as an argument, so a step that nobody decided on does not type-check.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from protocols.errors import Refused
from protocols.ids import AgreementId, RunId


class Gate(StrEnum):
    """Where a decision is taken."""

    LAUNCH = "launch"
    ADMIT = "admit"
    RELEASE = "release"
    USE = "use"


@dataclass(frozen=True, slots=True)
class Permit:
    """What was allowed, under which agreement, and until when (UTC)."""

    gate: Gate
    agreement: AgreementId
    run: RunId
    purpose: str
    workload_digest: str
    columns: tuple[str, ...]
    not_after: datetime

    def require(self, gate: Gate, now: datetime, *, columns: tuple[str, ...] = ()) -> None:
        """Refuse if this permit is for another gate, has run out, or lacks a column."""
        if self.gate is not gate:
            raise Refused(f"a permit for {self.gate} does not open the gate {gate}.")
        if now > self.not_after:
            raise Refused(
                f"the permit of run {self.run} ended at {self.not_after.isoformat()}.",
                clauses=("c30",),
            )
        extra = sorted(set(columns) - set(self.columns))
        if extra:
            raise Refused(
                f"the columns {', '.join(extra)} are not in the permit of run {self.run}.",
                clauses=("c08",),
            )
