"""What a long-running process reports: JSON lines to a program, sentences to a terminal."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import IO

from protocols.plain import shown

SENTENCES: Mapping[str, str] = {
    "connected": "Connected to {address}.",
    "waiting": "Not connected: {problem} Trying again in {pause_s:.0f} s.",
    "document": "New {kind} in the mailbox: {id}",
    "order": "Order for run {run}: {answer}. {reasons}",
    "stage": "Run {run}, round {round}: {stage}.",
    "round": "Run {run}: round {round} of {rounds} done.",
    "scores": "Run {run}: your own {measure} {own:.3f}, with the shared model {blend:.3f}.",
    "out": "Run {run}, round {round}: this node stays out: {problem}",
    "run": "Run {run}: {state}. {detail}",
    "renewed": "The connection certificate was renewed until {not_after}.",
    "log": "The coordinator's log could not be verified: {problem}",
    "fork": "STOP. {problem} The evidence is in audit/forks/{evidence}.",
    "door": "Shop systems of this machine can send answers of customers to {address}.",
    "stopped": "Stopped.",
}


class Events:
    """Writes events to one stream; every method may be called from any thread."""

    def __init__(self, stream: IO[str], pretty: bool, clock: Callable[[], datetime]) -> None:
        self._stream = stream
        self._pretty = pretty
        self._clock = clock
        self._lock = threading.Lock()

    def emit(self, event: str, **facts: object) -> None:
        """One event; ``event`` must be a key of ``SENTENCES``."""
        now = self._clock()
        if self._pretty:
            said = shown(SENTENCES[event].format(**facts)).replace("\n", " ")
            line = f"{now.astimezone():%H:%M:%S}  {said}"
        else:
            document = {"at": now.isoformat(), "event": event, **facts}
            line = json.dumps(document, sort_keys=True, default=str)
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()
