"""A member of the attacked cooperative: a real node with its daemon in a thread of the test.

Its folder, keys, store, vault, journal and connection are those of a shop; only the process is
shared. What it draws from its entropy is remembered, so that the tests can look for it in files.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from attack_lines import Lines

from node import keys
from node.data import intake
from node.events import Events
from node.federation import channel
from node.federation.participant import Participant
from node.federation.post import exchange
from node.house import open_home, open_member, utc_now
from node.policy.alone import alone
from node.wiring import Daemon
from protocols.audit.entries import Kind
from protocols.ids import MemberId, RunId
from protocols.joining import Profile
from protocols.signing import SigningKey

FIRST = date(2025, 6, 2)  # a Monday
TRAIN_WEEKS, HOLDOUT_WEEKS = 10, 2
CATEGORY = "bread"
HEADER = "Date,Time,Receipt no,SKU,Product,Category,Quantity,Unit price,Discount,Total"
GENERIC = "this member does not go on"

Handle = Callable[[bytes], bytes]
Meddle = Callable[[bytes, Handle], bytes]


def till(shop: int) -> str:
    """Twelve weeks of one shop's bread, as its till exports them."""
    lines = [HEADER]
    for day in range(7 * (TRAIN_WEEKS + HOLDOUT_WEEKS)):
        units = 3 + (day * (shop + 2) + shop) % 7
        at = (FIRST + timedelta(days=day)).isoformat()
        lines.append(
            f"{at},10:00:00,r{shop}-{day},b1,Loaf,{CATEGORY},{units},2.00,0,{units * 2:.2f}"
        )
    return "\n".join([*lines, ""])


@dataclass
class Shop:
    """One member. ``meddle`` turns it into a colluder: it sees what comes and what goes."""

    name: str
    folder: Path
    number: int
    meddle: Meddle | None = None
    lines: Lines = field(default_factory=Lines)
    daemon: Daemon | None = None
    _read: int = 0
    _entries: list[dict[str, Any]] = field(default_factory=list)

    # ------------------------------------------------------------- its daily life

    def found(self) -> None:
        """``coop-node init`` and ``data add``."""
        keys.create(self.folder)
        (self.folder / "config.toml").write_text(
            "reconnect_min_s = 0.05\nreconnect_max_s = 1.0\n", encoding="utf-8"
        )
        export = self.folder / "till.csv"
        export.write_text(till(self.number), encoding="utf-8")
        home = open_home(self.folder)
        plan = intake.preview(export, intake.Options(timezone="Europe/Berlin"))
        intake.add(home.vault(), plan, home.keys.customer_secret, home.clock())
        home.log.close()

    def join(self, link: str) -> None:
        """``coop-node join``."""
        profile = Profile(self.name, f"HRB {self.number}", "grocery", "town")
        channel.join(self.folder, link, profile, lambda offer: True, utc_now)

    def sign(self) -> None:
        """``coop-node agreement sign``."""
        member = open_member(self.folder)
        exchange(member)
        desk = member.agreements
        newest = desk.newest_roster()
        assert newest is not None
        desk.sign(desk.proposed()[-1].id, newest.id)
        exchange(member)
        member.home.log.close()
        member.close()

    def approve(self, digest: str) -> None:
        """``coop-node approve DIGEST --always``."""
        member = open_member(self.folder)
        member.approvals.approve_workload(digest)
        member.home.log.close()
        member.close()

    def start(self) -> None:
        """``coop-node start``; returns when the node is connected."""
        since = len(self.lines.events)
        self.member = open_member(self.folder)
        self._alone = alone(self.folder)
        self._alone.__enter__()
        self.daemon = Daemon(self.member, Events(self.lines, False, utc_now))  # type: ignore[arg-type]
        handle = self.daemon._session._handle
        self.daemon._session._handle = lambda envelope: self._handled(envelope, handle)
        self._thread = threading.Thread(target=self.daemon.run, name=self.name)
        self._thread.start()
        self.lines.wait(lambda one: one["event"] == "connected", since)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self.daemon is None:
            return
        self.daemon.stop()
        self._thread.join()
        self.daemon = None
        self._alone.__exit__(None, None, None)
        self.member.close()

    def restart(self) -> None:
        """A new process: what was in memory is gone."""
        self.stop()
        self.start()

    # ----------------------------------------------------------- what tests look at

    def participant(self, run: str) -> Participant:
        """Its part in a run that it admitted."""
        assert self.daemon is not None
        return self.daemon._rooms._live[RunId(run)]

    @cached_property
    def key(self) -> SigningKey:
        """Its identity; a colluder hands it to the office."""
        return keys.load(self.folder).identity

    @cached_property
    def id(self) -> MemberId:
        return keys.load(self.folder).member

    @property
    def raw(self) -> bytes:
        return bytes.fromhex(self.id)

    def journal(self, kind: Kind | None = None) -> list[dict[str, Any]]:
        """Entries of its own audit log, as they stand on the disk."""
        with (self.folder / "audit" / "log.jsonl").open("rb") as log:
            log.seek(self._read)
            for line in log:
                entry = json.loads(line)
                self._entries.append({"kind": entry["kind"], **entry["facts"]})
            self._read = log.tell()
        return [one for one in self._entries if kind is None or one["kind"] == kind.value]

    def refusals(self, run: str = "") -> list[str]:
        """The reasons that it wrote down for itself, oldest first."""
        return [
            str(one["note"])
            for one in self.journal(Kind.REFUSAL)
            if "note" in one and run in ("", one["run"])
        ]

    def _handled(self, envelope: bytes, handle: Handle) -> bytes:
        return handle(envelope) if self.meddle is None else self.meddle(envelope, handle)
