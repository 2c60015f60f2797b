"""Budgets over runs and years (SPEC.md section 7). Pure: the ledger is the shell's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from protocols.privacy.events import Event, Unit

State = Literal["reserved", "settled"]


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a ledger. Reserved counts like settled: what may have been released was."""

    unit: Unit
    events: tuple[Event, ...]
    at: datetime
    state: State


@dataclass(frozen=True, slots=True)
class Limit:
    """Clause 14: at most ``epsilon`` at ``delta`` in any ``period_days``."""

    unit: Unit
    epsilon: float
    delta: float
    period_days: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Epsilon within the period before and after the new events; ``lifetime`` after them."""

    before: float
    after: float
    lifetime: float
    ok: bool


def spent(lines: Iterable[Line], unit: Unit, delta: float, since: datetime | None = None) -> float:
    """Epsilon of all lines of ``unit`` later than ``since`` (None: ever) at ``delta``."""
    raise NotImplementedError


def admits(lines: Sequence[Line], new: Sequence[Event], limit: Limit, now: datetime) -> Answer:
    """Whether ``new`` still fits into the budget at ``now``."""
    raise NotImplementedError
