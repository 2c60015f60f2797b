"""Whole rounds: the exact sum over U3 or a clean abort; crash, blame, publication."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secagg_world import STAGES, World, aes_ctr, certified, play

from protocols.codec import decode_published, encode_message
from protocols.errors import Code, InputError, RemoteError
from protocols.secagg import (
    Aggregator,
    Member,
    OfficeState,
    RoundResult,
    Stage,
    check_certificate,
    make_descriptor,
    mean_update,
    replay,
)
from protocols.secagg import masks as m
from protocols.secagg.merkle import vector_root
from protocols.secagg.messages import (
    AgreementSignature,
    MaskedInput,
    Reply,
    ShareReply,
    UnmaskReply,
    first_transcript,
    second_transcript,
    third_transcript,
)
from protocols.secagg.params import max_weight
from protocols.secagg.published import check_transcript

NEVER = len(STAGES)
Case = tuple[World, dict[bytes, int], list[int], bool]  # .., when each leaves, carried keys


def finished(outcome: object) -> RoundResult:
    assert isinstance(outcome, RoundResult)
    return outcome


def check_against_plain_sum(world: World, result: RoundResult, weights: dict[bytes, int]) -> None:
    plain = [0] * world.dim
    for one in result.u3:
        plain = [a + b for a, b in zip(plain, world.quantised(one, weights[one]), strict=True)]
    assert result.sum.tolist() == plain
    assert result.weight_sum == sum(weights[one] for one in result.u3)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n = draw(st.integers(3, 8))
    colluders = draw(st.integers(1, min(3, n - 2)))
    min_cohort = draw(st.integers(colluders + 2, n))
    sigma = draw(st.sampled_from([0.0, 0.0, 0.5, 40.0]))
    world = World(
        n=n,
        colluders=colluders,
        min_cohort=min_cohort,
        dim=draw(st.integers(1, 120)),
        scale=draw(st.sampled_from([1, 7, 2**10, 2**15, 2**24])),
        clip=draw(st.sampled_from([0.25, 1.0, 3.7])),
        w_max=1 if sigma else draw(st.integers(1, max_weight(max(min_cohort, 3)))),
        sigma_local=sigma,
        seed=draw(st.text("abc", max_size=3)),
    )
    weights = {one: draw(st.integers(1, world.w_max)) for one in world.ids}
    # a plain draw would nearly always lose too many: most members stay
    leaves = draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, *[NEVER] * 30]), min_size=n, max_size=n))
    return world, weights, leaves, draw(st.booleans())


def expected_abort(world: World, leaves: list[int]) -> Stage | None:
    d = world.descriptor()
    needed = [d.least_survivors] * 3 + [d.quorum, d.threshold]
    for stage, need in zip(STAGES, needed, strict=True):
        if sum(leave > stage for leave in leaves) < need:
            return stage
    return None


def one_random_run(case: Case) -> None:
    world, weights, leaves, carry = case
    gone = {
        stage: frozenset(
            one for one, leave in zip(world.ids, leaves, strict=True) if leave == stage
        )
        for stage in STAGES
    }
    office, members = world.aggregator(carry=carry), world.members()
    failing = expected_abort(world, leaves)
    if failing is None:
        result = finished(play(world, members, office, gone=gone, weights=weights))
        check_against_plain_sum(world, result, weights)
        assert not result.blamed
        there = [sum(leave > stage for leave in leaves) for stage in STAGES]
        assert [len(result.u1), len(result.u2), len(result.u3)] == there[:3]
        check_certificate(certified(world, result), world.descriptor(), world.roster)
        if carry:
            the_next_round(world, members, result, weights)
        return
    with pytest.raises(RemoteError, match="are needed") as caught:
        play(world, members, office, gone=gone, weights=weights)
    assert caught.value.code is Code.UNAVAILABLE
    assert office.state is OfficeState.ABORTED
    assert office.spent == (failing >= Stage.AGREE)
    with pytest.raises(Exception, match="no result"):
        office.result()


def the_next_round(
    world: World, before: Mapping[bytes, Member], result: RoundResult, weights: dict[bytes, int]
) -> None:
    """With the keys that the last replies carried; who sent none is asked."""
    carried = {one: member.carried for one, member in before.items()}
    assert {one for one, keys in carried.items() if keys is not None} == set(result.carried)
    world.go_on(result)
    members = {one: world.member(one, carried=carried[one]) for one in world.ids}
    office = world.aggregator(carried=result.carried)
    following = finished(play(world, members, office, weights=weights))
    check_against_plain_sum(world, following, weights)
    assert following.u3 == world.ids


@settings(deadline=None, max_examples=300)
@given(cases())
def test_exact_sum_or_clean_abort(case: Case) -> None:
    one_random_run(case)


@pytest.mark.soak
@settings(deadline=None, max_examples=10_000)
@given(cases())
def test_exact_sum_or_clean_abort_soak(case: Case) -> None:
    one_random_run(case)


def test_a_larger_round_with_dropouts_everywhere() -> None:
    world = World(n=24, colluders=4, dim=70_001, scale=2**15, min_cohort=10, w_max=3)
    ids = world.ids
    gone = {stage: frozenset(ids[2 * stage : 2 * stage + 2]) for stage in STAGES[:4]}
    weights = {one: 1 + i % 3 for i, one in enumerate(ids)}
    result = finished(play(world, world.members(), world.aggregator(), gone=gone, weights=weights))
    assert (len(result.u1), len(result.u2), len(result.u3)) == (22, 20, 18)
    check_against_plain_sum(world, result, weights)


def test_wide_wire_gives_the_same_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.secagg.params.WIDE_WIRE_FROM", 5)
    world = World(n=5, dim=33)
    assert world.descriptor().width == 32
    result = finished(play(world, world.members(), world.aggregator()))
    check_against_plain_sum(world, result, dict.fromkeys(world.ids, 1))


# ------------------------------------------------------------------ masked words


def test_vector_equals_a_slow_second_implementation() -> None:
    """y, from the secrets that the members drew, in plain integers and the plain AES call."""
    world = World(n=4, dim=5)
    vectors: dict[bytes, bytes] = {}

    def keep(stage: Stage, one: bytes, message: object) -> object:
        if isinstance(message, MaskedInput):
            vectors[one] = message.vector
        return message

    office = world.aggregator()
    play(world, world.members(), office, up=keep)
    d, a2 = world.descriptor(), office._a2
    for one in world.ids:
        draws = world.entropies[one].draws
        seed, own = draws[1], draws[2]
        lanes = [*world.quantised(one, 1), 1]
        terms = [(1, m.hkdf(own, a2, b"SAQ1 self" + one))]
        for other in world.ids:
            if other != one:
                s_other = m.public_of(m.mask_secret(world.entropies[other].draws[1]))
                shared = m.exchange(m.mask_secret(seed), s_other)
                low, high = sorted((one, other))
                key = m.hkdf(shared, a2, b"SAQ1 mask" + low + high)
                terms.append((1 if one < other else -1, key))
        total = 0
        streams = [(sign, aes_ctr(key, 4 * len(lanes))) for sign, key in terms]
        for i, plain in enumerate(lanes):
            value = plain + sum(
                sign * int.from_bytes(stream[4 * i : 4 * i + 4], "little")
                for sign, stream in streams
            )
            total |= (value % 2**d.bits) << (d.bits * i)
        assert vectors[one] == total.to_bytes((len(lanes) * d.bits + 7) // 8, "little")


def test_masked_words_look_uniform_and_do_not_follow_the_input() -> None:
    world = World(n=3, dim=60_000, scale=2**15 * 5)
    assert world.descriptor().bits % 4 == 0  # whole nibbles, so that bytes may be counted
    vectors: list[np.ndarray] = []

    def keep(stage: Stage, one: bytes, message: object) -> object:
        if isinstance(message, MaskedInput):
            vectors.append(np.frombuffer(message.vector, dtype=np.uint8))
        return message

    play(world, world.members(), world.aggregator(), up=keep)
    world.attempt = 1
    play(world, world.members(), world.aggregator(), up=keep, until=Stage.MASK)
    for vector in vectors:
        counts = np.bincount(vector[:-4], minlength=256)
        expected = counts.sum() / 256
        assert ((counts - expected) ** 2 / expected).sum() < 360  # 255 df, 1e-5
    same_member = np.corrcoef(vectors[0], vectors[3])[0, 1]
    assert abs(same_member) < 0.02


# ----------------------------------------------------------------------- crashes


@pytest.mark.parametrize("crash_after", [Stage.MASK, Stage.AGREE])
def test_a_crashed_coordinator_finishes_the_same_attempt(crash_after: Stage) -> None:
    world = World(n=7, dim=50)
    events: list[tuple[bytes, Reply] | None] = []
    members = world.members()
    first = world.aggregator()
    gone = {Stage.MASK: frozenset(world.ids[:1])}
    out = first.open()
    for stage in STAGES:
        for one, request in out.items():
            if one in gone[Stage.MASK] and stage >= Stage.MASK:
                continue
            reply = members[one].step(request) or members[one].mask(world.update(one), 1)
            first.receive(one, reply)
            events.append((one, reply))
        events.append(None)
        out = first.close_stage()
        if stage is crash_after:
            break

    second = world.aggregator()
    again = replay(second, events)
    assert again == out
    while second.state is not OfficeState.FINISHED:
        for one, request in again.items():
            if one in gone[Stage.MASK]:
                continue
            members[one].step(request)  # sent before the crash; its answer was lost
            reply = members[one].step(request)
            assert reply is not None
            second.receive(one, reply)
        again = second.close_stage()
    check_against_plain_sum(world, second.result(), dict.fromkeys(world.ids, 1))


def test_the_coordinator_keeps_no_vector() -> None:
    world = World(n=12, dim=200_000)
    members, office = world.members(), world.aggregator()
    out = play(world, members, office, until=Stage.SHARE)
    assert not isinstance(out, RoundResult)
    members = {one: members[one] for one in world.ids}
    tracemalloc.start()
    try:
        start = 0
        for number, one in enumerate(world.ids):
            members[one].step(out[one])
            reply = members[one].mask(world.update(one), 1)
            office.receive(one, reply)
            size = len(reply.vector)
            del reply
            if number == 1:
                start = tracemalloc.get_traced_memory()[0]
        assert tracemalloc.get_traced_memory()[0] - start < size
    finally:
        tracemalloc.stop()


def test_replay_records_blame_again() -> None:
    world = World(n=5)
    members = world.members()
    office = world.aggregator()
    out = office.open()
    events: list[tuple[bytes, Reply] | None] = []
    for one in world.ids:
        ad = members[one].step(out[one])
        if one == world.ids[0]:
            ad = replace(ad, nonce=bytes(32))  # type: ignore[type-var]
        events.append((one, ad))  # type: ignore[arg-type]
    machine = world.aggregator()
    replay(machine, [*events, None])
    assert [one.member for one in machine.blamed] == [world.ids[0]]
    assert machine.state is OfficeState.SHARE


# ------------------------------------------------------------------------- blame


def lie(share: bytes) -> bytes:
    return bytes([share[0] ^ 1]) + share[1:]


def test_37_a_member_that_returns_wrong_shares_is_blamed_and_the_sum_is_right() -> None:
    world = World(n=7, colluders=1)
    liar = world.ids[0]

    def up(stage: Stage, one: bytes, message: object) -> object:
        if isinstance(message, UnmaskReply) and one == liar:
            wrong = tuple(replace(share, share=lie(share.share)) for share in message.own_shares)
            return replace(message, own_shares=wrong)
        return message

    office = world.aggregator()
    result = finished(play(world, world.members(), office, up=up))
    check_against_plain_sum(world, result, dict.fromkeys(world.ids, 1))
    assert [one.member for one in result.blamed] == [liar]
    assert "returned wrong shares" in result.blamed[0].reason


@pytest.mark.parametrize("secret", ["own_shares", "seed_shares"])
def test_37_a_member_that_dealt_a_wrong_share_is_blamed(secret: str) -> None:
    """The shares of one owner are wrong at two holders: the owner dealt them so."""
    world = World(n=9, colluders=1)
    owner = world.ids[0]
    holders = world.ids[1:3]
    gone = {Stage.MASK: frozenset([owner])} if secret == "seed_shares" else {}

    def up(stage: Stage, one: bytes, message: object) -> object:
        if isinstance(message, UnmaskReply) and one in holders:
            opened = tuple(
                replace(share, share=lie(share.share)) if share.owner == owner else share
                for share in getattr(message, secret)
            )
            return replace(message, **{secret: opened})
        return message

    result = finished(play(world, world.members(), world.aggregator(), gone=gone, up=up))
    check_against_plain_sum(world, result, dict.fromkeys(world.ids, 1))
    assert [one.member for one in result.blamed] == [owner]
    assert "dealt wrong shares" in result.blamed[0].reason


def test_too_many_wrong_shares_end_the_round_cleanly() -> None:
    world = World(n=5, colluders=1)  # t = 3

    def up(stage: Stage, one: bytes, message: object) -> object:
        if isinstance(message, UnmaskReply) and one in world.ids[:3]:
            wrong = tuple(replace(share, share=lie(share.share)) for share in message.own_shares)
            return replace(message, own_shares=wrong)
        return message

    office = world.aggregator()
    with pytest.raises(RemoteError, match=r"no 3 of the 5 shares"):
        play(world, world.members(), office, up=up)
    assert office.state is OfficeState.ABORTED


def test_a_wrong_share_among_just_enough_answers_waits_for_one_more() -> None:
    world = World(n=5, colluders=1)
    members = world.members()
    office = world.aggregator()
    out = play(world, members, office, until=Stage.AGREE)
    assert not isinstance(out, RoundResult)
    replies = {one: members[one].step(request) for one, request in out.items()}
    for index, one in enumerate(world.ids):
        reply = replies[one]
        assert isinstance(reply, UnmaskReply)
        if index == 0:
            wrong = tuple(replace(share, share=lie(share.share)) for share in reply.own_shares)
            reply = replace(reply, own_shares=wrong)
        office.receive(one, reply)
        if index == 2:
            assert office.enough() and not office.can_close()
            with pytest.raises(RemoteError, match="Wait for more answers"):
                office.close_stage()
            assert office.state is OfficeState.UNMASK
    assert office.can_close()
    office.close_stage()
    check_against_plain_sum(world, office.result(), dict.fromkeys(world.ids, 1))
    assert [one.member for one in office.blamed] == [world.ids[0]]


def test_a_vector_outside_the_protocol_ends_the_round() -> None:
    """A poisoner that sends a huge coordinate: the sum is out of range and is thrown away."""
    world = World(n=5, dim=3)

    office = world.aggregator()

    def up(stage: Stage, one: bytes, message: object) -> object:
        if isinstance(message, MaskedInput) and one == world.ids[0]:
            bits = world.descriptor().bits
            number = int.from_bytes(message.vector, "little")
            low = (number + 2 ** (bits - 1)) % 2**bits
            number = number >> bits << bits | low
            vector = number.to_bytes(len(message.vector), "little")
            root = vector_root(vector, world.descriptor().width)
            return MaskedInput(vector, world.keys[one].sign("SAQ1 Y", office._a2, root))
        return message

    with pytest.raises(RemoteError, match="did not follow the protocol"):
        play(world, world.members(), office, up=up)
    assert office.state is OfficeState.ABORTED


def test_wrong_answers_are_blamed_and_left_out() -> None:
    world = World(n=8, colluders=1)
    ids = world.ids

    def up(stage: Stage, one: bytes, message: object) -> object:
        if stage is Stage.SHARE and one == ids[0]:
            assert isinstance(message, ShareReply)
            return replace(message, signature=bytes(64))
        if stage is Stage.MASK and one == ids[1]:
            assert isinstance(message, MaskedInput)
            return replace(message, vector=message.vector[:-1])
        return message

    office = world.aggregator()
    members = world.members()
    out = office.open()
    for stage in STAGES:
        for one, request in out.items():
            reply = members[one].step(request) or members[one].mask(world.update(one), 1)
            sent = up(stage, one, reply)
            try:
                office.receive(one, sent)  # type: ignore[arg-type]
            except RemoteError as error:
                assert error.peer == one.hex()
                with pytest.raises(RemoteError, match="left out"):
                    office.receive(one, reply)
        out = office.close_stage()
    result = office.result()
    assert result.u2 == ids[1:] and result.u3 == ids[2:]
    assert [one.member for one in result.blamed] == list(ids[:2])
    check_against_plain_sum(world, result, dict.fromkeys(ids, 1))


# ------------------------------------------------------------------- publication


@pytest.fixture(scope="module")
def done() -> tuple[World, RoundResult]:
    world = World(n=6, dim=20, seed="published")
    result = play(
        world, world.members(), world.aggregator(), gone={Stage.MASK: frozenset(world.ids[:1])}
    )
    return world, finished(result)


def test_published_sum_survives_the_wire_and_verifies(done: tuple[World, RoundResult]) -> None:
    world, result = done
    again = decode_published(encode_message(result.published))
    check_transcript(again, world.descriptor(), world.roster)
    assert again.survivors(world.descriptor()) == result.u3
    assert (again.total == result.sum).all()
    mean = mean_update(again, world.descriptor())
    plain = np.mean([world.update(one).astype(np.float64) for one in result.u3], axis=0)
    assert np.abs(mean - plain).max() < 1 / world.scale
    assert [one.member for one in result.roots] == list(result.u3)


def test_every_part_of_a_published_sum_is_bound(done: tuple[World, RoundResult]) -> None:
    world, result = done
    d, good = world.descriptor(), result.published
    other = bytes(32)
    tampered = [
        replace(good, run=bytes(16)),
        replace(good, round=1),
        replace(good, attempt=1),
        replace(good, task="evaluate"),
        replace(good, descriptor_digest=other),
        replace(good, ads_hash=other),
        replace(good, cohort=b"\x3f" if good.cohort != b"\x3f" else b"\x3e"),
        replace(good, survivor_map=b"\x1f"),
        replace(good, survivor_map=b"\x07"),
        replace(good, survivor_map=b"\xff"),
        replace(good, a3=other),
        replace(good, certificate=good.certificate[: d.quorum - 1]),
        replace(good, certificate=(good.certificate[0], *good.certificate)),
        replace(good, certificate=good.certificate[::-1]),
        replace(good, weight_sum=0),
        replace(good, weight_sum=6),
        replace(good, total=good.total * 0 + 2**20),
        replace(good, total=good.total[:-1]),
    ]
    for number, bad in enumerate(tampered):
        with pytest.raises(RemoteError):
            check_transcript(bad, d, world.roster)
            pytest.fail(f"variant {number} verified")
    for changes in ({"model_hash": other}, {"log_root": other}, {"stage_timeouts_s": (61,) * 6}):
        with pytest.raises(RemoteError, match="another descriptor"):
            check_transcript(good, replace(d, **changes), world.roster)


def test_a_certificate_of_strangers_does_not_verify(done: tuple[World, RoundResult]) -> None:
    world, result = done
    stranger = World(n=6, seed="strangers")
    forged = tuple(
        AgreementSignature(one, key.sign("SAQ1 A3", result.a3))
        for one, key in sorted(stranger.keys.items())
    )
    with pytest.raises(RemoteError, match="outside U3"):
        check_transcript(
            replace(result.published, certificate=forged), world.descriptor(), world.roster
        )


@pytest.mark.parametrize(
    ("cohort", "survivors"), [(b"\x3f", b"\x07"), (b"\x1f", b"\x3f"), (b"\x00", b"\x3f")]
)
def test_well_signed_sets_that_cannot_be_do_not_verify(
    done: tuple[World, RoundResult], cohort: bytes, survivors: bytes
) -> None:
    """Even with the signatures of all: too few survivors, or some that were not in the cohort."""
    world, result = done
    d, good = world.descriptor(), result.published
    a2 = second_transcript(first_transcript(d.digest(), good.ads_hash), cohort)
    a3 = third_transcript(a2, survivors, good.vectors_hash)
    signed = tuple(
        AgreementSignature(one, world.keys[one].sign("SAQ1 A3", a3)) for one in world.ids
    )
    bad = replace(good, cohort=cohort, survivor_map=survivors, a3=a3, certificate=signed)
    with pytest.raises(RemoteError, match="too few"):
        check_transcript(bad, d, world.roster)


def test_a_malformed_published_sum_cannot_be_made(done: tuple[World, RoundResult]) -> None:
    _, result = done
    good = result.published
    changes: list[dict[str, object]] = [
        {"task": "other"},
        {"round": -1},
        {"weight_sum": 2**32},
        {"a3": b""},
        {"run": b""},
        {"total": good.total.astype(np.int32)},
        {"total": good.total.reshape(4, 5)},
        {"total": good.total[:0]},
    ]
    for change in changes:
        with pytest.raises(InputError):
            replace(good, **change)


def test_a_descriptor_that_cannot_be_is_an_input_error() -> None:
    d = World().descriptor()
    computed = {"protocol", "quorum", "threshold", "degree", "bits"}
    given_ = {one.name: getattr(d, one.name) for one in fields(d) if one.name not in computed}
    assert make_descriptor(**given_) == d
    for changes in (
        {"colluders": 4},
        {"w_max": 3},
        {"scale": 2**31, "clip": 8.0},
        {"clip": float("nan")},
        {"clip": 0.0},
        {"stage_timeouts_s": (0,) * 6},
        {"min_cohort": 6},
        {"ids": d.ids[:2]},
        {"ids": (*d.ids, d.ids[0])},
        {"dim": 0},
    ):
        with pytest.raises(InputError):
            make_descriptor(**{**given_, **changes})


def test_the_office_refuses_a_cohort_outside_its_roster() -> None:
    world = World()
    roster = dict(world.roster)
    roster.pop(world.ids[0])
    with pytest.raises(Exception, match="not in the roster"):
        Aggregator(world.descriptor(), world.coordinator, roster)
