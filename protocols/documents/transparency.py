"""What a shop's node did in one quarter, each figure with the entries of its log behind it.

The figures are counted from the log; what the log does not hold (epsilon, days to an answer,
health) comes from the ledgers and says so. Nobody's name or key is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from protocols.audit.entries import Entry, Kind
from protocols.documents.document import Document, Section, Statement, Table
from protocols.documents.quarter import (
    Figure,
    Quarter,
    by_fact,
    counted,
    figures,
    of_kind,
    total,
)

TRANSPARENCY: Final = "transparency"
JOURNAL: Final = "journal"
_NOTHING: Final = "Nothing in this quarter."


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run spent of privacy; ``epsilon`` at the delta of the budget."""

    run: str
    unit: str
    epsilon: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a customer, without who; ``closed`` is None while it was open at the end."""

    id: str
    kind: str
    received: datetime
    closed: datetime | None
    late: bool


@dataclass(frozen=True, slots=True)
class Read:
    """How much a run read here; None where the node does not know it any more."""

    run: str
    rows: int | None
    customers: int | None


@dataclass(frozen=True, slots=True)
class Health:
    """One health score of the data, 0 to 100."""

    at: datetime
    dataset: str
    score: int


@dataclass(frozen=True, slots=True)
class Answered:
    """How many answers of one kind about one purpose were recorded in the quarter."""

    scope: str
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class Ledgers:
    """What comes from elsewhere than the log; all of it within the quarter."""

    spent: tuple[Spent, ...] = ()
    requests: tuple[Asked, ...] = ()
    reads: tuple[Read, ...] = ()
    health: tuple[Health, ...] = ()
    answers: tuple[Answered, ...] = ()


def transparency(
    shop: str, quarter: Quarter, log: Iterable[Entry], ledgers: Ledgers, public: str
) -> Document:
    """The report.

    Args:
        shop: its name, or empty.
        quarter: which.
        log: entries of the node's log, in order; those of the quarter are taken.
        ledgers: what the log does not hold.
        public: the log's public key, hex, for whoever checks.
    """
    entries = reported(quarter, log)
    sections = (
        Section("What this is", tuple(_about(quarter, entries, public))),
        Section("Runs", tuple(_runs(entries, ledgers))),
        Section("Privacy spent", (_privacy(entries, ledgers),)),
        Section("Customers", tuple(_customers(entries, ledgers))),
        Section("Results", (_results(entries),)),
        Section("Data", tuple(_data(entries, ledgers))),
        Section("What went wrong", (_wrong(entries),)),
        Section("House", (_house(entries),)),
    )
    title = f"Transparency report {quarter}"
    return Document(TRANSPARENCY, title, "en", sections, shop)


def reported(quarter: Quarter, log: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries that a report is about: of its quarter, but not that documents were made."""
    return tuple(one for one in quarter.of(log) if one.kind is not Kind.DOCUMENT)


def _about(quarter: Quarter, entries: Sequence[Entry], public: str) -> Iterator[Statement]:
    span = f"entries {entries[0].seq} to {entries[-1].seq}" if entries else "no entry"
    yield Statement(
        f"What this node did from {quarter.begins:%Y-%m-%d} up to {quarter.ends:%Y-%m-%d} (UTC): "
        f"{span} of its log. Each figure names the entries that it was counted from.",
        (JOURNAL,),
    )
    yield Statement(
        f"To check: coop-node verify holds the log against its signed head (key {public}); "
        "line N + 1 of audit/log.jsonl is entry N.",
        ("software",),
    )


def _runs(entries: Sequence[Entry], ledgers: Ledgers) -> Iterator[Table]:
    admitted = of_kind(entries, Kind.DECISION, gate="admit", allowed=True)
    read = of_kind(entries, Kind.SNAPSHOT)
    refused = [
        one
        for one in of_kind(entries, Kind.REFUSAL)
        if "run" in one.facts or one.facts.get("gate") == "admit"
    ]
    found = [
        _distinct("Runs admitted", admitted),
        _distinct("Runs that read rows here", read),
        *by_fact(admitted, "purpose", "admitted for {}".format),
        counted("Rounds in which this node sent a masked update", of_kind(entries, Kind.SPENT)),
        counted("Sums that this node computed again", of_kind(entries, Kind.CHECK)),
        _distinct("Runs refused", refused),
    ]
    yield figures("runs", "Runs that this node was asked to take part in", found, _NOTHING, JOURNAL)
    reasons = by_fact(refused, "clauses", "refused under {}".format)
    yield figures("refusals", "Reasons of refusals, by clause", reasons, _NOTHING, JOURNAL)
    known = {one.run: one for one in ledgers.reads}
    rows = []
    for one in read:
        about = known.get(str(one.facts.get("run")), Read("", None, None))
        basis = str(one.facts.get("basis", ""))
        shown = (_number(about.rows), _number(about.customers), basis, str(one.seq))
        rows.append((str(one.facts.get("run", ""))[:16], *shown))
    headers = ("run", "rows", "customers", "legal basis", "entries of the log")
    yield Table("reads", "What runs read here", headers, tuple(rows), (JOURNAL,), _NOTHING)


def _number(count: int | None) -> str:
    return "not counted" if count is None else str(count)


def _distinct(name: str, entries: Iterable[Entry]) -> Figure:
    found = tuple(entries)
    runs = {one.facts.get("run", one.seq) for one in found}
    return Figure(name, str(len(runs)), tuple(one.seq for one in found))


def _privacy(entries: Sequence[Entry], ledgers: Ledgers) -> Table:
    decided = of_kind(entries, Kind.DECISION, gate="admit", allowed=True)
    rows = []
    for one in ledgers.spent:
        seqs = tuple(at.seq for at in decided if at.facts.get("run") == one.run)
        name = f"run {one.run[:16]}, for each {one.unit}"
        rows.append(Figure(name, f"{one.epsilon:.4f}", seqs, "ledger: privacy"))
    caption = "Epsilon spent, by run (runs add up to at most their sum)"
    return figures("privacy", caption, rows, "No run spent privacy.", "ledger: privacy")


def _customers(entries: Sequence[Entry], ledgers: Ledgers) -> Iterator[Table]:
    consent = of_kind(entries, Kind.CONSENT)
    found = [
        counted("Entries about consent", consent),
        total("Answers recorded", consent, "events"),
        *(
            Figure(f"{one.state} for {one.scope}", str(one.count), (), "ledger: consent")
            for one in ledgers.answers
        ),
        counted("Texts for customers taken into use or out of it", of_kind(entries, Kind.NOTICE)),
    ]
    yield figures("consent", "What customers said", found, _NOTHING, JOURNAL)
    asked = of_kind(entries, Kind.REQUEST)
    closed = [one for one in ledgers.requests if one.closed is not None]
    days = [(one.closed - one.received).days for one in closed if one.closed is not None]
    entered = of_kind(asked, Kind.REQUEST, what="opened")
    shown = [
        counted("Requests entered", entered),
        *by_fact(entered, "asks", "asked for {}".format),
        counted("Requests closed", of_kind(asked, Kind.REQUEST, what="closed")),
        counted("Times extended", of_kind(asked, Kind.REQUEST, what="extended")),
        counted("Closed late", of_kind(asked, Kind.REQUEST, what="closed", late=True)),
        Figure("Open and late at the end", str(_late(ledgers)), (), "ledger: requests"),
        Figure("Days to an answer, median", _days(days), (), "ledger: requests"),
        Figure("Days to an answer, longest", str(max(days)) if days else "-", (), "ledger: "
               "requests"),
        counted("What was carried out for them", of_kind(entries, Kind.RIGHTS)),
        *by_fact(of_kind(entries, Kind.RIGHTS), "what", "carried out: {}".format),
        *by_fact(of_kind(entries, Kind.RIGHTS), "outcome", "outcome: {}".format),
    ]  # fmt: skip
    yield figures("requests", "What customers asked for", shown, _NOTHING, JOURNAL)


def _late(ledgers: Ledgers) -> int:
    return sum(one.late for one in ledgers.requests if one.closed is None)


def _days(days: list[int]) -> str:
    """The median, as text."""
    ordered, half = sorted(days), len(days) // 2
    if not ordered:
        return "-"
    return f"{(ordered[half] + ordered[(len(ordered) - 1) // 2]) / 2:g}"


def _results(entries: Sequence[Entry]) -> Table:
    found = [
        counted("Models fetched and verified", of_kind(entries, Kind.PULL)),
        counted("Uses allowed", of_kind(entries, Kind.DECISION, gate="use", allowed=True)),
        counted("Uses refused", of_kind(entries, Kind.REFUSAL, gate="use")),
        counted("Models deleted here", of_kind(entries, Kind.REMOVAL)),
        counted("Models called back", of_kind(entries, Kind.REVOCATION)),
    ]
    return figures("results", "Results of the cooperative here", found, _NOTHING, JOURNAL)


def _data(entries: Sequence[Entry], ledgers: Ledgers) -> Iterator[Table]:
    intake, purged = of_kind(entries, Kind.INTAKE), of_kind(entries, Kind.PURGE)
    found = [
        counted("Imports", intake),
        total("Rows added", intake, "rows"),
        total("Rows known before", intake, "duplicates"),
        total("Rows set aside", intake, "quarantined"),
        counted("Purges", purged),
        total("Rows purged", purged, "rows", parts=True),
        counted("Restored from a backup", of_kind(entries, Kind.RESTORE)),
    ]
    yield figures("data", "Data taken in and deleted", found, _NOTHING, JOURNAL)
    rows = tuple(
        (f"{one.at:%Y-%m-%d %H:%M}", one.dataset, str(one.score)) for one in ledgers.health
    )
    yield Table(
        "health",
        "Data health (0 to 100)",
        ("at (UTC)", "data set", "score"),
        rows,
        ("ledger: quality",),
        "No health was measured in this quarter.",
    )


def _wrong(entries: Sequence[Entry]) -> Table:
    told = [one for one in of_kind(entries, Kind.INCIDENT) if "incident" in one.facts]
    other = [one for one in of_kind(entries, Kind.INCIDENT) if "incident" not in one.facts]
    named = {one.facts["incident"] for one in told}
    found = [
        Figure("Incidents that the operator announced", str(len(named)),
               tuple(one.seq for one in told)),
        *by_fact(told, "state", "letters: {}".format),
        counted("Irregularities that this node noted itself", other),
    ]  # fmt: skip
    return figures("incidents", "Incidents", found, _NOTHING, JOURNAL)


def _house(entries: Sequence[Entry]) -> Table:
    found = [
        counted("Approvals and refusals by people", of_kind(entries, Kind.APPROVAL)),
        counted("Agreements and their signatures",
                (*of_kind(entries, Kind.AGREEMENT), *of_kind(entries, Kind.SIGNATURE))),
        counted("Changes of people and roles", of_kind(entries, Kind.PERSON)),
        counted("Pauses, returns and notices", of_kind(entries, Kind.MEMBERSHIP)),
        counted("Backups", of_kind(entries, Kind.BACKUP)),
        counted("Heads of the coordinator's log countersigned", of_kind(entries, Kind.WITNESS)),
    ]  # fmt: skip
    return figures("house", "In this house", found, _NOTHING, JOURNAL)
