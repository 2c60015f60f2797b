"""A secure round over the real link, beside the same round without masks.

    python tests/benchmarks/bench_round.py [--members 20] [--dim 100000] [--rounds 12]

Every member is a process; mTLS on loopback, signed envelopes, the product's coordinator
(``coordinator.rounds.attempt``), stage log, audit of the sum, files, database and journals with
every fsync. A member fetches and verifies the published round before, takes the server step,
trains, masks, marks the round spent, opens shares, and, if asked, audits the sum. Early keys ride
on the last stage, so all but the first secure round take four exchanges and the audit.

It alternates with two rounds of ``tests/support/plain_round.py``, which the product does not have:
"plain" is one exchange in which everybody sends the quantised vector as it is (link, envelopes,
training, stage log, publication and the step are the same), "bare" is the whole secure round
with keys, shares, quorum and audit, in which only the masks are not expanded and added.

Local training is what the demand workload does in a round, 10 Adam steps of 128 rows, on a
network of ``dim`` parameters, in numpy. The table shows the round with it and without it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from link_place import Place, clock_ms, now
from numpy.typing import NDArray

from plain_round import PlainSum, plain_vector, unmasked
from protocols import codec, retrace
from protocols.audit.entries import Kind
from protocols.canonical import digest
from protocols.ids import MemberId, OrderId, RunId
from protocols.secagg import (
    NO_TRANSCRIPT,
    Carried,
    Demands,
    Expected,
    Member,
    RoundDescriptor,
    Stage,
    check_certificate,
    make_descriptor,
)
from protocols.secagg.disclosure import AuditRequest
from protocols.secagg.fixedpoint import mean_of_sum
from protocols.secagg.messages import (
    Advertisement,
    AdvertiseRequest,
    AgreeRequest,
    MaskRequest,
    Request,
    ShareRequest,
    from_bitmap,
)
from protocols.secagg.params import LogHead
from protocols.secagg.sumcheck import check_sum
from protocols.signing import verify
from protocols.workloads.server import FedAvg, ServerState, server_step, start

SECURE, PLAIN, BARE = b"\x01" * 16, b"\x02" * 16, b"\x04" * 16  # runs
AGREEMENT, BLANK = b"\x03" * 32, bytes(32)
SCALE, COLLUDERS = 2**15, 4
TIMEOUTS = (60, 60, 60, 60, 60, 60)
STEPS, BATCH, INPUTS = 10, 128, 64


def descriptor_of(
    run: bytes, number: int, state: ServerState, before: bytes, ids: tuple[bytes, ...], log: LogHead
) -> RoundDescriptor:
    """What coordinator and members derive alike."""
    return make_descriptor(
        coop=BLANK,
        run=run,
        round=number,
        attempt=0,
        task="train",
        model_hash=digest("bench model", state.params.tobytes()),
        order_hash=BLANK,
        agreement=AGREEMENT,
        log_root=log.root,
        log_size=log.size,
        task_hash=BLANK,
        roster_hash=BLANK,
        ids=ids,
        colluders=min(COLLUDERS, len(ids) - 2),
        min_cohort=5,
        dim=state.params.size,
        scale=SCALE,
        clip=1.0,
        w_max=1,
        max_dropout=20,
        stage_timeouts_s=TIMEOUTS,
        prev_transcript=before,
    )


def expected(d: RoundDescriptor) -> Expected:
    """The same as a member's demand on what it is shown."""
    return Expected(
        coop=d.coop,
        run=d.run,
        round=d.round,
        task=d.task,
        model_hash=d.model_hash,
        order_hash=d.order_hash,
        agreement=d.agreement,
        task_hash=d.task_hash,
        roster_hash=d.roster_hash,
        ids=frozenset(d.ids),
        dim=d.dim,
        scale=d.scale,
        clip=d.clip,
        w_max=d.w_max,
        max_dropout=d.max_dropout,
        stage_timeouts_s=d.stage_timeouts_s,
        prev_transcript=d.prev_transcript,
    )


def train(params: NDArray[np.float32], seed: bytes) -> NDArray[np.float32]:
    """The update of one round, every coordinate within +-1."""
    draw = np.random.default_rng(list(seed[:8]))
    width = params.size // (INPUTS + 1)
    vector = params.astype(np.float32)
    first, second = np.zeros_like(vector), np.zeros_like(vector)
    rows = draw.standard_normal((4 * BATCH, INPUTS), dtype=np.float32)
    wanted = rows[:, 0] > 0
    for step in range(1, STEPS + 1):
        at = draw.integers(0, len(rows), BATCH)
        x, y = rows[at], wanted[at]
        weights, last = vector[: INPUTS * width].reshape(INPUTS, width), vector[INPUTS * width :]
        hidden = np.maximum(x @ weights, 0)
        score = hidden @ last[:width]
        error = (1 / (1 + np.exp(-score)) - y).astype(np.float32) / BATCH
        gradient = np.zeros_like(vector)
        gradient[INPUTS * width : INPUTS * width + width] = hidden.T @ error
        back = np.outer(error, last[:width]) * (hidden > 0)
        gradient[: INPUTS * width] = (x.T @ back).reshape(-1)
        first += np.float32(0.1) * (gradient - first)
        second += np.float32(0.01) * (gradient * gradient - second)
        rate = 1e-3 / (1 - 0.9**step)
        vector -= np.float32(rate) * first / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
    return np.clip(vector - params, -1, 1).astype(np.float32)


def first_state(dim: int) -> ServerState:
    draw = np.random.default_rng(1)
    return start((draw.standard_normal(dim) / 10).astype(np.float32))


# ------------------------------------------------------------------ a node's process


@dataclass
class Followed:
    """One run on this node."""

    run: bytes
    state: ServerState
    number: int = 0
    transcript: bytes = NO_TRANSCRIPT
    machine: Member | None = None
    carried: Carried | None = None
    seen: dict[int, bytes] = field(default_factory=dict)  # round -> sum that was answered for


class Node:
    """The member's side: as ``node.federation.participant``, on made-up data."""

    def __init__(self, home: Path, dim: int, training: bool) -> None:
        from node import house
        from node.federation.channel import link_channel
        from node.federation.link import Calls
        from node.store.rounds import SpentRounds

        self.house = house.open_member(home)
        self.own = self.house.home.keys
        self.office = self.house.membership.public.coordinator_key
        self.channel = link_channel(home)
        self.calls = Calls(self.channel)
        self.spent = SpentRounds(self.house.database, now)
        self.folder = home
        listed: Mapping[str, str] = json.loads((home.parent / "members.json").read_text())
        self.roster = {bytes.fromhex(one): bytes.fromhex(key) for one, key in listed.items()}
        self.ids = tuple(sorted(self.roster))
        self.training = training
        self.runs = {run: Followed(run, first_state(dim)) for run in (SECURE, PLAIN, BARE)}
        self.me = bytes.fromhex(self.own.member)

    def handle(self, envelope: bytes) -> bytes:
        run = self.runs[codec.peek_envelope(envelope).run]
        opened = codec.open_envelope(envelope, self.office, run=run.run, agreement=AGREEMENT)
        request: Request | AuditRequest
        if opened.stage is Stage.AUDIT:
            request = codec.decode_audit_request(opened.body)
        else:
            request = codec.decode_request(opened.stage, opened.body)
        with unmasked() if run.run == BARE else nullcontext():
            body = self.plain(run, request) if run.run == PLAIN else self.secure(run, request)
        return codec.seal(
            key=self.own.identity,
            sender=self.me,
            run=run.run,
            round=opened.round,
            attempt=0,
            stage=opened.stage,
            agreement=AGREEMENT,
            body=body,
        )

    def plain(self, run: Followed, request: Request | AuditRequest) -> bytes:
        assert isinstance(request, AdvertiseRequest)
        self.catch_up(run, request)
        return plain_vector(self.update(run), request.descriptor, os.urandom)

    def secure(self, run: Followed, request: Request | AuditRequest) -> bytes:
        if isinstance(request, AuditRequest):
            machine = run.machine
            assert machine is not None
            number = request.head.published.round
            reply = check_sum(
                request,
                identity=self.own.identity,
                roster=self.roster,
                coordinator_key=self.office,
                transcript=machine.transcript,
                own_root=machine.vector_root,
                answered=run.seen.get(number),
            )
            run.seen[number] = request.head.published.sum_hash()
            return codec.encode_message(reply)
        opening = request.opening if isinstance(request, ShareRequest) else request
        if isinstance(opening, AdvertiseRequest):
            early = isinstance(request, ShareRequest)
            carried = run.machine.carried if run.machine is not None and early else None
            self.catch_up(run, opening)
            run.machine = self.machine(run, opening.descriptor, carried)
        machine = run.machine
        assert machine is not None
        if isinstance(request, AgreeRequest):
            self.keep_survivors(run, machine, request)
        reply = machine.step(request)
        if isinstance(request, MaskRequest):
            reply = machine.mask(self.update(run), 1)
        assert reply is not None
        return codec.encode_message(reply)

    def machine(
        self, run: Followed, descriptor: RoundDescriptor, carried: Carried | None
    ) -> Member:
        mine = descriptor_of(
            run.run, descriptor.round, run.state, run.transcript, self.ids, descriptor.log
        )
        return Member(
            identity=self.own.identity,
            demands=Demands(descriptor.colluders, 5, 1),
            roster=self.roster,
            coordinator_key=self.office,
            expected=expected(mine),
            entropy=os.urandom,
            mark_spent=self.mark_spent,
            carried=carried,
        )

    def mark_spent(self, run: bytes, number: int) -> None:
        self.spent.mark_spent(run, number)
        self.house.home.journal(Kind.SPENT, {"run": run.hex(), "round": number})

    def keep_survivors(self, run: Followed, machine: Member, request: AgreeRequest) -> None:
        from node.store.rounds import SurvivorSets

        descriptor = machine.descriptor
        assert descriptor is not None
        members = frozenset(one.hex() for one in from_bitmap(request.survivors, descriptor.ids))
        with self.house.database.write() as db:
            SurvivorSets(db).add(run.run.hex(), descriptor.round, members)

    def update(self, run: Followed) -> NDArray[np.float32]:
        seed = digest("bench update", self.me, run.number)
        if self.training:
            return train(run.state.params, seed)
        draw = np.random.default_rng(list(seed[:8]))
        return draw.uniform(-1, 1, run.state.params.size).astype(np.float32)

    def catch_up(self, run: Followed, opening: AdvertiseRequest) -> None:
        """Fetch the round before, verify it, keep it, write it down, take its step."""
        from node import files

        descriptor = opening.descriptor
        verify(self.office, opening.signature, "SAQ1 RD", descriptor.digest(), peer="office")
        if run.number == descriptor.round - 1:
            return
        number = run.number + 1
        raw = self.calls.fetch("round", run.run.hex(), f"{number:04d}")
        if run.run != PLAIN:
            mean = followed(run, number, raw, self.ids, self.roster, self.office)
        else:
            mean = plain_mean(raw, descriptor)
        folder = self.folder / "runs" / run.run.hex()
        folder.mkdir(parents=True, exist_ok=True)
        files.write(folder / f"{number:04d}.bin", raw)
        facts: dict[str, object] = {
            "run": run.run.hex(),
            "round": number,
            "survivors": len(self.ids),
            "transcript": run.transcript.hex(),
            "model": hashlib.sha256(run.state.params.tobytes()).hexdigest(),
        }
        self.house.home.journal(Kind.SUM, facts)
        run.state = server_step(run.state, mean, FedAvg(name="fedavg", lr=1.0))
        run.number = number


def followed(
    run: Followed,
    number: int,
    raw: bytes,
    ids: tuple[bytes, ...],
    roster: Mapping[bytes, bytes],
    office: bytes,
) -> NDArray[np.float32]:
    """Everything that ``protocols.retrace.follow`` checks of a round; the mean update."""
    record = retrace.read_record(raw, f"round {number}")
    descriptor = record.descriptor
    mine = descriptor_of(run.run, number, run.state, run.transcript, ids, descriptor.log)
    assert descriptor == mine
    verify(office, record.request.signature, "SAQ1 RD", descriptor.digest(), peer="office")
    check_certificate(record.published, descriptor, roster)
    run.transcript = record.published.a3
    return mean_of_sum(record.published.total, record.published.weight_sum, descriptor)


def plain_mean(raw: bytes, descriptor: RoundDescriptor) -> NDArray[np.float32]:
    found = np.frombuffer(raw, dtype="<i4").astype(np.int64)
    return mean_of_sum(found[:-1], int(found[-1]), descriptor)


def worker(home: Path, dim: int, training: bool) -> None:
    from node.federation.client_app import client_app, drive
    from node.federation.link import Session

    node = Node(home, dim, training)
    session = Session("bench", clock_ms, drive(client_app(node.handle), 7), lambda: None)
    session.run(node.channel, threading.Event())


# ------------------------------------------------------------------ the office


class Office:
    """The coordinator's side of both kinds of rounds: as ``coordinator.rounds.run``."""

    def __init__(self, place: Place, dim: int) -> None:
        from coordinator.log.append import AuditLog
        from coordinator.store.documents import Document, Documents
        from coordinator.store.runs import Runs
        from coordinator.wire.grid import LinkGrid
        from coordinator.wire.server_app import GridExchange

        self.place = place
        self.roster = {bytes.fromhex(one): key for one, key in place.keys.items()}
        self.ids = tuple(sorted(self.roster))
        self.everybody = frozenset(MemberId(one) for one in place.keys)
        grid = LinkGrid(place.sessions, [*self.everybody], 1, 5.0)
        self.exchange = GridExchange(grid, place.sessions)  # type: ignore[arg-type]
        self.journal = AuditLog(place.office / "audit", place.key, now)
        self.journal.append(Kind.START)
        self.runs = {run: Followed(run, first_state(dim)) for run in (SECURE, PLAIN, BARE)}
        self.carried: dict[bytes, Mapping[bytes, Advertisement]] = {}  # by run
        self.stages: dict[str, list[float]] = {}
        with place.database.write() as db:
            for run in self.runs:
                order = digest("bench order", run).hex()
                Documents(db).add(Document(order, "order", b"{}", now()))
                Runs(db).add(RunId(run.hex()), OrderId(order), now())

    def opening(self, run: Followed) -> AdvertiseRequest:
        from coordinator import files

        number, log = run.number + 1, LogHead(run.number, digest("bench root", run.number))
        descriptor = descriptor_of(run.run, number, run.state, run.transcript, self.ids, log)
        signature = self.place.key.sign("SAQ1 RD", descriptor.digest())
        request = AdvertiseRequest(descriptor, signature)
        files.make_folder(self.log(run).parent)
        files.write(self.log(run).with_suffix(".opening"), codec.encode_message(request))
        return request

    def log(self, run: Followed) -> Path:
        return self.folder(run) / "stages" / f"{run.number + 1:04d}.0.log"

    def folder(self, run: Followed) -> Path:
        return self.place.office / "runs" / run.run.hex()

    def progress(self, run: Followed, stage: Stage) -> None:
        from coordinator.store.runs import Progress, Runs

        with self.place.database.write() as db:
            progress = Progress(run.number + 1, 0, stage.name.lower(), "")
            Runs(db).advance(RunId(run.run.hex()), progress)

    def publish(self, run: Followed, raw: bytes, transcript: bytes, members: int) -> None:
        from coordinator import files
        from coordinator.store.runs import PublishedSum, Sums

        number = run.number + 1
        facts = {"run": run.run.hex(), "round": number, "survivors": members}
        self.journal.append(Kind.SUM, {**facts, "transcript": transcript.hex()})
        file = self.folder(run) / "rounds" / f"{number:04d}.bin"
        files.make_folder(file.parent)
        files.write(file, raw)
        with self.place.database.write() as db:
            Sums(db).add(
                PublishedSum(
                    run=RunId(run.run.hex()),
                    round=number,
                    attempt=0,
                    survivors=members,
                    sha256=hashlib.sha256(raw).hexdigest(),
                    file=file.name,
                    published_at=now(),
                )
            )

    def bare(self) -> None:
        """All of a secure round but its masks."""
        with unmasked():
            self.secure(BARE)

    def secure(self, which: bytes = SECURE) -> None:
        """One secure round, up to its published record."""
        from coordinator.rounds.attempt import Attempt

        run = self.runs[which]
        request = self.opening(run)
        begun = [("", time.perf_counter())]

        def progress(stage: Stage) -> None:
            self.progress(run, stage)
            begun.append((stage.name.lower(), time.perf_counter()))

        result = Attempt(
            descriptor=request.descriptor,
            key=self.place.key,
            roster=self.roster,
            exchange=self.exchange,
            file=self.log(run),
            carry=True,
            progress=progress,
            blamed=blamed,
            arrived=lambda stage, member: None,
        ).run(self.everybody, self.carried.get(which, {}))
        begun.append(("publish", time.perf_counter()))
        assert len(result.u3) == len(self.ids)
        raw = retrace.record_bytes(retrace.Record(result.opening, result.published))
        self.publish(run, raw, result.a3, len(result.u3))
        office = self.place.key.public
        mean = followed(run, run.number + 1, raw, self.ids, self.roster, office)
        run.state = server_step(run.state, mean, FedAvg(name="fedavg", lr=1.0))
        run.number += 1
        self.carried[which] = result.carried
        begun.append(("", time.perf_counter()))
        for (name, since), (_, until) in pairwise(begun[1:]) if which == SECURE else ():
            self.stages.setdefault(name, []).append(until - since)

    def plain(self) -> None:
        """The same without masks: one exchange."""
        from coordinator.rounds.stagelog import StageLog

        run = self.runs[PLAIN]
        request = self.opening(run)
        descriptor, stage = request.descriptor, Stage.ADVERTISE
        self.progress(run, stage)
        envelope = codec.seal(
            key=self.place.key,
            sender=codec.COORDINATOR,
            run=run.run,
            round=descriptor.round,
            attempt=0,
            stage=stage,
            agreement=AGREEMENT,
            body=codec.encode_message(request),
        )
        found, log = PlainSum(descriptor), StageLog(self.log(run))
        sent = dict.fromkeys(self.everybody, envelope)
        for answer in self.exchange.stage(descriptor.round, sent, 60.0):
            assert answer.envelope is not None, answer.problem
            member = bytes.fromhex(answer.member)
            body = codec.open_envelope(
                answer.envelope,
                self.roster[member],
                sender=member,
                run=run.run,
                round=descriptor.round,
                attempt=0,
                stage=stage,
                agreement=AGREEMENT,
            ).body
            found.add(body)
            log.append(stage, answer.member, body)
        log.close_stage()
        log.close()
        assert found.members == len(self.ids)
        values, weights = found.result()
        raw = np.append(values, weights).astype("<i4").tobytes()
        self.publish(run, raw, BLANK, found.members)
        mean = plain_mean(raw, descriptor)
        run.state = server_step(run.state, mean, FedAvg(name="fedavg", lr=1.0))
        run.number += 1


def blamed(member: MemberId, problem: str) -> None:
    raise AssertionError(f"{member[:16]}: {problem}")


@dataclass
class Figures:
    """Seconds of each round, by the clock and of CPU in all processes; the first does not count."""

    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, place: Place, work: Callable[[], None]) -> None:
        cpu, since = place.cpu_s(), time.perf_counter()
        work()
        self.clock.append(time.perf_counter() - since)
        self.cpu.append(place.cpu_s() - cpu)

    @property
    def clock_s(self) -> float:
        return statistics.median(self.clock[1:])

    @property
    def cpu_s(self) -> float:
        return statistics.median(self.cpu[1:])


def measure(
    members: int, dim: int, rounds: int, training: bool
) -> tuple[Figures, Figures, Figures, Mapping[str, float]]:
    """Secure, bare and plain rounds, which alternate, and a secure round's seconds by stage."""
    with tempfile.TemporaryDirectory() as root:
        place = Place(Path(root), members)
        listed = {one: key.hex() for one, key in place.keys.items()}
        (Path(root) / "members.json").write_text(json.dumps(listed))
        secure, bare, plain = Figures(), Figures(), Figures()
        try:
            place.start(__file__, "--dim", str(dim), *(["--training"] if training else []))
            office = Office(place, dim)
            for _ in range(rounds + 1):
                plain.add(place, office.plain)
                secure.add(place, office.secure)
                bare.add(place, office.bare)
        finally:
            place.stop()
    stages = {name: statistics.median(spent[1:] or spent) for name, spent in office.stages.items()}
    return secure, bare, plain, stages


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--dim", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--training", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        worker(args.worker, args.dim, args.training)
        return
    print(f"## A round over the link: {args.members} node processes on {os.cpu_count()} cores, "
          f"dim {args.dim:,}, median of {args.rounds}\n")  # fmt: skip
    print("| round | secure ms | plain ms | of plain, goal <= 1.5x | bare ms "
          "| of bare, goal <= 1.5x | CPU of all processes, ms: secure, plain, bare |\n"
          "|---|---|---|---|---|---|---|")  # fmt: skip
    for training in (True, False):
        secure, bare, plain, stages = measure(args.members, args.dim, args.rounds, training)
        name = "with local training" if training else "exchanges only, no training"
        of_plain, of_bare = (secure.clock_s / other.clock_s for other in (plain, bare))
        print(
            f"| {name} | {secure.clock_s * 1e3:.0f} | {plain.clock_s * 1e3:.0f} "
            f"| {of_plain:.2f}x, {verdict(of_plain)} | {bare.clock_s * 1e3:.0f} "
            f"| {of_bare:.2f}x, {verdict(of_bare)} "
            f"| {', '.join(f'{1e3 * one.cpu_s:.0f}' for one in (secure, plain, bare))} |",
            flush=True,
        )
        parts = ", ".join(f"{stage} {1e3 * s:.0f}" for stage, s in stages.items())
        print(f"| its secure stages, ms | {parts} | | | | | |")


def verdict(ratio: float) -> str:
    return "met" if ratio <= 1.5 else "NOT MET"


if __name__ == "__main__":
    main()
