"""A coordinator that tells one member another U2 than its neighbours, in a sparse graph.

The secrets that masks come from are older than U2. Were they opened for whoever stands in U3, a
member that masked under a U2 of its own would be laid bare by its neighbours' honest answers: its
own mask by the shares of b, every other by the seeds of those that "dropped out".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import pytest
from secagg_world import World, play

from protocols.errors import RemoteError
from protocols.secagg import MemberState, Stage
from protocols.secagg.merkle import vector_root
from protocols.secagg.messages import (
    AgreementSignature,
    AgreeReply,
    AgreeRequest,
    MaskRequest,
    UnmaskRequest,
    VectorRoot,
    bitmap,
    vectors_hash,
)
from protocols.signing import verify


@contextmanager
def only_vectors() -> Iterator[None]:
    """Signatures on keys and on A3 are honest here, and thousands; those on vectors count."""

    def checked(key: bytes, signature: bytes, tag: str, *parts: bytes, peer: str) -> None:
        if tag == "SAQ1 Y":
            verify(key, signature, tag, *parts, peer=peer)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("messages", "_phases"):
            patch.setattr(f"protocols.secagg.{name}.verify", checked)
        yield


class Split:
    """301 members, nobody colludes: the coordinator alone lies, to one of them."""

    def __init__(self) -> None:
        self.world = World(n=301, colluders=1, dim=6, max_dropout=10, seed="split")
        world = self.world
        self.members, self.office = world.members(), world.aggregator()
        self.out = play(world, self.members, self.office, until=Stage.SHARE, wire=False)
        self.victim = world.ids[0]
        self.near = self.office._graph.among(self.victim, world.ids)
        self.least = world.descriptor().threshold
        # what the victim is told of: t of its neighbours; and all of them "drop out" for others
        told, hidden = self.near[: self.least], self.near[self.least :]
        self.gone = told
        self.cohort = tuple(one for one in world.ids if one not in hidden)
        self.survivors = tuple(one for one in world.ids if one not in told)
        self.roots: dict[bytes, VectorRoot] = {}
        for one in self.survivors:
            self.mask(one)
        near = {self.victim, *self.near}
        self.spare = next(one for one in self.survivors if one not in near)  # not asked to agree

    def mask(self, one: bytes) -> None:
        request = self.out[one]
        assert isinstance(request, MaskRequest)
        if one == self.victim:
            shares = tuple(share for share in request.shares if share.peer in self.gone)
            request = MaskRequest(bitmap(self.cohort, self.world.ids), shares)
        assert self.members[one].step(request) is None
        reply = self.members[one].mask(self.world.update(one), 1)
        root = vector_root(reply.vector, self.world.descriptor().width)
        self.roots[one] = VectorRoot(one, root, reply.signature)

    def agree(self, one: bytes) -> AgreementSignature:
        hashed = vectors_hash(self.roots[each] for each in self.survivors)
        bits = bitmap(self.survivors, self.world.ids)
        near = self.office._graph.among(one, self.survivors)
        roots = tuple(self.roots[each] for each in near)
        reply = self.members[one].step(AgreeRequest(bits, hashed, roots))
        assert isinstance(reply, AgreeReply)
        return AgreementSignature(one, reply.signature)


@cache
def split_once() -> Split:
    with only_vectors():
        return Split()


def test_nobody_opens_a_secret_of_a_member_that_masked_under_another_u2() -> None:
    split = split_once()
    with only_vectors():
        assert len(split.cohort) >= split.world.descriptor().least_survivors
        refused, signed = set(), []
        for one in split.survivors:
            if one in (split.victim, split.spare):
                continue
            try:
                signed.append(split.agree(one))
            except RemoteError:
                assert not split.world.ledgers[one].spent
                refused.add(one)
        # a quorum of strangers signs; those who hold shares of the victim's secrets do not
        assert refused == set(split.near) - set(split.gone)
        assert len(signed) >= split.world.descriptor().quorum
        certificate = UnmaskRequest(tuple(signed))
        replies = [split.members[one.member].step(certificate) for one in signed]
    opened = {share.owner for reply in replies for share in reply.own_shares}  # type: ignore[union-attr]
    assert split.victim not in opened
    assert set(split.survivors) - {split.victim} <= opened


@pytest.mark.parametrize("wrong", ["none", "fewer", "another's", "a stranger's"])
def test_the_vectors_shown_are_those_of_the_neighbours_in_u3(wrong: str) -> None:
    split = split_once()
    one = split.spare
    near = split.office._graph.among(one, split.survivors)
    stranger = next(each for each in split.survivors if each not in (one, *near))
    roots = tuple(split.roots[each] for each in near)
    first = roots[0]
    shown = {
        "none": (),
        "fewer": roots[1:],
        "another's": (replace(split.roots[near[1]], member=first.member), *roots[1:]),
        "a stranger's": (split.roots[stranger], *roots[1:]),
    }[wrong]
    member = copy.copy(split.members[one])
    with only_vectors(), pytest.raises(RemoteError):
        member.step(AgreeRequest(bitmap(split.survivors, split.world.ids), bytes(32), shown))
    assert member.state is MemberState.ABORTED
    assert not split.world.ledgers[one].spent


def test_in_a_complete_graph_no_vectors_are_shown() -> None:
    """There a quorum that signed A3 leaves every victim of another U2 an honest mask."""
    world = World(n=4)
    members, office = world.members(), world.aggregator()
    out = play(world, members, office, until=Stage.MASK)
    one = world.ids[0]
    request = out[one]
    assert isinstance(request, AgreeRequest) and request.roots == ()
    root = VectorRoot(world.ids[1], bytes(32), bytes(64))
    with pytest.raises(RemoteError, match="not exactly those"):
        members[one].step(replace(request, roots=(root,)))
