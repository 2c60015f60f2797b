"""Plans of runs: the order, what it costs in privacy, and what the launch gate says of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from coordinator.drafts import installed_source, installed_workload
from coordinator.members.pki import Office
from protocols import course
from protocols.agreement.decide import decide
from protocols.agreement.facts import (
    Denial,
    Evidence,
    Facts,
    LedgerFacts,
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
        orders: launched before, with their instants, oldest first.
        spent: the office's account of privacy.
    """

    orders: Sequence[tuple[datetime, Order]]
    spent: Sequence[Line]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run before it is launched. ``denial`` is the launch gate's, if it said no."""

    order: ParsedOrder
    agreement: ParsedAgreement
    roster: ParsedRoster
    course: Course
    privacy: PrivacyFacts
    denial: Denial | None

    @property
    def budget(self) -> Budget | None:
        """The agreed budget that the run spends of; None if it spends none."""
        return budget_of(self.agreement.terms, self.privacy.unit)


def plan_run(
    office: Office,
    signed_agreement: Json,
    rosters: Sequence[Json],
    *,
    asked: Asked,
    active: Sequence[str],
    past: Past,
    now: datetime,
) -> RunPlan:
    """An order over the roster's members that are active, and the launch gate's answer.

    ``rosters`` are all signed epochs, the current one last.

    Raises:
        InputError: a setting that the agreement does not leave free, or does not fit.
        Refused: the agreement does not list the installed workload.
    """
    agreement = read_agreement(jws_payload(signed_agreement, "agreement"), "agreement")
    epochs = [read_roster(jws_payload(one, "roster"), "roster") for one in rosters]
    roster = epochs[-1]
    keys = {member: key for one in epochs for member, key in one.keys.items()}
    recipe = _agreed(agreement, asked.workload)
    order = _order(office, agreement, roster, recipe, asked, active, now)
    route = course.chart(order, agreement.terms, roster)
    spends = privacy_facts(route.privacy(), agreement.terms, past.spent, now)
    facts = Facts(
        now=now,
        evidence=Evidence(
            signers=frozenset(jws_verify(signed_agreement, keys, "agreement")), operator=True
        ),
        roster=RosterFacts(roster.id, roster.roster.epoch, frozenset(roster.voters(now))),
        ledger=_ledger(agreement, recipe, past, now),
        privacy=spends,
    )
    answer = decide(agreement.terms, Request(Gate.LAUNCH, order.order), facts)
    denial = answer if isinstance(answer, Denial) else None
    return RunPlan(order, agreement, roster, route, spends, denial)


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
    agreement: ParsedAgreement,
    roster: ParsedRoster,
    recipe: WorkloadTerms,
    asked: Asked,
    active: Sequence[str],
    now: datetime,
) -> ParsedOrder:
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
        cohort=sorted(set(active) & roster.voters(now)),
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
    agreement: ParsedAgreement, recipe: WorkloadTerms, past: Past, now: datetime
) -> LedgerFacts | None:
    privacy = agreement.terms.block("c14", Privacy)
    if privacy is None:
        return None
    since = now - timedelta(days=privacy.period_days)
    return LedgerFacts(
        runs_in_period=sum(at > since for at, _ in past.orders),
        earlier_cohorts=tuple(
            frozenset(one.cohort) for _, one in past.orders if one.workload.id == recipe.id
        ),
    )
