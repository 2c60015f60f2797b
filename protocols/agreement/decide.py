"""``decide``: may this happen? Pure, total, default deny (SPEC.md section 6).

The one place where a ``Permit`` is made. All clauses are asked, none is skipped after the first
no, so that a denial lists everything that has to change.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocols.agreement import (
    clauses_house,
    clauses_office,
    clauses_parties,
    clauses_people,
    clauses_privacy,
    clauses_results,
    clauses_run,
    clauses_use,
)
from protocols.agreement.facts import Denial, Facts, Request
from protocols.agreement.saying import Check, missing_clauses
from protocols.agreement.terms import Term, Terms
from protocols.ids import RunId
from protocols.permit import Gate, Permit

COMMON: tuple[Check, ...] = (
    clauses_parties.parties,
    clauses_people.roles,
    clauses_parties.governance,
    clauses_people.data_roles,
    clauses_run.purposes,
    clauses_run.datasets,
    clauses_run.quality,
    clauses_people.legal_basis,
    clauses_people.notice,
    clauses_people.rights,
    clauses_run.workloads,
    clauses_privacy.privacy,
    clauses_results.outputs,
    clauses_parties.approval,
    clauses_run.contribution,
    clauses_use.benefit,
    clauses_office.costs,
    clauses_use.ip,
    clauses_use.confidentiality,
    clauses_office.sharing,
    clauses_office.security,
    clauses_office.audit,
    clauses_office.incidents,
    clauses_people.oversight,
    clauses_results.competition,
    clauses_use.retention,
    clauses_use.membership,
    clauses_parties.term,
    clauses_parties.clock,
)
CHECKS: Mapping[Gate, tuple[Check, ...]] = {
    Gate.LAUNCH: COMMON,
    Gate.ADMIT: (*COMMON, clauses_house.house_rules),
    Gate.RELEASE: COMMON,
    Gate.USE: (*COMMON, clauses_house.house_rules),
}
"""Every clause is asked at every gate; a clause with nothing to say there still has to exist."""


def decide(terms: Terms, request: Request, facts: Facts) -> Permit | Denial:
    """Decide one request under one agreement version.

    Never raises on a parsed order. Facts must have been established from bytes by the caller.

    Returns:
        A permit until the order's deadline or the end of the agreement, whichever is first;
        or a denial with every reason.
    """
    asked = (reason for check in CHECKS[request.gate] for reason in check(terms, request, facts))
    reasons = (*missing_clauses(terms), *asked)
    term = terms.block("c30", Term)
    if reasons or term is None:
        return Denial(request.gate, reasons)
    order = request.order
    running = request.gate in (Gate.LAUNCH, Gate.ADMIT)
    return Permit(
        gate=request.gate,
        agreement=terms.id,
        run=RunId(order.run),
        purpose=request.purpose if request.gate is Gate.USE else order.purpose,
        workload_digest=order.workload.digest,
        columns=order.columns if running else (),
        not_after=min(order.deadline, term.ends) if running else term.ends,
    )
