"""Attacks 8, 31, 44, 45, 47 and 48 after a round: what a member may be told about its sum.

One run. Each attempt of its second round sends the five honest members another record of the
first one; they believe none, so nobody sends a vector. The attempt after the last lie is honest.
In two runs more the auditors of a sum are lied to: nobody confirms it, so nothing is published.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from attack_coop import ADVERTISE, AUDIT, GENERIC, MASK, SHARE, Coop, Scenario
from attack_office import Lie

from protocols.audit.entries import Kind
from protocols.ids import MemberId
from protocols.retrace import Record, read_record, record_bytes
from protocols.secagg.messages import (
    AdvertiseRequest,
    AgreementSignature,
    Stage,
    bitmap,
    first_transcript,
    second_transcript,
    third_transcript,
)
from protocols.secagg.published import SUM_TAG, PublishedSum
from protocols.signing import SigningKey

HONEST, COLLUDERS = ("m1", "m2", "m3", "m4", "m5"), ("m6", "m7")
ALL = (*HONEST, *COLLUDERS)
OTHER = bytes([9]) * 32
Change = Callable[[Coop, PublishedSum, bytes], PublishedSum]
Rewrite = Callable[[Coop, bytes, bytes], bytes]  # (record, member) -> what it fetches


def published(change: Change) -> Rewrite:
    def rewrite(coop: Coop, raw: bytes, me: bytes) -> bytes:
        record = read_record(raw, "record")
        return record_bytes(replace(record, published=change(coop, record.published, me)))

    return rewrite


def described(**changes: Any) -> Rewrite:
    """Another descriptor, signed by the coordinator; the sum names it."""

    def rewrite(coop: Coop, raw: bytes, me: bytes) -> bytes:
        record = read_record(raw, "record")
        request = redescribed(coop, record.request, **changes)
        found = replace(record.published, descriptor_digest=request.descriptor.digest())
        return record_bytes(Record(request, found))

    return rewrite


def redescribed(coop: Coop, request: AdvertiseRequest, **changes: Any) -> AdvertiseRequest:
    assert coop.malice.key is not None
    descriptor = replace(request.descriptor, **changes)
    return AdvertiseRequest(descriptor, coop.malice.key.sign("SAQ1 RD", descriptor.digest()))


def moved(one: PublishedSum, by: int = 1) -> PublishedSum:
    """Another sum within what members can send."""
    total = one.total.copy()
    total[int(np.argmin(np.abs(total)))] += by
    return replace(one, total=total)


def confirmed(coop: Coop, one: PublishedSum, *names: str) -> list[AgreementSignature]:
    """Colluders confirm whatever sum they are asked to."""
    shops = [coop.shops[name] for name in names]
    return [
        AgreementSignature(shop.raw, shop.key.sign(SUM_TAG, one.a3, one.sum_hash()))
        for shop in shops
    ]


def in_order(signatures: list[AgreementSignature]) -> tuple[AgreementSignature, ...]:
    return tuple(sorted(signatures, key=lambda one: one.member))


def with_colluders(coop: Coop, one: PublishedSum, me: bytes) -> PublishedSum:
    """A false sum that both colluders confirm; the third signature is for the true one."""
    false = moved(one)
    outside = {shop.raw for shop in (coop.shops[name] for name in COLLUDERS)}
    third = [each for each in one.sum_certificate if each.member not in outside][:1]
    signed = in_order([*third, *confirmed(coop, false, *COLLUDERS)])
    return replace(false, sum_certificate=signed)


def by_strangers(coop: Coop, one: PublishedSum, me: bytes) -> PublishedSum:
    false = moved(one)
    keys = [SigningKey(bytes([number]) * 32) for number in (1, 2, 3)]
    signed = [
        AgreementSignature(bytes([number]) * 32, key.sign(SUM_TAG, false.a3, false.sum_hash()))
        for number, key in enumerate(keys, start=1)
    ]
    return replace(false, sum_certificate=in_order(signed))


def alone(coop: Coop, one: PublishedSum, me: bytes) -> PublishedSum:
    false = moved(one)
    return replace(false, sum_certificate=in_order(confirmed(coop, false, *COLLUDERS)))


def one_thrice(coop: Coop, one: PublishedSum, me: bytes) -> PublishedSum:
    false = moved(one)
    return replace(false, sum_certificate=tuple(confirmed(coop, false, "m7") * 3))


def resigned(coop: Coop, one: PublishedSum, me: bytes) -> PublishedSum:
    """Another transcript, as far as two colluders can carry it."""
    a2 = second_transcript(first_transcript(one.descriptor_digest, OTHER), one.cohort)
    a3 = third_transcript(a2, one.survivor_map, one.vectors_hash)
    shops = [coop.shops[name] for name in COLLUDERS]
    quorum = [AgreementSignature(shop.raw, shop.key.sign("SAQ1 A3", a3)) for shop in shops]
    return replace(one, ads_hash=OTHER, a3=a3, certificate=in_order(quorum))


def fewer(coop: Coop, one: PublishedSum, me: bytes) -> PublishedSum:
    ids = coop.course_ids()
    return replace(one, survivor_map=bitmap(ids[:6], ids))


def each_another(coop: Coop, one: PublishedSum, me: bytes) -> PublishedSum:
    return moved(one, by=1 + coop.course_ids().index(me))


LIES: dict[str, tuple[Rewrite, str]] = {
    "45 another for each": (published(each_another), "'SAQ1 SUM' does not verify"),
    "45 the same for all": (published(lambda coop, one, me: moved(one)), "'SAQ1 SUM' does not"),
    "48 confirmed by nobody": (
        published(lambda coop, one, me: replace(one, sum_certificate=())),
        "0 survivors confirmed the sum, 3 are needed",
    ),
    "48 C signatures": (
        published(lambda coop, one, me: replace(one, sum_certificate=one.sum_certificate[:2])),
        "2 survivors confirmed the sum, 3 are needed",
    ),
    "48 the colluders alone": (published(alone), "2 survivors confirmed the sum"),
    "48 a colluder three times": (published(one_thrice), "not ascending"),
    "48 the colluders and one of the true sum": (
        published(with_colluders),
        "'SAQ1 SUM' does not verify",
    ),
    "48 strangers": (published(by_strangers), "outside U3"),
    "44 other survivors": (published(fewer), "transcript does not follow"),
    "44 other vectors": (
        published(lambda coop, one, me: replace(one, vectors_hash=OTHER)),
        "transcript does not follow",
    ),
    "44 fewer signatures": (
        published(lambda coop, one, me: replace(one, certificate=one.certificate[:4])),
        "4 signatures",
    ),
    "44 another transcript": (published(resigned), "2 signatures"),
    "44 too large": (
        published(lambda coop, one, me: replace(one, total=one.total + 2**40)),
        "has a coordinate of",
    ),
    "44 more weight": (
        published(lambda coop, one, me: replace(one, weight_sum=8)),
        "weights of 8",
    ),
    "44 another round": (published(lambda coop, one, me: replace(one, round=2)), "its round"),
    "08 of another model": (described(model_hash=OTHER), "it differs in model_hash"),
    "31 of another run": (described(run=OTHER[:16]), "it differs in run"),
    "47 another log root": (described(log_root=OTHER), "transcript does not follow"),
    "36 no record": (lambda coop, raw, me: b"garbage" * 100, "not the record of a round"),
    "36 cut": (lambda coop, raw, me: raw[:-1], "not the record of a round"),
    "36 more behind it": (lambda coop, raw, me: raw + b"\0", "not the record of a round"),
}


@dataclass
class Campaign:
    scenario: Scenario
    counts: dict[int, dict[MemberId, int]]

    def refusals(self, name: str) -> dict[MemberId, list[str]]:
        """What the honest members wrote down in the attempt of this lie."""
        at = list(LIES).index(name)
        reasons = self.scenario.coop.malice.reasons
        before, after = self.counts[at], self.counts[at + 1]
        return {
            member: reasons(member)[before[member] : after[member]]
            for member in self.scenario.coop.ids(HONEST)
        }


@pytest.fixture(scope="module")
def campaign(coop: Coop) -> Campaign:
    counts: dict[int, dict[MemberId, int]] = {}
    rewrites = [rewrite for rewrite, _ in LIES.values()]
    now = 0

    def watch(number: int, attempt: int, stage: Stage) -> None:
        nonlocal now
        if number == 2 and attempt not in counts:
            now = attempt
            counts[attempt] = {one: len(coop.malice.reasons(one)) for one in coop.ids()}

    def fetched(member: MemberId, kind: str, run: str, name: str, raw: bytes) -> bytes:
        lied_to = member in coop.ids(HONEST) and now < len(rewrites)
        if kind == "round" and name == "0001" and lied_to:
            return rewrites[now](coop, raw, bytes.fromhex(member))
        return raw

    coop.malice.forget()
    coop.malice.watch, coop.malice.fetched = watch, fetched
    scenario = coop.launch(rounds=2)
    scenario.ended()
    coop.malice.forget()
    return Campaign(scenario, counts)


def believed_by_nobody(campaign: Campaign, name: str) -> None:
    at, words = list(LIES).index(name), LIES[name][1]
    for member, reasons in campaign.refusals(name).items():
        assert len(reasons) == 1, (campaign.scenario.coop.name_of(member), reasons)
        assert words in reasons[0]
    told = [one for one in campaign.scenario.said if (one.round, one.attempt) == (2, at)]
    honest = [one for one in told if one.member in campaign.scenario.coop.ids(HONEST)]
    assert honest and all(one.reply is None and one.problem == GENERIC for one in honest)


def numbered(number: str) -> list[str]:
    return [name for name in LIES if name.startswith(number)]


@pytest.mark.parametrize("name", numbered("08"))
def test_08_the_sum_of_another_model(campaign: Campaign, name: str) -> None:
    believed_by_nobody(campaign, name)


@pytest.mark.parametrize("name", numbered("31"))
def test_31_the_sum_of_another_run(campaign: Campaign, name: str) -> None:
    believed_by_nobody(campaign, name)


@pytest.mark.parametrize("name", numbered("36"))
def test_36_a_record_that_is_none(campaign: Campaign, name: str) -> None:
    believed_by_nobody(campaign, name)


@pytest.mark.parametrize("name", numbered("44"))
def test_44_a_model_from_what_was_not_agreed(campaign: Campaign, name: str) -> None:
    believed_by_nobody(campaign, name)


@pytest.mark.parametrize("name", numbered("45"))
def test_45_a_sum_that_differs_from_member_to_member(campaign: Campaign, name: str) -> None:
    believed_by_nobody(campaign, name)


@pytest.mark.parametrize("name", numbered("47"))
def test_47_another_log_root_in_the_record(campaign: Campaign, name: str) -> None:
    believed_by_nobody(campaign, name)


@pytest.mark.parametrize("name", numbered("48"))
def test_48_a_sum_that_is_not_the_sum(campaign: Campaign, name: str) -> None:
    believed_by_nobody(campaign, name)


def test_the_run_goes_on_with_everybody_after_all_of_them(campaign: Campaign) -> None:
    scenario = campaign.scenario
    assert scenario.ended() in ("released", "refused")
    assert scenario.rounds() == [set(ALL)] * 3
    sent = {one.attempt for one in scenario.answers(MASK, HONEST) if one.round == 2}
    assert sent == {len(LIES)}


# ------------------------------------------------------------- the next round's descriptor


def test_44_a_model_that_does_not_follow(coop: Coop) -> None:
    """Round 2 from the model of round 1, from a made-up one, and over another past."""

    def opened(**changes: Any) -> Callable[[Any, bytes], Any]:
        def edit(request: Any, me: bytes) -> Any:
            if isinstance(request, AdvertiseRequest):
                return redescribed(coop, request, **changes)
            assert request.opening is not None  # keys came early, the descriptor comes here
            return replace(request, opening=redescribed(coop, request.opening, **changes))

        return edit

    old: dict[str, bytes] = {}

    def keep(request: AdvertiseRequest, me: bytes) -> AdvertiseRequest:
        old["model"] = request.descriptor.model_hash
        return request

    def again(request: Any, me: bytes) -> Any:
        return opened(model_hash=old["model"])(request, me)

    keeping = coop.lie(ADVERTISE, keep, round=1)
    lies = [
        coop.lie(SHARE, again, round=2, attempt=0),
        coop.lie(ADVERTISE, opened(model_hash=OTHER), round=2, attempt=1),
        coop.lie(ADVERTISE, opened(prev_transcript=OTHER), round=2, attempt=2),
    ]
    scenario = coop.play(keeping, *lies, rounds=2)
    for lie, words in zip(lies, ("model_hash", "model_hash", "prev_transcript"), strict=True):
        assert lie.replies() == [] and {one.member for one in lie.told} == coop.ids()
        assert all(one.problem == GENERIC for one in lie.told)
        for reasons in lie.refused.values():
            assert len(reasons) == 1 and f"{words} of the round" in reasons[0]
    assert scenario.rounds() == [set(ALL)] * 3


# ----------------------------------------------------------------------- the audit itself


def shown(change: Callable[[Any], Any]) -> Callable[[Any, bytes], Any]:
    return lambda request, me: change(request)


def head(**changes: Any) -> Callable[[Any], Any]:
    return lambda request: replace(request, head=replace(request.head, **changes))


def false_sum(request: Any) -> Any:
    return head(published=moved(request.head.published))(request)


def other_vector(request: Any) -> Any:
    raw = bytearray(request.vectors[0])
    raw[0] ^= 1
    return replace(request, vectors=(bytes(raw), *request.vectors[1:]))


def one_vector_less(request: Any) -> Any:
    return replace(request, vectors=request.vectors[1:])


def vectors_swapped(request: Any) -> Any:
    first, second, *rest = request.vectors
    return replace(request, vectors=(second, first, *rest))


def other_secret(request: Any) -> Any:
    return head(own_secrets=(OTHER, *request.head.own_secrets[1:]))(request)


def other_root(request: Any) -> Any:
    first, *rest = request.head.roots
    return head(roots=(replace(first, root=OTHER), *rest))(request)


def other_keys(request: Any) -> Any:
    first, *rest = request.head.advertisements
    return head(advertisements=(replace(first, nonce=OTHER), *rest))(request)


def heavier(request: Any) -> Any:
    one = request.head.published
    return head(published=replace(one, weight_sum=one.weight_sum - 1))(request)


AUDITS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "another sum": (false_sum, "cannot be confirmed"),
    "other weights": (heavier, "weights of 6"),
    "another vector": (other_vector, "is not the one it signed"),
    "a vector less": (one_vector_less, "6 vectors, expected 7"),
    "vectors of others": (vectors_swapped, "is not the one it signed"),
    "another secret": (other_secret, "is not the one it committed to"),
    "another root": (other_root, "roots are not those"),
    "other keys": (other_keys, "advertisements are not those"),
    "no vectors": (lambda request: replace(request, vectors=()), "vectors"),
}


def test_48_auditors_that_are_shown_something_else(coop: Coop) -> None:
    """Each round three survivors are lied to first; then the truth, and they confirm it."""
    edits = {name: coop.malice.asking(shown(change)) for name, (change, _) in AUDITS.items()}

    def then_the_truth(name: str) -> Callable[[bytes, bytes], list[bytes]]:
        def edit(envelope: bytes, me: bytes) -> list[bytes]:
            false = edits[name](envelope, me)
            assert isinstance(false, bytes)
            return [false, envelope]

        return edit

    lies = {
        name: Lie(AUDIT, coop.ids(), then_the_truth(name), round=number)
        for number, name in enumerate(AUDITS, start=1)
    }
    scenario = coop.play(*lies.values(), rounds=len(AUDITS))
    assert scenario.rounds() == [set(ALL)] * (len(AUDITS) + 1)
    for name, lie in lies.items():
        auditors = {one.member for one in lie.told}
        assert len(auditors) == 3
        for member in auditors:
            false, true = [one for one in lie.told if one.member == member]
            assert false.reply is None and false.problem == GENERIC and true.reply is not None
            assert len(lie.refused[member]) == 1
            assert AUDITS[name][1] in lie.refused[member][0]


def test_48_a_sum_that_nobody_confirms_is_not_published(coop: Coop) -> None:
    lie = coop.lie(AUDIT, shown(false_sum), round=1, times=40)
    scenario = coop.play(lie)
    assert scenario.ended() == "failed" and "must confirm it" in scenario.detail()
    assert scenario.rounds() == []
    assert not [
        one
        for shop in coop.shops.values()
        for one in shop.journal(Kind.CHECK)
        if one["run"] == scenario.run
    ]


def test_48_two_sums_for_one_round(coop: Coop) -> None:
    """An auditor that has confirmed a sum confirms no other one, whatever it is shown."""

    def then_false(envelope: bytes, me: bytes) -> list[bytes]:
        false = coop.malice.with_request(envelope, false_sum)
        return [envelope, envelope, false]

    lie = Lie(AUDIT, coop.ids(), then_false, round=1)
    scenario = coop.play(lie)
    assert scenario.rounds() == [set(ALL)] * 2  # others confirmed it in their place
    for member in {one.member for one in lie.told}:
        first, again, other = [one for one in lie.told if one.member == member]
        assert first.reply is not None and first.reply == again.reply
        assert other.reply is None and other.problem == GENERIC
        assert "another sum of the same round" in lie.refused[member][-1]
