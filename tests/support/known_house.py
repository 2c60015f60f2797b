"""What a gate of a test knows about its node besides its database: everything is in order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from node.policy.facts import Surroundings, oldest_release_days
from node.policy.gate import History
from protocols.agreement.facts import AuditFacts


def in_order(clock: Callable[[], datetime], **changes: Any) -> Surroundings:
    """A certificate of 90 days, a log that was verified just now; ``changes`` to taste."""
    known: dict[str, Any] = {
        "software": "99.0.0",
        "certificate_days": lambda: 90,
        "newest_entry": lambda: None,
        "audit": lambda: AuditFacts(verified_at=clock()),
        "oldest_result_days": oldest_release_days,
    }
    return Surroundings(**{**known, **changes})


def healthy(weeks: int, rows: int) -> History:
    """Rows of yesterday in good health."""
    return History(weeks=weeks, rows=rows, health=95.0, data_age_days=1)
