"""THE DATA'S WAY, on one page: from the vault to a bounded update, under one permit.

    Permit -> ConsentedRows -> CheckedRows -> TrainingTable -> delta -> BoundedUpdate -> masked

Each arrow is a function that takes the type before and makes the type after, so a step that is
left out does not type-check. Masking itself is the machine of ``protocols.secagg``; the bounded
update never leaves this process in any other way.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node import files
from node.data import consent, features, quality
from node.data.features import TrainingTable
from node.data.stages import CheckedRows
from node.data.vault import Vault
from node.training import clip, evaluate, fit
from node.training.clip import BoundedUpdate
from protocols.audit.entries import Kind
from protocols.course import Course
from protocols.errors import InputError, LocalError
from protocols.ids import MemberId
from protocols.permit import Permit
from protocols.workloads.demand import Demand, DemandConfig
from protocols.workloads.server import ServerState

Journal = Callable[[str, Mapping[str, object]], None]
Entropy = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class PreparedDemand:
    """What a demand run needs of this member's rows, made once under its permit."""

    course: Course
    config: DemandConfig
    checked: CheckedRows
    table: TrainingTable = field(repr=False)
    now: datetime
    known_until: date | None
    cache: Path


Prepared = PreparedDemand


def prepare(
    permit: Permit,
    vault: Vault,
    course: Course,
    now: datetime,
    journal: Journal,
    cache: Path,
) -> Prepared:
    """Permit -> consented -> checked -> table; and the own baseline, so that no round waits.

    Raises:
        Refused: the permit does not open these rows.
        InputError: too few or too poor rows, with the fix.
    """
    if isinstance(course.recipe, Demand):
        return _demand(permit, vault, course, course.recipe.config, now, journal, cache)
    raise _unknown(course)


def _demand(
    permit: Permit,
    vault: Vault,
    course: Course,
    config: DemandConfig,
    now: datetime,
    journal: Journal,
    cache: Path,
) -> PreparedDemand:
    consented = consent.consented_rows(vault, permit, now, week_start=config.week_start)
    journal(
        Kind.SNAPSHOT, {"run": permit.run, "root": consented.snapshot_root, "basis": "no-customers"}
    )
    checked = quality.checked_rows(consented)
    table = features.training_table(checked, now, config)
    known_until = vault.last_day()
    seen = features.run_panel(checked, now, config, known_until)
    with contextlib.suppress(InputError):  # no held-out weeks: the report will say so with zeros
        evaluate.warm_baseline(seen, config, cache)
    return PreparedDemand(course, config, checked, table, now, known_until, cache)


def update(
    prepared: Prepared, state: ServerState, number: int, member: MemberId, entropy: Entropy
) -> BoundedUpdate:
    """Table -> delta -> bounded update of one training round.

    Args:
        prepared: of this run.
        state: the model that the round starts from, derived here.
        number: of the round, from 1.
        member: this member.
        entropy: the operating system's; what a noised recipe draws its sample and rounding from.
    """
    config = prepared.config
    seed = prepared.course.training_seed(number, member)
    delta = fit.train(
        np.array(state.params),
        prepared.table,
        config,
        seed,
        round_no=number - 1,
        rounds=prepared.course.training_rounds,
    )
    return clip.bounded(delta, config.clip_l2)


@dataclass(frozen=True, slots=True)
class Scored:
    """The evaluation round's vector, and the figures behind it that stay here.

    ``errors`` by method (own, shared, blend) in the recipe's measure, empty if this member has
    nothing to evaluate on; ``details`` go into the member's own file beside them.
    """

    vector: NDArray[np.float32] = field(repr=False)
    measure: str
    errors: Mapping[str, float]
    details: Mapping[str, Any]


def report(prepared: Prepared, state: ServerState, entropy: Entropy) -> Scored:
    """Own baseline, shared model and blend on the member's own held-out weeks."""
    vector, found = evaluate.run_metrics(
        prepared.checked,
        prepared.now,
        np.array(state.params),
        prepared.config,
        cache=prepared.cache,
        known_until=prepared.known_until,
    )
    errors, details = {}, {}
    if found is not None:
        errors = {name: one.wape for name, one in found.scores.items()}
        details = {
            "history_weeks": found.history_weeks,
            "cold": found.cold,
            "own_method": found.own_method,
            "scores": {name: asdict(one) for name, one in found.scores.items()},
        }
    measure = prepared.course.recipe.workload.measure
    return Scored(vector.astype(np.float32), measure, errors, details)


def keep_report(scored: Scored, folder: Path) -> None:
    """Write the member's own figures beside the run, for its own eyes."""
    document = {
        "evaluated": bool(scored.errors),
        "measure": scored.measure,
        "errors": dict(scored.errors),
        **scored.details,
    }
    files.write(folder / files.SCORES, json.dumps(document, indent=1, sort_keys=True).encode())


def _unknown(course: Course) -> LocalError:
    return LocalError(
        f"this node has no way from its rows to the workload {course.recipe.workload.id}.",
        fix="Install the version of datacoop that the agreement names.",
    )
