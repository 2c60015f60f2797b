"""A small cooperative in memory for the tests of secure aggregation.

``World`` makes keys, roster, descriptor, members and coordinator from one seed; ``play`` carries
the messages of one attempt, through the codec, with members that vanish where the test says.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols.codec import (
    decode_audit_reply,
    decode_audit_request,
    decode_reply,
    decode_request,
    encode_message,
)
from protocols.errors import Refused
from protocols.secagg import (
    NO_TRANSCRIPT,
    Aggregator,
    AuditReply,
    AuditRequest,
    Demands,
    Expected,
    Member,
    PublishedSum,
    RoundDescriptor,
    RoundResult,
    Stage,
    SumAudit,
    check_sum,
    make_descriptor,
)
from protocols.secagg.messages import MaskedInput, MaskRequest, Reply, Request
from protocols.signing import SigningKey, identity_of

TIMEOUTS = (60, 61, 62, 63, 64, 65)
STAGES = (Stage.ADVERTISE, Stage.SHARE, Stage.MASK, Stage.AGREE, Stage.UNMASK)


class Entropy:
    """Bytes that differ on every call and are the same in every run of a test."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._calls = 0
        self.draws: list[bytes] = []

    def __call__(self, count: int) -> bytes:
        self._calls += 1
        drawn = hashlib.shake_256(f"{self._seed}/{self._calls}".encode()).digest(count)
        self.draws.append(drawn)
        return drawn


class Ledger:
    """The durable set of spent rounds of one member; survives its machines."""

    def __init__(self) -> None:
        self.spent: set[tuple[bytes, int]] = set()

    def __call__(self, run: bytes, round_number: int) -> None:
        if (run, round_number) in self.spent:
            raise Refused(f"round {round_number} is spent.")
        self.spent.add((run, round_number))


def named(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass
class World:
    n: int = 5
    colluders: int = 1
    dim: int = 7
    scale: int = 2**12
    clip: float = 1.0
    w_max: int = 1
    min_cohort: int = 3
    round: int = 0
    attempt: int = 0
    max_dropout: int = 20
    sigma_local: float = 0.0
    prev_transcript: bytes = NO_TRANSCRIPT
    seed: str = "world"
    keys: dict[bytes, SigningKey] = field(init=False)
    ledgers: dict[bytes, Ledger] = field(init=False)
    entropies: dict[bytes, Entropy] = field(init=False, default_factory=dict)
    vectors: dict[bytes, bytes] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        made = [SigningKey(named(f"{self.seed} identity {i}")) for i in range(self.n)]
        self.keys = {bytes.fromhex(identity_of(key.public)): key for key in made}
        self.ledgers = {one: Ledger() for one in self.keys}
        self.coordinator = SigningKey(named(f"{self.seed} coordinator"))

    @property
    def ids(self) -> tuple[bytes, ...]:
        return tuple(sorted(self.keys))

    @property
    def roster(self) -> dict[bytes, bytes]:
        return {one: key.public for one, key in self.keys.items()}

    def descriptor(self, **changes: object) -> RoundDescriptor:
        made = make_descriptor(
            coop=named("coop"),
            run=named(f"{self.seed} run")[:16],
            round=self.round,
            attempt=self.attempt,
            task="train",
            model_hash=named("model"),
            order_hash=named("order"),
            agreement=named("agreement"),
            log_root=named("log"),
            log_size=9,
            task_hash=named("task"),
            roster_hash=named("roster"),
            ids=self.ids,
            colluders=self.colluders,
            min_cohort=self.min_cohort,
            dim=self.dim,
            scale=self.scale,
            clip=self.clip,
            w_max=self.w_max,
            prev_transcript=self.prev_transcript,
            max_dropout=self.max_dropout,
            stage_timeouts_s=TIMEOUTS,
            sigma_local=self.sigma_local,
        )
        return replace(made, **changes) if changes else made

    def demands(self) -> Demands:
        return Demands(self.colluders, self.min_cohort, max(1, self.w_max))

    def expected(self, **changes: object) -> Expected:
        d = self.descriptor()
        made = Expected(
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
            sigma_local=d.sigma_local,
            prev_transcript=d.prev_transcript,
            min_attempt=d.attempt,
        )
        return replace(made, **changes) if changes else made

    def member(self, one: bytes, tag: str = "", **changes: object) -> Member:
        self.entropies[one] = Entropy(f"{self.seed} {one.hex()} {self.round} {self.attempt} {tag}")
        given: dict[str, object] = {
            "identity": self.keys[one],
            "demands": self.demands(),
            "roster": self.roster,
            "coordinator_key": self.coordinator.public,
            "expected": self.expected(),
            "entropy": self.entropies[one],
            "mark_spent": self.ledgers[one],
            "noise": self.noise_of(one),
        }
        return Member(**{**given, **changes})  # type: ignore[arg-type]

    def members(self, tag: str = "") -> dict[bytes, Member]:
        return {one: self.member(one, tag) for one in self.ids}

    def aggregator(self, descriptor: RoundDescriptor | None = None, **given: object) -> Aggregator:
        one = descriptor or self.descriptor()
        return Aggregator(one, self.coordinator, self.roster, **given)  # type: ignore[arg-type]

    def go_on(self, result: RoundResult) -> None:
        """To attempt 0 of the round that follows ``result``."""
        self.round, self.attempt, self.prev_transcript = self.round + 1, 0, result.a3

    def noise_of(self, one: bytes) -> Callable[[float, int], np.ndarray]:
        """This member's share of the noise: whole numbers that the test can make again."""

        def draw(sigma: float, count: int) -> np.ndarray:
            raw = hashlib.shake_256(b"noise" + one).digest(4 * count)
            words = np.frombuffer(raw, dtype="<u4").astype(np.int64)
            return np.asarray(words % (int(6 * sigma) + 1) - int(3 * sigma), dtype=np.int64)

        return draw

    def update(self, one: bytes) -> np.ndarray:
        """A vector of multiples of 1/scale, so that rounding is exact at weight w_max.

        With noise the same as whole units.
        """
        words = np.frombuffer(hashlib.shake_256(one).digest(4 * self.dim), dtype="<u4")
        reach = int(self.scale * self.clip)
        steps = words.astype(np.int64) % (2 * reach + 1) - reach
        if self.sigma_local:
            return np.asarray(steps, dtype=np.int64)
        return (steps / self.scale).astype(np.float32)

    def quantised(self, one: bytes, weight: int) -> list[int]:
        """What the member's machine must have made of its update: slowly, in plain Python."""
        if self.sigma_local:
            noise = self.noise_of(one)(self.sigma_local, self.dim)
            return [int(a) + int(b) for a, b in zip(self.update(one), noise, strict=True)]
        key = next(one for one in reversed(self.entropies[one].draws) if len(one) == 16)
        rounding = aes_ctr(key, 4 * self.dim)
        words = struct.unpack(f"<{self.dim}I", rounding)
        factor = self.scale * weight / self.w_max
        return [
            math.floor(float(x) * factor + word / 2**32)
            for x, word in zip(self.update(one), words, strict=True)
        ]


def aes_ctr(key: bytes, count: int) -> bytes:
    """The PRG by the plain call: the product uses another one for speed."""
    return (
        Cipher(algorithms.AES(key), modes.CTR(bytes(15) + b"\2")).encryptor().update(bytes(count))
    )


Alter = Callable[[Stage, bytes, object], object]


def unchanged(stage: Stage, member: bytes, message: object) -> object:
    return message


def over_the_wire(stage: Stage, message: Request | Reply, peer: str) -> Request | Reply:
    data = encode_message(message)
    if type(message).__name__.endswith("Request"):
        return decode_request(stage, data, peer)
    return decode_reply(stage, data, peer)


def answer(world: World, member: Member, request: Request, weight: int) -> Reply:
    reply = member.step(request)
    if isinstance(request, MaskRequest):
        assert reply is None
        return member.mask(world.update(member.member_id), weight)
    assert reply is not None
    return reply


def confirm(
    world: World, member: bytes, request: AuditRequest, **known: bytes | None
) -> AuditReply:
    """One survivor's answer to a disclosure, through the codec both ways."""
    given = decode_audit_request(encode_message(request))
    reply = check_sum(
        given,
        identity=world.keys[member],
        roster=world.roster,
        coordinator_key=world.coordinator.public,
        **known,
    )
    return decode_audit_reply(encode_message(reply), member.hex())


def certified(
    world: World, result: RoundResult, absent: frozenset[bytes] = frozenset()
) -> PublishedSum:
    """The sum of a finished round with its certificate, confirmed by honest survivors."""
    audit = SumAudit(result, world.roster, world.vectors.__getitem__)
    while not audit.done:
        for one, request in audit.due().items():
            if one not in absent:
                audit.receive(one, confirm(world, one, request))
        audit.lapse()
    return audit.published()


def play(
    world: World,
    members: Mapping[bytes, Member],
    office: Aggregator,
    *,
    gone: Mapping[Stage, frozenset[bytes]] | None = None,
    down: Alter = unchanged,
    up: Alter = unchanged,
    until: Stage = Stage.UNMASK,
    weights: Mapping[bytes, int] | None = None,
    wire: bool = True,
) -> RoundResult | Mapping[bytes, Request]:
    """One attempt; members in ``gone[stage]`` fall silent from that stage on.

    ``down`` and ``up`` alter what travels. Stops before ``until`` is closed when it is earlier than
    the last stage and returns the requests that would be sent next.
    """
    silent: set[bytes] = set()
    out = office.open()
    for stage in STAGES:
        silent |= (gone or {}).get(stage, frozenset())
        for one, request in out.items():
            if one in silent:
                continue
            travelled = over_the_wire(stage, request, "coordinator") if wire else request
            given = down(stage, one, travelled)
            reply = answer(world, members[one], given, (weights or {}).get(one, world.w_max))
            sent = up(stage, one, over_the_wire(stage, reply, one.hex()) if wire else reply)
            if sent is not None:
                office.receive(one, sent)
            if isinstance(sent, MaskedInput):
                world.vectors[one] = sent.vector
        out = office.close_stage()
        if stage is until:
            break
    return office.result() if until is Stage.UNMASK else out
