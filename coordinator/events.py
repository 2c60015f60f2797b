"""What a long-running process reports: JSON lines to a program, sentences to a terminal."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import IO

from protocols.plain import shown

SENTENCES: Mapping[str, str] = {
    "listening": "Listening: join on port {join_port}, link on port {link_port}.",
    "joined": "{name} joined.",
    "connected": "{name} connected.",
    "gone": "{name} is away.",
    "signature": "{name} signed {document}.",
    "membership": "{name} says: {state}.",
    "succession": "{name} has a new key ({member}); the members are asked to sign the roster.",
    "termination": "{name} signed the end of the agreement. Complete: {complete}.",
    "correction": "{name} corrected data of past runs: {count} {what}.",
    "departed": "The notice of {count} members is over; a roster without them is proposed.",
    "answer": "{name} {answer} run {run}. {reasons}",
    "run": "Run {run}: {state}. {detail}",
    "masked": "Run {run}: round {round}, masked update of {name} came in.",
    "round": "Run {run}: round {round} of {rounds} done, {survivors} stores in the sum.",
    "attempt-failed": "Run {run}: round {round}, attempt {attempt} failed: {problem}",
    "resumed": "Run {run}: going on with round {round} at stage {stage} after a restart.",
    "held": "Run {run}: release {model} is held until {missing} signed it: release approve.",
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
