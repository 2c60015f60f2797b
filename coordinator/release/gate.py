"""The release gate: nothing leaves a run that the agreement does not let out.

The decision is ``protocols.release.decision``, the one that members and auditors take again
from the files; here its answer becomes an entry in the log, before anything follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import datetime

from protocols.agreement.facts import Denial
from protocols.audit.entries import Fact, Kind
from protocols.audit.writer import LogWriter
from protocols.permit import Permit
from protocols.release import Documents, decision, figures_of


def release_permit(
    documents: Documents,
    survivors: Sequence[Set[str]],
    metrics: Mapping[str, float],
    now: datetime,
    log: LogWriter,
) -> Permit:
    """The permit to release, with the decision on record.

    Args:
        documents: agreement, roster and order of the run, signatures verified.
        survivors: members in each published sum, in order of rounds, the evaluation last.
        metrics: means over members from the evaluation's sum.
        now: the present instant.
        log: the coordinator's audit log.

    Raises:
        Refused: naming the clause and the figures; c15 if the blend does not beat the baseline.
    """
    run = documents.order.order.run
    figures = figures_of(documents.order.order.workload, metrics)
    answer = decision(documents, survivors, metrics, now)
    facts: dict[str, Fact] = {
        "gate": "release",
        "run": run,
        "evaluated": figures.contributors,
        "baseline_error": round(figures.baseline_error, 6),
        "blend_error": round(figures.blend_error, 6),
    }
    if isinstance(answer, Denial):
        log.append(Kind.REFUSAL, {**facts, "clauses": answer.clauses})
        raise answer.refused()
    log.append(Kind.DECISION, {**facts, "allowed": True})
    return answer
