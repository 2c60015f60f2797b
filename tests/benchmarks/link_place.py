"""An office with the real link on loopback, and nodes that have joined it, each its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

CONNECT_S = 120.0


def now() -> datetime:
    return datetime.now(UTC)


def clock_ms() -> int:
    return int(time.time() * 1000)


class Place:
    """The office's side.

    Args:
        root: an empty folder; the office is in ``office``, nodes are in ``node-0`` and so on.
        members: how many nodes.
    """

    def __init__(self, root: Path, members: int) -> None:
        from coordinator.desk import Desk
        from coordinator.members.pki import create_cooperative, load_coordinator_key, places
        from coordinator.store.database import Database
        from coordinator.wire.join import serve_join
        from coordinator.wire.limits import RateLimiter
        from coordinator.wire.services import Link, serve_link
        from coordinator.wire.sessions import Sessions
        from coordinator.wire.tls import link_credentials, peer_member
        from coordinator.wiring import open_house
        from node import keys
        from node.federation.channel import join
        from protocols.joining import Profile

        self.office = root / "office"
        where = places(self.office)
        create_cooperative(
            where,
            name="Bench",
            profile="B",
            hosts=("127.0.0.1",),
            join_port=8801,
            link_port=8802,
            now=now(),
        )
        Database.open(where.database, create=True).close()
        self.sessions = Sessions(time.monotonic)
        house = open_house(self.office)
        enrolment, self.database = house.enrolment, house.database
        desk = Desk(house, house.log(), lambda *_, **__: None)
        link = Link(
            desk,
            self.sessions,
            lambda context: peer_member(context, enrolment, now),
            "bench",
            clock_ms,
        )
        self._server, port = serve_link(link, "127.0.0.1:0", link_credentials(where), members)
        listener = serve_join(
            enrolment,
            "127.0.0.1:0",
            link_port=port,
            limiter=RateLimiter(600, 600, time.monotonic),
            software="bench",
            now=now,
        )
        self.key = load_coordinator_key(where)
        self.keys: dict[str, bytes] = {}  # member id -> Ed25519 public key
        self.folders: list[Path] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        for number in range(members):
            folder = root / f"node-{number}"
            own = keys.create(folder)
            invitation = enrolment.invite(
                "x", timedelta(hours=1), now(), address=f"127.0.0.1:{listener.port}"
            )
            join(folder, invitation.link, Profile(f"n{number}"), lambda offer: True, now)
            self.keys[own.member] = own.identity.public
            self.folders.append(folder)

    def start(self, script: str, *words: str) -> None:
        """One process a node: ``script words --worker FOLDER``; returns when all are connected."""
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        for folder in self.folders:
            command = [sys.executable, script, *words, "--worker", str(folder)]
            self._processes.append(subprocess.Popen(command, env=env))
        here = self.sessions.wait_for([*self.keys], CONNECT_S)  # type: ignore[list-item]
        assert len(here) == len(self.keys), f"{len(here)} of {len(self.keys)} connected"

    def cpu_s(self) -> float:
        """CPU seconds of the office and of all nodes so far."""
        import psutil

        every = [psutil.Process(), *(psutil.Process(one.pid) for one in self._processes)]
        times = [one.cpu_times() for one in every]
        return sum(one.user + one.system for one in times)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
        self._server.stop(0)
