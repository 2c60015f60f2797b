"""What the steps of a demo share: the stores, their processes, and how a step is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from examples.complete_journey import export, lying
from examples.complete_journey.processes import (
    CommandFailed,
    Commands,
    Daemon,
    Event,
    EventBoard,
    resident_mb,
)

COORDINATOR, NODE = "coordinator.cli", "node.cli"
SILENCE_S = 120.0
AT_ONCE = 2
Found = TypeVar("Found")
OVER = frozenset({"released", "refused", "failed", "aborted"})


@dataclass(slots=True)
class Store:
    """One store of the demo: what was chosen, where it lives, its process."""

    choice: export.StoreChoice
    home: Path
    csv: Path
    daemon: Daemon | None = None

    @property
    def name(self) -> str:
        """What the others call it."""
        return self.choice.name


@dataclass(slots=True)
class Demo:
    """Everything that one demo holds."""

    out: Path
    rounds: int
    console: Console
    churn: bool = False
    stores: list[Store] = field(default_factory=list)
    board: EventBoard = field(default_factory=EventBoard)
    office: Daemon | None = None
    kill_in_round: int = 0
    killed: tuple[str, int] = ("", 0)
    lock: threading.Lock = field(default_factory=threading.Lock)
    attendance: list[frozenset[str]] = field(default_factory=list)
    memory: list[tuple[str, float]] = field(default_factory=list)

    @property
    def commands(self) -> Commands:
        """Runs short commands, with a transcript."""
        return Commands(self.out / "commands.log")

    @property
    def office_home(self) -> Path:
        """The coordinator's folder."""
        return self.out / "coordinator"


@contextmanager
def step(demo: Demo, text: str) -> Iterator[None]:
    """A headline with its time."""
    started = time.monotonic()
    with demo.console.status(f"{text} ..."):
        yield
    demo.console.print(
        f"[green]done[/green]  {text}  [dim]{time.monotonic() - started:.1f} s[/dim]"
    )


def bars(demo: Demo) -> Progress:
    """Bars with a count and the time."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=demo.console)


def everybody(demo: Demo, text: str, work: Callable[[Store], object]) -> None:
    """The same for each store, two at a time, with a bar."""
    with bars(demo) as bar:
        task = bar.add_task(text, total=len(demo.stores))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(work, demo.stores):
                bar.advance(task)


def of_everybody(demo: Demo, work: Callable[[Store], Found]) -> list[Found]:
    """What ``work`` finds at each store, two at a time, without a bar."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, demo.stores))


def watch(demo: Demo, start: int, rounds: int, in_round: Callable[[Event], None]) -> str:
    """Follow a run from event ``start`` to its end; its last state and what is said about it.

    Args:
        rounds: of training; one of evaluation follows.
        in_round: told of each round that is over.

    Raises:
        CommandFailed: the events ended, and the run did not.
    """
    with bars(demo) as bar:
        admitted = bar.add_task("Each gate admits the order", total=len(demo.stores))
        done = bar.add_task("Rounds of secure aggregation", total=rounds + 1)
        for name, event in demo.board.follow(SILENCE_S, start):
            kind = event["event"]
            if kind == "killed":
                where = f"round {event['round']}, after its masked update came in"
                demo.console.print(f"[red]kill[/red]  SIGKILL to {name} in {where}")
            elif name != "coordinator":
                continue
            elif kind == "answer":
                bar.advance(admitted)
            elif kind == "round":
                in_round(event)
                bar.update(done, completed=event["round"])
            elif kind == "run" and event["state"] in OVER:
                return f"{event['state']}: {event['detail']}"
    raise CommandFailed("the run did not end")


def memory(demo: Demo) -> list[tuple[str, float]]:
    """Resident memory of every long process now, in MB."""
    daemons = [("coordinator", demo.office)] + [(s.name, s.daemon) for s in demo.stores]
    return [(name, resident_mb(one.process.pid)) for name, one in daemons if one is not None]


def workload_digest(demo: Demo, name: str) -> str:
    """The digest under which the agreement in force lists a workload."""
    shown = demo.commands.json(COORDINATOR, demo.office_home, "agreement", "show")
    return next(str(one["digest"]) for one in shown["workloads"] if one["id"] == name)


def refusals_of(demo: Demo, start: int, run: str, clause: str) -> list[tuple[str, str, str]]:
    """Store, clause and sentence of every store's refusal of an order; events from ``start`` on.

    Args:
        clause: that the order breaks, to be named by each.

    Raises:
        CommandFailed: a store did not refuse, or names other clauses only.
    """
    answers: dict[str, tuple[str, str]] = {}
    for name, event in demo.board.follow(60, start):
        if event["event"] == "order" and event["run"] == run:
            if event["answer"] != "refused":
                raise CommandFailed(f"{name} did not refuse the forged order: {event}")
            answers[name] = lying.shown(event["reasons"], clause)
            if answers[name][0] != clause:
                raise CommandFailed(f"{name} refused without naming {clause}: {event['reasons']}")
            if len(answers) == len(demo.stores):
                break
    return [(store.name, *answers[store.name]) for store in demo.stores]


def show_refusals(demo: Demo, refusals: list[tuple[str, str, str]]) -> None:
    """How many refused, and what the first one said."""
    name, clause, sentence = refusals[0]
    demo.console.print(f"  all {len(refusals)} refused; {name}: [bold]{clause}[/bold] {sentence}")
