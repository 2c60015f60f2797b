"""The release gate: nothing leaves a run that the agreement does not let out.

The decision is ``protocols.release.decision``, the one that members and auditors take again
from the files; here its answer becomes an entry in the log, before anything follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from protocols.agreement.facts import Denial
from protocols.audit.entries import Fact, Kind
from protocols.audit.writer import LogWriter
from protocols.permit import Permit
from protocols.release import Documents, decision


def release_permit(
    documents: Documents, metrics: Mapping[str, float], now: datetime, log: LogWriter
) -> Permit:
    """The permit to release, with the decision on record.

    Args:
        documents: agreement, roster and order of the run, signatures verified.
        metrics: means over members from the evaluation's sum.
        now: the present instant.
        log: the coordinator's audit log.

    Raises:
        Refused: naming the clause and the figures; c15 if the blend does not beat the baseline.
    """
    run = documents.order.order.run
    answer = decision(documents, metrics, now)
    figures: dict[str, Fact] = {
        "gate": "release",
        "run": run,
        "evaluated": round(metrics["evaluated"]),
        "wape_own": round(metrics["wape_own"], 6),
        "wape_blend": round(metrics["wape_blend"], 6),
    }
    if isinstance(answer, Denial):
        log.append(Kind.REFUSAL, {**figures, "clauses": answer.clauses})
        raise answer.refused()
    log.append(Kind.DECISION, {**figures, "allowed": True})
    return answer
