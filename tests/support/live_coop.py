"""A cooperative of real processes on loopback, for end-to-end tests.

Real stores of the Complete Journey, real processes, sockets, TLS, files and databases.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zygote
from examples.complete_journey import export

COORDINATOR, NODE = "coordinator.cli", "node.cli"
Event = dict[str, Any]


def environment(**extra: str) -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


def run(
    module: str, home: Path, *words: str, expect: int = 0, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """One command to its end; AssertionError with its output if the exit code is another."""
    if zygote.AVAILABLE:
        done = zygote.run(module, ["--home", str(home), *words], environment(), stdin, 180)
    else:
        done = subprocess.run(
            [sys.executable, "-m", module, "--home", str(home), *words],
            capture_output=True,
            text=True,
            env=environment(),
            input=stdin,
            check=False,
            timeout=180,
        )
    said = f"{module} {' '.join(words)}\n{done.stdout}{done.stderr}"
    assert done.returncode == expect, f"exit {done.returncode}, expected {expect}: {said}"
    return done


def ask(module: str, home: Path, *words: str, expect: int = 0) -> Any:
    """The JSON that a command prints."""
    return json.loads(run(module, home, *words, "--json", expect=expect).stdout)


class Process:
    """One daemon; its events come as JSON lines."""

    def __init__(self, name: str, module: str, home: Path, *words: str) -> None:
        self.name, self._module = name, module
        self._words = ["--home", str(home), *words]
        self.home = home
        self.events: list[Event] = []
        self._changed = threading.Condition()
        self.on_event: Callable[[Process, Event], None] = lambda process, event: None
        self.process: subprocess.Popen[str] | zygote.Forked

    def start(self, *, fresh: bool = not zygote.AVAILABLE) -> Process:
        """Start it; ``fresh``: in an interpreter of its own, as a member would."""
        with (self.home / "stderr.log").open("a") as errors:
            if fresh:
                command = [sys.executable, "-m", self._module, *self._words]
                self.process = subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment()
                )
            else:
                self.process = zygote.popen(self._module, self._words, environment(), errors)
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        return self

    def _read(self, process: subprocess.Popen[str] | zygote.Forked) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                event = json.loads(line)
                self.on_event(self, event)
                with self._changed:
                    self.events.append(event)
                    self._changed.notify_all()

    def wait(
        self, wanted: Callable[[Event], bool], timeout_s: float = 120.0, since: int = 0
    ) -> Event:
        """The first event from number ``since`` on that fits; AssertionError with what came."""
        deadline = time.monotonic() + timeout_s
        at = since
        with self._changed:
            while True:
                while at < len(self.events):
                    if wanted(self.events[at]):
                        return self.events[at]
                    at += 1
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and at >= len(self.events)):
                    log = (self.home / "stderr.log").read_text()[-2000:]
                    raise AssertionError(f"{self.name}: not seen. {self.events[-8:]}\n{log}")
                self._changed.wait(min(left, 0.5))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return int(self.process.wait(60))


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


@dataclass
class Cooperative:
    """The office and its shops."""

    root: Path
    office: Process
    shops: list[Process] = field(default_factory=list)
    exports: list[Path] = field(default_factory=list)

    @property
    def office_home(self) -> Path:
        return self.office.home

    def found(
        self,
        shops: int,
        rounds: int = 60,
        *,
        files: Sequence[Path] | None = None,
        agreed: Sequence[str] = (),
    ) -> None:
        """Init, serve, enrol, agree; daemons of the shops are not started.

        Args:
            files: exports of the tills; stores of the Complete Journey if None.
            agreed: more words for ``agreement new``.
        """
        join, link = free_ports(2)
        run(
            COORDINATOR,
            self.office_home,
            *("init", "--name", "Test Grocers", "--profile", "B", "--host", "127.0.0.1"),
            *("--join-port", str(join), "--link-port", str(link)),
        )
        (self.office_home / "config.toml").write_text(
            'bind = "127.0.0.1"\njoin_per_minute = 600\ncountry = "DE"\n'
        )
        self.office.start()
        self.office.wait(lambda e: e["event"] == "listening")
        if files is None:
            choices = export.choose_stores(shops + 1)  # one for a newcomer
            files = export.write_exports(self.root / "exports", choices)
        self.exports = list(files)
        for number in range(shops):
            self.shops.append(self.enrol(number))
        draft = self.root / "draft.json"
        run(
            COORDINATOR,
            self.office_home,
            *("agreement", "new", str(draft), "--set", "colluders=1", "--set", "min_cohort=5"),
            *("--set", "max_age_days=3660"),  # the stores sold in 2017
            *("--max-rounds", str(rounds), *agreed),
        )
        run(COORDINATOR, self.office_home, "agreement", "propose", str(draft))
        for shop in self.shops:
            run(NODE, shop.home, "agreement", "sign", "--yes")

    def enrol(self, number: int) -> Process:
        home = self.root / f"shop-{number}"
        run(NODE, home, "init")
        zone = export.TIMEZONE
        run(NODE, home, "data", "add", str(self.exports[number]), "--timezone", zone, "--yes")
        invited = ask(COORDINATOR, self.office_home, "member", "invite", f"Shop {number}")
        run(NODE, home, "join", invited["link"], "--name", f"Shop {number}", "--yes")
        return Process(f"Shop {number}", NODE, home, "start")

    def digest(self) -> str:
        shown = ask(COORDINATOR, self.office_home, "agreement", "show")
        return str(shown["workloads"][0]["digest"])

    def agreement(self) -> str:
        """The id of the version in force."""
        return str(ask(COORDINATOR, self.office_home, "agreement", "show")["id"])

    def start_shops(self, *, fresh: bool = not zygote.AVAILABLE) -> None:
        for shop in self.shops:
            run(NODE, shop.home, "approve", self.digest(), "--always", "--yes")
            shop.start(fresh=fresh)
        for shop in self.shops:
            shop.wait(lambda e: e["event"] == "connected")

    def launch(self, rounds: int, *extra: str, chosen: Mapping[str, Any] | None = None) -> str:
        """Launch a run; its id. ``chosen``: its settings, those of demand if None."""
        settings = self.root / "settings.json"
        if chosen is None:
            chosen = {
                "categories": sorted(export.categories()),
                "train_until": export.TRAIN_UNTIL.isoformat(),
                "holdout_weeks": export.HOLDOUT_WEEKS,
            }
        settings.write_text(json.dumps(chosen))
        words = ("run", "launch", "--rounds", str(rounds), "--settings", str(settings), "--yes")
        return str(ask(COORDINATOR, self.office_home, *words, *extra)["run"])

    def end_of(self, run_id: str, timeout_s: float = 240.0) -> Event:
        over = {"released", "refused", "failed", "aborted", "finished"}
        return self.office.wait(
            lambda e: e["event"] == "run" and e["run"] == run_id and e["state"] in over, timeout_s
        )

    def rounds_of(self, run_id: str) -> list[int]:
        """Survivors of each published round."""
        found = ask(COORDINATOR, self.office_home, "run", "status", run_id)["runs"]
        return list(found[0]["survivors"])


@contextmanager
def cooperative(root: Path) -> Iterator[Cooperative]:
    """A cooperative that is gone at the end, whatever happened."""
    home = root / "office"
    home.mkdir(parents=True)
    made = Cooperative(root, Process("office", COORDINATOR, home, "serve"))
    try:
        yield made
    finally:
        for one in (*made.shops, made.office):
            if hasattr(one, "process") and one.process.poll() is None:
                one.kill()
