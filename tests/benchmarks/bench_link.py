"""One exchange over the real link: 8 node processes, mTLS, signed envelopes, Flower's Grid.

    python tests/benchmarks/bench_link.py

Prints the median and the 90th percentile of a tiny exchange (one stage to all eight members and
back) and of 4 MB each way to all eight.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

MEMBERS = 8
RUN, AGREEMENT = b"\x01" * 16, b"\x02" * 32


def now() -> datetime:
    return datetime.now(UTC)


def worker(home: Path) -> None:
    """A node that verifies each envelope and answers with one of the same size."""
    from node import keys, membership
    from node.federation.channel import link_channel
    from node.federation.client_app import client_app, drive
    from node.federation.link import Session
    from protocols import codec

    own, known = keys.load(home), membership.load(home)

    def handle(envelope: bytes) -> bytes:
        opened = codec.open_envelope(
            envelope, known.public.coordinator_key, run=RUN, agreement=AGREEMENT
        )
        return codec.seal(
            key=own.identity,
            sender=bytes.fromhex(own.member),
            run=RUN,
            round=opened.round,
            attempt=0,
            stage=opened.stage,
            agreement=AGREEMENT,
            body=opened.body,
        )

    session = Session(
        "bench", lambda: int(time.time() * 1000), drive(client_app(handle), 7), lambda: None
    )
    session.run(link_channel(home), threading.Event())


class Bench:
    """The office's side."""

    def __init__(self, root: Path) -> None:
        from coordinator.desk import Desk
        from coordinator.members.agreements import Agreements
        from coordinator.members.enrolment import open_enrolment
        from coordinator.members.pki import create_cooperative, load_coordinator_key, places
        from coordinator.settings import CoordinatorSettings
        from coordinator.wire.join import serve_join
        from coordinator.wire.limits import RateLimiter
        from coordinator.wire.services import Link, serve_link
        from coordinator.wire.sessions import Sessions
        from coordinator.wire.tls import link_credentials, peer_member
        from node import keys
        from node.federation.channel import join
        from protocols.joining import Profile

        home = root / "office"
        where = places(home)
        create_cooperative(
            where,
            name="Bench",
            profile="B",
            hosts=("127.0.0.1",),
            join_port=8801,
            link_port=8802,
            now=now(),
        )
        enrolment = open_enrolment(home, CoordinatorSettings(), create=True)
        self.sessions = Sessions(time.monotonic)
        desk = Desk(
            enrolment.database,
            home,
            enrolment,
            Agreements(enrolment.database, enrolment.office.public.coop, now),
            now,
            lambda *_, **__: None,
        )
        link = Link(
            desk,
            self.sessions,
            lambda context: peer_member(context, enrolment, now),
            "bench",
            lambda: int(time.time() * 1000),
        )
        self.server, port = serve_link(link, "127.0.0.1:0", link_credentials(where), MEMBERS)
        listener = serve_join(
            enrolment,
            "127.0.0.1:0",
            link_port=port,
            limiter=RateLimiter(600, 600, time.monotonic),
            software="bench",
            now=now,
        )
        self.key = load_coordinator_key(where)
        self.keys: dict[str, bytes] = {}
        self.processes = []
        for number in range(MEMBERS):
            folder = root / f"node-{number}"
            own = keys.create(folder)
            invitation = enrolment.invite(
                "x", timedelta(hours=1), now(), address=f"127.0.0.1:{listener.port}"
            )
            join(folder, invitation.link, Profile(f"n{number}"), lambda offer: True, now)
            self.keys[own.member] = own.identity.public
            self.processes.append(
                subprocess.Popen([sys.executable, __file__, "--worker", str(folder)])
            )
        here = self.sessions.wait_for([*self.keys], 60)  # type: ignore[list-item]
        assert len(here) == MEMBERS, f"{len(here)} of {MEMBERS} connected"

    def exchange(self, body: bytes) -> float:
        """Seconds for one stage to all members and back, every signature made and checked."""
        from coordinator.wire.grid import LinkGrid, envelope_of, node_number, record
        from protocols import codec
        from protocols.ids import MemberId
        from protocols.secagg.messages import Stage

        members = [MemberId(one) for one in self.keys]
        grid = LinkGrid(self.sessions, members, 1, 5.0)
        started = time.perf_counter()
        messages = [
            grid.create_message(
                record(
                    codec.seal(
                        key=self.key,
                        sender=codec.COORDINATOR,
                        run=RUN,
                        round=1,
                        attempt=0,
                        stage=Stage.ADVERTISE,
                        agreement=AGREEMENT,
                        body=body,
                    )
                ),
                "query.stage",
                node_number(member),
                "1",
            )
            for member in members
        ]
        by_number = {node_number(member): member for member in members}
        for reply in grid.send_and_receive(messages, timeout=60):
            member = by_number[reply.metadata.src_node_id]
            opened = codec.open_envelope(
                envelope_of(reply),
                self.keys[member],
                sender=bytes.fromhex(member),
                run=RUN,
                agreement=AGREEMENT,
            )
            assert len(opened.body) == len(body)
        return time.perf_counter() - started

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
        self.server.stop(0)


def timed(call: Callable[[], float], count: int) -> tuple[float, float]:
    """Median and 90th percentile, seconds, after two warm-ups."""
    for _ in range(2):
        call()
    values = sorted(call() for _ in range(count))
    return statistics.median(values), values[int(0.9 * (len(values) - 1))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", type=Path)
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    if args.worker is not None:
        worker(args.worker)
        return
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            tiny = timed(lambda: bench.exchange(b"x" * 100), args.count)
            large = timed(lambda: bench.exchange(os.urandom(4_000_000)), max(5, args.count // 20))
        finally:
            bench.stop()
    print("| exchange with 8 node processes over mTLS | median | 90th percentile | goal |")
    print("|---|---|---|---|")
    print(f"| tiny, all signed | {tiny[0] * 1e3:.1f} ms | {tiny[1] * 1e3:.1f} ms | < 10 ms |")
    print(f"| 4 MB each way x 8 | {large[0]:.2f} s | {large[1]:.2f} s | < 0.5 s |")


if __name__ == "__main__":
    main()
