"""THE DATA'S WAY, on one page: from the vault to a bounded update, under one permit.

    demand  Permit + Standing -> ConsentedRows -> CheckedRows -> TrainingTable -> BoundedUpdate
    churn   Permit + Standing -> ConsentedLines -> CheckedLines -> CustomerTable -> WholeUnits

Each arrow is a function that takes the type before and makes the type after, so a step that is
left out does not type-check. Before each round ``again`` asks the ledger whether somebody has
spoken: whoever said no is not in the next step. Masking itself is the machine of
``protocols.secagg``, which adds the noise to whole units; neither leaves this process in any
other way.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from node import files
from node.data import consent, customers, features, line_quality, quality
from node.data.customers import CustomerTable
from node.data.features import TrainingTable
from node.data.stages import Basis, CheckedRows, ConsentedLines, ConsentedRows, Standing
from node.data.vault import Vault
from node.training import churn_evaluate, churn_fit, clip, evaluate, fit
from node.training.clip import BoundedUpdate
from protocols.course import Course
from protocols.errors import InputError, LocalError, Refused
from protocols.ids import MemberId
from protocols.permit import Gate, Permit
from protocols.workloads.churn import Churn, ChurnConfig
from protocols.workloads.demand import Demand, DemandConfig
from protocols.workloads.server import ServerState

Entropy = Callable[[int], bytes]
T = TypeVar("T")


class Ledger(Protocol):
    """What customers said; ``node.policy.consents.ConsentDesk``."""

    def standing(self, scope: str, now: datetime) -> Standing:
        """Who stands in a purpose now."""

    def holds(self, standing: Standing, now: datetime) -> bool:
        """Whether it would be read the same now: nobody has spoken and nothing has run out."""


class Books(Protocol):
    """Where it is written down what was read; ``node.policy.run_books.RunBooks``."""

    def keep(
        self, run: str, round: int, read: Read, *, customers: int, lines: int, vault: str = ""
    ) -> None:
        """On the disk, in the ledger and in the journal when this returns."""


class Read(Protocol):
    """Rows with the standing under which they were read, and their root."""

    @property
    def standing(self) -> Standing: ...

    @property
    def snapshot_root(self) -> str: ...


@dataclass(frozen=True, slots=True)
class House:
    """What a run reads in, and where that is written down."""

    vault: Vault
    ledger: Ledger
    books: Books
    cache: Path


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """Where prepared rows came from, and as what; None where rows were not read in a house."""

    house: House
    read: T


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
    source: Source[ConsentedRows] | None = None


@dataclass(frozen=True, slots=True)
class PreparedChurn:
    """What a churn run needs of this member's customers; ``held_out`` are the days after."""

    course: Course
    config: ChurnConfig
    table: CustomerTable = field(repr=False)
    held_out: CustomerTable = field(repr=False)
    source: Source[ConsentedLines] | None = None


Prepared = PreparedDemand | PreparedChurn


@dataclass(frozen=True, slots=True)
class WholeUnits:
    """A sum over customers, each of them clipped and rounded alone: int64 (dim,), no noise yet."""

    values: NDArray[np.int64] = field(repr=False)


def prepare(permit: Permit, course: Course, now: datetime, house: House) -> Prepared:
    """Permit -> consented -> checked -> table; and the own baseline, so that no round waits.

    Raises:
        Refused: the permit does not open these rows.
        InputError: too few or too poor rows, with the fix.
    """
    _require(permit, course, now)
    standing = house.ledger.standing(permit.purpose, now)
    return _prepared(permit, course, now, house, standing, 0)


def _prepared(
    permit: Permit, course: Course, now: datetime, house: House, standing: Standing, number: int
) -> Prepared:
    if isinstance(course.recipe, Churn):
        return _churn(permit, house, course, course.recipe.config, now, standing)
    if isinstance(course.recipe, Demand):
        return _demand(permit, house, course, course.recipe.config, now, standing, number)
    raise LocalError(
        f"this node knows no way from its rows to {course.recipe.workload.id}.",
        fix="Install the version of datacoop that the agreement names.",
    )


def again(permit: Permit, prepared: Prepared, number: int, now: datetime) -> Prepared:
    """The same, but without the rows of whoever said no since: before each round.

    No customer's lines come in while a run goes on, whoever says yes: the next run reads them.
    Weekly sums are read anew, as they stand then. Nothing is read again while nobody has spoken.
    What was read anew is written down with the round.

    Args:
        permit: of this run.
        prepared: of this run.
        number: of the round that begins, from 1.
        now: the instant at which the ledger is asked.

    Raises:
        Refused, InputError: as ``prepare``.
    """
    source = prepared.source
    if source is None or source.house.ledger.holds(source.read.standing, now):
        return prepared
    _require(permit, prepared.course, now)
    house = source.house
    standing = house.ledger.standing(permit.purpose, now)
    if isinstance(prepared, PreparedDemand):
        asked = source.read.standing.basis is Basis.CONSENT
        if asked and standing.basis is not Basis.CONSENT:
            # sums are read anew, and would be over those who never said yes
            raise Refused(
                "this run was admitted on the basis of consent, and another one was decided since.",
                clauses=("c10",),
                fix="The next run is judged on the new basis.",
            )
        return _prepared(permit, prepared.course, now, house, standing, number)
    return _fewer(permit, prepared, house, standing, number)


def _require(permit: Permit, course: Course, now: datetime) -> None:
    """Refused unless the permit is for this run, and still holds."""
    permit.require(Gate.ADMIT, now)
    if permit.run != course.order.order.run:
        raise Refused(f"a permit for run {permit.run[:16]} does not open another run.")


def _demand(
    permit: Permit,
    house: House,
    course: Course,
    config: DemandConfig,
    now: datetime,
    standing: Standing,
    number: int,
) -> PreparedDemand:
    vault, cache = house.vault, house.cache
    read = consent.consented_rows(vault, permit, now, standing, week_start=config.week_start)
    lines = int(read.weekly["lines"].sum())
    house.books.keep(permit.run, number, read, customers=0, lines=lines, vault=read.vault_digest)
    checked = quality.checked_rows(read)
    table = features.training_table(checked, now, config)
    known_until = vault.last_day()
    if not number:  # a round that waits for the own baseline would come too late for its sum
        seen = features.run_panel(checked, now, config, known_until)
        with contextlib.suppress(InputError):  # no held-out weeks: the report says so with zeros
            evaluate.warm_baseline(seen, config, cache)
    source = Source(house, read)
    return PreparedDemand(course, config, checked, table, now, known_until, cache, source)


def _churn(
    permit: Permit,
    house: House,
    course: Course,
    config: ChurnConfig,
    now: datetime,
    standing: Standing,
) -> PreparedChurn:
    vault = house.vault
    customers.require_days(vault.first_day(), vault.last_day(), config)
    read = consent.consented_lines(
        vault,
        permit,
        now,
        standing,
        since=config.snapshot_days[0] - timedelta(weeks=config.history_weeks),
        until=config.train_until + timedelta(weeks=config.horizon_weeks),
    )
    house.books.keep(permit.run, 0, read, customers=read.customers, lines=len(read.lines))
    checked = line_quality.checked_lines(read)
    return PreparedChurn(
        course,
        config,
        customers.training_table(checked, now, config),
        customers.held_out_table(checked, now, config),
        Source(house, read),
    )


def _fewer(
    permit: Permit, prepared: PreparedChurn, house: House, standing: Standing, number: int
) -> PreparedChurn:
    """Without the customers who do not stand any more; the lines of the others are not read."""
    assert prepared.source is not None
    read = consent.still_consented(prepared.source.read, standing)
    house.books.keep(permit.run, number, read, customers=read.customers, lines=len(read.lines))
    return replace(
        prepared,
        table=prepared.table.only(standing.lets_in),
        held_out=prepared.held_out.only(standing.lets_in),
        source=Source(house, read),
    )


def update(
    permit: Permit,
    prepared: Prepared,
    state: ServerState,
    number: int,
    member: MemberId,
    entropy: Entropy,
    now: datetime,
) -> BoundedUpdate | WholeUnits:
    """Table -> what this member adds to the sum of one training round.

    Args:
        permit: of this run; it has to hold when the round is trained, not only when rows were read.
        prepared: of this run.
        state: the model that the round starts from, derived here.
        number: of the round, from 1.
        member: this member.
        entropy: the operating system's: which customers are in a step must not be guessed.
        now: the instant at which the permit is judged.

    Raises:
        Refused: the permit is of another run or gate, or has run out.
    """
    _require(permit, prepared.course, now)
    if isinstance(prepared, PreparedChurn):
        signs = prepared.course.rotation_seed(number)
        params = np.array(state.params)
        return WholeUnits(churn_fit.step(params, prepared.table, prepared.config, entropy, signs))
    config = prepared.config
    delta = fit.train(
        np.array(state.params),
        prepared.table,
        config,
        prepared.course.training_seed(number, member),
        round_no=number - 1,
        rounds=prepared.course.training_rounds,
    )
    return clip.bounded(delta, config.clip_l2)


@dataclass(frozen=True, slots=True)
class Scored:
    """The evaluation round's vector, and the figures behind it that stay here.

    ``vector`` float32, or int64 whole units if the recipe adds noise. ``errors`` by method (own,
    shared, blend) in the recipe's measure, empty if this member has nothing to evaluate on;
    ``details`` go into the member's own file beside them.
    """

    vector: NDArray[np.float32] | NDArray[np.int64] = field(repr=False)
    measure: str
    errors: Mapping[str, float]
    details: Mapping[str, Any]


def report(permit: Permit, prepared: Prepared, state: ServerState, now: datetime) -> Scored:
    """Own baseline, shared model and blend on what training has not seen; errors as ``update``."""
    _require(permit, prepared.course, now)
    measure = prepared.course.recipe.workload.measure
    if isinstance(prepared, PreparedChurn):
        return _score_churn(prepared, state, measure)
    vector, found = evaluate.run_metrics(
        prepared.checked,
        prepared.now,
        np.array(state.params),
        prepared.config,
        cache=prepared.cache,
        known_until=prepared.known_until,
    )
    floats = vector.astype(np.float32)
    if found is None:
        return Scored(floats, measure, {}, {})
    details = {
        "history_weeks": found.history_weeks,
        "cold": found.cold,
        "own_method": found.own_method,
        "scores": {name: asdict(one) for name, one in found.scores.items()},
    }
    errors = {name: one.wape for name, one in found.scores.items()}
    return Scored(floats, measure, errors, details)


def _score_churn(prepared: PreparedChurn, state: ServerState, measure: str) -> Scored:
    whole, found = churn_evaluate.run_metrics(
        np.array(state.params), prepared.table, prepared.held_out, prepared.config
    )
    if found is None:
        return Scored(whole, measure, {}, {})
    details = {
        "customers": found.customers,
        "left": found.left,
        "own_method": found.own_method,
        "own_weight": found.own_weight,
        "scores": {
            name: {key: value for key, value in asdict(one).items() if np.isfinite(value)}
            for name, one in found.figures.items()
        },
    }
    errors = {name: one.brier for name, one in found.figures.items()}
    return Scored(whole, measure, errors, details)


def keep_report(scored: Scored, folder: Path) -> None:
    """Write the member's own figures beside the run, for its own eyes."""
    document = {
        "evaluated": bool(scored.errors),
        "measure": scored.measure,
        "errors": dict(scored.errors),
        **scored.details,
    }
    files.write(folder / files.SCORES, json.dumps(document, indent=1, sort_keys=True).encode())
