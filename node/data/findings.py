"""What a rule is, what it finds, and how findings become one score from 0 to 100.

The score starts at 100. A rule that finds something takes off up to its weight: all of it when
the affected share reaches ``full_at``, a part of it below; 100 means that nothing was found. With
an error among the findings the score is at most ``WITH_ERROR``, however few rows are affected:
clause 9 of an agreement can keep such data out of runs by asking for more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Generic, ParamSpec

from protocols.plain import printable

WITH_ERROR: Final = 69
NAMES_SHOWN: Final = 3
NAME_CHARS: Final = 40


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found: ``count`` things, as a share (0-1) of what it looked at."""

    rule: str
    severity: Severity
    sentence: str
    fix: str
    count: int
    share: float
    penalty: float

    def document(self) -> dict[str, Any]:
        """As it is kept and printed as JSON."""
        return {
            "rule": self.rule,
            "severity": self.severity.value,
            "sentence": self.sentence,
            "fix": self.fix,
            "count": self.count,
            "share": round(self.share, 6),
            "penalty": round(self.penalty, 3),
        }


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Findings by penalty, heaviest first, and the health score (0-100)."""

    score: int
    lines: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rule counted: ``count`` of ``total``, with words for the sentence."""

    count: int
    total: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """What failed a rule, for the owner's eyes: no customer, not even as a key.

    ``cells`` has one tuple a row, as many values as there are ``headers``.
    """

    headers: tuple[str, ...]
    cells: tuple[tuple[Any, ...], ...] = field(repr=False)


P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Rule(Generic[P]):
    """A named rule over what it looks at. ``sentence`` may use {count}, {total} and {detail}.

    The penalty is ``weight`` where the share of what was counted reaches ``full_at``, less below.
    ``rows`` gives what failed; None where the rule is about the whole and no row is to blame.
    """

    name: str
    severity: Severity
    weight: float
    full_at: float
    sentence: str
    fix: str
    look: Callable[P, Seen]
    rows: Callable[P, Rows] | None = None

    def apply(self, *at: P.args, **named: P.kwargs) -> Finding | None:
        """The finding, or None if there is nothing to say."""
        seen = self.look(*at, **named)
        if not seen.count:
            return None
        share = seen.count / max(seen.total, 1)
        return Finding(
            rule=self.name,
            severity=self.severity,
            sentence=self.sentence.format(count=seen.count, total=seen.total, detail=seen.detail),
            fix=self.fix,
            count=seen.count,
            share=share,
            penalty=self.weight * min(1.0, share / self.full_at),
        )


def scored(lines: int, findings: Iterable[Finding | None]) -> QualityReport:
    """The report over what rules found; those that found nothing gave None."""
    found = [one for one in findings if one is not None]
    found.sort(key=lambda finding: (-finding.penalty, finding.rule))
    best = 99 if found else 100
    if any(one.severity is Severity.ERROR for one in found):
        best = WITH_ERROR
    score = max(0, min(best, round(100 - sum(finding.penalty for finding in found))))
    return QualityReport(score, lines, tuple(found))


def some(names: Iterable[object]) -> str:
    """A few names for a sentence: what a till printed, safe for a terminal, and how many more."""
    every = [printable(str(name), NAME_CHARS) for name in names]
    more = len(every) - NAMES_SHOWN
    return ", ".join(every[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
