"""Plans of runs: the order, what it costs in privacy, and what the launch gate says of it."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from coordinator.drafts import installed_source, installed_workload
from coordinator.members.pki import Office
from protocols import course
from protocols.agreement.decide import decide
from protocols.agreement.facts import (
    AuditFacts,
    Denial,
    Evidence,
    Facts,
    LedgerFacts,
    OfficeFacts,
    PrivacyFacts,
    Request,
    RosterFacts,
)
from protocols.agreement.order import USUAL_DROPOUT_PERCENT, Order, ParsedOrder, make_order
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import ParsedRoster, read_roster
from protocols.agreement.terms import (
    Budget,
    Competition,
    Governance,
    Privacy,
    Workloads,
    WorkloadTerms,
    cohort_floor,
)
from protocols.canonical import Json
from protocols.course import Course
from protocols.errors import InputError, Refused
from protocols.permit import Gate
from protocols.privacy.budget import Line
from protocols.signing import jws_payload, jws_verify
from protocols.spending import budget_of, privacy_facts


@dataclass(frozen=True, slots=True)
class Asked:
    """What an operator asks of a run.

    Args:
        workload: its id; empty for the only one that is agreed.
        rounds: of training; 0 for what suits the workload.
        settings: what the agreement leaves free.
        stage_timeouts_s: the wait of each stage, as in an order.
        lasts: from now until the deadline.
    """

    workload: str
    rounds: int
    settings: Mapping[str, Any]
    lasts: timedelta
    stage_timeouts_s: Mapping[str, int]
    rejoin_wait_s: float
    max_dropout_percent: int = USUAL_DROPOUT_PERCENT


@dataclass(frozen=True, slots=True)
class Past:
    """What the launch gate is told of earlier runs.

    Args:
        orders: posted before, with their instants, oldest first.
        spent: the office's account of privacy.
    """

    orders: Sequence[tuple[datetime, Order]]
    spent: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the office found out about itself before it asks (``coordinator.standing``)."""

    office: OfficeFacts
    audit: AuditFacts | None = None
    frozen: str = ""
    newest_seen: datetime | None = None
    terminated: bool = False


@dataclass(frozen=True, slots=True)
class Basis:
    """The signed documents that a run goes by: the terms, who signed them, the last epoch."""

    agreement: ParsedAgreement
    signers: frozenset[str]
    roster: ParsedRoster


@dataclass(frozen=True, slots=True)
class Judged:
    """An order that the launch gate was asked about. ``denial`` is None if it said yes."""

    course: Course
    privacy: PrivacyFacts
    denial: Denial | None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run before it is launched. ``denial`` is the launch gate's, if it said no.

    Args:
        left_out: members of the roster that are not asked, and why.
        second_person: whether somebody has to approve it beside the operator (clause 5).
    """

    order: ParsedOrder
    agreement: ParsedAgreement
    roster: ParsedRoster
    course: Course
    privacy: PrivacyFacts
    denial: Denial | None
    left_out: Mapping[str, str]
    second_person: bool

    @property
    def budget(self) -> Budget | None:
        """The agreed budget that the run spends of; None if it spends none."""
        return budget_of(self.agreement.terms, self.privacy.unit)


def read_basis(signed_agreement: Json, rosters: Sequence[Json]) -> Basis:
    """The documents with their signatures verified; ``rosters`` are all epochs, the last is used.

    Raises:
        InputError: malformed, or a signature does not verify.
    """
    agreement = read_agreement(jws_payload(signed_agreement, "agreement"), "agreement")
    epochs = [read_roster(jws_payload(one, "roster"), "roster") for one in rosters]
    keys = {member: key for one in epochs for member, key in one.keys.items()}
    signers = frozenset(jws_verify(signed_agreement, keys, "agreement"))
    return Basis(agreement, signers, epochs[-1])


def plan_run(
    office: Office,
    basis: Basis,
    *,
    asked: Asked,
    active: Sequence[str],
    past: Past,
    standing: Standing,
    now: datetime,
) -> RunPlan:
    """An order over the members that can take part, and the launch gate's answer.

    Where clause 5 asks for a second person, the answer is the one that the gate will give once
    somebody has approved; it is asked again then.

    Raises:
        InputError: a setting that the agreement does not leave free, or does not fit.
        Refused: the agreement does not list the installed workload.
    """
    recipe = _agreed(basis.agreement, asked.workload)
    left_out = _left_out(basis, active, standing.office, now)
    cohort = sorted({one.id for one in basis.roster.roster.members} - left_out.keys())
    if not cohort:
        raise _nobody(left_out)
    order = _order(office, basis, recipe, asked, cohort, now)
    governance = basis.agreement.terms.block("c05", Governance)
    second = governance is not None and "launch" in governance.two_person
    approvers = frozenset(governance.approver_keys) if governance and second else frozenset()
    judged = judge(basis, order, past=past, standing=standing, approvers=approvers, now=now)
    return RunPlan(
        order,
        basis.agreement,
        basis.roster,
        judged.course,
        judged.privacy,
        judged.denial,
        left_out,
        second,
    )


def judge(
    basis: Basis,
    order: ParsedOrder,
    *,
    past: Past,
    standing: Standing,
    approvers: frozenset[str],
    now: datetime,
) -> Judged:
    """Ask the launch gate about an order that the operator signs and these keys approve.

    ``past`` must not hold the run itself.
    """
    terms, roster = basis.agreement.terms, basis.roster
    route = course.chart(order, terms, roster)
    spends = privacy_facts(route.privacy(), terms, past.spent, now)
    facts = Facts(
        now=now,
        evidence=Evidence(
            signers=basis.signers,
            operator=True,
            terminated=standing.terminated,
            approvers=approvers,
        ),
        roster=RosterFacts(roster.id, roster.roster.epoch, frozenset(roster.voters(now))),
        ledger=_ledger(basis.agreement, order.order, past, now),
        privacy=spends,
        audit=standing.audit,
        office=standing.office,
        frozen=standing.frozen,
        newest_seen=standing.newest_seen,
    )
    answer = decide(terms, Request(Gate.LAUNCH, order.order), facts)
    return Judged(route, spends, answer if isinstance(answer, Denial) else None)


def _left_out(
    basis: Basis, active: Sequence[str], office: OfficeFacts, now: datetime
) -> dict[str, str]:
    """Members of the roster that would refuse or must not be asked, with the first reason."""
    voters, here = basis.roster.voters(now), frozenset(active)
    away, unfit = office.away or frozenset(), office.quality_unknown or frozenset()
    out: dict[str, str] = {}
    for one in basis.roster.roster.members:
        if one.id not in here:
            out[one.id] = "is not an active member"
        elif one.id not in voters:
            out[one.id] = "its key in the roster has run out, or it has no vote"
        elif one.id not in basis.signers:
            out[one.id] = "has not signed this version of the agreement"
        elif one.id in away:
            out[one.id] = "has suspended itself or is leaving (c29)"
        elif one.id in unfit:
            out[one.id] = "refused within the last day because of its data's quality (c09)"
    return out


def _nobody(left_out: Mapping[str, str]) -> Refused:
    counted = sorted(Counter(left_out.values()).items())
    why = "; ".join(f"{count} {reason}" for reason, count in counted)
    return Refused(
        f"none of the {len(left_out)} members can take part: {why}.",
        clauses=("c01",),
        fix="'member list' and 'agreement status' show how each of them stands.",
    )


def _agreed(agreement: ParsedAgreement, name: str) -> WorkloadTerms:
    """The workload of that id as it is installed here and agreed; without a name, the only one."""
    block = agreement.terms.block("c13", Workloads)
    if block is None:
        raise InputError("the agreement in force lacks a clause.", where="c13")
    listed = sorted({one.id for one in block.workloads})
    if not name and len(listed) != 1:
        raise InputError(
            f"the agreement lists {len(listed)} workloads.",
            where="--workload",
            fix=f"Name one of: {', '.join(listed)}.",
        )
    workload = installed_workload(name or listed[0], "--workload")
    digest = workload.digest(installed_source)
    recipe = block.by_digest(digest)
    if recipe is None:
        raise Refused(
            f"the installed {workload.id} workload has the code digest {digest[:16]}, which the"
            " agreement does not list.",
            clauses=("c13",),
            fix="Install the version that was agreed, or propose a new agreement version.",
        )
    return recipe


def _order(
    office: Office,
    basis: Basis,
    recipe: WorkloadTerms,
    asked: Asked,
    cohort: Sequence[str],
    now: datetime,
) -> ParsedOrder:
    agreement, roster = basis.agreement, basis.roster
    privacy = agreement.terms.block("c14", Privacy)
    competition = agreement.terms.block("c27", Competition)
    if privacy is None or competition is None:
        raise InputError("the agreement in force lacks a clause.", where="agreement")
    unknown = sorted(set(asked.settings) - set(recipe.free))
    if unknown:
        raise InputError(
            f"the agreement leaves {', '.join(recipe.free)} free, not {', '.join(unknown)}.",
            where="--settings",
        )
    issued = now.replace(microsecond=0)
    rounds = asked.rounds or installed_workload(recipe.id, "--workload").default_rounds
    return make_order(
        coop=office.public.coop,
        run=secrets.token_hex(16),
        agreement=agreement.id,
        roster=roster.id,
        roster_epoch=roster.roster.epoch,
        workload={"id": recipe.id, "version": recipe.version, "digest": recipe.digest},
        purpose=recipe.purpose,
        columns=recipe.columns,
        cohort=cohort,
        colluders=privacy.colluders,
        min_cohort=cohort_floor(privacy, competition),
        max_dropout_percent=asked.max_dropout_percent,
        rounds=rounds,
        config={**recipe.config, **asked.settings},
        stage_timeouts_s=asked.stage_timeouts_s,
        rejoin_wait_s=asked.rejoin_wait_s,
        issued=issued,
        deadline=issued + asked.lasts,
    )


def _ledger(
    agreement: ParsedAgreement, order: Order, past: Past, now: datetime
) -> LedgerFacts | None:
    privacy = agreement.terms.block("c14", Privacy)
    if privacy is None:
        return None
    since = now - timedelta(days=privacy.period_days)
    return LedgerFacts(
        runs_in_period=sum(at > since for at, _ in past.orders),
        earlier_cohorts=tuple(
            frozenset(one.cohort) for _, one in past.orders if one.workload.id == order.workload.id
        ),
    )
