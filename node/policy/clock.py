"""A clock that was set back, and one that once ran ahead (clause 30).

What this node wrote down must not lie in the future: a clock that was set back would bring spent
budgets back. A clock that once ran ahead leaves instants that are not true, and the node would wait
for years; a person may say so, in the journal, and only those instants are left out then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from node.store.database import Database
from node.store.settings import Settings
from protocols.errors import InputError

Journal = Callable[[str, Mapping[str, object]], None]
LAST, AHEAD = "clock:last", "clock:ahead"


@dataclass(frozen=True, slots=True)
class Ahead:
    """Instants after ``after`` and up to ``until`` were written by a clock that ran ahead."""

    after: datetime
    until: datetime


def tick(connection: Connection, now: datetime) -> None:
    """Remember that it was this late when the gate decided."""
    known = _last(connection)
    if known is None or now > known:
        Settings(connection).put(LAST, now.isoformat())


def newest(connection: Connection, instants: Iterable[datetime | None]) -> datetime | None:
    """The latest of these and of what the gate remembers, without those of a clock ahead."""
    ahead = _ahead(connection)
    found = [
        one
        for one in instants
        if one is not None and not (ahead is not None and ahead.after < one <= ahead.until)
    ]
    known = _last(connection)
    return max([*found, known] if known is not None else found, default=None)


def accept(
    database: Database, newest_seen: datetime | None, journal: Journal, now: datetime
) -> Ahead:
    """Say that the clock is right now and ran ahead before.

    What was reserved or spent then goes on counting from those later instants, so it counts for
    longer and never for less.

    Raises:
        InputError: nothing here lies in the future.
    """
    if newest_seen is None or newest_seen <= now:
        raise InputError("nothing that this node wrote down lies in the future.", where="clock")
    with database.write() as connection:
        before = _ahead(connection)
        after = now if before is None else min(before.after, now)
        ahead = Ahead(after, newest_seen if before is None else max(before.until, newest_seen))
        Settings(connection).put(
            AHEAD, {"after": ahead.after.isoformat(), "until": ahead.until.isoformat()}
        )
        Settings(connection).put(LAST, now.isoformat())
        facts = {"what": "clock-ahead", "until": f"{newest_seen:%Y-%m-%d}"}
        journal("incident", facts)
    return ahead


def _last(connection: Connection) -> datetime | None:
    found = Settings(connection).get(LAST)
    return datetime.fromisoformat(found) if isinstance(found, str) else None


def _ahead(connection: Connection) -> Ahead | None:
    found = Settings(connection).get(AHEAD)
    if not isinstance(found, dict):
        return None
    return Ahead(datetime.fromisoformat(found["after"]), datetime.fromisoformat(found["until"]))
