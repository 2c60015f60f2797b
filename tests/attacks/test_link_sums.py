"""Attacks 8 and 44-48 after a round: what a member may be told about the sum, and about the log.

The victims fetch their sums from an office that changes them on the way. They believe none of it,
stay out of the rounds that stand on it, and follow again when they are told the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from attack_coop import Coop, Scenario

from protocols.ids import MemberId
from protocols.retrace import read_record, record_bytes
from protocols.secagg.published import PublishedSum

VICTIMS = ("m2", "m5")
HONEST, COLLUDERS = ("m1", "m2", "m3", "m4", "m5"), ("m6", "m7")
ALL = (*HONEST, *COLLUDERS)
Change = Callable[[Coop, PublishedSum], PublishedSum]


def false_sum(
    coop: Coop, change: Callable[[bytes, MemberId], bytes], *names: str, rounds: int = 1
) -> Scenario:
    """A run in which these members fetch other bytes of round 1, and learn the truth at the end."""
    victims = coop.ids(names)

    def fetched(member: MemberId, kind: str, run: str, name: str, raw: bytes) -> bytes:
        if kind == "round" and name == "0001" and member in victims:
            return change(raw, member)
        return raw

    coop.malice.forget()
    coop.malice.fetched = fetched
    scenario = coop.launch(rounds)
    scenario.ended()
    return scenario


def published(change: Change) -> Callable[[Coop], Callable[[bytes, MemberId], bytes]]:
    def bind(coop: Coop) -> Callable[[bytes, MemberId], bytes]:
        def on_the_way(raw: bytes, member: MemberId) -> bytes:
            record = read_record(raw, "record")
            return record_bytes(replace(record, published=change(coop, record.published)))

        return on_the_way

    return bind


def stayed_out(scenario: Scenario, words: str, *names: str) -> None:
    """The victims were in round 1, refused, and are in no sum after it; the others went on."""
    coop = scenario.coop
    first, *later = scenario.rounds()
    assert first == set(ALL)
    assert later and all(one == set(ALL) - set(names) for one in later)
    for name in names:
        reasons = scenario.refusals(name)
        assert reasons and words in reasons[0], (name, reasons)
    for name in set(ALL) - set(names):
        assert scenario.refusals(name) == [], coop.id(name)
    assert scenario.ended() in ("released", "refused")


def moved(coop: Coop, one: PublishedSum) -> PublishedSum:
    total = one.total.copy()
    total[int(np.argmax(total))] += 1
    return replace(one, total=total)
