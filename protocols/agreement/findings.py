"""What a linter says: one finding, with its rule, clause, field and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """An error must be put right before signing; a warning should be talked about."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction or gap, with the clause it stands in and what to do.

    ``rule`` names what was looked for. ``field`` is the path in the machine block with points,
    such as ``tables.0.columns``; empty if the finding is about the clause as a whole.
    """

    clause: str
    level: Level
    sentence: str
    fix: str
    rule: str = ""
    field: str = ""

    def __str__(self) -> str:
        return f"{self.clause} {self.level}: {self.sentence} {self.fix}"


Found = Iterator[Finding]


def error(rule: str, clause: str, field: str, sentence: str, fix: str) -> Finding:
    """A finding that stops the proposal."""
    return Finding(clause, Level.ERROR, sentence, fix, rule, field)


def warning(rule: str, clause: str, field: str, sentence: str, fix: str) -> Finding:
    """A finding that people should talk about."""
    return Finding(clause, Level.WARNING, sentence, fix, rule, field)
