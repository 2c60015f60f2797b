"""One exchange over the real link: 8 node processes, mTLS, signed envelopes, Flower's Grid.

    python tests/benchmarks/bench_link.py

Prints the median and the 90th percentile of a tiny exchange (one stage to all eight members and
back) and of 4 MB each way to all eight.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from link_place import Place, clock_ms

MEMBERS = 8
RUN, AGREEMENT = b"\x01" * 16, b"\x02" * 32


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

    session = Session("bench", clock_ms, drive(client_app(handle), 7), lambda: None)
    session.run(link_channel(home), threading.Event())


class Bench:
    """The office's side."""

    def __init__(self, root: Path) -> None:
        self.place = Place(root, MEMBERS)
        self.place.start(__file__)

    def exchange(self, body: bytes) -> float:
        """Seconds for one stage to all members and back, every signature made and checked."""
        from coordinator.wire.grid import LinkGrid, envelope_of, node_number, record
        from protocols import codec
        from protocols.ids import MemberId
        from protocols.secagg.messages import Stage

        place = self.place
        members = [MemberId(one) for one in place.keys]
        grid = LinkGrid(place.sessions, members, 1, 5.0)
        started = time.perf_counter()
        messages = [
            grid.create_message(
                record(
                    codec.seal(
                        key=place.key,
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
                place.keys[member],
                sender=bytes.fromhex(member),
                run=RUN,
                agreement=AGREEMENT,
            )
            assert len(opened.body) == len(body)
        return time.perf_counter() - started


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
            bench.place.stop()
    print("| exchange with 8 node processes over mTLS | median | 90th percentile | goal |")
    print("|---|---|---|---|")
    print(f"| tiny, all signed | {tiny[0] * 1e3:.1f} ms | {tiny[1] * 1e3:.1f} ms | < 10 ms |")
    print(f"| 4 MB each way x 8 | {large[0]:.2f} s | {large[1]:.2f} s | < 0.5 s |")


if __name__ == "__main__":
    main()
