"""A release as a document: the decision, the card, the line in the log.

Every field of the card follows from the order and the published sums, so a reader derives the
card again and compares. Metrics are means over members. Of single members only this stands here:
whose updates are in the model, and who may use it; all members see that in every sum.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from protocols.agreement.base import utc_text
from protocols.agreement.decide import decide
from protocols.agreement.facts import (
    Denial,
    Evidence,
    Facts,
    Figures,
    ReleaseFacts,
    Request,
    RosterFacts,
)
from protocols.agreement.order import ParsedOrder, WorkloadRef
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.roster import ParsedRoster
from protocols.bundle import MODEL
from protocols.canonical import Json, json_id
from protocols.course import Course, chart
from protocols.errors import Code, InputError, Refused
from protocols.permit import Gate, Permit
from protocols.privacy.plan import Plan
from protocols.spending import cost
from protocols.useterms import use_terms
from protocols.workloads.catalogue import find
from protocols.workloads.recipe import UNIT_WORDS

KIND: Final = "datacoop/release"
VERSION: Final = 1
OUTPUTS: Final = ("metrics", "model")  # what a release shows, in the words of clause 15
NO_CLAIM: Final[Mapping[str, Any]] = {
    "claim": "none",
    "mechanism": "secure aggregation",
    "statement": "secure aggregation; no differential-privacy claim",
}
MECHANISM: Final = (
    "secure aggregation of sums in which each member adds its share of discrete Gaussian noise"
)
DIGITS: Final = 6
EPSILON_DIGITS: Final = 3  # rounded up: a promise is never smaller than what holds


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of a run. ``signers`` have a verified signature over the agreement."""

    agreement: ParsedAgreement
    roster: ParsedRoster
    order: ParsedOrder
    signers: frozenset[str]


def decision(
    documents: Documents,
    survivors: Sequence[Set[str]],
    metrics: Mapping[str, float],
    now: datetime,
) -> Permit | Denial:
    """May this model leave the run? The same question for coordinator, member and auditor.

    Args:
        documents: with the operator's signature over the order verified by the caller.
        survivors: members in each published sum, in order of rounds, the evaluation last.
        metrics: means over members from the evaluation's sum.
        now: when the release is made.
    """
    roster = documents.roster
    course = chart(documents.order, documents.agreement.terms, roster)
    facts = Facts(
        now=now,
        evidence=Evidence(signers=documents.signers, operator=True),
        roster=RosterFacts(roster.id, roster.roster.epoch, frozenset(map(str, roster.voters()))),
        privacy=cost(course.privacy()),
        figures=figures_of(documents.order.order.workload, metrics),
        release=_use_facts(course, survivors, now),
    )
    request = Request(Gate.RELEASE, documents.order.order, outputs=OUTPUTS)
    return decide(documents.agreement.terms, request, facts)


def _use_facts(course: Course, survivors: Sequence[Set[str]], now: datetime) -> ReleaseFacts | None:
    """What the card would say about use; nothing, which denies, if the agreement does not say."""
    try:
        return use_terms(course, survivors, now).facts(now)
    except Refused:
        return None


def figures_of(workload: WorkloadRef, metrics: Mapping[str, float]) -> Figures:
    """What the release gate compares, from the metrics of a run of this workload.

    Raises:
        InputError: the workload is not installed.
    """
    found = find(workload.id, str(workload.version)).compared(metrics)
    return Figures(found.contributors, found.baseline_error, found.blend_error, found.measure)


def privacy_section(course: Course) -> dict[str, Any]:
    """What the run promises about privacy, as a document: on the card and on the plan alike.

    Epsilons cover training and evaluation together, for the fewest survivors that a sum may have.
    ``coordinator`` is what a curious coordinator sees that nobody helps, ``colluders`` what it
    sees with the agreed number of members, who take their own noise away: the promise.
    """
    plan = course.privacy()
    if plan is None:
        return dict(NO_CLAIM)
    alone, helped = _epsilons(plan)
    return {
        "claim": plan.unit,
        "unit": UNIT_WORDS[plan.unit],
        "delta": plan.delta,
        "epsilon": {"coordinator": alone, "colluders": helped},
        "colluders": plan.colluders,
        "least_survivors": plan.least_survivors,
        "sums": {
            phase.name: {
                "noise_multiplier": phase.noise_multiplier,
                "sample_rate": phase.sample_rate,
                "steps": phase.steps,
            }
            for phase in plan.phases
        },
        "mechanism": MECHANISM,
        "statement": (
            f"Whether any one {plan.unit} is in the data changes the probability of whatever the "
            f"run shows by a factor of at most e^{helped:g}, but for {plan.delta:g}, even if "
            f"{_members(plan.colluders)} the coordinator; by e^{alone:g} if nobody does. "
            "The evaluation counts in. Who takes part is seen by all and not covered."
        ),
    }


def _members(helping: int) -> str:
    return f"{helping} members help" if helping != 1 else "one member helps"


@lru_cache(maxsize=64)
def _epsilons(plan: Plan) -> tuple[float, float]:
    """Epsilon for the coordinator alone and with colluders, rounded up; it takes seconds."""
    return _up(plan.epsilon_alone), _up(plan.epsilon_colluders)


def _up(epsilon: float) -> float:
    if not math.isfinite(epsilon):
        raise InputError("the noise of this run bounds nothing.", where="order", code=Code.REFUSED)
    return math.ceil(epsilon * 10**EPSILON_DIGITS) / 10**EPSILON_DIGITS


def make_card(
    course: Course,
    *,
    model: str,
    model_file: bytes,
    survivors: Sequence[Set[str]],
    metrics: Mapping[str, float],
    created: datetime,
) -> dict[str, Any]:
    """The card as a document.

    Args:
        course: of the run.
        model: model id, 64 hex digits.
        model_file: the safetensors file.
        survivors: members in each published sum, in order of rounds, the evaluation last.
        metrics: means over the members, from the evaluation's sum.
        created: when the release was made (UTC); the one field that does not follow.

    Raises:
        Refused: the agreement does not say how results may be used.
    """
    sizes = [len(present) for present in survivors]
    one = course.order.order
    return {
        "kind": KIND,
        "v": VERSION,
        "coop": one.coop,
        "run": one.run,
        "model": model,
        "file": {
            "name": MODEL,
            "sha256": hashlib.sha256(model_file).hexdigest(),
            "bytes": len(model_file),
        },
        "agreement": one.agreement,
        "roster": one.roster,
        "roster_epoch": one.roster_epoch,
        "order": course.order.id,
        "workload": one.workload.model_dump(mode="json"),
        "purpose": one.purpose,
        "cohort": {
            "members": len(one.cohort),
            "survivors_min": min(sizes),
            "survivors_max": max(sizes),
        },
        "rounds": one.rounds,
        "metrics": {name: round(float(metrics[name]), DIGITS) for name in sorted(metrics)},
        "privacy": privacy_section(course),
        "use": use_terms(course, survivors, created).document(),
        "created": utc_text(created),
    }


def check_card(card: Json, derived: Json, where: str) -> None:
    """Every field of a card equals the derived one; InputError naming the first that does not."""
    for name in sorted(card.keys() | derived.keys()):
        if name not in card or name not in derived:
            state = "is missing" if name in derived else "is unknown"
            raise InputError(f"the field {name!r} {state}.", code=Code.TAMPERED, where=where)
        if card[name] != derived[name]:
            raise InputError(
                f"the field {name!r} is {_short(card[name])}, "
                f"what follows from the run is {_short(derived[name])}.",
                code=Code.TAMPERED,
                where=where,
            )


def log_facts(card: Json) -> dict[str, bool | int | float | str | tuple[Any, ...]]:
    """Facts of the log entry that makes a release known: hashes of card and documents.

    ``created`` stands beside them: with it the same card can be made again after a crash.
    """
    names = ("agreement", "created", "model", "order", "run")
    return {"card": json_id(card), **{name: str(card[name]) for name in names}}


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
