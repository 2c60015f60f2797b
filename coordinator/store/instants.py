"""The newest instant that this office has written down: its clock cannot be before it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from coordinator.store.schema import documents, mail, run_members, runs

_COLUMNS = (
    documents.c.created_at,
    mail.c.created_at,
    run_members.c.at,
    runs.c.created_at,
    runs.c.ended_at,
)


def newest(db: Connection) -> datetime | None:
    """The latest instant in the ledgers; None in an office that has none."""
    found = [db.execute(select(func.max(column))).scalar() for column in _COLUMNS]
    return max((one for one in found if one is not None), default=None)
