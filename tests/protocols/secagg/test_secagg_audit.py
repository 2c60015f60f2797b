"""The audit of a sum: survivors recompute it, whole or in chunks; C + 1 make a certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from secagg_world import World, certified, confirm, named, play

from protocols.codec import decode_audit_request, decode_published, encode_message
from protocols.errors import CoopError, InputError, LocalError, RemoteError
from protocols.secagg import (
    AuditReply,
    AuditRequest,
    PublishedSum,
    RoundResult,
    Stage,
    SumAudit,
    check_certificate,
    disclosure,
    masks,
    merkle,
)
from protocols.secagg.disclosure import AuditPart, draw, in_full, spots
from protocols.secagg.messages import AgreementSignature, VectorRoot
from protocols.signing import SigningKey

SPOT_DIM = 100_000  # seven chunks
SPOT_BODY = 8 * SPOT_DIM + 700_000  # five vectors do not fit, four chunks of each do


@cache
def finished(dim: int = 40, colluders: int = 1) -> tuple[World, RoundResult]:
    world = World(n=6, dim=dim, colluders=colluders, min_cohort=colluders + 2, seed=f"audit {dim}")
    gone = {Stage.MASK: frozenset(world.ids[:1])}
    result = play(world, world.members(), world.aggregator(), gone=gone)
    assert isinstance(result, RoundResult)
    return world, result


@pytest.fixture
def spot(monkeypatch: pytest.MonkeyPatch) -> tuple[World, RoundResult]:
    """A round whose sum is too large to be disclosed in full."""
    world, result = finished(SPOT_DIM)
    monkeypatch.setattr(disclosure, "BODY_BYTES", SPOT_BODY)
    assert not in_full(world.descriptor(), 5) and spots(world.descriptor(), 5) == 5
    return world, result


def test_the_agreement_says_how_much_of_a_large_sum_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 200 chunks: 32 at least, then as many as clause 24 asks for, never more than fit."""
    world = World(n=6, dim=199 * 16_384 + 1, colluders=1, min_cohort=3)
    monkeypatch.setattr(disclosure, "BODY_BYTES", 10**10)
    seen = {
        percent: spots(replace(world.descriptor(), spot_percent=percent), 5)
        for percent in (0, 16, 17, 50, 100)
    }
    assert seen == {0: 32, 16: 32, 17: 34, 50: 100, 100: 200}
    assert world.descriptor().digest() != replace(world.descriptor(), spot_percent=11).digest()


def audit_of(world: World, result: RoundResult, **changes: Any) -> SumAudit:
    if changes:
        result = replace(result, published=replace(result.published, **changes))
    return SumAudit(result, world.roster, world.vectors.__getitem__)


def first_request(audit: SumAudit) -> tuple[bytes, AuditRequest]:
    return next(iter(audit.due().items()))


def rejects(world: World, one: bytes, request: AuditRequest, match: str, **known: Any) -> None:
    with pytest.raises(CoopError, match=match) as caught:
        confirm(world, one, request, **known)
    assert isinstance(caught.value, RemoteError)


# ------------------------------------------------------------------- in full


def test_a_sum_is_confirmed_and_its_certificate_verifies() -> None:
    world, result = finished()
    published = certified(world, result)
    assert len(published.sum_certificate) == 2
    again = decode_published(encode_message(published))
    check_certificate(again, world.descriptor(), world.roster)
    with pytest.raises(RemoteError, match="0 survivors confirmed the sum, 2 are needed"):
        check_certificate(result.published, world.descriptor(), world.roster)


def test_auditors_are_asked_in_the_order_that_the_transcript_draws() -> None:
    world, result = finished()
    audit = audit_of(world, result)
    assert sorted(audit.order) == list(result.u3)
    assert audit.order == disclosure.auditor_order(result.a3, result.u3)
    assert tuple(audit.due()) == audit.order[:2] == audit.waiting_for
    assert not audit.due()
    other = disclosure.auditor_order(named("another round"), result.u3)
    assert other != audit.order


def test_stand_ins_take_the_place_of_the_absent() -> None:
    world, result = finished()
    order = audit_of(world, result).order
    published = certified(world, result, absent=frozenset(order[:3]))
    assert {one.member for one in published.sum_certificate} == set(order[3:])
    with pytest.raises(RemoteError, match="0 survivors confirmed the sum and 1 are left"):
        certified(world, result, absent=frozenset(order[:4]))


def test_one_that_refuses_is_replaced_at_once() -> None:
    world, result = finished()
    audit = audit_of(world, result)
    first, second = audit.due()
    audit.lapse(first)
    assert tuple(audit.due()) == (audit.order[2],)
    assert audit.waiting_for == (second, audit.order[2])


def test_one_figure_more_or_less_is_found() -> None:
    world, result = finished()
    for at in (0, 17, 39):
        total = result.sum.copy()
        total[at] += 1
        one, request = first_request(audit_of(world, result, total=total))
        rejects(world, one, request, "1 of 41 figures differ")


def test_a_wrong_sum_of_weights_is_found() -> None:
    world = World(n=13, dim=8, min_cohort=13, w_max=4, seed="weights")
    result = play(world, world.members(), world.aggregator(), weights=dict.fromkeys(world.ids, 2))
    assert isinstance(result, RoundResult) and result.weight_sum == 26
    one, request = first_request(audit_of(world, result, weight_sum=27))
    rejects(world, one, request, "the first is 26 here and 27 there")


def altered(request: AuditRequest, **changes: Any) -> AuditRequest:
    return replace(request, head=replace(request.head, **changes))


def swapped(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return (values[1], values[0], *values[2:])


def other_vector(world: World, request: AuditRequest) -> AuditRequest:
    """Another vector with a root that the coordinator signs for its member."""
    vector = bytes(len(request.vectors[0]))
    root = merkle.vector_root(vector, world.descriptor().width)
    forged = VectorRoot(request.head.roots[0].member, root, request.head.roots[0].signature)
    changed = altered(request, roots=(forged, *request.head.roots[1:]))
    return replace(changed, vectors=(vector, *request.vectors[1:]))


LIES: list[tuple[str, str, Callable[[World, AuditRequest], AuditRequest]]] = [
    (
        "descriptor signed by another",
        "does not verify",
        lambda w, r: altered(r, opening=replace(r.head.opening, signature=bytes(64))),
    ),
    (
        "another descriptor",
        "another descriptor|does not verify",
        lambda w, r: altered(
            r,
            opening=replace(
                r.head.opening, descriptor=replace(r.head.opening.descriptor, log_root=bytes(32))
            ),
        ),
    ),
    (
        "certificate too short",
        "are needed",
        lambda w, r: altered(
            r, published=replace(r.head.published, certificate=r.head.published.certificate[:3])
        ),
    ),
    (
        "keys left out",
        "advertisements",
        lambda w, r: altered(r, advertisements=r.head.advertisements[1:]),
    ),
    (
        "keys exchanged",
        "advertisements",
        lambda w, r: altered(r, advertisements=swapped(r.head.advertisements)),
    ),
    (
        "secrets exchanged",
        "committed",
        lambda w, r: altered(r, own_secrets=swapped(r.head.own_secrets)),
    ),
    (
        "a secret left out",
        "4 secrets of survivors, expected 5",
        lambda w, r: altered(r, own_secrets=r.head.own_secrets[1:]),
    ),
    ("another seed", "does not give its key", lambda w, r: altered(r, seeds=(bytes(32),))),
    ("a seed left out", "0 seeds, expected 1", lambda w, r: altered(r, seeds=())),
    (
        "roots exchanged",
        "not those of the survivors",
        lambda w, r: altered(r, roots=swapped(r.head.roots)),
    ),
    ("another vector", "the transcript binds", other_vector),
    (
        "a root that its member did not sign",
        "does not verify",
        lambda w, r: altered(
            r, roots=(replace(r.head.roots[0], signature=bytes(64)), *r.head.roots[1:])
        ),
    ),
    (
        "vectors exchanged",
        "not the one it signed",
        lambda w, r: replace(r, vectors=swapped(r.vectors)),
    ),
    ("a vector left out", "4 vectors, expected 5", lambda w, r: replace(r, vectors=r.vectors[1:])),
    ("no vectors", "0 vectors, expected 5", lambda w, r: replace(r, vectors=())),
    (
        "a vector cut short",
        "not the one it signed",
        lambda w, r: replace(r, vectors=(r.vectors[0][:-1], *r.vectors[1:])),
    ),
]


@pytest.mark.parametrize(("match", "lie"), [one[1:] for one in LIES], ids=[one[0] for one in LIES])
def test_a_disclosure_with_a_lie_in_it_is_refused(
    match: str, lie: Callable[[World, AuditRequest], AuditRequest]
) -> None:
    world, result = finished()
    one, request = first_request(audit_of(world, result))
    rejects(world, one, lie(world, request), match)


def test_an_auditor_holds_the_sum_against_what_it_knows() -> None:
    world, result = finished()
    one, request = first_request(audit_of(world, result))
    own = next(root.root for root in result.roots if root.member == one)
    known = {"transcript": result.a3, "own_root": own, "answered": result.published.sum_hash()}
    assert confirm(world, one, request, **known).signature
    rejects(world, one, request, "not the one that this member signed", transcript=bytes(32))
    rejects(world, one, request, "another vector than this member sent", own_root=bytes(32))
    rejects(world, one, request, "another sum of the same round", answered=bytes(32))


def test_who_did_not_survive_confirms_nothing() -> None:
    world, result = finished()
    _, request = first_request(audit_of(world, result))
    rejects(world, world.ids[0], request, "not among the survivors")


def test_the_disclosure_prints_no_secret() -> None:
    world, result = finished()
    _, request = first_request(audit_of(world, result))
    text = repr(request) + repr(result) + repr(result.secrets)
    for secret in (*result.secrets.own.values(), *result.secrets.seeds.values(), *request.vectors):
        assert repr(secret)[2:-1] not in text


# ----------------------------------------------------------------- spot checks


def test_a_large_sum_is_confirmed_in_chunks(spot: tuple[World, RoundResult]) -> None:
    world, result = spot
    check_certificate(certified(world, result), world.descriptor(), world.roster)


def second_request(world: World, audit: SumAudit) -> tuple[bytes, AuditRequest]:
    one, request = first_request(audit)
    assert not request.vectors and not request.chunks
    audit.receive(one, confirm(world, one, request))
    out = audit.due()
    assert tuple(out) == (one,)
    return one, out[one]


def test_the_weights_are_always_looked_at(spot: tuple[World, RoundResult]) -> None:
    world, result = spot
    for nonce in (b"a" * 32, b"b" * 32):
        drawn = draw(result.a3, result.published.sum_hash(), nonce, world.descriptor(), 5)
        assert drawn[-1] == 6 and len(drawn) == 5 == len(set(drawn))
    total = result.sum.copy()
    total[-1] += 1
    one, request = second_request(world, audit_of(world, result, total=total))
    rejects(world, one, request, "1 of 1697 figures differ")


def test_a_sum_that_is_wrong_everywhere_is_found(spot: tuple[World, RoundResult]) -> None:
    world, result = spot
    total = result.sum + 1
    total[98_304:] -= 1  # but where everybody looks
    one, request = second_request(world, audit_of(world, result, total=total))
    rejects(world, one, request, "16384 of 16384 figures differ")


def test_a_wrong_chunk_that_is_not_drawn_passes_and_one_that_is_does_not(
    spot: tuple[World, RoundResult],
) -> None:
    """The rate is what the agreement says; several auditors draw differently."""
    world, result = spot
    found = set()
    for number in range(6):
        total = result.sum.copy()
        total[number * merkle.CHUNK_COORDINATES] ^= 1
        audit = audit_of(world, result, total=total)
        one, request = second_request(world, audit)
        hit = number in [chunk.index for chunk in request.chunks]
        if hit:
            rejects(world, one, request, "figures differ")
        else:
            assert confirm(world, one, request).signature
        found.add(hit)
    assert found == {True, False}


def test_the_nonce_depends_on_the_member_and_on_the_sum(spot: tuple[World, RoundResult]) -> None:
    world, result = spot
    nonces = set()
    for change in (0, 1):
        total = result.sum.copy()
        total[0] ^= change
        out = audit_of(world, result, total=total).due()
        nonces |= {confirm(world, one, request).nonce for one, request in out.items()}
    assert len(nonces) == 4


def altered_part(request: AuditRequest, **changes: Any) -> AuditRequest:
    chunk = request.chunks[1]
    part = replace(chunk.parts[0], **changes)
    chunks = list(request.chunks)
    chunks[1] = replace(chunk, parts=(part, *chunk.parts[1:]))
    return replace(request, chunks=tuple(chunks))


@pytest.mark.parametrize(
    ("match", "lie"),
    [
        ("not those that this member drew", lambda r: replace(r, chunks=r.chunks[1:])),
        ("not those that this member drew", lambda r: replace(r, chunks=swapped(r.chunks))),
        (
            "not what it signed",
            lambda r: altered_part(r, data=bytes(len(r.chunks[1].parts[0].data))),
        ),
        ("hashes, expected", lambda r: altered_part(r, path=r.chunks[1].parts[0].path[1:])),
        ("not what it signed", lambda r: altered_part(r, path=(bytes(32),) * 3)),
        ("not what it signed", lambda r: altered_part(r, data=r.chunks[1].parts[0].data[:-1])),
        (
            "4 parts, expected 5",
            lambda r: replace(
                r, chunks=(replace(r.chunks[0], parts=r.chunks[0].parts[1:]), *r.chunks[1:])
            ),
        ),
        ("whole vectors, expected 0", lambda r: replace(r, chunks=(), vectors=(b"x",) * 5)),
    ],
)
def test_chunks_with_a_lie_in_them_are_refused(
    spot: tuple[World, RoundResult], match: str, lie: Callable[[AuditRequest], AuditRequest]
) -> None:
    world, result = spot
    one, request = second_request(world, audit_of(world, result))
    rejects(world, one, lie(request), match)


# ------------------------------------------------------- the coordinator's machine


def test_a_wrong_confirmation_is_blamed_and_replaced() -> None:
    world, result = finished()
    audit = audit_of(world, result)
    first, second = audit.due()
    with pytest.raises(RemoteError, match="does not verify"):
        audit.receive(first, AuditReply(signature=bytes(64)))
    with pytest.raises(RemoteError, match="was shown everything"):
        audit.receive(second, AuditReply(nonce=bytes(32)))
    assert [blame.member for blame in audit.blamed] == [first, second]
    assert tuple(audit.due()) == audit.order[2:4]


def test_who_confirms_before_it_has_seen_anything_is_blamed(
    spot: tuple[World, RoundResult],
) -> None:
    world, result = spot
    audit = audit_of(world, result)
    one, _ = first_request(audit)
    with pytest.raises(RemoteError, match="before it saw any"):
        audit.receive(one, AuditReply(signature=bytes(64)))


def test_chunks_are_shown_to_two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world, result = finished(SPOT_DIM, colluders=3)
    monkeypatch.setattr(disclosure, "BODY_BYTES", SPOT_BODY)
    audit = audit_of(world, result)
    first = audit.due()
    assert len(first) == 4 and len({id(request) for request in first.values()}) == 1
    for one, request in first.items():
        audit.receive(one, confirm(world, one, request))
    shown: list[bytes] = []
    while not audit.done:
        out = audit.due()
        assert len(out) == 2 and not audit.due()
        for one, request in out.items():
            audit.receive(one, confirm(world, one, request))
            shown.append(one)
    assert tuple(shown) == audit.order[:4]


def test_an_answer_that_nobody_asked_for_has_no_effect() -> None:
    world, result = finished()
    audit = audit_of(world, result)
    one, request = first_request(audit)
    reply = confirm(world, one, request)
    with pytest.raises(RemoteError, match="not asked"):
        audit.receive(audit.order[3], reply)
    audit.receive(one, reply)
    with pytest.raises(RemoteError, match="not asked"):
        audit.receive(one, reply)
    assert not audit.blamed and not audit.done
    with pytest.raises(LocalError, match="1 of 2"):
        audit.published()


# ------------------------------------------------------------- certificates (48)


def test_48_a_sum_that_is_not_the_sum_gets_no_certificate() -> None:
    """C colluders sign anything; nobody else does, and C is one too few."""
    world, result = finished(colluders=2)
    total = result.sum.copy()
    total[3] -= 1
    false = replace(result, published=replace(result.published, total=total))
    audit = SumAudit(false, world.roster, world.vectors.__getitem__)
    colluders = audit.order[:2]
    with pytest.raises(RemoteError, match="2 survivors confirmed the sum and 0 are left"):
        while True:
            for one, request in audit.due().items():
                if one in colluders:
                    signature = world.keys[one].sign(
                        "SAQ1 SUM", result.a3, false.published.sum_hash()
                    )
                    audit.receive(one, AuditReply(signature=signature))
                    continue
                rejects(world, one, request, "figures differ")
                audit.lapse(one)
    assert not audit.done


def signed(
    world: World, published: PublishedSum, *members: bytes, key: SigningKey | None = None
) -> Any:
    hashed = published.sum_hash()
    return tuple(
        AgreementSignature(one, (key or world.keys[one]).sign("SAQ1 SUM", published.a3, hashed))
        for one in members
    )


def test_48_certificates_of_too_few_strangers_or_repeats() -> None:
    world, result = finished()
    good = certified(world, result)
    a, b = sorted(one.member for one in good.sum_certificate)
    out, other = world.ids[0], replace(good, total=good.total + 1, sum_certificate=())
    stranger = SigningKey(named("stranger"))
    cases = [
        (good.sum_certificate[:1], "1 survivors confirmed"),
        (signed(world, good, a, a), "ascending"),
        (signed(world, good, b, a), "ascending"),
        (tuple(sorted(signed(world, good, out, a), key=lambda s: s.member)), "outside U3"),
        (signed(world, good, a, b"\xff" * 32, key=stranger), "outside U3|does not verify"),
        (signed(world, good, a, b, key=stranger), "does not verify"),
        (signed(world, other, a, b), "does not verify"),
    ]
    for certificate, match in cases:
        with pytest.raises(RemoteError, match=match):
            check_certificate(
                replace(good, sum_certificate=certificate), world.descriptor(), world.roster
            )
    for change in ({"total": good.total + 1}, {"weight_sum": 4}):
        with pytest.raises(RemoteError):
            check_certificate(replace(good, **change), world.descriptor(), world.roster)


def test_45_two_members_cannot_be_given_two_sums_of_one_transcript() -> None:
    """A3 fixes the vectors, so one of two different certified sums needs a lie by C + 1."""
    world, result = finished()
    good = certified(world, result)
    other = replace(good, total=good.total + 1, sum_certificate=())
    for one in result.u3:
        request = audit_of(world, result, total=other.total)._first()
        rejects(world, one, request, "figures differ")
    only = signed(world, other, result.u3[0])  # C = 1 lies
    with pytest.raises(RemoteError, match="1 survivors confirmed"):
        check_certificate(replace(other, sum_certificate=only), world.descriptor(), world.roster)


def test_45_other_vectors_need_another_transcript() -> None:
    world, result = finished()
    good = certified(world, result)
    with pytest.raises(RemoteError, match="transcript does not follow"):
        check_certificate(replace(good, vectors_hash=bytes(32)), world.descriptor(), world.roster)


# ---------------------------------------------------------------- parts, seeking


@given(st.integers(1, 40), st.data())
def test_paths_lead_to_the_root(count: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf(bytes([i])) for i in range(count)]
    root = merkle.root_of(leaves)
    index = data.draw(st.integers(0, count - 1))
    path = merkle.path_of(leaves, index)
    assert merkle.root_from(bytes([index]), index, count, path) == root
    for other in range(count):
        if other != index and len(merkle.path_of(leaves, other)) == len(path):
            assert merkle.root_from(bytes([index]), other, count, path) != root
    if path:
        assert merkle.root_from(bytes([index]), index, count, (bytes(32), *path[1:])) != root
    with pytest.raises(InputError, match="hashes"):
        merkle.root_from(b"x", index, count, (*path, bytes(32)))


def test_the_tree_has_the_shape_of_rfc_6962() -> None:
    """Known answers for the empty-free test vectors of RFC 6962's reference implementation."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    leaves = [merkle.leaf(bytes.fromhex(one)) for one in inputs]
    assert merkle.root_of(leaves[:1]).hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    assert merkle.root_of(leaves[:2]).hex() == (
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    )
    assert merkle.root_of(leaves[:3]).hex() == (
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    )
    assert merkle.root_of(leaves).hex() == (
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"
    )


@pytest.mark.parametrize("first", [4, 16_384, 65_536, 4 * (2**16 - 2), 1_000_000])
def test_a_mask_can_be_entered_at_any_block(first: int) -> None:
    whole = masks.prg(b"k" * 16, first + 1000)
    part = np.zeros(1000, dtype=np.uint32)
    masks.add_masks(part, [b"k" * 16], [], first)
    assert (part == whole[first:]).all()
    with pytest.raises(LocalError, match="whole block"):
        masks.add_masks(part, [b"k" * 16], [], first + 1)


def test_disclosures_that_make_no_sense_cannot_be_made() -> None:
    world, result = finished()
    _, request = first_request(audit_of(world, result))
    for make in (
        AuditReply,
        lambda: AuditReply(bytes(32), bytes(64)),
        lambda: AuditReply(nonce=bytes(31)),
        lambda: AuditPart(b"", ()),
        lambda: AuditPart(b"x", (bytes(31),)),
        lambda: replace(request, chunks=(disclosure.AuditChunk(0, ()),)),
        lambda: altered(request, own_secrets=(bytes(31),)),
        lambda: altered(request, published=certified(world, result)),
    ):
        with pytest.raises(InputError):
            make()
    data = encode_message(request)
    assert encode_message(decode_audit_request(data)) == data
    for bad in (data[:-1], data + b"\xa2\x06\x01x", b""):
        with pytest.raises(RemoteError):
            decode_audit_request(bad)
