"""Attacks 22-28, 30, 35 and 39: survivors, certificates, and stages out of order.

In the first run each round tells two members one lie, after their masked vectors are in: they
refuse, open nothing, and the round closes without their help. The rest are scripts: a split view
of the survivors spends the round, so the run ends there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from attack_coop import ADVERTISE, AGREE, GENERIC, MASK, SHARE, UNMASK, Coop, Scenario
from attack_office import Lie, Wire
from attack_script import Conductor, certificate

from node.store.rounds import SurvivorSets
from protocols.ids import MemberId
from protocols.secagg.messages import (
    AgreementSignature,
    AgreeRequest,
    Request,
    Stage,
    UnmaskReply,
    UnmaskRequest,
    bitmap,
)

VICTIMS = ("m1", "m2")
HONEST, COLLUDERS = ("m1", "m2", "m3", "m4", "m5"), ("m6", "m7")
ALL = (*HONEST, *COLLUDERS)
Edit = Callable[[Coop, Any, bytes], Any]
Signatures = tuple[AgreementSignature, ...]


def survivors(*names: str, me: bool = True) -> Edit:
    """These members and the receiver, or these members without it."""

    def edit(coop: Coop, request: AgreeRequest, victim: bytes) -> AgreeRequest:
        chosen = {one for one in coop.raw(*names) if one != victim}
        shown = bitmap(chosen | ({victim} if me else set()), coop.course_ids())
        return replace(request, survivors=shown)

    return edit


def bits(value: bytes) -> Edit:
    return lambda coop, request, me: replace(request, survivors=value)


def signatures(change: Callable[[Coop, Signatures], Any]) -> Edit:
    def edit(coop: Coop, request: UnmaskRequest, me: bytes) -> UnmaskRequest:
        return replace(request, certificate=tuple(change(coop, request.certificate)))

    return edit


def forged(coop: Coop, found: Signatures) -> Any:
    return (*found[:-1], replace(found[-1], signature=bytes(64)))


def by_the_coordinator(coop: Coop, found: Signatures) -> Any:
    assert coop.malice.key is not None
    signature = coop.malice.key.sign("SAQ1 A3", b"x" * 32)
    return (replace(found[0], signature=signature), *found[1:])


def renamed(coop: Coop, found: Signatures) -> Any:
    """The signature of one under the name of the next."""
    return (*found[:-1], replace(found[-1], signature=found[-2].signature))


def outsider(coop: Coop, found: Signatures) -> Any:
    """Somebody with a certificate of the cooperative who is not in the round."""
    return (*found[:4], AgreementSignature(b"\xff" * 32, found[4].signature))


LIES: dict[str, tuple[Stage, Edit, str]] = {
    "22 the victim alone": (AGREE, survivors(), "U3 has 1 members, at least 5"),
    "22 the victim and colluders": (AGREE, survivors(*COLLUDERS), "U3 has 3 members, at least 5"),
    "22 one too few": (AGREE, survivors("m3", *COLLUDERS), "U3 has 4 members, at least 5"),
    "23 without the receiver": (AGREE, survivors(*ALL, me=False), "does not hold this member"),
    "39 too long": (AGREE, bits(b"\x7f\x00"), "a bitmap over 7 members"),
    "39 a member that does not exist": (AGREE, bits(b"\xff"), "members that do not exist"),
    "39 nobody": (AGREE, bits(b"\x00"), "does not hold this member"),
    "26 forged": (UNMASK, signatures(forged), "does not verify"),
    "26 by the coordinator": (UNMASK, signatures(by_the_coordinator), "does not verify"),
    "26 under another name": (UNMASK, signatures(renamed), "does not verify"),
    "27 too few": (UNMASK, signatures(lambda coop, c: c[:4]), "has 4 signatures, 5 are needed"),
    "27 one five times": (UNMASK, signatures(lambda coop, c: [c[0]] * 5), "not ascending"),
    "27 one twice": (UNMASK, signatures(lambda coop, c: [c[0], *c[:4]]), "not ascending"),
    "28 of somebody outside": (UNMASK, signatures(outsider), "outside U3"),
}


@dataclass
class Campaign:
    scenario: Scenario
    lies: dict[str, Lie]
    earlier: Lie
    second: Lie


@pytest.fixture(scope="module")
def campaign(coop: Coop) -> Campaign:
    def told(number: int, stage: Stage, edit: Edit) -> Lie:
        return coop.lie(stage, lambda one, me: edit(coop, one, me), VICTIMS, round=number)

    lies = {
        name: told(number, stage, edit)
        for number, (name, (stage, edit, _)) in enumerate(LIES.items(), start=1)
    }
    kept: dict[bytes, Signatures] = {}

    def keep(request: UnmaskRequest, me: bytes) -> UnmaskRequest:
        kept[me] = request.certificate
        return request

    def of_earlier(request: UnmaskRequest, me: bytes) -> UnmaskRequest:
        return replace(request, certificate=kept[me])

    def then_fewer(envelope: bytes, me: bytes) -> list[bytes]:
        """The honest request, the same again, and another certificate that is as good."""
        other = coop.malice.with_request(
            envelope, lambda request: replace(request, certificate=request.certificate[:5])
        )
        return [envelope, envelope, other]

    last = len(lies)
    keeping = coop.lie(UNMASK, keep, VICTIMS, round=last + 1)
    earlier = coop.lie(UNMASK, of_earlier, VICTIMS, round=last + 2)
    second = Lie(UNMASK, coop.ids(VICTIMS), then_fewer, round=last + 3)
    scenario = coop.play(*lies.values(), keeping, earlier, second, rounds=last + 3)
    return Campaign(scenario, lies, earlier, second)


def refused(coop: Coop, lie: Lie, words: str) -> None:
    assert {one.member for one in lie.told} == coop.ids(VICTIMS)
    assert lie.replies() == []
    assert all(one.problem == GENERIC for one in lie.told)
    for member, reasons in lie.refused.items():
        assert len(reasons) == 1, (coop.name_of(member), reasons)
        assert words in reasons[0]


def numbered(number: str) -> list[str]:
    return [name for name in LIES if name.startswith(number)]


@pytest.mark.parametrize("name", numbered("22"))
def test_22_survivors_are_the_victim_alone(coop: Coop, campaign: Campaign, name: str) -> None:
    refused(coop, campaign.lies[name], LIES[name][2])


@pytest.mark.parametrize("name", numbered("23"))
def test_23_survivors_without_the_receiver(coop: Coop, campaign: Campaign, name: str) -> None:
    refused(coop, campaign.lies[name], LIES[name][2])


@pytest.mark.parametrize("name", numbered("26"))
def test_26_forged_certificates(coop: Coop, campaign: Campaign, name: str) -> None:
    refused(coop, campaign.lies[name], LIES[name][2])


@pytest.mark.parametrize("name", numbered("27"))
def test_27_too_few_signatures(coop: Coop, campaign: Campaign, name: str) -> None:
    refused(coop, campaign.lies[name], LIES[name][2])


@pytest.mark.parametrize("name", numbered("28"))
def test_28_signatures_of_strangers(coop: Coop, campaign: Campaign, name: str) -> None:
    refused(coop, campaign.lies[name], LIES[name][2])


def test_28_signatures_of_another_round(coop: Coop, campaign: Campaign) -> None:
    refused(coop, campaign.earlier, "does not verify")


@pytest.mark.parametrize("name", numbered("39"))
def test_39_malformed_bitmaps_of_u3(coop: Coop, campaign: Campaign, name: str) -> None:
    refused(coop, campaign.lies[name], LIES[name][2])


def test_30_a_second_unmasking(coop: Coop, campaign: Campaign) -> None:
    """The same request again gets the same bytes; any other one gets nothing."""
    for member in coop.ids(VICTIMS):
        first, again, other = [one for one in campaign.second.told if one.member == member]
        assert first.reply is not None and again.reply is not None
        assert first.answer() == again.answer()
        assert other.reply is None and other.problem == GENERIC
        (reason,) = campaign.second.refused[member]
        assert "while this member was done" in reason


def test_nobody_was_left_out_of_a_sum_and_the_run_went_on(coop: Coop, campaign: Campaign) -> None:
    scenario = campaign.scenario
    assert scenario.ended() in ("released", "refused")
    assert scenario.rounds() == [set(ALL)] * (len(LIES) + 4)


def test_46_what_was_only_shown_is_not_remembered(coop: Coop, campaign: Campaign) -> None:
    """Sets that the victims refused are no sets of the run: else an office could make up a past."""
    everybody = frozenset(coop.ids())
    for name in VICTIMS:
        with coop.shops[name].member.database.read() as db:
            for number in range(1, len(LIES) + 1):
                assert SurvivorSets(db).get(campaign.scenario.run, number) == everybody


def test_30_never_both_shares_of_one_member(campaign: Campaign) -> None:
    for one in campaign.scenario.answers(UNMASK):
        reply = one.answer()
        assert isinstance(reply, UnmaskReply)
        owners = [share.owner for share in (*reply.own_shares, *reply.seed_shares)]
        assert len(owners) == len(set(owners)) == 7


# ---------------------------------------------------------------- scripts of their own


def spends(coop: Coop, script: Callable[[Wire, Mapping[MemberId, bytes]], None]) -> Scenario:
    """The script has members sign; the honest attempt after it finds the round spent."""
    scenario = coop.play(coop.takes_over(ADVERTISE, script))
    assert scenario.ended() == "failed"
    assert "was spent and cannot be finished" in scenario.detail()
    assert scenario.rounds() == []
    return scenario


def test_24_a_split_view_of_the_survivors(coop: Coop) -> None:
    """Half of them see U3 without m7, the others without m1: neither view gets a quorum."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        one.until(AGREE)
        for shown, over in ((ALL[:4], ALL[:6]), (ALL[4:], ALL[1:])):
            request = one.over(*over)
            signed = one.collect(request, *shown)
            assert len(signed) == len(shown)
            asked = dict.fromkeys(coop.raw(*shown), certificate(signed))
            one.refuses(UNMASK, asked, "5 are needed")

    assert spends(coop, script).answers(UNMASK) == []


def test_25_a_split_view_with_colluders_that_sign_both(coop: Coop) -> None:
    """One view gets three honest members and its quorum, the other two and none."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        one.until(AGREE)
        views = (
            (("m1", "m2", "m3"), ("m1", "m2", "m3", "m4", *COLLUDERS)),
            (("m4", "m5"), ("m2", "m3", "m4", "m5", *COLLUDERS)),
        )
        for shown, over in views:
            request = one.over(*over)
            signed = [*one.collect(request, *shown), *one.sign(request, *COLLUDERS)]
            asked = dict.fromkeys(coop.raw(*shown), certificate(signed))
            if len(shown) == 3:
                assert len(one.ask(UNMASK, asked)) == 3
            else:
                one.refuses(UNMASK, asked, "5 are needed")

    scenario = spends(coop, script)
    released = {coop.name_of(one.member) for one in scenario.answers(UNMASK)}
    assert released == {"m1", "m2", "m3"}  # three shares: one too few to open anything


def test_26_a_certificate_on_another_set(coop: Coop) -> None:
    """Colluders and those who were shown another U3 sign it; it is not the victim's."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        one.until(AGREE)
        mine, other = one.over(*ALL), one.over(*ALL[1:])
        assert len(one.collect(mine, "m2")) == 1
        signed = [*one.collect(other, "m3", "m4", "m5"), *one.sign(other, *COLLUDERS)]
        one.refuses(UNMASK, {coop.raw("m2")[0]: certificate(signed)}, "does not verify")

    assert spends(coop, script).answers(UNMASK) == []


def test_survivors_that_sent_no_shares(coop: Coop) -> None:
    """U3 names a member that was not in U2, whose pair masks nobody took."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        one.until(AGREE, gone={SHARE: ("m7",)})
        one.refuses(AGREE, dict.fromkeys(coop.raw(*HONEST), one.over(*ALL)), "not in U2")

    scenario = coop.play(coop.takes_over(ADVERTISE, script))
    assert scenario.rounds() == [set(ALL)] * 2  # nobody signed, so the round is not spent


def test_35_stages_out_of_order(coop: Coop) -> None:
    """In every state, every request that is not the next one; all of the right attempt."""
    order = [ADVERTISE, SHARE, MASK, AGREE, UNMASK]

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        first = Conductor(coop, wire, envelopes)
        first.until(AGREE)
        known: dict[Stage, Request] = {
            SHARE: next(iter(first.sent[SHARE].values())),
            MASK: next(iter(first.sent[MASK].values())),
            AGREE: first.over(*ALL[:6]),  # the honest one again would be a repeat
            UNMASK: certificate(first.sign(first.over(*ALL), *ALL[:5])),
        }
        for attempt, expected in enumerate(order, start=1):
            one = Conductor(coop, wire, envelopes, attempt=attempt)
            own = one.requests
            known[ADVERTISE] = next(iter(own.values()))
            one.until(expected)
            wrong = [stage for stage in order if stage not in (expected, ADVERTISE)]
            if expected is ADVERTISE:  # no machine stands yet in this attempt
                for victim, stage in zip(HONEST, wrong, strict=False):
                    _says_no(one, victim, stage, known[stage])
                continue
            for victim, stage in zip(HONEST, [*wrong, ADVERTISE], strict=False):
                _says_no(one, victim, stage, known[stage])

    scenario = coop.play(coop.takes_over(ADVERTISE, script))
    assert scenario.ended() == "failed"  # the last state was reached by signing, which spends it
    assert scenario.answers(UNMASK) == []


def _says_no(one: Conductor, victim: str, stage: Stage, request: Request) -> None:
    words = {ADVERTISE: "is over", UNMASK: ""}.get(stage, "")
    one.refuses(stage, {one.coop.raw(victim)[0]: request}, words)
