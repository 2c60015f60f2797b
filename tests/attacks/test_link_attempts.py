"""Attacks 29, 31, 32, 34 and 43: the same keys, the same round, the same words a second time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from attack_coop import ADVERTISE, AGREE, GENERIC, MASK, SHARE, UNMASK, Coop, Scenario
from attack_office import Lie, Said, Wire
from attack_script import Conductor, certificate

from protocols import codec
from protocols.audit.entries import Kind
from protocols.ids import MemberId
from protocols.secagg.messages import MaskRequest, UnmaskReply, bitmap

VICTIMS = ("m1", "m2")
HONEST, COLLUDERS = ("m1", "m2", "m3", "m4", "m5"), ("m6", "m7")
ALL = (*HONEST, *COLLUDERS)
Script = Callable[[Wire, Mapping[MemberId, bytes]], None]


def refused(coop: Coop, lie: Lie, words: str) -> None:
    """The last envelope of a lie got no answer, and the victims know why."""
    for member in lie.members:
        told = [one for one in lie.told if one.member == member]
        assert told[-1].reply is None and told[-1].problem == GENERIC
        assert all(one.reply is not None for one in told[:-1])
        (reason,) = lie.refused[member]
        assert words in reason, (coop.name_of(member), reason)


def test_29_a_second_masked_vector_under_the_same_keys(coop: Coop) -> None:
    """The same request again, in a message of its own; and a smaller U2 after the first."""

    def fewer(request: MaskRequest, me: bytes) -> MaskRequest:
        last = max(one.peer for one in request.shares)
        ids = coop.course_ids()
        keep = [one for one in ids if one != last]
        shares = tuple(one for one in request.shares if one.peer != last)
        return replace(request, cohort=bitmap(keep, ids), shares=shares)

    same = Lie(MASK, coop.ids(["m1"]), lambda envelope, me: [envelope, envelope], round=1)
    less = Lie(
        MASK,
        coop.ids(["m2"]),
        lambda envelope, me: [
            envelope,
            coop.malice.with_request(envelope, lambda request: fewer(request, me)),
        ],
        round=2,
    )
    scenario = coop.play(same, less, rounds=2)
    refused(coop, same, "while this member was masked")
    refused(coop, less, "while this member was masked")
    assert scenario.rounds() == [set(ALL) - {"m1"}, set(ALL) - {"m2"}, set(ALL)]


def test_29_keys_and_shares_asked_for_twice(coop: Coop) -> None:
    keys = Lie(ADVERTISE, coop.ids(["m1"]), lambda envelope, me: [envelope, envelope], round=1)
    scenario = coop.play(keys)
    refused(coop, keys, "attempt 0 of round 1 is over")
    shares = Lie(SHARE, coop.ids(["m1"]), lambda envelope, me: [envelope, envelope], round=1)
    again = coop.play(shares)
    refused(coop, shares, "while this member was")
    for one in (scenario, again):
        assert one.rounds()[0] == set(ALL) - {"m1"}


def test_31_stage_0_of_an_earlier_attempt_byte_for_byte(coop: Coop) -> None:
    kept: dict[bytes, bytes] = {}

    def keep(envelope: bytes, me: bytes) -> None:
        kept[me] = envelope  # nobody is asked, so the attempt fails

    first = Lie(ADVERTISE, coop.ids(), keep, attempt=0)
    second = Lie(ADVERTISE, coop.ids(), lambda e, me: [e, kept[me]], attempt=1)
    scenario = coop.play(first, second)
    refused(coop, second, "attempt 0 of round 1 is over")
    assert scenario.rounds() == [set(ALL)] * 2


@pytest.fixture(scope="module")
def earlier(coop: Coop) -> list[Said]:
    """Everything that went over the link in a run that is over."""
    return list(coop.play().said)


def test_31_everything_of_an_earlier_run(coop: Coop, earlier: list[Said]) -> None:
    """Every message of a finished run comes again, byte for byte, in the next one."""
    kept: dict[MemberId, list[bytes]] = {}
    for one in earlier:
        kept.setdefault(one.member, []).append(one.asked)
    replay = Lie(
        MASK,
        coop.ids(VICTIMS),
        lambda envelope, me: [*kept[MemberId(me.hex())], envelope],
        round=1,
    )
    scenario = coop.play(replay)
    for member in coop.ids(VICTIMS):
        told = [one for one in replay.told if one.member == member]
        assert [one.reply is None for one in told] == [True] * len(kept[member]) + [False]
        assert all(one.problem == GENERIC for one in told[:-1])
    assert scenario.rounds() == [set(ALL)] * 2  # it cost nobody its round


def test_31_messages_of_an_earlier_run_in_an_envelope_of_this_one(coop: Coop) -> None:
    """The bodies of the run before, sealed again for this run."""
    earlier = coop.play()
    asked = {(one.member, one.stage): one.asked for one in reversed(earlier.said) if one.round == 1}

    def again(stage: Any) -> Lie:
        def edit(envelope: bytes, me: bytes) -> bytes:
            old = asked[MemberId(me.hex()), stage]
            return coop.malice.sealed(envelope, body=codec.peek_envelope(old).body)

        return Lie(stage, coop.ids(HONEST), edit, round=1)

    lies = {ADVERTISE: again(ADVERTISE), SHARE: again(SHARE), MASK: again(MASK)}
    scenario = coop.play(*lies.values())
    refused(coop, lies[ADVERTISE], "run of the round")
    refused(coop, lies[SHARE], "own keys")
    refused(coop, lies[MASK], "does not open")
    assert scenario.rounds() == [set(ALL)] * 2


# ----------------------------------------------------------------- spent rounds


def spends(coop: Coop, script: Script) -> Scenario:
    scenario = coop.play(coop.takes_over(ADVERTISE, script))
    assert scenario.ended() == "failed"
    assert "was spent and cannot be finished" in scenario.detail()
    return scenario


def marked(coop: Coop, scenario: Scenario, name: str) -> int:
    """How often a member wrote down that it signs for round 1."""
    journal = coop.shops[name].journal(Kind.SPENT)
    return sum(one["run"] == scenario.run and one["round"] == 1 for one in journal)


def test_32_a_second_signature_in_another_attempt(coop: Coop) -> None:
    """The office throws the first signatures away and asks for others: another U3, the same U3."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        one.until(AGREE)
        assert len(one.collect(one.over(*ALL), *ALL)) == 7
        one.refuses(AGREE, {coop.raw("m1")[0]: one.over(*ALL[:6])}, "while this member was")
        again = Conductor(coop, wire, envelopes, attempt=1)
        again.until(AGREE)
        asked = dict.fromkeys(coop.raw(*HONEST), again.over(*ALL))
        again.refuses(AGREE, asked, "was spent before")

    scenario = spends(coop, script)
    assert [marked(coop, scenario, name) for name in ALL] == [1] * 7
    assert scenario.answers(UNMASK) == []


def test_32_a_second_signature_after_a_restart(coop: Coop) -> None:
    """The mark is on the disk: new processes with new keys refuse as well."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        one.until(AGREE)
        assert len(one.collect(one.over(*ALL), *ALL)) == 7
        for name in VICTIMS:
            coop.shops[name].restart()
        again = Conductor(coop, wire, envelopes, attempt=1)
        again.until(AGREE)
        asked = dict.fromkeys(coop.raw(*VICTIMS), again.over(*ALL))
        again.refuses(AGREE, asked, "was spent before")

    scenario = spends(coop, script)
    assert [marked(coop, scenario, name) for name in VICTIMS] == [1, 1]


def test_43_the_certificate_shown_to_a_part_then_a_new_attempt_with_the_rest(coop: Coop) -> None:
    """t - C honest members and the colluders open attempt 0; the others are to go on without."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        one.until(AGREE)
        proof = certificate(one.collect(one.over(*ALL), *ALL))
        opened = one.ask(UNMASK, dict.fromkeys(coop.raw(*VICTIMS, *COLLUDERS), proof))
        assert len(opened) == one.descriptor.threshold
        again = Conductor(coop, wire, envelopes, attempt=1)
        again.until(AGREE)
        asked = dict.fromkeys(coop.raw(*HONEST), again.over(*ALL[2:]))
        again.refuses(
            AGREE,
            {one: asked[one] for one in coop.raw(*HONEST[2:])},
            "agreed over other survivors",
        )

    scenario = spends(coop, script)
    opened = {(one.member, one.attempt) for one in scenario.answers(UNMASK, HONEST)}
    assert opened == {(coop.id(name), 0) for name in VICTIMS}


def test_34_a_late_vector_of_an_excluded_member(coop: Coop) -> None:
    """Its vector is there, but late: its seed is opened, its own mask never."""
    late = "m1"

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        one.until(AGREE, gone={MASK: (late,)})
        shown = one.over(*ALL[1:])
        one.refuses(AGREE, {coop.raw(late)[0]: shown}, "does not hold this member")
        proof = certificate(one.collect(shown, *ALL[1:]))
        one.refuses(UNMASK, {coop.raw(late)[0]: proof}, "no part in the attempt")
        for reply in one.ask(UNMASK, dict.fromkeys(coop.raw(*ALL[1:]), proof)).values():
            assert isinstance(reply, UnmaskReply)
            assert coop.raw(late)[0] not in [share.owner for share in reply.own_shares]
            assert [share.owner for share in reply.seed_shares] == list(coop.raw(late))

    spends(coop, script)
