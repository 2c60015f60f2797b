"""Whether the node's ledgers are whole: the database and the journal are held against each other.

The journal is append-only and its checkpoints are signed, so it tells what the database has to
know: a database that is missing, empty, damaged, or put back by hand from an older copy is refused
with the way out, and never begun again from zero.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from node.policy.journal import Folder
from node.store.database import Database
from node.store.schema import orders, run_budget, signed, spent_rounds
from node.store.spending import SpendingLedger
from protocols.audit.entries import Entry, Kind, decode, instant
from protocols.canonical import parse_json
from protocols.errors import Code, InputError, LocalError
from protocols.signing import jws_payload

FILE = "node.db"
WAY_OUT = (
    "Stop the node. Restore your newest backup into an empty folder: "
    "coop-node --home NEW restore FILE. Without one, move node.db to a safe place, save the rest "
    "with 'coop-node backup FILE' and restore that: the node keeps its keys, and counts its "
    "whole privacy budget as spent."
)
# What can stand in a journal before there is a database.
_WITHOUT_DATABASE = frozenset(
    {Kind.ENROLMENT, Kind.RENEWAL, Kind.INTAKE, Kind.BACKUP, Kind.RESTORE, Kind.INCIDENT}
    | {Kind.CATEGORIES, Kind.QUALITY}  # scores can be looked at again
)


def open_whole(
    folder: Path, restored_at: datetime | None = None, *, create: bool = True
) -> Database:
    """Open the node's database, made anew only if the journal shows that there was none.

    Args:
        folder: the node's home.
        restored_at: when it was restored from a backup; what the journal says of the time before
            is not asked of the database.
        create: make it if there never was one.

    Raises:
        LocalError: the database is missing or empty and the journal says that there was one; it
            is damaged, of another version, or locked.
    """
    file = folder / FILE
    if not file.is_file() or not file.stat().st_size:
        require_never_there(folder, restored_at)
    return Database.open(file, create=create)


def require_never_there(folder: Path, restored_at: datetime | None = None) -> None:
    """LocalError if the journal says that there was a database since the last restore."""
    since = _since(restored_at)
    for entry in _entries(folder):
        if entry.at > since and entry.kind not in _WITHOUT_DATABASE:
            raise LocalError(
                f"the database is missing or empty, and the journal says that there was one "
                f"(entry {entry.seq}, {entry.kind}, {entry.at[:10]}). A node never begins its "
                "ledgers again from zero.",
                code=Code.TAMPERED,
                where=str(folder / FILE),
                fix=WAY_OUT,
            )


def require_whole(
    database: Database, folder: Path, restored_at: datetime | None = None
) -> tuple[int, int]:
    """Read every page of the database and hold it against the journal.

    Returns:
        Runs and spent rounds that both know.

    Raises:
        LocalError: damage, or the journal knows of a run or a spent round that the database does
            not, or the journal is gone.
        InputError: a line of the journal is damaged.
    """
    database.require_sound()
    told = _told(_entries(folder), restored_at)
    try:
        with database.read() as connection:
            _require_journal(connection, folder, told)
            _require_lines(connection, told)
            _require_marks(connection, told)
    except (ValueError, TypeError, SQLAlchemyError, InputError) as error:
        raise LocalError(
            f"a ledger cannot be read any more ({type(error).__name__}).",
            code=Code.TAMPERED,
            where=str(folder / FILE),
            fix=WAY_OUT,
        ) from error
    return len(told.runs), len(told.rounds)


@dataclass(slots=True)
class _Told:
    """What the journal says of the time since the last restore, if there was one.

    A run counts from its snapshot on: the entry about its decision is written just before the
    database commits, and a process may die between the two with nothing spent.
    """

    entries: int = 0
    runs: set[str] = field(default_factory=set)
    rounds: set[tuple[str, int]] = field(default_factory=set)


def _told(entries: Iterable[Entry], restored_at: datetime | None) -> _Told:
    told, since = _Told(), _since(restored_at)
    for entry in entries:
        told.entries += 1
        run = entry.facts.get("run")
        if entry.at <= since or not isinstance(run, str):
            continue
        if entry.kind in (Kind.SNAPSHOT, Kind.SPENT):
            told.runs.add(run)
        number = entry.facts.get("round")
        if entry.kind is Kind.SPENT and isinstance(number, int):
            told.rounds.add((run, number))
    return told


def _require_journal(connection: Connection, folder: Path, told: _Told) -> None:
    acted = connection.execute(select(signed.c.agreement).limit(1)).first() is not None
    if acted and not told.entries:
        raise LocalError(
            "the journal is missing or empty, and this node has signed an agreement.",
            code=Code.TAMPERED,
            where=str(folder / "audit"),
            fix=WAY_OUT,
        )


def _require_lines(connection: Connection, told: _Told) -> None:
    """Every run of the journal has its reservation, and both ledgers say the same of each run."""
    spending = {line.run: line for line in SpendingLedger(connection).list()}
    budget = {row.run: row for row in connection.execute(select(run_budget))}
    lost = sorted(told.runs - budget.keys() | told.runs - spending.keys())
    if lost:
        raise _older(f"run {lost[0][:16]}" + (f" and {len(lost) - 1} more" if lost[1:] else ""))
    for run, line in sorted(spending.items()):
        row = budget.get(run)
        same = row is not None and (row.workload, row.state, row.reserved_at) == (
            line.workload,
            line.state.value,
            line.reserved_at,
        )
        if not same:
            raise _differs(run)
    returned = {run for run, line in spending.items() if line.state.value == "returned"}
    wrong = sorted(returned & {run for run, _ in told.rounds})
    if wrong:
        raise _differs(wrong[0])
    _require_cohorts(connection, {run: row.cohort for run, row in budget.items()})


def _require_cohorts(connection: Connection, cohorts: dict[str, str]) -> None:
    """The cohort of each line is the one of the order, whose bytes the operator signed."""
    for row in connection.execute(select(orders.c.run, orders.c.jws)):
        if row.run in cohorts:
            order = jws_payload(parse_json(row.jws, "order"), "order")
            if json.loads(cohorts[row.run]) != order.get("cohort"):
                raise _differs(row.run)


def _require_marks(connection: Connection, told: _Told) -> None:
    known = {
        (row.run, row.round)
        for row in connection.execute(select(spent_rounds.c.run, spent_rounds.c.round))
    }
    lost = sorted(told.rounds - known)
    if lost:
        raise _older(f"round {lost[0][1]} of run {lost[0][0][:16]}")


def _older(what: str) -> LocalError:
    return LocalError(
        f"the journal knows of {what}, the database does not: an older copy of it was put back, "
        "or a part of it is gone.",
        code=Code.TAMPERED,
        where=FILE,
        fix=WAY_OUT,
    )


def _differs(run: str) -> LocalError:
    return LocalError(
        f"the ledgers of this node say different things about run {run[:16]}; one of them is "
        "damaged.",
        code=Code.TAMPERED,
        where=FILE,
        fix=WAY_OUT,
    )


def _entries(folder: Path) -> Iterator[Entry]:
    """The journal, line by line; its hashes and checkpoints were checked when it was opened."""
    place = Folder(folder / "audit")
    for number, line in enumerate(place.lines(0), start=1):
        if line.endswith(b"\n"):
            yield decode(line[:-1], f"journal line {number}")


def _since(restored_at: datetime | None) -> str:
    return "" if restored_at is None else instant(restored_at)
