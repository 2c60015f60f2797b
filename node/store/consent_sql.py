"""The consent ledger's statements, and its values as SQLite holds them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from protocols.audit.consent import leaves

# customer key (32 bytes), scope, state, at, wording, source, as they are stored
Row = tuple[bytes, str, str, str, str, str]
BATCH = 50_000
ADD = """
INSERT INTO consent_events (customer_key, scope, state, at, wording, source, recorded_at, leaf)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
# of one instant the answer that forbids counts, and of two such the one that was learned last
_BY_WEIGHT = "at DESC, state = 'granted', seq DESC"
KEEP_NEWEST = """
INSERT INTO consent_now (scope, leaf, state, at, seq)
SELECT scope, leaf, state, at, seq FROM consent_events WHERE seq > ? ORDER BY scope, leaf
ON CONFLICT (scope, leaf) DO UPDATE
SET state = excluded.state, at = excluded.at, seq = excluded.seq
WHERE excluded.at > at OR (excluded.at = at AND (
    (excluded.state = 'granted') < (state = 'granted')
    OR ((excluded.state = 'granted') = (state = 'granted') AND excluded.seq > seq)
))
"""
NEWEST = f"""
SELECT scope, leaf, state, at, seq FROM (
    SELECT scope, leaf, state, at, seq, row_number() OVER (
        PARTITION BY scope, leaf ORDER BY {_BY_WEIGHT}
    ) AS place FROM consent_events
) WHERE place = 1
"""  # noqa: S608
LATEST = f"""
SELECT leaf, state, at FROM (
    SELECT leaf, state, at, row_number() OVER (
        PARTITION BY leaf ORDER BY {_BY_WEIGHT}
    ) AS place FROM consent_events WHERE scope = ? AND seq <= ?
) WHERE place = 1
"""  # noqa: S608
NOW = "SELECT scope, leaf, state, at, seq FROM consent_now"
ONE = f"""
SELECT state, at FROM consent_events WHERE scope = ? AND customer_key = ? AND seq <= ?
ORDER BY {_BY_WEIGHT} LIMIT 1
"""  # noqa: S608


def stored(at: datetime) -> str:
    """An aware instant as the ledger stores it; such texts sort as the instants do."""
    if at.tzinfo is None:
        raise ValueError("a moment without a time zone cannot be stored")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def leaves_of(rows: Sequence[tuple[bytes, str, *tuple[object, ...]]]) -> list[bytes]:
    """Leaves of (customer key, scope, ...) rows, in their order."""
    scopes = {row[1] for row in rows}
    if len(scopes) == 1:
        return leaves(scopes.pop(), [row[0] for row in rows])
    found: list[bytes] = [b""] * len(rows)
    for scope in scopes:
        places = [k for k, row in enumerate(rows) if row[1] == scope]
        for place, leaf in zip(places, leaves(scope, [rows[k][0] for k in places]), strict=True):
            found[place] = leaf
    return found
