"""Every figure of a report changes with the log or ledger behind it, and names its entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protocols.audit.entries import Entry, Kind, instant
from protocols.documents.document import Document
from protocols.documents.office_report import OfficeLedgers, office_report
from protocols.documents.quarter import Quarter, parse_quarter, quarter_of, ranges
from protocols.documents.transparency import (
    Answered,
    Asked,
    Health,
    Ledgers,
    Read,
    Spent,
    transparency,
)
from protocols.errors import InputError

Q4 = Quarter(2026, 4)
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
RUN = "ab" * 16
NO_LEDGERS = Ledgers()
NO_OFFICE = OfficeLedgers(0, 0)
Fact = dict[str, Any]

# figure -> an entry that has to raise it by the number
OF_THE_LOG: dict[str, tuple[Kind, Fact, int]] = {
    "Runs admitted": (Kind.DECISION, {"gate": "admit", "allowed": True, "run": RUN}, 1),
    "admitted for train:churn": (
        Kind.DECISION,
        {"gate": "admit", "allowed": True, "run": RUN, "purpose": "train:churn"},
        1,
    ),
    "Runs that read rows here": (Kind.SNAPSHOT, {"run": RUN, "root": "00"}, 1),
    "Rounds in which this node sent a masked update": (Kind.SPENT, {"run": RUN, "round": 1}, 1),
    "Sums that this node computed again": (
        Kind.CHECK,
        {"run": RUN, "round": 1, "transcript": "00"},
        1,
    ),
    "Runs refused": (Kind.REFUSAL, {"gate": "admit", "clauses": ("c09",), "run": RUN}, 1),
    "refused under c09": (Kind.REFUSAL, {"gate": "admit", "clauses": ("c09", "c14")}, 1),
    "Entries about consent": (Kind.CONSENT, {"events": 7}, 1),
    "Answers recorded": (Kind.CONSENT, {"events": 7}, 7),
    "Texts for customers taken into use or out of it": (Kind.NOTICE, {"what": "adopted"}, 1),
    "Requests entered": (Kind.REQUEST, {"what": "opened", "asks": "erase"}, 1),
    "asked for erase": (Kind.REQUEST, {"what": "opened", "asks": "erase"}, 1),
    "Requests closed": (Kind.REQUEST, {"what": "closed", "asks": "erase", "late": False}, 1),
    "Times extended": (Kind.REQUEST, {"what": "extended", "asks": "erase"}, 1),
    "Closed late": (Kind.REQUEST, {"what": "closed", "asks": "erase", "late": True}, 1),
    "What was carried out for them": (Kind.RIGHTS, {"what": "erase"}, 1),
    "carried out: erase": (Kind.RIGHTS, {"what": "erase", "outcome": "done"}, 1),
    "outcome: done": (Kind.RIGHTS, {"what": "erase", "outcome": "done"}, 1),
    "Models fetched and verified": (Kind.PULL, {"model": "00"}, 1),
    "Uses allowed": (Kind.DECISION, {"gate": "use", "allowed": True}, 1),
    "Uses refused": (Kind.REFUSAL, {"gate": "use", "clauses": ("c21",)}, 1),
    "Models deleted here": (Kind.REMOVAL, {"model": "00"}, 1),
    "Models called back": (Kind.REVOCATION, {"model": "00"}, 1),
    "Imports": (Kind.INTAKE, {"rows": 40, "duplicates": 3, "quarantined": 2}, 1),
    "Rows added": (Kind.INTAKE, {"rows": 40}, 40),
    "Rows known before": (Kind.INTAKE, {"duplicates": 3}, 3),
    "Rows set aside": (Kind.INTAKE, {"quarantined": 2}, 2),
    "Purges": (Kind.PURGE, {"rows": 9}, 1),
    "Rows purged": (Kind.PURGE, {"rows": 9}, 9),
    "Restored from a backup": (Kind.RESTORE, {}, 1),
    "Incidents that the operator announced": (Kind.INCIDENT, {"incident": "1", "state": "x"}, 1),
    "letters: opened": (Kind.INCIDENT, {"incident": "1", "state": "opened"}, 1),
    "Irregularities that this node noted itself": (Kind.INCIDENT, {"note": "n"}, 1),
    "Approvals and refusals by people": (Kind.APPROVAL, {"subject": "00"}, 1),
    "Agreements and their signatures": (Kind.AGREEMENT, {"agreement": "00"}, 1),
    "Changes of people and roles": (Kind.PERSON, {"what": "added"}, 1),
    "Pauses, returns and notices": (Kind.MEMBERSHIP, {"member": "0", "state": "suspended"}, 1),
    "Backups": (Kind.BACKUP, {}, 1),
    "Heads of the coordinator's log countersigned": (
        Kind.WITNESS,
        {"log_size": 1, "log_root": "00"},
        1,
    ),
}
OF_THE_OFFICE: dict[str, tuple[Kind, Fact, int]] = {
    "Members removed": (Kind.REMOVAL, {"member": "0"}, 1),
    "members: suspended": (Kind.MEMBERSHIP, {"member": "0", "state": "suspended"}, 1),
    "Keys renewed": (Kind.RENEWAL, {"member": "0"}, 1),
    "Agreements proposed or in force": (Kind.AGREEMENT, {"agreement": "0"}, 1),
    "Lists of members": (Kind.ROSTER, {"roster": "0", "epoch": 1}, 1),
    "Runs ordered": (Kind.ORDER, {"order": "0", "run": RUN}, 1),
    "runs: aborted": (Kind.RUN, {"run": RUN, "state": "aborted"}, 1),
    "Sums published": (Kind.SUM, {"run": RUN, "round": 1}, 1),
    "refused under c15": (Kind.REFUSAL, {"gate": "release", "clauses": ("c15",)}, 1),
    "Results made": (Kind.RELEASE, {"model": "0", "card": "0"}, 1),
    "Results refused at the release gate (suppressed)": (
        Kind.REFUSAL,
        {"gate": "release", "clauses": ("c15",)},
        1,
    ),
    "Results withdrawn": (Kind.WITHDRAWAL, {"model": "0"}, 1),
    "Results called back": (Kind.REVOCATION, {"model": "0"}, 1),
    "Signatures of second persons": (Kind.APPROVAL, {"model": "0"}, 1),
    "Letters about corrections": (Kind.RIGHTS, {"what": "erased"}, 1),
    "Incidents": (Kind.INCIDENT, {"incident": "1", "state": "opened"}, 1),
    "steps: opened": (Kind.INCIDENT, {"incident": "1", "state": "opened"}, 1),
    "Irregularities noted by the server": (Kind.INCIDENT, {"note": "n"}, 1),
    "Purges of what may not be kept longer": (Kind.PURGE, {}, 1),
    "Starts of the server": (Kind.START, {}, 1),
    "Changes of people and roles": (Kind.PERSON, {"what": "added"}, 1),
}


def entry(seq: int, kind: Kind, facts: Fact, at: datetime = NOON) -> Entry:
    return Entry(seq, instant(at), kind, facts)


def report(*entries: Entry, ledgers: Ledgers = NO_LEDGERS) -> Document:
    return transparency("Café Zoë", Q4, entries, ledgers, "00" * 32)


def of_office(*entries: Entry, ledgers: OfficeLedgers = NO_OFFICE) -> Document:
    return office_report("Six shops", Q4, entries, ledgers, "00" * 32)


def rows(document: Document) -> Iterator[tuple[str, ...]]:
    for table in document.tables():
        yield from table.rows


def value(document: Document, name: str) -> tuple[str, str]:
    found = [row for row in rows(document) if row[0] == name]
    return (found[0][1], found[0][2]) if found else ("0", "")


@pytest.mark.parametrize("name", sorted(OF_THE_LOG))
def test_each_figure_of_the_log_is_counted_and_names_its_entry(name: str) -> None:
    kind, facts, by = OF_THE_LOG[name]
    assert value(report(), name)[0] == "0"
    assert value(report(entry(17, kind, facts)), name) == (str(by), "17")
    twice = report(
        entry(17, kind, facts), entry(18, kind, {**facts, "run": "cd" * 16, "incident": "2"}
        if "incident" in facts else {**facts, "run": "cd" * 16}),
    )  # fmt: skip
    assert value(twice, name) == (str(2 * by), "17-18")


@pytest.mark.parametrize("name", sorted(OF_THE_OFFICE))
def test_each_figure_of_the_office_is_counted_and_names_its_entry(name: str) -> None:
    kind, facts, by = OF_THE_OFFICE[name]
    assert value(of_office(), name)[0] == "0"
    assert value(of_office(entry(5, kind, facts)), name) == (str(by), "5")


def test_no_figure_is_left_out_of_these_tests() -> None:
    every = [entry(n, kind, facts) for n, (kind, facts, _) in enumerate(OF_THE_LOG.values())]
    shown = {row[0] for table in report(*every).tables() for row in table.rows
             if table.name not in ("reads", "health", "privacy")}  # fmt: skip
    by_ledger = {
        "Open and late at the end",
        "Days to an answer, median",
        "Days to an answer, longest",
    }
    rest = {"refused under c14", "refused under c21", "letters: x"}
    assert shown - by_ledger - rest == set(OF_THE_LOG)
    every = [entry(n, kind, facts) for n, (kind, facts, _) in enumerate(OF_THE_OFFICE.values())]
    shown = {row[0] for row in rows(of_office(*every))}
    assert shown - {"Members", "Members that joined"} == set(OF_THE_OFFICE)


def asked(received: datetime, closed: datetime | None, late: bool = False) -> Asked:
    return Asked("1", "erase", received, closed, late)


LEDGERS: dict[str, tuple[Ledgers, str, Callable[[Document], str]]] = {
    "epsilon": (
        Ledgers(spent=(Spent(RUN, "customer", 0.75, NOON),)),
        "0.7500",
        lambda d: value(d, f"run {RUN[:16]}, for each customer")[0],
    ),
    "answers": (
        Ledgers(answers=(Answered("train:churn", "withdrawn", 4),)),
        "4",
        lambda d: value(d, "withdrawn for train:churn")[0],
    ),
    "late": (
        Ledgers(requests=(asked(NOON, None, True),)),
        "1",
        lambda d: value(d, "Open and late at the end")[0],
    ),
    "median": (
        Ledgers(requests=tuple(asked(NOON, NOON + timedelta(days=n)) for n in (1, 4, 10, 20))),
        "7",
        lambda d: value(d, "Days to an answer, median")[0],
    ),
    "longest": (
        Ledgers(requests=(asked(NOON, NOON + timedelta(days=9)),)),
        "9",
        lambda d: value(d, "Days to an answer, longest")[0],
    ),
    "health": (
        Ledgers(health=(Health(NOON, "sales", 88),)),
        "88",
        lambda d: next(row[2] for t in d.tables() if t.name == "health" for row in t.rows),
    ),
}


@pytest.mark.parametrize("name", sorted(LEDGERS))
def test_each_figure_of_a_ledger_is_shown(name: str) -> None:
    ledgers, said, look = LEDGERS[name]
    assert look(report(ledgers=ledgers)) == said
    assert report(ledgers=ledgers).id != report().id


def test_what_runs_read_stands_beside_its_entry() -> None:
    read = entry(3, Kind.SNAPSHOT, {"run": RUN, "root": "00", "basis": "consent"})
    ledgers = Ledgers(reads=(Read(RUN, 1200, 300),))
    (row,) = [
        r for t in report(read, ledgers=ledgers).tables() if t.name == "reads" for r in t.rows
    ]
    assert row == (RUN[:16], "1200", "300", "consent", "3")
    (row,) = [row for t in report(read).tables() if t.name == "reads" for row in t.rows]
    assert row[1:3] == ("not counted", "not counted")


def test_each_figure_of_the_offices_ledgers_is_shown() -> None:
    ledgers = OfficeLedgers(
        members=6,
        joined=2,
        answers=(("admitted", 11),),
        refused_clauses=(("c09", 3),),
        spent=((RUN, "customer", 0.5),),
        corrected=(("erased", 4),),
        states=(("published", 7),),
    )
    found = {row[0]: row[1] for row in rows(of_office(ledgers=ledgers))}
    assert found["Members"] == "6" and found["Members that joined"] == "2"
    assert found["answers of members: admitted"] == "11"
    assert found["members refused under c09"] == "3"
    assert found[f"epsilon of run {RUN[:16]}, for each customer"] == "0.5000"
    assert found["people erased at members"] == "4"
    assert found["releases: published"] == "7"


def test_rows_of_each_table_are_added_up() -> None:
    purged = entry(4, Kind.PURGE, {"rows_sales_line": 5, "rows_stock": 2, "files": 9})
    assert value(report(purged), "Rows purged") == ("7", "4")


def test_only_the_quarter_counts_and_documents_do_not() -> None:
    last = entry(4, Kind.BACKUP, {}, Q4.ends - timedelta(microseconds=1))
    later = entry(5, Kind.BACKUP, {}, Q4.ends)
    before = entry(1, Kind.BACKUP, {}, Q4.begins - timedelta(microseconds=1))
    first = entry(2, Kind.BACKUP, {}, Q4.begins)
    made = entry(3, Kind.DOCUMENT, {"document": "record"})
    assert value(report(before, first, made, last, later), "Backups") == ("2", "2, 4")
    assert report(first, made).id == report(first).id


def test_quarters() -> None:
    assert parse_quarter(" 2026q4 ") == Q4 == quarter_of(NOON)
    assert (Q4.begins, Q4.ends) == (
        datetime(2026, 10, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    assert Quarter(2026, 1).ends == datetime(2026, 4, 1, tzinfo=UTC)
    for wrong in ("2026", "2026Q5", "Q4", "26Q4"):
        with pytest.raises(InputError, match="not a quarter"):
            parse_quarter(wrong)


def test_entries_are_named_in_short() -> None:
    assert ranges([]) == ""
    assert ranges([3, 1, 2, 7, 9, 10]) == "1-3, 7, 9-10"
    assert ranges(range(0, 40, 2)).endswith("and 8 more ranges")
