"""What a running process says, kept line by line; tests wait for a line instead of for a time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
PATIENCE_S = 30.0


class Lines:
    """A stream for ``Events``: every event that was written to it, and a way to wait for one."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.events: list[Event] = []
        self._changed = threading.Condition()

    def write(self, line: str) -> int:
        with self._changed:
            self.text.append(line)
            self.events.append(json.loads(line))
            self._changed.notify_all()
        return len(line)

    def flush(self) -> None:
        """Nothing is held back."""

    def wait(
        self, wanted: Callable[[Event], bool], since: int = 0, patience_s: float = PATIENCE_S
    ) -> Event:
        """The first event from number ``since`` on that fits."""
        deadline = time.monotonic() + patience_s
        at = since
        with self._changed:
            while True:
                while at < len(self.events):
                    if wanted(self.events[at]):
                        return self.events[at]
                    at += 1
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not seen; the last events were {self.events[-6:]}")
                self._changed.wait(left)
