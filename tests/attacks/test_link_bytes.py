"""Attacks 36, 39 and 40: bytes that are no message, too large, cut, or written in two ways."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from attack_coop import ADVERTISE, GENERIC, MASK, SHARE, Coop, Scenario
from attack_office import Lie, Wire

from protocols import codec
from protocols.chunks import MAX_BODY_BYTES
from protocols.ids import MemberId
from protocols.secagg.messages import Stage
from protocols.signing import SigningKey

HONEST = ("m1", "m2", "m3", "m4", "m5")
Make = Callable[[Coop, bytes], bytes]


def field(tag: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field of a tag below 16, payload below 128 bytes."""
    return bytes([tag << 3 | 2, len(payload)]) + payload


def sealed(**changes: Any) -> Make:
    return lambda coop, envelope: coop.malice.sealed(envelope, **changes)


def with_body(change: Callable[[bytes], bytes]) -> Make:
    def make(coop: Coop, envelope: bytes) -> bytes:
        return coop.malice.sealed(envelope, body=change(codec.peek_envelope(envelope).body))

    return make


def by_a_stranger(coop: Coop, envelope: bytes) -> bytes:
    found = codec.peek_envelope(envelope)
    return codec.seal(
        key=SigningKey(bytes(32)),
        sender=codec.COORDINATOR,
        run=found.run,
        round=found.round,
        attempt=found.attempt,
        stage=found.stage,
        agreement=found.agreement,
        body=found.body,
    )


def bit(coop: Coop, envelope: bytes) -> bytes:
    raw = bytearray(envelope)
    raw[len(raw) // 2] ^= 4
    return bytes(raw)


NOISE = random.Random(36).randbytes(3000)
# nobody signed these in this run's name: they are thrown away, and cost the member nothing
FOREIGN: Mapping[str, Make] = {
    "nothing": lambda coop, envelope: b"",
    "noise": lambda coop, envelope: NOISE,
    "zeros": lambda coop, envelope: bytes(500),
    "cut": lambda coop, envelope: envelope[:-1],
    "halved": lambda coop, envelope: envelope[: len(envelope) // 2],
    "longer": lambda coop, envelope: envelope + b"\0",
    "a field twice": lambda coop, envelope: envelope + field(2, bytes(16)),
    "an unknown field": lambda coop, envelope: envelope + field(15, b"x"),
    "a bit": bit,
    "by a stranger": by_a_stranger,
    "of another run": sealed(run=bytes(16)),
    "of another agreement": sealed(agreement=bytes(32)),
    "of a stage that does not exist": sealed(stage=77),
}
# the coordinator signed these: the member leaves the attempt
SIGNED: Mapping[str, Make] = {
    "no body": with_body(lambda body: b""),
    "a body of noise": with_body(lambda body: NOISE),
    "a body that is cut": with_body(lambda body: body[:-1]),
    "a body with more behind it": with_body(lambda body: body + field(15, b"x")),
    "a body with a field twice": with_body(lambda body: body + body[: 2 + body[1]]),
    "a body that is far too large": with_body(lambda body: body + bytes(2**20)),
    "the body of another stage": sealed(stage=SHARE),
    "a stage without requests": sealed(stage=Stage.PUBLISH),
    "a round far away": sealed(round=2**31),
    "another attempt": sealed(attempt=38),
}


@dataclass
class Campaign:
    scenario: Scenario
    foreign: Lie
    signed: dict[str, Lie]


@pytest.fixture(scope="module")
def campaign(coop: Coop) -> Campaign:
    """Round 1: everything foreign in front of the honest message. Round 2: one lie an attempt."""
    foreign = Lie(
        MASK,
        coop.ids(HONEST),
        lambda envelope, me: [*(make(coop, envelope) for make in FOREIGN.values()), envelope],
        round=1,
    )
    signed = {name: told(coop, make) for name, make in SIGNED.items()}
    scenario = coop.play(foreign, *signed.values(), rounds=2)
    return Campaign(scenario, foreign, signed)


def told(coop: Coop, make: Make) -> Lie:
    return Lie(MASK, coop.ids(HONEST), lambda envelope, me: make(coop, envelope), round=2)


@pytest.mark.parametrize("name", FOREIGN)
def test_36_bytes_that_nobody_signed_for_this_run(campaign: Campaign, name: str) -> None:
    coop, at = campaign.scenario.coop, list(FOREIGN).index(name)
    for member in coop.ids(HONEST):
        answers = [one for one in campaign.foreign.told if one.member == member]
        assert answers[at].reply is None and answers[at].problem == GENERIC
        assert answers[-1].reply is not None  # the honest one, after all of them


@pytest.mark.parametrize("name", SIGNED)
def test_36_messages_that_the_coordinator_signed(campaign: Campaign, name: str) -> None:
    lie, coop = campaign.signed[name], campaign.scenario.coop
    assert {one.member for one in lie.told} == coop.ids(HONEST)
    assert all(one.reply is None and one.problem == GENERIC for one in lie.told)
    for reasons in lie.refused.values():
        assert len(reasons) == 1


def test_the_run_goes_on_after_all_of_them(campaign: Campaign) -> None:
    assert campaign.scenario.rounds() == [set(campaign.scenario.coop.names)] * 3


def test_36_an_envelope_that_is_far_too_large(coop: Coop) -> None:
    """Its first part says so: the member hangs up, comes back, and is in the round."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        victim = coop.id("m1")
        since = len(coop.shops["m1"].lines.events)
        (said,) = wire.send({victim: bytes(MAX_BODY_BYTES + 1)}, timeout_s=0.3)
        assert said.reply is None
        waiting = coop.shops["m1"].lines.wait(lambda one: one["event"] == "waiting", since)
        assert "bytes" in waiting["problem"]
        coop.shops["m1"].lines.wait(lambda one: one["event"] == "connected", since)

    scenario = coop.play(coop.takes_over(ADVERTISE, script))
    assert scenario.rounds() == [set(coop.names)] * 2
