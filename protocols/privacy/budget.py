"""Budgets over runs and years (SPEC.md section 7). Pure: the ledger is the shell's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from protocols.errors import InputError
from protocols.privacy import accountant
from protocols.privacy.events import Event, Unit

State = Literal["reserved", "settled"]


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a ledger. Reserved counts like settled: what may have been released was.

    A line is settled with what was really released, never with nothing: a reservation whose run
    never showed a sum is taken out by the shell, which knows that for certain.

    Raises:
        InputError: no events, events of another unit, or an instant without a time zone.
    """

    unit: Unit
    events: tuple[Event, ...]
    at: datetime
    state: State

    def __post_init__(self) -> None:
        _need(self.state in get_args(State), "its state is 'reserved' or 'settled'")
        _need(self.at.tzinfo is not None, "its instant has a time zone")
        _need(bool(self.events), "it has events")
        _need(all(event.unit == self.unit for event in self.events), "its events are of its unit")


@dataclass(frozen=True, slots=True)
class Limit:
    """Clause 14: at most ``epsilon`` at ``delta`` within any ``period_days``.

    Raises:
        InputError: a figure is out of range.
    """

    unit: Unit
    epsilon: float
    delta: float
    period_days: int

    def __post_init__(self) -> None:
        _need(self.unit in get_args(Unit), "its unit is 'customer' or 'member'")
        _need(math.isfinite(self.epsilon) and self.epsilon > 0, "its epsilon is above 0")
        _need(0 < self.delta < 1, "its delta is between 0 and 1")
        _need(1 <= self.period_days <= 36_500, "its period is 1 to 36500 days")


@dataclass(frozen=True, slots=True)
class Answer:
    """Epsilon within the period before and after the new events; over all time after them."""

    before: float
    after: float
    lifetime: float
    ok: bool


def spent(lines: Iterable[Line], unit: Unit, delta: float, since: datetime | None = None) -> float:
    """Epsilon of the lines of ``unit`` at or after ``since`` (None: ever), composed, at ``delta``.

    All events go through one account: the sum of their separate epsilons would be far too large.
    """
    return accountant.epsilon(_events(lines, unit, since), delta)


def admits(lines: Sequence[Line], new: Sequence[Event], limit: Limit, now: datetime) -> Answer:
    """Whether ``new`` fits into the budget at ``now``.

    A line counts from ``period_days`` ago on; lines with an instant after ``now`` count as well,
    because a clock may have been put back.

    Raises:
        InputError: nothing new, a new event of another unit, or ``now`` without a time zone.
    """
    asked = Line(limit.unit, tuple(new), now, "reserved")
    since = now - timedelta(days=limit.period_days)
    before = spent(lines, limit.unit, limit.delta, since)
    after = spent([*lines, asked], limit.unit, limit.delta, since)
    lifetime = spent([*lines, asked], limit.unit, limit.delta)
    return Answer(before, after, lifetime, after <= limit.epsilon)


def _events(lines: Iterable[Line], unit: Unit, since: datetime | None) -> list[Event]:
    return [
        event
        for line in lines
        if line.unit == unit and (since is None or line.at >= since)
        for event in line.events
    ]


def _need(condition: bool, rule: str) -> None:
    if not condition:
        raise InputError(f"this entry of a privacy budget is malformed: {rule}.", where="c14")
