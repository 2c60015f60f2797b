"""Health scores over time: one row for each state of a data set and day that was looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from node.store.schema import quality_history

KEPT_DAYS: Final = 3 * 366  # a trend of three years; older scores say nothing about today
KEPT_ROWS: Final = 20_000  # of all data sets together, so that no script fills the disk


@dataclass(frozen=True, slots=True)
class Scored:
    """One look at a data set.

    Args:
        at: when, UTC.
        dataset: ``sales``, ``customers``, ``stock`` or a purpose such as ``train:churn``.
        score: 0 to 100.
        findings: as they were shown, heaviest first: rule, severity, sentence, fix, count.
        data: digest of the rows that were looked at (64 hex digits).
    """

    at: datetime
    dataset: str
    score: int
    findings: tuple[Mapping[str, Any], ...]
    data: str


class QualityHistory:
    """Rows in the order in which they were added."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, one: Scored) -> bool:
        """Append, unless the newest row of that data set says the same of that day.

        Returns whether a row was added. What is older than three years goes.
        """
        last = self.last(one.dataset)
        if last is not None and (last.at.date(), last.data, last.score, last.findings) == (
            one.at.date(),
            one.data,
            one.score,
            one.findings,
        ):
            return False
        added = self._connection.execute(
            insert(quality_history).values(
                at=one.at,
                dataset=one.dataset,
                score=one.score,
                findings=json.dumps([dict(f) for f in one.findings], sort_keys=True),
                data=one.data,
            )
        )
        newest = added.inserted_primary_key
        assert newest is not None
        self._connection.execute(
            delete(quality_history).where(
                (quality_history.c.at < one.at - timedelta(days=KEPT_DAYS))
                | (quality_history.c.seq <= newest[0] - KEPT_ROWS)
            )
        )
        return True

    def last(self, dataset: str) -> Scored | None:
        """The newest row of a data set."""
        row = self._connection.execute(
            select(quality_history)
            .where(quality_history.c.dataset == dataset)
            .order_by(quality_history.c.seq.desc())
            .limit(1)
        ).first()
        return None if row is None else _scored(row)

    def list(self, dataset: str | None = None) -> tuple[Scored, ...]:
        """Everything of one data set, or of all; oldest first."""
        query = select(quality_history).order_by(quality_history.c.seq)
        if dataset is not None:
            query = query.where(quality_history.c.dataset == dataset)
        return tuple(map(_scored, self._connection.execute(query)))


def _scored(row: Any) -> Scored:
    return Scored(row.at, row.dataset, row.score, tuple(json.loads(row.findings)), row.data)
