"""Attacks 9 and 13-21: keys, views of U1 and U2, and shares. Nobody sends a masked vector.

Most of them stand in one run: each attempt of its first round tells the five honest members one
lie; m6 and m7 collude. What needs a coordinator that lies to several members in step is a script
in a run of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from attack_coop import ADVERTISE, GENERIC, MASK, SHARE, Coop, Scenario
from attack_office import Lie, Wire
from attack_script import Conductor

from protocols.ids import MemberId
from protocols.secagg import masks as m
from protocols.secagg.messages import (
    Advertisement,
    AdvertiseRequest,
    MaskRequest,
    SealedShare,
    ShareReply,
    ShareRequest,
    Stage,
    advertisements_hash,
    bitmap,
    first_transcript,
)

HONEST, COLLUDERS = ("m1", "m2", "m3", "m4", "m5"), ("m6", "m7")
COLLUDER = "m7"
LOW, HIGH = b"\1" + bytes(31), (2**255 - 19 + 9).to_bytes(32, "little")
FIELDS = ("c_public", "s_public", "commitment", "nonce")

Edit = Callable[[Coop, Any, bytes], Any]
Tale = tuple[Stage, Edit, str]


def at(request: ShareRequest, member: bytes) -> Advertisement:
    return next(one for one in request.advertisements if one.member == member)


def put(request: ShareRequest, ad: Advertisement) -> ShareRequest:
    ads = tuple(ad if one.member == ad.member else one for one in request.advertisements)
    return replace(request, advertisements=ads)


def other_than(request: ShareRequest, me: bytes) -> Advertisement:
    return next(one for one in request.advertisements if one.member != me)


def signed_by_colluder(coop: Coop, ad: Advertisement, rd: bytes, **changes: Any) -> Advertisement:
    """A colluder signs whatever keys it is asked to."""
    bare = replace(ad, **changes)
    key = coop.shops[COLLUDER].key
    return replace(bare, signature=key.sign("SAQ1 AD", rd, *bare.signed_parts()))


def unsigned(field: str) -> Edit:
    def edit(coop: Coop, request: ShareRequest, me: bytes) -> ShareRequest:
        return put(request, replace(other_than(request, me), **{field: m.public_of(b"c" * 32)}))

    return edit


def own_changed(coop: Coop, request: ShareRequest, me: bytes) -> ShareRequest:
    return put(request, replace(at(request, me), nonce=bytes(32)))


def u1(change: Callable[[Coop, Any, bytes], Any]) -> Edit:
    def edit(coop: Coop, request: ShareRequest, me: bytes) -> ShareRequest:
        return replace(request, advertisements=tuple(change(coop, request.advertisements, me)))

    return edit


def isolated(coop: Coop, ads: Any, me: bytes) -> Any:
    chosen = {me, *coop.raw(*COLLUDERS)}
    return [one for one in ads if one.member in chosen]


def stranger(coop: Coop, ads: Any, me: bytes) -> Any:
    return [*ads, replace(ads[-1], member=b"\xff" * 32)]


SHARES: dict[str, Tale] = {
    **{f"13 another's {field}": (SHARE, unsigned(field), "does not verify") for field in FIELDS},
    "13 my own keys": (SHARE, own_changed, "own keys"),
    "17 the victim and the colluders alone": (SHARE, u1(isolated), "U1 has 3 members"),
    "17 nobody": (SHARE, u1(lambda coop, ads, me: ()), "has 0 entries"),
    "17 without the receiver": (
        SHARE,
        u1(lambda coop, ads, me: [one for one in ads if one.member != me]),
        "own keys",
    ),
    "12 a stranger's keys": (SHARE, u1(stranger), "not in the round"),
    "14 a member twice": (SHARE, u1(lambda coop, ads, me: (ads[0], *ads)), "ascending"),
    "14 out of order": (SHARE, u1(lambda coop, ads, me: ads[::-1]), "ascending"),
}


def shares_of(change: Callable[[tuple[SealedShare, ...]], Any]) -> Edit:
    def edit(coop: Coop, request: MaskRequest, me: bytes) -> MaskRequest:
        return replace(request, shares=tuple(change(request.shares)))

    return edit


def tampered(at_byte: int) -> Edit:
    def change(shares: tuple[SealedShare, ...]) -> Any:
        raw = bytearray(shares[0].sealed)
        raw[at_byte] ^= 1
        return (replace(shares[0], sealed=bytes(raw)), *shares[1:])

    return shares_of(change)


def swapped(shares: tuple[SealedShare, ...]) -> Any:
    first, second, *rest = shares
    return (
        replace(first, sealed=second.sealed),
        replace(second, sealed=first.sealed),
        *rest,
    )


def smaller(coop: Coop, request: MaskRequest, me: bytes) -> MaskRequest:
    """U2 is the victim, both colluders and one more: one too few."""
    ids = coop.course_ids()
    keep = {me, *coop.raw(*COLLUDERS)}
    keep.add(next(one for one in ids if one not in keep))
    shares = tuple(one for one in request.shares if one.peer in keep)
    return replace(request, cohort=bitmap(keep, ids), shares=shares)


def without_me(coop: Coop, request: MaskRequest, me: bytes) -> MaskRequest:
    ids = coop.course_ids()
    return replace(request, cohort=bitmap([one for one in ids if one != me], ids))


def bits(value: bytes) -> Edit:
    return lambda coop, request, me: replace(request, cohort=value)


VECTORS: dict[str, Tale] = {
    "18 a bit of the ciphertext": (MASK, tampered(3), "does not open"),
    "18 a bit of the tag": (MASK, tampered(-1), "does not open"),
    "19 one withheld": (MASK, shares_of(lambda shares: shares[1:]), "not exactly those"),
    "19 all withheld": (MASK, shares_of(lambda shares: ()), "has 0 entries"),
    "20 of another pair": (MASK, shares_of(swapped), "does not open"),
    "21 too small": (MASK, smaller, "U2 has 4 members"),
    "21 without the receiver": (MASK, without_me, "does not hold this member"),
    "39 too long": (MASK, bits(b"\x7f\x00"), "a bitmap over 7 members"),
    "39 empty": (MASK, bits(b""), "has 0 entries"),
    "39 a member that does not exist": (MASK, bits(b"\xff"), "members that do not exist"),
    "39 nobody": (MASK, bits(b"\x00"), "does not hold this member"),
}
LIES: dict[str, Tale] = {**SHARES, **VECTORS}


@dataclass
class Campaign:
    scenario: Scenario
    lies: dict[str, Lie]


@pytest.fixture(scope="module")
def campaign(coop: Coop) -> Campaign:
    def told(tale: Tale) -> Lie:
        stage, edit, _ = tale
        return coop.lie(stage, lambda request, me: edit(coop, request, me), HONEST, round=1)

    lies = {name: told(tale) for name, tale in LIES.items()}
    return Campaign(coop.play(*lies.values()), lies)


def refused_by_all(campaign: Campaign, name: str) -> None:
    lie, words = campaign.lies[name], LIES[name][2]
    coop = campaign.scenario.coop
    assert {one.member for one in lie.told} == coop.ids(HONEST)
    assert lie.replies() == []
    assert all(one.problem == GENERIC for one in lie.told)
    for member, reasons in lie.refused.items():
        assert len(reasons) == 1, (coop.name_of(member), reasons)
        assert words in reasons[0]


def numbered(number: str) -> list[str]:
    return [name for name in LIES if name.startswith(number)]


@pytest.mark.parametrize("name", numbered("12"))
def test_12_keys_of_a_stranger(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name)


@pytest.mark.parametrize("name", numbered("13"))
def test_13_substituted_keys(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name)


@pytest.mark.parametrize("name", numbered("14"))
def test_14_members_twice(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name)


@pytest.mark.parametrize("name", numbered("17"))
def test_17_isolated_victim(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name)


@pytest.mark.parametrize("name", numbered("18"))
def test_18_tampered_shares(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name)


@pytest.mark.parametrize("name", numbered("19"))
def test_19_withheld_shares(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name)


@pytest.mark.parametrize("name", numbered("20"))
def test_20_shares_of_another_pair(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name)


@pytest.mark.parametrize("name", numbered("21"))
def test_21_too_small_u2(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name)


@pytest.mark.parametrize("name", numbered("39"))
def test_39_malformed_bitmaps_of_u2(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name)


def test_the_run_goes_on_after_all_of_them(campaign: Campaign) -> None:
    """No honest member sent a masked vector before the honest attempt."""
    scenario = campaign.scenario
    assert scenario.ended() in ("released", "refused")
    assert scenario.rounds() == [set(scenario.coop.names)] * 2
    sent = {one.attempt for one in scenario.answers(MASK, HONEST) if one.round == 1}
    assert sent == {len(campaign.lies)}


# ------------------------------------------------ keys that came with the round before


def an_earlier(kept: dict[bytes, tuple[Advertisement, ...]]) -> Edit:
    """Keys of everybody else as they were a round before, each signed by its owner."""

    def edit(coop: Coop, request: ShareRequest, me: bytes) -> ShareRequest:
        old = {one.member: one for one in kept[me]}
        ads = tuple(one if one.member == me else old[one.member] for one in request.advertisements)
        return replace(request, advertisements=ads)

    return edit


def not_early(coop: Coop, request: ShareRequest, me: bytes) -> ShareRequest:
    """The same keys as if they had been asked for in this round."""
    return put(request, replace(other_than(request, me), early=False))


def for_another_round(coop: Coop, request: ShareRequest, me: bytes) -> ShareRequest:
    assert request.opening is not None and coop.malice.key is not None
    moved = replace(request.opening.descriptor, round=request.opening.descriptor.round + 1)
    signature = coop.malice.key.sign("SAQ1 RD", moved.digest())
    return replace(request, opening=AdvertiseRequest(moved, signature))


def unsigned_opening(coop: Coop, request: ShareRequest, me: bytes) -> ShareRequest:
    assert request.opening is not None
    return replace(request, opening=replace(request.opening, signature=bytes(64)))


def test_13_keys_that_came_early(coop: Coop) -> None:
    """Round by round: substituted, replayed, made out as fresh, mine changed, under no opening."""
    kept: dict[bytes, tuple[Advertisement, ...]] = {}

    def kept_and_changed(coop: Coop, request: ShareRequest, me: bytes) -> ShareRequest:
        kept[me] = request.advertisements
        assert all(one.early for one in kept[me])
        changed: ShareRequest = unsigned("c_public")(coop, request, me)
        return changed

    tales: list[tuple[Edit, str]] = [
        (kept_and_changed, "does not verify"),
        (an_earlier(kept), "does not verify"),
        (not_early, "does not verify"),
        (own_changed, "own keys"),
        (lambda coop, request, me: replace(request, opening=None), ""),
        (for_another_round, "another attempt than its envelope"),
        (unsigned_opening, "does not verify"),
    ]

    def told(number: int, edit: Edit) -> Lie:
        return coop.lie(SHARE, lambda one, me: edit(coop, one, me), HONEST, round=number, attempt=0)

    lies = [told(number, edit) for number, (edit, _) in enumerate(tales, start=2)]
    scenario = coop.play(*lies, rounds=len(tales) + 1)
    for lie, (_, words) in zip(lies, tales, strict=True):
        assert {one.member for one in lie.told} == coop.ids(HONEST) and lie.replies() == []
        assert all(one.problem == GENERIC for one in lie.told)
        for reasons in lie.refused.values():
            assert len(reasons) == 1 and words in reasons[0], (words, reasons)
    assert scenario.rounds() == [set(coop.names)] * (len(tales) + 2)


# ---------------------------------------------------------------- scripts of their own


def play(coop: Coop, script: Callable[[Wire, Mapping[MemberId, bytes]], None]) -> Scenario:
    """The script first; then the honest office tries again, and everybody is in."""
    scenario = coop.play(coop.takes_over(ADVERTISE, script))
    assert scenario.ended() in ("released", "refused")
    assert scenario.rounds() == [set(coop.names)] * 2
    return scenario


def nothing_masked(scenario: Scenario, names: tuple[str, ...]) -> None:
    first = [one for one in scenario.answers(MASK, names) if one.round == 1]
    assert {one.attempt for one in first} == {max(one.attempt for one in first)}


def test_09_another_descriptor_for_each_half(coop: Coop) -> None:
    """Each half accepts its own; the keys of the other half then verify for nobody."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        log = coop.office.server._log  # an earlier head of the one history: both halves take theirs
        size = log.head().size - 1
        two = Conductor(coop, wire, envelopes, log_root=log.root_at(size), log_size=size)
        half = set(coop.raw("m1", "m2", "m3"))
        split = {
            member: (one if member in half else two).requests[member] for member in one.requests
        }
        ads = one.ask(ADVERTISE, split)
        assert len(ads) == 7
        listed = tuple(ads[member] for member in sorted(ads))
        request = ShareRequest(listed)  # type: ignore[arg-type]
        one.refuses(SHARE, dict.fromkeys(ads, request), "does not verify")

    nothing_masked(play(coop, script), coop.names)


def test_09_another_model_for_one_member(coop: Coop) -> None:
    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        other = Conductor(coop, wire, envelopes, model_hash=bytes([9]) * 32)
        victim = coop.raw("m4")[0]
        other.refuses(ADVERTISE, {victim: other.requests[victim]}, "model_hash of the round")

    play(coop, script)


TAKEN: tuple[tuple[str, str, Callable[[ShareRequest, bytes], bytes], str], ...] = (
    ("c_public", "another's", lambda r, me: r.advertisements[-2].c_public, "stands twice"),
    ("s_public", "another's", lambda r, me: r.advertisements[-2].s_public, "stands twice"),
    ("c_public", "the receiver's own", lambda r, me: at(r, me).c_public, "stands twice"),
    ("s_public", "the receiver's own", lambda r, me: at(r, me).s_public, "stands twice"),
    ("c_public", "crossed", lambda r, me: at(r, me).s_public, "stands twice"),
    ("s_public", "crossed", lambda r, me: at(r, me).c_public, "stands twice"),
    ("nonce", "another's", lambda r, me: r.advertisements[-2].nonce, "stands twice"),
    ("commitment", "another's", lambda r, me: r.advertisements[-2].commitment, "stands twice"),
    ("c_public", "low order", lambda r, me: LOW, "low order"),
    ("c_public", "zero", lambda r, me: bytes(32), "low order"),
    ("c_public", "another form", lambda r, me: HIGH, "canonical"),
    ("s_public", "another form", lambda r, me: HIGH, "canonical"),
)


def test_14_keys_that_a_colluder_signs(coop: Coop) -> None:
    """Duplicated, reflected, of low order, or written in another form; all well signed."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        for attempt, (field, _, taken, words) in enumerate(TAKEN):
            one = Conductor(coop, wire, envelopes, attempt=attempt)
            honest, rd, requests = one.until(SHARE), one.descriptor.digest(), {}
            for victim in coop.raw(*HONEST):
                request = honest[victim]
                assert isinstance(request, ShareRequest)
                ad = signed_by_colluder(
                    coop, at(request, coop.raw(COLLUDER)[0]), rd, **{field: taken(request, victim)}
                )
                requests[victim] = put(request, ad)
            one.refuses(SHARE, requests, words)

    nothing_masked(play(coop, script), HONEST)


def test_14_a_low_order_mask_key_never_makes_a_mask(coop: Coop) -> None:
    """A colluder's mask key of low order would make its pair masks known; nothing leaves."""
    secret = b"\5" * 32

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        honest, rd = one.until(SHARE), one.descriptor.digest()
        bad = coop.raw(COLLUDER)[0]
        request = honest[bad]
        assert isinstance(request, ShareRequest)
        ad = signed_by_colluder(
            coop, at(request, bad), rd, s_public=LOW, c_public=m.public_of(secret)
        )
        told = put(request, ad)
        others = [member for member in honest if member != bad]
        dealt = one.ask(SHARE, dict.fromkeys(others, told))
        if not dealt:
            return  # refused already, which is as good
        a1 = first_transcript(rd, advertisements_hash(told.advertisements))
        cohort = bitmap(honest, one.descriptor.ids)
        requests = {}
        for victim in coop.raw(*HONEST):
            key = m.channel_key(m.exchange(secret, at(told, victim).c_public), a1, bad, victim)
            sealed = {bad: m.seal(key, a1, bad, victim, bytes(68))}
            sealed |= {peer: to(dealt[peer], victim) for peer in others if peer != victim}
            shares = tuple(SealedShare(peer, sealed[peer]) for peer in sorted(sealed))
            requests[victim] = MaskRequest(cohort, shares)
        one.refuses(MASK, requests, "low order")

    nothing_masked(play(coop, script), HONEST)


def to(reply: Any, member: bytes) -> bytes:
    assert isinstance(reply, ShareReply)
    return next(one.sealed for one in reply.shares if one.peer == member)


def inbox(replies: Mapping[bytes, Any], me: bytes, cohort: tuple[bytes, ...]) -> Any:
    return tuple(SealedShare(peer, to(replies[peer], me)) for peer in cohort if peer != me)


def test_15_inconsistent_u1(coop: Coop) -> None:
    """Six see U1 without m7, which sees everybody: what the six dealt does not hold its share."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        honest = one.until(SHARE)
        victim = coop.raw("m7")[0]
        whole = honest[victim]
        assert isinstance(whole, ShareRequest)
        less = replace(whole, advertisements=whole.advertisements[:-1])
        views = {member: whole if member == victim else less for member in honest}
        replies = one.ask(SHARE, views)
        ids = one.descriptor.ids
        shares = tuple(
            SealedShare(peer, to(replies[peer], coop.raw("m1" if peer != ids[0] else "m2")[0]))
            for peer in ids[:-1]
        )
        one.refuses(MASK, {victim: MaskRequest(bitmap(ids, ids), shares)}, "does not open")

    play(coop, script)


def test_16_u1_consistent_for_the_victim_only(coop: Coop) -> None:
    """The victim sees six, the others seven: they sealed under another A1, so nothing opens."""

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        honest = one.until(SHARE)
        victim = coop.raw("m1")[0]
        whole = honest[victim]
        assert isinstance(whole, ShareRequest)
        less = replace(whole, advertisements=whole.advertisements[:-1])
        views = {member: less if member == victim else whole for member in honest}
        replies = one.ask(SHARE, views)
        cohort = one.descriptor.ids[:-1]
        request = MaskRequest(bitmap(cohort, one.descriptor.ids), inbox(replies, victim, cohort))
        one.refuses(MASK, {victim: request}, "does not open")

    play(coop, script)


def test_18_a_share_that_is_well_sealed_but_malformed(coop: Coop) -> None:
    """The colluder's channel key is its own; a value above 65536 would only show when opened."""
    secret = b"\6" * 32

    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        one = Conductor(coop, wire, envelopes)
        honest, rd = one.until(SHARE), one.descriptor.digest()
        bad = coop.raw(COLLUDER)[0]
        request = honest[bad]
        assert isinstance(request, ShareRequest)
        told = put(
            request,
            signed_by_colluder(coop, at(request, bad), rd, c_public=m.public_of(secret)),
        )
        others = tuple(member for member in honest if member != bad)
        dealt = one.ask(SHARE, dict.fromkeys(others, told))
        a1 = first_transcript(rd, advertisements_hash(told.advertisements))
        plain = bytearray(68)
        plain[0], plain[32] = 7, 1  # value 0 is 65536 and 7 at once
        requests = {}
        for victim in coop.raw(*HONEST):
            key = m.channel_key(m.exchange(secret, at(told, victim).c_public), a1, bad, victim)
            sealed = {bad: m.seal(key, a1, bad, victim, bytes(plain))}
            sealed |= {peer: to(dealt[peer], victim) for peer in others if peer != victim}
            shares = tuple(SealedShare(peer, sealed[peer]) for peer in sorted(sealed))
            requests[victim] = MaskRequest(bitmap(honest, one.descriptor.ids), shares)
        one.refuses(MASK, requests, "above 65536")

    nothing_masked(play(coop, script), HONEST)


def test_20_shares_of_an_earlier_attempt_and_of_the_other_direction(coop: Coop) -> None:
    def script(wire: Wire, envelopes: Mapping[MemberId, bytes]) -> None:
        first = Conductor(coop, wire, envelopes)
        old = first.until(MASK)
        second = Conductor(coop, wire, envelopes, attempt=1)
        new = second.until(MASK)
        a, b, c = coop.raw("m1", "m2", "m3")
        requests = {}
        for victim in (a, b):
            request, before = new[victim], old[victim]
            assert isinstance(request, MaskRequest) and isinstance(before, MaskRequest)
            requests[victim] = replace(request, shares=(before.shares[0], *request.shares[1:]))
        mine = new[c]
        assert isinstance(mine, MaskRequest) and mine.shares[0].peer == a
        own = to(second.replies[SHARE][c], a)  # what c itself sealed for a comes back to c
        requests[c] = replace(mine, shares=(SealedShare(a, own), *mine.shares[1:]))
        second.refuses(MASK, requests, "does not open")

    nothing_masked(play(coop, script), HONEST)
