"""A coordinator that lies. Every honest node refuses, writes the reason down, and says nothing.

Numbers in brackets are those of the attack list in the protocol's specification; here they come
as Flower messages to nodes in the middle of a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_dropouts import EVERYBODY, attempts, survivors

from coordinator.rounds.attempt import AUDITS
from coordinator.store.runs import State
from protocols import codec
from protocols.secagg.messages import (
    AgreementSignature,
    AgreeRequest,
    MaskRequest,
    Request,
    ShareRequest,
    UnmaskRequest,
    bitmap,
    first_transcript,
    second_transcript,
    third_transcript,
)
from protocols.secagg.params import quorum_size
from protocols.secagg.published import SUM_TAG, PublishedSum
from sim_checks import played
from sim_lies import with_descriptor, with_record
from sim_operations import (
    ADVERTISE,
    AGREE,
    AUDIT,
    MASK,
    SHARE,
    UNMASK,
    Abort,
    CoordinatorCrash,
    Drop,
    FalseSum,
    Forge,
    Restart,
    SplitView,
)
from sim_papers import Papers, papers
from sim_world import World
from small_coop import COORDINATOR, LOG

ALL = tuple(sorted(EVERYBODY))
FIRST_ROUND = Abort(ADVERTISE, round=2)


def ids_of(one: Papers, *names: str) -> tuple[bytes, ...]:
    return tuple(one.raw(name) for name in names)


DESCRIPTORS: dict[str, tuple[dict[str, Any], str]] = {
    "another model [8]": ({"model_hash": bytes(32)}, "model_hash of the round"),
    "another order": ({"order_hash": bytes(32)}, "c13"),
    "other code or settings [10]": ({"task_hash": bytes(32)}, "task_hash"),
    "another task": ({"task": "evaluate"}, "task of the round"),
    "another roster [11]": ({"roster_hash": bytes(32)}, "c01"),
    "another agreement": ({"agreement": bytes(32)}, "c05"),
    "another history": ({"prev_transcript": bytes([1]) * 32}, "prev_transcript"),
    "a larger clip": ({"clip": 2.0}, "clip of the round is 2.0"),
    "a finer scale": ({"scale": 2**17}, "scale of the round"),
    "a shorter vector": ({"dim": 100}, "dim of the round"),
    "a higher weight": ({"w_max": 3}, "w_max of the round"),
    "a smaller quorum [2]": ({"quorum": 3}, "the quorum is 3"),
    "threshold 1 [1]": ({"threshold": 1}, "share threshold is 1"),
    "a smaller cohort [3]": ({"min_cohort": 3}, "smallest cohort is 3"),
    "fewer colluders [4]": ({"colluders": 1, "quorum": quorum_size(7, 1)}, "1 colluders"),
    "a modulus that wraps [5]": ({"bits": 10}, "modulus in bits is 10"),
    "a sparse graph [7]": ({"degree": 2}, "degree of the graph is 2"),
    "noise that nobody agreed on": ({"sigma_local": 1.0}, "sigma_local of the round is 1.0"),
    "no time limit": ({"stage_timeouts_s": (5, 5, 1_000_000, 5, 5, 5)}, "stage_timeouts_s"),
}


@pytest.mark.parametrize("at", range(0, len(DESCRIPTORS), 4))
def test_a_false_descriptor_is_refused_by_everybody(at: int, tmp_path: Path) -> None:
    """Four lies in a row, one an attempt; the fifth attempt is honest and everybody is in it."""
    lies = list(DESCRIPTORS.values())[at : at + 4]
    told = [SplitView(ALL, ADVERTISE, with_descriptor(**changes)) for changes, _ in lies]
    world = World(tmp_path, papers(rounds=1))
    assert played(world, [*told, FIRST_ROUND]) is State.ABORTED
    for node in world.nodes.values():
        reasons = node.refusals()
        assert len(reasons) == len(lies)
        for reason, (_, words) in zip(reasons, lies, strict=True):
            assert words in reason
    assert attempts(world) == [len(lies)] and survivors(world, 1) == EVERYBODY


def test_a_cohort_that_is_not_the_orders(tmp_path: Path) -> None:
    """[9, 12] A member left out, and a stranger in its place."""
    made = papers(rounds=1)
    without = with_descriptor(ids=ids_of(made, "m1", "m2", "m3", "m4", "m5", "m6"))
    strange = with_descriptor(ids=tuple(sorted((*ids_of(made, *ALL[:6]), b"\x07" * 32))))
    world = World(tmp_path, made)
    lies = [SplitView(ALL, ADVERTISE, without), SplitView(ALL, ADVERTISE, strange)]
    assert played(world, [*lies, FIRST_ROUND]) is State.ABORTED
    for node in world.nodes.values():
        assert [("0 more, 1 missing" in one, "1 more, 1 missing" in one)
                for one in node.refusals()] == [(True, False), (False, True)]  # fmt: skip


def test_one_member_is_shown_another_model(tmp_path: Path) -> None:
    """[9] It stays out; the others never see its view."""
    lie = SplitView(("m4",), ADVERTISE, with_descriptor(model_hash=bytes(32)))
    world = World(tmp_path, papers(rounds=1))
    played(world, [lie])
    assert survivors(world, 1) == EVERYBODY - {"m4"} and survivors(world, 2) == EVERYBODY


def test_a_replayed_descriptor(tmp_path: Path) -> None:
    """[31] The first attempt's stage 0, byte for byte, in the second attempt."""
    kept: list[bytes] = []

    def keep(envelope: bytes) -> bytes:
        kept.append(envelope)
        return envelope

    world = World(tmp_path, papers(rounds=1))
    operations = [
        Forge(("m4",), ADVERTISE, keep),
        CoordinatorCrash(SHARE),
        Forge(("m4",), ADVERTISE, lambda envelope: kept[0]),
        FIRST_ROUND,
    ]
    played(world, operations)
    assert "attempt 0 of round 1 is over; 1 is the next" in world.nodes["m4"].refusals()[0]
    assert survivors(world, 1) == EVERYBODY - {"m4"}


def test_a_second_attempt_of_a_round_that_was_signed(tmp_path: Path) -> None:
    """[32] An office that lost its log would get a second sum of the round; nobody signs again."""
    world = World(tmp_path, papers(rounds=1), real_ledgers=True)
    lost = CoordinatorCrash(UNMASK, when="middle", forgets=True)
    assert played(world, [lost]) is State.FAILED
    assert "spent" in world.home.state()[1] and world.home.records() == ()
    for node in world.nodes.values():
        over, spent = node.refusals()
        assert "attempt 0 of round 1 is over" in over and "was spent before" in spent


def test_a_second_attempt_after_the_nodes_started_again(tmp_path: Path) -> None:
    """[32] The mark is on the disk, so a new process knows it too."""
    world = World(tmp_path, papers(rounds=1), real_ledgers=True)
    operations = [
        *(Drop(name, AGREE, when="after") for name in ALL),
        CoordinatorCrash(AGREE, when="end", forgets=True),
        *(Restart(name) for name in ALL),
    ]
    assert played(world, operations) is State.FAILED
    for node in world.nodes.values():
        assert "was spent before" in node.refusals()[-1]


def _u1_without_last(request: Request) -> Request:
    assert isinstance(request, ShareRequest)
    return ShareRequest(request.advertisements[:-1])


def _own_key_changed(request: Request) -> Request:
    assert isinstance(request, ShareRequest)
    first, *rest = request.advertisements
    return ShareRequest((replace(first, s_public=bytes(31) + b"\x09"), *rest))


def _sets(made: Papers, *names: str) -> bytes:
    return bitmap(ids_of(made, *names), made.course.descriptor(
        1, 0, made.course.first_model(), LOG).ids)  # fmt: skip


def _shown(request: Request, survivors: bytes) -> Request:
    assert isinstance(request, AgreeRequest)
    return replace(request, survivors=survivors)


def _shares_withheld(request: Request) -> Request:
    assert isinstance(request, MaskRequest)
    return replace(request, shares=request.shares[1:])


def _share_changed(request: Request) -> Request:
    assert isinstance(request, MaskRequest)
    first, *rest = request.shares
    return replace(request, shares=(replace(first, sealed=bytes(len(first.sealed))), *rest))


def _certificate(change: Callable[[tuple[AgreementSignature, ...]], Any]) -> Any:
    def edit(request: Request) -> Request:
        assert isinstance(request, UnmaskRequest)
        return replace(request, certificate=tuple(change(request.certificate)))

    return edit


VIEWS: dict[str, tuple[Any, Any, str]] = {
    "without its own keys [17]": (SHARE, lambda m: _own_key_changed, "own keys"),
    "a key that its owner did not sign [13]": (
        SHARE,
        lambda m: (
            lambda r: ShareRequest(
                (*r.advertisements[:-1], replace(r.advertisements[-1], nonce=bytes(32)))
            )
        ),
        "does not verify",
    ),
    "U1 too small": (
        SHARE,
        lambda m: lambda r: ShareRequest(r.advertisements[:4]),
        "U1 has 4 members, at least 5",
    ),
    "shares withheld [19]": (MASK, lambda m: _shares_withheld, "not exactly those"),
    "a share that was tampered with [18]": (MASK, lambda m: _share_changed, "sealed share"),
    "U2 too small [21]": (
        MASK,
        lambda m: (
            lambda r: replace(r, cohort=_sets(m, "m1", "m2", "m3", "m4"), shares=r.shares[:3])
        ),
        "U2 has 4 members",
    ),
    "a bitmap that is too long [39]": (
        MASK,
        lambda m: lambda r: replace(r, cohort=b"\xff\xff"),
        "a bitmap over 7 members",
    ),
    "U3 without itself [23]": (
        AGREE,
        lambda m: lambda r: replace(r, survivors=_sets(m, *ALL[1:])),
        "does not hold this member",
    ),
    "U3 with itself alone [22]": (
        AGREE,
        lambda m: lambda r: replace(r, survivors=_sets(m, "m1")),
        "at least 5",
    ),
    "too few signatures [27]": (
        UNMASK,
        lambda m: _certificate(lambda c: c[:4]),
        "has 4 signatures, 5 are needed",
    ),
    "one signature five times [27]": (
        UNMASK,
        lambda m: _certificate(lambda c: [c[0]] * 5),
        "not ascending",
    ),
    "a forged signature [26]": (
        UNMASK,
        lambda m: _certificate(lambda c: [*c[:-1], replace(c[-1], signature=bytes(64))]),
        "does not verify",
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_one_member_is_told_something_else(name: str, tmp_path: Path) -> None:
    stage, edit, words = VIEWS[name]
    made = papers(rounds=1)
    world = World(tmp_path, made)
    played(world, [SplitView(("m1",), stage, edit(made)), FIRST_ROUND])
    (reason,) = world.nodes["m1"].refusals()
    assert words in reason
    # it left after its vector was in, or before
    assert survivors(world, 1) == (EVERYBODY if stage >= AGREE else EVERYBODY - {"m1"})
    assert all(world.nodes[name].refusals() == [] for name in ALL[1:])


def test_a_smaller_u1_for_one_member_shows_in_the_next_stage(tmp_path: Path) -> None:
    """[15] It deals no share for m7, so the honest part of the office leaves it out and says why.

    What happens under an office that lies here too stands in the tests of the protocol.
    """
    world = World(tmp_path, papers(rounds=1))
    played(world, [SplitView(("m1",), SHARE, _u1_without_last), FIRST_ROUND])
    assert survivors(world, 1) == EVERYBODY - {"m1"}
    log = (world.home.folder / "audit" / "log.jsonl").read_text()
    assert "its shares are not for exactly its neighbours in U1" in log


def test_a_split_view_of_the_survivors_gets_no_quorum(tmp_path: Path) -> None:
    """[24] Three see U3 without m7. No certificate stands for either view; nothing is opened."""
    made = papers(rounds=1)
    world = World(tmp_path, made)
    other = SplitView(ALL[:3], AGREE, lambda request: _shown(request, _sets(made, *ALL[:6])))
    assert played(world, [other]) is State.FAILED
    assert "spent" in world.home.state()[1]
    assert not [one for one in world.said if one.stage is UNMASK]
    assert {one.member for one in world.said if one.stage is AGREE and one.envelope} == EVERYBODY


def test_a_sum_that_was_changed_on_the_way_is_not_followed(tmp_path: Path) -> None:
    """[45, 48] Its certificate is for another one. Told the truth, they are back a round later."""
    world = World(tmp_path, papers(rounds=2))
    lie = with_record(lambda one: replace(one, total=one.total + (one.total == one.total.max())))
    assert played(world, [FalseSum(("m2", "m5"), lie)]) is not State.FAILED
    for name in ("m2", "m5"):
        reasons = world.nodes[name].refusals()
        assert len(reasons) == 1 and "the signature over 'SAQ1 SUM' does not verify" in reasons[0]
    assert survivors(world, 2) == EVERYBODY - {"m2", "m5"} and survivors(world, 3) == EVERYBODY


def test_a_sum_that_is_not_the_sum_is_confirmed_by_nobody(tmp_path: Path) -> None:
    """[48] What auditors are shown was changed: none signs it, so nothing is published."""

    def other(request: Any) -> Any:
        published = request.head.published
        total = published.total + (published.total == published.total.max())
        return replace(
            request, head=replace(request.head, published=replace(published, total=total))
        )

    world = World(tmp_path, papers(rounds=1))
    lies = [SplitView(ALL, AUDIT, other) for _ in range(AUDITS)]
    assert played(world, lies) is State.FAILED
    assert "must confirm it" in world.home.state()[1] and world.home.records() == ()
    asked = {one.member for one in world.said if one.stage is AUDIT}
    assert len(asked) >= 5  # with two left to ask nobody can get three
    for name in asked:
        assert "the sum cannot be confirmed" in world.nodes[name].refusals()[0]


def _resigned(made: Papers) -> Callable[[PublishedSum], PublishedSum]:
    """The same sum under other keys, with a quorum of true signatures: colluding members."""

    def edit(one: PublishedSum) -> PublishedSum:
        ads = bytes([9]) * 32
        a2 = second_transcript(first_transcript(one.descriptor_digest, ads), one.cohort)
        a3 = third_transcript(a2, one.survivor_map, one.vectors_hash)
        quorum = [
            AgreementSignature(made.raw(name), made.keys[name].sign("SAQ1 A3", a3))
            for name in ALL[:5]
        ]
        confirmed = [
            AgreementSignature(made.raw(name), made.keys[name].sign(SUM_TAG, a3, one.sum_hash()))
            for name in ALL[:3]
        ]
        return replace(
            one,
            ads_hash=ads,
            a3=a3,
            certificate=tuple(quorum),
            sum_certificate=tuple(confirmed),
        )

    return edit


RECORDS: dict[str, tuple[Any, str]] = {
    "not the round that it signed": (_resigned, "not the one that this node signed"),
    "no certificate": (lambda m: lambda one: replace(one, certificate=()), "the certificate has 0"),
    "other survivors": (
        lambda m: lambda one: replace(one, survivor_map=_sets(m, *ALL[:6])),
        "transcript does not follow",
    ),
    "too large": (
        lambda m: lambda one: replace(one, total=one.total + 500_000),
        "has a coordinate of",
    ),
    "another round": (lambda m: lambda one: replace(one, round=2), "its round"),
    "weights": (lambda m: lambda one: replace(one, weight_sum=8), "weights of 8"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_published_round_that_does_not_verify(name: str, tmp_path: Path) -> None:
    edit, words = RECORDS[name]
    made = papers(rounds=1)
    world = World(tmp_path, made)
    played(world, [FalseSum(("m6",), with_record(edit(made)))])
    (reason,) = world.nodes["m6"].refusals()
    assert words in reason
    assert survivors(world, 2) == EVERYBODY - {"m6"}
    # it asked again after the run, was told the truth, and followed
    participant = world.nodes["m6"].participant
    assert participant is not None and participant.trace.model == world.trace.model


@pytest.mark.parametrize("raw", [b"", b"\x00" * 100, b"garbage" * 1000])
def test_a_published_round_that_is_garbage(raw: bytes, tmp_path: Path) -> None:
    world = World(tmp_path, papers(rounds=1))
    played(world, [FalseSum(("m6",), lambda _: raw)])
    assert "not the record of a round" in world.nodes["m6"].refusals()[0]


def test_stages_out_of_order(tmp_path: Path) -> None:
    """[35] A request of another stage of the same attempt, properly signed, ends it."""
    kept: dict[str, bytes] = {}

    def keep(envelope: bytes) -> bytes:
        kept["share"] = envelope
        return envelope

    world = World(tmp_path, papers(rounds=1))
    operations = [
        Forge(("m3",), SHARE, keep),
        Forge(("m3",), AGREE, lambda _: kept["share"]),
        FIRST_ROUND,
    ]
    played(world, operations)
    assert "a share request came while this member was masked" in world.nodes["m3"].refusals()[0]


def test_the_order_of_messages_is_the_coordinators_alone(tmp_path: Path) -> None:
    """An envelope of one attempt around the descriptor of another is refused."""

    def mixed(envelope: bytes) -> bytes:
        found = codec.peek_envelope(envelope)
        return codec.seal(
            key=COORDINATOR,
            sender=codec.COORDINATOR,
            run=found.run,
            round=found.round,
            attempt=found.attempt + 1,
            stage=found.stage,
            agreement=found.agreement,
            body=found.body,
        )

    world = World(tmp_path, papers(rounds=1))
    played(world, [Forge(("m3",), ADVERTISE, mixed), FIRST_ROUND])
    assert "another attempt than its envelope" in world.nodes["m3"].refusals()[0]
