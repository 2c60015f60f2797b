"""Health of every data set of this member: looked at, kept, compared with the month before.

Data sets are ``sales``, and where there are rows ``customers`` and ``stock``; besides them each
purpose about customers, for what a run for it would read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from node.data import drift, quality
from node.data.drift import Departure
from node.data.findings import QualityReport
from node.data.line_quality import owner_report
from node.data.stages import Basis
from node.data.tables import SALES_LINE
from node.data.vault import Vault
from node.policy.consents import ConsentDesk
from node.store.database import Database
from node.store.quality import QualityHistory, Scored

MONTH = timedelta(days=28)
SAME = 2  # points up or down that say nothing


class House(Protocol):
    """What is asked of the node's home."""

    def vault(self) -> Vault:
        """The member's rows."""

    def journal(self, kind: str, facts: Mapping[str, object]) -> None:
        """Append one entry."""

    def clock(self) -> datetime:
        """Now, UTC."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How a score changed: "better", "worse" or "same", since when, from what; or "new"."""

    word: str
    before: int | None = None
    since: datetime | None = None

    def sentence(self) -> str:
        """For people."""
        if self.before is None or self.since is None:
            return "There is no score of an earlier month yet."
        words = {"better": "Better than", "worse": "Worse than", "same": "The same as"}
        return f"{words[self.word]} on {self.since.date()} ({self.before} of 100)."


@dataclass(frozen=True, slots=True)
class Look:
    """One data set: its report, its scores over time (oldest first, this one last), its trend."""

    dataset: str
    report: QualityReport
    history: tuple[Scored, ...]
    trend: Trend


def survey(
    vault: Vault, database: Database, desk: ConsentDesk | None, now: datetime, only: str = ""
) -> tuple[Look, ...]:
    """Look at every data set that has rows, keep the scores, and compare.

    Args:
        vault, database, now: as they are.
        desk: what customers said; without it no purpose is looked at.
        only: one data set.
    """
    reports = _reports(vault, desk, now, only)
    data = vault.data_digest()
    with database.write() as connection:
        history = QualityHistory(connection)
        for dataset, report in reports.items():
            history.add(scored(dataset, report, data, now))
        lists = {dataset: history.list(dataset) for dataset in reports}
    return tuple(
        Look(dataset, report, lists[dataset], trend(lists[dataset], now))
        for dataset, report in reports.items()
    )


def _reports(
    vault: Vault, desk: ConsentDesk | None, now: datetime, only: str
) -> dict[str, QualityReport]:
    out = quality.check_all(vault, now.date(), only)
    for scope in purposes(desk):
        assert desk is not None
        if only in ("", scope):
            out[scope] = owner_report(vault, desk.standing(scope, now))[0]
    return out


def purposes(desk: ConsentDesk | None) -> tuple[str, ...]:
    """The purposes about customers for which a run could read rows: somebody answered, or may."""
    if desk is None or not desk.is_whole():
        return ()
    return tuple(
        sorted(
            one.scope
            for one in desk.status()
            if one.basis.basis == Basis.LEGITIMATE_INTEREST
            or (one.basis.basis != Basis.NONE and any(one.counts.values()))
        )
    )


def scored(dataset: str, report: QualityReport, data: str, now: datetime) -> Scored:
    """A report as it is kept."""
    findings = tuple(one.document() for one in report.findings)
    return Scored(now, dataset, report.score, findings, data)


def trend(history: Sequence[Scored], now: datetime) -> Trend:
    """The newest score against the last one that is at least a month old."""
    old = [one for one in history if one.at <= now - MONTH]
    if not old or not history:
        return Trend("new")
    change = history[-1].score - old[-1].score
    word = "same" if abs(change) <= SAME else "better" if change > 0 else "worse"
    return Trend(word, old[-1].score, old[-1].at)


def after_import(home: House, database: Database, sha256: str) -> tuple[str, ...]:
    """What to say after an import: the health of its table, and how it departs from before.

    The score is kept, and a journal entry names score and departures. An import is done by now:
    nothing here undoes it.

    Args:
        home, database: of this node.
        sha256: of the imported file, as the vault knows it.

    Returns:
        sentences for people; empty if the import is not in the vault.
    """
    vault, now = home.vault(), home.clock()
    record = next((one for one in reversed(vault.imports()) if one.sha256 == sha256), None)
    if record is None:
        return ()
    dataset = {"sales_line": quality.SALES, "customer": quality.CUSTOMERS}.get(
        record.table, record.table
    )
    looks = survey(vault, database, None, now, dataset)
    departures: tuple[Departure, ...] = ()
    if dataset == quality.SALES and record.rows_added:
        departures = drift.after(vault, record.date_from, record.date_to)
    for look in looks:
        home.journal(
            "quality",
            {
                "dataset": look.dataset,
                "score": look.report.score,
                "findings": tuple(one.rule for one in look.report.findings),
                "departures": tuple(one.measure for one in departures),
            },
        )
    return (*_of_looks(looks), *in_words(departures))


def departures_of_newest(vault: Vault) -> tuple[str, tuple[Departure, ...]]:
    """The file name of the newest import of sales that brought rows, and how it departs."""
    for record in reversed(vault.imports()):
        if record.table == SALES_LINE.name and record.rows_added:
            return record.file_name, drift.after(vault, record.date_from, record.date_to)
    return "", ()


def _of_looks(looks: Sequence[Look]) -> list[str]:
    out = []
    for look in looks:
        trend_words = f" {look.trend.sentence()}" if look.trend.word in ("better", "worse") else ""
        out.append(f"Health of {look.dataset}: {look.report.score} of 100.{trend_words}")
        out += [f"  {one.sentence} {one.fix}" for one in look.report.findings[:3]]
    return out


def in_words(departures: Sequence[Departure], what: str = "This import") -> list[str]:
    """What departed, by how much, what to check; nothing where nothing did."""
    if not departures:
        return []
    return [
        f"{what} departs from the weeks before it:",
        *(f"  {one.sentence} {one.check}" for one in departures),
        "If it is the season or a sale, nothing is wrong.",
    ]
