"""Early keys: four exchanges in steady state, one use, one attempt, one past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from secagg_world import World, named, play

from protocols.errors import CoopError, LocalError, RemoteError
from protocols.secagg import Carried, Member, MemberState, RoundResult, Stage
from protocols.secagg.messages import (
    EARLY_TAG,
    Advertisement,
    AdvertiseRequest,
    ShareRequest,
    UnmaskReply,
    UnmaskRequest,
)


def first_round(**changes: Any) -> tuple[World, Mapping[bytes, Member], RoundResult]:
    world = World(**{"n": 5, "seed": "carried", **changes})
    members = world.members()
    result = play(world, members, world.aggregator(carry=True))
    assert isinstance(result, RoundResult)
    return world, members, result


def second_round(**changes: Any) -> tuple[World, dict[bytes, Member], Any, RoundResult]:
    """Members with early keys, and the requests of stage 1 of the next round."""
    world, before, first = first_round(**changes)
    world.go_on(first)
    members = {one: world.member(one, carried=before[one].carried) for one in world.ids}
    office = world.aggregator(carried=first.carried)
    assert not office.open()
    return world, members, office.close_stage(), first


def refuses(member: Member, request: Any, match: str) -> None:
    with pytest.raises(CoopError, match=match):
        member.step(request)
    assert member.state is MemberState.ABORTED and member._phase is None


def test_a_round_takes_four_exchanges_when_everybody_carried() -> None:
    world, before, first = first_round()
    world.go_on(first)
    members = {one: world.member(one, carried=before[one].carried) for one in world.ids}
    office = world.aggregator(carried=first.carried, carry=True)
    seen: list[Stage] = []

    def note(stage: Stage, one: bytes, message: object) -> object:
        seen.append(stage)
        return message

    result = play(world, members, office, down=note)
    assert isinstance(result, RoundResult)
    assert set(seen) == {Stage.SHARE, Stage.MASK, Stage.AGREE, Stage.UNMASK}
    plain = [
        sum(column) for column in zip(*(world.quantised(o, 1) for o in world.ids), strict=True)
    ]
    assert result.sum.tolist() == plain
    assert set(result.carried) == set(world.ids)  # and the round after it as well
    assert result.carried[world.ids[0]] != first.carried[world.ids[0]]


def test_nobody_carries_unasked() -> None:
    world = World(n=5)
    members = world.members()
    result = play(world, members, world.aggregator())
    assert isinstance(result, RoundResult)
    assert not result.carried and all(one.carried is None for one in members.values())


def test_keys_open_once() -> None:
    _, before, _ = first_round()
    carried = next(iter(before.values())).carried
    assert isinstance(carried, Carried)
    carried.take()
    with pytest.raises(LocalError, match="asked for twice"):
        carried.take()


def test_29_a_second_round_under_the_same_early_keys() -> None:
    """The box is empty the second time, whatever machine it is handed to."""
    world, before, first = first_round()
    world.go_on(first)
    one = world.ids[0]
    office = world.aggregator(carried=first.carried)
    office.open()
    request = office.close_stage()[one]
    world.member(one, carried=before[one].carried).step(request)
    again = world.member(one, carried=before[one].carried)
    with pytest.raises(LocalError, match="asked for twice"):
        again.step(request)
    assert again.state is MemberState.ABORTED


def test_who_is_asked_in_stage_0_drops_its_early_keys() -> None:
    world, members, out, _ = second_round()
    one = world.ids[0]
    opening = out[one].opening
    fresh = members[one].step(opening)
    assert isinstance(fresh, Advertisement) and not fresh.early
    refuses(members[one], replace(out[one], opening=None), "own keys")


def test_an_opening_without_early_keys() -> None:
    world, _, out, _ = second_round()
    one = world.ids[0]
    refuses(world.member(one), out[one], "sent no keys")
    member = world.member(one)
    member.step(out[one].opening)
    refuses(member, out[one], "while this member was advertised")


def test_early_keys_without_an_opening() -> None:
    world, members, out, _ = second_round()
    one = world.ids[0]
    refuses(members[one], ShareRequest(out[one].advertisements), "while this member was start")


def test_the_opening_is_checked_as_in_stage_0() -> None:
    world, members, out, _ = second_round()
    for one, match, opening in (
        (world.ids[0], "does not verify", lambda o: replace(o, signature=bytes(64))),
        (world.ids[1], "model_hash", lambda o: signed(world, o, model_hash=named("trap"))),
        (world.ids[2], "prev_transcript", lambda o: signed(world, o, prev_transcript=bytes(32))),
    ):
        request = replace(out[one], opening=opening(out[one].opening))
        refuses(members[one], request, match)


def signed(world: World, opening: AdvertiseRequest, **changes: Any) -> AdvertiseRequest:
    descriptor = replace(opening.descriptor, **changes)
    return AdvertiseRequest(descriptor, world.coordinator.sign("SAQ1 RD", descriptor.digest()))


def test_43_early_keys_of_others_in_a_later_attempt() -> None:
    """Else the keys of an attempt that was given up would serve again."""
    world, _, out, first = second_round()
    ads = out[world.ids[0]].advertisements
    world.attempt = 1
    one = world.ids[0]
    member = world.member(one)
    own = member.step(AdvertiseRequest(world.descriptor(), signed_rd(world)))
    refuses(member, ShareRequest((own, *ads[1:])), "early keys are for attempt 0, not 1")
    office = world.aggregator(carried=first.carried)
    assert set(office.open()) == set(world.ids)  # the coordinator uses none of them either


def signed_rd(world: World) -> bytes:
    return world.coordinator.sign("SAQ1 RD", world.descriptor().digest())


def test_43_my_own_early_keys_in_a_later_attempt() -> None:
    world, members, out, _ = second_round()
    one = world.ids[0]
    opening = signed(world, out[one].opening, attempt=1)
    refuses(members[one], replace(out[one], opening=opening), "for another attempt")


@pytest.mark.parametrize(
    "change", [{"round": 2}, {"prev_transcript": named("another past")}, {"run": bytes(16)}]
)
def test_20_early_keys_of_another_round_run_or_past(change: dict[str, Any]) -> None:
    """They are signed over what they follow, so nothing else takes them."""
    world, _, out, _ = second_round()
    one = world.ids[0]
    descriptor = replace(world.descriptor(), **change)
    expected = world.expected(**change)
    member = world.member(one, expected=expected)
    own = member.step(
        AdvertiseRequest(descriptor, world.coordinator.sign("SAQ1 RD", descriptor.digest()))
    )
    ads = out[one].advertisements
    refuses(member, ShareRequest((own, *ads[1:])), "does not verify")


@pytest.mark.parametrize("name", ["c_public", "s_public", "nonce", "commitment"])
def test_13_early_keys_substituted(name: str) -> None:
    world, members, out, _ = second_round()
    for index, one in ((1, world.ids[0]), (1, world.ids[2])):
        ads = list(out[one].advertisements)
        ads[index] = replace(ads[index], **{name: named("mine")[:31] + b"\1"})  # type: ignore[arg-type]
        refuses(members[one], replace(out[one], advertisements=tuple(ads)), "does not verify")
    one = world.ids[3]
    ads = list(out[one].advertisements)
    ads[1] = replace(ads[1], early=False)
    refuses(members[one], replace(out[one], advertisements=tuple(ads)), "does not verify")


def test_early_and_fresh_keys_of_one_member_are_two_transcripts() -> None:
    """Some see the early keys of a member, some its fresh ones: their shares do not open."""
    world, members, out, _ = second_round(n=7)
    split = world.ids[6]
    fresh = members[split].step(out[split].opening)
    one, other = world.ids[:2]
    altered = replace(out[one], advertisements=(*out[one].advertisements[:-1], fresh))
    a = members[one].step(altered)
    members[other].step(out[other])
    assert members[one]._phase.a1 != members[other]._phase.a1  # type: ignore[union-attr]
    assert a.shares[0].peer == other  # type: ignore[union-attr]


# ------------------------------------------------------------------ the coordinator


def next_ad_of(world: World, one: bytes, result: RoundResult, **changes: Any) -> Advertisement:
    d = world.descriptor()
    bare = replace(result.carried[one], **changes)
    bound = (d.coop, d.run, d.round + 1, result.a3)
    signature = world.keys[one].sign(EARLY_TAG, *bound, *bare.signed_parts())
    return replace(bare, signature=signature)


@pytest.mark.parametrize(
    ("match", "change"),
    [
        ("another member's id", {"member": bytes(32)}),
        ("not for the next round", {"early": False}),
        ("low order", {"c_public": bytes(32)}),
        ("canonical", {"s_public": b"\xff" * 32}),
        ("does not verify", {"signature": bytes(64)}),
    ],
)
def test_wrong_keys_for_the_next_round_are_blamed(match: str, change: dict[str, Any]) -> None:
    world, _, before = first_round()
    world = World(n=5, seed="carried")
    one = world.ids[0]
    office = world.aggregator(carry=True)

    def up(stage: Stage, who: bytes, message: Any) -> Any:
        if stage is Stage.UNMASK and who == one:
            ad = replace(message.next_ad, **change)
            if "signature" not in change:
                d = world.descriptor()
                bound = (d.coop, d.run, d.round + 1, office._a3)
                signature = world.keys[one].sign(EARLY_TAG, *bound, *ad.signed_parts())
                ad = replace(ad, signature=signature)
            with pytest.raises(RemoteError, match=match):
                office.receive(one, replace(message, next_ad=ad))
            return None
        return message

    result = play(world, world.members(), office, up=up)
    assert isinstance(result, RoundResult)
    assert [blame.member for blame in result.blamed] == [one] and one not in result.carried
    assert before.sum.tolist() == result.sum.tolist()


def test_keys_that_nobody_asked_for_are_blamed() -> None:
    _, _, first = first_round()
    fresh = World(n=5, seed="carried")
    office = fresh.aggregator()
    one = fresh.ids[0]

    def up(stage: Stage, who: bytes, message: Any) -> Any:
        if stage is Stage.UNMASK and who == one:
            assert isinstance(message, UnmaskReply)
            with pytest.raises(RemoteError, match="nobody asked for"):
                office.receive(one, replace(message, next_ad=first.carried[one]))
            return None
        return message

    assert isinstance(play(fresh, fresh.members(), office, up=up), RoundResult)


def test_whose_early_keys_do_not_fit_is_asked() -> None:
    world, _, first = first_round()
    a, b, c = world.ids[:3]
    bad = {
        **first.carried,
        a: replace(first.carried[a], nonce=bytes(32)),
        c: next_ad_of(world, c, first, nonce=first.carried[b].nonce),
        bytes(32): first.carried[b],
    }
    world.go_on(first)
    office = world.aggregator(carried=bad)
    assert tuple(office.open()) == (a, c) == office.waiting_for
    assert not office.can_close()


def test_early_keys_are_refused_in_stage_0() -> None:
    world, _, first = first_round()
    world.go_on(first)
    office = world.aggregator()
    office.open()
    one = world.ids[0]
    with pytest.raises(RemoteError, match="early keys in stage 0"):
        office.receive(one, first.carried[one])


# ------------------------------------------------------------------------ secrets


def test_42_early_secrets_are_not_printed_and_go_with_a_failure() -> None:
    world, before, _ = first_round()
    for member in before.values():
        text = repr(member.carried) + repr(vars(member))
        keys = member.carried.take()  # type: ignore[union-attr]
        for secret in (keys.channel_secret, keys.seed, keys.own_secret):
            assert repr(secret)[2:-1] not in text + repr(keys) and secret.hex() not in text
    member = before[world.ids[1]]
    with pytest.raises(RemoteError):
        member.step(UnmaskRequest(()))
    assert member.carried is None


def test_early_keys_outlive_the_close_of_their_round() -> None:
    world, before, _ = first_round()
    member = before[world.ids[0]]
    member.close()
    assert member.carried is not None
