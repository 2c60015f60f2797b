"""Answers of members that are wrong: the coordinator names the member and goes on without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from secagg_world import World, play

from protocols.errors import RemoteError
from protocols.secagg import Aggregator, RoundResult, Stage
from protocols.secagg.merkle import vector_root
from protocols.secagg.messages import MaskedInput, OpenShare, Reply, ciphertexts_hash

Bad = Callable[[World, Aggregator, bytes, Any], Reply]


def resigned_ad(world: World, office: Aggregator, one: bytes, reply: Any, **changes: Any) -> Reply:
    bare = replace(reply, **changes)
    signature = world.keys[one].sign("SAQ1 AD", office._rd, *bare.signed_parts())
    return replace(bare, signature=signature)


def resigned_shares(world: World, office: Aggregator, one: bytes, shares: Any) -> Any:
    signature = world.keys[one].sign("SAQ1 SHARES", office._a1, ciphertexts_hash(shares))
    return shares, signature


def other_recipients(world: World, office: Aggregator, one: bytes, reply: Any) -> Reply:
    shares, signature = resigned_shares(world, office, one, reply.shares[:-1])
    return replace(reply, shares=shares, signature=signature)


def resigned_vector(world: World, office: Aggregator, one: bytes, vector: bytes) -> Reply:
    root = vector_root(vector, office.descriptor.width)
    return MaskedInput(vector, world.keys[one].sign("SAQ1 Y", office._a2, root))


def spare_bit(world: World, office: Aggregator, one: bytes, reply: Any) -> Reply:
    vector = reply.vector[:-1] + bytes([reply.vector[-1] | 0x80])
    return resigned_vector(world, office, one, vector)


def malformed_share(world: World, office: Aggregator, one: bytes, reply: Any) -> Reply:
    first = OpenShare(reply.own_shares[0].owner, b"\7" + bytes(31) + b"\1\0")
    return replace(reply, own_shares=(first, *reply.own_shares[1:]))


CASES: list[tuple[Stage, str, Bad]] = [
    (
        Stage.ADVERTISE,
        "another member's id",
        lambda w, o, i, r: resigned_ad(w, o, i, r, member=w.ids[1]),
    ),
    (Stage.ADVERTISE, "does not verify", lambda w, o, i, r: replace(r, nonce=bytes(32))),
    (
        Stage.ADVERTISE,
        "canonical",
        lambda w, o, i, r: resigned_ad(w, o, i, r, s_public=b"\xff" * 32),
    ),
    (
        Stage.ADVERTISE,
        "stands twice",
        lambda w, o, i, r: resigned_ad(w, o, i, r, s_public=r.c_public),
    ),
    (Stage.SHARE, "exactly its neighbours", other_recipients),
    (Stage.SHARE, "does not verify", lambda w, o, i, r: replace(r, signature=bytes(64))),
    (
        Stage.MASK,
        "bytes, expected",
        lambda w, o, i, r: resigned_vector(w, o, i, r.vector + b"\0"),
    ),
    (Stage.MASK, "after its end", spare_bit),
    (Stage.MASK, "does not verify", lambda w, o, i, r: replace(r, signature=bytes(64))),
    (Stage.AGREE, "does not verify", lambda w, o, i, r: replace(r, signature=bytes(64))),
    (
        Stage.UNMASK,
        "not those",
        lambda w, o, i, r: replace(r, own_shares=r.own_shares[1:]),
    ),
    (
        Stage.UNMASK,
        "not those",
        lambda w, o, i, r: replace(r, seed_shares=r.own_shares[:1]),
    ),
    (Stage.UNMASK, "above 65536", malformed_share),
]


@pytest.mark.parametrize(("stage", "match", "bad"), CASES, ids=lambda v: getattr(v, "name", None))
def test_a_wrong_answer_is_blamed_and_the_round_goes_on(stage: Stage, match: str, bad: Bad) -> None:
    world = World(n=7, dim=8, scale=2**11)
    wrong = world.ids[0]
    office = world.aggregator()
    assert (world.descriptor().coordinates * world.descriptor().bits) % 8  # there are spare bits

    def up(now: Stage, one: bytes, message: Any) -> Any:
        if now is stage and one == wrong:
            with pytest.raises(RemoteError, match=match) as caught:
                office.receive(one, bad(world, office, one, message))
            assert caught.value.peer == one.hex()
            return None
        return message

    result = play(world, world.members(), office, up=up)
    assert isinstance(result, RoundResult)
    assert [one.member for one in result.blamed] == [wrong]
    left_out = {Stage.ADVERTISE: result.u1, Stage.SHARE: result.u2, Stage.MASK: result.u3}
    assert wrong not in left_out.get(stage, ())
    plain = [0] * world.dim
    for one in result.u3:
        plain = [a + b for a, b in zip(plain, world.quantised(one, 1), strict=True)]
    assert result.sum.tolist() == plain
