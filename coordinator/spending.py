"""What the runs of this cooperative cost in privacy, as the office counts it.

The members' own accounts decide; this one is kept so that an order which they would refuse is not
sent. What a run costs is written down when it is launched, because later versions of the software
may not know its workload any more.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from coordinator.store.documents import Document, Documents
from coordinator.store.runs import Run, Runs, State
from protocols.agreement.base import parse_utc, utc_text
from protocols.agreement.order import ParsedOrder
from protocols.canonical import Json, json_bytes, json_id, parse_json
from protocols.errors import Code, InputError, LocalError
from protocols.privacy.budget import Line
from protocols.privacy.events import from_json
from protocols.privacy.plan import Plan

KIND = "spending"
_NEVER_BEGAN = (State.FAILED, State.ABORTED)


def record(db: Connection, order: ParsedOrder, plan: Plan | None, now: datetime) -> None:
    """Write down what a run may spend; in the transaction that launches it."""
    if plan is None:
        return
    document: dict[str, object] = {
        "kind": f"datacoop/{KIND}",
        "v": 1,
        "run": order.order.run,
        "unit": plan.unit,
        "events": [one.to_json() for one in plan.events_colluders],
        "until": utc_text(order.order.deadline),
    }
    Documents(db).add(Document(json_id(document), KIND, json_bytes(document), now))


def lines(db: Connection, *, without: str = "") -> tuple[Line, ...]:
    """The account of all runs that began a round, or still may; oldest first.

    A run counts at its end, until then at the deadline of its order. ``without`` leaves one out.

    Raises:
        Refused: an event of an unknown kind.
        LocalError: a document cannot be read, or is of a run that is not here.
    """
    return tuple(line for _, line in by_run(db, without=without))


def by_run(db: Connection, *, without: str = "") -> tuple[tuple[str, Line], ...]:
    """The same with the run of each line; errors as ``lines``."""
    runs = {str(one.run): one for one in Runs(db).list()}
    found = []
    for one in Documents(db).list(KIND):
        try:
            document = parse_json(one.body, KIND)
            line = None if document["run"] == without else _line(document, runs)
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise LocalError(
                "what an earlier run spent of privacy cannot be read.",
                where=f"{KIND} {one.id[:16]}",
                code=Code.TAMPERED,
                fix="Restore the database from a backup (RUNBOOK.md).",
            ) from error
        if line is not None:
            found.append((str(document["run"]), line))
    return tuple(found)


def _line(document: Json, runs: dict[str, Run]) -> Line | None:
    run = runs[str(document["run"])]
    if run.state in _NEVER_BEGAN and run.progress.round == 0:
        return None
    events = tuple(from_json(one) for one in document["events"])
    return Line(
        unit=events[0].unit,
        events=events,
        at=run.ended_at or parse_utc(document["until"]),
        state="settled" if run.over else "reserved",
    )
