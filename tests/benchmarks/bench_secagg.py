"""Secure aggregation: masks, one member, the coordinator, beside Flower's SecAgg+ and OpenSSL.

    python tests/benchmarks/bench_secagg.py [--most-members 100]

Times are CPU, without training and network, everything measured in this run and interleaved. The
coordinator works in a process of its own, so that its peak memory is its own; vectors are made,
sent and added one by one, and the sum is compared with the plain one. Of the members one is timed;
the others do everything that makes their messages, but do not verify signatures (it would only
make the run longer). Flower's figures come from the kernels of the installed package; a whole
Flower round is composed of them, and the line says so. Each line prints its goal and whether the
measured figure meets it.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols.codec import (
    decode_audit_reply,
    decode_audit_request,
    decode_reply,
    decode_request,
    encode_message,
)
from protocols.secagg import (
    Aggregator,
    Demands,
    Expected,
    Member,
    RoundDescriptor,
    Stage,
    make_descriptor,
)
from protocols.secagg import masks as m
from protocols.secagg.disclosure import in_full
from protocols.secagg.fixedpoint import Sums
from protocols.secagg.messages import MaskedInput, MaskRequest, Request
from protocols.secagg.sumaudit import SumAudit
from protocols.secagg.sumcheck import check_sum
from protocols.signing import SigningKey, identity_of

REPEATS = 5  # rounds of a small setting; the least counts
ROUNDS = [  # members, colluders, dimension, members that vanish after stage 1
    (8, 1, 10_000, 0),
    (30, 5, 100_000, 3),
    (100, 20, 1_000_000, 0),
    (100, 20, 1_000_000, 10),
    (1000, 200, 1_000_000, 100),
]
SCALE = 2**15
OFFICE = SigningKey(hashlib.sha256(b"office").digest())
STAGES = (Stage.ADVERTISE, Stage.SHARE, Stage.MASK, Stage.AGREE, Stage.UNMASK)
T = TypeVar("T")


@dataclass
class Clock:
    """CPU seconds spent under each name."""

    spent: dict[str, float] = field(default_factory=dict)

    def run(self, name: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        out = work()
        self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - start
        return out

    @property
    def total(self) -> float:
        return sum(self.spent.values())


def verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


# ------------------------------------------------------------------ one round


def setting(n: int, colluders: int, dim: int) -> tuple[RoundDescriptor, dict[bytes, SigningKey]]:
    """A descriptor and the keys of its members, the same in every process."""
    made = [SigningKey(hashlib.sha256(f"bench {i}".encode()).digest()) for i in range(n)]
    keys = {bytes.fromhex(identity_of(key.public)): key for key in made}
    blank = bytes(32)
    descriptor = make_descriptor(
        coop=blank,
        run=bytes(16),
        round=0,
        attempt=0,
        task="train",
        model_hash=blank,
        order_hash=blank,
        agreement=blank,
        log_root=blank,
        log_size=9,
        task_hash=blank,
        roster_hash=blank,
        ids=tuple(keys),
        colluders=colluders,
        min_cohort=5,
        dim=dim,
        scale=SCALE,
        clip=1.0,
        w_max=1,
        max_dropout=10,
        stage_timeouts_s=(60,) * 6,
    )
    return descriptor, keys


def expected(d: RoundDescriptor) -> Expected:
    """What an honest member expects of this descriptor."""
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
    )


@dataclass(frozen=True)
class OfficeFigures:
    """What the coordinator's process reports: CPU seconds by step, peak bytes, survivors, sum."""

    spent: Mapping[str, float]
    peak_bytes: int
    survivors: int
    total: Sums = field(repr=False)


def peak_bytes() -> int:
    """Largest resident size of this process so far."""
    if sys.platform == "linux":  # getrusage would count what the parent had before the start
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def office_process(line: Connection, n: int, colluders: int, dim: int) -> None:
    """The coordinator: (stage, member, bytes) is an answer, None closes the stage."""
    descriptor, keys = setting(n, colluders, dim)
    roster = {one: key.public for one, key in keys.items()}
    clock = Clock()
    m.check_primitives()
    office = clock.run("open", lambda: Aggregator(descriptor, OFFICE, roster))

    def send(out: Mapping[bytes, Request], name: str) -> None:
        wire: dict[int, bytes] = {}  # the same request for all is encoded once
        for request in out.values():
            if id(request) not in wire:
                wire[id(request)] = clock.run(name, lambda r=request: encode_message(r))
        line.send([(one, id(request)) for one, request in out.items()])
        line.send(wire)

    send(clock.run("open", office.open), "open")
    vectors: dict[bytes, bytes] = {}  # the product has them on disk
    for stage in STAGES:
        name = stage.name.lower()
        while (sent := line.recv()) is not None:
            one, data = sent
            reply = clock.run(name, lambda s=stage, o=one, d=data: decode_reply(s, d, o.hex()))
            clock.run(name, lambda o=one, r=reply: office.receive(o, r))
            if isinstance(reply, MaskedInput) and in_full(descriptor, n):
                vectors[one] = reply.vector
        send(clock.run(f"{name} close", office.close_stage), f"{name} close")
    result = office.result()
    line.send(OfficeFigures(clock.spent, peak_bytes(), len(result.u3), result.sum))
    if not vectors:
        return
    audit, clock = SumAudit(result, roster, vectors.__getitem__), Clock()
    due = clock.run("audit", audit.due)
    line.send((sorted(due), clock.run("audit", lambda: encode_message(next(iter(due.values()))))))
    for one in sorted(due):
        reply = decode_audit_reply(line.recv(), one.hex())
        clock.run("audit", lambda o=one, r=reply: audit.receive(o, r))
    clock.run("audit", audit.published)
    line.send(clock.total)


@contextmanager
def unverified() -> Iterator[None]:
    """Members that are not timed take signatures as they come."""
    with ExitStack() as stack:
        for room in ("_phases", "messages"):
            name = f"protocols.secagg.{room}.verify"
            stack.enter_context(mock.patch(name, new=lambda *_, **__: None))
        yield


@dataclass(frozen=True)
class RoundFigures:
    """CPU seconds and bytes of one round."""

    descriptor: RoundDescriptor
    member: Mapping[str, float]
    office: OfficeFigures
    upload: int
    audit: tuple[float, float, int] | None  # CPU seconds of an auditor and the office, bytes down

    @property
    def member_s(self) -> float:
        return sum(self.member.values())

    @property
    def office_s(self) -> float:
        return sum(self.office.spent.values())


def one_round(n: int, colluders: int, dim: int, gone: int) -> RoundFigures:
    """One round through the codec; AssertionError if the sum is not the plain sum."""
    descriptor, keys = setting(n, colluders, dim)
    roster = {one: key.public for one, key in keys.items()}
    clock = Clock()
    timed, lost = descriptor.ids[0], set(descriptor.ids[n - gone :])
    truth = np.zeros(dim, dtype=np.int64)
    upload = 0
    decoded: dict[bytes, Request] = {}  # what all others are sent alike is decoded once

    def join(key: SigningKey) -> Member:
        return Member(
            identity=key,
            demands=Demands(colluders, 3, 1),
            roster=roster,
            coordinator_key=OFFICE.public,
            expected=expected(descriptor),
            entropy=os.urandom,
            mark_spent=lambda run, number: None,
        )

    def update(one: bytes) -> np.ndarray:
        """Whole multiples of 1 / scale, so that rounding leaves them as they are."""
        nonlocal truth
        draw = np.random.default_rng(list(one[:8]))
        units = draw.integers(-SCALE, SCALE + 1, dim)
        truth += units
        return (units / SCALE).astype(np.float32)

    def measured(stage: Stage, data: bytes) -> bytes:
        name = stage.name.lower()
        request = clock.run(name, lambda: decode_request(stage, data))
        reply = clock.run(name, lambda: members[timed].step(request))
        if isinstance(request, MaskRequest):
            values = update(timed)
            reply = clock.run(name, lambda: members[timed].mask(values, 1))
        assert reply is not None
        return clock.run(name, lambda: encode_message(reply))

    def other(one: bytes, stage: Stage, data: bytes) -> bytes:
        request = decoded.get(data) or decode_request(stage, data)
        if not isinstance(request, MaskRequest):
            decoded[data] = request
        with unverified():
            reply = members[one].step(request)
            if isinstance(request, MaskRequest):
                reply = members[one].mask(update(one), 1)
        assert reply is not None
        return encode_message(reply)

    members = {one: join(key) for one, key in sorted(keys.items())}
    spawn = multiprocessing.get_context("spawn")
    line, far = spawn.Pipe()
    process = spawn.Process(target=office_process, args=(far, n, colluders, dim))
    process.start()
    far.close()
    asked, wire = line.recv(), line.recv()
    for stage in STAGES:
        decoded.clear()
        for one, number in asked:
            if one in lost and stage >= Stage.MASK:
                continue
            if one == timed:
                sent = measured(stage, wire[number])
                upload += len(sent)
            else:
                sent = other(one, stage, wire[number])
            line.send((one, sent))
        line.send(None)
        asked, wire = line.recv(), line.recv()
    office: OfficeFigures = line.recv()
    audit = None
    if in_full(descriptor, n):
        auditors, shown = line.recv()
        checks = Clock()

        def check(one: bytes) -> bytes:
            reply = check_sum(
                decode_audit_request(shown),
                identity=keys[one],
                roster=roster,
                coordinator_key=OFFICE.public,
                transcript=members[one].transcript,
                own_root=members[one].vector_root,
            )
            return encode_message(reply)

        for one in auditors:
            line.send(checks.run("audit", lambda o=one: check(o)))
        audit = (checks.total / len(auditors), line.recv(), len(shown))
    process.join()
    assert office.survivors == n - gone
    assert (office.total == truth).all()
    return RoundFigures(descriptor, clock.spent, office, upload, audit)


# ------------------------------------------------------------------ Flower and OpenSSL


def flower_mask(total: np.ndarray, seeds: Sequence[bytes]) -> np.ndarray:
    """Flower's own generator and its addition of the mask, once for every seed."""
    from flwr.common.secure_aggregation.ndarrays_arithmetic import parameters_addition
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

    parameters = [total]
    for seed in seeds:
        mask = pseudo_rand_gen(seed, 2**32, [total.shape])
        parameters = parameters_addition(parameters, mask)
    return parameters[0]


def openssl(keys: Sequence[bytes], size: int) -> None:
    """The linked OpenSSL's AES-128-CTR key stream, ``size`` bytes for every key."""
    chunk, scratch = memoryview(bytes(m.CHUNK_BYTES)), bytearray(m.CHUNK_BYTES + 16)
    for key in keys:
        stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        for start in range(0, size, m.CHUNK_BYTES):
            stream.update_into(chunk[: size - start], scratch)


def least(works: Mapping[str, Callable[[], object]], times: int) -> dict[str, float]:
    """Least CPU seconds of each, taken in turns."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(times):
        for name, work in works.items():
            clock = Clock()
            clock.run(name, work)
            best[name] = min(best[name], clock.total)
    return best


def kernel_table() -> dict[int, dict[str, float]]:
    """Masks expanded and added; returns CPU seconds of one mask by dimension and generator."""
    print("## Mask kernel: expand and add, GB/s of 32-bit coordinates\n")
    print("| dim | ours | Flower's generator + add | raw OpenSSL AES-128-CTR | of OpenSSL, goal >= "
          "80 % | of Flower, goal >= 5.5x |\n|---|---|---|---|---|---|")  # fmt: skip
    found = {}
    for lanes in (10_000, 100_000, 1_000_000, 10_000_000):
        count = max(1, 1_000_000 // lanes)
        keys = [hashlib.sha256(f"{lanes} {i}".encode()).digest()[:16] for i in range(count)]
        seeds = [hashlib.sha256(key).hexdigest()[:44].encode() for key in keys]
        total, flower = np.zeros(lanes, np.uint32), np.zeros(lanes, np.int64)
        works: dict[str, Callable[[], object]] = {
            "ours": lambda t=total, k=keys: m.add_masks(t, k, []),
            "flower": lambda t=flower, s=seeds: flower_mask(t, s),
            "openssl": lambda k=keys, size=4 * lanes: openssl(k, size),
        }
        best = {name: spent / count for name, spent in least(works, 25).items()}
        found[lanes] = best
        rate = {name: 4e-9 * lanes / spent for name, spent in best.items()}
        of_ssl, of_flower = rate["ours"] / rate["openssl"], rate["ours"] / rate["flower"]
        print(
            f"| {lanes:,} | {rate['ours']:.2f} | {rate['flower']:.2f} | {rate['openssl']:.2f} "
            f"| {of_ssl:.0%}, {verdict(of_ssl >= 0.8)} "
            f"| {of_flower:.1f}x, {verdict(of_flower >= 5.5)} |"
        )
    return found


@dataclass(frozen=True)
class FlowerRound:
    """CPU seconds of Flower's SecAgg+, composed; bytes of one parameter on the wire."""

    member_s: float
    office_s: float
    bytes_each: float


def flower_round(n: int, threshold: int, dim: int, gone: int, mask_s: float) -> FlowerRound:
    """Flower's round on a complete graph, from its own kernels, each measured once or more."""
    from flwr.common import bytes_to_ndarray, ndarray_to_bytes
    from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import (
        decrypt,
        encrypt,
        generate_shared_key,
    )
    from flwr.common.secure_aggregation.ndarrays_arithmetic import (
        parameters_addition,
        parameters_mod,
        parameters_multiply,
    )
    from flwr.common.secure_aggregation.quantization import dequantize, quantize
    from flwr.supercore.primitives.asymmetric import generate_key_pairs

    (own, _), (_, other) = generate_key_pairs(), generate_key_pairs()
    shared = generate_shared_key(own, other)
    shares = create_shares(os.urandom(32), threshold, n)
    plain = bytes(20) + shares[0] * 2
    sealed = encrypt(shared, plain)
    update = [np.random.default_rng(1).uniform(-1, 1, dim)]
    units = quantize(update, 1.0, 2**22)
    masked = [units[0].astype(np.int64)]
    wire = ndarray_to_bytes(masked[0])
    once = {
        "split": lambda: create_shares(os.urandom(32), threshold, n),
        "combine": lambda: combine_shares(shares[: n - gone]),
    }
    often: dict[str, Callable[[], object]] = {
        "pair": generate_key_pairs,
        "exchange": lambda: generate_shared_key(own, other),
        "seal": lambda: encrypt(shared, plain),
        "open": lambda: decrypt(shared, sealed),
        "quantise": lambda: quantize(parameters_multiply(update, 1.0), 1.0, 2**22),
        "mod": lambda: parameters_mod(masked, 2**32),
        "write": lambda: ndarray_to_bytes(masked[0]),
        "read": lambda: bytes_to_ndarray(wire),
        "add": lambda: parameters_addition(masked, masked),
        "finish": lambda: dequantize(masked, 1.0, 2**22),
    }
    s = {**least(once, 1), **least(often, 5), "mask": mask_s}
    near = n - 1
    member = 2 * s["pair"] + 2 * s["split"] + near * (2 * s["exchange"] + s["seal"] + s["open"])
    member += s["quantise"] + n * s["mask"] + s["mod"] + s["write"]
    there = n - gone
    office = there * (s["read"] + s["add"]) + n * s["combine"] + there * s["mask"]
    office += gone * near * (s["exchange"] + s["mask"]) + s["mod"] + s["finish"]
    return FlowerRound(member, office, len(wire) / dim)


# ------------------------------------------------------------------ tables


def rounds_table(most: int, kernels: Mapping[int, Mapping[str, float]]) -> None:
    """One line per setting, then the goals."""
    print("\n## One round: CPU of one member and of the coordinator\n")
    print("| members | k, t | bits, on the wire | dim | gone | member ms | coordinator s "
          "| its peak MB | upload kB |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    found: dict[tuple[int, int], RoundFigures] = {}
    for n, colluders, dim, gone in ROUNDS:
        if n > most:
            continue
        runs = [
            one_round(n, colluders, dim, gone)
            for _ in range(REPEATS if n < 100 else 2 if n == 100 else 1)
        ]
        d = runs[0].descriptor
        member_s = min(run.member_s for run in runs)
        office_s = min(run.office_s for run in runs)
        found[n, gone] = runs[0]
        print(
            f"| {n} | {d.degree}, {d.threshold} | {d.bits}, {d.width} | {dim:,} | {gone} "
            f"| {member_s * 1e3:.1f} | {office_s:.3f} | {runs[0].office.peak_bytes / 1e6:.0f} "
            f"| {runs[0].upload / 1e3:.1f} |",
            flush=True,
        )
    print("\nWhere the time goes, milliseconds of CPU:\n")
    for (n, gone), run in found.items():
        for who, spent in (("member", run.member), ("coordinator", run.office.spent)):
            parts = ", ".join(f"{name} {1e3 * s:.1f}" for name, s in spent.items())
            print(f"- {n} members, {gone} gone, {who}: {parts}")
        if run.audit is not None:
            member_s, office_s, size = run.audit
            print(
                f"- {n} members, audit of the sum: {1e3 * member_s:.1f} for each of "
                f"{run.descriptor.colluders + 1} auditors, who is sent {size / 1e6:.2f} MB; "
                f"{1e3 * office_s:.1f} for the coordinator"
            )
    hundred = flower_round(100, found[100, 0].descriptor.threshold, 1_000_000, 10,
                           kernels[1_000_000]["flower"])  # fmt: skip
    goals(found, hundred)


def goals(found: Mapping[tuple[int, int], RoundFigures], flower: FlowerRound) -> None:
    """The goals of the design beside what was measured."""
    full, tenth = found[100, 0], found[100, 10]
    print("\n## Goals, 1,000,000 coordinates\n")
    print("| what | measured | goal | | Flower's SecAgg+, composed of its kernels, 100 members |\n"
          "|---|---|---|---|---|")  # fmt: skip
    print(
        f"| member CPU, 100 members | {full.member_s * 1e3:.0f} ms | <= 80 ms "
        f"| {verdict(full.member_s <= 0.08)} | {flower.member_s:.2f} s, "
        f"{flower.member_s / full.member_s:.0f}x |"
    )
    print(
        f"| coordinator CPU, 100 members, 10 gone | {tenth.office_s:.2f} s | <= 1.2 s "
        f"| {verdict(tenth.office_s <= 1.2)} | {flower.office_s:.1f} s, "
        f"{flower.office_s / tenth.office_s:.0f}x |"
    )
    if (large := found.get((1000, 100))) is not None:
        peak = large.office.peak_bytes
        print(
            f"| coordinator CPU, 1000 members, 100 gone | {large.office_s:.1f} s | <= 10 s "
            f"| {verdict(large.office_s <= 10)} | |"
        )
        print(f"| its peak memory | {peak / 1e6:.0f} MB | < 1000 MB | {verdict(peak < 1e9)} | |")
    if large is not None:
        wide = large.upload / large.descriptor.dim / flower.bytes_each
        print(
            f"| upload beside Flower's, 1000 members: 32-bit words | {wide:.3f}x | <= 0.42x "
            f"| {verdict(wide <= 0.42)} | |"
        )
    d = full.descriptor
    each, limit = full.upload / d.dim, 1.02 * d.bits / 8 + 100 * d.degree / d.dim
    ratio = each / flower.bytes_each
    print(
        f"| upload, 100 members, bytes a coordinate | {each:.3f} | <= {limit:.3f} "
        f"| {verdict(each <= limit)} | {flower.bytes_each:.2f} |"
    )
    print(f"| upload beside Flower's | {ratio:.3f}x | <= 0.42x | {verdict(ratio <= 0.42)} | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--most-members", type=int, default=1000)
    args = parser.parse_args()
    m.check_primitives()
    rounds_table(max(100, args.most_members), kernel_table())


if __name__ == "__main__":
    main()
