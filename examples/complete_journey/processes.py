"""The demo's real processes: one folder each, output in a log file, events read as they come."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class CommandFailed(RuntimeError):
    """A command of the demo ended with another exit code than expected."""


def environment() -> dict[str, str]:
    """One thread a process: eight nodes share this machine."""
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **quiet, **threads}


def words(module: str, home: Path, *rest: str) -> list[str]:
    """The command line of ``coop-node`` or ``coop-coordinator`` with this Python."""
    return [sys.executable, "-m", module, "--home", str(home), *rest]


@dataclass(slots=True)
class Commands:
    """Runs short commands and writes down what ran: the transcript of the demo."""

    transcript: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, module: str, home: Path, *rest: str, expect: int = 0) -> str:
        """Standard output of one command; CommandFailed if it ends otherwise than expected."""
        done = subprocess.run(
            words(module, home, *rest),
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
        name = module.split(".", maxsplit=1)[0]
        with self._lock, self.transcript.open("a") as file:
            file.write(f"$ coop-{name} --home {home} {' '.join(rest)}\n")
            file.write(done.stdout + done.stderr + f"[exit {done.returncode}]\n\n")
        if done.returncode != expect:
            raise CommandFailed(
                f"coop-{name} {' '.join(rest)} ended with {done.returncode}, not {expect}:\n"
                f"{done.stdout[-800:]}{done.stderr[-1500:]}"
            )
        return done.stdout

    def json(self, module: str, home: Path, *rest: str, expect: int = 0) -> Any:
        """The JSON document that a command prints; CommandFailed as ``run``."""
        return json.loads(self.run(module, home, *rest, "--json", expect=expect))


class Daemon:
    """One long process; its events (JSON lines on stdout) arrive at ``on_event``."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        on_event: Callable[[str, Event], None],
    ) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._on_event = on_event
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        with self._log.open("a") as errors:
            process = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment(),
                start_new_session=True,
            )
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with self._log.open("a") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if line.startswith("{"):
                    self._on_event(self.name, json.loads(line))

    def kill(self) -> None:
        """SIGKILL: the process gets no chance to say goodbye."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again after it was killed."""
        self.process = self._start()

    def stop(self, timeout_s: float = 20.0) -> int:
        """SIGTERM and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return int(self.process.returncode)


class EventBoard:
    """Everything that the daemons reported, with a way to wait for something."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.events: list[tuple[str, Event]] = []

    def put(self, name: str, event: Event) -> None:
        """Called by the reader threads."""
        with self._changed:
            self.events.append((name, event))
            self._changed.notify_all()

    def follow(self, timeout_s: float, start: int = 0) -> Iterator[tuple[str, Event]]:
        """Events from number ``start`` on as they come; TimeoutError after a silence."""
        at = start
        while True:
            with self._changed:
                deadline = time.monotonic() + timeout_s
                while at >= len(self.events):
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise TimeoutError(f"nothing happened for {timeout_s:.0f} s")
                    self._changed.wait(left)
                item = self.events[at]
                at += 1
            yield item

    def wait(
        self, wanted: Callable[[str, Event], bool], timeout_s: float, count: int = 1, start: int = 0
    ) -> list[tuple[str, Event]]:
        """The first ``count`` events from ``start`` on that fit; TimeoutError without them."""
        found: list[tuple[str, Event]] = []
        for name, event in self.follow(timeout_s, start):
            if wanted(name, event):
                found.append((name, event))
                if len(found) == count:
                    break
        return found


def free_ports(count: int) -> list[int]:
    """Ports that are free on the loopback interface now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def resident_mb(pid: int) -> float:
    """Resident memory of a process now, in MB (10^6 bytes)."""
    import psutil

    return float(psutil.Process(pid).memory_info().rss) / 1e6
