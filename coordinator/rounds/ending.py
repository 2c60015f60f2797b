"""How a run ends: its state and the letters that tell its members, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from coordinator.store.mail import Mail
from coordinator.store.runs import Runs, State
from protocols.canonical import json_bytes
from protocols.ids import MemberId, RunId

MAX_DETAIL = 500


def end_run(
    db: Connection,
    run: RunId,
    state: State,
    detail: str,
    cohort: Iterable[MemberId],
    now: datetime,
) -> None:
    """Move the run to its last state and post the news to every member that had its order.

    Raises:
        LocalError: the run is over already; nothing is changed.
    """
    unsent = Runs(db).require(run).state is State.AWAITING
    Runs(db).move(run, state, now, detail)
    if unsent:  # nobody was asked, so nobody is told
        return
    body = json_bytes({"run": run, "state": state.value, "detail": detail[:MAX_DETAIL]})
    for member in cohort:
        Mail(db).post(member, kind="run-ended", document=run, body=body, now=now)
