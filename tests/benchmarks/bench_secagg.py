"""Secure aggregation: CPU of one member and of the coordinator, and the mask kernel.

    python tests/benchmarks/bench_secagg.py

Prints a table; times are CPU milliseconds of one round without training or network, the least of
``REPEATS`` rounds. The kernel is compared with the linked OpenSSL's raw AES-128-CTR in the same,
interleaved run.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols.codec import decode_reply, decode_request, encode_message
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
from protocols.secagg.messages import MaskRequest
from protocols.signing import SigningKey, identity_of

REPEATS = 3
ROUNDS = [  # members, colluders, dimension, members that vanish after stage 1
    (8, 1, 10_000, 0),
    (8, 1, 10_000, 1),
    (30, 5, 100_000, 0),
    (30, 5, 100_000, 3),
    (100, 20, 1_000_000, 0),
    (100, 20, 1_000_000, 10),
]
SCALE = 2**15
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


def setting(n: int, colluders: int, dim: int) -> tuple[RoundDescriptor, dict[bytes, SigningKey]]:
    """A descriptor and the keys of its members."""
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
        task_hash=blank,
        roster_hash=blank,
        ids=tuple(keys),
        colluders=colluders,
        min_cohort=5,
        dim=dim,
        scale=SCALE,
        clip=1.0,
        w_max=1,
        stage_timeout_s=60,
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
    )


def one_round(n: int, colluders: int, dim: int, gone: int) -> tuple[float, float, int]:
    """CPU seconds of the first member and of the coordinator, and the member's upload in bytes.

    Members other than the first are not timed. Encoding and decoding are included on both sides.
    """
    descriptor, keys = setting(n, colluders, dim)
    roster = {one: key.public for one, key in keys.items()}
    office_key = SigningKey(hashlib.sha256(b"office").digest())
    clock = Clock()

    def join(key: SigningKey) -> Member:
        return Member(
            identity=key,
            demands=Demands(colluders, 3, 1),
            roster=roster,
            coordinator_key=office_key.public,
            expected=expected(descriptor),
            entropy=os.urandom,
            mark_spent=lambda run, number: None,
        )

    members = {one: join(key) for one, key in sorted(keys.items())}
    timed, lost = descriptor.ids[0], set(descriptor.ids[n - gone :])
    rng = np.random.default_rng(7)
    updates = {one: rng.uniform(-1, 1, dim).astype(np.float32) for one in members}

    def answer(one: bytes, stage: Stage, data: bytes) -> bytes:
        request = decode_request(stage, data)
        reply = members[one].step(request)
        if isinstance(request, MaskRequest):
            reply = members[one].mask(updates[one], 1)
        assert reply is not None
        return encode_message(reply)

    def take(stage: Stage, one: bytes, data: bytes) -> None:
        office.receive(one, decode_reply(stage, data, one.hex()))

    office = Aggregator(descriptor, office_key, roster)
    upload = 0
    out = clock.run("office", office.open)
    for stage in (Stage.ADVERTISE, Stage.SHARE, Stage.MASK, Stage.AGREE, Stage.UNMASK):
        cache: dict[int, bytes] = {}  # the same request for all is encoded once
        for one, request in out.items():
            if one in lost and stage >= Stage.MASK:
                continue
            if id(request) not in cache:
                cache[id(request)] = clock.run("office", lambda r=request: encode_message(r))
            data = cache[id(request)]
            name = "member" if one == timed else "others"
            sent = clock.run(name, lambda o=one, s=stage, d=data: answer(o, s, d))
            upload += len(sent) if one == timed else 0
            clock.run("office", lambda o=one, s=stage, d=sent: take(s, o, d))
        out = clock.run("office", office.close_stage)
    assert len(office.result().u3) == n - gone
    return clock.spent["member"], clock.spent["office"], upload


def rounds_table() -> None:
    """Prints one line per setting."""
    print(f"{'n':>4} {'C':>3} {'dim':>9} {'gone':>4} {'member ms':>10} {'office ms':>10} "
          f"{'upload kB':>10} {'of 64 bit':>9}")  # fmt: skip
    for n, colluders, dim, gone in ROUNDS:
        times = [one_round(n, colluders, dim, gone) for _ in range(REPEATS if n < 100 else 1)]
        member, office, upload = (min(column) for column in zip(*times, strict=True))
        print(
            f"{n:>4} {colluders:>3} {dim:>9} {gone:>4} {member * 1e3:>10.1f} "
            f"{office * 1e3:>10.1f} {upload / 1e3:>10.1f} {upload / (8 * dim):>9.0%}"
        )


def kernel_table() -> None:
    """Masks expanded and added per second, beside OpenSSL's CTR stream alone."""
    print(f"\n{'lanes':>9} {'kernel GB/s':>12} {'raw CTR GB/s':>13} {'ratio':>6}")
    chunk = bytes(m.CHUNK_BYTES)
    scratch = bytearray(m.CHUNK_BYTES + 16)
    for lanes in (10_000, 100_000, 1_000_000, 10_000_000):
        count = max(1, 20_000_000 // lanes)
        keys = [hashlib.sha256(str(i).encode()).digest()[:16] for i in range(count)]
        total = np.zeros(lanes, dtype=np.uint32)

        def raw(keys: list[bytes] = keys, lanes: int = lanes) -> None:
            for key in keys:
                stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
                left = 4 * lanes
                while left:
                    part = min(left, len(chunk))
                    stream.update_into(memoryview(chunk)[:part], scratch)
                    left -= part

        works: Mapping[str, Callable[[], None]] = {
            "kernel": lambda k=keys, t=total: m.add_masks(t, k, []),
            "raw": raw,
        }
        best = dict.fromkeys(works, float("inf"))
        for _ in range(2 * REPEATS):
            for name, work in works.items():
                clock = Clock()
                clock.run(name, work)
                best[name] = min(best[name], clock.spent[name])
        rate = {name: 4e-9 * lanes * count / spent for name, spent in best.items()}
        print(f"{lanes:>9} {rate['kernel']:>12.1f} {rate['raw']:>13.1f} "
              f"{rate['kernel'] / rate['raw']:>6.2f}")  # fmt: skip


if __name__ == "__main__":
    m.check_primitives()
    rounds_table()
    kernel_table()
