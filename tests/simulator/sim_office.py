"""The coordinator's house in a simulated run: its real database, logs, files and release gate."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import event

from coordinator.log.append import AuditLog
from coordinator.release.models import Source, make_release, store_release
from coordinator.rounds.run import Made, Office
from coordinator.store.database import Database
from coordinator.store.documents import Document, Documents
from coordinator.store.members import Member, Members, Status
from coordinator.store.runs import Answer, RunMember, RunMembers, Runs, State
from protocols import retrace
from protocols.canonical import json_bytes
from protocols.ids import RunId
from protocols.joining import Profile
from sim_papers import Papers
from small_coop import COORDINATOR, NOW

_SCRATCH = tempfile.TemporaryDirectory(prefix="datacoop-")


@cache
def _empty_database() -> Path:
    """Made once per process: the migrations take longer than a run."""
    file = Path(_SCRATCH.name) / "coordinator.db"
    Database.open(file, create=True).close()
    return file


def _in_no_hurry(raw: sqlite3.Connection, _record: object) -> None:
    raw.execute("PRAGMA synchronous=OFF")  # as with fsync


@dataclass
class Home:
    """The coordinator's disk; everything that is open in its process can be lost."""

    folder: Path
    papers: Papers
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    ticks: int = 0
    late: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        shutil.copy(_empty_database(), self.folder / "coordinator.db")
        self.open()

    def open(self) -> None:
        self.database = Database.open(self.folder / "coordinator.db")
        event.listen(self.database._engine, "connect", _in_no_hurry)
        self.database._engine.dispose()
        self.log = AuditLog(self.folder / "audit", COORDINATOR, self.clock)
        self.stop = threading.Event()

    def close(self) -> None:
        """What a kill leaves: nothing is signed or flushed on the way out."""
        self.database.close()

    def clock(self) -> Any:
        """Time passes a little at every look; ``late`` puts it beyond half of the order's time."""
        self.ticks += 1
        return NOW + timedelta(hours=3 if self.late else 0, microseconds=self.ticks)

    @property
    def run_folder(self) -> Path:
        return self.folder / "runs" / self.papers.order.order.run

    def round_file(self, number: int) -> Path:
        return self.run_folder / "rounds" / f"{number:04d}.bin"

    def launch(self, answers: Mapping[str, Answer]) -> None:
        """The order lies in the mailboxes, and these answers have come back."""
        order, now = self.papers.order, self.clock()
        run = RunId(order.order.run)
        with self.database.write() as db:
            body = json_bytes(self.papers.signed_order)
            Documents(db).add(Document(order.id, "order", body, now))
            for name in self.papers.names:
                key = self.papers.keys[name].public
                about = Profile(name, f"HRB {name}", "grocery", "town")
                member = Member(self.papers.member(name), about, key, Status.ACTIVE, now)
                Members(db).add(member)
            Runs(db).add(run, order.id, now)
        for name, answer in answers.items():
            self.answered(name, answer)

    def answered(self, name: str, answer: Answer, *reasons: str) -> None:
        run, member = RunId(self.papers.order.order.run), self.papers.member(name)
        with self.database.write() as db:
            RunMembers(db).put(RunMember(run, member, answer, reasons, self.clock()))

    def records(self) -> tuple[bytes, ...]:
        return tuple(one.read_bytes() for one in sorted((self.run_folder / "rounds").glob("*")))

    def state(self) -> tuple[State, str]:
        with self.database.read() as db:
            found = Runs(db).require(RunId(self.papers.order.order.run))
        return found.state, found.progress.detail

    def abort(self) -> None:
        """What ``coop-coordinator run abort`` does, in another process."""
        other = Database.open(self.folder / "coordinator.db")
        with other.write() as db:
            Runs(db).move(RunId(self.papers.order.order.run), State.ABORTED, self.clock(), "-")
        other.close()

    def release(self, trace: retrace.Trace) -> Made:
        source = self.papers.source()
        whole = Source(source.agreement, source.rosters, source.order, self.records())
        made = make_release(whole, COORDINATOR, self.log, self.clock())
        folder = store_release(made, self.folder / "releases")
        return Made(made.model, lambda db: None, lambda: shutil.rmtree(folder))

    def office(self, journal: Callable[..., object]) -> Office:
        return Office(
            database=self.database,
            folder=self.run_folder,
            key=COORDINATOR,
            journal=journal,
            log_head=self.log.head,
            emit=lambda event, **facts: self.events.append((event, facts)),
            clock=self.clock,
            stop=self.stop,
            release=self.release,
            name_of=self.papers.name_of,
        )
