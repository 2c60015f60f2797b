"""A few lasting values of the office itself, as JSON texts under a key."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from coordinator.store.schema import settings

ROSTER_IN_FORCE = "roster.current"


class Settings:
    """Key -> JSON value."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, key: str) -> Any:
        """The value, or None."""
        query = select(settings.c.value).where(settings.c.key == key)
        row = self._connection.execute(query).first()
        return None if row is None else json.loads(row.value)

    def put(self, key: str, value: Any) -> None:
        """Insert or replace."""
        text = json.dumps(value, sort_keys=True)
        self._connection.execute(
            upsert(settings)
            .values(key=key, value=text)
            .on_conflict_do_update(index_elements=[settings.c.key], set_={"value": text})
        )
