"""The attack list: a lying coordinator, colluding members; honest members refuse each time.

The numbers are those of the list of attacks in the design. Noise, early keys, sparse graphs and the
audit of the sum have files of their own; ``test_secagg_attack_list`` prints where each number
stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from secagg_world import World, certified, named, play

from protocols.agreement.survivors import survivor_change
from protocols.errors import CoopError, InputError, Refused, RemoteError
from protocols.secagg import (
    Demands,
    Member,
    MemberState,
    RoundResult,
    Stage,
    check_certificate,
    fixedpoint,
)
from protocols.secagg import masks as m
from protocols.secagg.messages import (
    Advertisement,
    AdvertiseRequest,
    AgreementSignature,
    AgreeRequest,
    MaskRequest,
    Request,
    SealedShare,
    ShareRequest,
    UnmaskRequest,
    advertisements_hash,
    bitmap,
    first_transcript,
    from_bitmap,
    second_transcript,
    third_transcript,
)
from protocols.secagg.params import RoundDescriptor
from protocols.signing import SigningKey

VH = named("what the members of U3 sent")


def refuses(member: Member, request: Request, match: str | None = None) -> CoopError:
    """The member refuses, ends the attempt, and forgets."""
    with pytest.raises((Refused, RemoteError), match=match) as caught:
        member.step(request)
    assert member.state is MemberState.ABORTED
    assert member._phase is None and not member._answers
    return caught.value


def offer(world: World, descriptor: RoundDescriptor, key: SigningKey | None = None) -> Any:
    rd = descriptor.digest()
    return AdvertiseRequest(descriptor, (key or world.coordinator).sign("SAQ1 RD", rd))


def refuses_descriptor(world: World, match: str, **changes: Any) -> None:
    refuses(world.member(world.ids[0]), offer(world, world.descriptor(**changes)), match)


def reach(world: World, stage: Stage, **given: Any) -> tuple[dict[bytes, Member], dict, Any]:
    """Members before ``stage``, the honest requests of that stage, and the coordinator."""
    members = world.members(given.pop("tag", ""))
    office = world.aggregator()
    if stage is Stage.ADVERTISE:
        return members, dict(office.open()), office
    out = play(world, members, office, until=Stage(stage - 1), **given)
    assert not isinstance(out, RoundResult)
    return members, dict(out), office


# ---------------------------------------------------------- the descriptor (1-12, 31)


def test_01_threshold_one() -> None:
    refuses_descriptor(World(), "share threshold is 1", threshold=1)


@pytest.mark.parametrize("quorum", [0, 1, 3])
def test_02_quorum_too_small(quorum: int) -> None:
    refuses_descriptor(World(), f"quorum is {quorum}", quorum=quorum)


def test_03_smallest_cohort_of_two() -> None:
    refuses_descriptor(World(), "smallest cohort is 2", min_cohort=2)


def test_03_smallest_cohort_below_the_agreement() -> None:
    world = World(min_cohort=3)
    member = world.member(world.ids[0], demands=Demands(1, 5, 1))
    refuses(member, offer(world, world.descriptor()), "the agreement says 5")


def test_04_no_colluders() -> None:
    refuses_descriptor(World(), "0 colluders", colluders=0, quorum=3)


def test_04_fewer_colluders_than_agreed() -> None:
    world = World(n=7, colluders=1)
    member = world.member(world.ids[0], demands=Demands(2, 3, 1))
    refuses(member, offer(world, world.descriptor()), "the agreement says 2")


def test_04_an_agreement_without_colluders_is_no_demand() -> None:
    with pytest.raises(InputError, match="at least 1"):
        Demands(0, 3, 1)


def test_05_modulus_can_wrap() -> None:
    world = World()
    bits = world.descriptor().bits
    refuses_descriptor(world, f"modulus in bits is {bits - 1}", bits=bits - 1)


@pytest.mark.parametrize("change", [{"scale": 2**13}, {"clip": 2.0}, {"w_max": 2}])
def test_05_other_fixed_point_than_the_order(change: dict[str, Any]) -> None:
    refuses_descriptor(World(), next(iter(change)), **change)


def test_auditors_see_no_less_of_a_sum_than_clause_24_says() -> None:
    world = World()
    member = world.member(world.ids[0], demands=Demands(1, 3, 1, spot_percent=11))
    error = refuses(member, offer(world, world.descriptor()), "see 10 % of a large sum; the agree")
    assert isinstance(error, Refused) and error.clauses == ("c24",)
    refuses_descriptor(world, "at most 100 %", spot_percent=101)


def test_06_noise_below_the_policy() -> None:
    world = World()
    member = world.member(world.ids[0], demands=Demands(1, 3, 1, sigma_local=4.0))
    refuses(member, offer(world, world.descriptor()), "the agreement says 4.0")
    refuses_descriptor(world, "sigma_local", sigma_local=4.0)


@pytest.mark.parametrize("degree", [0, 2, 3])
def test_07_degree_below_the_policy(degree: int) -> None:
    refuses_descriptor(World(), f"degree of the graph is {degree}", degree=degree)


def test_08_a_model_that_the_member_did_not_derive() -> None:
    refuses_descriptor(World(), "model_hash", model_hash=named("trap weights"))


def test_09_another_descriptor_for_each_member() -> None:
    """The log root is the coordinator's word, so both halves accept theirs; A1 then differs."""
    world = World()
    members, out, _ = reach(world, Stage.ADVERTISE)
    other = offer(world, world.descriptor(log_root=named("another log")))
    ads = {}
    for index, one in enumerate(world.ids):
        ads[one] = members[one].step(out[one] if index < 3 else other)
    request = ShareRequest(tuple(ads[one] for one in world.ids))
    for one in world.ids:
        refuses(members[one], request, "does not verify")


def test_10_another_protocol() -> None:
    refuses_descriptor(World(), "speaks SA-Q1", protocol="SA-Q2")


@pytest.mark.parametrize("field", ["task_hash", "order_hash", "agreement", "coop"])
def test_10_wrong_task_order_or_agreement(field: str) -> None:
    refuses_descriptor(World(), field, **{field: named("other")})


def test_10_evaluation_dressed_as_training() -> None:
    refuses_descriptor(World(), "task", task="evaluate")


def test_11_another_roster_epoch() -> None:
    refuses_descriptor(World(), "roster_hash", roster_hash=named("epoch 2"))


def test_12_an_invented_member() -> None:
    world, sybils = World(n=5), World(n=1, seed="sybil")
    ids = tuple(sorted((*world.ids, *sybils.ids)))
    grown = replace(World(n=6).descriptor(), ids=ids, run=world.descriptor().run)
    refuses(world.member(world.ids[0]), offer(world, grown), "1 more, 0 missing")
    member = world.member(world.ids[0], expected=world.expected(ids=frozenset(ids)))
    refuses(member, offer(world, grown), "not in the roster")


def test_12_a_roster_entry_with_another_key() -> None:
    world = World()
    roster = dict(world.roster)
    roster[world.ids[1]] = SigningKey(bytes(32)).public
    member = world.member(world.ids[0], roster=roster)
    refuses(member, offer(world, world.descriptor()), "is not that member's")


def test_41_a_member_that_was_removed() -> None:
    world = World()
    roster = {one: key for one, key in world.roster.items() if one != world.ids[3]}
    member = world.member(world.ids[0], roster=roster)
    refuses(member, offer(world, world.descriptor()), "not in the roster")


def test_33_a_cohort_that_differs_from_the_order_by_one_member() -> None:
    world = World(n=6)
    fewer = replace(World(n=5).descriptor(), ids=world.ids[:5], run=world.descriptor().run)
    refuses(world.member(world.ids[0]), offer(world, fewer), "0 more, 1 missing")


def test_a_round_without_me() -> None:
    world = World(n=6)
    five = World(n=5)
    small = replace(five.descriptor(), ids=world.ids[1:], run=world.descriptor().run)
    member = world.member(
        world.ids[0], expected=world.expected(ids=frozenset(world.ids[1:])), demands=five.demands()
    )
    refuses(member, offer(world, small), "not in the cohort")


def test_a_descriptor_that_the_coordinator_did_not_sign() -> None:
    world = World()
    other = SigningKey(named("not the coordinator"))
    refuses(world.member(world.ids[0]), offer(world, world.descriptor(), other), "not verify")
    good = offer(world, world.descriptor())
    moved = replace(good, descriptor=world.descriptor(log_root=named("x")))
    refuses(world.member(world.ids[0]), moved, "does not verify")


@pytest.mark.parametrize(
    ("expected", "match"),
    [
        ({"run": named("new run")[:16]}, "run"),
        ({"round": 1}, "round"),
        ({"min_attempt": 1}, "attempt 0"),
        ({"prev_transcript": named("A3 of round 0")}, "prev_transcript"),
    ],
)
def test_31_a_replayed_descriptor(expected: dict[str, Any], match: str) -> None:
    world = World()
    member = world.member(world.ids[0], expected=world.expected(**expected))
    refuses(member, offer(world, world.descriptor()), match)


@pytest.mark.parametrize("timeout_s", [0, 86_401])
def test_40_a_stage_without_end(timeout_s: int) -> None:
    times = (60, timeout_s, 60, 60, 60, 60)
    world = World()
    member = world.member(world.ids[0], expected=world.expected(stage_timeouts_s=times))
    refuses(member, offer(world, world.descriptor(stage_timeouts_s=times)), "stage lasts")
    refuses_descriptor(world, "stage_timeouts_s", stage_timeouts_s=times)


def test_more_members_than_agreed_and_more_weight() -> None:
    world = World(n=13, min_cohort=13, w_max=4)
    for demands, match in (
        (Demands(1, 3, 4, max_members=12), "at most 12 agreed"),
        (Demands(1, 3, 3), "weight cap is 4; the agreement says 3"),
    ):
        member = world.member(world.ids[0], demands=demands)
        refuses(member, offer(world, world.descriptor()), match)
    member = world.member(world.ids[0], expected=world.expected(w_max=5), demands=Demands(1, 3, 9))
    refuses(member, offer(world, world.descriptor(w_max=5)), "allows at most 4")


def test_44_a_model_that_does_not_follow_from_the_published_sums() -> None:
    """Round 1: the member steps on the certified sum of round 0 and knows what must come."""
    world = World(seed="next")
    result = play(world, world.members(), world.aggregator())
    assert isinstance(result, RoundResult)
    published = certified(world, result)
    check_certificate(published, world.descriptor(), world.roster)
    world.go_on(result)
    derived = hashlib.sha256(published.total.tobytes()).digest()
    expected = world.expected(model_hash=derived)
    right = world.member(world.ids[0], expected=expected)
    right.step(offer(world, world.descriptor(model_hash=derived)))
    for wrong in ({"model_hash": named("model")}, {"prev_transcript": named("another sum")}):
        member = world.member(world.ids[0], expected=expected)
        descriptor = world.descriptor(**{"model_hash": derived, **wrong})
        refuses(member, offer(world, descriptor), next(iter(wrong)))
    with pytest.raises(RemoteError, match="survivors confirmed the sum"):
        check_certificate(result.published, World(seed="next").descriptor(), world.roster)


def test_47_two_log_roots_for_two_parts_of_the_members() -> None:
    """Colluders help both; a certificate is a quorum's word for one root, and there is one."""
    world = World(n=7, colluders=2)  # q = 5
    honest, bad = world.ids[:5], world.ids[5:]
    parts = {"one": (*honest[:3], *bad), "other": (*honest[3:], *bad)}
    gone_on = []
    for name, part in parts.items():
        request = offer(world, world.descriptor(log_root=named(name)))
        members = {one: world.member(one, tag=name) for one in part}
        ads = tuple(members[one].step(request) for one in sorted(part))
        for one in part:
            if one in bad:
                continue
            try:
                members[one].step(ShareRequest(ads))  # type: ignore[arg-type]
                gone_on.append(name)
            except RemoteError as error:
                assert "U1 has 4 members, at least 5" in str(error)
    assert gone_on == ["one"] * 3


# ------------------------------------------------------------ keys and U1 (13-17)


def forged(ad: Advertisement, key: SigningKey, rd: bytes, **changes: bytes) -> Advertisement:
    bare = replace(ad, **changes)
    return replace(bare, signature=key.sign("SAQ1 AD", rd, *bare.signed_parts()))


def altered(request: ShareRequest, index: int, ad: Advertisement) -> ShareRequest:
    ads = list(request.advertisements)
    ads[index] = ad
    return ShareRequest(tuple(ads))


@pytest.mark.parametrize("field", ["c_public", "s_public", "commitment", "nonce"])
def test_13_a_substituted_key(field: str) -> None:
    world = World()
    members, out, _ = reach(world, Stage.SHARE)
    one = world.ids[0]
    ad = out[one].advertisements[1]
    bad = replace(ad, **{field: m.public_of(b"c" * 32)})
    refuses(members[one], altered(out[one], 1, bad), "does not verify")
    resigned = forged(ad, world.coordinator, world.descriptor().digest(), **{field: b"\7" * 32})
    refuses(members[world.ids[2]], altered(out[one], 1, resigned), "does not verify")


def test_13_my_own_keys_substituted() -> None:
    world = World()
    members, out, _ = reach(world, Stage.SHARE)
    one = world.ids[0]
    bad = replace(out[one].advertisements[0], nonce=bytes(32))
    refuses(members[one], altered(out[one], 0, bad), "own keys")


@pytest.mark.parametrize("field", ["c_public", "s_public"])
@pytest.mark.parametrize("source", ["another member's", "the receiver's own", "crossed"])
def test_14_duplicated_reflected_and_own_keys(field: str, source: str) -> None:
    """A colluder signs them well; the receiver still sees a key twice."""
    world = World()
    members, out, _ = reach(world, Stage.SHARE)
    one, colluder = world.ids[0], world.ids[1]
    ads = out[one].advertisements
    taken = {
        "another member's": getattr(ads[2], field),
        "the receiver's own": getattr(ads[0], field),
        "crossed": ads[0].s_public if field == "c_public" else ads[0].c_public,
    }[source]
    bad = forged(ads[1], world.keys[colluder], world.descriptor().digest(), **{field: taken})
    refuses(members[one], altered(out[one], 1, bad), "stands twice")


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)])
def test_14_low_order_points(point: bytes) -> None:
    world = World()
    members, out, _ = reach(world, Stage.SHARE)
    one, rd = world.ids[0], world.descriptor().digest()
    bad = forged(out[one].advertisements[1], world.keys[world.ids[1]], rd, c_public=point)
    refuses(members[one], altered(out[one], 1, bad), "low order")


@pytest.mark.parametrize("field", ["c_public", "s_public"])
@pytest.mark.parametrize("value", [2**255 - 19 + 9, 2**255 + 9, 2**256 - 1])
def test_14_points_in_another_form(value: int, field: str) -> None:
    world = World()
    members, out, _ = reach(world, Stage.SHARE)
    one, rd = world.ids[0], world.descriptor().digest()
    point = value.to_bytes(32, "little")
    bad = forged(out[one].advertisements[1], world.keys[world.ids[1]], rd, **{field: point})
    refuses(members[one], altered(out[one], 1, bad), "canonical")


def test_14_a_low_order_mask_key_never_makes_a_mask() -> None:
    """Found at stage 2 at the latest: nothing leaves the member."""
    world = World()
    point = b"\1" + bytes(31)
    rd, colluder, one = world.descriptor().digest(), world.ids[1], world.ids[0]
    members, out, _ = reach(world, Stage.SHARE)
    bad = forged(out[one].advertisements[1], world.keys[colluder], rd, s_public=point)
    request = altered(out[one], 1, bad)
    replies = {i: members[i].step(request) for i in world.ids if i != colluder}
    a1 = first_transcript(rd, advertisements_hash(request.advertisements))
    c_sk = world.entropies[colluder].draws[0]
    sealed = []
    for other in world.ids[1:]:
        if other == colluder:
            shared = m.exchange(c_sk, request.advertisements[0].c_public)
            key = m.channel_key(shared, a1, colluder, one)
            cipher = m.seal(key, a1, colluder, one, bytes(68))
        else:
            cipher = next(s.sealed for s in replies[other].shares if s.peer == one)  # type: ignore[union-attr]
        sealed.append((other, cipher))
    members[one].step(
        MaskRequest(bitmap(world.ids, world.ids), tuple(SealedShare(a, b) for a, b in sealed))
    )
    with pytest.raises(RemoteError, match="low order"):
        members[one].mask(world.update(one), 1)
    assert members[one].state is MemberState.ABORTED


def test_14_the_coordinator_refuses_bad_points_too() -> None:
    """Else one member could end every round for all."""
    for field in ("c_public", "s_public"):
        world = World()
        members, out, office = reach(world, Stage.ADVERTISE)
        one = world.ids[0]
        ad = members[one].step(out[one])
        assert isinstance(ad, Advertisement)
        rd = world.descriptor().digest()
        with pytest.raises(RemoteError, match="low order"):
            office.receive(one, forged(ad, world.keys[one], rd, **{field: bytes(32)}))
        assert [blame.member for blame in office.blamed] == [one]


def split_share_requests(
    world: World, out: Mapping[bytes, Any], small: frozenset[bytes]
) -> dict[bytes, ShareRequest]:
    """Members in ``small`` see U1 without the last member, the others see all of it."""
    full = out[world.ids[0]]
    less = ShareRequest(full.advertisements[:-1])
    return {one: less if one in small else full for one in world.ids}


def test_15_inconsistent_u1() -> None:
    world = World(n=7)
    members, out, _ = reach(world, Stage.SHARE)
    requests = split_share_requests(world, out, frozenset(world.ids[:6]))
    replies = {one: members[one].step(requests[one]) for one in world.ids}
    inbox = sealed_for(world.ids[0], replies, world.ids[:6])
    members[world.ids[0]].step(MaskRequest(bitmap(world.ids[:6], world.ids), inbox))
    victim = world.ids[6]
    request = MaskRequest(bitmap(world.ids, world.ids), sealed_for(victim, replies, world.ids))
    refuses(members[victim], request, "not exactly those")


def sealed_for(one: bytes, replies: Mapping[bytes, Any], cohort: tuple[bytes, ...]) -> Any:
    return tuple(
        replace(share, peer=sender)
        for sender in cohort
        if sender != one
        for share in replies[sender].shares
        if share.peer == one
    )


def test_16_u1_consistent_for_the_victim_only() -> None:
    """The others sealed under another A1, so nothing opens."""
    world = World(n=7)
    members, out, _ = reach(world, Stage.SHARE)
    victim = world.ids[0]
    less = ShareRequest(out[victim].advertisements[:-1])
    replies = {one: members[one].step(less if one == victim else out[one]) for one in world.ids[:6]}
    request = MaskRequest(
        bitmap(world.ids[:6], world.ids), sealed_for(victim, replies, world.ids[:6])
    )
    refuses(members[victim], request, "does not open")


def test_17_isolated_victim() -> None:
    """U1 of the victim and too few others."""
    world = World(n=7)
    members, out, _ = reach(world, Stage.SHARE)
    victim = world.ids[0]
    floor = world.descriptor().least_survivors
    request = ShareRequest(out[victim].advertisements[: floor - 1])
    refuses(members[victim], request, f"at least {floor}")


@pytest.mark.parametrize(
    ("case", "match"),
    [
        ("unsorted", "ascending"),
        ("twice", "ascending"),
        ("stranger", "not in the round"),
        ("without me", "own keys"),
        ("empty", "own keys"),
    ],
)
def test_malformed_u1(case: str, match: str) -> None:
    world = World(n=7)
    members, out, _ = reach(world, Stage.SHARE)
    ads = out[world.ids[0]].advertisements
    bad = {
        "unsorted": (ads[1], ads[0], *ads[2:]),
        "twice": (ads[0], ads[0], *ads[1:]),
        "stranger": (*ads[:6], replace(ads[6], member=b"\xff" * 32)),
        "without me": ads[1:],
        "empty": (),
    }[case]
    refuses(members[world.ids[0]], ShareRequest(bad), match)


# ------------------------------------------------------------- shares and U2 (18-21)


def test_18_a_tampered_share() -> None:
    world = World()
    members, out, _ = reach(world, Stage.MASK)
    for index, one in enumerate(world.ids[:4]):
        shares = list(out[one].shares)
        sealed = bytearray(shares[index].sealed)
        sealed[17 * index] ^= 1
        shares[index] = replace(shares[index], sealed=bytes(sealed))
        refuses(members[one], replace(out[one], shares=tuple(shares)), "does not open")


@pytest.mark.parametrize("half", [0, 1])
def test_18_a_share_that_is_well_sealed_but_malformed(half: int) -> None:
    """A colluder seals values above 65536, which would only show when they are opened."""
    world = World()
    members, out, office = reach(world, Stage.MASK)
    one, colluder = world.ids[:2]
    plain = bytearray(68)
    plain[34 * half], plain[34 * half + 32] = 7, 1  # value 0 is 65536 and 7 at once
    shared = m.exchange(world.entropies[colluder].draws[0], office._ads[one].c_public)
    key = m.channel_key(shared, office._a1, colluder, one)
    sealed = m.seal(key, office._a1, colluder, one, bytes(plain))
    bad = (replace(out[one].shares[0], sealed=sealed), *out[one].shares[1:])
    refuses(members[one], replace(out[one], shares=bad), "above 65536")


def test_19_withheld_ciphertexts() -> None:
    world = World()
    members, out, _ = reach(world, Stage.MASK)
    one = world.ids[0]
    refuses(members[one], replace(out[one], shares=out[one].shares[:-1]), "not exactly those")
    two = world.ids[1]
    refuses(members[two], replace(out[two], shares=()), "not exactly those")


def test_20_shares_of_another_round_pair_or_direction() -> None:
    world = World()
    members, out, _ = reach(world, Stage.MASK)
    old = {one: request.shares for one, request in out.items()}
    world.attempt = 1
    members, out, _ = reach(world, Stage.MASK, tag="second")
    a, b, c = world.ids[:3]
    refuses(members[a], replace(out[a], shares=(old[a][0], *out[a].shares[1:])), "not open")
    swapped = (
        replace(out[b].shares[0], sealed=out[b].shares[1].sealed),
        replace(out[b].shares[1], sealed=out[b].shares[0].sealed),
        *out[b].shares[2:],
    )
    refuses(members[b], replace(out[b], shares=swapped), "does not open")
    # what c itself sealed for a comes back to c as if a had sent it
    reflected = next(one.sealed for one in out[a].shares if one.peer == c)
    back = (replace(out[c].shares[0], sealed=reflected), *out[c].shares[1:])
    refuses(members[c], replace(out[c], shares=back), "does not open")


def test_21_u2_too_small() -> None:
    world = World(n=7)
    members, out, _ = reach(world, Stage.MASK)
    one = world.ids[0]
    floor = world.descriptor().least_survivors
    few = world.ids[: floor - 1]
    shares = tuple(share for share in out[one].shares if share.peer in few)
    refuses(members[one], MaskRequest(bitmap(few, world.ids), shares), f"at least {floor}")


def test_u2_with_a_member_that_was_not_in_u1_or_without_me() -> None:
    world = World(n=7)
    gone = {Stage.ADVERTISE: frozenset(world.ids[6:])}
    members, out, _ = reach(world, Stage.MASK, gone=gone)
    one, two = world.ids[:2]
    extra = replace(out[one].shares[-1], peer=world.ids[6])
    everyone = MaskRequest(bitmap(world.ids, world.ids), (*out[one].shares, extra))
    refuses(members[one], everyone, "not in U1")
    without = MaskRequest(bitmap([i for i in world.ids[:6] if i != two], world.ids), ())
    refuses(members[two], without, "does not hold this member")


# ------------------------------------------------------------------------ U3 (22-25)


def test_22_survivors_are_the_victim_alone() -> None:
    world = World()
    members, _, _ = reach(world, Stage.AGREE)
    victim = world.ids[0]
    refuses(members[victim], AgreeRequest(bitmap([victim], world.ids), VH), "at least 4")
    assert not world.ledgers[victim].spent


def test_23_survivors_without_the_receiver() -> None:
    world = World()
    members, _, _ = reach(world, Stage.AGREE)
    victim = world.ids[0]
    refuses(
        members[victim], AgreeRequest(bitmap(world.ids[1:], world.ids), VH), "who sent its vector"
    )
    assert not world.ledgers[victim].spent


def test_survivors_that_were_not_in_u2() -> None:
    world = World(n=7)
    members, _, _ = reach(world, Stage.AGREE, gone={Stage.SHARE: frozenset(world.ids[6:])})
    refuses(members[world.ids[0]], AgreeRequest(bitmap(world.ids, world.ids), VH), "not in U2")


@pytest.mark.parametrize("bits", [b"", b"\x1f\x00", b"\x3f", b"\xff", b"\x00"])
def test_39_malformed_bitmaps(bits: bytes) -> None:
    world = World()
    members, _, _ = reach(world, Stage.AGREE)
    refuses(members[world.ids[0]], AgreeRequest(bits, VH))
    members, out, _ = reach(World(seed="second"), Stage.MASK)
    one = next(iter(out))
    refuses(members[one], replace(out[one], cohort=bits))


def a3_for(world: World, office: Any, survivors: tuple[bytes, ...], vectors: bytes = VH) -> bytes:
    return third_transcript(office._a2, bitmap(survivors, world.ids), vectors)


def colluding(
    world: World,
    office: Any,
    survivors: tuple[bytes, ...],
    who: tuple[bytes, ...],
    vectors: bytes = VH,
) -> list[AgreementSignature]:
    """Colluders sign whatever set they are asked to."""
    a3 = a3_for(world, office, survivors, vectors)
    return [AgreementSignature(one, world.keys[one].sign("SAQ1 A3", a3)) for one in who]


def certificate(signatures: list[AgreementSignature]) -> UnmaskRequest:
    return UnmaskRequest(tuple(sorted(signatures, key=lambda one: one.member)))


def test_24_split_view_without_colluders() -> None:
    """Two sets for two halves: neither gets a quorum."""
    world = World(n=7, colluders=1)  # q = 5
    members, _, _ = reach(world, Stage.AGREE)
    ids = world.ids
    views = {ids[:6]: ids[:4], ids[1:]: ids[4:]}
    for survivors, shown in views.items():
        signed = []
        for one in shown:
            reply = members[one].step(AgreeRequest(bitmap(survivors, ids), VH))
            signed.append(AgreementSignature(one, reply.signature))  # type: ignore[union-attr]
        for one in shown:
            refuses(members[one], certificate(signed), "5 are needed")


def test_25_split_view_with_equivocating_colluders() -> None:
    """n = 7, C = 2: the colluders sign both views; one gets its quorum, the other does not."""
    world = World(n=7, colluders=2)  # q = 5
    members, _, office = reach(world, Stage.AGREE)
    ids = world.ids
    honest, bad = ids[:5], ids[5:]
    first, second = (*honest[:4], *bad), (*honest[1:], *bad)
    released = []
    for survivors, shown in ((first, honest[:3]), (second, honest[3:])):
        signed = colluding(world, office, survivors, bad)
        for one in shown:
            reply = members[one].step(AgreeRequest(bitmap(survivors, ids), VH))
            signed.append(AgreementSignature(one, reply.signature))  # type: ignore[union-attr]
        for one in shown:
            try:
                members[one].step(certificate(signed))
                released.append((survivors, one))
            except RemoteError:
                assert members[one].state is MemberState.ABORTED
    assert [survivors for survivors, _ in released] == [first] * 3


# ------------------------------------------------------------- the certificate (26-30)


def agreed(world: World) -> tuple[dict[bytes, Member], dict, Any]:
    return reach(world, Stage.UNMASK)


def test_26_forged_certificate() -> None:
    world = World()
    members, out, _ = agreed(world)
    good = out[world.ids[0]].certificate
    for index, one in enumerate(world.ids):
        bad = list(good)
        bad[index] = replace(bad[index], signature=world.coordinator.sign("SAQ1 A3", b"x"))
        refuses(members[one], UnmaskRequest(tuple(bad)), "does not verify")


def test_26_a_certificate_on_another_set() -> None:
    world = World()
    members, _, office = agreed(world)
    others = colluding(world, office, world.ids[:4], world.ids)
    refuses(members[world.ids[0]], certificate(others), "does not verify")


def test_27_too_few_signatures() -> None:
    world = World()
    members, out, _ = agreed(world)
    good = out[world.ids[0]].certificate
    refuses(members[world.ids[0]], UnmaskRequest(good[:3]), "3 signatures, 4 are needed")
    refuses(members[world.ids[1]], UnmaskRequest(()), "4 are needed")
    repeated = UnmaskRequest((good[0], good[0], good[1], good[2]))
    refuses(members[world.ids[2]], repeated, "ascending")


def test_28_signatures_of_another_round_and_of_members_outside_the_cohort() -> None:
    world = World(n=6)
    gone = {Stage.MASK: frozenset(world.ids[5:])}
    members, _, office = reach(world, Stage.UNMASK, gone=gone)
    vectors = office._vectors_hash
    outside = colluding(world, office, world.ids[:5], world.ids[2:], vectors)
    refuses(members[world.ids[0]], certificate(outside), "outside U3")
    earlier = World(n=6, round=1)
    _, other, _ = reach(earlier, Stage.UNMASK, gone=gone)
    refuses(members[world.ids[1]], other[world.ids[1]], "does not verify")


def test_29_a_second_masked_vector_under_the_same_keys() -> None:
    world = World()
    members, out, _ = reach(world, Stage.MASK)
    one = world.ids[0]
    members[one].step(out[one])
    members[one].mask(world.update(one), 1)
    refuses(members[one], out[one], "while this member was masked")


def test_29_u2_shown_twice() -> None:
    world = World(n=7)
    members, out, _ = reach(world, Stage.MASK)
    one = world.ids[0]
    members[one].step(out[one])
    fewer = MaskRequest(bitmap(world.ids[:6], world.ids), out[one].shares[:-1])
    refuses(members[one], fewer, "while this member was training")


def test_30_both_shares_of_one_member() -> None:
    """A second set after the first would ask for the other share of the same member."""
    world = World(n=7)
    members, out, _ = agreed(world)
    one = world.ids[0]
    reply = members[one].step(out[one])
    owners = [share.owner for share in (*reply.own_shares, *reply.seed_shares)]  # type: ignore[union-attr]
    assert len(owners) == len(set(owners)) == 7
    refuses(members[one], AgreeRequest(bitmap(world.ids[:6], world.ids), VH), "while this member")


def test_30_a_second_unmasking() -> None:
    world = World()
    members, out, office = agreed(world)
    one = world.ids[0]
    members[one].step(out[one])
    second = certificate(colluding(world, office, world.ids[:4], world.ids[:4]))
    refuses(members[one], second, "while this member was done")


# -------------------------------------------------------------- spent rounds (32, 43)


def test_32_a_second_a3_in_another_attempt() -> None:
    world = World()
    reach(world, Stage.UNMASK)
    world.attempt = 1
    members, out, _ = reach(world, Stage.AGREE, tag="again")
    for one in world.ids:
        refuses(members[one], out[one], "is spent")


def test_32_a_second_a3_after_a_restart() -> None:
    """The mark outlives the machine: a new one with other keys refuses as well."""
    world = World()
    reach(world, Stage.UNMASK)
    members, out, _ = reach(world, Stage.AGREE, tag="restarted")
    refuses(members[world.ids[0]], out[world.ids[0]], "is spent")


def test_32_the_mark_is_durable_before_the_signature_exists() -> None:
    world = World()
    members, out, _ = reach(world, Stage.AGREE)
    one = world.ids[0]

    class Disk(Exception):
        pass

    def fails(run: bytes, round_number: int) -> None:
        raise Disk

    member = members[one]
    object.__setattr__(member._party, "mark_spent", fails)
    with pytest.raises(Disk):
        member.step(out[one])
    assert member.state is MemberState.ABORTED
    assert member.transcript is None and not member._answers


def test_43_certificate_shown_to_a_part_then_a_new_attempt_with_the_rest() -> None:
    """The attack of 2.4b for (n, C) = (5, 2): subtracting two sums would leave one member."""
    world = World(n=5, colluders=2)
    honest, bad = world.ids[:3], world.ids[3:]
    members, out, _ = agreed(world)
    released = [members[one].step(out[one]) for one in honest[:1]]
    assert len(released) + len(bad) == world.descriptor().threshold
    world.attempt = 1
    for one in bad:
        world.ledgers[one].spent.clear()  # colluders mark nothing
    members, out, _ = reach(world, Stage.AGREE, tag="attempt 1")
    for one in honest:
        refuses(members[one], out[one], "is spent")


def test_46_survivors_that_differ_by_one_from_an_earlier_round_too_often() -> None:
    """Two sums over nearly the same members show the difference; clause 14 says how often."""
    world = World(n=7)
    sets: list[frozenset[str]] = []
    signed = []
    for number in range(6):
        world.round, world.attempt = number, 0
        gone = {Stage.MASK: frozenset(world.ids[:1])} if number % 2 else {}
        members, out, _ = reach(world, Stage.AGREE, gone=gone)
        one = world.ids[6]
        there = frozenset(i.hex() for i in from_bitmap(out[one].survivors, world.ids))
        if survivor_change(sets, there, world.min_cohort, allowed=2) is not None:
            members[one].close()  # what a node's shell does before the machine sees the request
            assert (world.descriptor().run, number) not in world.ledgers[one].spent
            continue
        sets.append(there)
        members[one].step(out[one])
        signed.append(number)
    assert signed == [0, 1, 2, 4]  # 1 left, 2 came back; 3 and 5 would be the third time


def test_34_a_late_vector_of_an_excluded_member_stays_masked() -> None:
    """Its seed is opened, its b never: everything that can be taken off leaves noise."""
    world = World(n=5, dim=2_000)
    late = world.ids[0]
    kept: dict[bytes, bytes] = {}
    members = world.members()
    office = world.aggregator()
    out = office.open()
    for stage in Stage:
        if stage is Stage.AUDIT:
            break
        replies = {
            one: members[one].step(request) or members[one].mask(world.update(one), 1)
            for one, request in out.items()
        }
        for one, reply in replies.items():
            if stage is Stage.MASK and one == late:
                kept[one] = reply.vector  # type: ignore[union-attr]
                continue
            office.receive(one, reply)
            if stage is Stage.UNMASK:
                assert late not in [share.owner for share in reply.own_shares]  # type: ignore[union-attr]
                assert late in [share.owner for share in reply.seed_shares]  # type: ignore[union-attr]
        if stage is Stage.MASK:
            out = office.close_stage()
            with pytest.raises(RemoteError, match="not asked"):
                office.receive(late, replies[late])
            continue
        out = office.close_stage()
    assert office.result().u3 == world.ids[1:]
    # the coordinator's best: take off all pairwise masks, which the seed gives
    d, a2 = world.descriptor(), office._a2
    lanes = np.zeros(d.coordinates, dtype=np.uint32)
    fixedpoint.unpack_into(kept[late], d.width, lanes)
    secret = m.mask_secret(world.entropies[late].draws[1])
    for other in world.ids[1:]:
        point = m.public_of(m.mask_secret(world.entropies[other].draws[1]))
        key = m.mask_key(m.exchange(secret, point), a2, late, other)
        m.add_masks(lanes, [] if late < other else [key], [key] if late < other else [])
    seen = fixedpoint.centre(lanes & m.low_bits(d.bits), d.bits)[:-1]
    plain = np.array(world.quantised(late, 1))
    assert abs(np.corrcoef(seen, plain)[0, 1]) < 0.1
    own = m.self_key(world.entropies[late].draws[2], a2, late)
    m.add_masks(lanes, [], [own])
    assert (fixedpoint.centre(lanes & m.low_bits(d.bits), d.bits)[:-1] == plain).all()


def test_second_transcript_binds_the_cohort() -> None:
    """Masks of two U2 of one attempt have nothing in common."""
    a1 = hashlib.sha256(b"a1").digest()
    one, two = (second_transcript(a1, cohort) for cohort in (b"\x1f", b"\x0f"))
    assert m.self_key(b"b" * 32, one, b"i" * 32) != m.self_key(b"b" * 32, two, b"i" * 32)
