"""What each machine block does, in words: the software's reading of a clause."""

from __future__ import annotations

from math import exp

from protocols.agreement.saying import day
from protocols.agreement.terms import (
    PROFILES,
    Approval,
    Competition,
    Contribution,
    Datasets,
    Fraction,
    Governance,
    Machine,
    Members,
    Outputs,
    Parties,
    Privacy,
    Purposes,
    Term,
    Workloads,
)


def effects(block: Machine) -> tuple[str, ...]:
    """Sentences that follow from the machine block alone, never from the clause's text."""
    if isinstance(block, Parties | Governance | Term | Approval):
        return _frame(block)
    if isinstance(block, Purposes | Datasets | Workloads):
        return _scope(block)
    if isinstance(block, Privacy | Outputs | Contribution | Competition):
        return _limits(block)
    return ()


def _quorum(quorum: Members | Fraction) -> str:
    if isinstance(quorum, Members):
        return f"{quorum.members} members"
    return f"{quorum.numerator} in {quorum.denominator} members"


def _frame(block: Parties | Governance | Term | Approval) -> tuple[str, ...]:
    match block:
        case Parties():
            return (f"Nothing runs with fewer than {block.min_members} members.",)
        case Governance():
            return (
                f"This agreement counts once {_quorum(block.quorum_agreement)} have signed it.",
                f"A new list of members counts once {_quorum(block.quorum_roster)} of the list "
                "before have signed it.",
                f"Orders are signed with the key {block.operator_key[:16]}..., results with "
                f"{block.coordinator_key[:16]}....",
            )
        case Term():
            return (f"It holds from {day(block.starts)} until {day(block.ends)}.",)
        case Approval():
            window = ""
            if block.hours_utc is not None:
                hours = block.hours_utc
                window = f" Runs start from {hours.from_hour}:00 to {hours.to_hour}:00 UTC."
            if block.mode == "manual":
                return (
                    "You approve each order yourself, unless you approve one workload always."
                    + window,
                )
            return ("Orders under this agreement start without asking you." + window,)


def _scope(block: Purposes | Datasets | Workloads) -> tuple[str, ...]:
    match block:
        case Purposes():
            return (
                f"Others may use the common result for: {', '.join(block.allowed)}.",
                f"Never for: {', '.join(block.forbidden)}.",
            )
        case Datasets():
            return tuple(
                f"Your own computer may read from {table.table}: {', '.join(table.columns)}."
                for table in block.tables
            )
        case Workloads():
            return tuple(
                f"Workload {entry.id} {entry.version} ({entry.digest[:16]}...) may run for "
                f"{entry.purpose}, at most {entry.max_rounds} rounds, reading "
                f"{', '.join(entry.columns)}, "
                + (
                    "without added noise."
                    if entry.privacy == "none"
                    else f"with noise that hides each single {entry.privacy}."
                )
                for entry in block.workloads
            )


def _promises(block: Privacy) -> tuple[str, ...]:
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
            f"{one.delta:g}) of each {one.unit}'s privacy in any {one.period_days} days; a run "
            "that would spend more is refused. Epsilon bounds how much more likely any result can "
            f"become because one {one.unit} is in the data: at most {exp(one.epsilon):,.1f} times, "
            "but for a chance of delta."
            for one in block.budgets
        ),
        without,
    )


def _limits(block: Privacy | Outputs | Contribution | Competition) -> tuple[str, ...]:
    match block:
        case Privacy():
            return (
                f"Your update is only ever added to those of others: at least {block.min_cohort} "
                f"members in every sum, safe against {block.colluders} who work together.",
                f"The members in a sum may change by a few at most {block.survivor_changes} times "
                "in a run.",
                f"At most {block.max_runs} runs in {block.period_days} days.",
                *_promises(block),
            )
        case Outputs():
            return (
                f"May leave a run: {', '.join(block.release)}. Never: {', '.join(block.never)}.",
                f"A model is released only if at least {block.min_contributors} members reported "
                "and its error is lower than that of the members' own forecasts"
                + (f" by {block.min_gain_percent:g} % or more." if block.min_gain_percent else "."),
            )
        case Contribution():
            return (
                f"You take part with at least {block.min_weeks} weeks of history and "
                f"{block.min_rows} rows.",
                f"No member counts more than {block.w_max} times as much as the smallest.",
            )
        case Competition():
            profile = PROFILES[block.profile]
            return (
                f"Competition profile {block.profile} ({profile.meaning}): at least "
                f"{block.min_contributors} members in every figure, none above "
                f"{block.max_weight_percent} %.",
            )
