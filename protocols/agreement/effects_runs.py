"""What the clauses about runs say in words: data, programs, privacy, contribution, competition."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from math import exp
from typing import Any

from protocols.agreement.plural import counted, days, listed, name_of
from protocols.agreement.terms import (
    PROFILES,
    Competition,
    Contribution,
    Datasets,
    Outputs,
    Privacy,
    Quality,
    SharedCategories,
    Workloads,
    WorkloadTerms,
)

Sentences = tuple[str, ...]
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
_MADE = {"metrics", "model"}
_BEAT = {"own_baseline": "the members' own forecasts"}


def _datasets(block: Datasets) -> Sentences:
    return tuple(
        f"Your own computer may read from {table.table}: {listed(table.columns)}."
        for table in block.tables
    )


def _quality(block: Quality) -> Sentences:
    return (
        f"You take part with data of health {block.min_health} of 100 or better.",
        f"You take part while your newest sale is at most {days(block.max_age_days)} old.",
        *_categories(block.taxonomy),
    )


def _categories(agreed: SharedCategories | None) -> Sentences:
    if agreed is None:
        return ("Each member keeps its own names of categories.",)
    return (
        "For a run that reads categories, at least "
        f"{agreed.min_mapped_percent} % of your sales lines have a category of the list "
        f"{agreed.id}, fingerprint {name_of(agreed.sha256)}, which is the same for all.",
    )


def _workloads(block: Workloads) -> Sentences:
    return tuple(sentence for entry in block.workloads for sentence in _workload(entry))


def _workload(entry: WorkloadTerms) -> Sentences:
    noise = (
        "without added noise"
        if entry.privacy == "none"
        else f"with noise that hides each single {entry.privacy}"
    )
    fixed = listed(f"{_key(key)} = {_setting(entry.config[key])}" for key in sorted(entry.config))
    name = f"{entry.id} {entry.version}"
    return (
        f"Program {name}, code {name_of(entry.digest)}, may run for {entry.purpose}: at most "
        f"{counted(entry.max_rounds, 'round')} a run, reading {listed(entry.columns)}, {noise}.",
        f"Of {name} every order has to have exactly: {fixed}."
        if fixed
        else f"Of {name} no setting is fixed.",
        f"Of {name} the operator may choose: {listed(entry.free)}."
        if entry.free
        else f"Of {name} the operator may choose nothing.",
    )


def _setting(value: Any) -> str:
    return json.dumps(value, sort_keys=True)  # escapes whatever could look like something else


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def _privacy(block: Privacy) -> Sentences:
    changes = counted(block.survivor_changes, "time")
    return (
        "Your update is only ever added to those of others: at least "
        f"{counted(block.min_cohort, 'member')} in every sum.",
        f"{counted(block.colluders, 'member')} and the operator together cannot open your update.",
        "In a run without added noise the members in the sum may change by a few at most "
        f"{changes}.",
        f"At most {counted(block.max_runs, 'run')} in any {days(block.period_days)}.",
        *_promises(block),
    )


def _promises(block: Privacy) -> Sentences:
    """What noise promises, and what is spent of it."""
    without = (
        "For a workload without added noise there is no differential-privacy guarantee: what its "
        "common model shows is not bounded by a figure."
    )
    if not block.budgets:
        return (without, "No workload that promises privacy to single customers can run.")
    return (
        *(
            f"All runs with noise together spend at most epsilon {one.epsilon:g} (delta "
            f"{one.delta:g}) of each {one.unit}'s privacy in any {days(one.period_days)}; a run "
            "that would spend more is refused. Epsilon bounds how much more likely any result can "
            f"become because one {one.unit} is in the data: at most {exp(one.epsilon):,.1f} times, "
            "but for a chance of delta."
            for one in block.budgets
        ),
        without,
    )


def _outputs(block: Outputs) -> Sentences:
    unmade = [kind for kind in block.release if kind not in _MADE]
    gain = f" by {block.min_gain_percent:g} % or more" if block.min_gain_percent else ""
    return (
        f"These may leave a run: {listed(block.release)}.",
        *(
            [f"This version cannot make {listed(unmade)}; a run that asks for it is refused."]
            if unmade
            else []
        ),
        f"These never leave a node: {listed(block.never)}.",
        f"A model is released only if at least {counted(block.min_contributors, 'member')} "
        f"measured it and it improves {_BEAT[block.must_beat]}{gain}.",
    )


def _contribution(block: Contribution) -> Sentences:
    return (
        f"You take part with at least {counted(block.min_weeks, 'week')} of history and "
        f"{counted(block.min_rows, 'row')}.",
        "In a sum all members count the same."
        if block.w_max == 1
        else f"No member counts more than {block.w_max} times as much as the smallest.",
    )


def _competition(block: Competition) -> Sentences:
    profile = PROFILES[block.profile]
    return (
        f"Competition profile {block.profile} ({profile.meaning}): at least "
        f"{counted(block.min_contributors, 'member')} in every sum and figure.",
        f"No member makes up more than {block.max_weight_percent} % of a sum in training.",
        f"No member makes up more than {block.max_share_percent} % of a figure, and no figure "
        f"shows data younger than {days(block.min_age_days)}.",
        f"No figure shows: {listed(block.blocked_fields)}.",
    )


SENTENCES: Mapping[type, Callable[[Any], Sentences]] = {
    Datasets: _datasets,
    Quality: _quality,
    Workloads: _workloads,
    Privacy: _privacy,
    Outputs: _outputs,
    Contribution: _contribution,
    Competition: _competition,
}
