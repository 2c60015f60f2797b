"""Drafts of agreements and plans of runs: what an operator prepares before anybody is asked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import coordinator
from coordinator.members.pki import Office
from protocols import course
from protocols.agreement.check import Finding, Level, check
from protocols.agreement.decide import decide
from protocols.agreement.facts import Denial, Evidence, Facts, LedgerFacts, Request, RosterFacts
from protocols.agreement.order import (
    USUAL_DROPOUT_PERCENT,
    Order,
    ParsedOrder,
    make_order,
)
from protocols.agreement.parse import ParsedAgreement, parse_agreement, read_agreement
from protocols.agreement.roster import ParsedRoster, read_roster
from protocols.agreement.template import make_agreement
from protocols.agreement.terms import PROFILES, Competition, Privacy, Workloads, cohort_floor
from protocols.canonical import Json, parse_json
from protocols.errors import InputError, Refused
from protocols.permit import Gate
from protocols.signing import jws_payload, jws_verify
from protocols.workloads import catalogue, demand

FREE = ("categories", "holdout_weeks", "train_until")
MAX_DRAFT_BYTES = 1024 * 1024


def installed_source(path: str) -> bytes:
    """Bytes of an installed source file, by its path from the packages' common folder."""
    return (Path(coordinator.__file__).resolve().parent.parent / path).read_bytes()


def template_document(name: str) -> Json:
    """A packaged template; InputError names those that exist."""
    folder = resources.files("protocols.agreement").joinpath("templates")
    known = sorted(one.name.removesuffix(".json") for one in folder.iterdir())
    if name not in known:
        raise InputError(
            f"there is no template {name[:60]!r}.",
            where="--template",
            fix=f"Choose one of: {', '.join(known)}.",
        )
    return parse_json(folder.joinpath(f"{name}.json").read_bytes(), f"template {name}")


def demand_terms(settings: Mapping[str, Any], max_rounds: int) -> dict[str, Any]:
    """Clause 13's entry for the demand workload.

    Args:
        settings: settings that orders must match, on top of the defaults.
        max_rounds: rounds that an order may ask for.
    """
    recipe = catalogue.DEMAND
    fixed = {**demand.DEFAULTS, **settings}
    return {
        "id": recipe.id,
        "version": recipe.version,
        "digest": recipe.digest(installed_source),
        "purpose": recipe.purpose,
        "columns": list(recipe.columns),
        "max_rounds": max_rounds,
        "config": {key: value for key, value in fixed.items() if key not in FREE},
        "free": list(FREE),
    }


def new_draft(
    office: Office,
    *,
    template: str,
    lasts: timedelta,
    settings: Mapping[str, Any],
    max_rounds: int,
    figures: Mapping[str, Any],
    previous: ParsedAgreement | None,
    now: datetime,
) -> ParsedAgreement:
    """A filled template, as the first version or as the successor of ``previous``.

    The office's competition profile holds unless ``figures`` names a stricter one.

    Raises:
        InputError: a looser profile, or what ``make_agreement`` raises.
    """
    figures = _with_profile(office.public.profile, figures)
    start = now.replace(minute=0, second=0, microsecond=0)
    return make_agreement(
        template_document(template),
        name=office.public.name,
        coop=office.public.coop,
        operator_key=office.public.operator_key.hex(),
        coordinator_key=office.public.coordinator_key.hex(),
        workloads=[demand_terms(settings, max_rounds)],
        starts=start,
        ends=start + lasts,
        figures=figures,
        version=previous.agreement.version + 1 if previous else 1,
        prev=previous.id if previous else None,
    )


def _with_profile(declared: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Profiles A, B, C from loose to strict; the least members per figure follow the profile."""
    chosen = str(figures.get("profile", declared))
    if chosen not in PROFILES or chosen < declared:
        raise InputError(
            f"the competition profile {chosen!r} is not one, or is looser than {declared!r}, which"
            " this cooperative declared.",
            where="profile",
            fix="A: not competitors. B: same trade elsewhere. C: competitors. Only tighten it.",
        )
    least = PROFILES[chosen].min_contributors
    names = ("profile_members", "min_cohort", "min_contributors", "min_members")
    return {**dict.fromkeys(names, least), **figures, "profile": chosen}


def check_draft(file: Path, now: datetime) -> tuple[ParsedAgreement, tuple[Finding, ...]]:
    """A draft from a file, and what the linter says.

    Raises:
        InputError: not readable, not an agreement, or with errors; warnings are returned.
    """
    try:
        text = file.read_bytes() if file.stat().st_size <= MAX_DRAFT_BYTES else b""
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}.", where=str(file)) from error
    parsed = parse_agreement(text, str(file))
    findings = check(parsed.agreement, parsed.terms, now)
    errors = [one for one in findings if one.level is Level.ERROR]
    if errors:
        raise InputError(
            " ".join(str(one) for one in errors),
            where=str(file),
            fix="Correct the draft; nothing was sent.",
        )
    return parsed, findings


@dataclass(frozen=True, slots=True)
class Plan:
    """A run before it is launched: the order, and what the launch gate says of it."""

    order: ParsedOrder
    agreement: ParsedAgreement
    roster: ParsedRoster
    denial: Denial | None


def plan_run(
    office: Office,
    signed_agreement: Json,
    rosters: Sequence[Json],
    *,
    settings: Mapping[str, Any],
    rounds: int,
    active: Sequence[str],
    earlier: Sequence[tuple[datetime, Order]],
    lasts: timedelta,
    stage_timeouts_s: Mapping[str, int],
    max_dropout_percent: int = USUAL_DROPOUT_PERCENT,
    rejoin_wait_s: float,
    now: datetime,
) -> Plan:
    """An order over the roster's members that are active, and the launch gate's answer.

    ``rosters`` are all signed epochs, the current one last; ``earlier`` are the orders launched
    before, with their instants.

    Raises:
        InputError: a setting that the agreement does not leave free, or does not fit.
    """
    agreement = read_agreement(jws_payload(signed_agreement, "agreement"), "agreement")
    epochs = [read_roster(jws_payload(one, "roster"), "roster") for one in rosters]
    roster = epochs[-1]
    keys = {member: key for one in epochs for member, key in one.keys.items()}
    block = agreement.terms.block("c13", Workloads)
    privacy = agreement.terms.block("c14", Privacy)
    competition = agreement.terms.block("c27", Competition)
    if block is None or privacy is None or competition is None:
        raise InputError("the agreement in force lacks a clause.", where="agreement")
    digest = catalogue.DEMAND.digest(installed_source)
    recipe = block.by_digest(digest)
    if recipe is None:
        raise Refused(
            f"the installed demand workload has the code digest {digest[:16]}, which the"
            " agreement does not list.",
            clauses=("c13",),
            fix="Install the version that was agreed, or propose a new agreement version.",
        )
    unknown = sorted(set(settings) - set(recipe.free))
    if unknown:
        raise InputError(
            f"the agreement leaves {', '.join(recipe.free)} free, not {', '.join(unknown)}.",
            where="--settings",
        )
    issued = now.replace(microsecond=0)
    order = make_order(
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
        max_dropout_percent=max_dropout_percent,
        rounds=rounds,
        config={**recipe.config, **settings},
        stage_timeouts_s=stage_timeouts_s,
        rejoin_wait_s=rejoin_wait_s,
        issued=issued,
        deadline=issued + lasts,
    )
    course.chart(order, agreement.terms, roster)
    signers = frozenset(jws_verify(signed_agreement, keys, "agreement"))
    facts = Facts(
        now=now,
        evidence=Evidence(signers=signers, operator=True),
        roster=RosterFacts(roster.id, roster.roster.epoch, frozenset(roster.voters(now))),
        ledger=LedgerFacts(
            runs_in_period=sum(at > now - timedelta(days=privacy.period_days) for at, _ in earlier),
            earlier_cohorts=tuple(
                frozenset(one.cohort) for _, one in earlier if one.workload.id == recipe.id
            ),
        ),
    )
    answer = decide(agreement.terms, Request(Gate.LAUNCH, order.order), facts)
    return Plan(order, agreement, roster, answer if isinstance(answer, Denial) else None)


def read_settings(file: Path | None) -> dict[str, Any]:
    """Settings from a JSON file; an absent file means none."""
    if file is None:
        return {}
    try:
        text = file.read_bytes()
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}.", where=str(file)) from error
    return dict(parse_json(text, str(file)))


def pretty(document: Json) -> str:
    """A document as a file that people read and change."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
