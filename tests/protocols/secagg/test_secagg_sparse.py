"""Above 300 members: the graph in whole rounds, recovery on its own, and who may be left alone."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from secagg_world import Entropy, World, certified, named, play

from protocols.errors import InputError, Refused, RemoteError
from protocols.secagg import (
    Aggregator,
    Member,
    MemberState,
    OfficeState,
    RoundDescriptor,
    RoundResult,
    Stage,
    check_certificate,
    make_descriptor,
    masks,
    recovery,
    shamir,
)
from protocols.secagg.messages import (
    Advertisement,
    AgreeRequest,
    MaskRequest,
    OpenShare,
    UnmaskReply,
    bitmap,
)
from protocols.secagg.params import MAX_COMPLETE, check_figures
from protocols.secagg.topology import Topology

SMALL = {"n": 301, "colluders": 1, "dim": 6, "max_dropout": 10}


def sparse(**changes: object) -> World:
    return World(**{**SMALL, **changes})  # type: ignore[arg-type]


def test_the_figures_of_a_sparse_round() -> None:
    d = sparse().descriptor()
    assert d.members > MAX_COMPLETE and d.width == 32
    assert d.threshold < d.degree < 100
    assert d.least_survivors == 271  # ceil(301 * 0.9), more than the quorum of 152
    assert World(n=300, colluders=1).descriptor().degree == 299
    assert World(n=300, colluders=1).descriptor().least_survivors == 151
    for change in ({"degree": d.degree - 2}, {"threshold": d.threshold - 1}, {"max_dropout": 20}):
        with pytest.raises(Refused):
            check_figures(replace(d, **change))  # type: ignore[arg-type]


def test_figures_that_no_graph_can_bear() -> None:
    with pytest.raises(InputError, match="cannot bear"):
        sparse(colluders=200, max_dropout=45, min_cohort=202).descriptor()
    with pytest.raises(Refused, match="cannot bear"):
        many = {"colluders": 200, "quorum": 251, "min_cohort": 202, "max_dropout": 45}
        check_figures(replace(sparse().descriptor(), **many))  # type: ignore[arg-type]


# ----------------------------------------------------------------- a whole round


@contextmanager
def unsigned() -> Iterator[None]:
    """90,000 signatures are not verified again here: that is the same code in small rounds."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("messages", "_phases"):
            patch.setattr(f"protocols.secagg.{name}.verify", lambda *_, **__: None)
        yield


def whole_round(**changes: object) -> tuple[World, dict[bytes, Member], RoundResult]:
    world = sparse(seed="sparse", **changes)
    ids = world.ids
    gone = {
        Stage.ADVERTISE: frozenset(ids[:3]),
        Stage.SHARE: frozenset(ids[50:53]),
        Stage.MASK: frozenset(ids[100:110]),
        Stage.UNMASK: frozenset(ids[200:203]),
    }
    members, office = world.members(), world.aggregator(carry=True)
    result = play(world, members, office, gone=gone, wire=False)
    assert isinstance(result, RoundResult)
    assert (len(result.u1), len(result.u2), len(result.u3)) == (298, 295, 285)
    plain = np.sum([world.quantised(one, 1) for one in result.u3], axis=0)
    assert result.sum.tolist() == plain.tolist() and result.weight_sum == 285
    return world, members, result


@cache
def round_of_301() -> tuple[World, dict[bytes, Member], RoundResult]:
    with unsigned():
        return whole_round()


def test_the_sum_of_a_sparse_round_is_exact_and_confirmed() -> None:
    world, _, result = round_of_301()
    check_certificate(certified(world, result), world.descriptor(), world.roster)


@pytest.mark.soak
def test_a_sparse_round_with_a_heavier_graph_and_every_signature() -> None:
    whole_round(colluders=30, min_cohort=32)


def test_early_keys_serve_a_sparse_round() -> None:
    world, members, result = round_of_301()
    assert len(result.carried) == 282
    following = sparse(seed=world.seed)
    following.go_on(result)
    second = following.aggregator(carried=result.carried)
    asked = second.open()
    assert set(asked) == set(world.ids) - set(result.carried)
    assert second.enough()
    out = second.close_stage()
    one = next(iter(result.carried))
    member = following.member(one, carried=members[one].carried)
    reply = member.step(out[one])
    near = second._graph.among(one, result.u3)
    assert {share.peer for share in reply.shares} <= set(near)  # type: ignore[union-attr]


# ------------------------------------------------------------ who may be left alone


@cache
def dealt_301() -> tuple[World, dict[bytes, Member], Aggregator, Mapping[bytes, MaskRequest]]:
    """After stage 1 of a round whose agreement lets many drop out."""
    world = sparse(seed="alone", max_dropout=30)
    members, office = world.members(), world.aggregator()
    with unsigned():
        out = play(world, members, office, until=Stage.SHARE, wire=False)
    return world, members, office, out  # type: ignore[return-value]


def cut_off(world: World, topology: Topology, victim: bytes) -> tuple[bytes, ...]:
    """Whom a coordinator names that has seen the graph: everybody but a victim's neighbours."""
    near = topology.among(victim, world.ids)
    left = world.descriptor().threshold - 1
    cohort = tuple(one for one in world.ids if one not in near[left:])
    assert len(cohort) >= world.descriptor().least_survivors
    return cohort


def test_07_a_survivor_without_enough_neighbours_ends_the_round_for_all() -> None:
    """Found in U2 before anything is masked, in U3 before anything is signed."""
    world, members, office, out = dealt_301()
    victim = world.ids[0]
    cohort = cut_off(world, office._graph, victim)
    far = [one for one in cohort if one not in office._graph.among(victim, world.ids)]
    for one in far[:2]:  # the victim itself and somebody who has nothing to do with it
        shares = tuple(share for share in out[one].shares if share.peer in cohort)
        with pytest.raises(RemoteError, match="neighbours in it"):
            members[one].step(MaskRequest(bitmap(cohort, world.ids), shares))
        assert members[one].state is MemberState.ABORTED
    late = far[2]
    members[late].step(out[late])
    members[late].mask(world.update(late), 1)
    with pytest.raises(RemoteError, match="neighbours in it"):
        members[late].step(AgreeRequest(bitmap(cohort, world.ids), bytes(32)))
    assert not world.ledgers[late].spent


def test_a_member_deals_to_its_neighbours_only() -> None:
    world, _, office, out = dealt_301()
    one = world.ids[7]
    assert tuple(share.peer for share in out[one].shares) == office._graph.among(one, world.ids)
    assert len(out[one].shares) == world.descriptor().degree


def test_the_coordinator_ends_a_round_that_leaves_somebody_alone() -> None:
    world, _, office, _ = dealt_301()
    mine = copy.copy(office)
    with pytest.raises(RemoteError, match="neighbours left"):
        mine._check_graph(cut_off(world, office._graph, world.ids[0]))
    assert mine.state is OfficeState.ABORTED


# --------------------------------------------------------------------- recovery


class Dealt:
    """Secrets of 1000 members, dealt along a graph; nothing else of a round."""

    def __init__(self, n: int, colluders: int, max_dropout: int) -> None:
        ids = tuple(sorted(named(f"dealt {i}") for i in range(n)))
        d = descriptor_of(ids, colluders, max_dropout)
        self.descriptor = d
        self.topology = Topology(d, named("a1"))
        self.ads: dict[bytes, Advertisement] = {}
        self.opened: dict[bytes, dict[bytes, bytes]] = {one: {} for one in ids}
        self.secrets: dict[bytes, bytes] = {}
        for number, one in enumerate(ids):
            secret = named(f"secret {number}")
            self.secrets[one] = secret
            self.ads[one] = Advertisement(
                one, bytes(32), bytes(32), bytes(32), masks.commitment(secret), bytes(64)
            )
            holders = (one, *self.topology.among(one, ids))
            points = [self.topology.index(holder) + 1 for holder in holders]
            values = shamir.deal(secret, points, d.threshold, Entropy(f"{number}"))
            for holder, row in zip(holders, values, strict=True):
                self.opened[holder][one] = shamir.share_bytes(row)

    def replies(self, absent: frozenset[bytes] = frozenset()) -> dict[bytes, UnmaskReply]:
        return {
            holder: UnmaskReply(
                tuple(OpenShare(one, share) for one, share in sorted(shares.items())), ()
            )
            for holder, shares in self.opened.items()
            if holder not in absent
        }

    def recover(self, replies: Mapping[bytes, UnmaskReply]) -> recovery.Secrets:
        ids = self.descriptor.ids
        return recovery.recover(self.descriptor, self.topology, self.ads, ids, (), replies)


def descriptor_of(ids: tuple[bytes, ...], colluders: int, max_dropout: int) -> RoundDescriptor:
    blank = bytes(32)
    return make_descriptor(
        coop=blank,
        run=bytes(16),
        round=1,
        attempt=0,
        task="train",
        model_hash=blank,
        order_hash=blank,
        agreement=blank,
        log_root=blank,
        log_size=9,
        task_hash=blank,
        roster_hash=blank,
        ids=ids,
        colluders=colluders,
        min_cohort=colluders + 2,
        dim=1,
        scale=1,
        clip=1.0,
        w_max=1,
        max_dropout=max_dropout,
        stage_timeouts_s=(60,) * 6,
    )


@cache
def dealt() -> Dealt:
    return Dealt(1000, 100, 10)


def test_a_thousand_secrets_come_back_from_nine_tenths_of_the_holders() -> None:
    world = dealt()
    absent = frozenset(world.descriptor.ids[::10])
    found = world.recover(world.replies(absent))
    assert found.own == world.secrets and not found.blamed


def test_a_wrong_holder_is_blamed_in_a_graph() -> None:
    world = dealt()
    replies = world.replies()
    liar = world.descriptor.ids[0]
    wrong = tuple(
        replace(one, share=bytes([one.share[0] ^ 1]) + one.share[1:])
        for one in replies[liar].own_shares
    )
    found = world.recover({**replies, liar: UnmaskReply(wrong, ())})
    assert found.own == world.secrets
    assert [blame.member for blame in found.blamed] == [liar]
    assert "returned wrong shares" in found.blamed[0].reason


def test_a_wrong_dealer_is_blamed_in_a_graph() -> None:
    world = dealt()
    replies = world.replies()
    owner = world.descriptor.ids[500]
    for holder in world.topology.among(owner, world.descriptor.ids)[:2]:
        opened = tuple(
            replace(one, share=bytes([one.share[0] ^ 1]) + one.share[1:])
            if one.owner == owner
            else one
            for one in replies[holder].own_shares
        )
        replies[holder] = UnmaskReply(opened, ())
    found = world.recover(replies)
    assert found.own == world.secrets
    assert [blame.member for blame in found.blamed] == [owner]


def test_one_neighbourhood_that_falls_silent_ends_the_round() -> None:
    world = dealt()
    owner, t = world.descriptor.ids[3], world.descriptor.threshold
    holders = world.topology.owners(owner, world.descriptor.ids)
    absent = frozenset(holders[t - 1 :])
    with pytest.raises(RemoteError, match=f"no {t} of the {t - 1} shares of {owner.hex()[:16]}"):
        world.recover(world.replies(absent))


def test_many_interpolations_at_once_equal_one_by_one() -> None:
    rng = np.random.default_rng(5)
    points = np.array([rng.choice(1000, 40, replace=False) + 1 for _ in range(20)])
    rows = shamir.zero_weights(points)
    p = shamir.PRIME
    for row, xs in zip(rows.tolist(), points.tolist(), strict=True):
        for weight, x in zip(row, xs, strict=True):
            above = below = 1
            for other in xs:
                if other != x:
                    above, below = above * other % p, below * (other - x) % p
            assert weight == above * pow(below, -1, p) % p


def test_a_topology_is_the_same_for_everybody() -> None:
    d = sparse().descriptor()
    one, two = (Topology(d, hashlib.sha256(b"a1").digest()) for _ in range(2))
    ids = d.ids
    for member in ids[:20]:
        near = one.among(member, ids)
        assert near == two.among(member, ids)
        assert all(member in one.among(other, ids) for other in near)
        assert one.owners(member, ids) == tuple(sorted((member, *near)))
    assert one.least_degree(ids) == d.degree
